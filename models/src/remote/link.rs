//! One server as a worker: it is looked after, asked, and given up when it no longer answers.
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::answer::{Answer, AnswerFault};
use super::ask::{self, Ask, CannotAsk};
use super::begun::Begun;
use super::client::{Fault, RemoteClient, Served};
use super::sse::SseReader;
use super::{Counting, RemoteSpec};
use crate::engine::{Chosen, Finding, Finish, Inquiry, Prompt, Refusal, Request, Stretch, Usage};
use crate::worker::Event;

/// How often it is looked whether the server is still there.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// A server that says nothing about a request for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest wait for the first word: a long prompt on a slow machine that others use, too.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(900);
/// Longest wait for how long a prompt is: looked up, not computed.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers side by side, where the server does not say how many it takes.
const SLOTS_DEFAULT: u32 = 4;
/// Context of one answer in tokens, where neither the server nor the settings say it.
const CONTEXT_DEFAULT: u32 = 8192;
/// Most slots that are believed.
const SLOTS_MAX: u32 = 1024;
/// An answer needs so many tokens of the context beside its prompt, or as many as were asked for if that is less.
const ANSWER_TOKENS_MIN: u32 = 64;

/// Who hears the events.
type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// A server that answers for one model. Dropping it ends all its connections.
pub struct RemoteWorker {
    link: Arc<Link>,
}

impl fmt::Debug for RemoteWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWorker").field("server", &self.link.name).finish_non_exhaustive()
    }
}

struct Link {
    /// As it may be shown.
    name: String,
    client: RemoteClient,
    runtime: Handle,
    begun: Begun,
    events: Events,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the server has, once it has said so.
    served: Option<Served>,
    counting: Counting,
    running: HashMap<u64, AbortHandle>,
    tasks: JoinSet<()>,
    /// The end was told.
    gone: bool,
}

impl RemoteWorker {
    /// Begins to ask a server for what it has; all else is told by events. To be called within a runtime of tokio.
    pub fn launch(
        spec: &RemoteSpec,
        begun: &Begun,
        events: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let client = RemoteClient::new(spec.endpoint.clone(), spec.key.as_ref())?;
        let link = Arc::new(Link {
            name: spec.endpoint.to_string(),
            client,
            runtime: Handle::current(),
            begun: begun.clone(),
            events: Arc::new(events),
            state: Mutex::default(),
        });
        let watch = watch(Arc::downgrade(&link), link.client.clone(), spec.clone());
        link.state().tasks.spawn(watch);
        Ok(Self { link })
    }

    /// Hands over a request; its events follow. `false`: the server is gone, or the id is in use.
    pub fn send(&self, request: Request) -> bool {
        let mut state = self.link.state();
        let id = request.id;
        let Some(served) = state.served.clone().filter(|_| !state.gone) else { return false };
        if state.running.contains_key(&id) {
            tracing::error!(server = self.link.name, "request {id} runs already");
            return false;
        }
        while state.tasks.try_join_next().is_some() {}
        let run = run(Arc::downgrade(&self.link), self.link.client.clone(), served, request);
        let task = state.tasks.spawn_on(run, &self.link.runtime);
        state.running.insert(id, task);
        true
    }

    /// Ends an answer: `Finished` is told at once, and the server notices by the closed connection.
    pub fn cancel(&self, id: u64) {
        self.link.ended(id, |id| Event::Finished { id, reason: Finish::Cancelled, usage: Usage::default() });
    }

    /// Ends all connections. `Exited` is told at once.
    pub fn kill(&self) {
        self.link.end("it was told to end".to_owned(), false);
    }
}

impl Drop for RemoteWorker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    /// Tells something of a request that still runs. Events are told under the lock: nothing comes behind an end.
    fn say(&self, id: u64, event: Event) {
        let state = self.state();
        if !state.gone && state.running.contains_key(&id) {
            (self.events)(event);
        }
    }

    /// A request is over, unless it was before.
    fn ended(&self, id: u64, event: impl FnOnce(u64) -> Event) {
        let mut state = self.state();
        let Some(task) = state.running.remove(&id) else { return };
        task.abort();
        self.begun.forget(id);
        if !state.gone {
            (self.events)(event(id));
        }
    }

    /// The server is given up. What runs stays begun: the next one goes on with it.
    fn end(&self, detail: String, unusable: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.gone, true) {
            return;
        }
        state.running.clear();
        state.tasks.abort_all();
        (self.events)(Event::Exited { detail, unusable });
    }

    fn fault(&self, id: u64, fault: Fault) {
        match fault {
            Fault::Down(detail) => self.end(detail, false),
            Fault::Shut(detail) => self.end(detail, true),
            Fault::Refused(refusal) => self.ended(id, |id| Event::Refused { id, refusal }),
        }
    }
}

/// Looks after a server until it is gone or nobody wants it.
async fn watch(link: Weak<Link>, client: RemoteClient, spec: RemoteSpec) {
    let mut look = interval(LOOK_PERIOD);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed_before = false;
    loop {
        look.tick().await;
        let probed = client.probe(spec.model.as_deref()).await;
        let Some(link) = link.upgrade() else { return };
        let is_new = link.state().served.is_none();
        match probed {
            Ok(served) => {
                failed_before = false;
                let mut state = link.state();
                state.served = Some(served.clone());
                if is_new && !state.gone {
                    let slots = spec.slots.or(served.slots).unwrap_or(SLOTS_DEFAULT).clamp(1, SLOTS_MAX);
                    let context = served.context_tokens.or(spec.context_tokens).unwrap_or(CONTEXT_DEFAULT);
                    let context_tokens = context.min(spec.context_tokens.unwrap_or(u32::MAX)).max(1);
                    (link.events)(Event::Ready { slots, context_tokens });
                }
            }
            // A busy server misses one look; whoever misses two is gone. What runs notices a broken connection by itself.
            Err(Fault::Down(_)) if !is_new && !failed_before => failed_before = true,
            Err(Fault::Refused(Refusal::NoFreeSlot)) if !is_new => {}
            Err(fault) => {
                let unusable = matches!(fault, Fault::Shut(_));
                return link.end(fault.to_string(), unusable);
            }
        }
    }
}

/// One request, from its question to its end.
async fn run(link: Weak<Link>, client: RemoteClient, served: Served, request: Request) {
    let id = request.id;
    let course = Course { link: link.clone(), client, served };
    let ended = match &request.prompt {
        Prompt::Inquiry(Inquiry::Vectors { passages }) => course.vectors(id, passages).await,
        Prompt::Chat(_) | Prompt::Text(_) | Prompt::Passage(_) | Prompt::Inquiry(_) => {
            course.generate(&request).await
        }
    };
    let Some(link) = link.upgrade() else { return };
    match ended {
        Ok((reason, usage)) => link.ended(id, |id| Event::Finished { id, reason, usage }),
        Err(fault) => link.fault(id, fault),
    }
}

impl From<CannotAsk> for Fault {
    fn from(cannot: CannotAsk) -> Self {
        Self::Refused(Refusal::Unable { detail: cannot.to_string() })
    }
}

impl From<AnswerFault> for Fault {
    fn from(fault: AnswerFault) -> Self {
        Self::Refused(Refusal::Unable { detail: format!("the server sent {fault}") })
    }
}

struct Course {
    link: Weak<Link>,
    client: RemoteClient,
    served: Served,
}

impl Course {
    async fn generate(&self, request: &Request) -> Result<(Finish, Usage), Fault> {
        let id = request.id;
        let resumed = request.resume.len();
        let begun = self.link.upgrade().map(|link| link.begun.clone()).unwrap_or_default();
        let told = begun.words(id, resumed).ok_or(CannotAsk::Resume)?;
        let mut ask = ask::generation(&self.served.model, request, &told)?;
        let written = u32::try_from(resumed).unwrap_or(u32::MAX);
        let prompt_tokens = self.fit(request, written, &mut ask).await?;
        let began = Instant::now();
        let mut response = self.patiently(id, prompt_tokens, None, self.client.ask(&ask)).await?;
        let (mut events, mut answer) = (SseReader::default(), Answer::default());
        let mut first_at = None;
        let mut next = resumed;
        loop {
            let chunk = async { response.chunk().await.map_err(|error| self.client.broken(error)) };
            let Some(bytes) = self.patiently(id, prompt_tokens, first_at, chunk).await? else { break };
            let data = events.push(&bytes).map_err(|error| Fault::Down(error.to_string()))?;
            for data in data {
                let chosen = answer.take(&data)?;
                if !chosen.is_empty() && first_at.is_none() {
                    first_at = Some(Instant::now());
                    self.read(id, prompt_tokens);
                }
                chosen.into_iter().for_each(|chosen| self.token(&begun, id, &mut next, chosen));
            }
        }
        let broke_off =
            || Fault::Down("the server ended the connection in the middle of an answer".to_owned());
        let (calls, finish) = answer.finish().ok_or_else(broke_off)?;
        if !calls.parts.is_empty() {
            if first_at.is_none() {
                self.read(id, prompt_tokens);
            }
            self.token(&begun, id, &mut next, calls);
        }
        let first_at = first_at.unwrap_or_else(Instant::now);
        let told = answer.usage();
        let usage = Usage {
            prompt_tokens: if told.prompt_tokens > 0 {
                told.prompt_tokens
            } else {
                prompt_tokens.unwrap_or(0)
            },
            answer_tokens: told.answer_tokens.saturating_add(written),
            prefill_ms: millis(first_at - began),
            decode_ms: millis(first_at.elapsed()),
            ..told
        };
        Ok((finish, usage))
    }

    /// Sees that the prompt fits, where the server can tell its length, and leaves the answer no more room than there is.
    async fn fit(&self, request: &Request, written: u32, ask: &mut Ask) -> Result<Option<u32>, Fault> {
        let answer_max = request.answer_tokens_max.saturating_sub(written).max(1);
        let counted = self.count(ask).await;
        let room = match counted {
            Some(tokens) => {
                let least = request.answer_tokens_max.clamp(1, ANSWER_TOKENS_MIN);
                let tokens_max = request.context_tokens_max.saturating_sub(least);
                if tokens > tokens_max && written == 0 {
                    return Err(Fault::Refused(Refusal::PromptTooLong { tokens, tokens_max }));
                }
                request.context_tokens_max.saturating_sub(tokens).max(1)
            }
            None => answer_max,
        };
        ask.body.insert("max_tokens".into(), answer_max.min(room).into());
        Ok(counted)
    }

    /// How many tokens a chat's prompt has, in the one or the other way in which servers tell it.
    async fn count(&self, ask: &Ask) -> Option<u32> {
        let link = self.link.upgrade()?;
        if ask.path != ask::CHAT {
            return None;
        }
        let known = link.state().counting;
        for way in [Counting::LlamaServer, Counting::Vllm] {
            if known != Counting::Unknown && known != way {
                continue;
            }
            let (path, field) = match way {
                Counting::LlamaServer => ("v1/chat/completions/input_tokens", "input_tokens"),
                _ => ("tokenize", "count"),
            };
            let body = ask::to_count(&ask.body);
            let asked = timeout(COUNT_TIMEOUT, self.client.ask_whole(path, &body)).await;
            let tokens =
                asked.ok().and_then(Result::ok).and_then(|answer: Value| answer.get(field)?.as_u64());
            if let Some(tokens) = tokens {
                link.state().counting = way;
                return Some(u32::try_from(tokens).unwrap_or(u32::MAX));
            }
        }
        if known == Counting::Unknown {
            link.state().counting = Counting::Never;
            tracing::info!(
                server = link.name,
                "the server does not tell how long a prompt is; one that is too long is noticed by its refusal"
            );
        }
        None
    }

    /// Waits for the server's next word. Before the first one, a server that is there is taken at its word that it works.
    async fn patiently<T>(
        &self,
        id: u64,
        prompt_tokens: Option<u32>,
        first_at: Option<Instant>,
        next: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        tokio::pin!(next);
        let began = Instant::now();
        loop {
            if let Ok(next) = timeout(SILENCE, &mut next).await {
                return next;
            }
            if began.elapsed() > FIRST_WORD_TIMEOUT {
                let detail = format!("no word came of it for {FIRST_WORD_TIMEOUT:?}");
                return Err(Fault::Refused(Refusal::Unable { detail }));
            }
            self.client.probe(Some(&self.served.model)).await?;
            if first_at.is_none() {
                let total = prompt_tokens.unwrap_or(0);
                self.say(id, Event::Prefill { id, done: 0, total });
            }
        }
    }

    async fn vectors(&self, id: u64, passages: &[Vec<Stretch>]) -> Result<(Finish, Usage), Fault> {
        let ask = ask::vectors(&self.served.model, passages)?;
        let asked = self.client.ask_whole(ask.path, &ask.body);
        let answer = self.patiently(id, None, None, asked).await?;
        let nonsense = || Refusal::Unable { detail: "the server sent no vectors".to_owned() };
        let rows = answer["data"].as_array().filter(|rows| rows.len() == passages.len());
        let mut vectors: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
        for (place, row) in (0..).zip(rows.ok_or_else(|| Fault::Refused(nonsense()))?) {
            let numbers = row["embedding"].as_array().map(|numbers| numbers.iter().map(Value::as_f64));
            let numbers: Option<Vec<f64>> = numbers.and_then(Iterator::collect);
            let vector =
                numbers.and_then(|numbers| unit(&numbers)).ok_or_else(|| Fault::Refused(nonsense()))?;
            vectors.insert(row["index"].as_u64().unwrap_or(place), vector);
        }
        if vectors.len() != passages.len() {
            return Err(Fault::Refused(nonsense()));
        }
        for vector in vectors.into_values() {
            self.say(id, Event::Found { id, finding: Finding::Vector(vector) });
        }
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
        let prompt_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Ok((Finish::EndOfTurn, Usage { prompt_tokens, ..Usage::default() }))
    }

    fn token(&self, begun: &Begun, id: u64, next: &mut usize, chosen: Chosen) {
        begun.add(id, *next, &chosen.parts);
        let token = i32::try_from(*next).unwrap_or(i32::MAX);
        *next += 1;
        self.say(id, Event::Token { id, token, chosen });
    }

    fn read(&self, id: u64, prompt_tokens: Option<u32>) {
        let total = prompt_tokens.unwrap_or(0);
        self.say(id, Event::Prefill { id, done: total, total });
    }

    fn say(&self, id: u64, event: Event) {
        if let Some(link) = self.link.upgrade() {
            link.say(id, event);
        }
    }
}

/// Of length 1; `None` for one that has no direction.
fn unit(numbers: &[f64]) -> Option<Vec<f32>> {
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a vector's numbers are between -1 and 1, to a float's precision"
    )]
    let scaled = |number: &f64| (number / length) as f32;
    (length.is_finite() && length > 0.0).then(|| numbers.iter().map(scaled).collect())
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

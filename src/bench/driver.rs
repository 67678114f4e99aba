//! One worker under measurement: sends requests, and notes when each token comes.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archond_models::worker::{
    AnswerForm, Conversation, Event, Prompt, Request, Role, SamplingParams, Spawner, Turn, Usage, Worker,
    WorkerSpec,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::figures::{percentile, sorted};
use super::{BenchError, Sessions};

/// Nothing is said for longer only by a worker that hangs, or by a machine that others have taken.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Several conversations at once.
pub(super) struct Load {
    pub(super) sessions: u32,
    pub(super) turns: usize,
    /// Tokens of each answer.
    pub(super) answer_tokens: u32,
    /// What all of them begin with.
    pub(super) instructions: String,
}

/// One conversation.
struct Session {
    conversation: Conversation,
    turns_left: usize,
    asked: Instant,
    answer: String,
    last_token: Option<Instant>,
}

/// What is noted of all conversations.
#[derive(Default)]
struct Noted {
    first_tokens: Vec<f64>,
    gap_max: f64,
    usage: Vec<Usage>,
}

pub(super) struct Driver {
    worker: Worker,
    events: UnboundedReceiver<(Instant, Event)>,
    last_id: u64,
    slots: u32,
    context_tokens: u32,
    load_time: Duration,
}

impl Driver {
    /// Starts a worker and waits until it is ready.
    pub(super) async fn start(spawner: &Spawner, spec: WorkerSpec) -> Result<Self, BenchError> {
        let (sender, events) = unbounded_channel(); // bounded by the few tokens that are asked for
        let began = Instant::now();
        let told = move |event| drop(sender.send((Instant::now(), event)));
        let worker = spawner.launch(spec, Arc::new(told)).await?;
        let mut driver =
            Self { worker, events, last_id: 0, slots: 0, context_tokens: 0, load_time: Duration::ZERO };
        loop {
            if let (at, Event::Ready { slots, context_tokens }) = driver.next().await? {
                (driver.slots, driver.context_tokens) = (slots, context_tokens);
                driver.load_time = at - began;
                return Ok(driver);
            }
        }
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    pub(super) fn load_time(&self) -> Duration {
        self.load_time
    }

    /// As the kernel counts it: `VmHWM`, mapped pages of the model included.
    pub(super) fn memory_peak_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.worker.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }

    /// Processor time that the worker has used.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.worker.pid())).unwrap_or_default();
        // The name, in brackets, may hold blanks; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
        let ticks: u64 = fields
            .iter()
            .flat_map(|fields| fields.get(11..13).unwrap_or_default())
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64
    }

    async fn next(&mut self) -> Result<(Instant, Event), BenchError> {
        let heard = timeout(SILENCE_MAX, self.events.recv()).await;
        let gone = || BenchError::Ended { detail: "it is gone".to_owned() };
        match heard.map_err(|_| BenchError::Silent(SILENCE_MAX))?.ok_or_else(gone)? {
            (_, Event::Exited { detail, .. }) => Err(BenchError::Ended { detail }),
            (_, Event::Refused { refusal, .. }) => {
                Err(BenchError::Refused { detail: format!("{refusal:?}") })
            }
            event => Ok(event),
        }
    }

    fn ask(&mut self, prompt: Prompt, answer_tokens: u32) -> Result<u64, BenchError> {
        self.last_id += 1;
        let request = Request {
            id: self.last_id,
            prompt,
            form: AnswerForm { ignores_end: true, ..AnswerForm::default() },
            sampling: SamplingParams::GREEDY,
            resume: Vec::new(),
            answer_tokens_max: answer_tokens,
            context_tokens_max: self.context_tokens,
        };
        let taken = self.worker.send(request);
        let gone = || BenchError::Ended { detail: "it takes no requests".to_owned() };
        taken.then_some(self.last_id).ok_or_else(gone)
    }

    /// Lets the model go on with bare text.
    pub(super) async fn complete(&mut self, text: &str, answer_tokens: u32) -> Result<Usage, BenchError> {
        let asked = self.ask(Prompt::Text(text.to_owned()), answer_tokens)?;
        loop {
            if let (_, Event::Finished { id, usage, .. }) = self.next().await?
                && id == asked
            {
                return Ok(usage);
            }
        }
    }

    /// Holds all conversations at once, to their end.
    pub(super) async fn converse(&mut self, load: &Load) -> Result<Sessions, BenchError> {
        let (began, cpu_before, mut noted) = (Instant::now(), self.cpu_seconds(), Noted::default());
        let mut sessions = BTreeMap::new();
        for number in 0..load.sessions {
            let conversation = Conversation { system: load.instructions.clone(), ..Conversation::default() };
            let session = Session {
                conversation,
                turns_left: load.turns,
                asked: began,
                answer: String::new(),
                last_token: None,
            };
            self.turn(session, number.into(), load, &mut sessions)?;
        }
        let mut ended = began;
        while !sessions.is_empty() {
            let (at, event) = self.next().await?;
            match event {
                Event::Token { id, chosen, .. } => {
                    if let Some(session) = sessions.get_mut(&id) {
                        match session.last_token.replace(at) {
                            None => noted.first_tokens.push((at - session.asked).as_secs_f64()),
                            Some(before) => noted.gap_max = noted.gap_max.max((at - before).as_secs_f64()),
                        }
                        session.answer.push_str(&chosen.words());
                    }
                }
                Event::Finished { id, usage, .. } => {
                    ended = at;
                    noted.usage.push(usage);
                    if let Some(session) = sessions.remove(&id) {
                        self.turn(session, id, load, &mut sessions)?;
                    }
                }
                _ => {}
            }
        }
        let sum = |of: fn(&Usage) -> u32| noted.usage.iter().map(|usage| u64::from(of(usage))).sum::<u64>();
        let first_tokens = sorted(noted.first_tokens);
        Ok(Sessions {
            sessions: load.sessions,
            tokens_per_second: sum(|usage| usage.answer_tokens) as f64
                / (ended - began).as_secs_f64().max(1e-9),
            first_token_p50: percentile(&first_tokens, 0.5),
            first_token_p95: percentile(&first_tokens, 0.95),
            gap_max: noted.gap_max,
            prompt_tokens: sum(|usage| usage.prompt_tokens),
            reused_tokens: sum(|usage| usage.cached_tokens),
            cpu_seconds: self.cpu_seconds() - cpu_before,
        })
    }

    /// The next turn of a conversation, if it has one left.
    fn turn(
        &mut self,
        mut session: Session,
        seed: u64,
        load: &Load,
        sessions: &mut BTreeMap<u64, Session>,
    ) -> Result<(), BenchError> {
        if session.turns_left == 0 {
            return Ok(());
        }
        if !session.answer.is_empty() {
            let answer = std::mem::take(&mut session.answer);
            session.conversation.turns.push(Turn::text(Role::Assistant, answer));
        }
        let question = super::words::text(seed * 31 + session.turns_left as u64, 20);
        session.conversation.turns.push(Turn::text(Role::User, question));
        let id = self.ask(Prompt::Chat(session.conversation.clone()), load.answer_tokens)?;
        sessions.insert(
            id,
            Session {
                turns_left: session.turns_left - 1,
                asked: Instant::now(),
                last_token: None,
                ..session
            },
        );
        Ok(())
    }
}

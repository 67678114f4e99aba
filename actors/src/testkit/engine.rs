//! An engine without a model: it answers with an echo of what was said, and dies, hangs and refuses on demand.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{Instant, timeout_at};

use super::findings::{self, found};
use super::media::media_tokens;
use super::tools::{calls_wanted, said};
use crate::domain::{
    ChatTurn, FinishReason, GenerationId, GenerationRequest, ModelId, Prompt, Refusal, Senses, Token, Usage,
};
use crate::ports::{Engine, EngineError, Footprint, Sink, WorkerEvent, WorkerLink};

/// How a worker of a model comes up.
#[derive(Debug, Clone, PartialEq)]
pub enum FakeLoad {
    /// Ready at once.
    Instant,
    /// Ready after this time, told in four steps.
    Takes(Duration),
    /// It ends with this error instead.
    Fails(EngineError),
}

/// What goes wrong, once each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FakeFault {
    /// A worker that has said this many tokens dies.
    Dies {
        /// So many, all its answers together.
        after_tokens: u32,
    },
    /// A worker that has said this many tokens does nothing any more, until it is killed.
    Hangs {
        /// So many, all its answers together.
        after_tokens: u32,
    },
    /// A worker goes on with an answer that it was asked to end.
    IgnoresCancel,
    /// The next request is refused.
    Refuses(Refusal),
    /// Starting a worker panics.
    LaunchPanics,
}

/// One model of the engine.
#[derive(Debug, Clone)]
struct FakeModel {
    load: FakeLoad,
    memory_bytes: u64,
    senses: Senses,
    on_disk: bool,
    launches: u32,
}

struct Script {
    models: BTreeMap<ModelId, FakeModel>,
    slots: u32,
    context_tokens: u32,
    token_delay: Duration,
    answer_tokens: Option<u32>,
    faults: Vec<FakeFault>,
    poison: Option<(String, u32)>,
    requests: Vec<GenerationRequest>,
    pids: u32,
}

/// The engine. Its clones are the same one.
#[derive(Clone)]
pub struct FakeEngine(Arc<Mutex<Script>>);

impl FakeEngine {
    /// An engine with these models on disk, 8 slots each, that answers at once.
    pub fn new(models: impl IntoIterator<Item = ModelId>) -> Self {
        let model = FakeModel {
            load: FakeLoad::Instant,
            memory_bytes: 1_000_000,
            senses: Senses::default(),
            on_disk: true,
            launches: 0,
        };
        Self(Arc::new(Mutex::new(Script {
            models: models.into_iter().map(|id| (id, model.clone())).collect(),
            slots: 8,
            context_tokens: 8192,
            token_delay: Duration::ZERO,
            answer_tokens: None,
            faults: Vec::new(),
            poison: None,
            requests: Vec::new(),
            pids: 1000,
        })))
    }

    /// Answers that workers started from now on give at once.
    pub fn set_slots(&self, slots: u32) {
        self.script().slots = slots;
    }

    /// Context of workers started from now on, in tokens; a token is a word.
    pub fn set_context_tokens(&self, tokens: u32) {
        self.script().context_tokens = tokens;
    }

    /// The time between two tokens.
    pub fn set_token_delay(&self, delay: Duration) {
        self.script().token_delay = delay;
    }

    /// Answers that begin from now on have this length; `None`: that of the echo.
    pub fn set_answer_tokens(&self, tokens: Option<u32>) {
        self.script().answer_tokens = tokens;
    }

    /// How workers of a model come up from now on.
    pub fn set_load(&self, model: &ModelId, load: FakeLoad) {
        if let Some(model) = self.script().models.get_mut(model) {
            model.load = load;
        }
    }

    /// How much memory a model takes.
    pub fn set_memory(&self, model: &ModelId, bytes: u64) {
        if let Some(model) = self.script().models.get_mut(model) {
            model.memory_bytes = bytes;
        }
    }

    /// What a model takes beside words.
    pub fn set_senses(&self, model: &ModelId, senses: Senses) {
        if let Some(model) = self.script().models.get_mut(model) {
            model.senses = senses;
        }
    }

    /// Whether a model is on disk.
    pub fn set_on_disk(&self, model: &ModelId, on_disk: bool) {
        if let Some(model) = self.script().models.get_mut(model) {
            model.on_disk = on_disk;
        }
    }

    /// Something will go wrong, once, as soon as it can.
    pub fn fail_once(&self, fault: FakeFault) {
        self.script().faults.push(fault);
    }

    /// A worker dies, each time, when it has said so many tokens in answer to a message that contains this text.
    pub fn poison(&self, text: &str, after_tokens: u32) {
        self.script().poison = Some((text.to_owned(), after_tokens));
    }

    /// How many workers of a model were started.
    pub fn launches(&self, model: &ModelId) -> u32 {
        self.script().models.get(model).map_or(0, |model| model.launches)
    }

    /// The requests that workers were given, in order.
    pub fn requests(&self) -> Vec<GenerationRequest> {
        self.script().requests.clone()
    }

    /// The answer to a message, word by word.
    pub fn answer_to(text: &str, answer_tokens: Option<u32>) -> Vec<String> {
        let echo =
            std::iter::once("echo:".to_owned()).chain(text.split_whitespace().map(|word| format!(" {word}")));
        match answer_tokens {
            None => echo.collect(),
            Some(tokens) => {
                let more = (1..).map(|number| format!(" {number}"));
                echo.chain(more).take(tokens as usize).collect()
            }
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn take_fault(&mut self, is_due: impl Fn(&FakeFault) -> bool) -> Option<FakeFault> {
        let index = self.faults.iter().position(is_due)?;
        Some(self.faults.remove(index))
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn on_disk(&self) -> Vec<ModelId> {
        let script = self.script();
        let models = script.models.iter().filter(|(_, model)| model.on_disk);
        models.map(|(id, _)| id.clone()).collect()
    }

    fn footprint(&self, model: &ModelId) -> Option<Footprint> {
        let script = self.script();
        let fake = script.models.get(model).filter(|model| model.on_disk)?;
        let (file_bytes, memory_bytes) = (1_000_000, fake.memory_bytes);
        Some(Footprint {
            file_bytes,
            memory_bytes,
            arithmetic: format!("{memory_bytes} bytes, as the test says"),
            senses: fake.senses,
        })
    }

    #[expect(
        clippy::panic,
        clippy::disallowed_methods,
        reason = "it stands for a process, which breaks and is nobody's task"
    )]
    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError> {
        let mut script = self.script();
        if script.take_fault(|fault| *fault == FakeFault::LaunchPanics).is_some() {
            drop(script);
            panic!("asked to panic");
        }
        script.pids += 1;
        let (pid, slots, context_tokens) = (script.pids, script.slots, script.context_tokens);
        let not_on_disk = || EngineError::NotOnDisk { model: model.clone() };
        let fake = script.models.get_mut(model).filter(|model| model.on_disk).ok_or_else(not_on_disk)?;
        fake.launches += 1;
        let (sender, commands) = mpsc::unbounded_channel();
        let process = Process {
            model: model.clone(),
            load: fake.load.clone(),
            engine: self.clone(),
            events,
            commands,
            slots,
            context_tokens,
            running: Vec::new(),
            said: 0,
        };
        tokio::spawn(process.run());
        Ok(Arc::new(FakeLink { pid, commands: sender }))
    }
}

enum Command {
    Generate(GenerationRequest),
    Cancel(GenerationId),
    Kill,
}

struct FakeLink {
    pid: u32,
    commands: mpsc::UnboundedSender<Command>,
}

impl WorkerLink for FakeLink {
    fn generate(&self, request: GenerationRequest) -> bool {
        self.commands.send(Command::Generate(request)).is_ok()
    }

    fn cancel(&self, id: GenerationId) {
        // A process that is gone has nothing to cancel.
        let _ = self.commands.send(Command::Cancel(id));
    }

    fn kill(&self) {
        // A process that is gone cannot be killed.
        let _ = self.commands.send(Command::Kill);
    }

    fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }

    fn processor(&self) -> Option<String> {
        Some("100% CPU".to_owned())
    }
}

/// Why the process ends.
struct Death(EngineError);

struct Answer {
    request: GenerationRequest,
    words: Vec<String>,
    /// Tokens of the answer so far, resumed ones included.
    len: usize,
    poisoned_after: Option<u32>,
}

struct Process {
    model: ModelId,
    load: FakeLoad,
    engine: FakeEngine,
    events: Sink<WorkerEvent>,
    commands: mpsc::UnboundedReceiver<Command>,
    slots: u32,
    context_tokens: u32,
    running: Vec<Answer>,
    said: u32,
}

impl Process {
    async fn run(mut self) {
        let Death(error) = match self.load().await {
            Ok(()) => self.serve().await,
            Err(death) => death,
        };
        (self.events)(WorkerEvent::Exited { error });
    }

    async fn load(&mut self) -> Result<(), Death> {
        match self.load.clone() {
            FakeLoad::Instant => {}
            FakeLoad::Fails(error) => return Err(Death(error)),
            FakeLoad::Takes(time) => {
                for percent in [25, 50, 75, 100] {
                    self.wait(time / 4).await?;
                    (self.events)(WorkerEvent::Loading { percent });
                }
            }
        }
        (self.events)(WorkerEvent::Ready { slots: self.slots, context_tokens: self.context_tokens });
        Ok(())
    }

    async fn serve(&mut self) -> Death {
        loop {
            if let Err(death) = self.step().await {
                return death;
            }
        }
    }

    /// Waits for the next token's time, or for a command while there is nothing to say; then says a token of each answer.
    async fn step(&mut self) -> Result<(), Death> {
        if self.running.is_empty() {
            let command = self.commands.recv().await;
            self.obey(command)?;
        }
        let delay = self.engine.script().token_delay;
        self.wait(delay).await?;
        for index in (0..self.running.len()).rev() {
            self.misbehave(index).await?;
            self.say(index);
        }
        Ok(())
    }

    /// Obeys commands for so long. Without a delay the clock is left alone: it ticks in milliseconds.
    async fn wait(&mut self, delay: Duration) -> Result<(), Death> {
        // Others have to run, too.
        tokio::task::yield_now().await;
        if delay.is_zero() {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.obey(Some(command))?,
                    Err(TryRecvError::Empty) => return Ok(()),
                    Err(TryRecvError::Disconnected) => return self.obey(None),
                }
            }
        }
        let then = Instant::now() + delay;
        while let Ok(command) = timeout_at(then, self.commands.recv()).await {
            self.obey(command)?;
        }
        Ok(())
    }

    fn obey(&mut self, command: Option<Command>) -> Result<(), Death> {
        match command {
            Some(Command::Generate(request)) => self.begin(request),
            Some(Command::Cancel(id)) => {
                let ignores = |fault: &FakeFault| *fault == FakeFault::IgnoresCancel;
                let index = self.running.iter().position(|answer| answer.request.id == id);
                if let Some(index) = index.filter(|_| self.engine.script().take_fault(ignores).is_none()) {
                    self.finish(index, FinishReason::Cancelled);
                }
            }
            // All links are dropped: nobody wants the process any more.
            Some(Command::Kill) | None => return Err(self.death("killed by signal 9")),
        }
        Ok(())
    }

    fn begin(&mut self, request: GenerationRequest) {
        let id = request.id;
        let mut script = self.engine.script();
        script.requests.push(request.clone());
        let text = match &*request.prompt {
            Prompt::Inquiry(inquiry) => findings::words(inquiry),
            prompt => prompt.turns().last().map(ChatTurn::words).unwrap_or_default(),
        };
        let answer = || FakeEngine::answer_to(&text, script.answer_tokens);
        let words = calls_wanted(&request.prompt).unwrap_or_else(answer);
        let refuses = |fault: &FakeFault| matches!(fault, FakeFault::Refuses(_));
        let tokens = prompt_tokens(&request);
        let tokens_max = request.context_tokens_max.min(self.context_tokens);
        let expected = (0..).map(Token).take(request.resume.len());
        let refusal = if let Some(FakeFault::Refuses(refusal)) = script.take_fault(refuses) {
            Some(refusal)
        } else if tokens >= tokens_max {
            Some(Refusal::PromptTooLong { tokens, tokens_max })
        } else if request.prompt.takes_slot() && self.running.len() >= self.slots as usize {
            Some(Refusal::NoFreeSlot)
        } else if !request.resume.iter().copied().eq(expected) {
            Some(Refusal::Engine { detail: "the resumed tokens are not those of this answer".into() })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            drop(script);
            return (self.events)(WorkerEvent::Refused { id, refusal });
        }
        let poison = script.poison.as_ref().filter(|(poison, _)| text.contains(poison.as_str()));
        let poisoned_after = poison.map(|(_, after)| *after);
        drop(script);
        if let (Prompt::Inquiry(inquiry), None) = (&*request.prompt, poisoned_after) {
            found(inquiry).into_iter().for_each(|finding| (self.events)(WorkerEvent::Found { id, finding }));
            let (reason, usage) = (FinishReason::EndOfTurn, Usage::default());
            return (self.events)(WorkerEvent::Finished { id, reason, usage });
        }
        (self.events)(WorkerEvent::Prefill { id, done: tokens, total: tokens });
        self.running.push(Answer { len: request.resume.len(), request, words, poisoned_after });
    }

    async fn misbehave(&mut self, index: usize) -> Result<(), Death> {
        let answer = self.running.get(index);
        if answer
            .is_some_and(|answer| answer.poisoned_after.is_some_and(|after| answer.len >= after as usize))
        {
            return Err(self.death("killed by signal 11"));
        }
        let said = self.said;
        let fault = self.engine.script().take_fault(|fault| match fault {
            FakeFault::Dies { after_tokens } | FakeFault::Hangs { after_tokens } => said >= *after_tokens,
            FakeFault::IgnoresCancel | FakeFault::Refuses(_) | FakeFault::LaunchPanics => false,
        });
        match fault {
            Some(FakeFault::Dies { .. }) => Err(self.death("killed by signal 6: assertion failed")),
            Some(FakeFault::Hangs { .. }) => loop {
                if let Some(Command::Kill) | None = self.commands.recv().await {
                    return Err(self.death("killed by signal 9"));
                }
            },
            _ => Ok(()),
        }
    }

    fn say(&mut self, index: usize) {
        let Some(answer) = self.running.get_mut(index) else { return };
        let context = answer.request.context_tokens_max.min(self.context_tokens) as usize;
        let full = prompt_tokens(&answer.request) as usize + answer.len >= context;
        let Some(text) = answer.words.get(answer.len).cloned() else {
            return self.finish(index, FinishReason::EndOfTurn);
        };
        if full || answer.len >= answer.request.answer_tokens_max as usize {
            return self.finish(index, FinishReason::Length);
        }
        let token = Token(i32::try_from(answer.len).unwrap_or(i32::MAX));
        answer.len += 1;
        self.said += 1;
        let id = answer.request.id;
        (self.events)(WorkerEvent::Token { id, token, chosen: said(&text) });
    }

    fn finish(&mut self, index: usize, reason: FinishReason) {
        let answer = self.running.remove(index);
        let usage = Usage {
            prompt_tokens: prompt_tokens(&answer.request),
            media_tokens: media_tokens(&answer.request),
            answer_tokens: u32::try_from(answer.len).unwrap_or(u32::MAX),
            ..Usage::default()
        };
        (self.events)(WorkerEvent::Finished { id: answer.request.id, reason, usage });
    }

    fn death(&self, detail: &str) -> Death {
        Death(EngineError::Exited { model: self.model.clone(), detail: detail.to_owned() })
    }
}

/// The length of a prompt: its words, and its media.
fn prompt_tokens(request: &GenerationRequest) -> u32 {
    let turns = request.prompt.turns().iter().map(ChatTurn::words);
    let words: usize = std::iter::once(request.prompt.system().to_owned())
        .chain(turns)
        .map(|text| text.split_whitespace().count())
        .sum();
    u32::try_from(words).unwrap_or(u32::MAX).saturating_add(media_tokens(request))
}

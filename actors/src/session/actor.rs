//! Runs the turns of one conversation. Talks down to memory and the pool; the harness talks to it.
//!
//! Bad input ends as an answer. A store or pool that fails ends the try, which goes back to Hermes.
//! A bug ends the actor; the next message brings the session back from the store.
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::handle::{SessionArgs, SessionError, SessionFact};
use super::order::OpenOrder;
use super::turn::{Effect, Turn, TurnFailure, View};
use crate::compaction;
use crate::domain::{
    ActorState, InboxEntry, InboxId, MessageKey, ModelId, NewAnswer, NewTurn, Priority, Prompt, SessionHead,
    SessionSnapshot, SessionStatus, Summary, TurnEnd, TurnEvent, TurnRecord, Usage,
};
use crate::insight::{Inspection, Message};
use crate::link::{Envelope, Link, answer};
use crate::memory::MemoryError;
use crate::pool::{GenerationEvent, GenerationOrder};
use crate::ports::StoreError;
use crate::routing::{self, RouteInput};

/// Hermes' shortest sensible patience is many times this; telling each token would only cost time.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
/// Longest summary, in tokens: a twentieth of the usual context.
const SUMMARY_TOKENS_MAX: u32 = 400;

pub(crate) enum SessionMsg {
    /// Begin a turn, instead of the one that runs, if one does; a try of the same message that is no later one goes on.
    RunTurn { entry: InboxEntry, attempt: u32 },
    /// End the running turn at its next step.
    StopTurn,
    /// Give the try of this message up: Hermes lost patience and begins another one, or has told its sender.
    GiveUpTurn { inbox: InboxId },
    /// Fact from the pool about the `ask`th request of this session.
    GenerationHappened { ask: u64, event: GenerationEvent },
    /// Fact from the timer that was set when turn number `epoch` ended.
    IdleElapsed { epoch: u64 },
    /// Answers what the session says of itself.
    GetStatus { reply: RpcReplyPort<Result<SessionStatus, SessionError>> },
}

impl Message for SessionMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::RunTurn { .. } => "run-turn",
            Self::StopTurn => "stop-turn",
            Self::GiveUpTurn { .. } => "give-up-turn",
            Self::GenerationHappened { .. } => "generation-happened",
            Self::IdleElapsed { .. } => "idle-elapsed",
            Self::GetStatus { .. } => "get-status",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::RunTurn { entry, attempt } => Some(format!("message {}, try {attempt}", entry.id)),
            Self::GiveUpTurn { inbox } => Some(format!("message {inbox}")),
            Self::GenerationHappened { event, .. } => Some(event.kind().to_owned()),
            Self::StopTurn | Self::IdleElapsed { .. } | Self::GetStatus { .. } => None,
        }
    }
}

pub(super) struct SessionActor {
    pub(super) link: Link<SessionMsg>,
}

pub(super) struct SessionState {
    me: ActorRef<Envelope<SessionMsg>>,
    args: SessionArgs,
    /// The conversation; `None` until the first turn needs it.
    memory: Option<SessionSnapshot>,
    running: Option<Running>,
    /// Serial number of the last request to the pool: events of earlier ones are stale.
    ask: u64,
    /// Turns begun: an idle timer that was set before the last one is stale.
    epoch: u64,
    idle_timer: Option<tokio::task::AbortHandle>,
    last: LastTurn,
}

/// What is known from the last answer, for `/status`.
#[derive(Default)]
struct LastTurn {
    usage: Usage,
    model: Option<ModelId>,
}

struct Running {
    entry: InboxEntry,
    attempt: u32,
    turn: Turn,
    generation: Option<OpenOrder>,
    queued: bool,
    progress_told: Option<Instant>,
}

impl Actor for SessionActor {
    type Msg = Envelope<SessionMsg>;
    type State = SessionState;
    type Arguments = SessionArgs;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: SessionArgs,
    ) -> Result<SessionState, ActorProcessingErr> {
        self.link.attach(me.clone());
        let mut state = SessionState {
            me,
            args,
            memory: None,
            running: None,
            ask: 0,
            epoch: 0,
            idle_timer: None,
            last: LastTurn::default(),
        };
        state.set_idle_timer();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<Self::Msg>,
        msg: Self::Msg,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(self.link.vitals()).await;
        work.run(async {
            match msg {
                SessionMsg::RunTurn { entry, attempt } => state.on_run_turn(entry, attempt).await,
                SessionMsg::StopTurn => state.on_stop_turn().await,
                SessionMsg::GiveUpTurn { inbox } => state.on_give_up_turn(inbox),
                SessionMsg::GenerationHappened { ask, event } => {
                    state.on_generation_happened(ask, event).await
                }
                SessionMsg::IdleElapsed { epoch } => state.on_idle_elapsed(epoch),
                SessionMsg::GetStatus { reply } => answer(reply, Ok(state.status())),
            }
            self.link.vitals().say(state.state());
            Ok(())
        })
        .await
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Self::Msg>,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        // Its request goes with it.
        state.running = None;
        if let Some(timer) = state.idle_timer.take() {
            timer.abort();
        }
        Ok(())
    }
}

impl SessionState {
    async fn on_run_turn(&mut self, entry: InboxEntry, attempt: u32) {
        let inbox = entry.id;
        let asked_again = |running: &&mut Running| running.entry.id == inbox && attempt <= running.attempt;
        if let Some(running) = self.running.as_mut().filter(asked_again) {
            // Hermes was restarted and asks for what runs already.
            running.attempt = attempt;
            return;
        }
        self.running = None;
        self.epoch += 1;
        match self.prepare(&entry).await {
            Ok(1) => {}
            Ok(attempt) => {
                self.args.observers.publish(&entry.message_key(), TurnEvent::Retrying { attempt });
            }
            Err(error) => {
                let fact = self.without_a_turn(&entry, attempt, error).await;
                (self.args.report)(fact);
                return self.set_idle_timer();
            }
        }
        let (turn, effects) = Turn::begin(entry.text.clone(), self.view());
        self.running =
            Some(Running { entry, attempt, turn, generation: None, queued: false, progress_told: None });
        self.perform(effects).await;
    }

    /// Counts the try, over all lives of the daemon, and reads the conversation if that was not done before.
    async fn prepare(&mut self, entry: &InboxEntry) -> Result<u32, MemoryError> {
        let number = self.args.memory.begin_attempt(entry.id).await?;
        if self.memory.is_none() {
            let key = self.args.key.clone();
            let kept = self.args.memory.session(&key).await?;
            let now = self.args.clock.now_unix_ms();
            self.memory = Some(kept.unwrap_or_else(|| SessionSnapshot {
                head: SessionHead {
                    key,
                    created_unix_ms: now,
                    updated_unix_ms: now,
                    turns: 0,
                    summary: None,
                },
                turns: Vec::new(),
            }));
            if let Some(last) = self.memory.as_ref().and_then(|memory| memory.turns.last()) {
                self.last = LastTurn { usage: last.usage, model: Some(last.model.clone()) };
            }
        }
        Ok(number)
    }

    /// What a try came to that could not begin: perhaps an earlier one was kept, and nobody heard of it.
    async fn without_a_turn(&self, entry: &InboxEntry, attempt: u32, error: MemoryError) -> SessionFact {
        let inbox = entry.id;
        if matches!(error, MemoryError::Store(StoreError::NotFound { .. }))
            && let Ok(Some(answer)) = self.args.memory.answer_to(inbox).await
        {
            self.args.observers.publish(&entry.message_key(), TurnEvent::Ended { answer });
            return SessionFact::Ended { inbox };
        }
        SessionFact::Failed { inbox, attempt, failure: TurnFailure::Memory(error.to_string()) }
    }

    async fn on_stop_turn(&mut self) {
        let effects = self.running.as_mut().map(|running| running.turn.stop());
        self.perform(effects.unwrap_or_default()).await;
    }

    fn on_give_up_turn(&mut self, inbox: InboxId) {
        if self.running.take_if(|running| running.entry.id == inbox).is_some() {
            self.set_idle_timer();
        }
    }

    async fn on_generation_happened(&mut self, ask: u64, event: GenerationEvent) {
        if ask != self.ask {
            return;
        }
        self.tell_progress();
        let view = self.view();
        let Some(running) = &mut self.running else { return };
        running.queued = matches!(event, GenerationEvent::Queued { .. });
        if matches!(event, GenerationEvent::Finished { .. } | GenerationEvent::Failed { .. }) {
            running.generation.take().into_iter().for_each(OpenOrder::ended);
        }
        let effects = running.turn.generation(event, view);
        self.perform(effects).await;
    }

    fn on_idle_elapsed(&mut self, epoch: u64) {
        if epoch == self.epoch && self.running.is_none() {
            (self.args.report)(SessionFact::Idle { key: self.args.key.clone() });
        }
    }

    /// Does what the turn says, and what it says next, until it waits for the pool or has ended.
    async fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Publish(event) => self.publish(event),
                Effect::CancelGeneration => self.cancel_generation(),
                Effect::AskAnswer => effects.extend(self.ask_answer().await),
                Effect::AskSummary { turns } => effects.extend(self.ask_summary(turns).await),
                Effect::SaveSummary { text, turns } => effects.extend(self.save_summary(text, turns).await),
                Effect::End { turn, answer } => self.end(turn, answer).await,
                Effect::GiveBack(failure) => self.give_back(failure),
            }
        }
    }

    async fn ask_answer(&mut self) -> Vec<Effect> {
        let (Some(memory), Some(running)) = (&self.memory, &self.running) else { return vec![] };
        let summary = memory.head.summary.as_ref();
        let prompt = compaction::prompt(&self.args.spec.persona, summary, &memory.turns, &running.entry.text);
        self.ask(prompt, self.args.spec.limits.answer_tokens_max).await
    }

    async fn ask_summary(&mut self, turns: usize) -> Vec<Effect> {
        let Some(memory) = &self.memory else { return vec![] };
        let turns = memory.turns.get(..turns).unwrap_or(&memory.turns);
        let prompt = compaction::summary_prompt(&self.args.spec.persona, memory.head.summary.as_ref(), turns);
        self.ask(prompt, SUMMARY_TOKENS_MAX.min(self.args.spec.limits.answer_tokens_max)).await
    }

    /// Hands a request to the pool; a refusal at once is the turn's next input.
    async fn ask(&mut self, prompt: Prompt, answer_tokens_max: u32) -> Vec<Effect> {
        let Some(running) = &self.running else { return vec![] };
        let spec = &self.args.spec;
        let input = RouteInput {
            text: &running.entry.text,
            channel: &self.args.key.channel,
            turns: self.memory.as_ref().map_or(0, |memory| memory.head.turns),
        };
        let order = GenerationOrder {
            archon: spec.id.clone(),
            session: self.args.key.clone(),
            priority: Priority::Direct,
            models: routing::models_for(&spec.route, input),
            prompt: Arc::new(prompt),
            form: Arc::default(),
            sampling: spec.sampling,
            answer_tokens_max,
            context_tokens_max: spec.context.tokens_max,
        };
        self.ask += 1;
        let (ask, me) = (self.ask, self.me.clone());
        let events = Arc::new(move |event| {
            // A session that is gone needs no more tokens; its successor asks anew.
            let _ = me.send_message(Envelope::fact(SessionMsg::GenerationHappened { ask, event }));
        });
        let asked = self.args.pool.generate(order, events).await;
        let view = self.view();
        match (asked, &mut self.running) {
            (Ok(generation), Some(running)) => {
                running.generation = Some(OpenOrder::new(self.args.pool.clone(), generation));
                vec![]
            }
            (Err(error), Some(running)) => running.turn.refused(error, view),
            (_, None) => vec![],
        }
    }

    async fn save_summary(&mut self, text: Option<String>, turns: usize) -> Vec<Effect> {
        let Some(memory) = &mut self.memory else { return vec![] };
        let turns = turns.min(memory.turns.len());
        let former = memory.head.summary.as_ref();
        let text = text.unwrap_or_else(|| compaction::makeshift_summary(former, &memory.turns[..turns]));
        let covered = former.map_or(0, |summary| summary.turns) + turns as u64;
        let summary = Summary { text, turns: covered };
        if let Err(error) = self.args.memory.set_summary(self.args.key.clone(), summary.clone()).await {
            // The store knows better what the conversation is: it is read anew.
            self.memory = None;
            return vec![Effect::GiveBack(TurnFailure::Memory(error.to_string()))];
        }
        memory.head.summary = Some(summary);
        memory.turns.drain(..turns);
        self.last.usage = Usage::default();
        self.running.as_mut().map(|running| running.turn.summary_saved()).unwrap_or_default()
    }

    async fn end(&mut self, turn: Option<NewTurn>, answer: NewAnswer) {
        let Some(running) = self.running.take() else { return };
        let now = self.args.clock.now_unix_ms();
        let inbox = running.entry.id;
        let end = TurnEnd { inbox, turn: turn.clone(), answer, ended_unix_ms: now };
        match self.args.memory.end_turn(end).await {
            Ok(answer) => {
                self.remember(inbox, turn, now);
                self.args.observers.publish(&running.entry.message_key(), TurnEvent::Ended { answer });
                (self.args.report)(SessionFact::Ended { inbox });
            }
            Err(error) => {
                // Whether it was kept is not known: what is in memory may be behind the store.
                self.memory = None;
                let failure = TurnFailure::Memory(error.to_string());
                (self.args.report)(SessionFact::Failed { inbox, attempt: running.attempt, failure });
            }
        }
        self.set_idle_timer();
    }

    fn remember(&mut self, inbox: InboxId, turn: Option<NewTurn>, now: u64) {
        let (Some(memory), Some(turn)) = (&mut self.memory, turn) else { return };
        self.last = LastTurn { usage: turn.usage, model: Some(turn.model.clone()) };
        memory.turns.push(TurnRecord {
            number: memory.head.turns,
            inbox,
            user: turn.user,
            answer: turn.answer,
            stopped: turn.stopped,
            model: turn.model,
            steps: turn.steps,
            usage: turn.usage,
            ended_unix_ms: now,
        });
        memory.head.turns += 1;
        memory.head.updated_unix_ms = now;
    }

    fn give_back(&mut self, failure: TurnFailure) {
        let Some(running) = self.running.take() else { return };
        let (inbox, attempt) = (running.entry.id, running.attempt);
        (self.args.report)(SessionFact::Failed { inbox, attempt, failure });
        self.set_idle_timer();
    }

    fn cancel_generation(&mut self) {
        if let Some(generation) = self.running.as_ref().and_then(|running| running.generation.as_ref()) {
            generation.cancel();
        }
    }

    fn publish(&self, event: TurnEvent) {
        if let Some(key) = self.message_key() {
            self.args.observers.publish(&key, event);
        }
    }

    fn message_key(&self) -> Option<MessageKey> {
        self.running.as_ref().map(|running| running.entry.message_key())
    }

    fn tell_progress(&mut self) {
        let Some(running) = &mut self.running else { return };
        let now = Instant::now();
        if running.progress_told.is_none_or(|told| now - told >= PROGRESS_PERIOD) {
            running.progress_told = Some(now);
            (self.args.report)(SessionFact::Progress { inbox: running.entry.id });
        }
    }

    fn set_idle_timer(&mut self) {
        let epoch = self.epoch;
        let idle = self.args.spec.limits.session_idle;
        let timer = self.me.send_after(idle, move || Envelope::fact(SessionMsg::IdleElapsed { epoch }));
        if let Some(former) = self.idle_timer.replace(timer.abort_handle()) {
            former.abort();
        }
    }

    fn view(&self) -> View {
        View {
            policy: self.args.spec.context,
            uncovered: self.memory.as_ref().map_or(0, |memory| memory.turns.len()),
            context_tokens: self.last.usage.context_tokens(),
        }
    }

    fn state(&self) -> ActorState {
        match &self.running {
            None => ActorState::Ready,
            Some(running) if running.turn.is_compacting() => ActorState::Compacting,
            Some(running) if running.queued => ActorState::Queued,
            Some(_) => ActorState::Running,
        }
    }

    fn inspect(&self) -> Inspection {
        let mut facts = Inspection::new();
        if let Some(running) = &self.running {
            facts.push(("message", running.entry.id.to_string().into()));
            facts.push(("try", running.attempt.into()));
            if let Some(generation) = &running.generation {
                facts.push(("request to the pool", generation.id().to_string().into()));
            }
        }
        facts.extend([
            ("requests so far", self.ask.into()),
            ("turns begun", self.epoch.into()),
            ("in memory", self.memory.is_some().into()),
        ]);
        if let Some(memory) = &self.memory {
            facts.push(("turns kept", memory.head.turns.into()));
            facts.push(("turns in the prompt", memory.turns.len().into()));
            facts.push(("turns summarised", memory.head.summary.as_ref().map_or(0, |s| s.turns).into()));
        }
        let usage = self.last.usage;
        facts.extend([
            ("context tokens", usage.context_tokens().into()),
            ("context tokens at most", self.args.spec.context.tokens_max.into()),
            ("prompt tokens cached", usage.cached_tokens.into()),
            ("prompt tokens from disk", usage.restored_tokens.into()),
            ("answer tokens guessed right", usage.accepted_tokens.into()),
        ]);
        if let Some(model) = &self.last.model {
            facts.push(("model", model.to_string().into()));
        }
        facts
    }

    fn status(&self) -> SessionStatus {
        let usage = self.last.usage;
        SessionStatus {
            key: self.args.key.clone(),
            state: self.state(),
            turns: self.memory.as_ref().map_or(0, |memory| memory.head.turns),
            context_tokens: usage.context_tokens(),
            context_tokens_max: self.args.spec.context.tokens_max,
            reuse_percent: percent(usage.cached_tokens, usage.prompt_tokens),
            model: self.last.model.clone(),
        }
    }
}

/// `part` of `whole` in percent, 0 of nothing.
fn percent(part: u32, whole: u32) -> u8 {
    let percent = u64::from(part) * 100 / u64::from(whole.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

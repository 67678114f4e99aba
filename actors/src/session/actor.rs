//! Runs the turns of one conversation. Talks down to memory and the pool; the harness talks to it.
//!
//! Bad input ends as an answer. A store or pool that fails ends the try, which goes back to Hermes.
//! A bug ends the actor; the next message brings the session back from the store.
use std::collections::HashMap;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::acting::Decision;
use super::calling::Resumed;
use super::errand::Errand;
use super::handle::{SessionArgs, SessionError, SessionFact};
use super::order::OpenOrder;
use super::preparing::Prepared;
use super::tidying::Tidying;
use super::turn::{Beginning, Task, Turn, View};
use crate::channel::Asking;
use crate::domain::{
    AGENT, ActorState, Brought, ContextPolicy, Grant, InboxEntry, InboxId, ModelId, Outcome, SessionSnapshot,
    SessionStatus, TurnEvent, Usage,
};
use crate::insight::{Inspection, Message, Station};
use crate::link::{Envelope, Link, answer};
use crate::pool::GenerationEvent;
use crate::showing::Unseen;
use crate::tools::{RunningCall, ToolKit};

pub(crate) enum SessionMsg {
    /// Begin a turn, instead of the one that runs, if one does; a try of the same message that is no later one goes on.
    RunTurn { entry: InboxEntry, attempt: u32 },
    /// End the running turn at its next step.
    StopTurn,
    /// These wait for the end of the turn that answers a message, in order.
    Waiting { behind: InboxId, waiting: Vec<InboxEntry> },
    /// Give the try of this message up: Hermes lost patience and begins another one, or has told its sender.
    GiveUpTurn { inbox: InboxId },
    /// Fact from the pool about the `ask`th request of this session.
    GenerationHappened { ask: u64, event: GenerationEvent },
    /// Fact from a source of tools: what became of a call of turn number `epoch`.
    CallEnded { epoch: u64, call: String, outcome: Outcome },
    /// Decide about a call that the owner was asked about. Answers what it was; `None`: he was not asked.
    Decide {
        call: Option<String>,
        decision: Decision,
        reply: RpcReplyPort<Result<Option<String>, SessionError>>,
    },
    /// Fact from a timer: the owner has not answered in time.
    ApprovalElapsed { epoch: u64, call: String, no: Decision },
    /// Fact from a timer: calls still run, or the owner has not answered.
    Tick { epoch: u64 },
    /// Fact from the timer that was set when turn number `epoch` ended.
    IdleElapsed { epoch: u64 },
    /// Do what the peer asks of the session itself. Answers what is said to him.
    Carry { out: Errand, reply: RpcReplyPort<Result<String, SessionError>> },
    /// Answers what the session says of itself.
    GetStatus { reply: RpcReplyPort<Result<SessionStatus, SessionError>> },
}

impl Message for SessionMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::RunTurn { .. } => "run-turn",
            Self::StopTurn => "stop-turn",
            Self::Waiting { .. } => "waiting",
            Self::GiveUpTurn { .. } => "give-up-turn",
            Self::GenerationHappened { .. } => "generation-happened",
            Self::CallEnded { .. } => "call-ended",
            Self::Decide { .. } => "decide",
            Self::ApprovalElapsed { .. } => "approval-elapsed",
            Self::Tick { .. } => "tick",
            Self::IdleElapsed { .. } => "idle-elapsed",
            Self::Carry { .. } => "carry-out",
            Self::GetStatus { .. } => "get-status",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::RunTurn { entry, attempt } => Some(format!("message {}, try {attempt}", entry.id)),
            Self::GiveUpTurn { inbox } => Some(format!("message {inbox}")),
            Self::Waiting { behind, waiting } => Some(format!("{} behind message {behind}", waiting.len())),
            Self::GenerationHappened { event, .. } => Some(event.kind().to_owned()),
            Self::CallEnded { call, .. } | Self::ApprovalElapsed { call, .. } => Some(format!("call {call}")),
            Self::Decide { decision, .. } => Some(format!("{decision:?}").to_lowercase()),
            Self::Carry { out, .. } => Some(format!("{out:?}")),
            Self::StopTurn | Self::IdleElapsed { .. } | Self::Tick { .. } | Self::GetStatus { .. } => None,
        }
    }
}

pub(super) struct SessionActor {
    pub(super) link: Link<SessionMsg>,
}

pub(super) struct SessionState {
    pub(super) me: ActorRef<Envelope<SessionMsg>>,
    pub(super) args: SessionArgs,
    /// The conversation; `None` until the first turn needs it.
    pub(super) memory: Option<SessionSnapshot>,
    pub(super) running: Option<Running>,
    /// A summary that is being written meanwhile; only while no turn runs.
    pub(super) tidying: Option<Tidying>,
    /// Serial number of the last request to the pool: events of earlier ones are stale.
    pub(super) ask: u64,
    /// Turns begun: an idle timer that was set before the last one is stale.
    pub(super) epoch: u64,
    idle_timer: Option<tokio::task::AbortHandle>,
    pub(super) last: LastTurn,
    /// What the owner has allowed for as long as the session is in memory.
    pub(super) grants: Vec<Grant>,
    /// What came with messages and is not shown any more, and why.
    pub(super) unseen: Unseen,
}

/// What is known from the last answer, for `/status`.
#[derive(Default)]
pub(super) struct LastTurn {
    pub(super) usage: Usage,
    pub(super) model: Option<ModelId>,
    /// Why the route named the one that it did.
    pub(super) because: Option<String>,
    /// Context of that model, in tokens, where the pool tells it.
    pub(super) window: Option<u32>,
}

pub(super) struct Running {
    pub(super) entry: InboxEntry,
    pub(super) attempt: u32,
    pub(super) turn: Turn,
    /// What came with the message that is answered.
    pub(super) brought: Vec<Brought>,
    pub(super) generation: Option<OpenOrder>,
    queued: bool,
    pub(super) progress_told: Option<Instant>,
    /// Calls that are being made or that the owner is asked about, by their ids.
    pub(super) calls: HashMap<String, OpenCall>,
    /// A [`SessionMsg::Tick`] is on its way.
    pub(super) ticks: bool,
}

/// A call that is being made, or that the owner is asked about. It is given up when this is dropped.
pub(super) struct OpenCall {
    pub(super) _running: Option<RunningCall>,
    pub(super) _place: Option<Asking>,
    pub(super) timer: Option<AbortHandle>,
    pub(super) began: Instant,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
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
            tidying: None,
            ask: 0,
            epoch: 0,
            idle_timer: None,
            last: LastTurn::default(),
            grants: Vec::new(),
            unseen: Unseen::new(),
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
                SessionMsg::Waiting { behind, waiting } => state.on_waiting(behind, &waiting).await,
                SessionMsg::GiveUpTurn { inbox } => state.on_give_up_turn(inbox),
                SessionMsg::GenerationHappened { ask, event } => {
                    state.on_generation_happened(ask, event).await
                }
                SessionMsg::CallEnded { epoch, call, outcome } => {
                    state.on_call_ended(epoch, &call, outcome).await;
                }
                SessionMsg::Decide { call, decision, reply } => {
                    answer(reply, Ok(state.on_decide(call, decision).await));
                }
                SessionMsg::ApprovalElapsed { epoch, call, no } => {
                    state.on_approval_elapsed(epoch, &call, no).await;
                }
                SessionMsg::Tick { epoch } => state.on_tick(epoch),
                SessionMsg::IdleElapsed { epoch } => state.on_idle_elapsed(epoch),
                SessionMsg::Carry { out, reply } => answer(reply, Ok(state.carry(out).await)),
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
        state.tidying = None;
        if let Some(timer) = state.idle_timer.take() {
            timer.abort();
        }
        Ok(())
    }
}

impl SessionState {
    async fn on_run_turn(&mut self, entry: InboxEntry, attempt: u32) {
        let inbox = entry.id;
        self.args.trail.note(inbox, Station::Session { attempt });
        let asked_again = |running: &&mut Running| running.entry.id == inbox && attempt <= running.attempt;
        if let Some(running) = self.running.as_mut().filter(asked_again) {
            // Hermes was restarted and asks for what runs already.
            running.attempt = attempt;
            return;
        }
        self.running = None;
        self.tidying = None;
        self.epoch += 1;
        let (journal, standing) = match self.prepare(&entry).await {
            Ok(Prepared { number, journal, standing }) => {
                if number > 1 {
                    let event = TurnEvent::Retrying { attempt: number };
                    self.args.observers.publish(&entry.message_key(), event);
                }
                (journal, standing)
            }
            Err(error) => {
                let fact = self.without_a_turn(&entry, attempt, error).await;
                (self.args.report)(fact);
                return self.set_idle_timer();
            }
        };
        if !journal.is_empty() {
            self.args.trail.note(inbox, Station::Journal);
        }
        let (task, user, brought) = self.task(&entry);
        let beginning = Beginning {
            label: entry.id.to_string(),
            user,
            task,
            standing,
            seen: self.called(),
            is_handed_on: self.args.key.channel.as_str() == AGENT,
            kit: ToolKit::new(&self.args.tools, self.args.spec.tools.clone()),
            grants: self.grants.clone(),
            resumed: Resumed::from_journal(journal),
        };
        let replaced = usize::from(beginning.task == Task::AnswerAgain);
        let (turn, effects) = Turn::begin(beginning, self.view(replaced));
        self.running = Some(Running {
            entry,
            attempt,
            turn,
            brought,
            generation: None,
            queued: false,
            progress_told: None,
            calls: HashMap::new(),
            ticks: false,
        });
        self.perform(effects).await;
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
        if self.tidying.is_some() {
            return self.on_tidying(event).await;
        }
        self.tell_progress();
        let view = self.view_of_turn();
        let Some(running) = &mut self.running else { return };
        running.queued = matches!(event, GenerationEvent::Queued { .. });
        if let GenerationEvent::Begun { model, pid } = &event {
            let station = Station::Worker { model: model.clone(), pid: *pid };
            self.args.trail.note(running.entry.id, station);
        }
        if matches!(event, GenerationEvent::Finished { .. } | GenerationEvent::Failed { .. }) {
            running.generation.take().into_iter().for_each(OpenOrder::ended);
        }
        let effects = running.turn.generation(event, view);
        self.perform(effects).await;
    }

    async fn on_call_ended(&mut self, epoch: u64, call: &str, outcome: Outcome) {
        let Some(running) = self.running.as_mut().filter(|_| epoch == self.epoch) else { return };
        let Some(open) = running.calls.remove(call) else { return };
        let effects = running.turn.call_ended(call, outcome, open.began.elapsed());
        self.tell_progress();
        self.perform(effects).await;
    }

    fn on_tick(&mut self, epoch: u64) {
        let Some(running) = self.running.as_mut().filter(|_| epoch == self.epoch) else { return };
        running.ticks = false;
        if !running.calls.is_empty() {
            self.tell_progress();
            self.tick();
        }
    }

    fn on_idle_elapsed(&mut self, epoch: u64) {
        if epoch == self.epoch && self.running.is_none() {
            match self.tidying {
                Some(_) => self.set_idle_timer(),
                None => (self.args.report)(SessionFact::Idle { key: self.args.key.clone() }),
            }
        }
    }

    pub(super) fn set_idle_timer(&mut self) {
        let epoch = self.epoch;
        let idle = self.args.spec.limits.session_idle;
        let timer = self.me.send_after(idle, move || Envelope::fact(SessionMsg::IdleElapsed { epoch }));
        if let Some(former) = self.idle_timer.replace(timer.abort_handle()) {
            former.abort();
        }
    }

    pub(super) fn view_of_turn(&self) -> View {
        self.view(self.running.as_ref().map_or(0, |running| running.turn.replaced()))
    }

    /// The conversation without so many of its last turns.
    pub(super) fn view(&self, replaced: usize) -> View {
        let turns = self.memory.as_ref().map_or(0, |memory| memory.turns.len());
        View {
            policy: ContextPolicy { tokens_max: self.window(), ..self.args.spec.context },
            uncovered: turns.saturating_sub(replaced),
            context_tokens: self.last.usage.context_tokens(),
        }
    }

    /// How long the context is: what the profile wants, or what the model of the last answer has.
    pub(super) fn window(&self) -> u32 {
        let wanted = self.args.spec.context.tokens_max;
        self.last.window.map_or(wanted, |window| wanted.min(window))
    }

    fn state(&self) -> ActorState {
        match &self.running {
            None if self.tidying.is_some() => ActorState::Compacting,
            None => ActorState::Ready,
            Some(running) if running.turn.is_compacting() => ActorState::Compacting,
            Some(running) if !running.turn.waiting().is_empty() => ActorState::WaitingApproval,
            Some(running) if running.queued => ActorState::Queued,
            Some(_) => ActorState::Running,
        }
    }

    fn inspect(&self) -> Inspection {
        let mut facts = Inspection::new();
        if let Some(running) = &self.running {
            facts.push(("message", running.entry.id.to_string().into()));
            facts.push(("try", running.attempt.into()));
            facts.push(("steps that called tools", running.turn.steps().0.len().into()));
            facts.push(("messages taken in", running.turn.steps().1.len().into()));
            facts.push(("calls running or asked about", running.calls.len().into()));
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
            ("context tokens at most", self.window().into()),
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
            context_tokens_max: self.window(),
            reuse_percent: percent(usage.cached_tokens, usage.prompt_tokens),
            model: self.last.model.clone(),
            because: self.last.because.clone(),
            asked: self.asked(),
        }
    }
}

/// `part` of `whole` in percent, 0 of nothing.
fn percent(part: u32, whole: u32) -> u8 {
    let percent = u64::from(part) * 100 / u64::from(whole.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

//! Finds or brings up the session of each message. Talks down to the sessions; Hermes talks to it.
//!
//! A session that dies is forgotten and its message given back to Hermes; the next message brings it up again.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::handle::{HarnessArgs, HarnessError};
use super::memory;
use super::notice::{self, StatusInput};
use crate::command::{Command, Intent};
use crate::domain::{
    AnswerKind, InboxEntry, InboxId, NewAnswer, SessionKey, SessionStatus, TurnEnd, TurnEvent,
};
use crate::insight::roster::Place;
use crate::insight::{Inspection, Message};
use crate::link::{Envelope, Link, answer};
use crate::ports::Sink;
use crate::routing::{self, RouteInput};
use crate::session::{Decision, SessionArgs, SessionFact, SessionHandle, TurnFailure};
use crate::supervision::{ChildSpec, Restart, Shutdown, start_fn};
use crate::tools::ToolKit;

/// Sessions of one Archon in memory; beyond it the one that was quiet for longest is passivated.
const SESSIONS_LEN_MAX: usize = 2048;
/// A session holds nothing that is not in the store: its end needs no time.
const SESSION_STOP_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) enum HarnessMsg {
    /// Have a message answered.
    Dispatch { entry: InboxEntry, attempt: u32 },
    /// End the running turn of a session. Answers whether one was running.
    StopTurn { session: SessionKey, reply: RpcReplyPort<Result<bool, HarnessError>> },
    /// Give the try of a message up, without an answer.
    GiveUpTurn { session: SessionKey, inbox: InboxId },
    /// Take a session out of memory. Refused while it runs a turn.
    Release { session: SessionKey, reply: RpcReplyPort<Result<(), HarnessError>> },
    /// Fact from a session.
    SessionHappened { child: String, fact: SessionFact },
    /// Fact from the sessions' supervisor.
    SessionExited { child: String, reason: Option<String> },
    /// Answers the sessions in memory.
    GetSessions { reply: RpcReplyPort<Result<Vec<SessionStatus>, HarnessError>> },
}

impl Message for HarnessMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Dispatch { .. } => "dispatch",
            Self::StopTurn { .. } => "stop-turn",
            Self::GiveUpTurn { .. } => "give-up-turn",
            Self::Release { .. } => "release",
            Self::SessionHappened { fact, .. } => fact.kind(),
            Self::SessionExited { .. } => "session-exited",
            Self::GetSessions { .. } => "get-sessions",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::Dispatch { entry, attempt } => {
                Some(format!("message {} of {}, try {attempt}", entry.id, entry.session))
            }
            Self::GiveUpTurn { session, inbox } => Some(format!("message {inbox} of {session}")),
            Self::StopTurn { session, .. } | Self::Release { session, .. } => Some(session.to_string()),
            Self::SessionHappened { fact, .. } => fact.about(),
            Self::SessionExited { child, .. } => Some(child.clone()),
            Self::GetSessions { .. } => None,
        }
    }
}

pub(super) struct HarnessActor {
    pub(super) link: Link<HarnessMsg>,
}

pub(super) struct HarnessState {
    link: Link<HarnessMsg>,
    args: HarnessArgs,
    sessions: BTreeMap<SessionKey, Resident>,
    /// Numbers the incarnations of sessions: facts of an earlier one are stale.
    incarnations: u64,
    /// Counts dispatches, to know which session was quiet for longest.
    dispatches: u64,
}

/// A session in memory.
struct Resident {
    child: String,
    handle: SessionHandle,
    running: Option<(InboxId, u32)>,
    dispatched: u64,
    /// Shows it in the tree for as long as it is known here.
    _place: Place,
}

impl Actor for HarnessActor {
    type Msg = Envelope<HarnessMsg>;
    type State = HarnessState;
    type Arguments = HarnessArgs;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: HarnessArgs,
    ) -> Result<HarnessState, ActorProcessingErr> {
        self.link.attach(me);
        args.counters.set_sessions(0);
        let link = self.link.clone();
        Ok(HarnessState { link, args, sessions: BTreeMap::new(), incarnations: 0, dispatches: 0 })
    }

    async fn handle(
        &self,
        _me: ActorRef<Self::Msg>,
        msg: Self::Msg,
        state: &mut HarnessState,
    ) -> Result<(), ActorProcessingErr> {
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(self.link.vitals()).await;
        work.run(async {
            match msg {
                HarnessMsg::Dispatch { entry, attempt } => state.on_dispatch(entry, attempt).await,
                HarnessMsg::StopTurn { session, reply } => answer(reply, state.stop_turn(&session)),
                HarnessMsg::GiveUpTurn { session, inbox } => state.on_give_up_turn(&session, inbox),
                HarnessMsg::Release { session, reply } => {
                    let released = state.release(session).await;
                    answer(reply, released);
                }
                HarnessMsg::SessionHappened { child, fact } => state.on_session_happened(&child, fact).await,
                HarnessMsg::SessionExited { child, reason } => state.on_session_exited(&child, reason),
                HarnessMsg::GetSessions { reply } => state.on_get_sessions(reply).await,
            }
            state.args.counters.set_sessions(state.sessions.len());
            Ok(())
        })
        .await
    }
}

impl HarnessState {
    fn inspect(&self) -> Inspection {
        let running = self.sessions.values().filter(|resident| resident.running.is_some()).count();
        vec![
            ("model by default", self.args.spec.route.default.to_string().into()),
            ("sessions in memory", self.sessions.len().into()),
            ("sessions in memory at most", SESSIONS_LEN_MAX.into()),
            ("sessions running a turn", running.into()),
            ("sessions brought up so far", self.incarnations.into()),
            ("messages dispatched so far", self.dispatches.into()),
        ]
    }

    async fn on_dispatch(&mut self, entry: InboxEntry, attempt: u32) {
        let intent = Intent::of(&entry.text);
        if intent != Intent::Message {
            return self.answer_itself(entry, attempt, intent).await;
        }
        let inbox = entry.id;
        if let Err(failure) = self.run_turn(entry, attempt).await {
            (self.args.report)(SessionFact::Failed { inbox, attempt, failure });
        }
    }

    async fn run_turn(&mut self, entry: InboxEntry, attempt: u32) -> Result<(), TurnFailure> {
        let unavailable = |error: String| TurnFailure::Unavailable(error);
        let key = entry.session.clone();
        if !self.sessions.contains_key(&key) {
            self.make_room().await;
            let resident = self.bring_up(&key).await.map_err(unavailable)?;
            self.sessions.insert(key.clone(), resident);
        }
        self.dispatches += 1;
        let dispatched = self.dispatches;
        let Some(resident) = self.sessions.get_mut(&key) else {
            return Err(unavailable("it is gone".into()));
        };
        resident.dispatched = dispatched;
        resident.running = Some((entry.id, attempt));
        if let Err(error) = resident.handle.run_turn(entry, attempt) {
            // Stopped, not just forgotten: two actors must never hold one conversation.
            self.passivate(&key).await;
            return Err(unavailable(error.to_string()));
        }
        Ok(())
    }

    async fn bring_up(&mut self, key: &SessionKey) -> Result<Resident, String> {
        self.incarnations += 1;
        let SessionKey { channel, peer, thread, .. } = key;
        let child = format!("{channel}/{peer}/{thread}#{}", self.incarnations);
        let handle = SessionHandle::default();
        let place = self.args.roster.lend(format!("{}/{child}", self.args.sessions_path), handle.vitals());
        let (link, name) = (self.link.clone(), child.clone());
        let report: Sink<SessionFact> =
            Arc::new(move |fact| link.fact(HarnessMsg::SessionHappened { child: name.clone(), fact }));
        let args = SessionArgs {
            key: key.clone(),
            spec: self.args.spec.clone(),
            memory: self.args.memory.clone(),
            pool: self.args.pool.clone(),
            tools: self.args.tools.clone(),
            observers: self.args.observers.clone(),
            clock: self.args.clock.clone(),
            report,
        };
        let spawner = handle.clone();
        let start = start_fn(move |supervisor| {
            let (handle, args) = (spawner.clone(), args.clone());
            async move { handle.spawn(args, supervisor).await }
        });
        let spec = ChildSpec {
            restart: Restart::Temporary,
            shutdown: Shutdown::Within(SESSION_STOP_TIMEOUT),
            ..ChildSpec::new(child.clone(), start)
        };
        self.args.sessions.start_child(spec).await.map_err(|error| error.to_string())?;
        Ok(Resident { child, handle, running: None, dispatched: 0, _place: place })
    }

    /// Passivates the session that was quiet for longest, when there are too many.
    async fn make_room(&mut self) {
        if self.sessions.len() < SESSIONS_LEN_MAX {
            return;
        }
        let quiet = self.sessions.iter().filter(|(_, resident)| resident.running.is_none());
        let oldest = quiet.min_by_key(|(_, resident)| resident.dispatched).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.passivate(&key).await;
        }
    }

    async fn passivate(&mut self, key: &SessionKey) {
        if let Some(resident) = self.sessions.remove(key) {
            // It may have died a moment ago: gone is what was wanted.
            let _ = self.args.sessions.stop_child(&resident.child).await;
        }
    }

    async fn release(&mut self, session: SessionKey) -> Result<(), HarnessError> {
        if self.sessions.get(&session).is_some_and(|resident| resident.running.is_some()) {
            return Err(HarnessError::Running { session });
        }
        self.passivate(&session).await;
        Ok(())
    }

    fn stop_turn(&mut self, session: &SessionKey) -> Result<bool, HarnessError> {
        match self.sessions.get(session) {
            Some(resident) if resident.running.is_some() => {
                resident.handle.stop_turn()?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    fn on_give_up_turn(&mut self, session: &SessionKey, inbox: InboxId) {
        let resident = self.sessions.get_mut(session);
        let runs = |resident: &&mut Resident| resident.running.is_some_and(|(id, _)| id == inbox);
        if let Some(resident) = resident.filter(runs) {
            resident.running = None;
            // One that is beyond hearing it is replaced by the next try.
            let _ = resident.handle.give_up_turn(inbox);
        }
    }

    async fn on_session_happened(&mut self, child: &str, fact: SessionFact) {
        if let SessionFact::Idle { key } = &fact {
            match self.sessions.get(key).filter(|resident| resident.child == child) {
                Some(resident) if resident.running.is_some() => {}
                Some(_) => self.passivate(&key.clone()).await,
                // It came up after its start was given up: nobody else will ever stop it.
                None => drop(self.args.sessions.stop_child(child).await),
            }
            return;
        }
        if let SessionFact::Ended { inbox } | SessionFact::Failed { inbox, .. } = &fact {
            let resident = self.sessions.values_mut().find(|resident| resident.child == child);
            if let Some(resident) = resident.filter(|r| r.running.is_some_and(|(id, _)| id == *inbox)) {
                resident.running = None;
            }
        }
        (self.args.report)(fact);
    }

    fn on_session_exited(&mut self, child: &str, reason: Option<String>) {
        let Some(key) = self.sessions.iter().find(|(_, r)| r.child == child).map(|(key, _)| key.clone())
        else {
            return;
        };
        let Some(resident) = self.sessions.remove(&key) else { return };
        if let Some((inbox, attempt)) = resident.running {
            let failure = TurnFailure::Crashed(reason.unwrap_or_else(|| "it was stopped".into()));
            (self.args.report)(SessionFact::Failed { inbox, attempt, failure });
        }
    }

    async fn on_get_sessions(&mut self, reply: RpcReplyPort<Result<Vec<SessionStatus>, HarnessError>>) {
        let handles: Vec<SessionHandle> = self.sessions.values().map(|r| r.handle.clone()).collect();
        // A session that dies meanwhile is left out.
        let statuses = futures::future::join_all(handles.iter().map(SessionHandle::status)).await;
        answer(reply, Ok(statuses.into_iter().flatten().collect()));
    }

    /// Answers a command: no session, no model, no queue.
    async fn answer_itself(&mut self, entry: InboxEntry, attempt: u32, intent: Intent) {
        let text = match notice::for_intent(&intent, &entry.session) {
            Some(text) => text,
            None => self.carry_out(&intent, &entry).await,
        };
        let inbox = entry.id;
        let end = TurnEnd {
            inbox,
            turn: None,
            answer: NewAnswer { kind: AnswerKind::Notice, text },
            ended_unix_ms: self.args.clock.now_unix_ms(),
        };
        let fact = match self.args.memory.end_turn(end).await {
            Ok(answer) => {
                self.args.observers.publish(&entry.message_key(), TurnEvent::Ended { answer });
                SessionFact::Ended { inbox }
            }
            Err(error) => {
                SessionFact::Failed { inbox, attempt, failure: TurnFailure::Memory(error.to_string()) }
            }
        };
        (self.args.report)(fact);
    }

    /// Does what a command says, and tells what came of it.
    async fn carry_out(&mut self, intent: &Intent, entry: &InboxEntry) -> String {
        match intent {
            Intent::Command(Command::Stop) => match self.stop_turn(&entry.session) {
                Ok(true) => "Stopping.".into(),
                Ok(false) => "Nothing is running.".into(),
                Err(error) => format!("It could not be stopped: {error}."),
            },
            Intent::Command(Command::Approve) => {
                let for_session = entry.text.split_whitespace().nth(1).is_some_and(|word| word == "session");
                let decision = if for_session { Decision::Session } else { Decision::Once };
                self.decide(entry, decision).await
            }
            Intent::Command(Command::Deny) => self.decide(entry, Decision::Denied).await,
            Intent::Command(Command::Memory) => memory::answer(&self.args.memory, entry).await,
            Intent::Command(Command::Tools) => {
                notice::tools_text(&ToolKit::new(&self.args.tools, self.args.spec.tools.clone()))
            }
            Intent::Command(Command::Status | Command::New | Command::Help | Command::WhoAmI)
            | Intent::UnknownCommand(_)
            | Intent::Message => self.status_text(entry).await,
        }
    }

    async fn decide(&self, entry: &InboxEntry, decision: Decision) -> String {
        let resident = self.sessions.get(&entry.session).filter(|resident| resident.running.is_some());
        let Some(resident) = resident else { return notice::decided_text(decision, None) };
        match resident.handle.decide(decision).await {
            Ok(decided) => notice::decided_text(decision, decided),
            Err(error) => format!("The session could not be reached: {error}."),
        }
    }

    async fn status_text(&self, entry: &InboxEntry) -> String {
        let input = RouteInput { text: "", channel: &entry.session.channel, turns: 0 };
        let models = routing::models_for(&self.args.spec.route, input);
        let model = self.args.pool.choose(models).await.map_err(|error| error.to_string());
        let resident = self.sessions.get(&entry.session).map(|resident| resident.handle.clone());
        let mut status = match resident {
            Some(handle) => handle.status().await.ok(),
            None => None,
        };
        // A model with a shorter context than the profile asks for has its own.
        let pool = self.args.pool.status().await.unwrap_or_default();
        let found = pool.models.iter().find(|found| Some(&found.id) == model.as_ref().ok());
        if let (Some(status), Some(found)) = (&mut status, found.filter(|found| found.context_tokens > 0)) {
            status.context_tokens_max = status.context_tokens_max.min(found.context_tokens);
        }
        notice::status_text(&StatusInput {
            spec: &self.args.spec,
            session: &entry.session,
            status: status.as_ref(),
            model,
            in_flight: self.args.counters.in_flight(),
            waiting: self.args.counters.waiting(),
        })
    }
}

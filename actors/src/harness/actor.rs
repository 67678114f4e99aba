//! Finds or brings up the session of each message. Talks down to the sessions; Hermes talks to it.
//!
//! A session that dies is forgotten and its message given back to Hermes; the next message brings it up again.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::handle::{HarnessArgs, HarnessError};
use crate::command::Intent;
use crate::domain::{InboxEntry, InboxId, SessionKey, SessionStatus};
use crate::insight::roster::Place;
use crate::insight::{Inspection, Message, Station};
use crate::link::{Envelope, Link, answer};
use crate::ports::Sink;
use crate::session::{Decision, SessionArgs, SessionFact, SessionHandle, TurnFailure};
use crate::supervision::{ChildSpec, Restart, Shutdown, start_fn};

/// Sessions of one Archon in memory; beyond it the one that was quiet for longest is passivated.
const SESSIONS_LEN_MAX: usize = 2048;
/// A session holds nothing that is not in the store: its end needs no time.
const SESSION_STOP_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) enum HarnessMsg {
    /// Have a message answered.
    Dispatch { entry: InboxEntry, attempt: u32 },
    /// End the running turn of a session. Answers whether one was running.
    StopTurn { session: SessionKey, reply: RpcReplyPort<Result<bool, HarnessError>> },
    /// These wait for the end of the turn that answers a message, in order.
    Waiting { behind: InboxId, waiting: Vec<InboxEntry> },
    /// Decide about a call that waits for the owner's yes. Answers what it was; `None`: it does not wait here.
    Decide { call: String, decision: Decision, reply: RpcReplyPort<Result<Option<String>, HarnessError>> },
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
            Self::Decide { .. } => "decide",
            Self::GiveUpTurn { .. } => "give-up-turn",
            Self::Waiting { .. } => "waiting",
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
            Self::Waiting { behind, waiting } => Some(format!("{} behind message {behind}", waiting.len())),
            Self::StopTurn { session, .. } | Self::Release { session, .. } => Some(session.to_string()),
            Self::SessionHappened { fact, .. } => fact.about(),
            Self::SessionExited { child, .. } => Some(child.clone()),
            Self::Decide { call, .. } => Some(format!("call {call}")),
            Self::GetSessions { .. } => None,
        }
    }
}

pub(super) struct HarnessActor {
    pub(super) link: Link<HarnessMsg>,
}

pub(super) struct HarnessState {
    link: Link<HarnessMsg>,
    pub(super) args: HarnessArgs,
    pub(super) sessions: BTreeMap<SessionKey, Resident>,
    /// Numbers the incarnations of sessions: facts of an earlier one are stale.
    incarnations: u64,
    /// Counts dispatches, to know which session was quiet for longest.
    dispatches: u64,
}

/// A session in memory.
pub(super) struct Resident {
    child: String,
    pub(super) handle: SessionHandle,
    pub(super) running: Option<(InboxId, u32)>,
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
                HarnessMsg::Decide { call, decision, reply } => {
                    answer(reply, state.decide(&call, decision, None).await);
                }
                HarnessMsg::Waiting { behind, waiting } => state.on_waiting(behind, waiting),
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
        self.args.trail.note(entry.id, Station::Harness { attempt });
        let intent = Intent::of(&entry.text);
        if !intent.takes_a_turn() {
            return self.answer_itself(entry, attempt, &intent).await;
        }
        let inbox = entry.id;
        if let Err(failure) = self.run_turn(entry, attempt).await {
            (self.args.report)(SessionFact::Failed { inbox, attempt, failure });
        }
    }

    async fn run_turn(&mut self, entry: InboxEntry, attempt: u32) -> Result<(), TurnFailure> {
        let unavailable = |error: String| TurnFailure::Unavailable(error);
        let key = entry.session.clone();
        let resident = self.resident(&key).await.map_err(unavailable)?;
        resident.running = Some((entry.id, attempt));
        if let Err(error) = resident.handle.run_turn(entry, attempt) {
            // Stopped, not just forgotten: two actors must never hold one conversation.
            self.passivate(&key).await;
            return Err(unavailable(error.to_string()));
        }
        Ok(())
    }

    /// A session, brought up if it rests.
    pub(super) async fn resident(&mut self, key: &SessionKey) -> Result<&mut Resident, String> {
        if !self.sessions.contains_key(key) {
            self.make_room().await;
            let resident = self.bring_up(key).await?;
            self.sessions.insert(key.clone(), resident);
        }
        self.dispatches += 1;
        let resident = self.sessions.get_mut(key).ok_or("it is gone")?;
        resident.dispatched = self.dispatches;
        Ok(resident)
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
            owners: self.args.owners.clone(),
            media: self.args.media.clone(),
            observers: self.args.observers.clone(),
            clock: self.args.clock.clone(),
            trail: self.args.trail.clone(),
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

    pub(super) async fn passivate(&mut self, key: &SessionKey) {
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

    pub(super) fn stop_turn(&mut self, session: &SessionKey) -> Result<bool, HarnessError> {
        match self.sessions.get(session) {
            Some(resident) if resident.running.is_some() => {
                resident.handle.stop_turn()?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// One whose session is not at work on that message any more goes its own way.
    fn on_waiting(&mut self, behind: InboxId, waiting: Vec<InboxEntry>) {
        let session = waiting.first().map(|entry| &entry.session);
        let resident = session.and_then(|session| self.sessions.get(session));
        if let Some(resident) = resident.filter(|r| r.running.is_some_and(|(id, _)| id == behind)) {
            for entry in &waiting {
                self.args.trail.note_once(entry.id, Station::Harness { attempt: 1 });
            }
            // A session that is beyond hearing it leaves them to wait.
            let _ = resident.handle.waiting(behind, waiting);
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
        if let SessionFact::Ended { inbox, .. } | SessionFact::Failed { inbox, .. } = &fact {
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
        answer(reply, Ok(self.statuses(|_| true).await));
    }

    /// What these sessions say of themselves. One that dies meanwhile is left out.
    pub(super) async fn statuses(&self, wanted: impl Fn(&Resident) -> bool) -> Vec<SessionStatus> {
        let wanted = self.sessions.values().filter(|resident| wanted(resident));
        let handles: Vec<SessionHandle> = wanted.map(|resident| resident.handle.clone()).collect();
        let statuses = futures::future::join_all(handles.iter().map(SessionHandle::status)).await;
        statuses.into_iter().flatten().collect()
    }
}

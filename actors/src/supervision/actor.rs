//! Carries out what the policy decides: starts, stops, delayed restarts.
//!
//! A child is asked to stop and the supervisor goes on; the end arrives as an event, and a delayed message kills the
//! child that is too slow. Only two things hold the supervisor up, each with a limit: a child's start, and the end of
//! the supervisor itself. That end, asked for by ractor's `stop`, stops the children in `post_stop`: ractor alone
//! would kill them all at once. A killed supervisor's children are killed.
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SpawnErr,
    SupervisionEvent,
};
use tokio::time::{Instant, timeout};

use super::events::{ChildRules, Effect, Event, PolicyRules, Request};
use super::handle::{KILL_TIMEOUT, SupervisionError};
use super::policy::Policy;
use super::rules::{ChildStatus, ExitReason, Shutdown, SupervisionFact};
use super::spec::{ChildSpec, SupervisorSpec};
use crate::insight::{Inspection, Message, Vitals};
use crate::link::{Envelope, Link, answer};
use crate::ports::Sink;

/// The reason that a supervisor gives when it stops a child.
const SHUTDOWN_REASON: &str = "shutdown";

/// What ractor says when an actor was killed, or its task was cancelled: ends that nobody asked the actor for.
const ABNORMAL_REASONS: [&str; 2] = ["killed", "actor_task_cancelled"];

type Reply<T> = RpcReplyPort<Result<T, SupervisionError>>;
type Me = ActorRef<Envelope<SupervisorMsg>>;

/// What a supervisor is asked for.
pub(super) enum SupervisorMsg {
    /// Adds and starts a child; answers when it is up, or could not be started.
    StartChild { spec: ChildSpec, reply: Reply<()> },
    /// Stops a child; answers when it has ended.
    StopChild { id: String, reply: Reply<()> },
    /// Stops a child, forgets its failures and starts it; answers as `StartChild` does.
    RestartChild { id: String, reply: Reply<()> },
    /// Answers the children in start order.
    GetChildren { reply: Reply<Vec<ChildStatus>> },
    /// The delay of a restart is over.
    RestartDue { id: String, generation: u64 },
    /// An incarnation had its time to stop.
    StopOverdue { incarnation: ActorId },
    /// An incarnation was killed a while ago.
    KillOverdue { incarnation: ActorId },
}

impl Message for SupervisorMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::StartChild { .. } => "start-child",
            Self::StopChild { .. } => "stop-child",
            Self::RestartChild { .. } => "restart-child",
            Self::GetChildren { .. } => "get-children",
            Self::RestartDue { .. } => "restart-due",
            Self::StopOverdue { .. } => "stop-overdue",
            Self::KillOverdue { .. } => "kill-overdue",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::StartChild { spec, .. } => Some(spec.id.clone()),
            Self::StopChild { id, .. } | Self::RestartChild { id, .. } | Self::RestartDue { id, .. } => {
                Some(id.clone())
            }
            Self::GetChildren { .. } | Self::StopOverdue { .. } | Self::KillOverdue { .. } => None,
        }
    }
}

/// The supervisor ended because its children failed too often.
#[derive(Debug, thiserror::Error)]
#[error("supervisor `{supervisor}` gave up: {reason}")]
struct GaveUp {
    supervisor: String,
    reason: String,
}

pub(super) struct SupervisorArgs {
    pub(super) spec: SupervisorSpec,
    pub(super) link: Link<SupervisorMsg>,
}

pub(super) struct SupervisorState {
    vitals: Vitals,
    /// Its rules, in words.
    limits: String,
    name: String,
    report: Sink<SupervisionFact>,
    /// The policy's clock counts from here.
    epoch: Instant,
    policy: Policy,
    /// How to start and stop each child that the policy knows.
    specs: HashMap<String, ChildSpec>,
    /// The incarnation of each child that is up.
    cells: HashMap<String, ActorCell>,
    /// Who waits for a child to be up.
    starts: HashMap<String, Vec<Reply<()>>>,
    /// Who waits for a child to have ended.
    stops: HashMap<String, Vec<Reply<()>>>,
}

pub(super) struct SupervisorActor;

impl Actor for SupervisorActor {
    type Msg = Envelope<SupervisorMsg>;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(&self, me: Me, args: SupervisorArgs) -> Result<SupervisorState, ActorProcessingErr> {
        args.link.attach(me.clone());
        let (mut state, effects) = SupervisorState::new(args.spec, args.link.vitals().clone());
        state.carry_out(&me, effects).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        me: Me,
        msg: Self::Msg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = state.vitals.clone();
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                SupervisorMsg::StartChild { spec, reply } => state.on_start_child(&me, spec, reply).await?,
                SupervisorMsg::StopChild { id, reply } => state.on_stop_child(&me, id, reply).await?,
                SupervisorMsg::RestartChild { id, reply } => state.on_restart_child(&me, id, reply).await?,
                SupervisorMsg::GetChildren { reply } => answer(reply, Ok(state.policy.statuses())),
                SupervisorMsg::RestartDue { id, generation } => {
                    state.on(&me, Event::RestartDue { id, generation }).await?;
                }
                SupervisorMsg::StopOverdue { incarnation } => state.on_stop_overdue(&me, incarnation),
                SupervisorMsg::KillOverdue { incarnation } => state.on_kill_overdue(&me, incarnation).await?,
            }
            Ok(())
        })
        .await
    }

    async fn handle_supervisor_evt(
        &self,
        me: Me,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorStarted(cell) => state.on_actor_started(&cell),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.on_exited(&me, &cell, exit_reason(reason)).await?;
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                state.on_exited(&me, &cell, ExitReason::abnormal(error.to_string())).await?;
            }
            SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }

    async fn post_stop(&self, _me: Me, state: &mut SupervisorState) -> Result<(), ActorProcessingErr> {
        state.end_children().await;
        Ok(())
    }
}

impl SupervisorState {
    fn new(spec: SupervisorSpec, vitals: Vitals) -> (Self, Vec<Effect>) {
        let SupervisorSpec { name, strategy, intensity, exceeded, count_temporary, children, report } = spec;
        let limits = format!(
            "{strategy:?}, {} restarts in {:?}, then {exceeded:?}",
            intensity.restarts_max, intensity.period
        );
        let rules = PolicyRules { strategy, intensity, exceeded, count_temporary };
        // Equal supervisors wait equally long each time they run, different ones do not wait in step.
        let mut seed = DefaultHasher::new();
        name.hash(&mut seed);
        let (policy, effects) =
            Policy::start(rules, children.iter().map(child_rules).collect(), seed.finish());
        let state = Self {
            vitals,
            limits,
            name,
            report,
            epoch: Instant::now(),
            policy,
            specs: children.into_iter().map(|child| (child.id.clone(), child)).collect(),
            cells: HashMap::new(),
            starts: HashMap::new(),
            stops: HashMap::new(),
        };
        (state, effects)
    }

    fn inspect(&self) -> Inspection {
        let children = self.policy.statuses().into_iter();
        vec![
            (
                "children",
                children.map(|child| format!("{} {}", child.id, child.state)).collect::<Vec<_>>().into(),
            ),
            ("limits", self.limits.clone().into()),
        ]
    }

    async fn on_start_child(&mut self, me: &Me, spec: ChildSpec, reply: Reply<()>) -> Result<(), GaveUp> {
        let (id, rules) = (spec.id.clone(), child_rules(&spec));
        // An actor that is ending answers nobody, though its end is not known here yet.
        let ending = self.cells.get(&id).is_some_and(|cell| cell.get_status() >= ActorStatus::Draining);
        let request = if ending { Request::Replace(rules) } else { Request::Start(rules) };
        match self.policy.request(request) {
            Ok(effects) => {
                self.specs.insert(id.clone(), spec);
                self.starts.entry(id).or_default().push(reply);
                self.carry_out(me, effects).await
            }
            Err(refusal) => {
                answer(reply, Err(SupervisionError::refused(id, refusal)));
                Ok(())
            }
        }
    }

    async fn on_stop_child(&mut self, me: &Me, id: String, reply: Reply<()>) -> Result<(), GaveUp> {
        match self.policy.request(Request::Stop { id: id.clone() }) {
            Ok(effects) => {
                self.answer_starts(&id, &Err(SupervisionError::Overtaken { id: id.clone() }));
                if self.policy.is_stopping(&id) {
                    self.stops.entry(id).or_default().push(reply);
                } else {
                    answer(reply, Ok(()));
                }
                self.carry_out(me, effects).await
            }
            Err(refusal) => {
                answer(reply, Err(SupervisionError::refused(id, refusal)));
                Ok(())
            }
        }
    }

    async fn on_restart_child(&mut self, me: &Me, id: String, reply: Reply<()>) -> Result<(), GaveUp> {
        match self.policy.request(Request::Restart { id: id.clone() }) {
            Ok(effects) => {
                self.starts.entry(id).or_default().push(reply);
                self.carry_out(me, effects).await
            }
            Err(refusal) => {
                answer(reply, Err(SupervisionError::refused(id, refusal)));
                Ok(())
            }
        }
    }

    fn on_stop_overdue(&self, me: &Me, incarnation: ActorId) {
        if let Some(cell) = self.cells.values().find(|cell| cell.get_id() == incarnation) {
            cell.kill();
            send_after(me, KILL_TIMEOUT, SupervisorMsg::KillOverdue { incarnation });
        }
    }

    /// A child that even a kill does not end blocks outside of any `.await`. It is left behind: its siblings must go on.
    async fn on_kill_overdue(&mut self, me: &Me, incarnation: ActorId) -> Result<(), GaveUp> {
        let Some(cell) = self.cells.values().find(|cell| cell.get_id() == incarnation).cloned() else {
            return Ok(());
        };
        cell.unlink(me.get_cell());
        let detail = format!("it blocks its thread: killed, it did not end within {KILL_TIMEOUT:?}");
        self.on_exited(me, &cell, ExitReason::abnormal(detail)).await
    }

    /// A child whose start was given up may come up all the same; nobody would ever stop it.
    fn on_actor_started(&self, cell: &ActorCell) {
        if !self.cells.values().any(|known| known == cell) {
            cell.kill();
        }
    }

    async fn on_exited(&mut self, me: &Me, cell: &ActorCell, reason: ExitReason) -> Result<(), GaveUp> {
        // An incarnation that is not the present one ended before, as far as anybody is concerned.
        let known = self.cells.iter().find(|(_, known)| *known == cell);
        let Some(id) = known.map(|(id, _)| id.clone()) else { return Ok(()) };
        self.cells.remove(&id);
        for reply in self.stops.remove(&id).unwrap_or_default() {
            answer(reply, Ok(()));
        }
        self.on(me, Event::Exited { id, reason }).await
    }

    async fn on(&mut self, me: &Me, event: Event) -> Result<(), GaveUp> {
        let effects = self.policy.on(self.epoch.elapsed(), event);
        self.carry_out(me, effects).await
    }

    async fn carry_out(&mut self, me: &Me, effects: Vec<Effect>) -> Result<(), GaveUp> {
        let mut effects = effects;
        while !effects.is_empty() {
            let mut started = None;
            for effect in effects {
                match effect {
                    // The policy starts one child at a time.
                    Effect::Start { id } => started = Some(self.start(me, id).await),
                    Effect::Stop { id } => self.stop(me, &id),
                    Effect::ScheduleRestart { id, after, generation } => {
                        send_after(me, after, SupervisorMsg::RestartDue { id, generation });
                    }
                    Effect::Forget { id } => {
                        self.specs.remove(&id);
                    }
                    Effect::Report(fact) => (self.report)(fact),
                    Effect::GiveUp { reason } => {
                        self.end_children().await;
                        return Err(GaveUp { supervisor: self.name.clone(), reason });
                    }
                }
            }
            effects = started.map(|event| self.policy.on(self.epoch.elapsed(), event)).unwrap_or_default();
        }
        Ok(())
    }

    async fn start(&mut self, me: &Me, id: String) -> Event {
        let started = match self.specs.get(&id) {
            Some(spec) => start_within_limit(spec, me.get_cell()).await,
            None => Err("it has no start function".to_owned()),
        };
        match started {
            Ok(cell) => {
                self.cells.insert(id.clone(), cell);
                self.answer_starts(&id, &Ok(()));
                Event::Started { id }
            }
            Err(detail) => {
                self.answer_starts(
                    &id,
                    &Err(SupervisionError::StartFailed { id: id.clone(), detail: detail.clone() }),
                );
                Event::StartFailed { id, detail: format!("it could not be started: {detail}") }
            }
        }
    }

    fn stop(&self, me: &Me, id: &str) {
        let (Some(cell), Some(spec)) = (self.cells.get(id), self.specs.get(id)) else { return };
        let incarnation = cell.get_id();
        match spec.shutdown {
            Shutdown::Within(limit) => {
                cell.stop(Some(SHUTDOWN_REASON.to_owned()));
                send_after(me, limit, SupervisorMsg::StopOverdue { incarnation });
            }
            Shutdown::Kill => self.on_stop_overdue(me, incarnation),
        }
    }

    /// Stops what is up, last first, one after another.
    async fn end_children(&mut self) {
        for id in self.policy.up_in_reverse() {
            if let (Some(cell), Some(spec)) = (self.cells.remove(&id), self.specs.get(&id)) {
                let reason = end(&cell, spec.shutdown).await;
                (self.report)(SupervisionFact::ChildExited { id, reason });
            }
        }
    }

    fn answer_starts(&mut self, id: &str, result: &Result<(), SupervisionError>) {
        for reply in self.starts.remove(id).unwrap_or_default() {
            answer(reply, result.clone());
        }
    }
}

fn child_rules(spec: &ChildSpec) -> ChildRules {
    ChildRules {
        id: spec.id.clone(),
        restart: spec.restart,
        backoff: spec.backoff,
        significant: spec.significant,
    }
}

fn send_after(me: &Me, delay: Duration, msg: SupervisorMsg) {
    // Nobody waits for it: it finds the supervisor gone, or its subject overtaken, and does nothing then.
    drop(me.send_after(delay, || Envelope::fact(msg)));
}

async fn start_within_limit(spec: &ChildSpec, me: ActorCell) -> Result<ActorCell, String> {
    let supervisor = me.clone();
    // The start function is the house's own code; its panic must not end the siblings.
    let starting = AssertUnwindSafe(async { (spec.start)(supervisor).await }).catch_unwind();
    let cell = match timeout(spec.start_timeout, starting).await {
        Ok(Ok(Ok(cell))) => cell,
        Ok(Ok(Err(SpawnErr::StartupFailed(error)))) => return Err(error.to_string()),
        Ok(Ok(Err(error))) => return Err(error.to_string()),
        Ok(Err(_panic)) => return Err("its start function panicked".to_owned()),
        Err(_elapsed) => return Err(format!("it was not up within {:?}", spec.start_timeout)),
    };
    // The link first: an actor that has ended has lost it, and its end is on the way here as an event.
    if cell.try_get_supervisor().is_none() && cell.get_status() < ActorStatus::Stopping {
        cell.kill();
        return Err("its start function did not link it to the supervisor".to_owned());
    }
    Ok(cell)
}

async fn end(cell: &ActorCell, shutdown: Shutdown) -> ExitReason {
    let detail = match shutdown {
        Shutdown::Within(limit) => {
            cell.stop(Some(SHUTDOWN_REASON.to_owned()));
            if cell.wait(Some(limit)).await.is_ok() {
                return ExitReason::Shutdown;
            }
            format!("it did not stop within {limit:?} and was killed")
        }
        Shutdown::Kill => "killed".to_owned(),
    };
    // One that blocks its thread cannot be waited for.
    let _ = cell.kill_and_wait(Some(KILL_TIMEOUT)).await;
    ExitReason::Abnormal { detail }
}

fn exit_reason(reason: Option<String>) -> ExitReason {
    match reason {
        Some(reason) if ABNORMAL_REASONS.contains(&reason.as_str()) => {
            ExitReason::Abnormal { detail: reason }
        }
        Some(reason) if reason == SHUTDOWN_REASON => ExitReason::Shutdown,
        Some(_) | None => ExitReason::Normal,
    }
}

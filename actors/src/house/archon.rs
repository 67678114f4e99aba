//! One Archon's part of the tree.
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::counters::ArchonCounters;
use super::open_tasks::OpenTasks;
use super::submit::Intake;
use crate::channel::{ChannelArgs, ChannelHandle, Owners};
use crate::domain::{ArchonId, ArchonSpec, ChannelStatus, InboxEntry, SessionKey};
use crate::harness::{HarnessArgs, HarnessHandle};
use crate::hermes::{HermesArgs, HermesHandle};
use crate::insight::{Roster, Trail};
use crate::memory::MemoryHandle;
use crate::observer::TurnObservers;
use crate::pool::PoolHandle;
use crate::ports::{ChannelShed, Clock, MediaShelf, Sink, ToolShed};
use crate::supervision::{
    ChildSpec, Exceeded, ExitReason, Intensity, Shutdown, Strategy, SupervisionFact, SupervisorHandle,
    SupervisorSpec, start_fn, sub_supervisor,
};
use crate::tools::ToolsHandle;

/// The path of the Archons' supervisor.
pub(super) const ARCHONS_PATH: &str = "house/archons";
/// Time for one Archon's actors to stop in order: none of them holds anything that is not in the store.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// A channel whose actor failed too often rests for so long.
const CHANNEL_RETRY: Duration = Duration::from_secs(60);

/// Those that were started.
pub(super) type Archons = Arc<RwLock<BTreeMap<ArchonId, Archon>>>;

/// What every Archon uses.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) memory: MemoryHandle,
    pub(super) pool: PoolHandle,
    pub(super) tools: Arc<dyn ToolShed>,
    pub(super) channels: Arc<dyn ChannelShed>,
    pub(super) media: Arc<dyn MediaShelf>,
    pub(super) observers: TurnObservers,
    pub(super) clock: Arc<dyn Clock>,
    /// Where supervisors report to, with their paths.
    pub(super) report: Sink<(String, SupervisionFact)>,
    /// Where everybody is shown.
    pub(super) roster: Roster,
    /// Where the way of each message is noted.
    pub(super) trail: Trail,
    /// What was handed on and is not answered.
    pub(super) tasks: OpenTasks,
}

impl Shared {
    /// The report of the supervisor at this path: what happens is shown, then told.
    pub(super) fn reporting(&self, path: String) -> Sink<SupervisionFact> {
        let (roster, report) = (self.roster.clone(), self.report.clone());
        Arc::new(move |fact| {
            roster.reported(&path, &fact);
            report((path.clone(), fact));
        })
    }
}

/// The handles of one Archon. They stay the same over its restarts.
#[derive(Clone)]
pub(super) struct Archon {
    pub(super) spec: Arc<ArchonSpec>,
    pub(super) counters: Arc<ArchonCounters>,
    pub(super) harness: HarnessHandle,
    pub(super) hermes: HermesHandle,
    supervisor: SupervisorHandle,
    tools: SupervisorHandle,
    sources: Vec<ToolsHandle>,
    sessions: SupervisorHandle,
    channels_supervisor: SupervisorHandle,
    channels: Arc<[ChannelHandle]>,
    pub(super) owners: Owners,
}

impl Archon {
    pub(super) fn new(spec: ArchonSpec, shared: &Shared) -> Self {
        let sources = shared.tools.sources(&spec).into_iter().map(ToolsHandle::new).collect();
        let channels: Arc<[ChannelHandle]> =
            shared.channels.channels(&spec).into_iter().map(ChannelHandle::new).collect();
        let spec = Arc::new(spec);
        Self {
            owners: Owners::new(spec.clone(), shared.memory.clone(), channels.clone()),
            sources,
            channels,
            channels_supervisor: SupervisorHandle::new("the channels' supervisor"),
            tools: SupervisorHandle::new("the tools' supervisor"),
            spec,
            counters: Arc::default(),
            harness: HarnessHandle::default(),
            hermes: HermesHandle::default(),
            supervisor: SupervisorHandle::new("the Archon's supervisor"),
            sessions: SupervisorHandle::new("the sessions' supervisor"),
        }
    }

    pub(super) fn id(&self) -> &ArchonId {
        &self.spec.id
    }

    fn path(&self) -> String {
        format!("{ARCHONS_PATH}/{}", self.spec.id)
    }

    fn tools_path(&self) -> String {
        format!("{}/tools", self.path())
    }

    fn sessions_path(&self) -> String {
        format!("{}/sessions", self.path())
    }

    /// Shows its actors in the tree.
    pub(super) fn enter(&self, roster: &Roster) {
        let path = self.path();
        roster.enter_supervisor(&path, &self.supervisor);
        roster.enter_supervisor(&self.tools_path(), &self.tools);
        for source in &self.sources {
            roster.enter(&format!("{}/{}", self.tools_path(), source.name()), source.vitals());
        }
        roster.enter(&format!("{path}/harness"), self.harness.vitals());
        roster.enter_supervisor(&self.sessions_path(), &self.sessions);
        roster.enter(&format!("{path}/hermes"), self.hermes.vitals());
        if !self.channels.is_empty() {
            roster.enter_supervisor(&self.channels_path(), &self.channels_supervisor);
        }
        for channel in self.channels.iter() {
            roster.enter(&format!("{}/{}", self.channels_path(), channel.id()), channel.vitals());
        }
    }

    /// Shows them no more.
    pub(super) fn leave(&self, roster: &Roster) {
        roster.leave(&self.path());
    }

    /// The subtree as a child of `archons`.
    pub(super) fn child_spec(&self, shared: &Shared) -> ChildSpec {
        let (archon, shared) = (self.clone(), shared.clone());
        let id = self.spec.id.to_string();
        let child =
            sub_supervisor(self.supervisor.clone(), id, move || archon.supervisor_spec(shared.clone()));
        ChildSpec { shutdown: Shutdown::Within(STOP_TIMEOUT), ..child }
    }

    fn intensity(&self) -> Intensity {
        let limits = &self.spec.limits;
        Intensity { restarts_max: limits.crashes_max, period: limits.crash_period }
    }

    fn supervisor_spec(&self, shared: Shared) -> SupervisorSpec {
        let name = self.path();
        let report = self.counting(&shared, name.clone());
        SupervisorSpec {
            name,
            strategy: Strategy::RestForOne,
            intensity: self.intensity(),
            exceeded: Exceeded::GiveUp,
            count_temporary: false,
            children: [
                Some(self.tools_child(shared.clone())),
                Some(self.harness_child(&shared)),
                Some(self.sessions_child(shared.clone())),
                Some(self.hermes_child(shared.clone())),
                (!self.channels.is_empty()).then(|| self.channels_child(shared)),
            ]
            .into_iter()
            .flatten()
            .collect(),
            report,
        }
    }

    fn tools_child(&self, shared: Shared) -> ChildSpec {
        let archon = self.clone();
        let child = sub_supervisor(self.tools.clone(), "tools", move || archon.tools_spec(&shared));
        ChildSpec { significant: true, ..child }
    }

    /// One source that fails takes no other with it.
    fn tools_spec(&self, shared: &Shared) -> SupervisorSpec {
        let child = |source: &ToolsHandle| {
            let name = source.name().to_owned();
            let source = source.clone();
            let start = start_fn(move |supervisor| {
                let source = source.clone();
                async move { source.spawn(supervisor).await }
            });
            ChildSpec::new(name, start)
        };
        SupervisorSpec {
            name: self.tools_path(),
            strategy: Strategy::OneForOne,
            intensity: self.intensity(),
            exceeded: Exceeded::GiveUp,
            count_temporary: false,
            children: self.sources.iter().map(child).collect(),
            report: self.counting(shared, self.tools_path()),
        }
    }

    fn harness_child(&self, shared: &Shared) -> ChildSpec {
        let (harness, hermes) = (self.harness.clone(), self.hermes.clone());
        let args = HarnessArgs {
            spec: self.spec.clone(),
            memory: shared.memory.clone(),
            pool: shared.pool.clone(),
            tools: self.sources.clone(),
            owners: self.owners.clone(),
            media: shared.media.clone(),
            observers: shared.observers.clone(),
            clock: shared.clock.clone(),
            sessions: self.sessions.clone(),
            counters: self.counters.clone(),
            codes: shared.channels.clone(),
            roster: shared.roster.clone(),
            sessions_path: self.sessions_path(),
            trail: shared.trail.clone(),
            report: Arc::new(move |fact| hermes.turn_happened(fact)),
        };
        ChildSpec::new(
            "harness",
            start_fn(move |supervisor| {
                let (harness, args) = (harness.clone(), args.clone());
                async move { harness.spawn(args, supervisor).await }
            }),
        )
    }

    fn sessions_child(&self, shared: Shared) -> ChildSpec {
        let archon = self.clone();
        let child = sub_supervisor(self.sessions.clone(), "sessions", move || archon.sessions_spec(&shared));
        // Its giving up is the Archon's: a fresh supervisor would only count from nought again.
        ChildSpec { significant: true, ..child }
    }

    fn sessions_spec(&self, shared: &Shared) -> SupervisorSpec {
        let harness = self.harness.clone();
        let report = self.counting(shared, self.sessions_path());
        SupervisorSpec {
            name: self.sessions_path(),
            strategy: Strategy::OneForOne,
            intensity: self.intensity(),
            exceeded: Exceeded::GiveUp,
            count_temporary: true,
            children: vec![],
            report: Arc::new(move |fact: SupervisionFact| {
                if let SupervisionFact::ChildExited { id, reason } = &fact {
                    let reason = match reason {
                        ExitReason::Abnormal { detail } => Some(detail.clone()),
                        ExitReason::Normal | ExitReason::Shutdown => None,
                    };
                    harness.session_exited(id.clone(), reason);
                }
                report(fact);
            }),
        }
    }

    fn hermes_child(&self, shared: Shared) -> ChildSpec {
        let hermes = self.hermes.clone();
        let args = HermesArgs {
            spec: self.spec.clone(),
            memory: shared.memory,
            harness: self.harness.clone(),
            observers: shared.observers,
            clock: shared.clock,
            counters: self.counters.clone(),
            trail: shared.trail,
        };
        ChildSpec::new(
            "hermes",
            start_fn(move |supervisor| {
                let (hermes, args) = (hermes.clone(), args.clone());
                async move { hermes.spawn(args, supervisor).await }
            }),
        )
    }

    fn channels_path(&self) -> String {
        format!("{}/channels", self.path())
    }

    /// The way into its inbox.
    pub(super) fn intake(&self, memory: &MemoryHandle) -> Intake {
        Intake { spec: self.spec.clone(), counters: self.counters.clone(), memory: memory.clone() }
    }

    /// There is an answer in the outbox.
    pub(super) fn answered(&self, session: &SessionKey) {
        if let Some(channel) = self.channels.iter().find(|channel| channel.id() == session.channel) {
            channel.answered();
        }
    }

    /// There may be something in the outbox for any of its channels.
    pub(super) fn outbox_changed(&self) {
        self.channels.iter().for_each(ChannelHandle::answered);
    }

    /// How its channels are doing.
    pub(super) fn channel_statuses(&self) -> Vec<ChannelStatus> {
        self.channels.iter().map(|channel| channel.status(&self.spec)).collect()
    }

    fn channels_child(&self, shared: Shared) -> ChildSpec {
        let archon = self.clone();
        sub_supervisor(self.channels_supervisor.clone(), "channels", move || archon.channels_spec(&shared))
    }

    /// A platform that brings its adapter down costs the Archon nothing but that road.
    fn channels_spec(&self, shared: &Shared) -> SupervisorSpec {
        let child = |channel: &ChannelHandle| {
            let (name, channel) = (channel.id().to_string(), channel.clone());
            let args = Arc::new(ChannelArgs {
                spec: self.spec.clone(),
                channel: channel.channel(),
                intake: self.intake(&shared.memory),
                codes: shared.channels.clone(),
                observers: shared.observers.clone(),
                clock: shared.clock.clone(),
            });
            let start = start_fn(move |supervisor| {
                let (channel, args) = (channel.clone(), args.clone());
                async move { channel.spawn(args, supervisor).await }
            });
            ChildSpec::new(name, start)
        };
        SupervisorSpec {
            name: self.channels_path(),
            strategy: Strategy::OneForOne,
            intensity: self.intensity(),
            exceeded: Exceeded::Quarantine { retry_after: CHANNEL_RETRY },
            count_temporary: false,
            children: self.channels.iter().map(child).collect(),
            report: self.counting(shared, self.channels_path()),
        }
    }

    /// Reports on, and counts crashes on the way.
    fn counting(&self, shared: &Shared, path: String) -> Sink<SupervisionFact> {
        let (counters, report) = (self.counters.clone(), shared.reporting(path));
        Arc::new(move |fact| {
            if let SupervisionFact::ChildExited { id, reason: ExitReason::Abnormal { detail } } = &fact {
                counters.crashed(&format!("{id}: {detail}"));
            }
            report(fact);
        })
    }
}

/// There is an answer in the outbox for one of an Archon's channels. When it was stopped meanwhile, they look at the next start.
pub(super) fn hand_out(archons: &Archons, session: &SessionKey) {
    let archons = archons.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(archon) = archons.get(&session.archon) {
        archon.answered(session);
    }
}

/// Tells Hermes of a message that was journalled. When its Archon was stopped meanwhile, it is read at the next start.
pub(super) fn hand_over(archons: &Archons, entry: InboxEntry) {
    let archons = archons.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(archon) = archons.get(&entry.session.archon) {
        archon.counters.opened();
        archon.hermes.accepted(entry);
    }
}

/// Lets [`House::submit`](super::House::submit) refuse for a quarantined Archon without asking around: its message would lie unanswered
/// for as long as nobody looks.
pub(super) fn note_quarantine(archons: &Archons, tasks: &OpenTasks, fact: &SupervisionFact) {
    let (id, reason) = match fact {
        SupervisionFact::ChildQuarantined { id, reason, .. } => (id, Some(reason.clone())),
        SupervisionFact::ChildStarted { id } => (id, None),
        _ => return,
    };
    let is_up = reason.is_none();
    let known = archons.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(archon) = known.iter().find(|(archon, _)| archon.as_str() == id).map(|(_, archon)| archon) {
        archon.counters.set_quarantine(reason);
    }
    drop(known);
    if is_up {
        tasks.started(archons, id);
    }
}

//! Builds the tree, and is the handle to all of it.
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, SpawnErr};

use super::archon::{self, ARCHONS_PATH, Archon, Archons, Shared};
use super::open_tasks::OpenTasks;
use super::service::{SERVICES_PATH, Service, ServiceHandle, Services};
use super::status::status_of;
use super::submit::SubmitError;
use crate::domain::{
    Accepted, ActorState, ArchonId, ArchonSpec, ArchonStatus, AskedCall, ChannelStatus, HouseStatus,
    InboundMessage, OutboxId, PoolStatus, Senses, SessionKey, SessionOptions, SessionStatus,
};
use crate::harness::HarnessError;
use crate::insight::{Roster, RosterError, Station, Trail};
use crate::memory::{MemoryArgs, MemoryHandle, MemorySettings};
use crate::observer::TurnObservers;
use crate::pool::{PoolArgs, PoolError, PoolHandle, PoolSettings};
use crate::ports::{BlockingCalls, ChannelShed, Clock, Engine, MediaShelf, Sink, Store, ToolShed};
use crate::routing::{self, RouteInput};
use crate::session::Decision;
use crate::supervision::{
    ChildSpec, ChildStatus, Exceeded, Intensity, Shutdown, Strategy, SupervisionError, SupervisionFact,
    SupervisorHandle, SupervisorSpec, start_fn, sub_supervisor,
};

/// The paths of the house and its own children; those of Archons are below [`ARCHONS_PATH`].
const ROOT_PATH: &str = "house";
/// See [`ROOT_PATH`].
const MEMORY_PATH: &str = "house/memory";
/// See [`ROOT_PATH`].
const POOL_PATH: &str = "house/pool";
/// Failures of the whole that are borne: 3 in 5 minutes; then the process ends and its service manager decides.
const HOUSE_INTENSITY: Intensity = Intensity { restarts_max: 3, period: Duration::from_secs(300) };
/// The first failure of an Archon's supervisor is its last: it has borne its own profile's number already.
const ARCHON_INTENSITY: Intensity = Intensity { restarts_max: 0, period: Duration::from_secs(300) };
/// From an Archon's quarantine to its trial: long enough that one that fails at once costs next to nothing, short enough
/// that nobody has to get up for a cause that went away by itself, such as a full disk.
const QUARANTINE_RETRY: Duration = Duration::from_secs(900);
/// Time for all Archons to stop, one after another.
const ARCHONS_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the last group of changes to reach the disk.
const MEMORY_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for everything, less than the 30 s that service managers usually give.
const HOUSE_STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What a house is made of.
pub struct HouseArgs {
    /// The durable memory.
    pub store: Arc<dyn Store>,
    /// What runs models.
    pub engine: Arc<dyn Engine>,
    /// Which tools there are.
    pub tools: Arc<dyn ToolShed>,
    /// Which platforms there are.
    pub channels: Arc<dyn ChannelShed>,
    /// What came with messages.
    pub media: Arc<dyn MediaShelf>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Where the store is called.
    pub calls: Arc<dyn BlockingCalls>,
    /// How memory groups changes.
    pub memory: MemorySettings,
    /// How much the pool bears.
    pub pool: PoolSettings,
    /// Where supervisors report to, with their paths in the tree.
    pub report: Sink<(String, SupervisionFact)>,
}

/// Why the house did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HouseError {
    /// A supervisor refused.
    #[error(transparent)]
    Supervision(#[from] SupervisionError),
    /// The pool refused.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The harness refused or could not be reached.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// The store refused or could not be reached.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
    /// There is no such actor, or it cannot be done to it.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// No call of this name waits for a yes.
    #[error("no call {call} waits for a yes; `archond approvals list` shows those that do")]
    NotAsked {
        /// Its name.
        call: String,
    },
    /// No such Archon was started.
    #[error("{archon} is not running")]
    NotRunning {
        /// Which.
        archon: ArchonId,
    },
}

/// The house. Dropping it ends nothing; [`House::shutdown`] does.
pub struct House {
    shared: Shared,
    root: SupervisorHandle,
    root_cell: ActorCell,
    archons_supervisor: SupervisorHandle,
    services: Services,
    archons: Archons,
    /// Held while an Archon is started or stopped: two at once would leave one with handles that lead nowhere.
    changing: tokio::sync::Mutex<()>,
}

impl House {
    /// Starts memory and the pool; Archons are started one by one.
    pub async fn start(args: HouseArgs) -> Result<Self, SpawnErr> {
        Self::start_with(args, MemoryHandle::new(), PoolHandle::new()).await
    }

    /// The same, with ways to memory and to the pool that others hold already: tools that remember. They lead somewhere from now on.
    pub async fn start_with(
        args: HouseArgs,
        memory: MemoryHandle,
        pool: PoolHandle,
    ) -> Result<Self, SpawnErr> {
        let shared = Shared {
            memory,
            pool,
            tools: args.tools.clone(),
            channels: args.channels.clone(),
            media: args.media.clone(),
            observers: TurnObservers::default(),
            clock: args.clock.clone(),
            report: args.report.clone(),
            roster: Roster::new(args.clock.clone()),
            trail: Trail::default(),
            tasks: OpenTasks::default(),
        };
        let archons = Archons::default();
        let archons_supervisor = SupervisorHandle::new("the Archons' supervisor");
        let services = Services::new();
        let root = SupervisorHandle::new("the house");
        let spec = SupervisorSpec {
            name: ROOT_PATH.into(),
            strategy: Strategy::RestForOne,
            intensity: HOUSE_INTENSITY,
            exceeded: Exceeded::GiveUp,
            count_temporary: false,
            children: vec![
                memory_child(&shared, &args, archons.clone()),
                pool_child(&shared, &args),
                archons_child(archons_supervisor.clone(), archons.clone(), shared.clone()),
                services.child(shared.reporting(SERVICES_PATH.into())),
            ],
            report: shared.reporting(ROOT_PATH.into()),
        };
        shared.roster.enter_supervisor(ROOT_PATH, &root);
        shared.roster.enter(MEMORY_PATH, shared.memory.vitals());
        shared.roster.enter(POOL_PATH, shared.pool.vitals());
        shared.roster.enter_supervisor(ARCHONS_PATH, &archons_supervisor);
        shared.roster.enter_supervisor(SERVICES_PATH, &services.supervisor);
        let root_cell = root.spawn(spec, None).await?;
        Ok(Self {
            shared,
            root,
            root_cell,
            archons_supervisor,
            services,
            archons,
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Starts an Archon, or lifts its quarantine, and begins to load its model. Does nothing to one that runs.
    pub async fn start_archon(&self, spec: ArchonSpec) -> Result<(), HouseError> {
        let _alone = self.changing.lock().await;
        let id = spec.id.clone();
        let child = self.children().await?.into_iter().find(|child| child.id == id.as_str());
        let runs = child.as_ref().is_some_and(|child| child.state == ActorState::Ready);
        if !runs {
            let archon = Archon::new(spec, &self.shared);
            let child_spec = archon.child_spec(&self.shared);
            archon.enter(&self.shared.roster);
            self.write().insert(id.clone(), archon);
            if child.is_some_and(|child| child.state == ActorState::Quarantined) {
                // Stopped first, so that it is started from the profile as it is now.
                self.archons_supervisor.stop_child(id.as_str()).await?;
            }
            self.archons_supervisor.start_child(child_spec).await?;
        }
        if let Some(archon) = self.archon(&id) {
            let model = self.shared.pool.choose(self.models(&archon)).await?;
            self.shared.pool.warm(model).await?;
        }
        Ok(())
    }

    /// Starts a service beside the Archons: it ends before they do.
    pub async fn start_service(&self, service: Service) -> Result<(), HouseError> {
        let service = ServiceHandle::new(service);
        self.shared.roster.enter(&format!("{SERVICES_PATH}/{}", service.name()), service.vitals());
        Ok(self.services.start(service).await?)
    }

    /// Stops an Archon. Messages that it has not answered stay in the inbox until it is started again.
    pub async fn stop_archon(&self, id: &ArchonId) -> Result<(), HouseError> {
        let _alone = self.changing.lock().await;
        if self.archon(id).is_none() {
            return Err(HouseError::NotRunning { archon: id.clone() });
        }
        self.archons_supervisor.stop_child(id.as_str()).await?;
        if let Some(archon) = self.write().remove(id) {
            archon.leave(&self.shared.roster);
        }
        Ok(())
    }

    /// Stops the actor at a path, in order. It stays down until it is started again.
    pub async fn stop(&self, path: &str) -> Result<(), HouseError> {
        match self.archon_at(path) {
            Some(archon) => self.stop_archon(archon.id()).await,
            None => Ok(self.shared.roster.stop(path).await?),
        }
    }

    /// Starts the actor at a path, after stopping it in order if it is up. Its failures are forgotten.
    pub async fn restart(&self, path: &str) -> Result<(), HouseError> {
        match self.archon_at(path) {
            Some(archon) => {
                self.stop_archon(archon.id()).await?;
                self.start_archon((*archon.spec).clone()).await
            }
            None => Ok(self.shared.roster.restart(path).await?),
        }
    }

    /// The Archon whose whole subtree is at this path.
    fn archon_at(&self, path: &str) -> Option<Archon> {
        let name = path.strip_prefix(ARCHONS_PATH)?.strip_prefix('/')?;
        self.read().iter().find(|(id, _)| id.as_str() == name).map(|(_, archon)| archon.clone())
    }

    /// Takes a message. When this returns, it is durable, and it will be answered once.
    pub async fn submit(&self, message: InboundMessage) -> Result<Accepted, SubmitError> {
        let archon = message.archon.clone();
        let Some(archon) = self.archon(&archon) else { return Err(SubmitError::NotRunning { archon }) };
        archon.intake(&self.shared.memory).submit(message).await
    }

    /// Ends the running turn of a session at its next step. Answers whether one was running.
    pub async fn stop_turn(&self, session: SessionKey) -> Result<bool, HouseError> {
        let archon = session.archon.clone();
        let Some(archon) = self.archon(&archon) else { return Err(HouseError::NotRunning { archon }) };
        Ok(archon.harness.stop_turn(session).await?)
    }

    /// The calls that wait for the owner's yes, and whose turns want them.
    pub async fn asked(&self) -> Vec<(SessionKey, AskedCall)> {
        let archons: Vec<Archon> = self.read().values().cloned().collect();
        // Of one that hangs nothing can be known.
        let sessions =
            futures::future::join_all(archons.iter().map(|archon| archon.harness.sessions())).await;
        sessions.into_iter().flatten().flatten().flat_map(SessionStatus::into_asked).collect()
    }

    /// A terminal shows an owner what waits for him of this Archon, and asks again within [`crate::channel::WATCH_MAX`].
    pub fn owner_watches(&self, id: &ArchonId) {
        if let Some(archon) = self.archon(id) {
            archon.owners.watches();
        }
    }

    /// Decides about a call that waits for the owner's yes, by its name. Answers what it was; refused when it does not wait.
    pub async fn decide(&self, call: &str, decision: Decision) -> Result<String, HouseError> {
        let archons: Vec<Archon> = self.read().values().cloned().collect();
        let mut unheard = None;
        for archon in archons {
            match archon.harness.decide(call.to_owned(), decision).await {
                Ok(Some(shown)) => return Ok(shown),
                Ok(None) => {}
                Err(error) => unheard = Some(error.into()),
            }
        }
        Err(unheard.unwrap_or_else(|| HouseError::NotAsked { call: call.to_owned() }))
    }

    /// Forgets a session, in memory and in the store. Refused while an answer is running in it.
    pub async fn remove_session(&self, session: SessionKey) -> Result<(), HouseError> {
        if let Some(archon) = self.archon(&session.archon) {
            archon.harness.release(session.clone()).await?;
        }
        Ok(self.shared.memory.remove_session(session).await?)
    }

    /// The sessions of an Archon that are in memory.
    pub async fn sessions(&self, id: &ArchonId) -> Result<Vec<SessionStatus>, HouseError> {
        let Some(archon) = self.archon(id) else { return Err(HouseError::NotRunning { archon: id.clone() }) };
        Ok(archon.harness.sessions().await?)
    }

    /// The state of one Archon; `None` when it was not started.
    pub async fn archon_status(&self, id: &ArchonId) -> Option<ArchonStatus> {
        let archon = self.archon(id)?;
        self.statuses(vec![archon]).await.archons.pop()
    }

    /// The state of everything.
    pub async fn status(&self) -> HouseStatus {
        let archons = self.read().values().cloned().collect();
        self.statuses(archons).await
    }

    /// Asks everybody at once: one who hangs costs his own time limit, and nobody else's.
    async fn statuses(&self, archons: Vec<Archon>) -> HouseStatus {
        let chosen = archons.iter().map(|archon| self.shared.pool.choose(self.models(archon)));
        let (pool, children, chosen) =
            futures::join!(self.shared.pool.status(), self.children(), futures::future::join_all(chosen));
        let (pool, children) = (pool.unwrap_or_default(), children.unwrap_or_default());
        let archons = archons.iter().zip(chosen).map(|(archon, chosen)| {
            let child = children.iter().find(|child| child.id == archon.id().as_str());
            status_of(archon, child, &pool, chosen)
        });
        HouseStatus { archons: archons.collect(), pool }
    }

    /// Every channel of every Archon that was started.
    pub fn channels(&self) -> Vec<ChannelStatus> {
        self.read().values().flat_map(Archon::channel_statuses).collect()
    }

    /// Puts an answer that was given up into the outbox again. Refused when it was not given up.
    pub async fn deliver_again(&self, outbox: OutboxId) -> Result<(), HouseError> {
        self.shared.memory.deliver_again(outbox).await?;
        // Whose it is nobody has to look up: those who have nothing to do find nothing.
        self.read().values().for_each(Archon::outbox_changed);
        Ok(())
    }

    /// The Archons that were started.
    pub fn archons(&self) -> Vec<ArchonId> {
        self.read().keys().cloned().collect()
    }

    /// The pool alone.
    pub async fn pool_status(&self) -> Result<PoolStatus, PoolError> {
        self.shared.pool.status().await
    }

    /// What an Archon was started from.
    pub fn spec(&self, id: &ArchonId) -> Option<Arc<ArchonSpec>> {
        self.archon(id).map(|archon| archon.spec)
    }

    /// The pool, for those who want an answer of a model and not of an Archon.
    pub fn pool(&self) -> &PoolHandle {
        &self.shared.pool
    }

    /// The store, for reading and for what channels confirm.
    pub fn memory(&self) -> &MemoryHandle {
        &self.shared.memory
    }

    /// Every actor, to be looked at and acted on.
    pub fn roster(&self) -> &Roster {
        &self.shared.roster
    }

    /// The ways that the last answers took.
    pub fn trail(&self) -> &Trail {
        &self.shared.trail
    }

    /// Where turns can be watched.
    pub fn observers(&self) -> &TurnObservers {
        &self.shared.observers
    }

    /// Stops everything in reverse order, within 20 seconds.
    pub async fn shutdown(&self) -> Result<(), HouseError> {
        self.shared.roster.resume_all();
        Ok(self.root.shutdown(HOUSE_STOP_TIMEOUT).await?)
    }

    /// Waits until the tree has ended, because it was shut down or because it gave up.
    pub async fn ended(&self) {
        // Without a time limit there is no error.
        let _ = self.root_cell.wait(None).await;
    }

    /// For those parts of the house that have files of their own.
    pub(super) fn inside(&self) -> (&Shared, &Archons) {
        (&self.shared, &self.archons)
    }

    async fn children(&self) -> Result<Vec<ChildStatus>, SupervisionError> {
        self.archons_supervisor.children().await
    }

    fn models(&self, archon: &Archon) -> Vec<crate::domain::ModelId> {
        let spec = &archon.spec;
        // A plain short message on a channel that no rule names.
        match spec.channels.first() {
            Some(channel) => {
                let options = SessionOptions::default();
                let input =
                    RouteInput { text: "", brought: Senses::default(), channel, turns: 0, options: &options };
                routing::route(&spec.route, input).models
            }
            None => vec![spec.route.default.clone()],
        }
    }

    fn archon(&self, id: &ArchonId) -> Option<Archon> {
        self.read().get(id).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ArchonId, Archon>> {
        self.archons.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ArchonId, Archon>> {
        self.archons.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn memory_child(shared: &Shared, args: &HouseArgs, archons: Archons) -> ChildSpec {
    let memory = shared.memory.clone();
    let (arriving, leaving) = (shared.trail.clone(), shared.trail.clone());
    let (accepted, answered, arrivals) = (shared.tasks.clone(), shared.tasks.clone(), archons.clone());
    let memory_args = MemoryArgs {
        store: args.store.clone(),
        settings: args.memory.clone(),
        calls: args.calls.clone(),
        accepted: Arc::new(move |entry| {
            arriving.note(entry.id, Station::Inbox);
            accepted.accepted(&entry);
            archon::hand_over(&arrivals, entry);
        }),
        answered: Arc::new(move |answer| {
            leaving.answered(&answer);
            answered.answered(&archons, answer.answers);
            archon::hand_out(&archons, &answer.session);
        }),
    };
    let start = start_fn(move |supervisor| {
        let (memory, args) = (memory.clone(), memory_args.clone());
        async move { memory.spawn(args, supervisor).await }
    });
    ChildSpec { shutdown: Shutdown::Within(MEMORY_STOP_TIMEOUT), ..ChildSpec::new("memory", start) }
}

fn pool_child(shared: &Shared, args: &HouseArgs) -> ChildSpec {
    let pool = shared.pool.clone();
    let pool_args = PoolArgs {
        engine: args.engine.clone(),
        settings: args.pool.clone(),
        roster: shared.roster.clone(),
        path: POOL_PATH.into(),
    };
    let start = start_fn(move |supervisor| {
        let (pool, args) = (pool.clone(), pool_args.clone());
        async move { pool.spawn(args, supervisor).await }
    });
    ChildSpec::new("pool", start)
}

fn archons_child(supervisor: SupervisorHandle, archons: Archons, shared: Shared) -> ChildSpec {
    let child = sub_supervisor(supervisor, "archons", move || {
        let (report, noting) = (shared.reporting(ARCHONS_PATH.into()), archons.clone());
        let tasks = shared.tasks.clone();
        // After a restart everyone who was started is started again.
        let children = archons.read().unwrap_or_else(PoisonError::into_inner);
        SupervisorSpec {
            name: ARCHONS_PATH.into(),
            strategy: Strategy::OneForOne,
            intensity: ARCHON_INTENSITY,
            exceeded: Exceeded::Quarantine { retry_after: QUARANTINE_RETRY },
            count_temporary: false,
            children: children.values().map(|archon| archon.child_spec(&shared)).collect(),
            report: Arc::new(move |fact| {
                archon::note_quarantine(&noting, &tasks, &fact);
                report(fact);
            }),
        }
    });
    ChildSpec { shutdown: Shutdown::Within(ARCHONS_STOP_TIMEOUT), ..child }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

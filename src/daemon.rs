//! The one place where the daemon is put together: settings, log, store, socket, engine, house, in this order; and taken apart again.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archond_actors::domain::{ArchonId, ArchonSpec};
use archond_actors::house::{Delegation, House, HouseArgs, HouseError};
use archond_actors::insight::note_panic;
use archond_actors::meaning::Meaning;
use archond_actors::memory::{MemoryHandle, MemorySettings};
use archond_actors::pool::{PoolHandle, PoolSettings};
use archond_actors::ports::{Clock, RuntimeThreads, Store};
use archond_actors::supervision::{ExitReason, SupervisionFact};
use archond_models::worker::{BACK_ENDS, Spawner};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::admin::{AdminContext, AdminListener, BindError, ProfileError};
use crate::channels::HouseChannels;
use crate::channels::media::MediaFolder;
use crate::clock::SystemClock;
use crate::engine::{HouseEmbedders, HouseEngine, LlamaEngine, RemoteError, WorkerLimits, idle_gpu_layers};
use crate::gateway::{Gateway, GatewayContext, KeyError};
use crate::logging::{self, LogLevels, LoggingError};
use crate::models_on_disk::{self, ModelsError, ModelsOnDisk};
use crate::settings::{self, Amount, PathsError, Settings, SettingsFaults, Sources};
use crate::shelves::Shelves;
use crate::store::{OpenError, RedbStore};
use crate::tools::{HouseTools, MemoryTools};

/// Threads of the runtime: the daemon waits most of the time; computing is the workers' affair.
const RUNTIME_THREADS: usize = 2;
/// The rest of the machine's memory is for the daemon, the file cache and everything else.
const WORKER_MEMORY_PERCENT: u64 = 80;
/// Most memory for contexts that outlive their worker, unless it is set, in bytes: 22,000 tokens of the starter model, and
/// rather more of the small Gemmas, of whose sliding layers only the window is kept.
const KEEPSAKE_AUTO_MAX: u64 = 512 << 20;
/// And at most this part of what a worker itself may take, so that a small machine is not filled by it: one sixteenth.
const KEEPSAKE_AUTO_PART: u64 = 16;
/// The store's file in the data folder.
pub(crate) const STORE_FILE: &str = "house.redb";
/// How often, and how many times, a store that is in use is tried again: a second in all.
const STORE_RETRY_PERIOD: Duration = Duration::from_millis(100);
/// See [`STORE_RETRY_PERIOD`].
const STORE_TRIES: u32 = 10;
/// Time for tasks that are still running when everything else has ended.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How the daemon is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Archons to start besides those of the settings.
    pub archons: Vec<String>,
    /// Whether log lines also go to the terminal.
    pub log_to_stderr: bool,
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The folders cannot be found or made.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The settings have faults.
    #[error("{0}")]
    Settings(SettingsFaults),
    /// The models' folder or catalogue.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// An Archon was named that does not exist.
    #[error(
        "there is no Archon {name}; `archond archon list` shows all, `archond archon new {name}` makes one"
    )]
    NoSuchArchon {
        /// The name.
        name: String,
    },
    /// Logging.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The gateway's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A model of another machine.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The system refused something small: a thread, a signal handler.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The tree could not be started.
    #[error("the house could not be started: {0}")]
    Start(String),
    /// The tree gave up.
    #[error("the house gave up after too many failures; the log in {logs} says why")]
    GaveUp {
        /// The log folder.
        logs: PathBuf,
    },
}

/// Runs the daemon until it is told to end, or gives up.
pub fn run(options: &RunOptions) -> Result<(), DaemonError> {
    // Whatever is made from here on is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    // Conversations must not come to lie on the disk as a memory dump, and no other process of this user may look into ours.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(
        |error| DaemonError::System { what: "memory dumps cannot be forbidden", source: error.into() },
    )?;
    let sources = models_on_disk::sources()?;
    let settings = Settings::load(&sources).map_err(DaemonError::Settings)?;
    let archons = archons_to_start(&settings, &options.archons)?;
    let logs = sources.paths.logs();
    for directory in [&settings.house.data_dir, &sources.paths.state, &sources.paths.run, &logs] {
        settings::private_dir(directory)?;
    }
    let (_log_guard, log) = logging::start(&logs, settings.house.log_level.as_str(), options.log_to_stderr)?;
    remember_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "the runtime could not be started", source })?;
    let ended = runtime.block_on(serve(sources, settings, archons, logs, Arc::new(log)));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    if let Err(error) = &ended {
        tracing::error!(%error, "the daemon ends");
    }
    ended
}

/// Keeps the place of a panic with the actor that panicked, for `archond repl`; what is printed stays as it is.
fn remember_panics() {
    let printing = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        note_panic(&format!("{info}\n{}", std::backtrace::Backtrace::force_capture()));
        printing(info);
    }));
}

fn archons_to_start(settings: &Settings, named: &[String]) -> Result<Vec<ArchonSpec>, DaemonError> {
    let mut ids: Vec<ArchonId> = settings.house.autostart.clone();
    for name in named {
        let no_such = || DaemonError::NoSuchArchon { name: name.clone() };
        let id = ArchonId::new(name).map_err(|_| no_such())?;
        if !settings.archons.contains_key(&id) {
            return Err(no_such());
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids.iter().filter_map(|id| settings.archons.get(id)).map(|profile| profile.spec.clone()).collect())
}

async fn serve(
    sources: Sources,
    settings: Settings,
    archons: Vec<ArchonSpec>,
    logs: PathBuf,
    log: Arc<LogLevels>,
) -> Result<(), DaemonError> {
    let system = |what| move |source| DaemonError::System { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("signals cannot be handled"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals cannot be handled"))?;
    // The store's lock decides who is the daemon of this house; only that one makes the socket.
    let store = open_store(&settings.house.data_dir.join(STORE_FILE)).await?;
    let listener = AdminListener::bind(&settings.house.socket)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (delegation, meaning) = (Delegation::default(), meaning(&settings));
    let house = Arc::new(start_house(&settings, store, clock.clone(), &delegation, &meaning).await?);
    let gateway = start_gateway(&settings, &house, &clock, &meaning).await?;
    let shutdown = Arc::new(Notify::new());
    let context = Arc::new(AdminContext {
        media: MediaFolder::new(settings.paths.media_dir()),
        house: house.clone(),
        meaning,
        profiles: Arc::new(move |id| read_profile(&sources, id)),
        clock: clock.clone(),
        shutdown: shutdown.clone(),
        gateway,
        started_unix_ms: clock.now_unix_ms(),
        socket: settings.house.socket.display().to_string(),
        state: settings.paths.state.clone(),
        logs: logs.display().to_string(),
        log,
    });
    for archon in archons {
        let id = archon.id.clone();
        if let Err(error) = house.start_archon(archon).await {
            // The others are not to suffer for it; `archond ps` shows it.
            tracing::error!(archon = %id, %error, "the Archon could not be started");
        }
    }
    house.open(&delegation);
    tracing::info!(socket = %settings.house.socket.display(), pid = std::process::id(), "the house is open");
    let end = async {
        let gave_up = tokio::select! {
            () = house.ended() => true,
            () = shutdown.notified() => false,
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        };
        // New clients find no socket from here on; those who are here are served to the end.
        listener.close_door();
        if gave_up {
            return Err(DaemonError::GaveUp { logs });
        }
        tracing::info!("the house closes");
        if let Err(HouseError::Supervision(error)) = house.shutdown().await {
            tracing::warn!(%error, "not everything ended in time");
        }
        tracing::info!("the house is closed");
        Ok(())
    };
    listener.serve(context, end).await
}

/// Where the settings want no gateway there is none.
async fn start_gateway(
    settings: &Settings,
    house: &Arc<House>,
    clock: &Arc<dyn Clock>,
    meaning: &Meaning,
) -> Result<Option<Arc<Gateway>>, DaemonError> {
    let settings = settings.house.gateway.clone();
    if !settings.enabled {
        return Ok(None);
    }
    let (house_of, clock, meaning) = (house.clone(), clock.clone(), meaning.clone());
    let gateway = Gateway::new(GatewayContext { house: house_of, clock, meaning, settings })?;
    let started = house.start_service(gateway.service()).await;
    started.map_err(|error| DaemonError::Start(error.to_string()))?;
    Ok(Some(gateway))
}

/// Recall, before there is a house in which it works.
fn meaning(settings: &Settings) -> Meaning {
    let embedders = HouseEmbedders {
        models: ModelsOnDisk::new(&settings.paths, settings.house.models_dir.clone()),
        wanted: settings.house.memory.embedding.clone(),
        remotes: settings.house.remotes.iter().map(|remote| remote.model.clone()).collect(),
    };
    let (memory, pool) = (MemoryHandle::new(), PoolHandle::new());
    Meaning::new(memory, pool, Arc::new(embedders), Arc::new(RuntimeThreads))
}

async fn start_house(
    settings: &Settings,
    store: RedbStore,
    clock: Arc<dyn Clock>,
    delegation: &Delegation,
    meaning: &Meaning,
) -> Result<House, DaemonError> {
    let spawner =
        Spawner::start().map_err(|source| DaemonError::System { what: "no thread for workers", source })?;
    if let Some(idle) = idle_gpu_layers(settings.house.worker.gpu_layers, BACK_ENDS) {
        tracing::warn!("{idle}");
    }
    let engine = LlamaEngine {
        spawner,
        models: ModelsOnDisk::new(&settings.paths, settings.house.models_dir.clone()),
        // The file itself, not its path: an upgrade that replaces it must not mix two versions.
        program: PathBuf::from("/proc/self/exe"),
        limits: worker_limits(settings),
        keepsakes: Arc::default(),
        shelves: Shelves::new(
            settings.house.data_dir.join("contexts"),
            match settings.house.worker.disk_max {
                Amount::Fixed(bytes) => Amount::Fixed(bytes.0),
                Amount::Auto => Amount::Auto,
            },
        ),
    };
    let pool = PoolSettings {
        queue_len_max: settings.house.queue_len_max,
        memory_bytes_max: worker_limits(settings).memory_bytes_max,
        ..PoolSettings::default()
    };
    let remembering = MemoryTools::new(meaning.clone(), clock.clone());
    let store: Arc<dyn Store> = Arc::new(store);
    let args = HouseArgs {
        store: store.clone(),
        engine: Arc::new(HouseEngine::new(engine, &settings.house.remotes).await?),
        tools: Arc::new(
            HouseTools::new(&settings.paths, remembering, &settings.house.web)
                .with_delegation(delegation.clone()),
        ),
        media: Arc::new(MediaFolder::new(settings.paths.media_dir())),
        channels: Arc::new(HouseChannels::new(settings.paths.clone(), clock.clone(), store)),
        clock,
        calls: Arc::new(RuntimeThreads),
        memory: MemorySettings::default(),
        pool,
        report: Arc::new(|(subtree, fact)| log_fact(&subtree, &fact)),
    };
    // The tools of memory and the house have one way to the store.
    let (ways, failed) = (meaning.ways(), |error: String| DaemonError::Start(error));
    let house = House::start_with(args, ways.0, ways.1).await.map_err(|error| failed(error.to_string()))?;
    house.start_service(meaning.service()).await.map_err(|error| failed(error.to_string()))?;
    Ok(house)
}

/// Opens the store, and waits a little for one that is in use: a daemon that was killed while it forked a worker leaves
/// its lock with the fork for a moment.
async fn open_store(path: &Path) -> Result<RedbStore, OpenError> {
    let mut tries = tokio::time::interval(STORE_RETRY_PERIOD);
    for _ in 0..STORE_TRIES {
        tries.tick().await;
        match RedbStore::open(path) {
            Err(OpenError::InUse { .. }) => {}
            other => return other,
        }
    }
    RedbStore::open(path)
}

/// What each worker may use up.
pub(crate) fn worker_limits(settings: &Settings) -> WorkerLimits {
    let worker = settings.house.worker;
    let threads = match worker.threads {
        Amount::Fixed(threads) => threads,
        Amount::Auto => std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .unwrap_or(1),
    };
    let memory_bytes_max = match worker.memory_max {
        Amount::Fixed(bytes) => bytes.0,
        Amount::Auto => {
            let info = rustix::system::sysinfo();
            u64::from(info.mem_unit).saturating_mul(info.totalram as u64) / 100 * WORKER_MEMORY_PERCENT
        }
    };
    // One worker serves every Archon: its sequences are as long as the longest context that a profile asks for.
    let contexts = settings.archons.values().map(|profile| profile.spec.context.tokens_max);
    WorkerLimits {
        threads,
        draft_tokens_max: worker.draft_max,
        repack: worker.repack,
        gpu_layers: worker.gpu_layers,
        slots: worker.slots,
        context_tokens: contexts.max().unwrap_or(8192),
        memory_bytes_max: Some(memory_bytes_max),
        keepsake_bytes: match worker.keepsake_max {
            Amount::Fixed(bytes) => bytes.0,
            Amount::Auto => KEEPSAKE_AUTO_MAX.min(memory_bytes_max / KEEPSAKE_AUTO_PART),
        },
    }
}

fn read_profile(sources: &Sources, id: &ArchonId) -> Result<ArchonSpec, ProfileError> {
    let settings =
        Settings::load(sources).map_err(|faults| ProfileError::Faulty { faults: faults.to_string() })?;
    let profile = settings.archons.get(id).ok_or_else(|| ProfileError::NotFound { archon: id.clone() })?;
    Ok(profile.spec.clone())
}

fn log_fact(subtree: &str, fact: &SupervisionFact) {
    match fact {
        SupervisionFact::ChildStarted { id } => tracing::debug!(subtree, child = id, "started"),
        // A failure is one line, however it goes on: a storm of restarts must not fill the disk.
        SupervisionFact::ChildExited { id, reason: reason @ ExitReason::Abnormal { .. } } => {
            tracing::warn!(subtree, child = id, %reason, "failed");
        }
        SupervisionFact::ChildExited { id, reason } => tracing::debug!(subtree, child = id, %reason, "ended"),
        SupervisionFact::ChildRestarting { id, delay } => {
            tracing::debug!(subtree, child = id, ?delay, "will be started again");
        }
        SupervisionFact::ChildQuarantined { id, reason, retry_after } => {
            let message = "quarantined, to be tried again by itself; `archond start` tries at once";
            tracing::error!(subtree, child = id, reason, ?retry_after, message);
        }
        SupervisionFact::GaveUp { reason } => tracing::error!(subtree, reason, "gave up"),
    }
}

//! The worker process: `archond model-worker`.
//!
//! Started by the [`Spawner`](super::Spawner) only. Its standard input is the connection to the daemon; when that ends, so
//! does the process, whatever it is doing.
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setrlimit,
};

use super::anticipation::Anticipation;
use super::frame::{self, BUILD, FrameError, FromWorker, Hello, Landlock, LoadOrder, PROTOCOL, ToWorker};
use super::log_lines::{LineSubscriber, memory_ran_short};
use super::probe::run_sandbox_probe;
use super::sandbox::{self, SandboxError};
use crate::engine::{
    BACK_ENDS, DraftModel, Engine, EngineError, EngineEvent, Keepsake, LoadedModel, Projector, Residence,
    is_gpu_wanted, open_drivers,
};

/// Requests that wait for the engine between two steps.
const INBOX_LEN: usize = 64;
/// Says to the kernel, when memory runs out: take this process, not the daemon, which can start it again. Of 1000.
const OOM_SCORE: &str = "900";
/// Conversations go to the disk when nobody has wanted anything for so long: who talks on at once would have them written each time.
const REST_AFTER: Duration = Duration::from_secs(3);
/// How often, and how long apart, the lock on the file of contexts is asked for.
const LOCK_TRIES: u32 = 20;
const LOCK_PERIOD: Duration = Duration::from_millis(50);
/// Exit code for a wrong command line (EX_USAGE).
const USAGE: u8 = 64;

/// Why a worker ends by itself.
#[derive(Debug, thiserror::Error)]
enum WorkerFailure {
    #[error("it was orphaned before it could begin")]
    Orphaned,
    #[error("the connection to the daemon: {0}")]
    Connection(#[from] FrameError),
    #[error("the daemon is another build: start both from the same binary")]
    OtherBuild,
    #[error("the daemon said something else than what is to be loaded")]
    Disorder,
    #[error("the system refuses {what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The subcommand `model-worker`, from its command line to its end. `main` calls it before anything else is started:
/// the sandbox must be closed while the process has one thread.
pub fn run_worker() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let texts: Vec<Option<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    match (texts.as_slice(), arguments.as_slice()) {
        ([Some("--parent"), Some(pid)], _) => {
            match pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw) {
                Some(parent) => serve(parent),
                None => usage(),
            }
        }
        ([Some("--probe-sandbox"), _], [_, permitted]) => probe(Path::new(permitted)),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    complain(
        "`model-worker` is started by the daemon; by hand only `model-worker --probe-sandbox FILE` makes sense",
    );
    ExitCode::from(USAGE)
}

fn complain(text: &str) {
    // Nobody is left to be told that even this cannot be written.
    let _unheard = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn probe(permitted: &Path) -> ExitCode {
    match run_sandbox_probe(permitted) {
        Ok(probe) => {
            let shown = io::stdout().write_all(probe.to_string().as_bytes());
            if probe.is_tight() && shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&format!("the sandbox cannot be probed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(parent: Pid) -> ExitCode {
    let connected = settle(parent).and_then(|output| Ok((output, Connection::open()?)));
    let Ok((output, connection)) = connected.inspect_err(|failure| complain(&failure.to_string())) else {
        return ExitCode::FAILURE;
    };
    let Connection { from, to } = connection;
    let to = Rc::new(RefCell::new(to));
    let Err(failure) = run(from, &to, output) else { return ExitCode::SUCCESS };
    tell(&to, &failed(&failure));
    ExitCode::FAILURE
}

/// The last words. A file that was too large for the memory is not a bad file.
fn failed(failure: &WorkerFailure) -> FromWorker {
    let of_the_file = match failure {
        WorkerFailure::Engine(error) => error.is_of_the_file(),
        WorkerFailure::Sandbox(error) => matches!(error, SandboxError::ModelFile(_)),
        _ => false,
    };
    if of_the_file && memory_ran_short() {
        let fewer = if BACK_ENDS.is_empty() { "" } else { ", lower `worker.gpu_layers`" };
        let detail = format!(
            "{failure}; there was not enough memory: give this model more{fewer}, or take a smaller one"
        );
        return FromWorker::Failed { detail, unusable: false };
    }
    FromWorker::Failed { detail: failure.to_string(), unusable: of_the_file }
}

/// Closes what the daemon, or whoever started it, left open: a worker has its three streams and nothing else.
fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let inherited: Vec<RawFd> = numbers.filter(|&number| number > libc::STDERR_FILENO).collect();
    for number in inherited {
        // The descriptor of the listing itself is among them, and closed by now.
        let _gone = nix::unistd::close(number);
    }
    Ok(())
}

/// Takes away what the daemon handed over as the standard output, where a careless library would write to.
fn take_output() -> io::Result<File> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(output.into())
}

/// What concerns the process itself. Returns what the daemon handed over.
fn settle(parent: Pid) -> Result<File, WorkerFailure> {
    close_inherited()
        .map_err(|source| WorkerFailure::System { what: "the list of its open files", source })?;
    let output = take_output().map_err(|source| WorkerFailure::System { what: "an empty output", source })?;
    let system = |what| move |error: rustix::io::Errno| WorkerFailure::System { what, source: error.into() };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(system("a signal at the daemon's end"))?;
    if getppid() != Some(parent) {
        return Err(WorkerFailure::Orphaned); // the daemon ended before the line above
    }
    // Conversations must not come to lie on the disk as a memory dump.
    let no_dump = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, no_dump).map_err(system("to forbid memory dumps"))?;
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE) {
        complain(&format!("INFO the kernel may prefer to end the daemon when memory runs out: {error}"));
    }
    Ok(output)
}

/// Opens the memory that the daemon handed over for contexts. A worker without it is as good as any, but for its death.
fn open_keepsake(output: &File, order: &LoadOrder) -> Option<Keepsake> {
    let opened = identity(order).and_then(|identity| Keepsake::open(output, identity));
    opened.inspect_err(|error| complain(&format!("INFO no contexts can be kept: {error}"))).ok()
}

/// Opens the file where contexts rest. A worker without it is as good as any, but has to read more.
fn open_shelf(order: &LoadOrder) -> Option<Keepsake> {
    let (path, bytes_max) = order.shelf.as_ref()?;
    let open = || {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // The worker of a daemon that was killed may still be about to end.
        for _ in 0..LOCK_TRIES {
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                break;
            }
            std::thread::sleep(LOCK_PERIOD);
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        if file.metadata()?.len() != *bytes_max {
            file.set_len(*bytes_max)?;
        }
        Keepsake::open_on_disk(&file, identity(order)?)
    };
    open()
        .inspect_err(|error: &io::Error| {
            complain(&format!("INFO no contexts can rest in {}: {error}", path.display()))
        })
        .ok()
}

/// All that must be the same for a context to mean the same: the file, how it is run, and this program.
fn identity(order: &LoadOrder) -> io::Result<u64> {
    let file = std::fs::metadata(&order.model_path)?;
    let mut hasher = DefaultHasher::new();
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()).hash(&mut hasher);
    (BUILD, &order.model_path, format!("{:?}", order.family), order.slots, order.context_tokens)
        .hash(&mut hasher);
    // Weights in another order, or on another processor, are added up in another order, and round otherwise.
    order.residence.hash(&mut hasher);
    // What a picture is to the model, it is by this projector.
    if let Some(path) = &order.projector_path {
        let file = std::fs::metadata(path)?;
        (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

#[expect(clippy::disallowed_methods, reason = "measures computation, and a pause of the engine's own thread")]
fn now() -> Instant {
    Instant::now()
}

struct Connection {
    from: BufReader<UnixStream>,
    to: BufWriter<UnixStream>,
}

impl Connection {
    fn open() -> Result<Self, WorkerFailure> {
        let refused = |source| WorkerFailure::System { what: "the connection", source };
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(refused)?);
        let from = BufReader::new(socket.try_clone().map_err(refused)?);
        Ok(Self { from, to: BufWriter::new(socket) })
    }
}

type Out = Rc<RefCell<BufWriter<UnixStream>>>;

/// Says something at once. If the daemon is gone, the listening thread ends the process.
fn tell(to: &Out, message: &FromWorker) {
    put(to, message);
    let _told_by_the_listener = to.borrow_mut().flush();
}

fn put(to: &Out, message: &FromWorker) {
    let _told_by_the_listener = frame::write(&mut *to.borrow_mut(), message);
}

fn bound_memory(bytes: u64) -> Result<(), WorkerFailure> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let system =
        |error: rustix::io::Errno| WorkerFailure::System { what: "the memory limit", source: error.into() };
    setrlimit(Resource::Data, limit).map_err(system)
}

/// Gives up all rights but to compute with the files of this order.
fn confine(order: &LoadOrder) -> Result<Landlock, SandboxError> {
    let beside = order.projector_path.iter().chain(&order.drafter_path);
    let readable: Vec<&Path> =
        std::iter::once(&order.model_path).chain(beside).map(|path| path.as_path()).collect();
    if is_gpu_wanted(order.residence) {
        sandbox::close_around(&readable, open_drivers)
    } else {
        sandbox::close(&readable)
    }
}

fn run(mut from: BufReader<UnixStream>, to: &Out, output: File) -> Result<(), WorkerFailure> {
    let (ToWorker::Hello(hello), ToWorker::Load(order)) = (frame::read(&mut from)?, frame::read(&mut from)?)
    else {
        return Err(WorkerFailure::Disorder);
    };
    if hello != Hello::own() {
        return Err(WorkerFailure::OtherBuild);
    }
    order.memory_bytes_max.map_or(Ok(()), bound_memory)?;
    let keepsake = if order.has_keepsake { open_keepsake(&output, &order) } else { None };
    drop(output);
    let shelf = open_shelf(&order);
    if tracing::subscriber::set_global_default(LineSubscriber).is_err() {
        complain("INFO another log was set up before"); // the messages go there then
    }
    let landlock = confine(&order)?;
    tell(to, &FromWorker::Hello(Hello::own(), landlock));
    let (commands, inbox) = sync_channel(INBOX_LEN);
    let listener = std::thread::Builder::new().name("listen".to_owned());
    let started = listener.spawn(move || listen(from, &commands));
    started.map_err(|source| WorkerFailure::System { what: "memory for a thread", source })?;
    let LoadOrder {
        model_path,
        projector_path,
        residence,
        drafter_path,
        family,
        slots,
        context_tokens,
        threads,
        draft_tokens_max,
        ..
    } = order;
    let progress = Rc::clone(to);
    tell(to, &FromWorker::Loading { percent: 0 });
    let model = LoadedModel::load(&model_path, family, residence, move |percent| {
        tell(&progress, &FromWorker::Loading { percent })
    })?;
    let drafter_path = drafter_path.filter(|_| draft_tokens_max > 0);
    let drafter = drafter_path.and_then(|path| load_drafter(&path, &model_path, &model, residence));
    let mut engine = Engine::new(&model, slots, context_tokens, threads)?;
    engine.draft_at_most(draft_tokens_max as usize);
    if let Some(drafter) = &drafter {
        draft_with(&mut engine, drafter);
    }
    if let Some(path) = projector_path {
        engine.see_with(Projector::load(&path, &model, threads)?)?;
    }
    if let Some(keepsake) = keepsake {
        let tokens = engine.keep_in(keepsake);
        tracing::info!("{tokens} tokens of context were taken over from the worker before");
    }
    if let Some(records) = shelf {
        engine.shelve_in(records);
    }
    let processor = model.processor().to_owned();
    tell(to, &FromWorker::Ready { slots, context_tokens: engine.context_tokens(), processor });
    let ended = generate(&mut engine, &inbox, to);
    if ended.is_err() {
        engine.forget_kept(); // the next worker is not to come to the same end
    }
    ended
}

/// The model's drafter. A worker without it is as good as any, but may take longer: an error is told so that it is seen.
fn load_drafter(
    path: &Path,
    model_path: &Path,
    model: &LoadedModel,
    residence: Residence,
) -> Option<DraftModel> {
    DraftModel::load(path, model_path, model, residence).inspect_err(|error| tracing::error!("{error}")).ok()
}

fn draft_with<'m>(engine: &mut Engine<'m>, drafter: &'m DraftModel) {
    match engine.draft_with(drafter) {
        Ok(()) => tracing::info!("a drafter guesses along where that pays"),
        Err(error) => tracing::error!("{error}"),
    }
}

/// The next command, which an idle engine waits for. While nobody wants anything, it saves what is worth it.
fn await_command(engine: &mut Engine<'_>, inbox: &Receiver<ToWorker>) -> Option<ToWorker> {
    let mut rests = false;
    loop {
        match inbox.try_recv() {
            Ok(command) => return Some(command),
            Err(TryRecvError::Empty) if engine.keep_idle() => {}
            Err(TryRecvError::Empty) if !rests => match inbox.recv_timeout(REST_AFTER) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Timeout) => {
                    rests = true;
                    engine.put_embedder_away();
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            },
            Err(TryRecvError::Empty) if engine.shelve_resting() => {}
            Err(TryRecvError::Empty) => return inbox.recv().ok(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

/// The life of a ready worker: take what came in, compute a step, tell, again.
fn generate(engine: &mut Engine<'_>, inbox: &Receiver<ToWorker>, to: &Out) -> Result<(), WorkerFailure> {
    let mut anticipation = Anticipation::default();
    loop {
        let awaited = if engine.is_idle() {
            let Some(command) = await_command(engine, inbox) else { return Ok(()) };
            Some(command)
        } else {
            None
        };
        for command in awaited.into_iter().chain(inbox.try_iter()) {
            obey(engine, command, to)?;
        }
        let (began, mut ended) = (now(), 0);
        engine.step(&mut |event| {
            ended += usize::from(matches!(event, EngineEvent::Finished { .. }));
            put(to, &event.into());
        })?;
        let _told_by_the_listener = to.borrow_mut().flush();
        let step = now() - began;
        engine.keep();
        if ended > 0 && !engine.is_idle() {
            match anticipation.pause(step) {
                Some(pause) => {
                    let came = hold_still(engine, inbox, to, ended, pause)?;
                    anticipation.learn(ended, came);
                }
                None => anticipation.forgive(ended),
            }
        }
    }
}

fn obey(engine: &mut Engine<'_>, command: ToWorker, to: &Out) -> Result<(), WorkerFailure> {
    let event = match command {
        ToWorker::Generate(request) => engine.start(&request),
        ToWorker::Cancel { id } => engine.cancel(id),
        ToWorker::Hello(_) | ToWorker::Load(_) => return Err(WorkerFailure::Disorder),
    };
    event.into_iter().for_each(|event| put(to, &event.into()));
    Ok(())
}

/// Waits for as many requests as answers have ended, but no longer than so long. Returns how many came.
fn hold_still(
    engine: &mut Engine<'_>,
    inbox: &Receiver<ToWorker>,
    to: &Out,
    ended: usize,
    pause: Duration,
) -> Result<usize, WorkerFailure> {
    let (began, mut came) = (now(), 0);
    while came < ended {
        let Some(left) = pause.checked_sub(now() - began) else { break };
        let Ok(command) = inbox.recv_timeout(left) else { break };
        came += usize::from(matches!(command, ToWorker::Generate(_)));
        obey(engine, command, to)?;
    }
    Ok(came)
}

/// Passes on what the daemon says. Its end is this process's end, even in the middle of a computation.
fn listen(mut from: BufReader<UnixStream>, commands: &SyncSender<ToWorker>) {
    loop {
        match frame::read(&mut from) {
            Ok(command) => {
                if commands.send(command).is_err() {
                    return; // the engine has failed and says so itself
                }
            }
            Err(error) => {
                if !matches!(error, FrameError::Closed) {
                    complain(&format!("ERROR protocol {PROTOCOL}: {error}"));
                }
                // Not `exit`: that would tear down llama.cpp's state under the thread that computes.
                let _cannot_fail_for_oneself = kill_process(getpid(), Signal::KILL);
            }
        }
    }
}

impl From<EngineEvent> for FromWorker {
    fn from(event: EngineEvent) -> Self {
        match event {
            EngineEvent::Prefill { id, done, total } => Self::Prefill { id, done, total },
            EngineEvent::Token { id, token, chosen } => Self::Token { id, token, chosen },
            EngineEvent::Found { id, finding } => Self::Found { id, finding },
            EngineEvent::Finished { id, reason, usage } => Self::Finished { id, reason, usage },
            EngineEvent::Refused { id, refusal } => Self::Refused { id, refusal },
        }
    }
}

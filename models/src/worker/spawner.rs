//! Starts worker processes, all from one thread.
//!
//! The kernel ends a worker when the *thread* that started it ends, not the process. So a thread that lives as long as any
//! worker does it; the threads of an async runtime come and go.
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use super::link::{Events, Worker};
use super::{BACK_ENDS, Event, WorkerError, WorkerSpec};

/// How often a thread that computes looks for the others before it sleeps: a few microseconds. Measured with the starter on two cores,
/// tokens a second with none, 300 and 3,000: 37, 91 and 127 alone; 58, 44 and 19 beside a program that takes a core.
const SPINS: &str = "300";

/// A child process that is killed and reaped when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    handle: Arc<ProcessHandle>,
}

/// Names one process for ever, where a number could come to name another.
#[derive(Debug)]
pub(super) struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Ends the process, even one that is stopped. Without effect if it has ended.
    pub(super) fn kill(&self) {
        if let Err(error) = pidfd_send_signal(&self.0, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!("cannot kill a model worker: {error}");
        }
    }
}

impl Process {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let opened = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH);
        match opened.and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(handle) => Ok(Self { child, handle: Arc::new(ProcessHandle(handle)) }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn handle(&self) -> Arc<ProcessHandle> {
        Arc::clone(&self.handle)
    }

    /// Where its standard error can be read; only the first time.
    pub(super) fn take_stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Kills it, unless it has ended, and reaps it.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        self.handle.kill();
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!("cannot reap a model worker: {error}");
        }
    }
}

/// An order to start a process.
pub(super) struct Order {
    command: Command,
    reply: oneshot::Sender<io::Result<Process>>,
}

/// Keeps the thread alive that started a worker.
pub(super) type KeepsSpawner = mpsc::Sender<Order>;

/// Starts workers. Its thread lives on until the last worker is gone.
#[derive(Debug, Clone)]
pub struct Spawner {
    orders: KeepsSpawner,
}

impl Spawner {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let serve = move || {
            for Order { command, reply } in inbox {
                // If nobody waits any longer, the process comes back and is ended by being dropped.
                drop(reply.send(Process::start(command)));
            }
        };
        std::thread::Builder::new().name("worker-spawner".to_owned()).spawn(serve)?;
        Ok(Self { orders })
    }

    /// Starts a worker. Returns as soon as the process exists; everything else comes as events, on a thread of their
    /// own, perhaps before this returns.
    pub async fn launch(
        &self,
        spec: WorkerSpec,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Worker, WorkerError> {
        let program = spec.program.clone();
        let failed = |source| WorkerError::Start { program: program.clone(), source };
        let (own_end, its_end) = UnixStream::pair().map_err(failed)?;
        let (reply, answer) = oneshot::channel();
        let order = Order { command: command(&spec, its_end).map_err(failed)?, reply };
        self.orders.send(order).map_err(|_| WorkerError::SpawnerGone)?;
        let process = answer.await.map_err(|_| WorkerError::SpawnerGone)?.map_err(failed)?;
        let events: Events = events;
        Worker::attach(process, own_end, spec, events, self.orders.clone()).map_err(failed)
    }
}

/// Variables by which people choose their GPU or its driver.
const GPU_CHOICES: [&str; 8] = [
    "CUDA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "LD_LIBRARY_PATH",
    "ROCR_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
];

/// The daemon's own of these, in builds that have a use for them. Drivers' caches on the disk are switched off: none could be written.
fn gpu_choices() -> Vec<(&'static str, OsString)> {
    if BACK_ENDS.is_empty() {
        return Vec::new();
    }
    let chosen = GPU_CHOICES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let without = ["CUDA_CACHE_DISABLE", "MESA_SHADER_CACHE_DISABLE"].map(|name| (name, "1".into()));
    chosen.chain(without).collect()
}

fn command(spec: &WorkerSpec, socket: UnixStream) -> io::Result<Command> {
    let keepsake = spec.keepsake.as_ref().map(|keepsake| keepsake.descriptor()).transpose()?;
    let mut command = Command::new(&spec.program);
    command
        .arg("model-worker")
        .args(["--parent", &std::process::id().to_string()])
        .env_clear()
        // OpenMP's threads would spin for long while they wait, and two spinning threads collapse when a neighbour wants a core. But a step
        // has hundreds of waits of some microseconds, and to sleep in each costs more than it.
        .env("OMP_WAIT_POLICY", "passive")
        .env("GOMP_SPINCOUNT", SPINS)
        .env("OMP_NUM_THREADS", spec.threads.max(1).to_string())
        .envs(gpu_choices())
        // On a failed assertion llama.cpp would start a debugger, which takes a second.
        .env("GGML_NO_BACKTRACE", "1")
        .current_dir("/")
        // The standard streams are the descriptors that are handed over without unsafe code: the connection is the worker's input, and
        // the memory for its contexts its output, until it has taken it from there.
        .stdin(OwnedFd::from(socket))
        .stdout(keepsake.map_or_else(Stdio::null, Stdio::from))
        .stderr(Stdio::piped())
        // Ctrl-C in the daemon's terminal is for the daemon, which ends its workers itself.
        .process_group(0);
    Ok(command)
}

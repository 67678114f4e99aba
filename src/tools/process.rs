//! The daemon's side of a tool process: starts it, hands it its order, takes its answer, and makes sure of its end.
//!
//! A call has a thread of its own from its beginning to the end of its process: the kernel ends a process when the *thread* that started
//! it ends. The order's pipe stays open as long as somebody wants the answer; when it closes, the process ends what it started, and itself.
use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::bubblewrap;
use super::order::{ANSWER_BYTES_MAX, Answer, ORDER_BYTES_MAX, Order};
use super::runner::VERB;

/// Where programs are found.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How often, and how long apart, a process is asked for while the system has none to spare.
const START_TRIES: u32 = 30;
/// See [`START_TRIES`].
const START_PERIOD: Duration = Duration::from_millis(100);
/// For a process that is asked to end, to end what it started before.
const END_TIMEOUT: Duration = Duration::from_secs(4);
/// The same for one that keeps a shell or a server: while it lives, what it keeps can be ended, and after it nobody knows what that was.
/// More than it takes for that itself.
pub(super) const KEEPER_TIMEOUT: Duration = Duration::from_secs(40);
/// Longest wait of one poll; what happens ends it earlier.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a process gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error("the tool process cannot be started from {program}: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("the arguments take {0} bytes, more than {ORDER_BYTES_MAX}; write in smaller pieces")]
    TooLong(usize),
    #[error("the tool process cannot be watched: {0}")]
    Watch(#[source] io::Error),
    #[error("there is no program `{0}`; install it, or name its whole path")]
    NoProgram(String),
    #[error("`{path}`, which a server is to have, cannot be used: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the call took longer than {} s and was ended", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("the call was given up")]
    Cancelled,
    #[error("the tool process ended without an answer ({0}); it may have used up its memory or time")]
    NoAnswer(ExitStatus),
    #[error("the tool process said something that is no answer")]
    Nonsense,
}

/// How processes are started.
#[derive(Debug, Clone)]
pub(super) struct Start<'s> {
    /// The program of the daemon.
    pub(super) program: &'s Path,
    /// Stands around the process.
    pub(super) bubblewrap: Option<&'s Path>,
    /// Is given to it as its error output, which nobody reads otherwise.
    pub(super) line: Option<&'s OwnedFd>,
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, without tokio, which watches a process")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Makes a call, and returns when its process and all that came of it are gone. When `cancel` closes, it is ended early.
pub(super) fn run(start: &Start<'_>, order: &Order, cancel: &PipeReader) -> Result<Answer, ProcessError> {
    let mut running = Running::start(start, order)?;
    let watched = running.watch(order.time_max, cancel);
    // One that has answered is about to end, and one that keeps a shell has to end that first. The others do not listen.
    let patience = match &watched {
        _ if order.keeps() => KEEPER_TIMEOUT,
        Ok(()) => END_TIMEOUT,
        Err(_) => Duration::ZERO,
    };
    let status = running.end(patience).map_err(ProcessError::Watch)?;
    watched?;
    if running.answer.is_empty() {
        return Err(ProcessError::NoAnswer(status));
    }
    serde_json::from_slice(&running.answer).map_err(|_| ProcessError::Nonsense)
}

/// A machine that has no process to spare has one again when another ends: that is waited for, for a while.
fn spawn(start: &Start<'_>, order: &Order) -> io::Result<Child> {
    for _ in 0..START_TRIES {
        match prepare(start, order)?.spawn() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(START_PERIOD),
            started => return started,
        }
    }
    prepare(start, order)?.spawn()
}

/// A process that is ended when this is dropped.
struct Running {
    child: Child,
    /// Open as long as the answer is wanted.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// What is to be said.
    order: Vec<u8>,
    said: usize,
    answer: Vec<u8>,
    is_reaped: bool,
}

impl Running {
    fn start(start: &Start<'_>, order: &Order) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::Start { program: start.program.to_owned(), source };
        let mut line = serde_json::to_vec(order).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        if line.len() as u64 > ORDER_BYTES_MAX {
            return Err(ProcessError::TooLong(line.len()));
        }
        let mut child = spawn(start, order).map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            let _ended = child.kill().and_then(|()| child.wait());
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mut running = Self {
            child,
            input: Some(input),
            output,
            order: line,
            said: 0,
            answer: Vec::new(),
            is_reaped: false,
        };
        let set = running.input.as_ref().map(|input| fcntl_setfl(input, OFlags::NONBLOCK)).transpose();
        match set {
            Ok(_) => Ok(running),
            Err(error) => {
                let _ended = running.end(Duration::ZERO);
                Err(ProcessError::Watch(error.into()))
            }
        }
    }

    /// Says the order and hears the answer to its end.
    fn watch(&mut self, time_max: Duration, cancel: &PipeReader) -> Result<(), ProcessError> {
        let deadline = now() + time_max;
        loop {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Err(ProcessError::TimedOut(time_max));
            }
            let says = self.said < self.order.len();
            let (is_cancelled, hears, is_asked) = {
                let input = self.input.as_ref().filter(|_| says).map_or(self.output.as_fd(), AsFd::as_fd);
                let to_input = if says { PollFlags::OUT } else { PollFlags::empty() };
                let mut watched = [
                    PollFd::new(cancel, PollFlags::IN),
                    PollFd::new(&self.output, PollFlags::IN),
                    PollFd::from_borrowed_fd(input, to_input),
                ];
                wait_for(&mut watched, left.min(WAIT_MAX)).map_err(ProcessError::Watch)?;
                let [cancel, output, input] = watched.map(|one| !one.revents().is_empty());
                (cancel, output, says && input)
            };
            if is_cancelled {
                return Err(ProcessError::Cancelled);
            }
            if is_asked {
                self.say();
            }
            if hears && self.hear()? == 0 {
                return Ok(());
            }
        }
    }

    fn say(&mut self) {
        let rest = self.order.get(self.said..).unwrap_or_default();
        let Some(input) = &mut self.input else { return };
        match input.write(rest) {
            Ok(length) => self.said += length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // It has ended: what it said before, or nothing, is the answer.
            Err(_) => self.said = self.order.len(),
        }
    }

    fn hear(&mut self) -> Result<usize, ProcessError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = match self.output.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(1),
            other => other.map_err(ProcessError::Watch)?,
        };
        self.answer.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if self.answer.len() > ANSWER_BYTES_MAX { Err(ProcessError::Nonsense) } else { Ok(length) }
    }

    /// Asks the process to end and waits a while, ends it with its group, and reaps it.
    fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.input = None;
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        if !self.is_reaped {
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
                wait_for(&mut [PollFd::new(&handle, PollFlags::IN)], patience)?;
            }
            // Until it is reaped, its number means nobody else, nor does that of its group.
            let _gone = kill_process_group(pid, Signal::KILL);
            self.is_reaped = true;
        }
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped
            && let Err(error) = self.end(END_TIMEOUT)
        {
            tracing::error!("cannot reap a tool process: {error}");
        }
    }
}

pub(super) fn wait_for(watched: &mut [PollFd<'_>], time_max: Duration) -> io::Result<()> {
    let time = Timespec::try_from(time_max).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(watched, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A process that acts on orders, with nothing of the daemon's own environment.
pub(super) fn prepare(start: &Start<'_>, order: &Order) -> io::Result<Command> {
    let program = OsString::from(start.program);
    let mut command = match start.bubblewrap {
        None => Command::new(&program),
        Some(bubblewrap) => {
            let mut command = Command::new(bubblewrap);
            command.args(bubblewrap::arguments(order, start.program)).arg(&program);
            command
        }
    };
    let errors = start.line.map_or_else(|| Ok(Stdio::null()), |line| line.try_clone().map(Stdio::from))?;
    command
        .arg(VERB)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", &order.workspace)
        .env("TMPDIR", &order.temporary)
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb")
        .current_dir(&order.workspace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        // Ctrl-C in the daemon's terminal is for the daemon.
        .process_group(0);
    Ok(command)
}

//! Servers that run as long as somebody wants them, closed in as the shell is; each with a thread that watches it to its end.
//!
//! The thread lives as long as the server: the signal of bubblewrap that ends a process with its parent means the thread.
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::sync::oneshot;

use super::order::{Order, SERVER, ServerOrder};
use super::process::{KEEPER_TIMEOUT, PATH, ProcessError, Start, now, prepare, wait_for};
use super::runner::KEEP_SERVER;
use super::{BuiltIn, Ground};

/// Longest wait of one poll; what happens ends it earlier.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two signs that a server's temporary folder is in use.
const IN_USE_PERIOD: Duration = Duration::from_secs(3600);
/// Longest line of a server about itself that is kept, in bytes.
const LINE_BYTES_MAX: usize = 2_000;
/// Read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// A server that is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The program, as a whole path or a name that is looked for where programs are.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Variables of its environment, beside the few that every tool has.
    pub(crate) env: Vec<(String, String)>,
    /// Folders and files that it may read.
    pub(crate) reads: Vec<PathBuf>,
    /// Folders that it may write, beside the workspace.
    pub(crate) writes: Vec<PathBuf>,
    /// Whether it may talk to other machines.
    pub(crate) network: bool,
}

/// Takes the lines that a server writes about itself on its error output, each cut to what people read.
pub(crate) type Lines = Arc<dyn Fn(&str) + Send + Sync>;

/// A server that runs. Dropped, it is ended with all that it started.
#[derive(Debug)]
pub(crate) struct Serving {
    /// What is written here it reads.
    pub(crate) input: OwnedFd,
    /// What it says.
    pub(crate) output: OwnedFd,
    /// How it ended.
    pub(crate) ended: oneshot::Receiver<String>,
    /// Closed with this.
    pub(crate) wanted: PipeWriter,
}

impl BuiltIn {
    /// Starts a server in the workspace of these tools.
    pub(crate) async fn serve(&self, server: Server, lines: Lines) -> Result<Serving, String> {
        let ground = Arc::clone(&self.ground);
        let (started, starting) = oneshot::channel();
        let (tell_end, ended) = oneshot::channel();
        let (cancel, wanted) = io::pipe().map_err(|error| format!("the system gives no pipe: {error}"))?;
        let watch = move || {
            let temporary = match ground.temporary() {
                Ok(temporary) => temporary,
                Err(error) => return drop(started.send(Err(error.to_string()))),
            };
            match ground.start(&server, temporary.path()) {
                Err(error) => drop(started.send(Err(error.to_string()))),
                Ok((mut running, input, output)) => {
                    if started.send(Ok((input, output))).is_ok() {
                        running.watch(&cancel, &lines, temporary.path());
                    }
                    let _nobody_asks = tell_end.send(running.end());
                }
            }
        };
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(watch);
        thread.map_err(|error| format!("the system gives no thread: {error}"))?;
        let (input, output) = starting.await.map_err(|_| "the start broke off".to_owned())??;
        Ok(Serving { input, output, ended, wanted })
    }
}

impl Ground {
    /// Starts the server. Blocking.
    fn start(&self, server: &Server, temporary: &Path) -> Result<(Running, OwnedFd, OwnedFd), ProcessError> {
        let mechanisms = self.mechanisms();
        let bubblewrap = mechanisms.bubblewrap.as_ref().ok().map(PathBuf::as_path);
        let program = find(&server.program)?;
        let failed = |source| ProcessError::Start { program: program.clone(), source };
        let existing = |paths: &[PathBuf]| -> Result<Vec<PathBuf>, ProcessError> {
            let resolve = |path: &PathBuf| {
                path.canonicalize().map_err(|source| ProcessError::Folder { path: path.clone(), source })
            };
            paths.iter().map(resolve).collect()
        };
        let mut order = self.order(SERVER, "", Duration::MAX, None);
        order.readable.extend(existing(&server.reads)?);
        order.server = Some(ServerOrder {
            arguments: server.arguments.clone(),
            env: server.env.clone(),
            writes: existing(&server.writes)?,
            network: server.network,
        });
        let order = Order {
            temporary: temporary.to_owned(),
            program: Some(program.clone()),
            parent: bubblewrap.is_none().then(std::process::id),
            ..order
        };
        let own = match bubblewrap {
            Some(_) => self.program.canonicalize().map_err(failed)?,
            None => self.program.clone(),
        };
        let mut command =
            prepare(&Start { program: &own, bubblewrap, line: None }, &order).map_err(failed)?;
        command.arg(KEEP_SERVER).stderr(Stdio::piped());
        Running::of(&mut command, &order).map_err(failed)
    }
}

/// Where a program lies. Its name alone is looked for where every tool's programs are.
fn find(program: &str) -> Result<PathBuf, ProcessError> {
    let places: Vec<PathBuf> = if program.starts_with('/') {
        vec![PathBuf::from(program)]
    } else {
        PATH.split(':').map(|folder| Path::new(folder).join(program)).collect()
    };
    let found = places.iter().find_map(|place| place.canonicalize().ok().filter(|place| place.is_file()));
    found.ok_or_else(|| ProcessError::NoProgram(program.to_owned()))
}

/// A server's keeper, which is ended when this is dropped.
struct Running {
    child: Child,
    errors: Option<std::process::ChildStderr>,
    is_reaped: bool,
}

impl Running {
    fn of(command: &mut Command, order: &Order) -> io::Result<(Self, OwnedFd, OwnedFd)> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let mut child = command.spawn()?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let running = Self { child, errors, is_reaped: false };
        let (Some(mut input), Some(output)) = (input, output) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        // The keeper reads it before it does anything else, or ends.
        input.write_all(&line)?;
        Ok((running, input.into(), output.into()))
    }

    /// Hears what it says about itself, until it has ended or nobody wants it.
    fn watch(&mut self, cancel: &PipeReader, lines: &Lines, temporary: &Path) {
        let mut line = Line::default();
        let mut looked_at = now();
        while let Some(errors) = &mut self.errors {
            let (is_cancelled, hears) = {
                let mut watched = [PollFd::new(cancel, PollFlags::IN), PollFd::new(errors, PollFlags::IN)];
                if wait_for(&mut watched, WAIT_MAX).is_err() {
                    return;
                }
                let [cancel, errors] = watched.map(|one| !one.revents().is_empty());
                (cancel, errors)
            };
            if looked_at.elapsed() >= IN_USE_PERIOD {
                looked_at = now();
                show_in_use(temporary);
            }
            if hears {
                let mut chunk = vec![0; CHUNK_BYTES];
                match errors.read(&mut chunk) {
                    Ok(0) | Err(_) => self.errors = None,
                    Ok(length) => line.take(chunk.get(..length).unwrap_or_default(), lines),
                }
            }
            if is_cancelled {
                return;
            }
        }
    }

    /// Ends it with its group, and tells how it ended. Its input has been closed by whoever had it.
    fn end(&mut self) -> String {
        self.errors = None;
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = id.filter(|_| !self.is_reaped) {
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
                let _looked = wait_for(&mut [PollFd::new(&handle, PollFlags::IN)], KEEPER_TIMEOUT);
            }
            // Until it is reaped, its number means nobody else, nor does that of its group.
            let _gone = kill_process_group(pid, Signal::KILL);
            self.is_reaped = true;
        }
        self.child.wait().map_or_else(|error| format!("nobody knows how: {error}"), words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.end();
        }
    }
}

/// The keeper ends as its server did, as shells tell it.
fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code @ 129..=192) => format!("by signal {}", code - 128),
        Some(code) => format!("with exit code {code}"),
        None => status.to_string(),
    }
}

/// Temporary folders that nothing was done in for long are taken for left over.
fn show_in_use(temporary: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    // Where it cannot be said, nothing but temporary files can be lost.
    let _said = utimensat(CWD, temporary, &times, AtFlags::empty());
}

/// A line while it is read.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    fn take(&mut self, bytes: &[u8], lines: &Lines) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    lines(String::from_utf8_lossy(&self.0).trim_end());
                    self.0.clear();
                }
                _ if self.0.len() < LINE_BYTES_MAX => self.0.push(byte),
                _ => {}
            }
        }
    }
}

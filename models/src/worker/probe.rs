//! Proves the sandbox from inside: closes it and tries what it must prevent.
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;

use nix::sched::CloneFlags;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, kill_current_process_group, kill_process, pidfd_open,
    prlimit,
};
use rustix::thread::{Uid, set_thread_uid};

use super::frame::Landlock;
use super::sandbox;

/// The user without rights, by convention.
const NOBODY: u32 = 65534;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxAttempt {
    /// What was tried.
    pub what: &'static str,
    /// It was refused, as it must be.
    pub refused: bool,
    /// What the system answered.
    pub answer: String,
}

/// What a worker can and cannot do on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxProbe {
    /// The kernel bounds files completely.
    pub files_bounded: bool,
    /// The permitted file could still be read.
    pub model_readable: bool,
    /// Everything that was tried.
    pub attempts: Vec<SandboxAttempt>,
}

impl SandboxProbe {
    /// Everything is as it must be.
    pub fn is_tight(&self) -> bool {
        self.files_bounded && self.model_readable && self.attempts.iter().all(|attempt| attempt.refused)
    }
}

impl fmt::Display for SandboxProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "files bounded: {}", self.files_bounded)?;
        writeln!(f, "model readable: {}", self.model_readable)?;
        for SandboxAttempt { what, refused, answer } in &self.attempts {
            writeln!(f, "{what}: {} ({answer})", if *refused { "refused" } else { "POSSIBLE" })?;
        }
        Ok(())
    }
}

/// Closes the sandbox around the calling process for ever and tries to break out. For a process that ends afterwards:
/// `archond model-worker --probe-sandbox FILE` runs it.
pub fn run_sandbox_probe(permitted: &Path) -> io::Result<SandboxProbe> {
    // Listeners that would answer if the worker could reach them: a refusal then comes from the sandbox, not from emptiness.
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let (tcp_address, own_program) = (tcp.local_addr()?, std::env::current_exe()?);
    let landlock = sandbox::close(permitted).map_err(io::Error::other)?;
    let attempts: Vec<(&'static str, io::Result<()>)> = vec![
        ("connect over TCP", TcpStream::connect(tcp_address).map(drop)),
        ("listen on TCP", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("open a UDP socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("open a Unix socket", UnixDatagram::unbound().map(drop)),
        ("open a pair of sockets", UnixStream::pair().map(drop)),
        ("read /etc/passwd", File::open("/etc/passwd").map(drop)),
        ("list /", std::fs::read_dir("/").map(drop)),
        ("write into /tmp", File::create("/tmp/archond-sandbox-probe").map(drop)),
        ("run a program", Command::new("/bin/true").status().map(drop)),
        ("run itself", Command::new(own_program).arg("--version").status().map(drop)),
        ("write the permitted file", File::options().append(true).open(permitted).map(drop)),
        ("change its mode", std::fs::set_permissions(permitted, std::fs::Permissions::from_mode(0o666))),
        ("rename it", std::fs::rename(permitted, permitted.with_extension("probe"))),
        ("remove it", std::fs::remove_file(permitted)),
        ("make a folder", std::fs::create_dir("/tmp/archond-sandbox-probe-folder")),
        ("signal its parent", signal(getppid())),
        ("signal everybody of its group", kill_current_process_group(Signal::USR1).map_err(io::Error::from)),
        ("watch its parent", watch(getppid())),
        ("limit its parent", limit(getppid())),
        ("get a view of its own", nix::sched::unshare(CloneFlags::CLONE_FILES).map_err(io::Error::from)),
        ("become somebody else", set_thread_uid(Uid::from_raw(NOBODY)).map_err(io::Error::from)),
    ];
    let model_readable = File::open(permitted).is_ok();
    let attempts = attempts.into_iter().map(|(what, answer)| SandboxAttempt {
        what,
        refused: answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied),
        answer: answer.err().map_or_else(|| "it worked".to_owned(), |error| error.to_string()),
    });
    Ok(SandboxProbe {
        files_bounded: landlock == Landlock::Full,
        model_readable,
        attempts: attempts.collect(),
    })
}

fn signal(process: Option<Pid>) -> io::Result<()> {
    Ok(kill_process(process.ok_or(io::ErrorKind::NotFound)?, Signal::CONT)?)
}

fn watch(process: Option<Pid>) -> io::Result<()> {
    Ok(pidfd_open(process.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty()).map(drop)?)
}

fn limit(process: Option<Pid>) -> io::Result<()> {
    let unlimited = Rlimit { current: None, maximum: None };
    Ok(prlimit(Some(process.ok_or(io::ErrorKind::NotFound)?), Resource::Core, unlimited).map(drop)?)
}

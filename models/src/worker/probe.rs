//! Proves the sandbox from inside: closes it and tries what it must prevent.
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mqueue::{MQ_OFlag, mq_open};
use nix::sched::CloneFlags;
use nix::sys::{personality, stat::Mode};
use rustix::fs::{SealFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags, fcntl_add_seals, inotify};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, getuid, kill_current_process_group, kill_process,
    pidfd_open, prlimit, setpriority_process, setrlimit,
};
use rustix::thread::{sched_getaffinity, sched_setaffinity, set_thread_uid};

use super::frame::Landlock;
use super::keepsake::Keepsake;
use super::sandbox;

/// One page on most machines.
const KEEPSAKE_BYTES: u64 = 4096;
const NO_LIMIT: Rlimit = Rlimit { current: None, maximum: None };
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };

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
    // As a worker has it only before its sandbox is closed.
    let keepsake = File::from(Keepsake::new(KEEPSAKE_BYTES)?.descriptor()?);
    let landlock = sandbox::close(&[permitted]).map_err(io::Error::other)?;
    let model = File::open(permitted);
    let model_readable = model.is_ok();
    let by_filter = [
        sockets(tcp_address),
        neighbours(&own_program),
        machine(),
        files(permitted, &model?),
        sealed(&keepsake),
    ];
    let by_landlock = vec![
        ("read /etc/passwd", File::open("/etc/passwd").map(drop)),
        ("list /", fs::read_dir("/").map(drop)),
    ];
    let attempts = by_filter.into_iter().flatten().map(|tried| judge(tried, libc::EPERM));
    let attempts = attempts.chain(by_landlock.into_iter().map(|tried| judge(tried, libc::EACCES)));
    Ok(SandboxProbe {
        files_bounded: landlock == Landlock::Full,
        model_readable,
        attempts: attempts.collect(),
    })
}

type Tried = (&'static str, io::Result<()>);

/// Refused by the lock that must refuse it: the filter, which is asked first, answers EPERM, and Landlock answers EACCES.
fn judge((what, answer): Tried, wanted: i32) -> SandboxAttempt {
    SandboxAttempt {
        what,
        refused: answer.as_ref().is_err_and(|error| error.raw_os_error() == Some(wanted)),
        answer: answer.err().map_or_else(|| "it worked".to_owned(), |error| error.to_string()),
    }
}

fn sockets(tcp: SocketAddr) -> Vec<Tried> {
    vec![
        ("connect over TCP", TcpStream::connect(tcp).map(drop)),
        ("listen on TCP", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("open a UDP socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("open a Unix socket", UnixDatagram::unbound().map(drop)),
        ("open a pair of sockets", UnixStream::pair().map(drop)),
    ]
}

fn neighbours(own_program: &Path) -> Vec<Tried> {
    let queue = mq_open("/archond-sandbox-probe", MQ_OFlag::O_RDONLY, Mode::empty(), None);
    vec![
        ("run a program", Command::new("/bin/true").status().map(drop)),
        ("run itself", Command::new(own_program).arg("--version").status().map(drop)),
        ("become a program", Err(Command::new("/bin/false").exec())),
        ("open a queue of messages", queue.map(drop).map_err(io::Error::from)),
        ("signal its parent", of_parent(|parent| kill_process(parent, Signal::CONT))),
        ("signal everybody of its group", kill_current_process_group(Signal::USR1).map_err(io::Error::from)),
        ("watch its parent", of_parent(|parent| pidfd_open(parent, PidfdFlags::empty()).map(drop))),
        ("limit its parent", of_parent(|parent| prlimit(Some(parent), Resource::Core, NO_LIMIT).map(drop))),
        ("slow its parent down", of_parent(|parent| setpriority_process(Some(parent), 0))),
        (
            "bind its parent to processors",
            of_parent(|parent| sched_setaffinity(Some(parent), &sched_getaffinity(Some(parent))?)),
        ),
    ]
}

fn machine() -> Vec<Tried> {
    let own_name = rustix::system::uname().nodename().to_bytes().to_vec();
    let persona = personality::set(personality::Persona::empty());
    vec![
        ("lift its own limit", setrlimit(Resource::Core, NO_LIMIT).map_err(io::Error::from)),
        ("ask a device", rustix::io::ioctl_fionread(io::stdin()).map(drop).map_err(io::Error::from)),
        (
            "hear of changes of files",
            inotify::init(inotify::CreateFlags::CLOEXEC).map(drop).map_err(io::Error::from),
        ),
        ("change its personality", persona.map(drop).map_err(io::Error::from)),
        ("get a view of its own", nix::sched::unshare(CloneFlags::CLONE_FILES).map_err(io::Error::from)),
        ("name the machine", rustix::system::sethostname(&own_name).map_err(io::Error::from)),
        ("set its user", set_thread_uid(getuid()).map_err(io::Error::from)),
    ]
}

fn files(permitted: &Path, model: &File) -> Vec<Tried> {
    let beside = permitted.with_extension("probe");
    let times = Timestamps { last_access: NOW, last_modification: NOW };
    vec![
        ("write into /tmp", File::create("/tmp/archond-sandbox-probe").map(drop)),
        ("write the permitted file", File::options().append(true).open(permitted).map(drop)),
        ("change its mode", fs::set_permissions(permitted, fs::Permissions::from_mode(0o666))),
        ("change its mode by its descriptor", model.set_permissions(fs::Permissions::from_mode(0o666))),
        ("change its times", rustix::fs::futimens(model, &times).map_err(io::Error::from)),
        ("change its owner", std::os::unix::fs::fchown(model, None, None)),
        (
            "note something on it",
            rustix::fs::fsetxattr(model, "user.probe", b"", XattrFlags::empty()).map_err(io::Error::from),
        ),
        ("rename it", fs::rename(permitted, &beside)),
        ("link to it", fs::hard_link(permitted, &beside)),
        ("make a symbolic link", std::os::unix::fs::symlink(permitted, &beside)),
        ("remove it", fs::remove_file(permitted)),
        ("make a folder", fs::create_dir("/tmp/archond-sandbox-probe-folder")),
    ]
}

fn sealed(keepsake: &File) -> Vec<Tried> {
    vec![
        ("take more memory for what it leaves", keepsake.set_len(KEEPSAKE_BYTES * 2)),
        ("pull that memory away", keepsake.set_len(0)),
        ("seal that memory", fcntl_add_seals(keepsake, SealFlags::WRITE).map_err(io::Error::from)),
    ]
}

fn of_parent(try_it: impl FnOnce(Pid) -> rustix::io::Result<()>) -> io::Result<()> {
    Ok(try_it(getppid().ok_or(io::ErrorKind::NotFound)?)?)
}

//! Follows the real daemon through its system calls and stops it at those that make its promises durable. The daemon holds
//! no line of code for this: what is released is what is tested. Its model workers are not followed.
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Stops itself, to be found by its tracer, and becomes the program that its arguments name.
const STOPPED: &str = "kill -STOP $$; exec \"$0\" \"$@\"";
/// The longest path that the system knows, with its end.
const PATH_LEN_MAX: u64 = 4096;

/// What the daemon does on the road from a message to its answer, told by the system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    /// Writes into the store that has no name yet.
    WriteNewStore,
    SyncNewStore,
    /// Renames the new store.
    NameStore,
    /// Makes the name last.
    SyncFolder,
    /// Begins to take connections.
    Listen,
    /// Reads what a client says.
    Hear,
    /// Sets the length of the store's file.
    ResizeStore,
    WriteStore,
    SyncStore,
    /// Tells a client that its message is durable.
    Acknowledge,
    /// Tells a client an answer.
    Answer,
}

/// Which end of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Before,
    After,
}

/// The daemon stands still in front of a deed, or right behind one that succeeded.
pub(crate) struct Moment {
    pub(crate) deed: Deed,
    pub(crate) side: Side,
    /// What is written or told, while it stands in front of it.
    pub(crate) bytes: Vec<u8>,
}

/// What is to become of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    GoOn,
    Kill,
}

/// A daemon that is followed by the thread that started it.
pub(crate) struct Traced {
    leader: Pid,
    /// What each thread is inside of.
    calls: HashMap<Pid, Option<Deed>>,
    /// Whether a socket, by the system's number for it, is a client's.
    sockets: HashMap<String, bool>,
}

impl Traced {
    /// Starts this program, or says why it may not be followed.
    pub(crate) fn spawn(program: &Command) -> Result<Self, Errno> {
        let mut command = Command::new("sh");
        command.args(["-c", STOPPED]).arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let leader = Pid::from_raw(i32::try_from(command.spawn().unwrap().id()).unwrap());
        let stopped = waitpid(leader, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(leader, Signal::SIGSTOP));
        let options =
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        if let Err(error) = ptrace::seize(leader, options) {
            kill(leader, Signal::SIGKILL).unwrap();
            waitpid(leader, None).unwrap();
            return Err(error);
        }
        kill(leader, Signal::SIGCONT).unwrap();
        Ok(Self { leader, calls: HashMap::new(), sockets: HashMap::new() })
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.leader.as_raw().unsigned_abs()
    }

    /// Lets it run until it ends, or until it is to be killed. Answers whether it was killed.
    pub(crate) fn follow(mut self, mut observe: impl FnMut(Moment) -> Order) -> bool {
        let mut killed = false;
        // Its threads are children of this thread alone; those of other tests are none of its business.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = waitpid(None, Some(flags)).unwrap();
            let thread = status.pid().unwrap();
            let signal = match status {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) if thread == self.leader => return killed,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::Stopped(_, signal) => Some(signal),
                WaitStatus::PtraceSyscall(_) if !killed => {
                    if self.moment(thread).map(&mut observe) == Some(Order::Kill) {
                        kill(self.leader, Signal::SIGKILL).unwrap();
                        killed = true;
                    }
                    None
                }
                _ => None,
            };
            match ptrace::syscall(thread, signal) {
                // It was killed while it stood still.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("{thread}: {error}"),
            }
        }
    }

    /// What a thread that stopped at a system call is about to do, or has just done.
    fn moment(&mut self, thread: Pid) -> Option<Moment> {
        let call = Call::of(thread)?;
        if let Some(deed) = self.calls.remove(&thread) {
            // Looking whether a client has said something is not yet hearing it.
            let least = i64::from(deed? == Deed::Hear);
            let done = Moment { deed: deed?, side: Side::After, bytes: Vec::new() };
            return Some(done).filter(|_| call.result >= least);
        }
        let begun = self.deed(&call);
        self.calls.insert(thread, begun.as_ref().map(|(deed, _)| *deed));
        begun.map(|(deed, bytes)| Moment { deed, side: Side::Before, bytes })
    }

    fn deed(&mut self, call: &Call) -> Option<(Deed, Vec<u8>)> {
        let [first, second, third] = call.arguments;
        let leader = self.leader;
        let file = || {
            let file = std::fs::read_link(format!("/proc/{leader}/fd/{first}")).ok()?;
            Some(file.to_str()?.to_owned())
        };
        let nothing = |deed| Some((deed, Vec::new()));
        match call.number {
            libc::SYS_pwrite64 => match file()? {
                file if file.ends_with("/house.redb") => Deed::WriteStore,
                file if file.ends_with("/house.redb.new") => Deed::WriteNewStore,
                _ => return None,
            }
            .with(self.memory(second, third)),
            libc::SYS_fdatasync | libc::SYS_fsync => match file()? {
                file if file.ends_with("/house.redb") => nothing(Deed::SyncStore),
                file if file.ends_with("/house.redb.new") => nothing(Deed::SyncNewStore),
                file if file.ends_with("/data") => nothing(Deed::SyncFolder),
                _ => None,
            },
            libc::SYS_ftruncate if file()?.ends_with("/house.redb") => nothing(Deed::ResizeStore),
            libc::SYS_listen => nothing(Deed::Listen),
            libc::SYS_recvfrom | libc::SYS_read if self.is_client(&file()?) => nothing(Deed::Hear),
            libc::SYS_sendto | libc::SYS_write if self.is_client(&file()?) => {
                let bytes = self.memory(second, third);
                let holds = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
                match (holds("\"ended\":{"), holds("\"accepted\":{")) {
                    (true, _) => Deed::Answer.with(bytes),
                    (false, true) => Deed::Acknowledge.with(bytes),
                    (false, false) => None,
                }
            }
            number if RENAMES.contains(&number) => {
                let from = self.memory(if number == RENAMES[0] { first } else { second }, PATH_LEN_MAX);
                let from = from.split(|byte| *byte == 0).next()?;
                from.ends_with(b"/house.redb.new").then(|| (Deed::NameStore, Vec::new()))
            }
            _ => None,
        }
    }

    /// Whether a file of the daemon is a connection that it took.
    fn is_client(&mut self, file: &str) -> bool {
        let Some(number) = file.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
            return false;
        };
        *self.sockets.entry(number.to_owned()).or_insert_with(|| {
            let sockets = std::fs::read_to_string(format!("/proc/{}/net/unix", self.leader)).unwrap();
            let line = sockets.lines().find(|line| line.split_whitespace().nth(6) == Some(number));
            line.is_some_and(|line| line.ends_with("/archond.sock"))
        })
    }

    /// What lies in the daemon's memory, as far as there is any.
    fn memory(&self, address: u64, len: u64) -> Vec<u8> {
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.leader)).unwrap();
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        let mut read = 0;
        while read < bytes.len() {
            match memory.read_at(&mut bytes[read..], address + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        bytes.truncate(read);
        bytes
    }
}

impl Deed {
    fn with(self, bytes: Vec<u8>) -> Option<(Self, Vec<u8>)> {
        Some((self, bytes))
    }
}

/// A system call in the registers of the thread that makes it.
struct Call {
    number: i64,
    /// Only good before it.
    arguments: [u64; 3],
    /// Only good after it; negative for an error.
    result: i64,
}

/// The calls that rename a file; the first of them has no folders among its arguments.
#[cfg(target_arch = "x86_64")]
const RENAMES: [i64; 3] = [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
#[cfg(not(target_arch = "x86_64"))]
const RENAMES: [i64; 3] = [-1, libc::SYS_renameat, libc::SYS_renameat2];

impl Call {
    /// Nothing, if the thread has just been killed.
    #[cfg(target_arch = "x86_64")]
    fn of(thread: Pid) -> Option<Self> {
        let registers = ptrace::getregs(thread).ok()?;
        Some(Self {
            number: registers.orig_rax.cast_signed(),
            arguments: [registers.rdi, registers.rsi, registers.rdx],
            result: registers.rax.cast_signed(),
        })
    }

    /// Nothing, if the thread has just been killed.
    #[cfg(target_arch = "aarch64")]
    fn of(thread: Pid) -> Option<Self> {
        let registers = ptrace::getregs(thread).ok()?.regs;
        Some(Self {
            number: registers[8].cast_signed(),
            arguments: [registers[0], registers[1], registers[2]],
            result: registers[0].cast_signed(),
        })
    }
}

//! An Archon's tools in a temporary folder, with processes of the real program, and ways to see what became of these.
use std::path::{Path, PathBuf};
use std::time::Duration;

use archond::tools::{BuiltIn, Grounds, ProcessLimits};
use archond_actors::domain::{Outcome, ToolCall, ToolOrder};
use archond_actors::ports::ToolSource;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;

/// The program that tests start.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_archond");
/// Time of a call that is to come to its end, also on the busiest machine.
pub(crate) const AMPLE: Duration = Duration::from_secs(120);

/// The tools of one Archon.
pub(crate) struct Workshop {
    home: TempDir,
    pub(crate) tools: BuiltIn,
}

impl Workshop {
    /// Confined by the kernel's locks alone, whatever else the machine has.
    pub(crate) fn new() -> Self {
        Self::with(ProcessLimits::default())
    }

    pub(crate) fn with(limits: ProcessLimits) -> Self {
        Self::made(limits, None)
    }

    /// With this bubblewrap around.
    pub(crate) fn behind(bubblewrap: Option<PathBuf>) -> Self {
        Self::made(ProcessLimits::default(), bubblewrap)
    }

    fn made(limits: ProcessLimits, bubblewrap: Option<PathBuf>) -> Self {
        let home = tempfile::Builder::new().prefix("archond-").tempdir().unwrap();
        let readable = home.path().join("library");
        std::fs::create_dir(&readable).unwrap();
        std::fs::write(readable.join("book.txt"), "of the library\n").unwrap();
        std::fs::write(home.path().join("secret.txt"), "the secret\n").unwrap();
        let own = home.path().join("state/archons/ezra");
        let grounds = Grounds { workspace: own.join("workspace"), readable: vec![readable], own };
        let tools = BuiltIn::of_program(grounds, limits, PROGRAM.into(), bubblewrap).unwrap();
        Self { home, tools }
    }

    /// The folder around all, of which tools see the workspace and `library` only.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().canonicalize().unwrap()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.tools.grounds().workspace.join(below)
    }

    /// What no tool may read.
    pub(crate) fn secret(&self) -> String {
        self.home().join("secret.txt").display().to_string()
    }

    pub(crate) fn order(name: &str, arguments: &Value, time_max: Duration) -> ToolOrder {
        let session: archond_actors::domain::SessionKey = "ezra/cli/uid1000/main".parse().unwrap();
        let call = ToolCall { id: "1".into(), name: name.into(), arguments: arguments.to_string() };
        ToolOrder { archon: session.archon.clone(), session, call, time_max }
    }

    pub(crate) fn call_within(&self, name: &str, arguments: &Value, time_max: Duration) -> Outcome {
        runtime().block_on(self.tools.call(Self::order(name, arguments, time_max)))
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "written where it is called")]
    pub(crate) fn done(&self, name: &str, arguments: Value) -> String {
        match self.call_within(name, &arguments, AMPLE) {
            Outcome::Done { text } => text,
            other => panic!("{name} {arguments}: {other:?}"),
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "written where it is called")]
    pub(crate) fn failed(&self, name: &str, arguments: Value) -> String {
        match self.call_within(name, &arguments, AMPLE) {
            Outcome::Failed { text } => text,
            other => panic!("{name} {arguments}: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn bash(&self, command: &str) -> String {
        self.done("bash", serde_json::json!({ "command": command }))
    }

    /// A pipe in the workspace: whoever opens one end waits for the other.
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Processes whose command line holds this word.
pub(crate) fn processes_with(word: &str) -> Vec<String> {
    let holds = |path: &Path| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    let own = format!("/proc/{}", std::process::id());
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let found = all.filter(|path| path.to_str() != Some(&own) && holds(path));
    found.map(|path| path.display().to_string()).collect()
}

/// A process that can be waited for, though it is nobody's child here.
pub(crate) struct Watched(std::os::fd::OwnedFd);

impl Watched {
    pub(crate) fn of(pid: &str) -> Self {
        let pid =
            pid.trim().parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("a number: {pid:?}"));
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    /// The one that calls itself so. Where it has numbers of its own, those that it says are of no use here.
    pub(crate) fn named(name: &str) -> Self {
        let is_it = |pid: &String| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).next() == Some(name.as_bytes())
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pid = all.filter_map(|entry| entry.file_name().into_string().ok()).find(is_it);
        Self::of(&pid.unwrap_or_else(|| panic!("nobody calls himself {name}")))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(&self) {
        let time = Timespec { tv_sec: 60, tv_nsec: 0 };
        let happened = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time)).unwrap();
        assert_eq!(happened, 1, "it is still there");
    }
}

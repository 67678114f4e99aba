//! What the tool processes of an Archon may do, in words: for `archond sandbox explain`.
use std::path::Path;

use serde::Serialize;

use super::runner::confine::{DEVICES, MACHINE, PROGRAMS, SETTINGS};
use super::{BuiltIn, Mechanisms};

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who: `file tools`, `bash`, or the mechanism.
    pub who: &'static str,
    /// What it is about: `reads`, `writes`, `runs`.
    pub what: &'static str,
    /// The answer.
    pub answer: String,
}

/// What tool processes may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// What is allowed.
    pub may: Vec<Row>,
    /// What holds the rest back, on this machine.
    pub held_by: Vec<Row>,
    /// Whether tools run at all here.
    pub is_closed: bool,
}

impl Reach {
    /// Of an Archon's tools.
    pub fn of(tools: &BuiltIn, mechanisms: &Mechanisms) -> Self {
        let is_closed = mechanisms.locks.is_ok() || mechanisms.bubblewrap.is_ok();
        Self { may: may(tools, mechanisms), held_by: held_by(mechanisms), is_closed }
    }
}

fn row(who: &'static str, what: &'static str, answer: impl Into<String>) -> Row {
    Row { who, what, answer: answer.into() }
}

fn may(tools: &BuiltIn, mechanisms: &Mechanisms) -> Vec<Row> {
    let grounds = tools.grounds();
    let workspace = grounds.workspace.display().to_string();
    let readable: Vec<String> = grounds.readable.iter().map(|path| path.display().to_string()).collect();
    let own: Vec<String> = std::iter::once(workspace.clone()).chain(readable).collect();
    let is_wrapped = mechanisms.bubblewrap.is_ok();
    let machine: &[&str] = if is_wrapped { &["/proc (its own)"] } else { MACHINE };
    let system: Vec<&str> = [PROGRAMS, SETTINGS, machine, DEVICES].concat();
    let exists = |path: &&str| path.contains(' ') || Path::new(path).exists();
    let present = |paths: &[&str]| paths.iter().copied().filter(exists).collect::<Vec<_>>().join(", ");
    let limits = tools.limits();
    let others = if is_wrapped {
        "nobody: it sees its own processes only"
    } else if mechanisms.locks.as_ref().is_ok_and(|locks| locks.bounds_signals) {
        "nobody but its own processes"
    } else {
        "nobody but its own process group: this kernel can tell no more apart"
    };
    let seen = if is_wrapped {
        "nothing"
    } else {
        "names, sizes and times, of files that nothing else hides; this machine has no bubblewrap that works"
    };
    vec![
        row("file tools", "read", own.join(", ")),
        row("file tools", "write", format!("{workspace} (write_file and edit_file)")),
        row("file tools", "run", "nothing"),
        row("file tools", "reach", "nothing: no network, no sockets, no signals"),
        row("web tools", "read", "nothing: no file"),
        row("web tools", "run", "nothing"),
        row("web tools", "reach", tools.web().reach()),
        row("web tools", "connect", "through the daemon alone, which judges every address"),
        row("bash", "read", format!("{}, {}", own.join(", "), present(&system))),
        row("bash", "write", format!("{workspace}, and a temporary directory that ends with the call")),
        row("bash", "run", present(PROGRAMS)),
        row("bash", "reach", "nothing: no network, no sockets"),
        row("bash", "signal", others),
        row("bash", "see outside", seen),
        row("bash", "use up", used(limits)),
        row("bash", "leave behind", "nothing: all that it started ends with the call"),
    ]
}

fn used(limits: super::ProcessLimits) -> String {
    format!(
        "{} processes and threads; each {} MiB of memory and {} open files; files of {} MiB",
        limits.processes_max,
        limits.memory_bytes_max >> 20,
        limits.open_files_max,
        limits.file_bytes_max >> 20,
    )
}

fn held_by(mechanisms: &Mechanisms) -> Vec<Row> {
    let (landlock, seccomp) = match &mechanisms.locks {
        Ok(locks) => (format!("yes, version {}", locks.landlock_abi), "yes".to_owned()),
        Err(why) => (format!("no: {why}"), "unknown".to_owned()),
    };
    let bubblewrap = match &mechanisms.bubblewrap {
        Ok(path) => format!("yes, {} around bash", path.display()),
        Err(why) => format!("no: {why}"),
    };
    let mut rows = vec![
        row("kernel", "Landlock", landlock),
        row("kernel", "seccomp", seccomp),
        row("kernel", "limits", "yes (rlimits), no new privileges, no capabilities"),
        row("program", "bubblewrap", bubblewrap),
    ];
    if mechanisms.locks.is_err() && mechanisms.bubblewrap.is_err() {
        rows.push(row("archond", "tools", "do not run: nothing would hold them"));
    }
    rows
}

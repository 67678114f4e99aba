//! What the daemon asks of a tool process, and what that answers: one line of JSON each.
use std::path::PathBuf;
use std::time::Duration;

use archond_actors::domain::ToolLimits;
use serde::{Deserialize, Serialize};

use super::web::WebOrder;

/// The name under which a process is asked what confines it, and nothing else.
pub(super) const PROBE: &str = "probe";
/// The tool that starts programs.
pub(super) const BASH: &str = "bash";
/// Stands for a program of the user's own, which the order names.
pub(super) const PROGRAM: &str = "program";
/// Stands for a server that runs until nobody wants it any more.
pub(super) const SERVER: &str = "server";
/// Longest order: a file's content as JSON, with room for its escapes.
pub(super) const ORDER_BYTES_MAX: u64 = 8 << 20;
/// Longest answer of a tool, in bytes; what is beyond is left out, and said so.
pub(crate) const TEXT_BYTES_MAX: usize = 256 << 10;
/// Longest answer as JSON: every byte may need six.
pub(super) const ANSWER_BYTES_MAX: usize = TEXT_BYTES_MAX * 6 + (64 << 10);

/// What a tool process may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessLimits {
    /// Memory of each process, in bytes.
    pub memory_bytes_max: u64,
    /// Processes and threads that a command runs at once.
    pub processes_max: u32,
    /// Size of a file that is written, in bytes.
    pub file_bytes_max: u64,
    /// Open files of each process.
    pub open_files_max: u32,
    /// Size of a file that is sent with an answer, in bytes.
    pub sent_bytes_max: u64,
}

impl Default for ProcessLimits {
    /// Enough to compile or test a middling program; far from what would trouble the house on the smallest machine.
    fn default() -> Self {
        Self {
            memory_bytes_max: 2 << 30,
            processes_max: 256,
            file_bytes_max: 1 << 30,
            open_files_max: 1024,
            sent_bytes_max: ToolLimits::default().sent_bytes_max,
        }
    }
}

/// A call, with everything that its process may know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) tool: String,
    /// As the model wrote them: they are read in the sandbox. Of a program what it gets as its input.
    pub(super) arguments: String,
    /// What [`PROGRAM`] runs, without symbolic links.
    pub(super) program: Option<PathBuf>,
    /// Without symbolic links.
    pub(super) workspace: PathBuf,
    pub(super) readable: Vec<PathBuf>,
    /// For temporary files, removed after the call.
    pub(super) temporary: PathBuf,
    pub(super) limits: ProcessLimits,
    pub(super) time_max: Duration,
    /// What [`SERVER`] runs.
    pub(super) server: Option<ServerOrder>,
    /// Of a tool that reaches the web.
    pub(super) web: Option<WebOrder>,
    /// The daemon's process; none behind bubblewrap, where it cannot be seen.
    pub(super) parent: Option<u32>,
}

impl Order {
    /// Whether the process starts programs, and keeps what came of them.
    pub(super) fn keeps(&self) -> bool {
        [BASH, PROGRAM, SERVER].contains(&self.tool.as_str())
    }

    /// Whether the process is behind bubblewrap: it has a file system and process numbers of its own then.
    pub(super) fn is_wrapped(&self) -> bool {
        self.parent.is_none()
    }
}

/// A server, and what it may do more than a shell.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerOrder {
    /// Behind the program.
    pub(super) arguments: Vec<String>,
    /// May hold secrets.
    pub(super) env: Vec<(String, String)>,
    pub(super) writes: Vec<PathBuf>,
    pub(super) network: bool,
}

impl std::fmt::Debug for ServerOrder {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "ServerOrder {{ {} arguments, {} variables, .. }}", self.arguments.len(), self.env.len())
    }
}

impl Order {
    /// Whether the process may talk to other machines.
    pub(super) fn has_network(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.network)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Done(String),
    Failed(String),
}

/// What the kernel offers, as a closed process found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locks {
    /// The version of Landlock that is in force.
    pub landlock_abi: u32,
    /// Whether signals to processes outside are refused by Landlock.
    pub bounds_signals: bool,
}

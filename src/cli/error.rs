//! Why a command did not do what it was asked to.
use std::io;
use std::path::PathBuf;

use super::client::ClientError;
use super::exit::ExitCode;
use super::model::ModelCliError;
use super::settings_view::SettingsCommandError;
use crate::daemon::DaemonError;
use crate::models_on_disk::ModelsError;
use crate::settings::{PathsError, SettingsFaults};
use crate::tools::ToolsError;

/// One failure of the command line.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The daemon, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Settings or profiles are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsFaults),
    /// A command about settings.
    #[error(transparent)]
    SettingsCommand(#[from] SettingsCommandError),
    /// A command about models.
    #[error(transparent)]
    Model(#[from] ModelCliError),
    /// The catalogue of models.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The daemon did not start, or gave up.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The folders of the house cannot be used.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// A platform, or a channel to one.
    #[error("it does not work: {why}")]
    Channel {
        /// What is wrong. No secret.
        why: String,
    },
    /// An MCP server.
    #[error("the MCP server `{name}`: {why}")]
    Mcp {
        /// Which.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The tools of an Archon.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// Nobody takes what is written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Nothing was measured.
    #[error("{message}")]
    Bench {
        /// Why.
        message: String,
    },
    /// The arguments do not go together.
    #[error("{message}")]
    Usage {
        /// Which, and what to write instead.
        message: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The daemon did not come back.
    #[error(
        "the daemon did not come back; {}; see `archond logs`",
        fate_of_message(*kept, archon)
    )]
    StillAway {
        /// Whether the message is in the store.
        kept: bool,
        /// To whom it went.
        archon: String,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for Ctrl-C: {source}")]
    Signal {
        /// Why.
        source: io::Error,
    },
    /// No random numbers.
    #[error("cannot read /dev/urandom: {source}")]
    Random {
        /// Why.
        source: io::Error,
    },
    /// No asynchronous runtime.
    #[error("cannot start the event loop: {source}")]
    Runtime {
        /// Why.
        source: io::Error,
    },
    /// The line editor failed.
    #[error("the terminal failed: {source}")]
    Terminal {
        /// Why.
        source: rustyline::error::ReadlineError,
    },
    /// The history could not be kept.
    #[error("cannot keep the chat's history in {path}: {source}")]
    History {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rustyline::error::ReadlineError,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input: {source}")]
    Input {
        /// Why.
        source: io::Error,
    },
    /// Standard input is not a text, or a too long one.
    #[error("{message}")]
    BadInput {
        /// What is wrong with it.
        message: String,
    },
    /// A file exists and stays.
    #[error("{path} exists already; name another file, or add --force to replace it")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no logs.
    #[error("there are no logs in {path}; they begin with the first `archond start`")]
    NoLogs {
        /// Where they would be.
        path: PathBuf,
    },
    /// No such Archon.
    #[error("there is no Archon `{name}`; {hint}")]
    NoArchon {
        /// What was named.
        name: String,
        /// What there is.
        hint: String,
    },
    /// The daemon's process could not be started.
    #[error("cannot start the daemon: {source}")]
    Spawn {
        /// Why.
        source: io::Error,
    },
    /// The daemon ended before it was ready.
    #[error("the daemon ended while it started ({status}); its last words, from {log}:\n{tail}")]
    DiedEarly {
        /// How it ended.
        status: std::process::ExitStatus,
        /// Where it wrote.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The daemon does not listen.
    #[error("the daemon runs as process {pid} but does not listen yet; see `archond logs`")]
    NotListening {
        /// Its process.
        pid: u32,
    },
    /// The daemon does not end.
    #[error(
        "the daemon (process {pid}) is still ending its work; wait for it, or end it with `kill -9 {pid}`: nothing is lost"
    )]
    StillEnding {
        /// Its process.
        pid: u32,
    },
}

impl CliError {
    /// What the shell is told.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Settings(_) => ExitCode::BadSettings,
            Self::SettingsCommand(error) => error.exit_code(),
            Self::Model(error) => error.exit_code(),
            Self::Models(error) => exit_code_of_models(error),
            Self::Daemon(error) => super::run::exit_code(error),
            Self::Paths(error) | Self::Tools(ToolsError::Folder(error)) => exit_code_of_paths(error),
            Self::Tools(ToolsError::Resolve { .. }) => ExitCode::CannotCreate,
            Self::Usage { .. } => ExitCode::Usage,
            Self::Bench { .. } | Self::Channel { .. } | Self::Mcp { .. } => ExitCode::Failed,
            Self::Interrupted => ExitCode::Interrupted,
            Self::StillAway { .. } | Self::NotListening { .. } => ExitCode::Unavailable,
            Self::BadInput { .. } => ExitCode::BadInput,
            Self::Exists { .. } | Self::Create { .. } => ExitCode::CannotCreate,
            Self::NoLogs { .. } | Self::NoArchon { .. } => ExitCode::NotFound,
            Self::StillEnding { .. } => ExitCode::Busy,
            Self::DiedEarly { status, .. } => died_early(*status),
            Self::Signal { .. } | Self::Random { .. } | Self::Runtime { .. } => ExitCode::Internal,
            Self::Output(_)
            | Self::Terminal { .. }
            | Self::History { .. }
            | Self::Input { .. }
            | Self::Read { .. }
            | Self::Spawn { .. } => ExitCode::Failed,
        }
    }

    /// Whether the reader of our output has gone, as `head` does: no fault of ours or his.
    pub(super) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Model(error) => error.is_broken_pipe(),
            _ => false,
        }
    }
}

/// What the shell is told when it is not known which models there are.
pub(super) fn exit_code_of_models(error: &ModelsError) -> ExitCode {
    match error {
        ModelsError::Paths(error) => exit_code_of_paths(error),
        ModelsError::Catalogue(_) => ExitCode::BadSettings,
    }
}

/// What the shell is told when the folders of the house cannot be used.
pub(super) fn exit_code_of_paths(error: &PathsError) -> ExitCode {
    match error {
        PathsError::Foreign { .. } | PathsError::ReadOnly { .. } => ExitCode::Permission,
        PathsError::NoHome | PathsError::Relative { .. } => ExitCode::BadSettings,
        PathsError::Create { .. } => ExitCode::CannotCreate,
    }
}

/// The daemon knows best why it ended: its exit code is ours.
fn died_early(status: std::process::ExitStatus) -> ExitCode {
    let number = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::ALL
        .into_iter()
        .map(|(code, _)| code)
        .find(|code| Some(code.number()) == number && *code != ExitCode::Ok)
        .unwrap_or(ExitCode::Failed)
}

fn fate_of_message(kept: bool, archon: &str) -> String {
    if kept {
        format!("your message is kept, and `archond chat {archon}` shows the answer when it is there")
    } else {
        "your message may not have arrived: send it again".to_owned()
    }
}

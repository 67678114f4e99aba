//! `archond run`: this process becomes the daemon.
use super::error::{CliError, exit_code_of_models, exit_code_of_paths};
use super::exit::ExitCode;
use crate::admin::BindError;
use crate::daemon::{self, DaemonError, RunOptions};
use crate::store::OpenError;

/// Be the daemon, in the foreground: for systemd and containers.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Archons to start, besides those of the setting `autostart`
    #[arg(value_name = "ARCHON")]
    archons: Vec<String>,
    /// Leave the terminal; `archond start` does this
    #[arg(long, hide = true)]
    background: bool,
}

/// Runs the daemon until it is told to end.
pub(super) fn run(args: RunArgs) -> Result<ExitCode, CliError> {
    if args.background {
        // Its own session: the end of the terminal's is not the daemon's. It fails only where this is so already.
        let _ = rustix::process::setsid();
    }
    daemon::run(&RunOptions { archons: args.archons, log_to_stderr: !args.background })?;
    Ok(ExitCode::Ok)
}

/// What the shell is told when the daemon did not start, or ended.
pub(super) fn exit_code(error: &DaemonError) -> ExitCode {
    match error {
        DaemonError::Settings(_) | DaemonError::Key(_) | DaemonError::Remote(_) => ExitCode::BadSettings,
        DaemonError::NoSuchArchon { .. } => ExitCode::NotFound,
        DaemonError::Paths(error) => exit_code_of_paths(error),
        DaemonError::Models(error) => exit_code_of_models(error),
        // `archond start` waits for the daemon that was quicker.
        DaemonError::Bind(BindError::InUse { .. }) | DaemonError::Store(OpenError::InUse { .. }) => {
            ExitCode::Busy
        }
        DaemonError::Bind(_) | DaemonError::Logging(_) | DaemonError::Store(_) => ExitCode::CannotCreate,
        DaemonError::System { .. } | DaemonError::Start(_) | DaemonError::GaveUp { .. } => ExitCode::Internal,
    }
}

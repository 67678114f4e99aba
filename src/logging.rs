//! Where log lines go: files in the state folder, a week of them; and the terminal, when the daemon runs in the foreground.
use std::io;
use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// Files that are kept, one a day.
const LOG_FILES_MAX: usize = 7;
/// Begins the name of each file; the day follows.
pub const LOG_FILE_PREFIX: &str = "archond.log";
/// Overrides the configured level, in `tracing`'s own filter syntax, for a hunt after one fault.
pub const FILTER_VARIABLE: &str = "ARCHOND_LOG";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The folder or a file in it.
    #[error("log files cannot be written to {path}: {source}; make the folder writable, or set ARCHOND_HOME")]
    Files {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: InitError,
    },
    /// The filter.
    #[error("${FILTER_VARIABLE} is not a log filter: {0}; write for example `info` or `archond=debug`")]
    Filter(#[from] ParseError),
    /// Logging was set up before.
    #[error("logging was set up twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets up logging for the life of the process. Dropping the guard writes what is still buffered.
pub fn start(directory: &Path, level: &str, to_stderr: bool) -> Result<WorkerGuard, LoggingError> {
    let filter = || match std::env::var(FILTER_VARIABLE) {
        Ok(filter) => EnvFilter::try_new(filter),
        Err(_) => EnvFilter::try_new(level),
    };
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(LOG_FILE_PREFIX)
        .max_log_files(LOG_FILES_MAX)
        .build(directory)
        .map_err(|source| LoggingError::Files { path: directory.to_owned(), source })?;
    let (writer, guard) = tracing_appender::non_blocking(files);
    let to_files = fmt::layer().with_writer(writer).with_ansi(false).with_filter(filter()?);
    let to_stderr =
        if to_stderr { Some(fmt::layer().with_writer(io::stderr).with_filter(filter()?)) } else { None };
    tracing_subscriber::registry().with(to_files).with(to_stderr).try_init()?;
    Ok(guard)
}

//! Where log lines go: files in the state folder, a week of them; and the terminal, when the daemon runs in the foreground.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Files that are kept, one a day.
const LOG_FILES_MAX: usize = 7;
/// Begins the name of each file; the day follows.
pub const LOG_FILE_PREFIX: &str = "archond.log";
/// What a library would write of the messages that it does not expect, with all that is in them.
const UNHEARD: &str = "rmcp=off";
/// Overrides the configured level, in `tracing`'s own filter syntax, for a hunt after one fault.
pub const FILTER_VARIABLE: &str = "ARCHOND_LOG";

/// What a level may be.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Takes a change back.
const DEFAULT_LEVEL: &str = "default";

/// Why what is logged was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LogLevelError {
    /// The target cannot be one.
    #[error(
        "`{target}` is not a part of the program; name one as log lines do, such as archond_actors::pool"
    )]
    Target {
        /// What was given.
        target: String,
    },
    /// The level is none.
    #[error("`{level}` is not a level; use {}, or default", LEVELS.join(", "))]
    Level {
        /// What was given.
        level: String,
    },
    /// The filter.
    #[error(transparent)]
    Filter(#[from] ParseError),
    /// Logging ends.
    #[error("logging has ended: {0}")]
    Ended(#[from] reload::Error),
}

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

/// What is logged, which can be changed while the daemon runs.
pub struct LogLevels {
    /// As configured, in `tracing`'s filter syntax.
    configured: String,
    /// What was changed, by target.
    changed: Mutex<BTreeMap<String, String>>,
    filters: Vec<reload::Handle<EnvFilter, Registry>>,
}

impl LogLevels {
    /// Sets the level of a target, such as `archond_actors::pool`; `default` takes the configured one back.
    pub fn set(&self, target: &str, level: &str) -> Result<(), LogLevelError> {
        if target.is_empty() || !target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c)) {
            return Err(LogLevelError::Target { target: target.to_owned() });
        }
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = changed.clone();
        if level == DEFAULT_LEVEL {
            next.remove(target);
        } else if LEVELS.contains(&level) {
            next.insert(target.to_owned(), level.to_owned());
        } else {
            return Err(LogLevelError::Level { level: level.to_owned() });
        }
        let mut directives = self.configured.clone();
        for (target, level) in &next {
            directives += &format!(",{target}={level}");
        }
        for filter in &self.filters {
            filter.reload(EnvFilter::try_new(&directives)?)?;
        }
        *changed = next;
        Ok(())
    }
}

/// Sets up logging for the life of the process. Dropping the guard writes what is still buffered.
pub fn start(
    directory: &Path,
    level: &str,
    to_stderr: bool,
) -> Result<(WorkerGuard, LogLevels), LoggingError> {
    let configured = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| format!("{level},{UNHEARD}"));
    let mut filters = Vec::new();
    let mut filter = || {
        let (layer, handle) = reload::Layer::new(EnvFilter::try_new(&configured)?);
        filters.push(handle);
        Ok::<_, ParseError>(layer)
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
    // Both layers look at the bare registry, so that both filters are of one type.
    let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
        std::iter::once(to_files.boxed()).chain(to_stderr.map(Layer::boxed)).collect();
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok((guard, LogLevels { configured, changed: Mutex::default(), filters }))
}

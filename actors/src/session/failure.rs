//! Why a turn has no answer, and whether another try may help. Pure: whoever tries again need not know what failed.
use crate::pool::PoolError;

/// Why a turn has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnFailure {
    /// The pool could not generate it.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// What was needed could not be read or kept.
    #[error("{0}")]
    Memory(String),
    /// The session's actor died.
    #[error("the session crashed while it answered ({0})")]
    Crashed(String),
    /// Nothing happened for too long.
    #[error("there was no progress for {0} seconds")]
    NoProgress(u64),
    /// The session could not be brought up.
    #[error("the session could not be started: {0}")]
    Unavailable(String),
}

/// How a try ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryEnd {
    /// The session died under it.
    Crashed,
    /// Something that may pass: no progress, a full queue, a disk without space.
    Transient,
    /// Trying again cannot help.
    Final,
}

impl TurnFailure {
    /// How the try ended that failed so.
    pub fn end(&self) -> TryEnd {
        match self {
            Self::Crashed(_) => TryEnd::Crashed,
            Self::Memory(_) | Self::NoProgress(_) | Self::Unavailable(_) => TryEnd::Transient,
            Self::Pool(error) => match error {
                PoolError::QueueFull { .. }
                | PoolError::Link(_)
                | PoolError::Unable { .. }
                | PoolError::Engine { .. } => TryEnd::Transient,
                PoolError::NoModel { .. }
                | PoolError::TooLarge { .. }
                | PoolError::PromptTooLong { .. }
                | PoolError::Medium { .. }
                | PoolError::MediaCrashed { .. }
                | PoolError::ModelFailed { .. }
                | PoolError::RequestCrashed { .. } => TryEnd::Final,
            },
        }
    }
}

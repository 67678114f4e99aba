//! The words of supervision as plain data: what a child is owed, what became of it, what a supervisor reports.
use std::fmt;
use std::time::Duration;

use crate::domain::ActorState;

/// Who is restarted when a child fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// That child.
    OneForOne,
    /// That child and those started after it, which depend on it: they are stopped in reverse order, and all are
    /// started again in order. Meant to go with [`Exceeded::GiveUp`]; the other answers leave later siblings alone.
    RestForOne,
}

/// When a child that ended is started again.
///
/// | | normal end | abnormal end | stopped for a sibling's sake |
/// |---|---|---|---|
/// | `Permanent` | restarted | restarted | restarted |
/// | `Transient` | stays down | restarted | restarted |
/// | `Temporary` | forgotten | forgotten | forgotten |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// When its end was abnormal.
    Transient,
    /// Never; the supervisor forgets it. Whoever needs it starts it anew.
    Temporary,
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It is asked, and killed when it has not ended within this time.
    Within(Duration),
    /// It is killed; its `post_stop` does not run.
    Kill,
}

/// The delay before a restart: `first`, doubled each time up to `max`, less up to a quarter of it at random.
/// A child that ran for `max` is healthy: its next failure waits for `first` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
}

impl Backoff {
    /// The delay before restart number `attempt` (from 0). `jitter` is 0 to 1.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        // 2^20 times any useful first delay is past any useful longest one.
        let full = self.first.saturating_mul(1 << attempt.min(20)).min(self.max);
        full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }
}

/// How many restarts are borne in which time. A restart is counted when it is decided, as in OTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Most restarts within `period`; one more exceeds the intensity.
    pub restarts_max: u32,
    /// The sliding window.
    pub period: Duration,
}

/// What happens when the intensity is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// The supervisor stops its children in reverse order and ends with an error: its parent decides.
    /// Restarts are counted for all children together.
    GiveUp,
    /// The child stays down and is tried now and then (half-open, as a circuit breaker is): its first failure ends the
    /// trial; having stayed up for as long as it was put aside, it is as good as any. [`restart_child`] lifts the
    /// quarantine at once. Counted per child.
    ///
    /// [`restart_child`]: super::SupervisorHandle::restart_child
    Quarantine {
        /// From its last failure to its trial.
        retry_after: Duration,
    },
}

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// By itself, or stopped by someone who may.
    Normal,
    /// Stopped by its supervisor.
    Shutdown,
    /// An error, a panic, a kill, a cancelled task, or a failed start.
    Abnormal {
        /// What was said of it.
        detail: String,
    },
}

impl ExitReason {
    /// An end that nobody wanted.
    pub fn abnormal(detail: impl Into<String>) -> Self {
        Self::Abnormal { detail: detail.into() }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Shutdown => f.write_str("stopped by its supervisor"),
            Self::Abnormal { detail } => f.write_str(detail),
        }
    }
}

/// What a supervisor reports, so that the house can log it and show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisionFact {
    /// A child was started, for the first time or again.
    ChildStarted {
        /// The child.
        id: String,
    },
    /// A child ended, or could not be started.
    ChildExited {
        /// The child.
        id: String,
        /// How.
        reason: ExitReason,
    },
    /// A child will be started again.
    ChildRestarting {
        /// The child.
        id: String,
        /// Until then.
        delay: Duration,
    },
    /// A child failed too often, or failed its trial, and stays down for a while.
    ChildQuarantined {
        /// The child.
        id: String,
        /// Its last failure.
        reason: String,
        /// Until its trial.
        retry_after: Duration,
    },
    /// The supervisor stops its children and ends with an error.
    GaveUp {
        /// Why.
        reason: String,
    },
}

impl SupervisionFact {
    /// Whom it is about; `None`: the supervisor itself.
    pub fn child(&self) -> Option<&str> {
        match self {
            Self::ChildStarted { id }
            | Self::ChildExited { id, .. }
            | Self::ChildRestarting { id, .. }
            | Self::ChildQuarantined { id, .. } => Some(id),
            Self::GaveUp { .. } => None,
        }
    }
}

/// One child, as the supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildStatus {
    /// Its name among its siblings.
    pub id: String,
    /// `Ready` while it is up.
    pub state: ActorState,
    /// Restarts since it was added, or since the operator restarted it.
    pub restarts: u32,
    /// Its last failure, in words.
    pub last_error: Option<String>,
}

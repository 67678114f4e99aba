//! What goes into the policy and what comes out of it.
use std::time::Duration;

use super::rules::{Backoff, Exceeded, ExitReason, Intensity, Restart, Strategy, SupervisionFact};

/// The rules of a supervisor.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRules {
    /// Who is restarted when a child fails.
    pub strategy: Strategy,
    /// How many restarts are borne.
    pub intensity: Intensity,
    /// What happens after that.
    pub exceeded: Exceeded,
    /// Abnormal ends of temporary children count towards the supervisor's intensity, which then always gives up.
    pub count_temporary: bool,
}

/// The rules of a child.
#[derive(Debug, Clone)]
pub struct ChildRules {
    /// Its name among its siblings.
    pub id: String,
    /// When it is started again.
    pub restart: Restart,
    /// How long its restart waits.
    pub backoff: Backoff,
    /// Its abnormal end makes the supervisor give up.
    pub significant: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A child is up.
    Started {
        /// The child.
        id: String,
    },
    /// A child could not be started.
    StartFailed {
        /// The child.
        id: String,
        /// What was said of it.
        detail: String,
    },
    /// A child that was up has ended.
    Exited {
        /// The child.
        id: String,
        /// How.
        reason: ExitReason,
    },
    /// A restart's delay is over.
    RestartDue {
        /// The child.
        id: String,
        /// As given by [`Effect::ScheduleRestart`]; a delay that something else has overtaken changes nothing.
        generation: u64,
    },
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// Add a child, or start one that is down under new rules.
    Start(ChildRules),
    /// The same, where a child of that id is known to be ending by itself: start when it has ended.
    Replace(ChildRules),
    /// Stop a child.
    Stop {
        /// The child.
        id: String,
    },
    /// Forget a child's failures and start it, after stopping it if it is up.
    Restart {
        /// The child.
        id: String,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The child is up, or will be without further ado.
    AlreadyRunning,
    /// The child is quarantined.
    Quarantined,
    /// There is no such child.
    NotFound,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a child.
    Start {
        /// The child.
        id: String,
    },
    /// Stop a child: ask it, then kill it.
    Stop {
        /// The child.
        id: String,
    },
    /// Send [`Event::RestartDue`] after a delay.
    ScheduleRestart {
        /// The child.
        id: String,
        /// The delay.
        after: Duration,
        /// To be sent back.
        generation: u64,
    },
    /// The child is known no more.
    Forget {
        /// The child.
        id: String,
    },
    /// Tell the house.
    Report(SupervisionFact),
    /// Stop what is up ([`Policy::up_in_reverse`](super::policy::Policy::up_in_reverse)), and end with this error.
    GiveUp {
        /// Why.
        reason: String,
    },
}

//! The words of the model: how a child is wanted, how it ends, what a supervisor does, and what it answers.
use std::time::Duration;

use archond_actors::supervision::events::{ChildRules, Refusal};

/// The children's names: one letter each.
pub(crate) type Id = &'static str;

/// A child as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) rules: ChildRules,
    /// It is not asked to stop but killed, which counts as an abnormal end.
    pub(crate) brutal: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Normal,
    Shutdown,
    Abnormal,
}

/// What a supervisor is seen to do, or to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Started(String),
    Ended(String, How),
    /// It will be restarted after this delay, or up to a quarter sooner.
    Delayed(String, Duration),
    Quarantined(String, Duration),
    GaveUp,
}

/// What somebody who asked for something is told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Refused(Refusal),
    StartFailed,
    Overtaken,
    /// The supervisor ended first.
    Lost,
}

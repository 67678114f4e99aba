//! What the policy knows of one child.
use std::collections::VecDeque;
use std::time::Duration;

use super::events::ChildRules;
use super::rules::{ChildStatus, Intensity};
use crate::domain::ActorState;

/// Where a child is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Stopped, or ended and not to be restarted.
    Down,
    /// To be started as soon as its siblings allow it.
    Due,
    /// Its start is under way.
    Starting,
    /// It runs.
    Up { since: Duration },
    /// It runs, and will be asked to stop for an earlier sibling's sake when those after it are down.
    Condemned,
    /// It was asked to stop.
    Stopping { then: Then },
    /// It failed and waits for its restart.
    Waiting { generation: u64 },
    /// It failed too often and waits for its trial, or for the operator.
    Quarantined { generation: u64 },
}

/// What follows when a child that was asked to stop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    StayDown,
    /// It is started.
    Start,
    /// It was ending by itself: its failure counts.
    Replace,
    /// Start it with the sibling for whose sake it was stopped.
    Rejoin,
}

/// The times of the restarts in one period.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Duration>);

impl Window {
    /// Counts a restart, unless it exceeds the intensity.
    pub(super) fn admit(&mut self, now: Duration, intensity: Intensity) -> bool {
        while self.0.front().is_some_and(|&restart| now.saturating_sub(restart) >= intensity.period) {
            self.0.pop_front();
        }
        let admitted = self.0.len() < intensity.restarts_max as usize;
        if admitted {
            self.0.push_back(now);
        }
        admitted
    }
}

/// One child and its failures.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) rules: ChildRules,
    pub(super) phase: Phase,
    /// Restarts since it was healthy last.
    pub(super) attempt: u32,
    /// It exceeded its intensity, and has not stayed up for long enough since.
    pub(super) on_trial: bool,
    pub(super) window: Window,
    pub(super) restarts: u32,
    pub(super) last_error: Option<String>,
}

impl Child {
    /// A child without a past, to be started.
    pub(super) fn due(rules: ChildRules) -> Self {
        Self {
            rules,
            phase: Phase::Due,
            attempt: 0,
            on_trial: false,
            window: Window::default(),
            restarts: 0,
            last_error: None,
        }
    }

    /// There is an actor that must end before the supervisor may.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. } | Phase::Condemned | Phase::Stopping { .. })
    }

    pub(super) fn status(&self) -> ChildStatus {
        ChildStatus {
            id: self.rules.id.clone(),
            state: match self.phase {
                Phase::Down => ActorState::Stopped,
                Phase::Due | Phase::Starting | Phase::Waiting { .. } => ActorState::Starting,
                Phase::Up { .. } => ActorState::Ready,
                Phase::Condemned | Phase::Stopping { .. } => ActorState::Draining,
                Phase::Quarantined { .. } => ActorState::Quarantined,
            },
            restarts: self.restarts,
            last_error: self.last_error.clone(),
        }
    }
}

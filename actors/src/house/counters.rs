//! What is counted about an Archon while it runs, for those who only want to look.
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counters of one Archon. They survive its restarts.
#[derive(Debug, Default)]
pub struct ArchonCounters {
    in_flight: AtomicU32,
    waiting: AtomicU32,
    sessions: AtomicU32,
    open: AtomicU64,
    crashes: AtomicU32,
    last_error: Mutex<Option<String>>,
    quarantine: Mutex<Option<String>>,
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl ArchonCounters {
    /// Turns that run.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Messages that Hermes knows and that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Sessions in memory.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Messages without an answer, those that Hermes does not know yet included.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Crashes of the Archon's actors since the daemon started.
    pub fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// The last crash, in words.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the Archon is quarantined, if it is.
    pub fn quarantine(&self) -> Option<String> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_quarantine(&self, reason: Option<String>) {
        *self.quarantine.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn set(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(clamp(in_flight), Ordering::Relaxed);
        self.waiting.store(clamp(waiting), Ordering::Relaxed);
    }

    pub(crate) fn set_sessions(&self, sessions: usize) {
        self.sessions.store(clamp(sessions), Ordering::Relaxed);
    }

    pub(crate) fn set_open(&self, open: u64) {
        self.open.store(open, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        // A message that was counted before Hermes counted the inbox must not take the count below zero.
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
    }

    pub(crate) fn crashed(&self, reason: &str) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

//! What is known of actors that ended badly.
use std::collections::VecDeque;

/// Crashes that are kept: a day of a house that is unwell, some hundred kilobytes.
const CRASHES_LEN_MAX: usize = 200;

/// One bad end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// Numbers crashes from 1 since the daemon started.
    pub id: u64,
    /// Which actor.
    pub path: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How it ended.
    pub cause: String,
    /// The kind of the message that it handled, or had handled last.
    pub message: Option<&'static str>,
    /// Ids in that message.
    pub about: Option<String>,
    /// Where it panicked, with the calls that led there.
    pub stack: Option<String>,
    /// Which of its incarnations this was, from 1.
    pub incarnation: u32,
}

/// The last crashes.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    kept: VecDeque<Crash>,
    counted: u64,
}

impl Crashes {
    pub(super) fn add(&mut self, crash: Crash) {
        self.counted += 1;
        if self.kept.len() == CRASHES_LEN_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Crash { id: self.counted, ..crash });
    }

    /// Newest last.
    pub(super) fn all(&self) -> Vec<Crash> {
        self.kept.iter().cloned().collect()
    }
}

//! A conversation as it is kept: turns are never deleted by compaction, a summary lies over them.
use super::generation::Usage;
use super::ids::{InboxId, ModelId, SessionKey};
use super::message::AnswerKind;
use super::tool::ToolStep;

/// A summary that stands for the first turns of a session in the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The text that the model wrote.
    pub text: String,
    /// Turns `0..turns` are covered.
    pub turns: u64,
}

/// What is known of a session without reading its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHead {
    /// Which conversation.
    pub key: SessionKey,
    /// When its first turn was kept, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When its last turn was kept, in milliseconds since the Unix epoch.
    pub updated_unix_ms: u64,
    /// How many turns are kept.
    pub turns: u64,
    /// The summary over the first of them.
    pub summary: Option<Summary>,
}

/// One message and its answer, as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRecord {
    /// Its number within the session, from 0.
    pub number: u64,
    /// The message that it answers.
    pub inbox: InboxId,
    /// What the peer wrote.
    pub user: String,
    /// What the Archon answered. Empty when the turn was stopped before the first word.
    pub answer: String,
    /// Whether the peer stopped it before its end.
    pub stopped: bool,
    /// Which model answered.
    pub model: ModelId,
    /// What the model asked for on the way to its answer, and what became of that; mostly nothing.
    pub steps: Vec<ToolStep>,
    /// What it cost.
    pub usage: Usage,
    /// When the turn ended, in milliseconds since the Unix epoch.
    pub ended_unix_ms: u64,
}

/// All that a session actor needs to go on where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// What is known without the turns.
    pub head: SessionHead,
    /// The turns that the summary does not cover, in order.
    pub turns: Vec<TurnRecord>,
}

/// A turn to be appended; the store gives it its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTurn {
    /// What the peer wrote.
    pub user: String,
    /// What the Archon answered.
    pub answer: String,
    /// Whether the peer stopped it before its end.
    pub stopped: bool,
    /// Which model answered.
    pub model: ModelId,
    /// What the model asked for on the way to its answer, and what became of that.
    pub steps: Vec<ToolStep>,
    /// What it cost.
    pub usage: Usage,
}

/// An answer to be put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// What it is.
    pub kind: AnswerKind,
    /// What is said.
    pub text: String,
}

/// The one write that ends a turn: session append, inbox entry done, outbox entry, journal closed, all or nothing.
///
/// Ending the same inbox entry again writes nothing and returns the first answer, so a retry after a lost reply is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnEnd {
    /// The message that is answered.
    pub inbox: InboxId,
    /// What the session keeps; `None` for commands and failures.
    pub turn: Option<NewTurn>,
    /// What the peer gets.
    pub answer: NewAnswer,
    /// When, in milliseconds since the Unix epoch.
    pub ended_unix_ms: u64,
}

impl SessionHead {
    /// How many turns a prompt must hold word for word.
    pub fn turns_uncovered(&self) -> u64 {
        self.turns.saturating_sub(self.summary.as_ref().map_or(0, |summary| summary.turns))
    }
}

//! A conversation as it is kept: turns are never deleted by compaction, a summary lies over them.
use super::attachment::Attachment;
use super::generation::Usage;
use super::ids::{InboxId, ModelId, SessionKey};
use super::media::Brought;
use super::message::AnswerKind;
use super::tool::ToolStep;

/// A summary that stands for the first turns of a session in the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The text that the model wrote.
    pub text: String,
    /// Turns `0..turns` are covered.
    pub turns: u64,
    /// The tools that were called in them, in order, none twice: what these brought may be in the text.
    pub called: Vec<String>,
}

/// What is said below each answer of what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Footer {
    /// Nothing.
    #[default]
    Off,
    /// Tokens and time.
    Tokens,
    /// Also the model, its speed, and how full the context is.
    Full,
}

/// What becomes of a message that comes while another one of its conversation is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Busy {
    /// It waits for the end of that answer.
    #[default]
    Queue,
    /// It is told to the model in the middle of that answer, before its next call; where there is none, it waits.
    Steer,
    /// That answer is stopped, and it is answered next.
    Interrupt,
}

impl Busy {
    /// All, in the order in which they are named.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Steer, Self::Interrupt];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Steer => "steer",
            Self::Interrupt => "interrupt",
        }
    }
}

/// What the peer has chosen for one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The model that answers, whatever the route says.
    pub model: Option<ModelId>,
    /// The same for the next turn that is kept; then it is forgotten.
    pub model_once: Option<ModelId>,
    /// What is said below each answer.
    pub footer: Footer,
    /// What a message does that comes while another one is answered.
    pub busy: Busy,
}

/// What is known of a session without reading its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHead {
    /// Which conversation.
    pub key: SessionKey,
    /// When its first turn or choice was kept, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When its last turn or choice was kept, in milliseconds since the Unix epoch.
    pub updated_unix_ms: u64,
    /// How many turns are kept.
    pub turns: u64,
    /// The summary over the first of them.
    pub summary: Option<Summary>,
    /// What the peer has chosen for it.
    pub options: SessionOptions,
}

/// A message that a turn took in while it ran: it has no turn of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The message.
    pub inbox: InboxId,
    /// After how many of the turn's steps the model was told of it.
    pub after: usize,
    /// What the peer wrote.
    pub text: String,
}

impl Aside {
    /// What its writer gets: each message has one answer.
    pub const ANSWER: &str =
        "I read that while I was at work on your message before; the answer to that one is for both.";

    /// Begins what the model is told of it.
    pub const HEADING: &str = "[said while you are at work on the message before]\n";

    /// As the model is told of it.
    pub fn told(&self) -> String {
        format!("{}{}", Self::HEADING, self.text)
    }
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
    /// What the peer said meanwhile, in order; mostly nothing.
    pub asides: Vec<Aside>,
    /// What came with the message; mostly nothing.
    pub brought: Vec<Brought>,
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
    /// What the peer said meanwhile, in order.
    pub asides: Vec<Aside>,
    /// What came with the message.
    pub brought: Vec<Brought>,
    /// What it cost.
    pub usage: Usage,
    /// It takes the place of the session's last turn, unless a summary covers that one.
    pub replaces_last: bool,
}

/// An answer to be put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// What it is.
    pub kind: AnswerKind,
    /// What is said.
    pub text: String,
}

/// The one write that ends a turn: session append, inbox entry done, outbox entry, journal closed, all or nothing. The messages that the
/// kept turn took in are done with it: each that is unanswered and of the same session gets [`Aside::ANSWER`].
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

impl TurnEnd {
    /// What goes with the answer: the files that the turn's calls sent.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.turn.as_ref().map(Attachment::of).unwrap_or_default()
    }

    /// The messages that the turn took in. One that keeps nothing takes nothing in.
    pub fn taken_in(&self) -> Vec<InboxId> {
        self.turn.iter().flat_map(|turn| &turn.asides).map(|aside| aside.inbox).collect()
    }
}

/// A conversation goes, whole, to another place of the same person: its turns, its summary and what was chosen for it, with all its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOff {
    /// Which one.
    pub from: SessionKey,
    /// What it is from then on; a thread of this name may be in neither place before.
    pub to: SessionKey,
    /// The message that asked for it.
    pub inbox: InboxId,
    /// What is answered to that.
    pub text: String,
    /// When, in milliseconds since the Unix epoch.
    pub now_unix_ms: u64,
}

impl HandOff {
    /// The end of the message that asked for it.
    pub fn end(&self) -> TurnEnd {
        let answer = NewAnswer { kind: AnswerKind::Notice, text: self.text.clone() };
        TurnEnd { inbox: self.inbox, turn: None, answer, ended_unix_ms: self.now_unix_ms }
    }

    /// Where the next message goes in the place that the conversation leaves: nothing is in it.
    pub fn left_behind(&self) -> SessionKey {
        self.from.peer_key().session(self.to.thread.clone())
    }
}

/// Why a conversation stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// The other place is not, or no longer, one of the same person.
    Apart,
    /// Nothing was said in it.
    Empty,
    /// A message of it is being answered, or waits for that.
    Awaited,
    /// There is a thread of the new name already.
    Taken,
}

impl TurnRecord {
    /// All that the peer said in it.
    pub fn said(&self) -> String {
        let asides = self.asides.iter().map(|aside| aside.text.as_str());
        std::iter::once(self.user.as_str()).chain(asides).collect::<Vec<_>>().join("\n\n")
    }
}

impl SessionHead {
    /// A session in which nothing was said so far.
    pub fn new(key: SessionKey, now_unix_ms: u64) -> Self {
        Self {
            key,
            created_unix_ms: now_unix_ms,
            updated_unix_ms: now_unix_ms,
            turns: 0,
            summary: None,
            options: SessionOptions::default(),
        }
    }

    /// How many turns a summary stands for.
    pub fn turns_covered(&self) -> u64 {
        self.summary.as_ref().map_or(0, |summary| summary.turns)
    }

    /// The number that a turn gets which is kept now.
    pub fn next_number(&self, turn: &NewTurn) -> u64 {
        let replaced = turn.replaces_last && self.turns > self.turns_covered();
        self.turns - u64::from(replaced)
    }

    /// How many turns a prompt must hold word for word.
    pub fn turns_uncovered(&self) -> u64 {
        self.turns.saturating_sub(self.turns_covered())
    }
}

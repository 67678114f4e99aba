//! The admin protocol: JSON, one object per line, over the daemon's Unix socket.
//!
//! A client sends [`Request`] lines; the daemon answers each with [`Reply`] lines that carry the request's `id`. Every request but
//! [`Op::Chat`] has one reply; a chat has a stream of [`Reply::Turn`] that ends with [`TurnView::Ended`] or with [`Reply::Error`].
//! Requests of one connection run side by side. A line longer than [`LINE_BYTES_MAX`] or not UTF-8 is answered by an error.
use serde::{Deserialize, Serialize};

use super::approvals::{ApprovalOp, ApprovalReply};
use super::channels::{ChannelOp, ChannelReply, ChannelView};
use super::inside::{InsideOp, InsideReply};
use super::memory::{MemoryOp, MemoryReply};

/// Longest line, in bytes: a message of the greatest permitted size, every character escaped.
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the client, repeated in each reply.
    pub id: u64,
    /// What is asked.
    pub op: Op,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// The state of the house. Answered by [`Reply::House`].
    Status,
    /// Hand in a message. It is durable when [`TurnView::Accepted`] comes; a key that was seen before is not written again, and its
    /// answer is given when it is there.
    Chat {
        /// To whom.
        archon: String,
        /// What is said.
        text: String,
        /// The client's own id of the message, unique for this user: a retry after a lost connection uses the same one.
        key: String,
        /// In which session; the current one when absent.
        thread: Option<String>,
    },
    /// The same with files of this machine, which the daemon reads.
    Bring {
        /// See [`Op::Chat`].
        archon: String,
        /// See [`Op::Chat`].
        text: String,
        /// See [`Op::Chat`].
        key: String,
        /// See [`Op::Chat`].
        thread: Option<String>,
        /// Their whole paths.
        files: Vec<String>,
    },
    /// Stop the running turn of a session now. Answered by [`Reply::Done`].
    Cancel {
        /// Whose.
        archon: String,
        /// In which session; the current one when absent.
        thread: Option<String>,
    },
    /// Answers to this user that no client has confirmed. Answered by [`Reply::Answers`].
    Undelivered {
        /// From whom.
        archon: String,
    },
    /// Confirm that an answer was shown: it is not offered again. Answered by [`Reply::Done`].
    Delivered {
        /// Which answer.
        outbox: u64,
    },
    /// Sessions, in order, at most 1000 behind `after`. Answered by [`Reply::Sessions`].
    Sessions {
        /// Of one Archon, or of all.
        archon: Option<String>,
        /// Behind this one.
        after: Option<String>,
    },
    /// A session's turns from a number on, at most 200. Answered by [`Reply::Turns`].
    Turns {
        /// `archon/channel/peer/thread`.
        session: String,
        /// The first turn's number.
        from: u64,
    },
    /// Forget a session. Answered by [`Reply::Done`].
    RemoveSession {
        /// `archon/channel/peer/thread`.
        session: String,
    },
    /// Start an Archon, or lift its quarantine. Answered by [`Reply::Done`] once it is ready.
    StartArchon {
        /// Which.
        archon: String,
    },
    /// Stop an Archon: its turns go back to the inbox, until it is started again. Answered by [`Reply::Done`].
    StopArchon {
        /// Which.
        archon: String,
    },
    /// Look what is remembered, or forget some of it.
    Memory(MemoryOp),
    /// Look at channels, or say who is known on them.
    Channel(ChannelOp),
    /// Look which calls wait for a yes, or decide about one.
    Approval(ApprovalOp),
    /// Look inside, or act on an actor.
    Inside(InsideOp),
    /// End the daemon. Answered by [`Reply::Done`] at once; the connection ends when everything has ended.
    Shutdown,
}

/// One line of the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The request's id; 0 when the request could not be read.
    pub id: u64,
    /// What is answered.
    pub reply: Reply,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// It was not done, and why, in words that say what to do.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The state of the house.
    House(HouseView),
    /// Progress of a chat.
    Turn(TurnView),
    /// Answers.
    Answers(Vec<AnswerView>),
    /// Sessions.
    Sessions(Vec<SessionView>),
    /// Turns of a session, with its summary.
    Turns(TurnsView),
    /// What is remembered.
    Memory(MemoryReply),
    /// What there is to say of channels.
    Channel(ChannelReply),
    /// What there is to say of calls that wait for a yes.
    Approval(ApprovalReply),
    /// What was seen inside.
    Inside(InsideReply),
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request cannot be understood.
    BadRequest,
    /// The named Archon, session or answer does not exist.
    NotFound,
    /// Too much at once; try again later.
    Busy,
    /// The message is too long.
    TooLarge,
    /// The Archon is stopped or quarantined.
    Unavailable,
    /// The disk or another part of the machine failed.
    Failed,
}

/// Progress of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum TurnView {
    /// The message is durable.
    Accepted {
        /// Its place in the inbox.
        inbox: u64,
        /// The session it belongs to.
        session: String,
        /// Whether its key was seen before.
        duplicate: bool,
    },
    /// Waits for the pool; 1 is next.
    Queued {
        /// Place in the queue.
        position: u32,
    },
    /// The model is being loaded.
    Loading {
        /// Which.
        model: String,
        /// 0 to 100.
        percent: u8,
    },
    /// The model reads the conversation.
    Reading {
        /// Tokens read.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// The conversation is being summarised.
    Compacting,
    /// The next piece of the answer.
    Text {
        /// Complete characters.
        text: String,
    },
    /// A tool is being called.
    CallBegun {
        /// Its name.
        tool: String,
        /// What the call does.
        shown: String,
    },
    /// A call is under way.
    CallProgress {
        /// The tool's name.
        tool: String,
        /// How far it is, for people.
        text: String,
    },
    /// A call has ended.
    CallEnded {
        /// The tool's name.
        tool: String,
        /// It did not do what was asked for.
        failed: bool,
    },
    /// A call waits for `/approve` or `/deny`.
    ApprovalWanted {
        /// The tool's name.
        tool: String,
        /// Exactly what will be done.
        shown: String,
        /// Why it is asked.
        why: String,
        /// Seconds until that is no.
        timeout_s: u64,
    },
    /// The worker died; the answer goes on.
    WorkerReplaced,
    /// What was streamed is void; the answer begins again.
    Retrying {
        /// The coming try.
        attempt: u32,
    },
    /// The answer. Nothing follows.
    Ended(AnswerView),
}

/// An answer of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AnswerView {
    /// Its place in the outbox; confirm it with [`Op::Delivered`].
    pub outbox: u64,
    /// The message that it answers.
    pub inbox: u64,
    /// The client's id of that message.
    pub key: String,
    /// The session.
    pub session: String,
    /// `answer`, `notice` or `failure`.
    pub kind: String,
    /// What is said.
    pub text: String,
    /// Files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView>,
    /// When, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

/// A file that goes with an answer, as it was when the Archon sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttachmentView {
    /// Where it is on this machine.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 hash, in hexadecimal digits.
    pub sha256: String,
    /// Its media type, by its first bytes.
    pub media_type: String,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
}

/// The state of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HouseView {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Its memory without the workers, in bytes.
    pub memory_bytes: u64,
    /// Where it listens.
    pub socket: String,
    /// The OpenAI API's address, or why there is none; nothing where it is not wanted.
    #[serde(default)]
    pub gateway: Option<String>,
    /// Its log directory.
    pub logs: String,
    /// Each Archon.
    pub archons: Vec<ArchonView>,
    /// Each model.
    pub models: Vec<ModelView>,
    /// Each channel that leads to a platform.
    #[serde(default)]
    pub channels: Vec<ChannelView>,
    /// One line for the operator, such as that a small stand-in answers and how to get the real model.
    pub notice: Option<String>,
}

/// One Archon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArchonView {
    /// Its name.
    pub archon: String,
    /// Its name as people read it.
    pub display_name: String,
    /// One of the state words.
    pub state: String,
    /// The model that answers now.
    pub model: Option<String>,
    /// The model that its profile names, where that is another one.
    pub wanted_model: Option<String>,
    /// Channels on which it listens.
    pub channels: Vec<String>,
    /// Sessions in memory.
    pub sessions: u32,
    /// Turns that run.
    pub in_flight: u32,
    /// Messages that wait.
    pub waiting: u32,
    /// Crashes since the daemon started.
    pub crashes: u32,
    /// Why it is not well.
    pub last_error: Option<String>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelView {
    /// Its name.
    pub model: String,
    /// `idle`, `loading`, `ready`, `restarting`, `failed`.
    pub state: String,
    /// Load progress, 0 to 100, while it loads.
    pub percent: Option<u8>,
    /// The worker's process.
    pub pid: Option<u32>,
    /// What computes, while there is a worker: `100% CPU`, or the server that does.
    #[serde(default)]
    pub processor: Option<String>,
    /// The worker's memory, in bytes, file pages included.
    pub memory_bytes: Option<u64>,
    /// Sequences at once.
    pub slots: u32,
    /// Sequences that run.
    pub slots_used: u32,
    /// Requests that wait.
    pub queued: u32,
    /// Context of one sequence, in tokens.
    pub context_tokens: u32,
    /// Workers that died.
    pub crashes: u32,
    /// Tokens generated.
    pub tokens: u64,
    /// Tokens of all prompts.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// How many of those did not have to be read again.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Tokens of the answers that ended, but for the first of each.
    #[serde(default)]
    pub written_tokens: u64,
    /// What those took, in milliseconds, each answer for itself.
    #[serde(default)]
    pub written_ms: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionView {
    /// `archon/channel/peer/thread`.
    pub session: String,
    /// Turns kept.
    pub turns: u64,
    /// Turns that a summary covers.
    pub summarised: u64,
    /// First turn, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// Last turn, in milliseconds since the Unix epoch.
    pub updated_unix_ms: u64,
}

/// Turns of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TurnsView {
    /// The session.
    pub session: SessionView,
    /// The summary over its first turns.
    pub summary: Option<String>,
    /// The turns asked for.
    pub turns: Vec<RecordedTurnView>,
}

/// One kept turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedTurnView {
    /// From 0.
    pub number: u64,
    /// What the peer wrote.
    pub user: String,
    /// What the Archon answered.
    pub answer: String,
    /// Whether the peer stopped it.
    pub stopped: bool,
    /// The calls of tools on the way to the answer, the first of them where there are many.
    #[serde(default)]
    pub calls: Vec<CallView>,
    /// How many calls more there were.
    #[serde(default)]
    pub calls_left_out: usize,
    /// The model that answered.
    pub model: String,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// How many of them were known from before.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Answer length in tokens.
    pub answer_tokens: u32,
    /// When, in milliseconds since the Unix epoch.
    pub ended_unix_ms: u64,
}

/// One call of a tool. Long texts are cut, and stand in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CallView {
    /// Which tool.
    pub name: String,
    /// What it was asked: JSON, if it was not cut.
    pub arguments: String,
    /// How it ended.
    pub ended: CallEnd,
    /// What it answered, or why it failed.
    pub text: String,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallEnd {
    /// It came to its end.
    Done,
    /// It was refused or went wrong.
    Failed,
    /// It was begun, and nobody knows how it ended.
    Unknown,
}

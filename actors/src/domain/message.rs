//! What comes in, what goes out, and what can be watched in between.
use super::attachment::Attachment;
use super::channel::{ReplyTo, Waybill};
use super::ids::{ArchonId, ChannelId, InboxId, ModelId, OutboxId, PeerId, SessionKey, ThreadId};

/// The identity that the channel's platform gave a message; a key seen before is a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey {
    /// The channel that delivered it.
    pub channel: ChannelId,
    /// The platform's own id (a Telegram `update_id`, a Nostr rumor id, a terminal's own number).
    pub key: String,
}

/// A message as a channel hands it in, before it is journalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundMessage {
    /// For whom it is.
    pub archon: ArchonId,
    /// By which road it came.
    pub channel: ChannelId,
    /// Who wrote it.
    pub peer: PeerId,
    /// The platform's own id, unique within the channel.
    pub key: String,
    /// The conversation it belongs to; `None` means the peer's current one.
    pub thread: Option<ThreadId>,
    /// What was written. Never empty.
    pub text: String,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_unix_ms: u64,
    /// What the platform gave along with it.
    pub waybill: Waybill,
}

impl InboundMessage {
    /// The key under which repetitions are recognised.
    pub fn message_key(&self) -> MessageKey {
        MessageKey { channel: self.channel.clone(), key: self.key.clone() }
    }
}

/// A journalled message: from here on it is the house's duty to answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its place in the inbox.
    pub id: InboxId,
    /// The conversation that it belonged to when it was journalled: where it came from, and where its answer goes.
    pub session: SessionKey,
    /// The platform's own id.
    pub key: String,
    /// What was written.
    pub text: String,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_unix_ms: u64,
    /// How often a turn was begun for it. Counted before each try, so that a message that kills the process is noticed.
    pub attempts: u32,
    /// What the platform gave along with it.
    pub waybill: Waybill,
}

impl InboxEntry {
    /// The key under which watchers of this message are registered.
    pub fn message_key(&self) -> MessageKey {
        MessageKey { channel: self.session.channel.clone(), key: self.key.clone() }
    }
}

/// What the store says to a message that a channel hands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// New and now durable.
    Fresh(InboxEntry),
    /// The key was seen before; nothing was written.
    Duplicate(InboxId),
}

/// What an outbox entry is, so that a channel can show it fittingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// The Archon's own words.
    Answer,
    /// The house's words: the reply to a command, a notice.
    Notice,
    /// The house's words: why there is no answer.
    Failure,
}

/// A durable answer that waits until its channel has delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place in the outbox.
    pub id: OutboxId,
    /// The message that it answers.
    pub answers: InboxId,
    /// The platform's id of the message that it answers.
    pub key: String,
    /// To whom it goes.
    pub session: SessionKey,
    /// What it is.
    pub kind: AnswerKind,
    /// What is said.
    pub text: String,
    /// What goes with it, to be delivered as the channel can.
    pub attachments: Vec<Attachment>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// Where it goes, as the platform said with the message.
    pub reply_to: ReplyTo,
}

impl OutboxEntry {
    /// The key under which watchers of the message are registered that it answers.
    pub fn message_key(&self) -> MessageKey {
        MessageKey { channel: self.session.channel.clone(), key: self.key.clone() }
    }
}

/// What a watcher of one message sees until its answer is there. Losing one loses no answer: that is in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEvent {
    /// The message waits for a free place in the pool; 1 is next.
    Queued {
        /// Place in the queue.
        position: u32,
    },
    /// The model is being loaded.
    Loading {
        /// Which model.
        model: ModelId,
        /// How far, 0 to 100.
        percent: u8,
    },
    /// The model reads the conversation.
    Reading {
        /// Tokens read.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// The conversation is being summarised, because it no longer fits.
    Compacting,
    /// The next piece of the answer.
    Text {
        /// Complete characters, in order.
        text: String,
    },
    /// A tool is being called.
    CallBegun {
        /// Its name.
        tool: String,
        /// What the call does, for people.
        shown: String,
    },
    /// A call is under way.
    CallProgress {
        /// The tool's name.
        tool: String,
        /// How far it is, for people: one short line.
        text: String,
    },
    /// A call has ended.
    CallEnded {
        /// The tool's name.
        tool: String,
        /// It did not do what was asked for.
        failed: bool,
    },
    /// The owner is asked whether a call may be made; the turn waits for `/approve` or `/deny`.
    ApprovalWanted {
        /// The call's name in the house, which is never given twice.
        call: String,
        /// The tool's name.
        tool: String,
        /// Exactly what will be done.
        shown: String,
        /// Why he is asked.
        why: String,
        /// How long he has, in seconds.
        timeout_s: u64,
    },
    /// The worker died and is being replaced; the answer goes on where it stopped.
    WorkerReplaced,
    /// The try failed; what was streamed so far is void and the answer begins again.
    Retrying {
        /// The number of the coming try; the first try is 1.
        attempt: u32,
    },
    /// The answer is durable. Nothing follows.
    Ended {
        /// The whole answer.
        answer: OutboxEntry,
    },
}

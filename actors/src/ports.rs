//! What the house needs from the world. Each trait is owned here, by its consumer, and has one adapter per technology elsewhere.
mod channel;
mod embedders;
mod engine;
mod media;
mod tools;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::domain::{
    Accepted, Approved, ArchonId, ChannelId, CodeHash, Cursor, Grant, HandOff, InboundMessage, InboxEntry,
    InboxId, Indexed, JournalEntry, Kept, Knock, LinkAnswer, LinkChange, Maker, MessageKey, NewNote, Note,
    NoteId, NotePlace, NotesOf, Offered, OutboxEntry, OutboxId, Paired, PeerId, PeerKey, Recalled, Receipt,
    Remembered, SessionHead, SessionKey, SessionOptions, SessionSnapshot, Sought, Stays, Summary, Tier,
    TurnEnd, TurnRecord, Undeliverable, Unindexed, Vector,
};

pub use channel::{Channel, ChannelFault, ChannelShed, Handed, NoChannels, POLL_MAX};
pub use embedders::{Embedders, NoEmbedders};
pub use engine::{Engine, EngineError, Footprint, WorkerEvent, WorkerLink};
pub use media::{MediaFault, MediaShelf, NoMedia};
pub use tools::{NoTools, ToolShed, ToolSource};

/// Takes facts of one kind. Never blocks, never fails: a receiver that is gone is ignored.
pub type Sink<T> = Arc<dyn Fn(T) + Send + Sync>;

/// Wall time, for records. Delays and deadlines use tokio's clock, which tests can pause.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_unix_ms(&self) -> u64;
}

/// Where calls that block are made: off the threads on which actors run.
pub trait BlockingCalls: Send + Sync + 'static {
    /// Begins a call. What it returns ends when the call has returned.
    fn begin(&self, call: Box<dyn FnOnce() + Send>) -> JoinHandle<()>;
}

/// The runtime's own threads for blocking work.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuntimeThreads;

impl BlockingCalls for RuntimeThreads {
    fn begin(&self, call: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
        tokio::task::spawn_blocking(call)
    }
}

/// Why the store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was written; the store works again when there is space.
    #[error("the disk that holds {path} is full; free some space and try again")]
    DiskFull {
        /// The store's file.
        path: String,
    },
    /// Reading or writing failed. Nothing was written.
    #[error("the store at {path} failed: {detail}")]
    Io {
        /// The store's file.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// A record cannot be read. The file is damaged or was written by a newer archond.
    #[error(
        "the store at {path} holds a record that cannot be read ({detail}); restore a backup or use the archond that wrote it"
    )]
    Corrupt {
        /// The store's file.
        path: String,
        /// Which record and why.
        detail: String,
    },
    /// The named inbox entry, outbox entry or session does not exist.
    #[error("no such {what}")]
    NotFound {
        /// What was named.
        what: String,
    },
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Journal a message. One that chooses a thread ([`Course`](crate::command::Course)) makes it the peer's current one in
    /// the same transaction, and belongs to it: what he writes next cannot go elsewhere. Answers [`Written::Accepted`].
    Accept(InboundMessage),
    /// Count a try before it begins. Answers [`Written::Attempt`].
    BeginAttempt {
        /// The message.
        inbox: InboxId,
    },
    /// Append to the journal of a running turn, all or nothing. Refused when the message is unknown or answered.
    /// Answers [`Written::Done`].
    Journal {
        /// The message.
        inbox: InboxId,
        /// What is appended, in order.
        entries: Vec<JournalEntry>,
    },
    /// End a turn; its journal ends with it. Answers [`Written::Ended`]; ending it again answers the first answer.
    EndTurn(TurnEnd),
    /// The channel has delivered an answer. Doing it again changes nothing. Answers [`Written::Done`].
    MarkSent {
        /// The answer.
        outbox: OutboxId,
    },
    /// Keep how far the delivery of a message's answer is; the former receipt is forgotten. Refused when the message is unknown or its
    /// answer is delivered. Answers [`Written::Done`].
    KeepReceipt {
        /// The message.
        inbox: InboxId,
        /// What its adapter wants to know again.
        receipt: Receipt,
    },
    /// The channel will never be able to deliver an answer: it is undelivered no more. Doing it again, or to one that was delivered,
    /// changes nothing. Answers [`Written::Done`].
    GiveUp {
        /// The answer.
        outbox: OutboxId,
        /// What the platform said.
        reason: String,
        /// When, in milliseconds since the Unix epoch.
        now_unix_ms: u64,
    },
    /// An answer that was given up is undelivered again. Refused when it was not given up. Answers [`Written::Done`].
    DeliverAgain {
        /// The answer.
        outbox: OutboxId,
    },
    /// Give a stranger a code. Answers [`Written::Offered`].
    OfferCode {
        /// Who, to whom, on which channel.
        with: PeerKey,
        /// The code's hash.
        code: CodeHash,
        /// When, in milliseconds since the Unix epoch.
        now_unix_ms: u64,
    },
    /// Make the stranger known who has this code. Answers [`Written::Approved`].
    ApproveCode {
        /// The code's hash.
        code: CodeHash,
        /// What he may do.
        tier: Tier,
        /// When, in milliseconds since the Unix epoch.
        now_unix_ms: u64,
    },
    /// Somebody who was paired is a stranger again, and linked with nobody. Refused when he was not paired. Answers [`Written::Done`].
    Unpair {
        /// Who, with whom, on which channel.
        with: PeerKey,
    },
    /// Change who is the same person in several places. Answers [`Written::Linked`].
    Link {
        /// Who.
        with: PeerKey,
        /// What he does.
        change: LinkChange,
        /// When, in milliseconds since the Unix epoch.
        now_unix_ms: u64,
    },
    /// A channel has received up to here, and all of that is in the inbox. Answers [`Written::Done`].
    MoveCursor {
        /// Whose channel.
        archon: ArchonId,
        /// Which.
        channel: ChannelId,
        /// Up to where.
        cursor: Cursor,
    },
    /// Lay a summary over the first turns of a session. A summary that covers fewer turns than the present one is ignored.
    /// Answers [`Written::Done`].
    SetSummary {
        /// The session.
        session: SessionKey,
        /// The summary.
        summary: Summary,
    },
    /// Forget all but the first turns of a session. Refused when it has fewer, or when a summary covers more of them.
    /// Answers [`Written::Done`].
    Rewind {
        /// The session.
        session: SessionKey,
        /// How many turns stay.
        turns: u64,
    },
    /// Keep what the peer chose for a session, which is made where it is missing. Answers [`Written::Done`].
    SetOptions {
        /// The session.
        session: SessionKey,
        /// All that he chose.
        options: SessionOptions,
        /// When, in milliseconds since the Unix epoch.
        now_unix_ms: u64,
    },
    /// Keep a lasting yes. One that is there already changes nothing. Answers [`Written::Done`].
    AddGrant {
        /// Whose calls it covers.
        with: PeerKey,
        /// What is allowed.
        grant: Grant,
    },
    /// Take a lasting yes back. Refused when there is none. Answers [`Written::Done`].
    RemoveGrant {
        /// Whose calls it covered.
        with: PeerKey,
        /// What was allowed.
        grant: Grant,
    },
    /// Move a conversation to another place of the same person, and end the message that asked for it. It becomes the peer's current one
    /// there; where it was current, an empty one of the same name is. What its turns are found by goes along, and what is forgotten with it;
    /// notes and yeses stay, and answers go to whom they are addressed. Answers [`Written::Ended`]; of a message that is answered the first
    /// answer, and nothing moves. Otherwise [`Written::Stays`].
    HandOff(HandOff),
    /// Forget a session with its turns, its delivered messages, and the journals of those that wait. Its turns are recalled no more;
    /// the peer's notes stay. Answers [`Written::Done`].
    RemoveSession {
        /// The session.
        session: SessionKey,
    },
    /// Keep a note. Doing it again changes nothing. Answers [`Written::Kept`].
    KeepNote(NewNote),
    /// Forget a note of this peer. Answers [`Written::Done`].
    ForgetNote {
        /// Whose.
        owner: PeerKey,
        /// Which.
        note: NoteId,
    },
    /// From now on vectors are of this maker. Those of another one are dropped. Answers [`Written::Done`].
    UseMaker(Maker),
    /// Keep the vector of a text. Nothing is written where the text is gone, has one, or the maker is another by now. Answers
    /// [`Written::Done`].
    KeepVector {
        /// Who computed it.
        maker: Maker,
        /// Of which text.
        of: Remembered,
        /// The vector.
        vector: Vector,
    },
}

/// What a [`Write`] answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// The message is durable, or was already.
    Accepted(Accepted),
    /// The number of the try, from 1.
    Attempt(u32),
    /// The answer as it is kept, and those of the messages that the turn took in. Ended again: the first answer alone.
    Ended(OutboxEntry, Vec<OutboxEntry>),
    /// What became of the note.
    Kept(Kept),
    /// Whether the stranger has the code.
    Offered(Offered),
    /// Whether somebody is known now.
    Approved(Approved),
    /// What became of it.
    Linked(LinkAnswer),
    /// Nothing was moved, and nobody answered.
    Stays(Stays),
    /// Done.
    Done,
}

/// The durable memory of the house. Blocking: it is called from threads made for it.
pub trait Store: Send + Sync + 'static {
    /// Makes all changes durable in one transaction, in order. A change that is refused (say, an unknown session) refuses alone:
    /// its own result is an error and the others stand. The outer error means that nothing was written.
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError>;
    /// Messages of an Archon that have no answer yet, oldest first.
    fn pending(
        &self,
        archon: &ArchonId,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError>;
    /// How many messages of an Archon have no answer yet.
    fn pending_len(&self, archon: &ArchonId) -> Result<u64, StoreError>;
    /// A session with the turns that its summary does not cover.
    fn session(&self, key: &SessionKey) -> Result<Option<SessionSnapshot>, StoreError>;
    /// Turns of a session from a number on, in order.
    fn turns(&self, key: &SessionKey, from: u64, limit: usize) -> Result<Vec<TurnRecord>, StoreError>;
    /// Sessions in key order, after a key, of one Archon or of all.
    fn sessions(
        &self,
        archon: Option<&ArchonId>,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionHead>, StoreError>;
    /// All sessions of one correspondent, in the order of their threads.
    fn sessions_with(&self, with: &PeerKey) -> Result<Vec<SessionHead>, StoreError>;
    /// Every lasting yes of one correspondent, in order.
    fn grants(&self, with: &PeerKey) -> Result<Vec<Grant>, StoreError>;
    /// Answers that a channel has not delivered, oldest first; of one Archon and peer, or of all.
    fn undelivered(
        &self,
        channel: &ChannelId,
        peer: Option<(&ArchonId, &PeerId)>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError>;
    /// Answers that were given up, oldest first; of one channel or of all.
    fn undeliverable(
        &self,
        channel: Option<&ChannelId>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<Undeliverable>, StoreError>;
    /// How far the delivery of the answer to a message is; `None` once it is delivered.
    fn receipt(&self, inbox: InboxId) -> Result<Option<Receipt>, StoreError>;
    /// What the owner said of somebody who was a stranger.
    fn paired(&self, with: &PeerKey) -> Result<Option<Paired>, StoreError>;
    /// All who were strangers, in order.
    fn pairings(&self) -> Result<Vec<Paired>, StoreError>;
    /// All who have a code that is not void, in order; some may be too old to count ([`is_recent`](crate::domain::is_recent)).
    fn knocks(&self) -> Result<Vec<Knock>, StoreError>;
    /// The other peers of the same Archon that are the same person, in order.
    fn linked(&self, with: &PeerKey) -> Result<Vec<PeerKey>, StoreError>;
    /// Up to where a channel of an Archon has received.
    fn cursor(&self, archon: &ArchonId, channel: &ChannelId) -> Result<Option<Cursor>, StoreError>;
    /// Whether a message with this key was accepted, and is still known by it.
    fn is_accepted(&self, key: &MessageKey) -> Result<bool, StoreError>;
    /// The answer to a message, delivered or not; `None` while there is none.
    fn answer_to(&self, inbox: InboxId) -> Result<Option<OutboxEntry>, StoreError>;
    /// The journal of a running turn, in order. Empty when nothing was written, the turn has ended, or the message is unknown.
    fn journal(&self, inbox: InboxId) -> Result<Vec<JournalEntry>, StoreError>;
    /// Which thread a peer's messages without a thread belong to.
    fn current_thread(
        &self,
        archon: &ArchonId,
        channel: &ChannelId,
        peer: &PeerId,
    ) -> Result<crate::domain::ThreadId, StoreError>;
    /// Notes after a place, in the order of their owners and then of their numbers.
    fn notes(&self, of: &NotesOf, after: Option<&NotePlace>, limit: usize) -> Result<Vec<Note>, StoreError>;
    /// The notes and turns of one peer of one Archon that answer a question best, the best first; never those of another.
    fn find(&self, owner: &PeerKey, sought: &Sought, limit: usize) -> Result<Vec<Recalled>, StoreError>;
    /// The same by words alone.
    fn recall(&self, owner: &PeerKey, question: &str, limit: usize) -> Result<Vec<Recalled>, StoreError> {
        self.find(owner, &Sought::by_words(question), limit)
    }
    /// Notes and turns of the whole house that have no vector yet, in the order of their owners.
    fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>, StoreError>;
    /// How many have one.
    fn indexed(&self) -> Result<Indexed, StoreError>;
}

//! What the house needs from the world. Each trait is owned here, by its consumer, and has one adapter per technology elsewhere.
mod channel;
mod embedders;
mod media;
mod tools;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use crate::domain::{
    Accepted, Approved, ArchonId, ChannelId, Chosen, CodeHash, Cursor, Finding, FinishReason, GenerationId,
    GenerationRequest, Grant, InboundMessage, InboxEntry, InboxId, Indexed, JournalEntry, Kept, Knock,
    LinkAnswer, LinkChange, Maker, ModelId, NewNote, Note, NoteId, NotePlace, NotesOf, Offered, OutboxEntry,
    OutboxId, Paired, PeerId, PeerKey, Recalled, Receipt, Refusal, Remembered, Senses, SessionHead,
    SessionKey, SessionOptions, SessionSnapshot, Sought, Summary, Tier, Token, TurnEnd, TurnRecord,
    Undeliverable, Unindexed, Usage, Vector,
};

pub use channel::{Channel, ChannelFault, ChannelShed, Handed, NoChannels, POLL_MAX};
pub use embedders::{Embedders, NoEmbedders};
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

/// Why a worker could not be started or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The model is not on disk, or not in the catalogue.
    #[error("{model} is not on disk; get it with `archond model pull {model}`")]
    NotOnDisk {
        /// Which model.
        model: ModelId,
    },
    /// The file cannot be used. Trying again does not help before it is replaced.
    #[error("{model} cannot be loaded: {detail}")]
    Unusable {
        /// Which model.
        model: ModelId,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The process ended or was killed.
    #[error("the worker of {model} ended: {detail}")]
    Exited {
        /// Which model.
        model: ModelId,
        /// By which signal or with which code, and the last words it said.
        detail: String,
    },
    /// The process could not be started or does not speak as expected.
    #[error("the worker of {model} failed: {detail}")]
    Process {
        /// Which model.
        model: ModelId,
        /// What happened.
        detail: String,
    },
}

/// What a worker says. Every event of a worker comes in order; [`WorkerEvent::Exited`] is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    /// The model is being loaded.
    Loading {
        /// 0 to 100.
        percent: u8,
    },
    /// The worker takes requests.
    Ready {
        /// Sequences at once.
        slots: u32,
        /// Context of one sequence, in tokens.
        context_tokens: u32,
    },
    /// A prompt is being read.
    Prefill {
        /// Which request.
        id: GenerationId,
        /// Tokens read, those found in the cache included.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// One token was chosen.
    Token {
        /// Which request.
        id: GenerationId,
        /// The token, needed to go on elsewhere.
        token: Token,
        /// What became of it.
        chosen: Chosen,
    },
    /// Something was found out.
    Found {
        /// Which request.
        id: GenerationId,
        /// What.
        finding: Finding,
    },
    /// An answer ended.
    Finished {
        /// Which request.
        id: GenerationId,
        /// Why.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
    /// A request was not begun, or could not be gone on with.
    Refused {
        /// Which request.
        id: GenerationId,
        /// Why.
        refusal: Refusal,
    },
    /// The process is gone, reaped.
    Exited {
        /// Why.
        error: EngineError,
    },
}

impl WorkerEvent {
    /// Which variant, for those who look from outside.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Loading { .. } => "worker-loading",
            Self::Ready { .. } => "worker-ready",
            Self::Prefill { .. } => "worker-prefill",
            Self::Token { .. } => "worker-token",
            Self::Found { .. } => "worker-found",
            Self::Finished { .. } => "worker-finished",
            Self::Refused { .. } => "worker-refused",
            Self::Exited { .. } => "worker-exited",
        }
    }
}

/// A running worker process. Dropping the last link kills it.
pub trait WorkerLink: Send + Sync + 'static {
    /// Hands over a request. `false`: the process is gone or its queue is full; [`WorkerEvent::Exited`] follows.
    fn generate(&self, request: GenerationRequest) -> bool;
    /// Asks for the end of an answer; [`WorkerEvent::Finished`] follows within one step.
    fn cancel(&self, id: GenerationId);
    /// Ends the process at once, by signal.
    fn kill(&self);
    /// The process, where it is one of this machine.
    fn pid(&self) -> Option<u32>;
    /// What computes, for people: `100% CPU`, or the server that does. `None` until that is known.
    fn processor(&self) -> Option<String>;
}

/// What a model takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Size of its file, in bytes. Bounds the time that loading may take.
    pub file_bytes: u64,
    /// Memory of its worker, the mapped file included, in bytes.
    pub memory_bytes: u64,
    /// How that sum comes about, for people.
    pub arithmetic: String,
    /// What it takes beside words.
    pub senses: Senses,
}

/// Runs models.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The catalogue's models that are complete on disk now.
    fn on_disk(&self) -> Vec<ModelId>;
    /// What a model takes up, if it is on disk.
    fn footprint(&self, model: &ModelId) -> Option<Footprint>;
    /// Starts a worker process and returns at once; loading is told by events.
    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError>;
}

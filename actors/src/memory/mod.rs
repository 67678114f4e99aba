//! The way to the store: every change is durable before it is answered, and nobody waits on the disk in an actor.
//!
//! - [`MemoryHandle`] is what everybody else holds.
//! - `actor` collects changes and hands them to the store in groups, one commit at a time.
mod actor;
mod people;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, SpawnErr};
use tokio::sync::Notify;

use crate::domain::{
    Accepted, ArchonId, ChannelId, Cursor, Grant, InboundMessage, InboxEntry, InboxId, Indexed, JournalEntry,
    Kept, Maker, NewNote, Note, NoteId, NotePlace, NotesOf, OutboxEntry, OutboxId, PeerId, PeerKey, Recalled,
    Receipt, Remembered, SessionHead, SessionKey, SessionOptions, SessionSnapshot, Sought, Summary, ThreadId,
    TurnEnd, TurnRecord, Undeliverable, Unindexed, Vector,
};
use crate::insight::Vitals;
use crate::link::{Link, LinkError, answer};
use crate::ports::{BlockingCalls, RuntimeThreads, Sink, Store, StoreError, Write, Written};
use actor::{MemoryActor, MemoryMsg};

/// Messages that may wait for the actor itself, which only sorts them: it never works long.
const MAILBOX_LEN_MAX: usize = 1024;
/// Longest wait for a change: an fsync on a busy disk takes seconds, and some groups may wait before ours.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a question: it may wait behind a commit that reopens the store.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Why memory did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// It could not be reached, or has too much to do.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much memory does at once, and how much may wait for it.
#[derive(Debug, Clone)]
pub struct MemorySettings {
    /// Changes in one commit, at most.
    pub batch_len_max: usize,
    /// Changes that may wait; more are refused as busy.
    pub writes_waiting_max: usize,
    /// Questions that are looked up at the same time.
    pub reads_at_once_max: usize,
    /// Questions that may wait; more are refused as busy.
    pub reads_waiting_max: usize,
}

impl Default for MemorySettings {
    /// A group of 100 adds about a millisecond to its fsync; 4096 waiting changes are 41 groups, a fraction of a second.
    fn default() -> Self {
        Self { batch_len_max: 100, writes_waiting_max: 4096, reads_at_once_max: 2, reads_waiting_max: 4096 }
    }
}

/// What the actor is started with.
#[derive(Clone)]
pub struct MemoryArgs {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// How much at once.
    pub settings: MemorySettings,
    /// Where the store is called.
    pub calls: Arc<dyn BlockingCalls>,
    /// Told of each message that was journalled, in the inbox's order, also when whoever handed it in has left meanwhile.
    pub accepted: Sink<InboxEntry>,
    /// Told of each answer that was written, whoever handed it in.
    pub answered: Sink<OutboxEntry>,
}

impl MemoryArgs {
    /// Ordinary memory that reports to nobody.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (settings, calls) = (MemorySettings::default(), Arc::new(RuntimeThreads));
        Self { store, settings, calls, accepted: Arc::new(|_| {}), answered: Arc::new(|_| {}) }
    }
}

/// Memory, whichever incarnation of its actor runs.
#[derive(Clone)]
pub struct MemoryHandle {
    link: Link<MemoryMsg>,
    /// Told of each text that is new in it.
    grown: Arc<Notify>,
}

impl Default for MemoryHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryHandle {
    /// A handle to an actor that does not run yet.
    pub fn new() -> Self {
        Self { link: Link::new("memory", MAILBOX_LEN_MAX), grown: Arc::default() }
    }

    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Starts an incarnation of the actor.
    pub async fn spawn(&self, args: MemoryArgs, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let args = (args, self.link.clone());
        let (actor, _) = MemoryActor::spawn_linked(None, MemoryActor, args, supervisor).await?;
        Ok(actor.get_cell())
    }

    /// Journals a message. When this answers, the message survives everything but the loss of the disk.
    pub async fn accept(&self, message: InboundMessage) -> Result<Accepted, MemoryError> {
        match self.write(Write::Accept(message)).await? {
            Written::Accepted(accepted) => Ok(accepted),
            other => Err(mismatch(&other)),
        }
    }

    /// Counts a try before it begins; answers its number, from 1.
    pub async fn begin_attempt(&self, inbox: InboxId) -> Result<u32, MemoryError> {
        match self.write(Write::BeginAttempt { inbox }).await? {
            Written::Attempt(number) => Ok(number),
            other => Err(mismatch(&other)),
        }
    }

    /// Appends to the journal of a running turn. When this answers, the entries survive everything but the loss of the disk.
    /// Not safe to repeat: after an error they may be there, whole; ask [`MemoryHandle::journal`].
    pub async fn append_journal(
        &self,
        inbox: InboxId,
        entries: Vec<JournalEntry>,
    ) -> Result<(), MemoryError> {
        self.write(Write::Journal { inbox, entries }).await.map(drop)
    }

    /// Ends a turn. Safe to repeat: the first answer stands.
    pub async fn end_turn(&self, end: TurnEnd) -> Result<OutboxEntry, MemoryError> {
        self.end_turns(end).await.map(|(answer, _)| answer)
    }

    /// The same; also answers what the messages got that the turn took in.
    pub async fn end_turns(&self, end: TurnEnd) -> Result<(OutboxEntry, Vec<OutboxEntry>), MemoryError> {
        match self.write(Write::EndTurn(end)).await? {
            Written::Ended(answer, beside) => {
                self.grown.notify_one();
                Ok((answer, beside))
            }
            other => Err(mismatch(&other)),
        }
    }

    /// The channel has delivered an answer. Safe to repeat.
    pub async fn mark_sent(&self, outbox: OutboxId) -> Result<(), MemoryError> {
        self.write(Write::MarkSent { outbox }).await.map(drop)
    }

    /// Keeps how far the delivery of a message's answer is. Safe to repeat.
    pub async fn keep_receipt(&self, inbox: InboxId, receipt: Receipt) -> Result<(), MemoryError> {
        self.write(Write::KeepReceipt { inbox, receipt }).await.map(drop)
    }

    /// The channel will never be able to deliver an answer. Safe to repeat.
    pub async fn give_up(
        &self,
        outbox: OutboxId,
        reason: String,
        now_unix_ms: u64,
    ) -> Result<(), MemoryError> {
        self.write(Write::GiveUp { outbox, reason, now_unix_ms }).await.map(drop)
    }

    /// An answer that was given up is to be delivered again.
    pub async fn deliver_again(&self, outbox: OutboxId) -> Result<(), MemoryError> {
        self.write(Write::DeliverAgain { outbox }).await.map(drop)
    }

    /// A channel has received up to here. Safe to repeat.
    pub async fn move_cursor(
        &self,
        archon: ArchonId,
        channel: ChannelId,
        cursor: Cursor,
    ) -> Result<(), MemoryError> {
        self.write(Write::MoveCursor { archon, channel, cursor }).await.map(drop)
    }

    /// See [`Store::undeliverable`].
    pub async fn undeliverable(
        &self,
        channel: Option<ChannelId>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<Undeliverable>, MemoryError> {
        self.read(move |store| store.undeliverable(channel.as_ref(), after, limit)).await
    }

    /// See [`Store::receipt`].
    pub async fn receipt(&self, inbox: InboxId) -> Result<Option<Receipt>, MemoryError> {
        self.read(move |store| store.receipt(inbox)).await
    }

    /// See [`Store::cursor`].
    pub async fn cursor(
        &self,
        archon: &ArchonId,
        channel: &ChannelId,
    ) -> Result<Option<Cursor>, MemoryError> {
        let (archon, channel) = (archon.clone(), channel.clone());
        self.read(move |store| store.cursor(&archon, &channel)).await
    }

    /// Lays a summary over the first turns of a session.
    pub async fn set_summary(&self, session: SessionKey, summary: Summary) -> Result<(), MemoryError> {
        self.write(Write::SetSummary { session, summary }).await.map(drop)
    }

    /// Forgets all but the first turns of a session.
    pub async fn rewind(&self, session: SessionKey, turns: u64) -> Result<(), MemoryError> {
        self.write(Write::Rewind { session, turns }).await.map(drop)
    }

    /// Keeps what the peer chose for a session.
    pub async fn set_options(
        &self,
        session: SessionKey,
        options: SessionOptions,
        now_unix_ms: u64,
    ) -> Result<(), MemoryError> {
        self.write(Write::SetOptions { session, options, now_unix_ms }).await.map(drop)
    }

    /// Keeps a lasting yes. Safe to repeat.
    pub async fn add_grant(&self, with: PeerKey, grant: Grant) -> Result<(), MemoryError> {
        self.write(Write::AddGrant { with, grant }).await.map(drop)
    }

    /// Takes a lasting yes back.
    pub async fn remove_grant(&self, with: PeerKey, grant: Grant) -> Result<(), MemoryError> {
        self.write(Write::RemoveGrant { with, grant }).await.map(drop)
    }

    /// See [`Store::sessions_with`].
    pub async fn sessions_with(&self, with: &PeerKey) -> Result<Vec<SessionHead>, MemoryError> {
        let with = with.clone();
        self.read(move |store| store.sessions_with(&with)).await
    }

    /// See [`Store::grants`].
    pub async fn grants(&self, with: &PeerKey) -> Result<Vec<Grant>, MemoryError> {
        let with = with.clone();
        self.read(move |store| store.grants(&with)).await
    }

    /// Forgets a session with its turns, its delivered messages, and the journals of those that wait.
    pub async fn remove_session(&self, session: SessionKey) -> Result<(), MemoryError> {
        self.write(Write::RemoveSession { session }).await.map(drop)
    }

    /// Keeps a note. Safe to repeat: the same words are one note.
    pub async fn keep_note(&self, note: NewNote) -> Result<Kept, MemoryError> {
        match self.write(Write::KeepNote(note)).await? {
            Written::Kept(kept) => {
                self.grown.notify_one();
                Ok(kept)
            }
            other => Err(mismatch(&other)),
        }
    }

    /// Forgets a note of this peer.
    pub async fn forget_note(&self, owner: PeerKey, note: NoteId) -> Result<(), MemoryError> {
        self.write(Write::ForgetNote { owner, note }).await.map(drop)
    }

    /// See [`Store::notes`].
    pub async fn notes(
        &self,
        of: &NotesOf,
        after: Option<NotePlace>,
        limit: usize,
    ) -> Result<Vec<Note>, MemoryError> {
        let of = of.clone();
        self.read(move |store| store.notes(&of, after.as_ref(), limit)).await
    }

    /// See [`Store::recall`].
    pub async fn recall(
        &self,
        owner: &PeerKey,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>, MemoryError> {
        let (owner, question) = (owner.clone(), question.to_owned());
        self.read(move |store| store.recall(&owner, &question, limit)).await
    }

    /// As [`MemoryHandle::recall`], also by meaning where that is known of the question.
    pub async fn find(
        &self,
        owner: &PeerKey,
        sought: Sought,
        limit: usize,
    ) -> Result<Vec<Recalled>, MemoryError> {
        let owner = owner.clone();
        self.read(move |store| store.find(&owner, &sought, limit)).await
    }

    /// See [`Write::UseMaker`]. Safe to repeat.
    pub async fn use_maker(&self, maker: Maker) -> Result<(), MemoryError> {
        self.write(Write::UseMaker(maker)).await.map(drop)
    }

    /// See [`Write::KeepVector`]. Safe to repeat.
    pub async fn keep_vector(&self, maker: Maker, of: Remembered, vector: Vector) -> Result<(), MemoryError> {
        self.write(Write::KeepVector { maker, of, vector }).await.map(drop)
    }

    /// See [`Store::unindexed`].
    pub async fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>, MemoryError> {
        self.read(move |store| store.unindexed(limit)).await
    }

    /// See [`Store::indexed`].
    pub async fn indexed(&self) -> Result<Indexed, MemoryError> {
        self.read(|store| store.indexed()).await
    }

    /// Waits until there was a new text in it since this answered last. For one listener.
    pub async fn grown(&self) {
        self.grown.notified().await;
    }

    /// See [`Store::pending`].
    pub async fn pending(
        &self,
        archon: &ArchonId,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, MemoryError> {
        let archon = archon.clone();
        self.read(move |store| store.pending(&archon, after, limit)).await
    }

    /// See [`Store::pending_len`].
    pub async fn pending_len(&self, archon: &ArchonId) -> Result<u64, MemoryError> {
        let archon = archon.clone();
        self.read(move |store| store.pending_len(&archon)).await
    }

    /// See [`Store::session`].
    pub async fn session(&self, key: &SessionKey) -> Result<Option<SessionSnapshot>, MemoryError> {
        let key = key.clone();
        self.read(move |store| store.session(&key)).await
    }

    /// See [`Store::turns`].
    pub async fn turns(
        &self,
        key: &SessionKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TurnRecord>, MemoryError> {
        let key = key.clone();
        self.read(move |store| store.turns(&key, from, limit)).await
    }

    /// See [`Store::sessions`].
    pub async fn sessions(
        &self,
        archon: Option<&ArchonId>,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionHead>, MemoryError> {
        let (archon, after) = (archon.cloned(), after.cloned());
        self.read(move |store| store.sessions(archon.as_ref(), after.as_ref(), limit)).await
    }

    /// See [`Store::undelivered`].
    pub async fn undelivered(
        &self,
        channel: &ChannelId,
        peer: Option<(ArchonId, PeerId)>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, MemoryError> {
        let channel = channel.clone();
        self.read(move |store| {
            let peer = peer.as_ref().map(|(archon, peer)| (archon, peer));
            store.undelivered(&channel, peer, after, limit)
        })
        .await
    }

    /// See [`Store::answer_to`].
    pub async fn answer_to(&self, inbox: InboxId) -> Result<Option<OutboxEntry>, MemoryError> {
        self.read(move |store| store.answer_to(inbox)).await
    }

    /// See [`Store::journal`].
    pub async fn journal(&self, inbox: InboxId) -> Result<Vec<JournalEntry>, MemoryError> {
        self.read(move |store| store.journal(inbox)).await
    }

    /// See [`Store::current_thread`].
    pub async fn current_thread(
        &self,
        archon: &ArchonId,
        channel: &ChannelId,
        peer: &PeerId,
    ) -> Result<ThreadId, MemoryError> {
        let (archon, channel, peer) = (archon.clone(), channel.clone(), peer.clone());
        self.read(move |store| store.current_thread(&archon, &channel, &peer)).await
    }

    async fn write(&self, write: Write) -> Result<Written, MemoryError> {
        self.link.call(WRITE_TIMEOUT, |reply| MemoryMsg::Write { write: Box::new(write), reply }).await
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, MemoryError> {
        self.link
            .call(READ_TIMEOUT, |reply| MemoryMsg::Read {
                question: Box::new(move |store| {
                    answer(reply, store.and_then(|store| ask(store).map_err(MemoryError::Store)));
                }),
            })
            .await
    }
}

/// A store that answers another question than was asked breaks its contract; the caller must not go on.
fn mismatch(written: &Written) -> MemoryError {
    MemoryError::Store(StoreError::Corrupt {
        path: "memory".to_owned(),
        detail: format!("unexpected answer {written:?}"),
    })
}

//! The store in memory: the same contract as the one on disk, held to it by the same tests, and able to fail on demand.
mod access;
mod deliveries;
mod hand_off;
mod remembered;
mod tables;

use std::ops::Bound;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{
    ArchonId, ChannelId, Cursor, Grant, InboxEntry, InboxId, Indexed, JournalEntry, Knock, MessageKey, Note,
    NotePlace, NotesOf, OutboxEntry, OutboxId, Paired, PeerId, PeerKey, Recalled, Receipt, SessionHead,
    SessionKey, SessionSnapshot, Sought, ThreadId, TurnRecord, Undeliverable, Unindexed,
};
use crate::ports::{Store, StoreError, Write, Written};
use tables::Tables;

/// A test that fails before it lets go must end all the same: its runtime waits for each commit. In real time, which is never paused.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// A store that forgets everything with its process. Clone an [`std::sync::Arc`] of it to look inside while it is used.
#[derive(Default)]
pub struct MemStore {
    tables: Mutex<Tables>,
    faults: Mutex<Faults>,
    released: Condvar,
}

#[derive(Default)]
struct Faults {
    held: bool,
    write_error: Option<StoreError>,
    read_error: Option<StoreError>,
    batches: Vec<usize>,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every commit fails with this error and writes nothing; `None` ends that.
    pub fn fail_writes(&self, error: Option<StoreError>) {
        lock(&self.faults).write_error = error;
    }

    /// From now on every question fails with this error; `None` ends that.
    pub fn fail_reads(&self, error: Option<StoreError>) {
        lock(&self.faults).read_error = error;
    }

    /// From now on commits wait, as on a disk that hangs, until [`MemStore::release`], but not for ever.
    pub fn hold(&self) {
        lock(&self.faults).held = true;
    }

    /// Lets the commits go on.
    pub fn release(&self) {
        lock(&self.faults).held = false;
        self.released.notify_all();
    }

    /// How many changes each commit so far held, commits that failed included.
    pub fn batches(&self) -> Vec<usize> {
        lock(&self.faults).batches.clone()
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        match &lock(&self.faults).read_error {
            Some(error) => Err(error.clone()),
            None => Ok(lock(&self.tables)),
        }
    }
}

impl Store for MemStore {
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        let mut faults = lock(&self.faults);
        faults.batches.push(batch.len());
        let waited = self.released.wait_timeout_while(faults, HOLD_MAX, |faults| faults.held);
        let (faults, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &faults.write_error {
            return Err(error.clone());
        }
        let mut tables = lock(&self.tables);
        Ok(batch.iter().map(|write| tables.apply(write)).collect())
    }

    fn pending(
        &self,
        archon: &ArchonId,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        let tables = self.tables()?;
        let from = match after {
            Some(id) => Bound::Excluded((archon.clone(), id)),
            None => Bound::Included((archon.clone(), InboxId(0))),
        };
        let ids = tables
            .pending
            .range((from, Bound::Unbounded))
            .take_while(|(owner, _)| owner == archon)
            .take(limit);
        Ok(ids.filter_map(|(_, id)| tables.inbox.get(id).cloned()).collect())
    }

    fn pending_len(&self, archon: &ArchonId) -> Result<u64, StoreError> {
        let tables = self.tables()?;
        let ids = tables.pending.range((archon.clone(), InboxId(0))..);
        Ok(ids.take_while(|(owner, _)| owner == archon).count() as u64)
    }

    fn session(&self, key: &SessionKey) -> Result<Option<SessionSnapshot>, StoreError> {
        let tables = self.tables()?;
        Ok(tables.sessions.get(key).map(|session| {
            let covered = session.head.turns_covered();
            let turns = session.turns.iter().filter(|turn| turn.number >= covered).cloned().collect();
            SessionSnapshot { head: session.head.clone(), turns }
        }))
    }

    fn turns(&self, key: &SessionKey, from: u64, limit: usize) -> Result<Vec<TurnRecord>, StoreError> {
        let tables = self.tables()?;
        let turns = tables.sessions.get(key).map_or(&[][..], |session| &session.turns);
        Ok(turns.iter().filter(|turn| turn.number >= from).take(limit).cloned().collect())
    }

    fn sessions(
        &self,
        archon: Option<&ArchonId>,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionHead>, StoreError> {
        let tables = self.tables()?;
        let heads = tables.sessions.values().map(|session| &session.head);
        let wanted = heads
            .filter(|head| archon.is_none_or(|archon| head.key.archon == *archon))
            .filter(|head| after.is_none_or(|after| head.key > *after));
        Ok(wanted.take(limit).cloned().collect())
    }

    fn sessions_with(&self, with: &PeerKey) -> Result<Vec<SessionHead>, StoreError> {
        let tables = self.tables()?;
        let heads = tables.sessions.values().map(|session| &session.head);
        Ok(heads.filter(|head| head.key.peer_key() == *with).cloned().collect())
    }

    fn grants(&self, with: &PeerKey) -> Result<Vec<Grant>, StoreError> {
        let tables = self.tables()?;
        let grants = tables.grants.iter().filter(|(of, _)| of == with);
        Ok(grants.map(|(_, grant)| grant.clone()).collect())
    }

    fn undelivered(
        &self,
        channel: &ChannelId,
        peer: Option<(&ArchonId, &PeerId)>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let tables = self.tables()?;
        let from = match after {
            Some(id) => Bound::Excluded((channel.clone(), id)),
            None => Bound::Included((channel.clone(), OutboxId(0))),
        };
        let ids =
            tables.undelivered.range((from, Bound::Unbounded)).take_while(|(owner, _)| owner == channel);
        let entries = ids.filter_map(|(_, id)| tables.outbox.get(id)).filter(|entry| {
            peer.is_none_or(|(archon, peer)| entry.session.archon == *archon && entry.session.peer == *peer)
        });
        Ok(entries.take(limit).cloned().collect())
    }

    fn undeliverable(
        &self,
        channel: Option<&ChannelId>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<Undeliverable>, StoreError> {
        Ok(self.tables()?.undeliverable(channel, after, limit))
    }

    fn paired(&self, with: &PeerKey) -> Result<Option<Paired>, StoreError> {
        Ok(self.tables()?.access.paired(with))
    }

    fn pairings(&self) -> Result<Vec<Paired>, StoreError> {
        Ok(self.tables()?.access.pairings())
    }

    fn knocks(&self) -> Result<Vec<Knock>, StoreError> {
        Ok(self.tables()?.access.knocks())
    }

    fn linked(&self, with: &PeerKey) -> Result<Vec<PeerKey>, StoreError> {
        Ok(crate::linking::linked(&self.tables()?.links, with))
    }

    fn receipt(&self, inbox: InboxId) -> Result<Option<Receipt>, StoreError> {
        Ok(self.tables()?.deliveries.receipts.get(&inbox).cloned())
    }

    fn cursor(&self, archon: &ArchonId, channel: &ChannelId) -> Result<Option<Cursor>, StoreError> {
        Ok(self.tables()?.deliveries.cursors.get(&(archon.clone(), channel.clone())).cloned())
    }

    fn is_accepted(&self, key: &MessageKey) -> Result<bool, StoreError> {
        Ok(self.tables()?.seen.contains_key(key))
    }

    fn answer_to(&self, inbox: InboxId) -> Result<Option<OutboxEntry>, StoreError> {
        let tables = self.tables()?;
        Ok(tables.answers.get(&inbox).and_then(|id| tables.outbox.get(id)).cloned())
    }

    fn journal(&self, inbox: InboxId) -> Result<Vec<JournalEntry>, StoreError> {
        Ok(self.tables()?.journals.get(&inbox).cloned().unwrap_or_default())
    }

    fn current_thread(
        &self,
        archon: &ArchonId,
        channel: &ChannelId,
        peer: &PeerId,
    ) -> Result<ThreadId, StoreError> {
        let (archon, channel, peer) = (archon.clone(), channel.clone(), peer.clone());
        Ok(self.tables()?.current(&PeerKey { archon, channel, peer }))
    }

    fn notes(&self, of: &NotesOf, after: Option<&NotePlace>, limit: usize) -> Result<Vec<Note>, StoreError> {
        let tables = self.tables()?;
        let wanted = tables.notes.values().filter(|note| of.covers(&note.owner));
        let later = wanted.filter(|note| after.is_none_or(|after| note.place() > *after));
        Ok(later.take(limit).cloned().collect())
    }

    fn find(&self, owner: &PeerKey, sought: &Sought, limit: usize) -> Result<Vec<Recalled>, StoreError> {
        Ok(self.tables()?.find(owner, sought, limit))
    }

    fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>, StoreError> {
        Ok(self.tables()?.unindexed(limit))
    }

    fn indexed(&self) -> Result<Indexed, StoreError> {
        Ok(self.tables()?.meanings.indexed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked with the lock held has failed already; the others may go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

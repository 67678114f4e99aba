//! The store in memory: the same contract as the one on disk, held to it by the same tests, and able to fail on demand.
mod remembered;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::command::Course;
use crate::domain::{
    Accepted, ArchonId, ChannelId, Grant, InboundMessage, InboxEntry, InboxId, Indexed, JournalEntry,
    MessageKey, Note, NoteId, NotePlace, NotesOf, OutboxEntry, OutboxId, PeerId, PeerKey, Recalled,
    SessionHead, SessionKey, SessionSnapshot, Sought, Summary, ThreadId, TurnEnd, TurnRecord, Unindexed,
};
use crate::ports::{Store, StoreError, Write, Written};
use remembered::Meanings;

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

#[derive(Default)]
struct Tables {
    inbox: BTreeMap<InboxId, InboxEntry>,
    inbox_len: u64,
    seen: HashMap<MessageKey, InboxId>,
    pending: BTreeSet<(ArchonId, InboxId)>,
    journals: BTreeMap<InboxId, Vec<JournalEntry>>,
    outbox: BTreeMap<OutboxId, OutboxEntry>,
    outbox_len: u64,
    undelivered: BTreeSet<(ChannelId, OutboxId)>,
    answers: BTreeMap<InboxId, OutboxId>,
    sessions: BTreeMap<SessionKey, Session>,
    threads: HashMap<(ArchonId, ChannelId, PeerId), ThreadId>,
    grants: BTreeSet<(PeerKey, Grant)>,
    notes: BTreeMap<(PeerKey, NoteId), Note>,
    notes_len: u64,
    meanings: Meanings,
}

#[derive(Clone)]
struct Session {
    head: SessionHead,
    turns: Vec<TurnRecord>,
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
        let of = (archon.clone(), channel.clone(), peer.clone());
        Ok(self.tables()?.threads.get(&of).cloned().unwrap_or_else(ThreadId::main))
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

impl Tables {
    fn apply(&mut self, write: &Write) -> Result<Written, StoreError> {
        match write {
            Write::Accept(message) => self.accept(message).map(Written::Accepted),
            Write::BeginAttempt { inbox } => self.begin_attempt(*inbox).map(Written::Attempt),
            Write::Journal { inbox, entries } => self.append_journal(*inbox, entries),
            Write::EndTurn(end) => self.end_turn(end).map(Written::Ended),
            Write::MarkSent { outbox } => self.mark_sent(*outbox),
            Write::SetSummary { session, summary } => self.set_summary(session, summary),
            Write::Rewind { session, turns } => self.rewind(session, *turns),
            Write::SetOptions { session, options, now_unix_ms } => {
                let session = self.session(session, *now_unix_ms);
                session.head.options = options.clone();
                session.head.updated_unix_ms = *now_unix_ms;
                Ok(Written::Done)
            }
            Write::AddGrant { with, grant } => {
                self.grants.insert((with.clone(), grant.clone()));
                Ok(Written::Done)
            }
            Write::RemoveGrant { with, grant } => {
                let removed = self.grants.remove(&(with.clone(), grant.clone()));
                if removed { Ok(Written::Done) } else { Err(missing(format!("yes to {}", grant.tool))) }
            }
            Write::RemoveSession { session } => self.remove_session(session),
            Write::KeepNote(note) => Ok(Written::Kept(self.keep_note(note))),
            Write::ForgetNote { owner, note } => self.forget_note(owner, *note),
            Write::UseMaker(maker) => {
                self.use_maker(maker);
                Ok(Written::Done)
            }
            Write::KeepVector { maker, of, vector } => {
                self.meanings.keep_vector(maker, of, vector);
                Ok(Written::Done)
            }
        }
    }

    fn accept(&mut self, message: &InboundMessage) -> Result<Accepted, StoreError> {
        if let Some(id) = self.seen.get(&message.message_key()) {
            return Ok(Accepted::Duplicate(*id));
        }
        let id = InboxId(self.inbox_len + 1);
        let session = self.resolve(message, id)?;
        self.inbox_len += 1;
        self.seen.insert(message.message_key(), id);
        self.pending.insert((message.archon.clone(), id));
        let entry = InboxEntry {
            id,
            session,
            key: message.key.clone(),
            text: message.text.clone(),
            received_unix_ms: message.received_unix_ms,
            attempts: 0,
        };
        self.inbox.insert(id, entry.clone());
        Ok(Accepted::Fresh(entry))
    }

    /// Which conversation a message belongs to; it is the peer's current one from now on.
    fn resolve(&mut self, message: &InboundMessage, id: InboxId) -> Result<SessionKey, StoreError> {
        let of = (message.archon.clone(), message.channel.clone(), message.peer.clone());
        let (archon, channel, peer) = of.clone();
        let with = PeerKey { archon, channel, peer };
        let current = || self.threads.get(&of).cloned().unwrap_or_else(ThreadId::main);
        let here = message.thread.clone().unwrap_or_else(current);
        let fresh = ThreadId::new(&format!("s{id}"))
            .map_err(|error| StoreError::NotFound { what: error.to_string() });
        let thread = match Course::of(&message.text) {
            Course::Stay => here,
            Course::Fresh => fresh?,
            Course::Branch => {
                let (from, to) = (with.session(here), with.session(fresh?));
                if let Some(mut session) = self.sessions.get(&from).cloned() {
                    session.head.key = to.clone();
                    self.meanings.copy(&from, &to, &session.turns);
                    self.sessions.insert(to.clone(), session);
                }
                to.thread
            }
            Course::Resume(thread) if self.sessions.contains_key(&with.session(thread.clone())) => thread,
            Course::Resume(_) => here,
        };
        self.threads.insert(of, thread.clone());
        Ok(with.session(thread))
    }

    fn session(&mut self, key: &SessionKey, now_unix_ms: u64) -> &mut Session {
        let fresh = || Session { head: SessionHead::new(key.clone(), now_unix_ms), turns: Vec::new() };
        self.sessions.entry(key.clone()).or_insert_with(fresh)
    }

    fn rewind(&mut self, key: &SessionKey, turns: u64) -> Result<Written, StoreError> {
        let session = self.sessions.get_mut(key);
        let session =
            session.filter(|session| (session.head.turns_covered()..=session.head.turns).contains(&turns));
        let session = session.ok_or_else(|| missing(format!("turn {turns} of session {key}")))?;
        session.turns.retain(|turn| turn.number < turns);
        session.head.turns = turns;
        self.meanings.forget_turns(key, turns);
        Ok(Written::Done)
    }

    fn begin_attempt(&mut self, inbox: InboxId) -> Result<u32, StoreError> {
        let entry = self
            .inbox
            .get_mut(&inbox)
            .filter(|entry| self.pending.contains(&(entry.session.archon.clone(), inbox)));
        let entry = entry.ok_or_else(|| missing(format!("unanswered message {inbox}")))?;
        entry.attempts += 1;
        Ok(entry.attempts)
    }

    fn append_journal(&mut self, inbox: InboxId, entries: &[JournalEntry]) -> Result<Written, StoreError> {
        if !self.inbox.contains_key(&inbox) || self.answers.contains_key(&inbox) {
            return Err(missing(format!("unanswered message {inbox}")));
        }
        self.journals.entry(inbox).or_default().extend_from_slice(entries);
        Ok(Written::Done)
    }

    fn end_turn(&mut self, end: &TurnEnd) -> Result<OutboxEntry, StoreError> {
        let first = self.answers.get(&end.inbox).and_then(|id| self.outbox.get(id));
        if let Some(first) = first {
            return Ok(first.clone());
        }
        let message =
            self.inbox.get(&end.inbox).ok_or_else(|| missing(format!("message {}", end.inbox)))?.clone();
        self.append_turn(&message.session, end);
        self.outbox_len += 1;
        let entry = OutboxEntry {
            id: OutboxId(self.outbox_len),
            answers: end.inbox,
            key: message.key,
            session: message.session,
            kind: end.answer.kind,
            text: end.answer.text.clone(),
            attachments: end.attachments(),
            created_unix_ms: end.ended_unix_ms,
        };
        self.pending.remove(&(entry.session.archon.clone(), end.inbox));
        self.outbox.insert(entry.id, entry.clone());
        self.undelivered.insert((entry.session.channel.clone(), entry.id));
        self.journals.remove(&end.inbox);
        self.answers.insert(end.inbox, entry.id);
        Ok(entry)
    }

    fn append_turn(&mut self, key: &SessionKey, end: &TurnEnd) {
        let Some(turn) = &end.turn else { return };
        let session = self.session(key, end.ended_unix_ms);
        let number = session.head.next_number(turn);
        session.turns.retain(|kept| kept.number < number);
        let turn = TurnRecord {
            number,
            inbox: end.inbox,
            user: turn.user.clone(),
            answer: turn.answer.clone(),
            stopped: turn.stopped,
            model: turn.model.clone(),
            steps: turn.steps.clone(),
            usage: turn.usage,
            ended_unix_ms: end.ended_unix_ms,
        };
        session.turns.push(turn.clone());
        session.head.turns = number + 1;
        session.head.updated_unix_ms = end.ended_unix_ms;
        session.head.options.model_once = None;
        self.meanings.await_turn(key, &turn);
    }

    fn mark_sent(&mut self, outbox: OutboxId) -> Result<Written, StoreError> {
        let entry = self.outbox.get(&outbox).ok_or_else(|| missing(format!("answer {outbox}")))?;
        self.undelivered.remove(&(entry.session.channel.clone(), outbox));
        Ok(Written::Done)
    }

    fn set_summary(&mut self, key: &SessionKey, summary: &Summary) -> Result<Written, StoreError> {
        let head = &mut self.sessions.get_mut(key).ok_or_else(|| missing(format!("session {key}")))?.head;
        if summary.turns > head.turns {
            return Err(missing(format!("turn {} of session {key}", summary.turns - 1)));
        }
        if head.summary.as_ref().is_none_or(|present| present.turns <= summary.turns) {
            head.summary = Some(summary.clone());
        }
        Ok(Written::Done)
    }

    fn remove_session(&mut self, key: &SessionKey) -> Result<Written, StoreError> {
        let delivered: Vec<_> = self
            .outbox
            .values()
            .filter(|entry| entry.session == *key)
            .filter(|entry| !self.undelivered.contains(&(key.channel.clone(), entry.id)))
            .map(|entry| (entry.id, entry.answers))
            .collect();
        let known =
            self.sessions.remove(key).is_some() || self.inbox.values().any(|entry| entry.session == *key);
        if !known {
            return Err(missing(format!("session {key}")));
        }
        self.meanings.forget_turns(key, 0);
        let waiting = self.inbox.values().filter(|entry| entry.session == *key);
        for entry in waiting {
            self.journals.remove(&entry.id);
        }
        for (outbox, inbox) in delivered {
            self.outbox.remove(&outbox);
            self.answers.remove(&inbox);
            self.inbox.remove(&inbox);
        }
        Ok(Written::Done)
    }
}

fn missing(what: String) -> StoreError {
    StoreError::NotFound { what }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked with the lock held has failed already; the others may go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

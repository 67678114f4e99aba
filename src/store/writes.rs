//! Changes of the store, all in one write transaction. Each change reads all it needs before it writes anything,
//! so that one that is refused leaves no trace and the others stand.
use std::ops::RangeInclusive;

use archond_actors::domain::{
    Accepted, AnswerKind, Aside, InboundMessage, InboxEntry, InboxId, JournalEntry, NewAnswer, OutboxEntry,
    OutboxId, SessionKey, TurnEnd,
};
use archond_actors::ports::{Write, Written};
use redb::{ReadableTable, Table, WriteTransaction};

use super::Retention;
use super::answer_records;
use super::fault::Fault;
use super::reads::outbox_entry;
use super::records::{self, RecordError, cols};
use super::session_writes::NextTurn;
use super::tables::{self, NoteCols, SessionCols, SessionNumberCols};
use super::tool_records;

/// Old keys that one new message may push out: two, so that a backlog shrinks, and no message pays for all of it.
const FORGOTTEN_PER_MESSAGE: usize = 2;

pub(super) type Bytes = &'static [u8];
pub(super) type Text = &'static str;

/// The tables of one write transaction.
pub(super) struct Writer<'txn> {
    pub(super) meta: Table<'txn, Text, u64>,
    pub(super) inbox: Table<'txn, u64, Bytes>,
    pub(super) seen: Table<'txn, (Text, Text), u64>,
    pub(super) seen_order: Table<'txn, u64, (Text, Text, u64)>,
    pub(super) pending: Table<'txn, (Text, u64), ()>,
    pub(super) pending_len: Table<'txn, Text, u64>,
    pub(super) journal: Table<'txn, (u64, u64), Bytes>,
    pub(super) outbox: Table<'txn, u64, Bytes>,
    pub(super) undelivered: Table<'txn, (Text, u64), ()>,
    pub(super) undelivered_to: Table<'txn, (Text, Text, Text, u64), ()>,
    pub(super) given_up: Table<'txn, u64, Bytes>,
    pub(super) receipts: Table<'txn, u64, Text>,
    pub(super) paired: Table<'txn, (Text, Text, Text), Bytes>,
    pub(super) knocks: Table<'txn, (Text, Text, Text), Bytes>,
    pub(super) links: Table<'txn, (Text, Text, Text), Bytes>,
    pub(super) cursors: Table<'txn, (Text, Text), (Text, u64)>,
    pub(super) answer: Table<'txn, u64, u64>,
    pub(super) sessions: Table<'txn, SessionCols<'static>, Bytes>,
    pub(super) turns: Table<'txn, SessionNumberCols<'static>, Bytes>,
    pub(super) messages: Table<'txn, SessionNumberCols<'static>, ()>,
    pub(super) threads: Table<'txn, (Text, Text, Text), Text>,
    pub(super) grants: Table<'txn, (Text, Text, Text, Bytes), ()>,
    pub(super) notes: Table<'txn, NoteCols<'static>, Bytes>,
    pub(super) terms: Table<'txn, SessionNumberCols<'static>, Bytes>,
    pub(super) vectors: Table<'txn, SessionNumberCols<'static>, Bytes>,
    pub(super) without_vector: Table<'txn, SessionNumberCols<'static>, u64>,
    pub(super) maker: Table<'txn, u64, Bytes>,
    pub(super) last_note: u64,
    pub(super) last_inbox: u64,
    pub(super) last_outbox: u64,
    pub(super) changed: bool,
    pub(super) retention: Retention,
}

impl<'txn> Writer<'txn> {
    /// Opens every table; those that do not exist yet are made.
    pub(super) fn open(txn: &'txn WriteTransaction, retention: Retention) -> Result<Self, Fault> {
        let meta = txn.open_table(tables::META)?;
        let last = |name| Ok::<_, Fault>(meta.get(name)?.map_or(0, |last| last.value()));
        let (last_inbox, last_outbox) = (last(tables::META_INBOX)?, last(tables::META_OUTBOX)?);
        let last_note = last(tables::META_NOTE)?;
        Ok(Self {
            meta,
            inbox: txn.open_table(tables::INBOX)?,
            seen: txn.open_table(tables::SEEN)?,
            seen_order: txn.open_table(tables::SEEN_ORDER)?,
            pending: txn.open_table(tables::PENDING)?,
            pending_len: txn.open_table(tables::PENDING_LEN)?,
            journal: txn.open_table(tables::JOURNAL)?,
            outbox: txn.open_table(tables::OUTBOX)?,
            undelivered: txn.open_table(tables::UNDELIVERED)?,
            undelivered_to: txn.open_table(tables::UNDELIVERED_TO)?,
            given_up: txn.open_table(tables::GIVEN_UP)?,
            receipts: txn.open_table(tables::RECEIPTS)?,
            paired: txn.open_table(tables::PAIRED)?,
            knocks: txn.open_table(tables::KNOCKS)?,
            links: txn.open_table(tables::LINKS)?,
            cursors: txn.open_table(tables::CURSORS)?,
            answer: txn.open_table(tables::ANSWER)?,
            sessions: txn.open_table(tables::SESSIONS)?,
            turns: txn.open_table(tables::TURNS)?,
            messages: txn.open_table(tables::MESSAGES)?,
            threads: txn.open_table(tables::THREADS)?,
            grants: txn.open_table(tables::GRANTS)?,
            notes: txn.open_table(tables::NOTES)?,
            terms: txn.open_table(tables::TERMS)?,
            vectors: txn.open_table(tables::VECTORS)?,
            without_vector: txn.open_table(tables::WITHOUT_VECTOR)?,
            maker: txn.open_table(tables::MAKER)?,
            last_inbox,
            last_outbox,
            last_note,
            changed: false,
            retention,
        })
    }

    /// Makes this a store of the present layout: an empty file, or a store of an older layout, whose missing tables are made by [`Writer::open`].
    pub(super) fn set_layout(&mut self) -> Result<(), Fault> {
        self.changed = true;
        self.find_all_terms()?;
        self.await_all_vectors()?;
        self.meta.insert(tables::META_SCHEMA, tables::SCHEMA)?;
        Ok(())
    }

    /// Makes one change.
    pub(super) fn apply(&mut self, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::Accept(message) => self.accept(message).map(Written::Accepted),
            Write::BeginAttempt { inbox } => self.begin_attempt(*inbox).map(Written::Attempt),
            Write::Journal { inbox, entries } => self.append_journal(*inbox, entries).map(|()| Written::Done),
            Write::EndTurn(end) => self.end_turn(end).map(|(answer, beside)| Written::Ended(answer, beside)),
            Write::MarkSent { outbox } => self.mark_sent(*outbox).map(|()| Written::Done),
            Write::KeepReceipt { inbox, receipt } => {
                self.keep_receipt(*inbox, receipt).map(|()| Written::Done)
            }
            Write::GiveUp { outbox, reason, now_unix_ms } => {
                self.give_up(*outbox, reason, *now_unix_ms).map(|()| Written::Done)
            }
            Write::DeliverAgain { outbox } => self.deliver_again(*outbox).map(|()| Written::Done),
            Write::OfferCode { with, code, now_unix_ms } => {
                self.offer_code(with, *code, *now_unix_ms).map(Written::Offered)
            }
            Write::ApproveCode { code, tier, now_unix_ms } => {
                self.approve_code(*code, *tier, *now_unix_ms).map(Written::Approved)
            }
            Write::Unpair { with } => self.unpair(with).map(|()| Written::Done),
            Write::Link { with, change, now_unix_ms } => {
                self.link(with, *change, *now_unix_ms).map(Written::Linked)
            }
            Write::MoveCursor { archon, channel, cursor } => {
                self.move_cursor(archon, channel, cursor).map(|()| Written::Done)
            }
            Write::SetSummary { session, summary } => {
                self.set_summary(session, summary).map(|()| Written::Done)
            }
            Write::Rewind { session, turns } => self.rewind(session, *turns).map(|()| Written::Done),
            Write::SetOptions { session, options, now_unix_ms } => {
                self.set_options(session, options, *now_unix_ms).map(|()| Written::Done)
            }
            Write::AddGrant { with, grant } => self.add_grant(with, grant).map(|()| Written::Done),
            Write::RemoveGrant { with, grant } => self.remove_grant(with, grant).map(|()| Written::Done),
            Write::HandOff(off) => self.hand_off(off),
            Write::RemoveSession { session } => self.remove_session(session).map(|()| Written::Done),
            Write::KeepNote(note) => self.keep_note(note).map(Written::Kept),
            Write::ForgetNote { owner, note } => self.forget_note(owner, *note).map(|()| Written::Done),
            Write::UseMaker(maker) => self.use_maker(maker).map(|()| Written::Done),
            Write::KeepVector { maker, of, vector } => {
                self.keep_vector(maker, of, vector).map(|()| Written::Done)
            }
        }
    }

    /// Whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool, Fault> {
        if self.changed {
            self.meta.insert(tables::META_INBOX, self.last_inbox)?;
            self.meta.insert(tables::META_OUTBOX, self.last_outbox)?;
            self.meta.insert(tables::META_NOTE, self.last_note)?;
        }
        Ok(self.changed)
    }

    fn accept(&mut self, message: &InboundMessage) -> Result<Accepted, Fault> {
        let (archon, channel, peer) =
            (message.archon.as_str(), message.channel.as_str(), message.peer.as_str());
        if let Some(id) = self.seen.get((channel, message.key.as_str()))? {
            return Ok(Accepted::Duplicate(InboxId(id.value())));
        }
        let id = InboxId(self.last_inbox + 1);
        let place = self.place(message, id)?;
        let session = place.session.clone();
        let waiting = self.pending_len.get(archon)?.map_or(0, |len| len.value());
        let entry = InboxEntry {
            id,
            session,
            key: message.key.clone(),
            text: message.text.clone(),
            received_unix_ms: message.received_unix_ms,
            attempts: 0,
            waybill: message.waybill.clone(),
        };
        let record = records::write_inbox(&entry).map_err(|e| Fault::record("inbox", id, &e))?;

        self.changed = true;
        self.last_inbox = id.0;
        self.inbox.insert(id.0, record.as_slice())?;
        self.seen.insert((channel, message.key.as_str()), id.0)?;
        self.seen_order.insert(id.0, (channel, message.key.as_str(), message.received_unix_ms))?;
        self.pending.insert((archon, id.0), ())?;
        self.pending_len.insert(archon, waiting + 1)?;
        self.begin_branch(place)?;
        self.messages.insert(numbered(&entry.session, id.0), ())?;
        self.threads.insert((archon, channel, peer), entry.session.thread.as_str())?;
        self.forget_old_keys(message.received_unix_ms)?;
        Ok(Accepted::Fresh(entry))
    }

    /// Keys that no platform will send again need not be known for ever.
    fn forget_old_keys(&mut self, now_unix_ms: u64) -> Result<(), Fault> {
        for _ in 0..FORGOTTEN_PER_MESSAGE {
            let oldest = {
                let Some((id, row)) = self.seen_order.first()? else { return Ok(()) };
                let (channel, key, received_unix_ms) = row.value();
                let recent = self.last_inbox.saturating_sub(id.value()) < self.retention.keys_min
                    || now_unix_ms.saturating_sub(received_unix_ms) < self.retention.key_age_min_ms;
                if recent {
                    return Ok(());
                }
                self.seen.remove((channel, key))?;
                id.value()
            };
            self.seen_order.remove(oldest)?;
        }
        Ok(())
    }

    fn begin_attempt(&mut self, inbox: InboxId) -> Result<u32, Fault> {
        let mut entry = self.inbox_entry(inbox, "unanswered message")?;
        if self.pending.get((entry.session.archon.as_str(), inbox.0))?.is_none() {
            return Err(Fault::not_found("unanswered message", inbox));
        }
        entry.attempts = entry.attempts.saturating_add(1);
        let record = records::write_inbox(&entry).map_err(|e| Fault::record("inbox", inbox, &e))?;
        self.changed = true;
        self.inbox.insert(inbox.0, record.as_slice())?;
        Ok(entry.attempts)
    }

    fn append_journal(&mut self, inbox: InboxId, entries: &[JournalEntry]) -> Result<(), Fault> {
        if self.inbox.get(inbox.0)?.is_none() || self.answer.get(inbox.0)?.is_some() {
            return Err(Fault::not_found("unanswered message", inbox));
        }
        let unwritable = |e: RecordError| Fault::record("journal", inbox, &e);
        let records = entries.iter().map(tool_records::write_journal);
        let records = records.collect::<Result<Vec<_>, _>>().map_err(unwritable)?;
        let last = self.journal.range(journal_of(inbox.0))?.next_back().transpose()?;
        let next = last.map_or(0, |(at, _)| at.value().1 + 1);
        for (number, record) in (next..).zip(records) {
            self.changed = true;
            self.journal.insert((inbox.0, number), record.as_slice())?;
        }
        Ok(())
    }

    pub(super) fn end_turn(&mut self, end: &TurnEnd) -> Result<(OutboxEntry, Vec<OutboxEntry>), Fault> {
        if let Some(first) = self.answer.get(end.inbox.0)?.map(|id| id.value()) {
            return Ok((outbox_entry(&self.outbox, first)?, Vec::new()));
        }
        let message = self.inbox_entry(end.inbox, "message")?;
        let session = message.session.clone();
        let turn = self.next_turn(&session, end)?;
        let mut answers = vec![(message, end.answer.clone(), end.attachments())];
        for inbox in end.taken_in() {
            let known = self.inbox.get(inbox.0)?.is_some() && self.answer.get(inbox.0)?.is_none();
            let is_new = answers.iter().all(|(message, ..)| message.id != inbox);
            if known && is_new {
                let aside = self.inbox_entry(inbox, "message")?;
                let said = NewAnswer { kind: AnswerKind::Notice, text: Aside::ANSWER.to_owned() };
                answers.extend((aside.session == session).then_some((aside, said, Vec::new())));
            }
        }
        let mut entries = Vec::with_capacity(answers.len());
        for (id, (message, said, attachments)) in (self.last_outbox + 1..).zip(answers) {
            let entry = OutboxEntry {
                id: OutboxId(id),
                answers: message.id,
                key: message.key,
                session: message.session,
                kind: said.kind,
                text: said.text,
                attachments,
                created_unix_ms: end.ended_unix_ms,
                reply_to: message.waybill.reply_to,
            };
            let record = answer_records::write_outbox(&entry);
            entries.push((record.map_err(|e| Fault::record("outbox", entry.id, &e))?, entry));
        }

        self.changed = true;
        if let Some(NextTurn { number, head, turn, terms }) = turn {
            self.sessions.insert(cols(&session), head.as_slice())?;
            self.turns.insert(numbered(&session, number), turn.as_slice())?;
            self.terms.insert(numbered(&session, number), terms.as_slice())?;
            self.await_vector(&session, number, end.inbox.0)?;
        }
        for (record, entry) in &entries {
            self.keep_answer(record, entry)?;
        }
        let mut entries = entries.into_iter().map(|(_, entry)| entry);
        let answer = entries.next().ok_or_else(|| Fault::not_found("message", end.inbox))?;
        Ok((answer, entries.collect()))
    }

    /// An answer goes out, and its message waits no more.
    fn keep_answer(&mut self, record: &[u8], entry: &OutboxEntry) -> Result<(), Fault> {
        let (inbox, session) = (entry.answers.0, &entry.session);
        let (archon, channel, peer) =
            (session.archon.as_str(), session.channel.as_str(), session.peer.as_str());
        let waiting = self.pending_len.get(archon)?.map_or(0, |len| len.value());
        if self.pending.remove((archon, inbox))?.is_some() {
            self.pending_len.insert(archon, waiting.saturating_sub(1))?;
        }
        self.last_outbox = entry.id.0;
        self.outbox.insert(entry.id.0, record)?;
        self.undelivered.insert((channel, entry.id.0), ())?;
        self.undelivered_to.insert((channel, archon, peer, entry.id.0), ())?;
        self.journal.retain_in(journal_of(inbox), |_, _| false)?;
        self.answer.insert(inbox, entry.id.0)?;
        Ok(())
    }

    fn mark_sent(&mut self, outbox: OutboxId) -> Result<(), Fault> {
        if self.outbox.get(outbox.0)?.is_none() {
            return Err(Fault::not_found("answer", outbox));
        }
        let entry = outbox_entry(&self.outbox, outbox.0)?;
        if self.owe_no_more(&entry)? {
            self.receipts.remove(entry.answers.0)?;
        }
        Ok(())
    }

    pub(super) fn inbox_entry(&self, id: InboxId, what: &str) -> Result<InboxEntry, Fault> {
        let record = self.inbox.get(id.0)?.ok_or_else(|| Fault::not_found(what, id))?;
        records::read_inbox(id, record.value()).map_err(|e| Fault::record("inbox", id, &e))
    }
}

/// Where the journal of a message's turn lies.
pub(super) fn journal_of(inbox: u64) -> RangeInclusive<(u64, u64)> {
    (inbox, 0)..=(inbox, u64::MAX)
}

/// The columns of a row that belongs to a session.
pub(super) fn numbered(session: &SessionKey, number: u64) -> SessionNumberCols<'_> {
    let (archon, channel, peer, thread) = cols(session);
    (archon, channel, peer, thread, number)
}

//! What the store in memory holds, and how each change changes it.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::access::Access;
use super::deliveries::Deliveries;
use super::remembered::Meanings;
use crate::command::Course;
use crate::domain::{
    Accepted, AnswerKind, ArchonId, Aside, Attachment, ChannelId, Grant, InboundMessage, InboxEntry, InboxId,
    JournalEntry, MessageKey, NewAnswer, Note, NoteId, OutboxEntry, OutboxId, PeerKey, SessionHead,
    SessionKey, Summary, ThreadId, TurnEnd, TurnRecord,
};
use crate::linking::{self, LinkStates};
use crate::ports::{StoreError, Write, Written};

#[derive(Default)]
pub(super) struct Tables {
    pub(super) inbox: BTreeMap<InboxId, InboxEntry>,
    pub(super) inbox_len: u64,
    /// To which conversation each message belongs, wherever it came from.
    pub(super) belongs: BTreeMap<InboxId, SessionKey>,
    pub(super) seen: HashMap<MessageKey, InboxId>,
    pub(super) pending: BTreeSet<(ArchonId, InboxId)>,
    pub(super) journals: BTreeMap<InboxId, Vec<JournalEntry>>,
    pub(super) outbox: BTreeMap<OutboxId, OutboxEntry>,
    pub(super) outbox_len: u64,
    pub(super) undelivered: BTreeSet<(ChannelId, OutboxId)>,
    pub(super) answers: BTreeMap<InboxId, OutboxId>,
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    pub(super) threads: HashMap<PeerKey, ThreadId>,
    pub(super) grants: BTreeSet<(PeerKey, Grant)>,
    pub(super) notes: BTreeMap<(PeerKey, NoteId), Note>,
    pub(super) notes_len: u64,
    pub(super) deliveries: Deliveries,
    pub(super) access: Access,
    pub(super) links: LinkStates,
    pub(super) meanings: Meanings,
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) head: SessionHead,
    pub(super) turns: Vec<TurnRecord>,
}

impl Tables {
    /// Makes one change.
    pub(super) fn apply(&mut self, write: &Write) -> Result<Written, StoreError> {
        match write {
            Write::Accept(message) => self.accept(message).map(Written::Accepted),
            Write::BeginAttempt { inbox } => self.begin_attempt(*inbox).map(Written::Attempt),
            Write::Journal { inbox, entries } => self.append_journal(*inbox, entries),
            Write::EndTurn(end) => self.end_turn(end).map(|(answer, beside)| Written::Ended(answer, beside)),
            Write::MarkSent { outbox } => self.mark_sent(*outbox),
            Write::KeepReceipt { inbox, receipt } => self.keep_receipt(*inbox, receipt),
            Write::GiveUp { outbox, reason, now_unix_ms } => self.give_up(*outbox, reason, *now_unix_ms),
            Write::DeliverAgain { outbox } => self.deliver_again(*outbox),
            Write::OfferCode { with, code, now_unix_ms } => {
                Ok(Written::Offered(self.access.offer(with, *code, *now_unix_ms)))
            }
            Write::ApproveCode { code, tier, now_unix_ms } => {
                Ok(Written::Approved(self.access.approve(*code, *tier, *now_unix_ms)))
            }
            Write::Unpair { with } => {
                let unpaired = self.access.unpair(with)?;
                linking::unlink(&mut self.links, with);
                Ok(unpaired)
            }
            Write::Link { with, change, now_unix_ms } => {
                Ok(Written::Linked(linking::apply(&mut self.links, with, *change, *now_unix_ms)))
            }
            Write::MoveCursor { archon, channel, cursor } => {
                self.deliveries.cursors.insert((archon.clone(), channel.clone()), cursor.clone());
                Ok(Written::Done)
            }
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
            Write::HandOff(off) => self.hand_off(off),
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
            waybill: message.waybill.clone(),
        };
        self.belongs.insert(id, entry.session.clone());
        self.inbox.insert(id, entry.clone());
        Ok(Accepted::Fresh(entry))
    }

    /// Which conversation a message belongs to; it is the peer's current one from now on.
    fn resolve(&mut self, message: &InboundMessage, id: InboxId) -> Result<SessionKey, StoreError> {
        let (archon, channel, peer) = (message.archon.clone(), message.channel.clone(), message.peer.clone());
        let with = PeerKey { archon, channel, peer };
        let here = message.thread.clone().unwrap_or_else(|| self.current(&with));
        let fresh = ThreadId::new(&format!("s{id}"))
            .map_err(|error| StoreError::NotFound { what: error.to_string() });
        let thread = match Course::of(&message.text) {
            Course::Stay => here,
            Course::Fresh => fresh?,
            Course::Branch => {
                let (from, to) = (with.session(here), with.session(fresh?));
                if let Some(session) = self.sessions.get(&from).cloned() {
                    self.lay(&from, &to, session);
                }
                to.thread
            }
            Course::Resume(thread) if self.sessions.contains_key(&with.session(thread.clone())) => thread,
            Course::Resume(_) => here,
        };
        let session = with.session(thread);
        self.go_to(&session);
        Ok(session)
    }

    /// Lays a conversation with all that it is found by into another session, in place of what is there.
    pub(super) fn lay(&mut self, from: &SessionKey, to: &SessionKey, mut session: Session) {
        session.head.key = to.clone();
        self.meanings.forget_turns(to, 0);
        self.meanings.copy(from, to, &session.turns);
        self.sessions.insert(to.clone(), session);
    }

    /// The thread that a peer is in.
    pub(super) fn current(&self, with: &PeerKey) -> ThreadId {
        self.threads.get(with).cloned().unwrap_or_else(ThreadId::main)
    }

    /// This session is its peer's current one.
    pub(super) fn go_to(&mut self, session: &SessionKey) {
        self.threads.insert(session.peer_key(), session.thread.clone());
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

    pub(super) fn end_turn(&mut self, end: &TurnEnd) -> Result<(OutboxEntry, Vec<OutboxEntry>), StoreError> {
        let first = self.answers.get(&end.inbox).and_then(|id| self.outbox.get(id));
        if let Some(first) = first {
            return Ok((first.clone(), Vec::new()));
        }
        let message =
            self.inbox.get(&end.inbox).ok_or_else(|| missing(format!("message {}", end.inbox)))?.clone();
        self.append_turn(&message.session, end);
        let session = message.session.clone();
        let answer = self.answer(message, end.answer.clone(), end.attachments(), end.ended_unix_ms);
        let mut beside = Vec::new();
        for inbox in end.taken_in() {
            let aside = self.inbox.get(&inbox).filter(|_| !self.answers.contains_key(&inbox));
            if let Some(aside) = aside.filter(|aside| aside.session == session).cloned() {
                let text = Aside::ANSWER.to_owned();
                let said = NewAnswer { kind: AnswerKind::Notice, text };
                beside.push(self.answer(aside, said, Vec::new(), end.ended_unix_ms));
            }
        }
        Ok((answer, beside))
    }

    fn answer(
        &mut self,
        message: InboxEntry,
        said: NewAnswer,
        attachments: Vec<Attachment>,
        now_unix_ms: u64,
    ) -> OutboxEntry {
        self.outbox_len += 1;
        let entry = OutboxEntry {
            id: OutboxId(self.outbox_len),
            answers: message.id,
            key: message.key,
            session: message.session,
            kind: said.kind,
            text: said.text,
            attachments,
            created_unix_ms: now_unix_ms,
            reply_to: message.waybill.reply_to,
        };
        self.pending.remove(&(entry.session.archon.clone(), entry.answers));
        self.outbox.insert(entry.id, entry.clone());
        self.undelivered.insert((entry.session.channel.clone(), entry.id));
        self.journals.remove(&entry.answers);
        self.answers.insert(entry.answers, entry.id);
        entry
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
            asides: turn.asides.clone(),
            brought: turn.brought.clone(),
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
        if self.undelivered.remove(&(entry.session.channel.clone(), outbox)) {
            self.deliveries.receipts.remove(&entry.answers);
        }
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
        let own: Vec<InboxId> =
            self.belongs.iter().filter(|(_, session)| *session == key).map(|(inbox, _)| *inbox).collect();
        if self.sessions.remove(key).is_none() && own.is_empty() {
            return Err(missing(format!("session {key}")));
        }
        self.meanings.forget_turns(key, 0);
        for inbox in own {
            self.journals.remove(&inbox);
            let answer = self.answers.get(&inbox).and_then(|outbox| self.outbox.get(outbox));
            let is_owed =
                |entry: &&OutboxEntry| self.undelivered.contains(&(entry.session.channel.clone(), entry.id));
            let Some(outbox) = answer.filter(|entry| !is_owed(entry)).map(|entry| entry.id) else { continue };
            self.outbox.remove(&outbox);
            self.deliveries.forget(inbox, outbox);
            self.answers.remove(&inbox);
            self.inbox.remove(&inbox);
            self.belongs.remove(&inbox);
        }
        Ok(Written::Done)
    }
}

pub(super) fn missing(what: String) -> StoreError {
    StoreError::NotFound { what }
}

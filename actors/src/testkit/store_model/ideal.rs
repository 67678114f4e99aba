//! A store as its port promises it: lists of what was said and answered, in order. Every question looks through them all.
use std::collections::{BTreeMap, BTreeSet};

use super::bonds::Bonds;
use super::doors::Doors;
use super::meanings::Meanings;
use super::question::{Question, Reply};
use crate::domain::{
    Accepted, AnswerKind, ArchonId, Aside, ChannelId, Cursor, Grant, InboundMessage, InboxEntry, InboxId,
    JournalEntry, Kept, NOTES_MAX, NewAnswer, NewNote, Note, NoteId, OutboxEntry, OutboxId, PeerId, PeerKey,
    Recalled, Receipt, SessionHead, SessionKey, SessionOptions, SessionSnapshot, Summary, ThreadId, TurnEnd,
    TurnRecord, Vector,
};
use crate::ports::{Write, Written};
use crate::recall::{Query, Terms};

/// A message that was accepted. Its number is its place in the list, from 1.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) entry: InboxEntry,
    /// The conversation that it belongs to, wherever that is now.
    pub(super) of: SessionKey,
    /// Which answer it got.
    pub(super) answered: Option<OutboxId>,
    /// What was written of its turn, while that runs.
    journal: Vec<JournalEntry>,
    /// How far the delivery of its answer is.
    pub(super) receipt: Option<Receipt>,
    /// Its session was removed after its answer was delivered: only its key is still known.
    pub(super) forgotten: bool,
}

/// An answer that was given. Its number is its place in the list, from 1.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) entry: OutboxEntry,
    /// Delivered or given up: it is owed no more.
    pub(super) sent: bool,
    /// Why and when it was given up.
    pub(super) given_up: Option<(String, u64)>,
    pub(super) forgotten: bool,
}

/// A conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Talk {
    pub(super) turns: Vec<TurnRecord>,
    /// By the turns' numbers.
    pub(super) vectors: BTreeMap<u64, Vector>,
    summary: Option<Summary>,
    options: SessionOptions,
    /// When something was first and last kept of it.
    kept: Option<(u64, u64)>,
}

impl Talk {
    /// `None`: it covers more turns than there are.
    fn summarise(&mut self, summary: &Summary) -> Option<Written> {
        let covered = self.summary.as_ref().map_or(0, |present| present.turns);
        if summary.turns > self.turns.len() as u64 {
            return None;
        }
        if summary.turns >= covered {
            self.summary = Some(summary.clone());
        }
        Some(Written::Done)
    }

    fn touch(&mut self, now: u64) {
        let first = self.kept.map_or(now, |(first, _)| first);
        self.kept = Some((first, now));
    }

    fn covered(&self) -> usize {
        self.summary.as_ref().map_or(0, |summary| usize::try_from(summary.turns).unwrap_or(usize::MAX))
    }
}

/// The whole store.
#[derive(Debug, Clone, Default)]
pub struct Ideal {
    pub(super) said: Vec<Said>,
    pub(super) given: Vec<Given>,
    pub(super) talks: BTreeMap<SessionKey, Talk>,
    pub(super) meanings: Meanings,
    /// Each session that a peer went to, in order.
    pub(super) walked: Vec<SessionKey>,
    grants: BTreeSet<(PeerKey, Grant)>,
    pub(super) cursors: BTreeMap<(ArchonId, ChannelId), Cursor>,
    pub(super) doors: Doors,
    pub(super) bonds: Bonds,
    /// Every note ever kept, with whether it is forgotten. Its number is its place in the list, from 1.
    notes: Vec<(Note, bool)>,
    /// What the changes of the last step answer; `None` for one that is refused because its subject does not exist.
    pub(super) written: Vec<Option<Written>>,
}

/// The changes.
impl Ideal {
    /// Makes them in order.
    pub(super) fn commit(&mut self, batch: &[Write]) {
        self.written = batch.iter().map(|write| self.apply(write)).collect();
    }

    fn apply(&mut self, write: &Write) -> Option<Written> {
        match write {
            Write::Accept(message) => Some(Written::Accepted(self.accept(message))),
            Write::BeginAttempt { inbox } => {
                let said = self.said_mut(*inbox).filter(|said| said.answered.is_none())?;
                said.entry.attempts += 1;
                Some(Written::Attempt(said.entry.attempts))
            }
            Write::Journal { inbox, entries } => {
                let said = self.said_mut(*inbox).filter(|said| said.answered.is_none())?;
                said.journal.extend(entries.iter().cloned());
                Some(Written::Done)
            }
            Write::EndTurn(end) => self.end_turns(end),
            Write::MarkSent { .. } | Write::GiveUp { .. } | Write::DeliverAgain { .. } => self.deliver(write),
            Write::KeepReceipt { inbox, receipt } => self.keep_receipt(*inbox, receipt),
            Write::Unpair { with } => {
                let unpaired = self.doors.apply(write)?;
                self.bonds.part(with);
                Some(unpaired)
            }
            Write::OfferCode { .. } | Write::ApproveCode { .. } => self.doors.apply(write),
            Write::Link { with, change, now_unix_ms } => {
                Some(Written::Linked(self.bonds.apply(with, *change, *now_unix_ms)))
            }
            Write::MoveCursor { archon, channel, cursor } => {
                self.cursors.insert((archon.clone(), channel.clone()), cursor.clone());
                Some(Written::Done)
            }
            Write::SetSummary { session, summary } => self.talks.get_mut(session)?.summarise(summary),
            Write::Rewind { session, turns } => self.rewind(session, *turns),
            Write::SetOptions { session, options, now_unix_ms } => {
                let talk = self.talks.entry(session.clone()).or_default();
                talk.options = options.clone();
                talk.touch(*now_unix_ms);
                Some(Written::Done)
            }
            Write::AddGrant { with, grant } => {
                self.grants.insert((with.clone(), grant.clone()));
                Some(Written::Done)
            }
            Write::RemoveGrant { with, grant } => {
                self.grants.remove(&(with.clone(), grant.clone())).then_some(Written::Done)
            }
            Write::HandOff(off) => self.hand_off(off),
            Write::RemoveSession { session } => self.remove_session(session).then_some(Written::Done),
            Write::KeepNote(note) => Some(Written::Kept(self.keep_note(note))),
            Write::ForgetNote { owner, note } => {
                let known = |(kept, forgotten): &&mut (Note, bool)| {
                    !*forgotten && kept.id == *note && kept.owner == *owner
                };
                self.notes.iter_mut().find(known)?.1 = true;
                Some(Written::Done)
            }
            Write::UseMaker(maker) => {
                self.use_maker(maker);
                Some(Written::Done)
            }
            Write::KeepVector { maker, of, vector } => {
                self.keep_vector(maker, of, vector);
                Some(Written::Done)
            }
        }
    }

    fn accept(&mut self, message: &InboundMessage) -> Accepted {
        let repeated = |said: &&Said| said.entry.message_key() == message.message_key();
        if let Some(first) = self.said.iter().find(repeated) {
            return Accepted::Duplicate(first.entry.id);
        }
        let id = InboxId(self.said_len() + 1);
        let (archon, channel, peer) = (message.archon.clone(), message.channel.clone(), message.peer.clone());
        let with = PeerKey { archon, channel, peer };
        let current = || self.current_thread(&with.archon, &with.channel, &with.peer);
        let here = message.thread.clone().unwrap_or_else(current);
        let fresh = format!("s{id}").parse().unwrap_or_else(|_| here.clone());
        let thread = match message.text.as_str() {
            "/new" => fresh,
            "/branch" => {
                if let Some(talk) = self.talks.get(&with.session(here)).cloned() {
                    self.talks.insert(with.session(fresh.clone()), talk);
                }
                fresh
            }
            "/resume s2" => {
                let wanted = "s2".parse().unwrap_or_else(|_| here.clone());
                if self.talks.contains_key(&with.session(wanted.clone())) { wanted } else { here }
            }
            _ => here,
        };
        let entry = InboxEntry {
            id,
            session: with.session(thread),
            key: message.key.clone(),
            text: message.text.clone(),
            received_unix_ms: message.received_unix_ms,
            attempts: 0,
            waybill: message.waybill.clone(),
        };
        self.walked.push(entry.session.clone());
        self.said.push(Said {
            entry: entry.clone(),
            of: entry.session.clone(),
            answered: None,
            journal: Vec::new(),
            receipt: None,
            forgotten: false,
        });
        Accepted::Fresh(entry)
    }

    /// The turn, and then each message that it took in as if it had been answered by hand.
    fn end_turns(&mut self, end: &TurnEnd) -> Option<Written> {
        let before = self.given_len();
        let answer = self.end_turn(end)?;
        let taken_in = if self.given_len() > before { end.taken_in() } else { Vec::new() };
        let mut beside = Vec::new();
        for inbox in taken_in {
            let joins = |said: &&mut Said| said.answered.is_none() && said.entry.session == answer.session;
            if self.said_mut(inbox).filter(joins).is_some() {
                let said = NewAnswer { kind: AnswerKind::Notice, text: Aside::ANSWER.to_owned() };
                let ended_unix_ms = end.ended_unix_ms;
                beside.extend(self.end_turn(&TurnEnd { inbox, turn: None, answer: said, ended_unix_ms }));
            }
        }
        Some(Written::Ended(answer, beside))
    }

    pub(super) fn end_turn(&mut self, end: &TurnEnd) -> Option<OutboxEntry> {
        let id = OutboxId(self.given_len() + 1);
        let said = self.said_mut(end.inbox)?;
        if let Some(first) = said.answered {
            return self.given.iter().find(|given| given.entry.id == first).map(|given| given.entry.clone());
        }
        said.answered = Some(id);
        said.journal.clear();
        let entry = OutboxEntry {
            id,
            answers: end.inbox,
            key: said.entry.key.clone(),
            session: said.entry.session.clone(),
            kind: end.answer.kind,
            text: end.answer.text.clone(),
            attachments: end.attachments(),
            created_unix_ms: end.ended_unix_ms,
            reply_to: said.entry.waybill.reply_to.clone(),
        };
        self.given.push(Given { entry: entry.clone(), sent: false, given_up: None, forgotten: false });
        if let Some(turn) = &end.turn {
            let talk = self.talks.entry(entry.session.clone()).or_default();
            if turn.replaces_last && talk.turns.len() > talk.covered() {
                talk.turns.pop();
            }
            talk.vectors.remove(&(talk.turns.len() as u64));
            talk.options.model_once = None;
            talk.touch(end.ended_unix_ms);
            talk.turns.push(TurnRecord {
                number: talk.turns.len() as u64,
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
            });
        }
        Some(entry)
    }

    fn rewind(&mut self, session: &SessionKey, turns: u64) -> Option<Written> {
        let talk = self.talks.get_mut(session)?;
        let turns = usize::try_from(turns).ok()?;
        if turns > talk.turns.len() || turns < talk.covered() {
            return None;
        }
        talk.turns.truncate(turns);
        talk.vectors.retain(|number, _| *number < talk.turns.len() as u64);
        Some(Written::Done)
    }

    fn keep_note(&mut self, new: &NewNote) -> Kept {
        let own: Vec<&Note> = self.notes_kept().filter(|note| note.owner == new.owner).collect();
        match own.iter().find(|note| note.text == new.text) {
            Some(known) => Kept::Known((*known).clone()),
            None if own.len() == NOTES_MAX => Kept::Full,
            None => {
                let NewNote { owner, topic, text, created_unix_ms } = new.clone();
                let id = NoteId(self.notes.len() as u64 + 1);
                let note = Note { id, owner, topic, text, created_unix_ms };
                self.notes.push((note.clone(), false));
                Kept::Fresh(note)
            }
        }
    }

    /// What is unanswered or undelivered stays, but without its journal.
    fn remove_session(&mut self, session: &SessionKey) -> bool {
        let removed = self.talks.remove(session).is_some();
        let mut known = removed;
        for said in self.said.iter_mut().filter(|said| said.of == *session && !said.forgotten) {
            known = true;
            said.journal.clear();
            let answer = self.given.iter_mut().find(|given| Some(given.entry.id) == said.answered);
            if let Some(answer) = answer.filter(|answer| answer.sent) {
                answer.forgotten = true;
                said.forgotten = true;
            }
        }
        known
    }

    pub(super) fn said_mut(&mut self, id: InboxId) -> Option<&mut Said> {
        self.said.iter_mut().find(|said| said.entry.id == id && !said.forgotten)
    }
}

/// The questions.
impl Ideal {
    /// How many messages were ever accepted.
    pub(super) fn said_len(&self) -> u64 {
        self.said.len() as u64
    }

    /// How many answers were ever given.
    pub(super) fn given_len(&self) -> u64 {
        self.given.len() as u64
    }

    /// How many notes were ever kept.
    pub(super) fn notes_len(&self) -> u64 {
        self.notes.len() as u64
    }

    pub(super) fn notes_kept(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|(_, forgotten)| !forgotten).map(|(note, _)| note)
    }

    /// Those that have turns.
    pub(super) fn sessions(&self) -> Vec<SessionKey> {
        self.talks.keys().cloned().collect()
    }

    pub(super) fn ask(&self, question: &Question) -> Reply {
        match question {
            Question::Pending { archon, after, limit } => {
                let later = self.waiting(archon).filter(|entry| after.is_none_or(|after| entry.id > after));
                Reply::Inbox(later.take(*limit).cloned().collect())
            }
            Question::PendingLen { archon } => Reply::Len(self.waiting(archon).count() as u64),
            Question::Session { key } => Reply::Session(self.talks.get(key).map(|talk| {
                let turns = talk.turns.iter().skip(talk.covered()).cloned().collect();
                SessionSnapshot { head: head(key, talk), turns }
            })),
            Question::Turns { key, from, limit } => {
                let turns = self.talks.get(key).map_or(&[][..], |talk| &talk.turns);
                Reply::Turns(turns.iter().filter(|turn| turn.number >= *from).take(*limit).cloned().collect())
            }
            Question::Sessions { archon, after, limit } => {
                let wanted = self.talks.iter().filter(|(key, _)| {
                    archon.as_ref().is_none_or(|archon| key.archon == *archon)
                        && after.as_ref().is_none_or(|after| *key > after)
                });
                Reply::Sessions(wanted.take(*limit).map(|(key, talk)| head(key, talk)).collect())
            }
            Question::SessionsWith { with } => {
                let his = self.talks.iter().filter(|(key, _)| key.peer_key() == *with);
                Reply::Sessions(his.map(|(key, talk)| head(key, talk)).collect())
            }
            Question::Grants { with } => {
                let his = self.grants.iter().filter(|(of, _)| of == with);
                Reply::Grants(his.map(|(_, grant)| grant.clone()).collect())
            }
            Question::Undelivered { channel, peer, after, limit } => {
                let owed = self.given.iter().filter(|given| !given.sent).map(|given| &given.entry);
                let wanted = owed.filter(|entry| {
                    let session = &entry.session;
                    session.channel == *channel
                        && peer.as_ref().is_none_or(|(a, p)| session.archon == *a && session.peer == *p)
                        && after.is_none_or(|after| entry.id > after)
                });
                Reply::Outbox(wanted.take(*limit).cloned().collect())
            }
            Question::Undeliverable { .. }
            | Question::Receipt { .. }
            | Question::Cursor { .. }
            | Question::AnswerTo { .. }
            | Question::Paired { .. }
            | Question::Linked { .. }
            | Question::Pairings
            | Question::Knocks => self.ask_of_roads(question),
            Question::Journal { inbox } => {
                let said = self.said.iter().find(|said| said.entry.id == *inbox);
                Reply::Journal(said.map(|said| said.journal.clone()).unwrap_or_default())
            }
            Question::CurrentThread { archon, channel, peer } => {
                Reply::Thread(self.current_thread(archon, channel, peer))
            }
            Question::Notes { of, after, limit } => {
                let mut notes: Vec<Note> =
                    self.notes_kept().filter(|note| of.covers(&note.owner)).cloned().collect();
                notes.sort_by_key(Note::place);
                notes.retain(|note| after.as_ref().is_none_or(|after| note.place() > *after));
                notes.truncate(*limit);
                Reply::Notes(notes)
            }
            Question::Recall { owner, question } => Reply::Recalled(self.recall(owner, question)),
            Question::Unindexed { limit } => {
                Reply::Unindexed(self.unindexed().into_iter().take(*limit).collect())
            }
            Question::Indexed => Reply::Indexed(self.indexed()),
        }
    }

    /// All of this peer's own that has one of the words; in which order is the ranking's affair.
    fn recall(&self, owner: &PeerKey, question: &str) -> Vec<Recalled> {
        let wanted = Terms::of(&[question]);
        let fits = |texts: [&str; 2]| {
            let terms = Terms::of(&texts);
            !Query::of(question).is_empty()
                && wanted.counts.keys().any(|stem| terms.counts.contains_key(stem))
        };
        let own = self.notes_kept().filter(|note| note.owner == *owner);
        let notes = own.filter(|note| fits([note.topic.as_deref().unwrap_or_default(), &note.text]));
        let turns = self.talks.iter().filter(|(key, _)| key.peer_key() == *owner).flat_map(|(key, talk)| {
            let fitting = talk.turns.iter().filter(|turn| fits([&turn.user, &turn.answer]));
            fitting.map(|turn| Recalled::Turn {
                session: key.clone(),
                number: turn.number,
                user: turn.user.clone(),
                answer: turn.answer.clone(),
                ended_unix_ms: turn.ended_unix_ms,
            })
        });
        notes.cloned().map(Recalled::Note).chain(turns).collect()
    }

    fn waiting(&self, archon: &ArchonId) -> impl Iterator<Item = &InboxEntry> {
        let unanswered = self.said.iter().filter(|said| said.answered.is_none()).map(|said| &said.entry);
        unanswered.filter(move |entry| entry.session.archon == *archon)
    }

    /// Where he went last.
    pub(super) fn current_thread(&self, archon: &ArchonId, channel: &ChannelId, peer: &PeerId) -> ThreadId {
        let last = self.walked.iter().rfind(|session| {
            session.archon == *archon && session.channel == *channel && session.peer == *peer
        });
        last.map_or_else(ThreadId::main, |session| session.thread.clone())
    }
}

fn head(key: &SessionKey, talk: &Talk) -> SessionHead {
    SessionHead {
        key: key.clone(),
        created_unix_ms: talk.kept.map_or(0, |(first, _)| first),
        updated_unix_ms: talk.kept.map_or(0, |(_, last)| last),
        turns: talk.turns.len() as u64,
        summary: talk.summary.clone(),
        options: talk.options.clone(),
    }
}

//! The part of the writer that changes conversations: where a message belongs, turns, summaries, choices, what was allowed for good.
use archond_actors::command::Course;
use archond_actors::domain::{
    Grant, InboundMessage, InboxId, PeerKey, SessionHead, SessionKey, SessionOptions, Summary, ThreadId,
    TurnEnd, TurnRecord,
};
use archond_actors::recall::turn_terms;
use redb::{ReadableTable, Table};

use super::fault::Fault;
use super::meanings::Beside;
use super::reads::{outbox_entry, thread_of};
use super::records::{self, RecordError, cols};
use super::remembered;
use super::tables::SessionNumberCols;
use super::writes::{Bytes, Writer, journal_of, numbered};

/// A turn that a session keeps, as it will lie in the file.
pub(super) struct NextTurn {
    pub(super) number: u64,
    pub(super) head: Vec<u8>,
    pub(super) turn: Vec<u8>,
    pub(super) terms: Vec<u8>,
}

/// Where a message belongs.
pub(super) struct Place {
    pub(super) session: SessionKey,
    /// What that begins with, where it is a copy.
    copied: Option<Copied>,
}

/// The records of a conversation: none of them says to which session it belongs.
pub(super) struct Copied {
    head: Vec<u8>,
    turns: Vec<(u64, Vec<u8>)>,
    terms: Vec<(u64, Vec<u8>)>,
    beside: Vec<(u64, Beside)>,
}

impl Writer<'_> {
    /// Where a message belongs: in the thread that it names, or the peer's current one, unless it chooses another.
    pub(super) fn place(&self, message: &InboundMessage, id: InboxId) -> Result<Place, Fault> {
        let with = PeerKey {
            archon: message.archon.clone(),
            channel: message.channel.clone(),
            peer: message.peer.clone(),
        };
        let here = match &message.thread {
            Some(thread) => thread.clone(),
            None => {
                thread_of(&self.threads, (with.archon.as_str(), with.channel.as_str(), with.peer.as_str()))?
            }
        };
        let fresh = ThreadId::new(&format!("s{id}")).map_err(|e| Fault::record("thread", id, &e.into()));
        let (thread, copied) = match Course::of(&message.text) {
            Course::Stay => (here, None),
            Course::Fresh => (fresh?, None),
            Course::Branch => (fresh?, self.copy_of(&with.session(here))?),
            Course::Resume(thread) => {
                let known = self.sessions.get(cols(&with.session(thread.clone())))?.is_some();
                (if known { thread } else { here }, None)
            }
        };
        Ok(Place { session: with.session(thread), copied })
    }

    pub(super) fn copy_of(&self, session: &SessionKey) -> Result<Option<Copied>, Fault> {
        let Some(head) = self.sessions.get(cols(session))?.map(|head| head.value().to_vec()) else {
            return Ok(None);
        };
        let copy = |table: &Table<'_, SessionNumberCols<'static>, Bytes>| -> Result<_, Fault> {
            let mut rows = Vec::new();
            for row in table.range(numbered(session, 0)..=numbered(session, u64::MAX))? {
                let (at, record) = row?;
                rows.push((at.value().4, record.value().to_vec()));
            }
            Ok(rows)
        };
        let (turns, terms, beside) = (copy(&self.turns)?, copy(&self.terms)?, self.beside(session)?);
        Ok(Some(Copied { head, turns, terms, beside }))
    }

    /// Fills a session that begins as a copy.
    pub(super) fn begin_branch(&mut self, place: Place) -> Result<(), Fault> {
        let Some(copied) = place.copied else { return Ok(()) };
        self.lay(&place.session, copied)
    }

    /// Lays a conversation into a session, in place of what is there.
    pub(super) fn lay(&mut self, session: &SessionKey, copied: Copied) -> Result<(), Fault> {
        let Copied { head, turns, terms, beside } = copied;
        self.clear(session)?;
        self.sessions.insert(cols(session), head.as_slice())?;
        for (number, turn) in turns {
            self.turns.insert(numbered(session, number), turn.as_slice())?;
        }
        for (number, terms) in terms {
            self.terms.insert(numbered(session, number), terms.as_slice())?;
        }
        self.set_beside(session, beside)
    }

    /// Takes a conversation out of a session. Its messages still belong to that one.
    pub(super) fn clear(&mut self, session: &SessionKey) -> Result<(), Fault> {
        self.sessions.remove(cols(session))?;
        let all = numbered(session, 0)..=numbered(session, u64::MAX);
        self.turns.retain_in(all.clone(), |_, _| false)?;
        self.terms.retain_in(all, |_, _| false)?;
        self.forget_vectors(session, 0)
    }

    /// The messages that belong to a session, in order.
    pub(super) fn messages_of(&self, session: &SessionKey) -> Result<Vec<u64>, Fault> {
        let rows = self.messages.range(numbered(session, 0)..=numbered(session, u64::MAX))?;
        rows.map(|row| Ok(row?.0.value().4)).collect()
    }

    /// What is to be written if the session keeps this turn.
    pub(super) fn next_turn(&self, session: &SessionKey, end: &TurnEnd) -> Result<Option<NextTurn>, Fault> {
        let Some(turn) = &end.turn else { return Ok(None) };
        let fresh = || SessionHead::new(session.clone(), end.ended_unix_ms);
        let mut head = self.head(session)?.unwrap_or_else(fresh);
        let number = head.next_number(turn);
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
        head.turns = number + 1;
        head.options.model_once = None;
        head.updated_unix_ms = end.ended_unix_ms;
        let unwritable = |e: RecordError| Fault::record("session", session, &e);
        Ok(Some(NextTurn {
            number: turn.number,
            head: records::write_head(&head).map_err(unwritable)?,
            turn: records::write_turn(&turn).map_err(unwritable)?,
            terms: remembered::write_terms(&turn_terms(&turn.user, &turn.answer)).map_err(unwritable)?,
        }))
    }

    pub(super) fn set_summary(&mut self, session: &SessionKey, summary: &Summary) -> Result<(), Fault> {
        let mut head = self.known_head(session)?;
        if summary.turns > head.turns {
            return Err(Fault::not_found(&format!("turn {} of session", summary.turns - 1), session));
        }
        if head.summary.as_ref().is_some_and(|present| present.turns > summary.turns) {
            return Ok(());
        }
        head.summary = Some(summary.clone());
        self.keep_head(&head)
    }

    /// Forgets all but the first turns.
    pub(super) fn rewind(&mut self, session: &SessionKey, turns: u64) -> Result<(), Fault> {
        let mut head = self.known_head(session)?;
        if !(head.turns_covered()..=head.turns).contains(&turns) {
            return Err(Fault::not_found(&format!("turn {turns} of session"), session));
        }
        head.turns = turns;
        self.keep_head(&head)?;
        let gone = numbered(session, turns)..=numbered(session, u64::MAX);
        self.turns.retain_in(gone.clone(), |_, _| false)?;
        self.terms.retain_in(gone, |_, _| false)?;
        self.forget_vectors(session, turns)
    }

    /// Keeps what the peer has chosen.
    pub(super) fn set_options(
        &mut self,
        session: &SessionKey,
        options: &SessionOptions,
        now_unix_ms: u64,
    ) -> Result<(), Fault> {
        let fresh = || SessionHead::new(session.clone(), now_unix_ms);
        let mut head = self.head(session)?.unwrap_or_else(fresh);
        head.options = options.clone();
        head.updated_unix_ms = now_unix_ms;
        self.keep_head(&head)
    }

    /// Keeps a lasting yes.
    pub(super) fn add_grant(&mut self, with: &PeerKey, grant: &Grant) -> Result<(), Fault> {
        let record = records::write_grant(grant).map_err(|e| Fault::record("grant", &grant.tool, &e))?;
        let (archon, channel, peer) = (with.archon.as_str(), with.channel.as_str(), with.peer.as_str());
        if self.grants.get((archon, channel, peer, record.as_slice()))?.is_none() {
            self.changed = true;
            self.grants.insert((archon, channel, peer, record.as_slice()), ())?;
        }
        Ok(())
    }

    /// Takes a lasting yes back.
    pub(super) fn remove_grant(&mut self, with: &PeerKey, grant: &Grant) -> Result<(), Fault> {
        let record = records::write_grant(grant).map_err(|e| Fault::record("grant", &grant.tool, &e))?;
        let (archon, channel, peer) = (with.archon.as_str(), with.channel.as_str(), with.peer.as_str());
        if self.grants.get((archon, channel, peer, record.as_slice()))?.is_none() {
            return Err(Fault::not_found("yes to", &grant.tool));
        }
        self.changed = true;
        self.grants.remove((archon, channel, peer, record.as_slice()))?;
        Ok(())
    }

    pub(super) fn remove_session(&mut self, session: &SessionKey) -> Result<(), Fault> {
        let messages = self.messages_of(session)?;
        if messages.is_empty() && self.sessions.get(cols(session))?.is_none() {
            return Err(Fault::not_found("session", session));
        }

        let mut answers = Vec::with_capacity(messages.len());
        for inbox in messages {
            let Some(outbox) = self.answer.get(inbox)?.map(|id| id.value()) else {
                answers.push((inbox, None));
                continue;
            };
            // It goes where its message came from, wherever the conversation is now.
            let channel = outbox_entry(&self.outbox, outbox)?.session.channel;
            let is_owed = self.undelivered.get((channel.as_str(), outbox))?.is_some();
            answers.push((inbox, Some((outbox, is_owed))));
        }

        self.changed = true;
        self.clear(session)?;
        for (inbox, answer) in answers {
            let Some((outbox, is_owed)) = answer else {
                self.journal.retain_in(journal_of(inbox), |_, _| false)?;
                continue;
            };
            if !is_owed {
                self.answer.remove(inbox)?;
                self.outbox.remove(outbox)?;
                self.given_up.remove(outbox)?;
                self.receipts.remove(inbox)?;
                self.inbox.remove(inbox)?;
                self.messages.remove(numbered(session, inbox))?;
            }
        }
        Ok(())
    }

    fn known_head(&self, session: &SessionKey) -> Result<SessionHead, Fault> {
        self.head(session)?.ok_or_else(|| Fault::not_found("session", session))
    }

    fn keep_head(&mut self, head: &SessionHead) -> Result<(), Fault> {
        let record = records::write_head(head).map_err(|e| Fault::record("session", &head.key, &e))?;
        self.changed = true;
        self.sessions.insert(cols(&head.key), record.as_slice())?;
        Ok(())
    }

    pub(super) fn head(&self, session: &SessionKey) -> Result<Option<SessionHead>, Fault> {
        let record = self.sessions.get(cols(session))?;
        let head = record.map(|record| records::read_head(session.clone(), record.value()));
        head.transpose().map_err(|e| Fault::record("session", session, &e))
    }
}

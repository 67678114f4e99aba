//! The part of the writer that moves a conversation to another place of the same person.
use archond_actors::command::Intent;
use archond_actors::domain::{ArchonId, HandOff, InboxId, SessionKey, Stays};
use archond_actors::linking;
use archond_actors::ports::Written;
use redb::ReadableTable;

use super::access;
use super::fault::Fault;
use super::links;
use super::reads::{outbox_entry, thread_of};
use super::writes::{Writer, numbered};

impl Writer<'_> {
    /// Moves it, and ends the message that asked for that.
    pub(super) fn hand_off(&mut self, off: &HandOff) -> Result<Written, Fault> {
        if let Some(first) = self.answer.get(off.inbox.0)?.map(|id| id.value()) {
            return Ok(Written::Ended(outbox_entry(&self.outbox, first)?, Vec::new()));
        }
        self.inbox_entry(off.inbox, "message")?;
        if let Some(stays) = self.stays(off)? {
            return Ok(Written::Stays(stays));
        }
        let (from, to) = (off.from.peer_key(), off.to.peer_key());
        let was_current = thread_of(&self.threads, access::cols(&from))? == off.from.thread;
        let (conversation, messages) = (self.copy_of(&off.from)?, self.messages_of(&off.from)?);

        let (answer, beside) = self.end_turn(&off.end())?;
        self.clear(&off.from)?;
        if let Some(conversation) = conversation {
            self.lay(&off.to, conversation)?;
        }
        for inbox in messages {
            self.messages.remove(numbered(&off.from, inbox))?;
            self.messages.insert(numbered(&off.to, inbox), ())?;
        }
        self.threads.insert(access::cols(&to), off.to.thread.as_str())?;
        if was_current {
            self.threads.insert(access::cols(&from), off.to.thread.as_str())?;
        }
        Ok(Written::Ended(answer, beside))
    }

    /// Why it may not go.
    fn stays(&self, off: &HandOff) -> Result<Option<Stays>, Fault> {
        let person = linking::linked(&links::states(&self.links)?, &off.from.peer_key());
        if !person.contains(&off.to.peer_key()) {
            return Ok(Some(Stays::Apart));
        }
        if self.head(&off.from)?.is_none_or(|head| head.turns == 0) {
            return Ok(Some(Stays::Empty));
        }
        if self.is_awaited(&off.from)? {
            return Ok(Some(Stays::Awaited));
        }
        let is_taken = self.is_known(&off.to)? || self.is_known(&off.left_behind())?;
        Ok(is_taken.then_some(Stays::Taken))
    }

    /// Whether a turn of this session runs, or will.
    fn is_awaited(&self, session: &SessionKey) -> Result<bool, Fault> {
        for inbox in self.waiting(&session.archon)? {
            let entry = self.inbox_entry(InboxId(inbox), "message")?;
            if entry.session == *session && Intent::of(&entry.text).takes_a_turn() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn waiting(&self, archon: &ArchonId) -> Result<Vec<u64>, Fault> {
        let archon = archon.as_str();
        let rows = self.pending.range((archon, 0)..=(archon, u64::MAX))?;
        rows.map(|row| Ok(row?.0.value().1)).collect()
    }

    /// Whether anything belongs to this session.
    fn is_known(&self, session: &SessionKey) -> Result<bool, Fault> {
        Ok(self.head(session)?.is_some() || !self.messages_of(session)?.is_empty())
    }
}

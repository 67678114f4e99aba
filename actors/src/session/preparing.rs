//! What a turn needs before it begins: the count of its tries, the conversation, and what its message asks for.
use std::collections::BTreeSet;

use super::actor::SessionState;
use super::failure::TurnFailure;
use super::handle::SessionFact;
use super::turn::Task;
use crate::command::{Command, argument};
use crate::domain::{
    Brought, Grant, InboxEntry, JournalEntry, SessionHead, SessionSnapshot, Summary, TurnEvent, TurnRecord,
};
use crate::memory::MemoryError;
use crate::ports::StoreError;

/// What is known before a turn begins.
pub(super) struct Prepared {
    /// The number of the try, over all lives of the daemon.
    pub(super) number: u32,
    /// How far an earlier try came.
    pub(super) journal: Vec<JournalEntry>,
    /// What the owner has allowed for good.
    pub(super) standing: Vec<Grant>,
}

/// The tools that were called in these turns, and in those that a summary stands for: in order, none twice.
pub(super) fn called(summary: Option<&Summary>, turns: &[TurnRecord]) -> Vec<String> {
    let steps = turns.iter().flat_map(|turn| &turn.steps);
    let names = steps.flat_map(|step| &step.calls).map(|record| &record.call.name);
    let before = summary.into_iter().flat_map(|summary| &summary.called);
    before.chain(names).cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

impl SessionState {
    /// Counts the try, over all lives of the daemon, and reads the conversation if that was not done before.
    pub(super) async fn prepare(&mut self, entry: &InboxEntry) -> Result<Prepared, MemoryError> {
        let number = self.args.memory.begin_attempt(entry.id).await?;
        // A first try has none.
        let journal = if number > 1 { self.args.memory.journal(entry.id).await? } else { Vec::new() };
        self.read_memory().await?;
        let standing = match self.args.spec.tools.tools.is_empty() && self.args.spec.tools.sources.is_empty()
        {
            true => Vec::new(),
            false => self.args.memory.grants(&self.args.key.peer_key()).await?,
        };
        Ok(Prepared { number, journal, standing })
    }

    /// Reads the conversation, if that was not done before.
    pub(super) async fn read_memory(&mut self) -> Result<(), MemoryError> {
        if self.memory.is_some() {
            return Ok(());
        }
        let key = self.args.key.clone();
        let kept = self.args.memory.session(&key).await?;
        let now = self.args.clock.now_unix_ms();
        let fresh = || SessionSnapshot { head: SessionHead::new(key, now), turns: Vec::new() };
        self.memory = Some(kept.unwrap_or_else(fresh));
        if let Some(last) = self.memory.as_ref().and_then(|memory| memory.turns.last()) {
            self.last.usage = last.usage;
            self.last.model = Some(last.model.clone());
        }
        Ok(())
    }

    /// The tools that were called in the turns that the prompt holds, word for word or in a summary.
    pub(super) fn called(&self) -> Vec<String> {
        self.memory
            .as_ref()
            .map_or_else(Vec::new, |memory| called(memory.head.summary.as_ref(), &memory.turns))
    }

    /// What a message asks of its turn, what is answered in it, and what came with that.
    pub(super) fn task(&self, entry: &InboxEntry) -> (Task, String, Vec<Brought>) {
        let text = &entry.text;
        let last = self.memory.as_ref().and_then(|memory| memory.turns.last());
        match (Command::parse(text), last) {
            (Some(Command::Compact), _) => {
                let focus = Some(argument(text).to_owned()).filter(|focus| !focus.is_empty());
                (Task::Compact { focus }, String::new(), Vec::new())
            }
            (Some(Command::Retry), Some(last)) => (Task::AnswerAgain, last.said(), last.brought.clone()),
            (Some(Command::Retry), None) => {
                (Task::Refuse("There is nothing to answer again.".to_owned()), String::new(), Vec::new())
            }
            _ => (Task::Answer, text.to_owned(), Brought::fresh(&entry.waybill.enclosures)),
        }
    }

    /// What a try came to that could not begin: perhaps an earlier one was kept, and nobody heard of it.
    pub(super) async fn without_a_turn(
        &self,
        entry: &InboxEntry,
        attempt: u32,
        error: MemoryError,
    ) -> SessionFact {
        let inbox = entry.id;
        if matches!(error, MemoryError::Store(StoreError::NotFound { .. }))
            && let Ok(Some(answer)) = self.args.memory.answer_to(inbox).await
        {
            self.args.observers.publish(&entry.message_key(), TurnEvent::Ended { answer });
            return SessionFact::Ended { inbox, taken_in: Vec::new() };
        }
        SessionFact::Failed { inbox, attempt, failure: TurnFailure::Memory(error.to_string()) }
    }
}

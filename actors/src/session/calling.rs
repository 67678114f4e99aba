//! The calls of one step: which may be made, which run, which have ended. Pure.
//!
//! The same steps come from the journal when somebody goes on with a turn that was interrupted: a call that was begun and has no outcome is
//! made again only where its tool says that this does no harm; otherwise nobody knows how it ended, and the model is told so.
use crate::domain::{Aside, CallRecord, InboxId, JournalEntry, Outcome, ToolCall, ToolStep};

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallState {
    /// Wanted by the model, not judged yet.
    Asked,
    /// The owner is asked, and has not answered yet.
    Waiting,
    /// It may be made.
    Approved,
    /// It is being made, or was when the turn was interrupted.
    Begun,
    /// It has ended.
    Ended(Outcome),
}

/// A call of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenCall {
    pub call: ToolCall,
    pub state: CallState,
}

/// A step whose calls have not all ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenStep {
    text: String,
    calls: Vec<OpenCall>,
}

/// Where a turn stands, by its journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Resumed {
    /// Steps that have ended.
    pub steps: Vec<ToolStep>,
    /// The step that was interrupted.
    pub open: Option<OpenStep>,
    /// What was said meanwhile.
    pub asides: Vec<Aside>,
}

impl OpenStep {
    /// A step of calls that were just asked for.
    pub(super) fn new(text: String, calls: Vec<ToolCall>) -> Self {
        let calls = calls.into_iter().map(|call| OpenCall { call, state: CallState::Asked }).collect();
        Self { text, calls }
    }

    /// Its calls, in the model's order.
    pub(super) fn calls(&self) -> &[OpenCall] {
        &self.calls
    }

    /// Sets how far a call is. `false`: there is no such call, or it has ended, which nothing changes any more.
    pub(super) fn set(&mut self, id: &str, state: CallState) -> bool {
        let open = |open: &&mut OpenCall| open.call.id == id && !matches!(open.state, CallState::Ended(_));
        match self.calls.iter_mut().find(open) {
            Some(open) => {
                open.state = state;
                true
            }
            None => false,
        }
    }

    /// Ends all calls that have not ended, in this way.
    pub(super) fn end_all(&mut self, outcome: &Outcome) {
        for open in &mut self.calls {
            if !matches!(open.state, CallState::Ended(_)) {
                open.state = CallState::Ended(outcome.clone());
            }
        }
    }

    /// The whole step, once all calls have ended.
    pub(super) fn ended(&self) -> Option<ToolStep> {
        let record = |open: &OpenCall| match &open.state {
            CallState::Ended(outcome) => {
                Some(CallRecord { call: open.call.clone(), outcome: outcome.clone() })
            }
            CallState::Asked | CallState::Waiting | CallState::Approved | CallState::Begun => None,
        };
        let calls: Option<Vec<_>> = self.calls.iter().map(record).collect();
        calls.map(|calls| ToolStep { text: self.text.clone(), calls })
    }
}

impl Resumed {
    /// Reads a turn's journal. Entries that fit nothing are passed over: they change nothing.
    pub(super) fn from_journal(journal: Vec<JournalEntry>) -> Self {
        let mut resumed = Self::default();
        for entry in journal {
            match entry {
                JournalEntry::Asked { text, calls } => {
                    resumed.close();
                    resumed.open = Some(OpenStep::new(text, calls));
                }
                JournalEntry::Heard { inbox, text } => resumed.hear(inbox, text),
                JournalEntry::Approved { call } => resumed.set(&call, CallState::Approved),
                JournalEntry::Begun { call } => resumed.set(&call, CallState::Begun),
                JournalEntry::Ended { call, outcome } => resumed.set(&call, CallState::Ended(outcome)),
            }
        }
        resumed.close_if_ended();
        resumed
    }

    fn set(&mut self, call: &str, state: CallState) {
        if let Some(open) = &mut self.open {
            open.set(call, state);
        }
    }

    /// Within a step nothing is heard: such a message waits for a turn of its own.
    fn hear(&mut self, inbox: InboxId, text: String) {
        self.close_if_ended();
        if self.open.is_none() && self.asides.iter().all(|aside| aside.inbox != inbox) {
            self.asides.push(Aside { inbox, after: self.steps.len(), text });
        }
    }

    fn close_if_ended(&mut self) {
        if let Some(step) = self.open.as_ref().and_then(OpenStep::ended) {
            self.steps.push(step);
            self.open = None;
        }
    }

    /// A step is asked for only when the one before has ended; should a journal say otherwise, nobody knows how its calls did.
    fn close(&mut self) {
        if let Some(open) = &mut self.open {
            open.end_all(&Outcome::Unknown);
        }
        self.close_if_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.into(), name: "clock".into(), arguments: "{}".into() }
    }

    fn asked(ids: &[&str]) -> JournalEntry {
        JournalEntry::Asked { text: String::new(), calls: ids.iter().map(|id| call(id)).collect() }
    }

    fn begun(id: &str) -> JournalEntry {
        JournalEntry::Begun { call: id.into() }
    }

    fn ended(id: &str) -> JournalEntry {
        JournalEntry::Ended { call: id.into(), outcome: Outcome::Done { text: id.into() } }
    }

    #[track_caller]
    fn check(journal: &[JournalEntry], steps: usize, open: &[(&str, CallState)]) {
        let resumed = Resumed::from_journal(journal.to_vec());
        let states = resumed.open.iter().flat_map(|step| step.calls.clone());
        let states: Vec<_> = states.map(|open| (open.call.id, open.state)).collect();
        let wanted: Vec<_> = open.iter().map(|(id, state)| ((*id).to_owned(), state.clone())).collect();
        assert_eq!((resumed.steps.len(), states), (steps, wanted), "{journal:?}");
    }

    #[test]
    fn a_journal_tells_where_a_turn_was() {
        let done = |id: &str| CallState::Ended(Outcome::Done { text: id.into() });
        check(&[], 0, &[]);
        check(&[asked(&["a", "b"])], 0, &[("a", CallState::Asked), ("b", CallState::Asked)]);
        check(&[asked(&["a", "b"]), begun("b")], 0, &[("a", CallState::Asked), ("b", CallState::Begun)]);
        check(&[asked(&["a", "b"]), begun("b"), ended("b")], 0, &[("a", CallState::Asked), ("b", done("b"))]);
        check(&[asked(&["a"]), begun("a"), ended("a")], 1, &[]);
        check(&[asked(&["a"]), begun("a"), ended("a"), asked(&["c"])], 1, &[("c", CallState::Asked)]);
        let approved = JournalEntry::Approved { call: "a".into() };
        check(&[asked(&["a"]), approved], 0, &[("a", CallState::Approved)]);
    }

    #[test]
    fn what_was_said_meanwhile_stands_again_where_it_stood() {
        let heard = |id: u64| JournalEntry::Heard { inbox: InboxId(id), text: id.to_string() };
        let journal =
            [heard(1), asked(&["a"]), heard(2), ended("a"), heard(3), heard(3), asked(&["b"]), ended("b")];
        let resumed = Resumed::from_journal(journal.to_vec());
        let places: Vec<_> = resumed.asides.iter().map(|aside| (aside.inbox.0, aside.after)).collect();
        assert_eq!((places, resumed.steps.len()), (vec![(1, 0), (3, 1)], 2));
    }

    #[test]
    fn what_has_ended_is_not_changed_by_what_comes_late() {
        check(
            &[asked(&["a", "b"]), ended("a"), begun("a"), begun("z")],
            0,
            &[("a", CallState::Ended(Outcome::Done { text: "a".into() })), ("b", CallState::Asked)],
        );
    }

    #[test]
    fn a_step_that_was_left_behind_is_unknown() {
        let resumed = Resumed::from_journal(vec![asked(&["a"]), begun("a"), asked(&["b"])]);
        assert_eq!(resumed.steps[0].calls[0].outcome, Outcome::Unknown);
    }
}

//! Records of the calls of tools: the steps inside a turn, and the entries of a journal. As `records` says of all.
use archond_actors::domain::{Aside, CallRecord, InboxId, JournalEntry, Outcome, ToolCall, ToolStep};
use serde::{Deserialize, Serialize};

use super::records::{RecordError, decode, encode};

#[derive(Serialize, Deserialize)]
pub(super) struct StepV1<'a> {
    text: &'a str,
    #[serde(borrow)]
    calls: Vec<(CallV1<'a>, OutcomeV1<'a>)>,
}

#[derive(Serialize, Deserialize)]
struct CallV1<'a> {
    id: &'a str,
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize, Deserialize)]
enum OutcomeV1<'a> {
    Done(&'a str),
    Failed(&'a str),
    Unknown,
}

#[derive(Serialize, Deserialize)]
enum JournalV1<'a> {
    Asked {
        text: &'a str,
        #[serde(borrow)]
        calls: Vec<CallV1<'a>>,
    },
    Approved {
        call: &'a str,
    },
    Begun {
        call: &'a str,
    },
    Ended {
        call: &'a str,
        #[serde(borrow)]
        outcome: OutcomeV1<'a>,
    },
    /// Since layout 6.
    Heard {
        inbox: u64,
        text: &'a str,
    },
}

/// What was said in the middle of a turn, by the message's number, and after how many steps.
#[derive(Serialize, Deserialize)]
pub(super) struct AsideV1<'a> {
    inbox: u64,
    after: u64,
    text: &'a str,
}

impl<'a> AsideV1<'a> {
    pub(super) fn of(aside: &'a Aside) -> Self {
        Self { inbox: aside.inbox.0, after: aside.after as u64, text: &aside.text }
    }

    pub(super) fn into_aside(self) -> Aside {
        let after = usize::try_from(self.after).unwrap_or(usize::MAX);
        Aside { inbox: InboxId(self.inbox), after, text: self.text.to_owned() }
    }
}

pub(super) fn write_journal(entry: &JournalEntry) -> Result<Vec<u8>, RecordError> {
    encode(&match entry {
        JournalEntry::Asked { text, calls } => {
            JournalV1::Asked { text, calls: calls.iter().map(CallV1::of).collect() }
        }
        JournalEntry::Approved { call } => JournalV1::Approved { call },
        JournalEntry::Begun { call } => JournalV1::Begun { call },
        JournalEntry::Heard { inbox, text } => JournalV1::Heard { inbox: inbox.0, text },
        JournalEntry::Ended { call, outcome } => JournalV1::Ended { call, outcome: OutcomeV1::of(outcome) },
    })
}

pub(super) fn read_journal(bytes: &[u8]) -> Result<JournalEntry, RecordError> {
    Ok(match decode(bytes)? {
        JournalV1::Asked { text, calls } => JournalEntry::Asked {
            text: text.to_owned(),
            calls: calls.into_iter().map(CallV1::into_call).collect(),
        },
        JournalV1::Approved { call } => JournalEntry::Approved { call: call.to_owned() },
        JournalV1::Begun { call } => JournalEntry::Begun { call: call.to_owned() },
        JournalV1::Heard { inbox, text } => {
            JournalEntry::Heard { inbox: InboxId(inbox), text: text.to_owned() }
        }
        JournalV1::Ended { call, outcome } => {
            JournalEntry::Ended { call: call.to_owned(), outcome: outcome.into_outcome() }
        }
    })
}

impl<'a> StepV1<'a> {
    pub(super) fn of(step: &'a ToolStep) -> Self {
        let calls = step.calls.iter().map(|call| (CallV1::of(&call.call), OutcomeV1::of(&call.outcome)));
        Self { text: &step.text, calls: calls.collect() }
    }

    pub(super) fn into_step(self) -> ToolStep {
        let calls = self
            .calls
            .into_iter()
            .map(|(call, outcome)| CallRecord { call: call.into_call(), outcome: outcome.into_outcome() });
        ToolStep { text: self.text.to_owned(), calls: calls.collect() }
    }
}

impl<'a> CallV1<'a> {
    fn of(call: &'a ToolCall) -> Self {
        Self { id: &call.id, name: &call.name, arguments: &call.arguments }
    }

    fn into_call(self) -> ToolCall {
        ToolCall { id: self.id.to_owned(), name: self.name.to_owned(), arguments: self.arguments.to_owned() }
    }
}

impl<'a> OutcomeV1<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Done { text } => Self::Done(text),
            Outcome::Failed { text } => Self::Failed(text),
            Outcome::Unknown => Self::Unknown,
        }
    }

    fn into_outcome(self) -> Outcome {
        match self {
            Self::Done(text) => Outcome::Done { text: text.to_owned() },
            Self::Failed(text) => Outcome::Failed { text: text.to_owned() },
            Self::Unknown => Outcome::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.into(), name: "ls".into(), arguments: "{}".into() }
    }

    /// Files written by version 1 must stay readable: these bytes are never to be changed.
    #[test]
    fn the_journal_is_read_as_it_was_written() {
        let ended = |outcome| JournalEntry::Ended { call: "1".into(), outcome };
        let table: [(JournalEntry, &[u8]); 7] = [
            (
                JournalEntry::Asked { text: "see".into(), calls: vec![call("1"), call("2")] },
                b"\x01\x00\x03see\x02\x011\x02ls\x02{}\x012\x02ls\x02{}",
            ),
            (JournalEntry::Approved { call: "1".into() }, b"\x01\x01\x011"),
            (JournalEntry::Begun { call: "1".into() }, b"\x01\x02\x011"),
            (ended(Outcome::Done { text: "a".into() }), b"\x01\x03\x011\x00\x01a"),
            (ended(Outcome::Failed { text: "no".into() }), b"\x01\x03\x011\x01\x02no"),
            (ended(Outcome::Unknown), b"\x01\x03\x011\x02"),
            (JournalEntry::Heard { inbox: InboxId(7), text: "hi".into() }, b"\x01\x04\x07\x02hi"),
        ];
        for (entry, bytes) in table {
            assert_eq!(write_journal(&entry).unwrap(), bytes);
            assert_eq!(read_journal(bytes).unwrap(), entry);
        }
        let newer = read_journal(b"\x02\x01\x011").unwrap_err().to_string();
        assert_eq!(newer, "its version is 2, this archond reads up to 1");
    }
}

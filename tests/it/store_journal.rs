//! The contract of the journal: what is written of a running turn, and when it goes.
use archond_actors::domain::{
    Attachment, CallRecord, InboundMessage, InboxId, JournalEntry, Outcome, SEND_FILE, SessionKey, ToolCall,
    ToolStep, TurnEnd,
};
use archond_actors::ports::{Store, StoreError, Write, Written};

use crate::store_contract::{accept, end, message, not_found, on_each_store, one, turn_end};

fn call(id: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "read".into(), arguments: r#"{"path":"seed.txt"}"#.into() }
}

pub(crate) fn begun(call: &str) -> JournalEntry {
    JournalEntry::Begun { call: call.into() }
}

/// One of each kind, with each outcome.
pub(crate) fn every_kind() -> Vec<JournalEntry> {
    let ended = |call: &str, outcome| JournalEntry::Ended { call: call.into(), outcome };
    vec![
        JournalEntry::Asked { text: "let me see".into(), calls: vec![call("1"), call("2"), call("3")] },
        JournalEntry::Approved { call: "1".into() },
        begun("1"),
        ended("1", Outcome::Done { text: "a seed\n".repeat(9) }),
        ended("2", Outcome::Failed { text: "there is no such file".into() }),
        begun("3"),
        ended("3", Outcome::Unknown),
    ]
}

fn journal(store: &dyn Store, inbox: InboxId, entries: Vec<JournalEntry>) -> Result<Written, StoreError> {
    one(store, Write::Journal { inbox, entries })
}

#[test]
fn a_journal_grows_in_the_order_in_which_it_is_written() {
    on_each_store(|store| {
        let (first, second) = (accept(store, message("1")).id, accept(store, message("2")).id);
        assert_eq!(store.journal(first), Ok(vec![]));
        assert_eq!(store.journal(InboxId(9)), Ok(vec![]));
        assert_eq!(journal(store, first, vec![]), Ok(Written::Done));
        assert_eq!(store.journal(first), Ok(vec![]));

        assert_eq!(journal(store, first, every_kind()), Ok(Written::Done));
        assert_eq!(store.journal(first), Ok(every_kind()));
        let more = [(second, "b"), (first, "x"), (first, "y"), (second, "c"), (first, "x")];
        let batch = more.map(|(inbox, call)| Write::Journal { inbox, entries: vec![begun(call)] });
        assert_eq!(store.commit(&batch).unwrap(), vec![Ok(Written::Done); 5]);
        let expected = [every_kind(), ["x", "y", "x"].map(begun).to_vec()].concat();
        assert_eq!(store.journal(first), Ok(expected), "what is written twice stands there twice");
        assert_eq!(store.journal(second), Ok(["b", "c"].map(begun).to_vec()));
    });
}

#[test]
fn a_journal_ends_with_its_turn() {
    on_each_store(|store| {
        let (first, second) = (accept(store, message("1")).id, accept(store, message("2")).id);
        journal(store, first, every_kind()).unwrap();
        journal(store, second, vec![begun("kept")]).unwrap();

        let ended = end(store, turn_end(first, "done"));
        assert_eq!(store.journal(first), Ok(vec![]));
        assert_eq!(end(store, turn_end(first, "again")), ended, "and ends once");
        assert_eq!(store.journal(second), Ok(vec![begun("kept")]), "each message has its own");

        let refused = not_found("unanswered message 1");
        assert_eq!(journal(store, first, vec![begun("late")]), refused);
        assert_eq!(journal(store, first, vec![]), refused);
        assert_eq!(journal(store, InboxId(9), vec![begun("x")]), not_found("unanswered message 9"));
        assert_eq!(store.journal(first), Ok(vec![]), "what is refused leaves nothing");
        assert_eq!(store.journal(InboxId(9)), Ok(vec![]));

        let no_turn = TurnEnd { turn: None, ..turn_end(second, "stopped") };
        end(store, no_turn);
        assert_eq!(store.journal(second), Ok(vec![]), "also when the session keeps no turn");
    });
}

#[test]
fn within_one_transaction_a_journal_is_written_before_its_turn_ends_or_not_at_all() {
    on_each_store(|store| {
        let inbox = InboxId(1);
        let write = |call| Write::Journal { inbox, entries: vec![begun(call)] };
        let batch = [
            write("too early"),
            Write::Accept(message("1")),
            write("in time"),
            Write::EndTurn(turn_end(inbox, "done")),
            write("too late"),
        ];
        let results = store.commit(&batch).unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true, true, false]);
        assert_eq!(store.journal(inbox), Ok(vec![]));
    });
}

#[test]
fn a_removed_session_leaves_no_journal() {
    on_each_store(|store| {
        let key: SessionKey = "ezra/cli/uid0/main".parse().unwrap();
        let other = InboundMessage { peer: "uid1".parse().unwrap(), ..message("other") };
        let (waiting, other) = (accept(store, message("waiting")), accept(store, other));
        assert_eq!(waiting.session, key);
        for inbox in [waiting.id, other.id] {
            journal(store, inbox, every_kind()).unwrap();
        }
        assert_eq!(one(store, Write::RemoveSession { session: key.clone() }), Ok(Written::Done));
        assert_eq!(store.journal(waiting.id), Ok(vec![]));
        assert_eq!(store.journal(other.id), Ok(every_kind()));
        let pending = store.pending(&key.archon, None, 9).unwrap();
        assert_eq!(pending, [waiting.clone(), other], "the messages themselves are still owed");

        journal(store, waiting.id, vec![begun("anew")]).unwrap();
        assert_eq!(store.journal(waiting.id), Ok(vec![begun("anew")]));
        end(store, turn_end(waiting.id, "late"));
        assert_eq!(store.journal(waiting.id), Ok(vec![]));
    });
}

#[test]
fn a_turn_is_kept_with_its_steps() {
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        let record = |id: &str, outcome| CallRecord { call: call(id), outcome };
        let calls = vec![
            record("1", Outcome::Done { text: "a seed".into() }),
            record("2", Outcome::Failed { text: "there is no such file".into() }),
        ];
        let steps = vec![
            ToolStep { text: "let me see".into(), calls },
            ToolStep { text: String::new(), calls: vec![record("3", Outcome::Unknown)] },
        ];
        let mut with_steps = turn_end(entry.id, "a seed");
        with_steps.turn.as_mut().unwrap().steps.clone_from(&steps);
        end(store, with_steps);
        let turns = store.turns(&entry.session, 0, 9).unwrap();
        assert_eq!(turns.iter().map(|turn| &turn.steps).collect::<Vec<_>>(), [&steps]);
        assert_eq!(store.session(&entry.session).unwrap().unwrap().turns, turns);
    });
}

#[test]
fn what_a_turn_sent_goes_with_its_answer() {
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        let file = Attachment {
            path: "a/b, c.pdf".into(),
            bytes: 7,
            sha256: "0f".repeat(32),
            media_type: "application/pdf".into(),
            caption: Some("here".into()),
        };
        let call = ToolCall { name: SEND_FILE.into(), ..call("1") };
        let outcome = Outcome::Done { text: file.told() };
        let step = ToolStep { text: String::new(), calls: vec![CallRecord { call, outcome }] };
        let mut ended = turn_end(entry.id, "there it is");
        ended.turn.as_mut().unwrap().steps = vec![step];
        let answer = end(store, ended);
        assert_eq!(answer.attachments, [file]);
        assert_eq!(store.answer_to(entry.id), Ok(Some(answer.clone())));
        let undelivered = store.undelivered(&entry.session.channel, None, None, 9);
        assert_eq!(undelivered, Ok(vec![answer]));
    });
}

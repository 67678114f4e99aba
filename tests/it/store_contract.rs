//! The store's contract, held against every store there is. What the port promises is written here once more, as facts.
use std::sync::Arc;

use archond::store::RedbStore;
use archond_actors::domain::{
    Accepted, AnswerKind, ChannelId, InboundMessage, InboxEntry, InboxId, JournalEntry, MessageKey,
    NewAnswer, NewTurn, OutboxEntry, OutboxId, SessionKey, Summary, ThreadId, TurnEnd, Usage,
};
use archond_actors::ports::{Store, StoreError, Write, Written};
use archond_actors::testkit::MemStore;

/// Runs a test on each store.
pub(crate) fn on_each_store(test: impl Fn(&dyn Store)) {
    test(&MemStore::new());
    let folder = tempfile::tempdir().unwrap();
    test(&RedbStore::open(folder.path().join("store.redb")).unwrap());
}

pub(crate) fn message(key: &str) -> InboundMessage {
    InboundMessage {
        archon: "ezra".parse().unwrap(),
        channel: "cli".parse().unwrap(),
        peer: "uid0".parse().unwrap(),
        key: key.into(),
        thread: None,
        text: "hello".into(),
        received_unix_ms: 1_000,
        waybill: archond_actors::domain::Waybill::default(),
    }
}

pub(crate) fn one(store: &dyn Store, write: Write) -> Result<Written, StoreError> {
    store.commit(&[write]).unwrap().remove(0)
}

pub(crate) fn accept(store: &dyn Store, message: InboundMessage) -> InboxEntry {
    match one(store, Write::Accept(message)) {
        Ok(Written::Accepted(Accepted::Fresh(entry))) => entry,
        other => panic!("not fresh: {other:?}"),
    }
}

pub(crate) fn turn_end(inbox: InboxId, text: &str) -> TurnEnd {
    TurnEnd {
        inbox,
        turn: Some(NewTurn {
            user: "hello".into(),
            answer: text.into(),
            stopped: false,
            model: "gemma-4-e4b".parse().unwrap(),
            steps: Vec::new(),
            asides: Vec::new(),
            brought: Vec::new(),
            usage: Usage { prompt_tokens: 7, ..Usage::default() },
            replaces_last: false,
        }),
        answer: NewAnswer { kind: AnswerKind::Answer, text: text.into() },
        ended_unix_ms: 2_000,
    }
}

pub(crate) fn end(store: &dyn Store, end: TurnEnd) -> OutboxEntry {
    match one(store, Write::EndTurn(end)) {
        Ok(Written::Ended(entry, _)) => entry,
        other => panic!("not ended: {other:?}"),
    }
}

/// One message with its answer, in this session.
fn talk(store: &dyn Store, session: &str, key: &str) -> OutboxEntry {
    let session: SessionKey = session.parse().unwrap();
    let entry = accept(
        store,
        InboundMessage {
            archon: session.archon,
            channel: session.channel,
            peer: session.peer,
            thread: Some(session.thread),
            ..message(key)
        },
    );
    end(store, turn_end(entry.id, &format!("answer to {key}")))
}

pub(crate) fn not_found<T>(what: &str) -> Result<T, StoreError> {
    Err(StoreError::NotFound { what: what.into() })
}

#[test]
fn a_key_is_accepted_once_per_channel() {
    on_each_store(|store| {
        let first = accept(store, message("1"));
        assert_eq!((first.id, first.attempts, first.key.as_str()), (InboxId(1), 0, "1"));
        let again = Ok(Written::Accepted(Accepted::Duplicate(first.id)));
        let other_text = InboundMessage { text: "other".into(), ..message("1") };
        assert_eq!(one(store, Write::Accept(other_text)), again);

        let batch = [Write::Accept(message("2")), Write::Accept(message("2")), Write::Accept(message("1"))];
        let results = store.commit(&batch).unwrap();
        assert!(matches!(&results[0], Ok(Written::Accepted(Accepted::Fresh(e))) if e.id == InboxId(2)));
        assert_eq!(results[1], Ok(Written::Accepted(Accepted::Duplicate(InboxId(2)))));
        assert_eq!(results[2], again);

        let channel: ChannelId = "telegram".parse().unwrap();
        assert_eq!(accept(store, InboundMessage { channel, ..message("1") }).id, InboxId(3));
        assert_eq!(store.commit(&[]).unwrap(), []);
    });
}

#[test]
fn a_message_belongs_to_the_thread_it_names_or_else_to_the_current_one() {
    on_each_store(|store| {
        let thread = |message| accept(store, message).session.thread.to_string();
        let current = |peer: &str| {
            let (archon, channel) = ("ezra".parse().unwrap(), "cli".parse().unwrap());
            store.current_thread(&archon, &channel, &peer.parse().unwrap()).unwrap().to_string()
        };
        assert_eq!(current("uid0"), "main");
        assert_eq!(thread(message("1")), "main");

        let named = Some("topic-7".parse::<ThreadId>().unwrap());
        assert_eq!(thread(InboundMessage { thread: named, ..message("2") }), "topic-7");
        assert_eq!((thread(message("3")).as_str(), current("uid0").as_str()), ("topic-7", "topic-7"));

        for (key, text) in [("4", "/new"), ("5", " /RESET now"), ("6", "/clear")] {
            let fresh = thread(InboundMessage { text: text.into(), ..message(key) });
            assert_eq!(fresh, format!("s{key}"), "{text}");
            assert_eq!(current("uid0"), fresh);
        }
        assert_eq!(thread(InboundMessage { text: "/status".into(), ..message("7") }), "s6");
        assert_eq!(thread(InboundMessage { peer: "uid1".parse().unwrap(), ..message("8") }), "main");
        assert_eq!(current("uid1"), "main");
    });
}

#[test]
fn a_repeated_new_does_not_begin_a_second_thread() {
    on_each_store(|store| {
        let new = InboundMessage { text: "/new".into(), ..message("1") };
        let first = accept(store, new.clone());
        let named = Some(ThreadId::main());
        accept(store, InboundMessage { thread: named, ..message("2") });
        assert_eq!(one(store, Write::Accept(new)), Ok(Written::Accepted(Accepted::Duplicate(first.id))));
        assert_eq!(accept(store, message("3")).session.thread, ThreadId::main());
    });
}

#[test]
fn tries_are_counted_until_there_is_an_answer() {
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        let inbox = entry.id;
        assert_eq!(one(store, Write::BeginAttempt { inbox }), Ok(Written::Attempt(1)));
        assert_eq!(one(store, Write::BeginAttempt { inbox }), Ok(Written::Attempt(2)));
        let pending = store.pending(&entry.session.archon, None, 9).unwrap();
        assert_eq!(pending, [InboxEntry { attempts: 2, ..entry }]);
        end(store, turn_end(inbox, "hi"));
        assert_eq!(one(store, Write::BeginAttempt { inbox }), not_found("unanswered message 1"));
        assert_eq!(one(store, Write::BeginAttempt { inbox: InboxId(9) }), not_found("unanswered message 9"));
    });
}

#[test]
fn a_turn_ends_once_and_whole() {
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        assert_eq!(store.answer_to(entry.id), Ok(None));
        let key = entry.message_key();
        assert_eq!(store.is_accepted(&key), Ok(true));
        let other = MessageKey { channel: "other".parse().unwrap(), ..key.clone() };
        assert_eq!(store.is_accepted(&other), Ok(false));
        assert_eq!(store.is_accepted(&MessageKey { key: "2".into(), ..key }), Ok(false));
        let ended = end(store, turn_end(entry.id, "first"));
        let expected = OutboxEntry {
            id: OutboxId(1),
            answers: entry.id,
            key: "1".into(),
            session: entry.session.clone(),
            kind: AnswerKind::Answer,
            text: "first".into(),
            attachments: Vec::new(),
            created_unix_ms: 2_000,
            reply_to: archond_actors::domain::ReplyTo::default(),
        };
        assert_eq!(ended, expected);
        assert_eq!(end(store, turn_end(entry.id, "second")), expected, "the first answer stands");
        assert_eq!(store.answer_to(entry.id), Ok(Some(expected)));
        assert_eq!(store.pending(&entry.session.archon, None, 9), Ok(vec![]));

        let session = store.session(&entry.session).unwrap().unwrap();
        let head = &session.head;
        assert_eq!((head.turns, head.created_unix_ms, head.updated_unix_ms), (1, 2_000, 2_000));
        assert_eq!((&head.key, &head.summary), (&entry.session, &None));
        let [turn] = session.turns.as_slice() else { panic!("one turn: {session:?}") };
        assert_eq!((turn.number, turn.inbox, turn.answer.as_str()), (0, entry.id, "first"));
        assert_eq!((turn.usage.prompt_tokens, turn.model.as_str()), (7, "gemma-4-e4b"));
        let unknown = one(store, Write::EndTurn(turn_end(InboxId(9), "x")));
        assert_eq!(unknown, not_found("message 9"));
    });
}

#[test]
fn an_answer_without_a_turn_leaves_the_session_as_it_is() {
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        let notice = NewAnswer { kind: AnswerKind::Notice, text: "well".into() };
        let ended = end(store, TurnEnd { turn: None, answer: notice, ..turn_end(entry.id, "") });
        assert_eq!((ended.kind, ended.text.as_str()), (AnswerKind::Notice, "well"));
        assert_eq!(store.session(&entry.session), Ok(None));
        assert_eq!(store.sessions(None, None, 9), Ok(vec![]));
    });
}

#[test]
fn pending_messages_come_in_order_for_one_archon() {
    on_each_store(|store| {
        // `-` sorts before `/` and before the end of a shorter name in a joined key: names must not run together.
        for (key, archon) in [("1", "ezra"), ("2", "ezra-2"), ("3", "ezra"), ("4", "e"), ("5", "ezra")] {
            accept(store, InboundMessage { archon: archon.parse().unwrap(), ..message(key) });
        }
        let ezra = "ezra".parse().unwrap();
        let ids = |after, limit| {
            let entries = store.pending(&ezra, after, limit).unwrap();
            entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 9), [1, 3, 5]);
        assert_eq!(ids(None, 2), [1, 3]);
        assert_eq!(ids(Some(InboxId(1)), 9), [3, 5]);
        assert_eq!(ids(Some(InboxId(5)), 9), [0; 0]);
        assert_eq!(store.pending_len(&ezra), Ok(3));
        end(store, turn_end(InboxId(3), "done"));
        assert_eq!((ids(None, 9), store.pending_len(&ezra)), (vec![1, 5], Ok(2)));
        assert_eq!(store.pending_len(&"nobody".parse().unwrap()), Ok(0));
    });
}

#[test]
fn undelivered_answers_come_in_order_until_they_are_sent() {
    on_each_store(|store| {
        let sessions = [
            "ezra/cli/uid1/main",
            "ezra/cli/uid0/main",
            "a/cli/uid1/main",
            "ezra/web/uid1/main",
            "ezra/cli/uid1/t",
        ];
        for (key, session) in sessions.iter().enumerate() {
            talk(store, session, &key.to_string());
        }
        let (cli, ezra, uid1) = ("cli".parse().unwrap(), "ezra".parse().unwrap(), "uid1".parse().unwrap());
        let ids = |peer, after, limit| {
            let entries = store.undelivered(&cli, peer, after, limit).unwrap();
            entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>()
        };
        let of_uid1 = Some((&ezra, &uid1));
        assert_eq!(ids(None, None, 9), [1, 2, 3, 5]);
        assert_eq!(ids(None, Some(OutboxId(1)), 2), [2, 3]);
        assert_eq!(ids(of_uid1, None, 9), [1, 5]);
        assert_eq!(ids(of_uid1, Some(OutboxId(1)), 9), [5]);
        assert_eq!(ids(of_uid1, None, 1), [1]);

        for _ in 0..2 {
            assert_eq!(one(store, Write::MarkSent { outbox: OutboxId(1) }), Ok(Written::Done));
        }
        assert_eq!((ids(None, None, 9), ids(of_uid1, None, 9)), (vec![2, 3, 5], vec![5]));
        assert!(store.answer_to(InboxId(1)).unwrap().is_some(), "delivered answers can be asked for");
        assert_eq!(one(store, Write::MarkSent { outbox: OutboxId(9) }), not_found("answer 9"));
    });
}

#[test]
fn a_summary_lies_over_the_first_turns_and_never_shrinks() {
    on_each_store(|store| {
        let key: SessionKey = "ezra/cli/uid0/main".parse().unwrap();
        let summary = |text: &str, turns| Summary { text: text.into(), turns, called: Vec::new() };
        let set = |summary: &Summary| {
            one(store, Write::SetSummary { session: key.clone(), summary: summary.clone() })
        };
        assert_eq!(set(&summary("too early", 0)), not_found("session ezra/cli/uid0/main"));
        for number in 0..5 {
            talk(store, "ezra/cli/uid0/main", &number.to_string());
        }
        let numbers = || {
            let session = store.session(&key).unwrap().unwrap();
            let numbers: Vec<_> = session.turns.iter().map(|turn| turn.number).collect();
            (session.head.summary, numbers)
        };
        assert_eq!(numbers(), (None, vec![0, 1, 2, 3, 4]));
        for (text, turns) in [("one", 3), ("better", 3), ("more", 4)] {
            assert_eq!(set(&summary(text, turns)), Ok(Written::Done));
            let left = (turns..5).collect();
            assert_eq!(numbers(), (Some(summary(text, turns)), left));
        }
        assert_eq!(set(&summary("late", 2)), Ok(Written::Done));
        assert_eq!(numbers(), (Some(summary("more", 4)), vec![4]));
        assert_eq!(set(&summary("x", 6)), not_found("turn 5 of session ezra/cli/uid0/main"));
        assert_eq!(store.turns(&key, 0, 99).unwrap().len(), 5, "a summary deletes nothing");
    });
}

#[test]
fn turns_and_sessions_are_listed_in_order_and_by_pages() {
    on_each_store(|store| {
        let names =
            ["ezra/cli/b/main", "ezra-2/cli/a/main", "a/web/z/main", "ezra/cli/b/s3", "ezra/cli/a.b/main"];
        for (key, name) in names.iter().enumerate() {
            talk(store, name, &key.to_string());
        }
        let list = |archon: Option<&str>, after: Option<&str>, limit| {
            let archon = archon.map(|archon| archon.parse().unwrap());
            let after = after.map(|after| after.parse().unwrap());
            let heads = store.sessions(archon.as_ref(), after.as_ref(), limit).unwrap();
            heads.iter().map(|head| head.key.to_string()).collect::<Vec<_>>()
        };
        let ordered =
            ["a/web/z/main", "ezra/cli/a.b/main", "ezra/cli/b/main", "ezra/cli/b/s3", "ezra-2/cli/a/main"];
        assert_eq!(list(None, None, 9), ordered);
        assert_eq!(list(None, None, 2), ordered[..2]);
        assert_eq!(list(None, Some(ordered[1]), 2), ordered[2..4]);
        assert_eq!(list(Some("ezra"), None, 9), ordered[1..4]);
        assert_eq!(list(Some("ezra"), Some(ordered[1]), 9), ordered[2..4]);
        assert_eq!(list(Some("ezra"), Some(ordered[0]), 9), ordered[1..4]);
        assert_eq!(list(Some("ezra"), Some(ordered[4]), 9), [""; 0]);

        let key = ordered[2].parse().unwrap();
        for number in 1..5 {
            talk(store, ordered[2], &format!("more {number}"));
        }
        let numbers = |from, limit| {
            let turns = store.turns(&key, from, limit).unwrap();
            turns.iter().map(|turn| turn.number).collect::<Vec<_>>()
        };
        assert_eq!((numbers(0, 2), numbers(2, 99), numbers(9, 9)), (vec![0, 1], vec![2, 3, 4], vec![]));
    });
}

#[test]
fn after_the_last_number_that_there_can_be_there_is_nothing() {
    on_each_store(|store| {
        let answered = talk(store, "ezra/cli/uid0/main", "answered");
        accept(store, message("waiting"));
        let session = &answered.session;
        assert_eq!(store.pending(&session.archon, Some(InboxId(u64::MAX)), 9), Ok(vec![]));
        let peer = Some((&session.archon, &session.peer));
        for peer in [None, peer] {
            let owed = store.undelivered(&session.channel, peer, Some(OutboxId(u64::MAX)), 9);
            assert_eq!(owed, Ok(vec![]));
        }
    });
}

#[test]
fn a_removed_session_leaves_nothing_but_what_is_still_owed() {
    on_each_store(|store| {
        let name = "ezra/cli/uid0/main";
        let key: SessionKey = name.parse().unwrap();
        let remove = || one(store, Write::RemoveSession { session: key.clone() });
        assert_eq!(remove(), not_found("session ezra/cli/uid0/main"));

        let delivered = talk(store, name, "delivered");
        one(store, Write::MarkSent { outbox: delivered.id }).unwrap();
        let owed = talk(store, name, "owed");
        let waiting = accept(store, message("waiting"));
        let other = talk(store, "ezra/cli/uid1/main", "other");

        assert_eq!(remove(), Ok(Written::Done));
        assert_eq!(store.session(&key), Ok(None));
        assert_eq!(store.turns(&key, 0, 9), Ok(vec![]));
        assert_eq!(store.answer_to(delivered.answers), Ok(None));
        assert_eq!(store.answer_to(owed.answers), Ok(Some(owed.clone())));
        let undelivered = store.undelivered(&key.channel, None, None, 9).unwrap();
        assert_eq!(undelivered, [owed, other.clone()]);
        assert_eq!(store.pending(&key.archon, None, 9), Ok(vec![waiting.clone()]));
        let again = one(store, Write::Accept(message("delivered")));
        let duplicate = Accepted::Duplicate(delivered.answers);
        assert_eq!(again, Ok(Written::Accepted(duplicate)), "its keys are still known");

        let ended = end(store, turn_end(waiting.id, "late"));
        assert!(ended.id > other.id, "numbers are never given twice");
        assert_eq!(store.session(&key).unwrap().unwrap().head.turns, 1, "it begins anew");
    });
}

#[test]
fn a_refused_change_refuses_alone() {
    on_each_store(|store| {
        let session = "ezra/cli/uid0/none".parse().unwrap();
        let batch = [
            Write::Accept(message("1")),
            Write::MarkSent { outbox: OutboxId(7) },
            Write::RemoveSession { session },
            Write::EndTurn(turn_end(InboxId(1), "hi")),
        ];
        let results = store.commit(&batch).unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        assert!(store.answer_to(InboxId(1)).unwrap().is_some());
    });
}

/// Both stores give the same answers to the same changes and questions, whatever they are.
mod alike {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    fn write() -> impl Strategy<Value = Write> {
        let (id, text) = (1..12_u64, prop::sample::select(vec!["hello", "/new", "/status"]));
        let thread = prop::option::of(prop::sample::select(vec!["main", "t", "s2"]));
        let session = (0..2_u8, 0..2_u8, prop::sample::select(vec!["main", "t", "s2"]))
            .prop_map(|(archon, peer, thread)| format!("a{archon}/cli/p{peer}/{thread}").parse().unwrap());
        let accept =
            (0..12_u8, 0..2_u8, 0..2_u8, thread, text).prop_map(|(key, archon, peer, thread, text)| {
                Write::Accept(InboundMessage {
                    archon: format!("a{archon}").parse().unwrap(),
                    peer: format!("p{peer}").parse().unwrap(),
                    thread: thread.map(|thread| thread.parse().unwrap()),
                    text: text.into(),
                    ..message(&key.to_string())
                })
            });
        let end_turn = (id.clone(), any::<bool>()).prop_map(|(inbox, kept)| {
            let end = turn_end(InboxId(inbox), "answer");
            Write::EndTurn(TurnEnd { turn: end.turn.clone().filter(|_| kept), ..end })
        });
        let journal = (id.clone(), 0..9_u8).prop_map(|(inbox, call)| Write::Journal {
            inbox: InboxId(inbox),
            entries: vec![JournalEntry::Begun { call: call.to_string() }; usize::from(call % 3)],
        });
        let set_summary = (session.clone(), 0..4_u64).prop_map(|(session, turns)| Write::SetSummary {
            session,
            summary: Summary { text: "so far".into(), turns, called: vec!["web_fetch".into()] },
        });
        prop_oneof![
            6 => accept,
            2 => id.clone().prop_map(|id| Write::BeginAttempt { inbox: InboxId(id) }),
            4 => journal,
            5 => end_turn,
            3 => id.prop_map(|id| Write::MarkSent { outbox: OutboxId(id) }),
            2 => set_summary,
            1 => session.prop_map(|session| Write::RemoveSession { session }),
        ]
    }

    fn everything(store: &dyn Store) -> String {
        let cli = "cli".parse().unwrap();
        let mut all = format!("{:?}", store.undelivered(&cli, None, None, 99));
        for archon in ["a0".parse().unwrap(), "a1".parse().unwrap()] {
            let pending = (store.pending(&archon, None, 99), store.pending_len(&archon));
            all += &format!("{pending:?} {:?}", store.sessions(Some(&archon), None, 99));
            for peer in ["p0".parse().unwrap(), "p1".parse().unwrap()] {
                let owed = store.undelivered(&cli, Some((&archon, &peer)), None, 99);
                all += &format!("{owed:?} {:?}", store.current_thread(&archon, &cli, &peer));
            }
        }
        for head in store.sessions(None, None, 99).unwrap() {
            all += &format!("{:?} {:?}", store.session(&head.key), store.turns(&head.key, 0, 99));
        }
        for inbox in 0..12 {
            let inbox = InboxId(inbox);
            all += &format!("{:?} {:?}", store.answer_to(inbox), store.journal(inbox));
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn both_stores_answer_alike(batches in prop::collection::vec(prop::collection::vec(write(), 1..4), 1..20)) {
            let memory: Arc<dyn Store> = Arc::new(MemStore::new());
            let disk: Arc<dyn Store> = Arc::new(RedbStore::open_on("disk", InMemoryBackend::new).unwrap());
            for batch in batches {
                prop_assert_eq!(memory.commit(&batch), disk.commit(&batch), "{:?}", batch);
                prop_assert_eq!(everything(&*memory), everything(&*disk), "{:?}", batch);
            }
        }
    }
}

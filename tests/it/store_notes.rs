//! The contract of memory: notes are kept once, what was said is found again, and nobody finds what is another's.
use archond::store::RedbStore;
use archond_actors::domain::{
    InboundMessage, Kept, Maker, Meant, NOTES_MAX, NewNote, Note, NoteId, NotesOf, OutboxId, PeerKey,
    Recalled, SessionKey, Sought, Unindexed, Vector,
};
use archond_actors::ports::{Store, Write, Written};
use archond_actors::testkit::MemStore;
use archond_actors::testkit::findings::letters;
use proptest::prelude::*;

use crate::store_contract::{accept, end, message, not_found, on_each_store, one, turn_end};

fn owner(text: &str) -> PeerKey {
    text.parse().unwrap()
}

fn keep(store: &dyn Store, of: &str, text: &str) -> Kept {
    match one(store, Write::KeepNote(NewNote::new(owner(of), None, text, 5).unwrap())) {
        Ok(Written::Kept(kept)) => kept,
        other => panic!("not kept: {other:?}"),
    }
}

fn fresh(kept: Kept) -> Note {
    match kept {
        Kept::Fresh(note) => note,
        other => panic!("not fresh: {other:?}"),
    }
}

/// One turn in this session: what was asked, and what was answered.
fn talk(store: &dyn Store, session: &str, key: &str, user: &str, answer: &str) -> OutboxId {
    let SessionKey { archon, channel, peer, thread } = session.parse().unwrap();
    let thread = Some(thread);
    let entry = accept(store, InboundMessage { archon, channel, peer, thread, ..message(key) });
    let mut turn = turn_end(entry.id, answer);
    turn.turn.as_mut().unwrap().user = user.to_owned();
    end(store, turn).id
}

/// What was found: a note's number, or a turn's session and number.
fn found(store: &dyn Store, of: &str, question: &str) -> Vec<String> {
    store.recall(&owner(of), question, 9).unwrap().iter().map(name).collect()
}

fn name(recalled: &Recalled) -> String {
    match recalled {
        Recalled::Note(note) => format!("note {}", note.id),
        Recalled::Turn { session, number, .. } => format!("{session} {number}"),
    }
}

#[test]
fn the_same_words_are_one_note_and_a_number_is_given_once() {
    on_each_store(|store| {
        let first = fresh(keep(store, "ezra/cli/uid0", "the dog is called Rex"));
        assert_eq!((first.id, first.created_unix_ms), (NoteId(1), 5));
        assert_eq!(keep(store, "ezra/cli/uid0", "the dog is called Rex"), Kept::Known(first.clone()));
        let other = fresh(keep(store, "ezra/cli/uid1", "the dog is called Rex"));
        assert_eq!(other.id, NoteId(2), "of another peer it is another note");

        let forget = |of: &str, note| Write::ForgetNote { owner: owner(of), note: NoteId(note) };
        assert_eq!(one(store, forget("ezra/cli/uid1", 1)), not_found("note 1"), "it is not his");
        assert_eq!(one(store, forget("ezra/cli/uid0", 1)), Ok(Written::Done));
        assert_eq!(one(store, forget("ezra/cli/uid0", 1)), not_found("note 1"));
        assert_eq!(fresh(keep(store, "ezra/cli/uid0", "the dog is called Rex")).id, NoteId(3));
        assert_eq!(one(store, forget("ezra/cli/uid0", 3)), Ok(Written::Done));
        assert_eq!(
            fresh(keep(store, "ezra/cli/uid0", "a cat")).id,
            NoteId(4),
            "also after the last one went"
        );
    });
}

#[test]
fn notes_are_listed_by_owner_and_page_by_page() {
    on_each_store(|store| {
        for of in
            ["ezra/cli/uid1", "electra/cli/uid0", "ezra/cli/uid0", "ezra/telegram/uid0", "ezra/cli/uid1"]
        {
            keep(store, of, &format!("{of} {}", store.notes(&NotesOf::House, None, 99).unwrap().len()));
        }
        let ids = |of: &NotesOf, limit| -> Vec<u64> {
            let (mut ids, mut after) = (Vec::new(), None);
            loop {
                let page = store.notes(of, after.as_ref(), limit).unwrap();
                let Some(last) = page.last() else { return ids };
                after = Some(last.place());
                ids.extend(page.iter().map(|note| note.id.0));
            }
        };
        for limit in [1, 2, 99] {
            assert_eq!(ids(&NotesOf::House, limit), [2, 3, 1, 5, 4]);
            assert_eq!(ids(&NotesOf::Archon("ezra".parse().unwrap()), limit), [3, 1, 5, 4]);
            assert_eq!(ids(&NotesOf::Peer(owner("ezra/cli/uid1")), limit), [1, 5]);
            assert_eq!(ids(&NotesOf::Peer(owner("ezra/cli/uid9")), limit), Vec::<u64>::new());
        }
    });
}

#[test]
fn a_full_memory_refuses_and_drops_nothing() {
    on_each_store(|store| {
        let notes: Vec<Write> = (0..NOTES_MAX)
            .map(|n| {
                Write::KeepNote(NewNote::new(owner("ezra/cli/uid0"), None, &format!("fact {n}"), 5).unwrap())
            })
            .collect();
        assert!(
            store
                .commit(&notes)
                .unwrap()
                .iter()
                .all(|kept| matches!(kept, Ok(Written::Kept(Kept::Fresh(_)))))
        );
        assert_eq!(keep(store, "ezra/cli/uid0", "one more"), Kept::Full);
        assert!(matches!(keep(store, "ezra/cli/uid0", "fact 7"), Kept::Known(_)), "what is there is there");
        fresh(keep(store, "ezra/cli/uid1", "others have room"));
        let mine = NotesOf::Peer(owner("ezra/cli/uid0"));
        let first = store.notes(&mine, None, usize::MAX).unwrap();
        assert_eq!((first.len(), first[0].text.as_str()), (NOTES_MAX, "fact 0"));
        let forget = Write::ForgetNote { owner: owner("ezra/cli/uid0"), note: first[0].id };
        assert_eq!(one(store, forget), Ok(Written::Done));
        fresh(keep(store, "ezra/cli/uid0", "one more"));
    });
}

#[test]
fn what_was_said_is_found_in_all_conversations_of_its_peer() {
    on_each_store(|store| {
        talk(store, "ezra/cli/uid0/main", "1", "My dog is called Rex", "A fine name for a dog.");
        talk(store, "ezra/cli/uid0/s7", "2", "Wie spät ist es?", "Halb neun.");
        talk(store, "ezra/cli/uid0/s7", "3", "What do dogs eat?", "Meat, mostly.");
        keep(store, "ezra/cli/uid0", "Er mag kurze Antworten");
        assert_eq!(found(store, "ezra/cli/uid0", "Rex?"), ["ezra/cli/uid0/main 0"]);
        assert_eq!(found(store, "ezra/cli/uid0", "the dogs"), ["ezra/cli/uid0/main 0", "ezra/cli/uid0/s7 1"]);
        assert_eq!(found(store, "ezra/cli/uid0", "Antwort"), ["note 1"]);
        assert_eq!(found(store, "ezra/cli/uid0", "horse"), Vec::<String>::new());
        assert_eq!(found(store, "ezra/cli/uid0", ""), Vec::<String>::new());
        let best = store.recall(&owner("ezra/cli/uid0"), "the dogs", 1).unwrap();
        assert!(
            matches!(&best[..], [Recalled::Turn { user, answer, ended_unix_ms: 2_000, .. }]
            if user == "My dog is called Rex" && answer == "A fine name for a dog."),
            "{best:?}"
        );
    });
}

#[test]
fn a_forgotten_session_is_found_no_more_and_the_notes_stay() {
    on_each_store(|store| {
        let sent = talk(store, "ezra/cli/uid0/main", "1", "the dog is Rex", "yes");
        talk(store, "ezra/cli/uid0/s7", "2", "the dog barks", "yes");
        keep(store, "ezra/cli/uid0", "a dog");
        one(store, Write::MarkSent { outbox: sent }).unwrap();
        one(store, Write::RemoveSession { session: "ezra/cli/uid0/main".parse().unwrap() }).unwrap();
        assert_eq!(found(store, "ezra/cli/uid0", "dog Rex"), ["note 1", "ezra/cli/uid0/s7 0"]);
        talk(store, "ezra/cli/uid0/main", "3", "Rex again", "yes");
        assert_eq!(found(store, "ezra/cli/uid0", "Rex"), ["ezra/cli/uid0/main 0"], "and may begin anew");
    });
}

#[test]
fn a_turn_is_found_by_its_words_and_not_by_what_its_tools_said() {
    use archond_actors::domain::{CallRecord, Outcome, ToolCall, ToolStep};
    on_each_store(|store| {
        let entry = accept(store, message("1"));
        let mut turn = turn_end(entry.id, "it rains");
        let call = ToolCall { id: "1".into(), name: "fetch".into(), arguments: "{}".into() };
        let outcome = Outcome::Done { text: "secret elephants".into() };
        let step = ToolStep { text: String::new(), calls: vec![CallRecord { call, outcome }] };
        turn.turn.as_mut().unwrap().steps = vec![step];
        end(store, turn);
        assert_eq!(found(store, "ezra/cli/uid0", "rain"), ["ezra/cli/uid0/main 0"]);
        assert_eq!(found(store, "ezra/cli/uid0", "elephants"), Vec::<String>::new());
    });
}

/// What happens between four people and two Archons who all speak of the same few things. Names begin as others do.
#[derive(Debug, Clone)]
enum Said {
    Turn { session: usize, words: String },
    Note { owner: usize, words: String },
    Removed { session: usize },
}

const OWNERS: [&str; 6] = ["a/cli/p", "a/cli/pq", "a/cli2/p", "ab/cli/p", "ab/cli2/pq", "ab/cli/pq"];
const THREADS: [&str; 3] = ["main", "m", "s1"];

fn said() -> impl Strategy<Value = Said> {
    let words =
        prop::sample::subsequence(vec!["dog", "Häuser", "rains", "blue", "東京", "notes.txt", "the"], 1..5)
            .prop_map(|words| words.join(" "));
    let session = 0..OWNERS.len() * THREADS.len();
    prop_oneof![
        6 => (session.clone(), words.clone()).prop_map(|(session, words)| Said::Turn { session, words }),
        2 => (0..OWNERS.len(), words).prop_map(|(owner, words)| Said::Note { owner, words }),
        1 => session.prop_map(|session| Said::Removed { session }),
    ]
}

fn live(store: &dyn Store, story: &[Said], begun: usize) {
    let name =
        |session: usize| format!("{}/{}", OWNERS[session / THREADS.len()], THREADS[session % THREADS.len()]);
    for (number, said) in (begun..).zip(story) {
        match said {
            Said::Turn { session, words } => {
                // Who says it is in the text, so that it can be told whose it was.
                let session = name(*session);
                talk(store, &session, &number.to_string(), &format!("{words} by {session}"), words);
            }
            Said::Note { owner, words } => {
                keep(store, OWNERS[*owner], &format!("{words} by {}/", OWNERS[*owner]));
            }
            Said::Removed { session } => {
                let _unknown_ones_too =
                    one(store, Write::RemoveSession { session: name(*session).parse().unwrap() });
            }
        }
    }
}

fn maker(version: &str) -> Maker {
    Maker { model: "e".parse().unwrap(), version: version.to_owned() }
}

/// Gives a vector to each text that has none: what has the same letters means the same.
fn index(store: &dyn Store, version: &str) {
    assert_eq!(one(store, Write::UseMaker(maker(version))), Ok(Written::Done));
    for Unindexed { of, text } in store.unindexed(usize::MAX).unwrap() {
        let vector = Vector::of(&letters(&text));
        let kept = one(store, Write::KeepVector { maker: maker(version), of, vector });
        assert_eq!(kept, Ok(Written::Done));
    }
}

fn meant(question: &str, version: &str) -> Sought {
    let meant = Meant { maker: maker(version), vector: Vector::of(&letters(question)) };
    Sought { question: question.to_owned(), meant: Some(meant) }
}

#[test]
fn what_means_the_like_is_found_in_every_store() {
    on_each_store(|store| {
        keep(store, "ezra/cli/uid0", "listen");
        keep(store, "ezra/cli/uid0", "dog");
        keep(store, "ezra/cli/uid1", "silent, inlets");
        talk(store, "ezra/cli/uid0/main", "1", "enlist", "yes");
        assert_eq!((store.indexed().unwrap().with, store.indexed().unwrap().without), (0, 4));
        index(store, "1");
        let indexed = store.indexed().unwrap();
        assert_eq!((indexed.maker, indexed.with, indexed.without), (Some(maker("1")), 4, 0));
        let find = |version: &str| {
            let found = store.find(&owner("ezra/cli/uid0"), &meant("silent", version), 9).unwrap();
            found.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(find("1"), ["note 1", "ezra/cli/uid0/main 0"]);
        assert_eq!(find("2"), Vec::<String>::new(), "vectors of others cannot be compared");
        assert_eq!(found(store, "ezra/cli/uid0", "silent"), Vec::<String>::new(), "by words alone");

        // What is forgotten or removed is found no more, and another maker begins anew.
        let forget = |of: &str| Write::ForgetNote { owner: owner(of), note: NoteId(1) };
        assert_eq!(one(store, forget("ezra/cli/uid1")), not_found("note 1"));
        assert_eq!(find("1").len(), 2);
        one(store, forget("ezra/cli/uid0")).unwrap();
        assert_eq!(find("1"), ["ezra/cli/uid0/main 0"]);
        one(store, Write::RemoveSession { session: "ezra/cli/uid0/main".parse().unwrap() }).unwrap();
        assert_eq!((find("1"), store.indexed().unwrap().with), (vec!["note 2".to_owned()], 2));
        one(store, Write::UseMaker(maker("2"))).unwrap();
        assert_eq!((store.indexed().unwrap().with, store.indexed().unwrap().without), (0, 2));
        index(store, "2");
        assert_eq!(find("2"), ["note 2"]);
    });
}

#[test]
fn a_vector_of_what_stood_there_before_is_not_taken() {
    on_each_store(|store| {
        talk(store, "ezra/cli/uid0/main", "1", "old", "answer");
        one(store, Write::UseMaker(maker("1"))).unwrap();
        let before = store.unindexed(9).unwrap().remove(0);
        one(store, Write::Rewind { session: "ezra/cli/uid0/main".parse().unwrap(), turns: 0 }).unwrap();
        talk(store, "ezra/cli/uid0/main", "2", "new", "answer");
        let keep = |of| Write::KeepVector { maker: maker("1"), of, vector: Vector::of(&[1.0]) };
        one(store, keep(before.of)).unwrap();
        assert_eq!(store.indexed().unwrap().with, 0);
        let now = store.unindexed(9).unwrap().remove(0);
        assert!(now.text.starts_with("new"), "{now:?}");
        one(store, keep(now.of)).unwrap();
        assert_eq!((store.indexed().unwrap().with, store.unindexed(9).unwrap()), (1, vec![]));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nobody_finds_what_is_anothers_and_every_store_ranks_alike(
        story in prop::collection::vec(said(), 0..40),
        question in prop::sample::select(vec!["dogs", "Haus", "rain blue", "東", "note", "the", "dog Häuser rains blue 東京 txt"]),
        limit in 1..12_usize,
        by_meaning in any::<bool>(),
        indexed in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (memory, disk) = (MemStore::new(), RedbStore::open(folder.path().join("store.redb")).unwrap());
        // Some has a vector when the rest comes to pass, and all of it in the end.
        let (first, then) = story.split_at(indexed.index(story.len() + 1));
        for store in [&memory as &dyn Store, &disk] {
            live(store, first, 0);
            index(store, "1");
            live(store, then, first.len());
            index(store, "1");
        }
        let sought = if by_meaning { meant(question, "1") } else { Sought::by_words(question) };
        for of in OWNERS {
            let found = disk.find(&owner(of), &sought, limit).unwrap();
            prop_assert!(found.len() <= limit);
            for recalled in &found {
                match recalled {
                    Recalled::Note(note) => {
                        prop_assert_eq!(&note.owner, &owner(of));
                        let by = format!(" by {of}/");
                        prop_assert!(note.text.ends_with(&by), "{}", note.text);
                    }
                    Recalled::Turn { session, user, .. } => {
                        prop_assert!(owner(of).holds(session));
                        let by = format!(" by {session}");
                        prop_assert!(user.ends_with(&by), "{}", user);
                    }
                }
            }
            prop_assert_eq!(found, memory.find(&owner(of), &sought, limit).unwrap());
        }
        prop_assert!(disk.check_remembered().is_ok());
    }
}

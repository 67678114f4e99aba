//! A conversation that goes to another place of the same person: the contract of every store, and what a power cut leaves of it.
use archond::store::RedbStore;
use archond_actors::domain::{
    Accepted, Busy, CodeHash, Grant, HandOff, InboundMessage, InboxEntry, InboxId, LinkChange, Maker,
    ModelId, NewNote, OutboxEntry, PeerKey, Recalled, SessionKey, SessionOptions, Stays, Summary, Vector,
};
use archond_actors::ports::{Store, StoreError, Write, Written};

use crate::disk::{Disk, Random, Tear};
use crate::store_contract::{accept, end, message, not_found, on_each_store, one, turn_end};

const PHONE: &str = "ezra/telegram/7";
const TERMINAL: &str = "ezra/cli/uid0";

fn peer(name: &str) -> PeerKey {
    name.parse().unwrap()
}

fn session(of: &str, thread: &str) -> SessionKey {
    peer(of).session(thread.parse().unwrap())
}

fn said(of: &str, key: &str, text: &str) -> InboundMessage {
    let PeerKey { archon, channel, peer } = peer(of);
    InboundMessage { archon, channel, peer, text: text.into(), ..message(key) }
}

fn says(store: &dyn Store, of: &str, key: &str, text: &str) -> InboxEntry {
    accept(store, said(of, key, text))
}

/// A message with its answer, in the thread that is current.
fn talk(store: &dyn Store, of: &str, key: &str, text: &str) -> OutboxEntry {
    let entry = says(store, of, key, text);
    let mut turn = turn_end(entry.id, &format!("answer to {text}"));
    turn.turn.as_mut().unwrap().user = text.to_owned();
    end(store, turn)
}

fn link(store: &dyn Store, one: &str, other: &str) {
    let code = CodeHash([7; 32]);
    for (of, change) in [(one, LinkChange::Offer(code)), (other, LinkChange::Join(code))] {
        let link = Write::Link { with: peer(of), change, now_unix_ms: 5 };
        assert!(matches!(store.commit(&[link]).unwrap()[0], Ok(Written::Linked(_))));
    }
}

fn hand_off(inbox: InboxId, from: SessionKey, to: &str) -> HandOff {
    let to = session(to, &format!("s{inbox}"));
    HandOff { from, to, inbox, text: "gone".into(), now_unix_ms: 3_000 }
}

fn current(store: &dyn Store, of: &str) -> String {
    let PeerKey { archon, channel, peer } = peer(of);
    store.current_thread(&archon, &channel, &peer).unwrap().to_string()
}

fn recalled(store: &dyn Store, of: &str, words: &str) -> Vec<String> {
    let name = |found: &Recalled| match found {
        Recalled::Note(note) => format!("note {}", note.id),
        Recalled::Turn { session, number, .. } => format!("{session} {number}"),
    };
    store.recall(&peer(of), words, 9).unwrap().iter().map(name).collect()
}

#[test]
fn a_conversation_goes_whole_and_what_is_the_peers_own_stays() {
    on_each_store(|store| {
        link(store, PHONE, TERMINAL);
        let first = talk(store, PHONE, "1", "blue tea");
        talk(store, PHONE, "2", "green tea");
        let main = session(PHONE, "main");
        let maker = Maker { model: "e".parse().unwrap(), version: "1".into() };
        one(store, Write::UseMaker(maker.clone())).unwrap();
        let of = store.unindexed(9).unwrap().remove(0).of;
        one(store, Write::KeepVector { maker: maker.clone(), of, vector: Vector::of(&[1.0]) }).unwrap();
        let waiting = store.unindexed(9).unwrap().remove(0);
        let model = Some("other".parse::<ModelId>().unwrap());
        let options = SessionOptions { model, busy: Busy::Steer, ..SessionOptions::default() };
        let chosen = Write::SetOptions { session: main.clone(), options, now_unix_ms: 9 };
        let summary = Summary { text: "so far".into(), turns: 1, called: vec!["web_fetch".into()] };
        let grant = Grant { tool: "bash".into(), command: None };
        let note = NewNote::new(peer(PHONE), None, "likes tea", 5).unwrap();
        for write in [
            chosen,
            Write::SetSummary { session: main.clone(), summary },
            Write::AddGrant { with: peer(PHONE), grant: grant.clone() },
            Write::KeepNote(note),
        ] {
            one(store, write).unwrap();
        }
        let (before, turns) = (store.session(&main).unwrap().unwrap(), store.turns(&main, 0, 9).unwrap());

        let asked = says(store, PHONE, "3", "/handoff terminal");
        let off = hand_off(asked.id, main.clone(), TERMINAL);
        let Ok(Written::Ended(answer, beside)) = one(store, Write::HandOff(off.clone())) else { panic!() };
        assert_eq!((answer.text.as_str(), &answer.session, beside), ("gone", &main, vec![]));
        let after = store.session(&off.to).unwrap().unwrap();
        let mut wanted = before;
        wanted.head.key = off.to.clone();
        assert_eq!((after, store.turns(&off.to, 0, 9).unwrap()), (wanted, turns));
        assert_eq!((store.session(&main), store.turns(&main, 0, 9)), (Ok(None), Ok(vec![])));
        assert_eq!((current(store, PHONE), current(store, TERMINAL)), ("s3".into(), "s3".into()));
        assert_eq!(store.sessions_with(&peer(PHONE)), Ok(vec![]));

        assert_eq!(recalled(store, TERMINAL, "tea").len(), 2);
        assert_eq!(recalled(store, PHONE, "tea"), ["note 1"], "notes stay");
        assert_eq!(store.grants(&peer(PHONE)), Ok(vec![grant]));
        assert_eq!(store.grants(&peer(TERMINAL)), Ok(vec![]));
        let indexed = store.indexed().unwrap();
        assert_eq!((indexed.with, indexed.without), (1, 2), "a vector, a turn without, and the note");
        one(store, Write::KeepVector { maker, of: waiting.of, vector: Vector::of(&[1.0]) }).unwrap();
        assert_eq!(store.indexed().unwrap().with, 1, "it is not there any more");

        let owed = store.undelivered(&"telegram".parse().unwrap(), None, None, 9).unwrap();
        assert_eq!(owed.len(), 3, "answers go to whom they are addressed");
        assert_eq!(store.answer_to(first.answers), Ok(Some(first)));
        talk(store, TERMINAL, "4", "red tea");
        assert_eq!(store.session(&off.to).unwrap().unwrap().head.turns, 3);
        talk(store, PHONE, "5", "no tea");
        assert_eq!(store.session(&session(PHONE, "s3")).unwrap().unwrap().head.turns, 1);
    });
}

#[test]
fn a_message_moves_nothing_a_second_time() {
    on_each_store(|store| {
        link(store, PHONE, TERMINAL);
        talk(store, PHONE, "1", "tea");
        let asked = says(store, PHONE, "2", "/handoff");
        let write = Write::HandOff(hand_off(asked.id, session(PHONE, "main"), TERMINAL));
        let results = store.commit(&[write.clone(), write.clone()]).unwrap();
        assert!(matches!(&results[0], Ok(Written::Ended(..))) && results[0] == results[1], "{results:?}");
        let back = says(store, TERMINAL, "3", "/handoff");
        let back = hand_off(back.id, session(TERMINAL, "s2"), PHONE);
        assert!(matches!(one(store, Write::HandOff(back)), Ok(Written::Ended(..))));
        assert_eq!(one(store, write), results[0], "the first answer stands");
        assert_eq!(store.turns(&session(PHONE, "s3"), 0, 9).unwrap().len(), 1);
        assert_eq!(store.sessions(None, None, 9).unwrap().len(), 1);
        let unknown = hand_off(InboxId(99), session(PHONE, "s3"), TERMINAL);
        assert_eq!(one(store, Write::HandOff(unknown)), not_found("message 99"));
    });
}

#[test]
fn what_may_not_go_stays_whole() {
    on_each_store(|store| {
        let main = session(PHONE, "main");
        talk(store, PHONE, "1", "tea");
        let asked = says(store, TERMINAL, "2", "/handoff from telegram").id;
        let try_from = |from: SessionKey| one(store, Write::HandOff(hand_off(asked, from, TERMINAL)));
        let stays = |why| Ok(Written::Stays(why));
        assert_eq!(try_from(main.clone()), stays(Stays::Apart));
        link(store, PHONE, TERMINAL);
        assert_eq!(try_from(session(PHONE, "none")), stays(Stays::Empty));
        let choose =
            |session| Write::SetOptions { session, options: SessionOptions::default(), now_unix_ms: 1 };
        one(store, choose(session(PHONE, "chosen"))).unwrap();
        assert_eq!(try_from(session(PHONE, "chosen")), stays(Stays::Empty), "nothing was said in it");
        let waiting = says(store, PHONE, "3", "more tea").id;
        assert_eq!(try_from(main.clone()), stays(Stays::Awaited));
        end(store, turn_end(waiting, "yes"));
        says(store, PHONE, "4", "/status");
        for of in [TERMINAL, PHONE] {
            one(store, choose(session(of, "s2"))).unwrap();
            assert_eq!(try_from(main.clone()), stays(Stays::Taken), "{of}");
            one(store, Write::RemoveSession { session: session(of, "s2") }).unwrap();
        }
        assert_eq!(store.answer_to(asked), Ok(None));
        assert_eq!((current(store, PHONE), current(store, TERMINAL)), ("main".into(), "main".into()));
        assert_eq!(store.turns(&main, 0, 9).unwrap().len(), 2);

        let unlink = Write::Link { with: peer(PHONE), change: LinkChange::Part, now_unix_ms: 9 };
        one(store, unlink).unwrap();
        assert_eq!(try_from(main.clone()), stays(Stays::Apart), "not any more");
        link(store, PHONE, TERMINAL);
        accept(store, InboundMessage { thread: Some("t".parse().unwrap()), ..said(PHONE, "5", "/status") });
        assert!(matches!(try_from(main), Ok(Written::Ended(..))), "a command that waits holds up nothing");
        assert_eq!(current(store, PHONE), "t", "who has gone elsewhere is left there");
    });
}

#[test]
fn what_was_said_before_it_went_is_forgotten_with_it() {
    on_each_store(|store| {
        link(store, PHONE, TERMINAL);
        let (seen, owed) = (talk(store, PHONE, "1", "blue tea"), talk(store, PHONE, "2", "green tea"));
        one(store, Write::MarkSent { outbox: seen.id }).unwrap();
        let asked = says(store, PHONE, "3", "/handoff");
        let off = hand_off(asked.id, session(PHONE, "main"), TERMINAL);
        one(store, Write::HandOff(off.clone())).unwrap();
        let forget = |session: &SessionKey| one(store, Write::RemoveSession { session: session.clone() });
        assert_eq!(forget(&off.from), not_found("session ezra/telegram/7/main"));
        assert_eq!(forget(&off.to), Ok(Written::Done));
        assert_eq!((store.answer_to(seen.answers), store.sessions(None, None, 9)), (Ok(None), Ok(vec![])));
        assert_eq!(store.answer_to(owed.answers), Ok(Some(owed.clone())), "what is owed is delivered");
        one(store, Write::MarkSent { outbox: owed.id }).unwrap();
        assert_eq!(forget(&off.to), Ok(Written::Done));
        assert_eq!(store.answer_to(owed.answers), Ok(None));
    });
}

/// What is done to a disk that forgets: a conversation of three turns goes to the terminal, and back.
fn travel(store: &dyn Store) -> Result<(), StoreError> {
    for key in ["1", "2", "3"] {
        let accepted = store.commit(&[Write::Accept(said(PHONE, key, &"tea ".repeat(900)))])?;
        store.commit(&[Write::EndTurn(turn_end(inbox_id(&accepted[0]), &"milk ".repeat(900)))])?;
    }
    let mut from = session(PHONE, "main");
    for (key, of, to) in [("4", PHONE, TERMINAL), ("5", TERMINAL, PHONE)] {
        let accepted = store.commit(&[Write::Accept(said(of, key, "/handoff"))])?;
        let off = hand_off(inbox_id(&accepted[0]), from, to);
        store.commit(&[Write::HandOff(off.clone())])?;
        from = off.to;
    }
    Ok(())
}

fn inbox_id(result: &Result<Written, StoreError>) -> InboxId {
    match result {
        Ok(Written::Accepted(Accepted::Fresh(entry))) => entry.id,
        other => panic!("not fresh: {other:?}"),
    }
}

#[test]
fn after_a_power_loss_at_any_moment_it_is_in_one_place() {
    let linked = || {
        let disk = Disk::default();
        let from = disk.clone();
        let store = RedbStore::open_on("disk", move || from.clone()).unwrap();
        link(&store, PHONE, TERMINAL);
        (disk, store)
    };
    let (disk, store) = linked();
    let before = disk.operations();
    travel(&store).unwrap();
    drop(store);
    let operations = disk.operations() - before;
    let mut seen = [false; 3];
    for cut in 1..=operations {
        let (disk, store) = linked();
        disk.power_off_in(cut);
        let _ = travel(&store);
        let mut random = Random::new(cut as u64);
        let found = Disk::holding(disk.after_power_loss(Tear::Sectors, &mut random));
        let store = RedbStore::open_on("disk", move || found.clone()).unwrap();
        store.check_remembered().unwrap();
        let answered = |inbox| usize::from(store.answer_to(InboxId(inbox)).unwrap().is_some());
        let moves = answered(4) + answered(5);
        let heads = store.sessions(None, None, 9).unwrap();
        let places: Vec<_> = heads.iter().map(|head| head.key.to_string()).collect();
        let wanted = ["ezra/telegram/7/main", "ezra/cli/uid0/s4", "ezra/telegram/7/s5"][moves];
        let turns = (1..=3).map(answered).sum::<usize>();
        assert!(
            places == [wanted] || (turns == 0 && places.is_empty()),
            "cut {cut}: {places:?}, {moves} moves"
        );
        assert!(heads.iter().all(|head| head.turns == turns as u64), "cut {cut}: {heads:?}");
        for of in [PHONE, TERMINAL] {
            let has = places.iter().any(|place| place.starts_with(of));
            let found = recalled(&store, of, "milk").len();
            assert_eq!(found, if has { turns } else { 0 }, "cut {cut}: {of}");
        }
        seen[moves] |= turns == 3;
    }
    assert_eq!(seen, [true; 3], "no cut fell between");
}

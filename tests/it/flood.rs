//! Far more messages than can be answered soon: all are taken in, each is answered once, in the order of its chat, also when the
//! daemon is killed in the middle; and they wait in the store, not in memory.
use std::collections::{BTreeMap, BTreeSet};

use archond::admin::protocol::{Op, Reply, TurnView};

use crate::kit::{Client, TestHouse};

/// Messages in the normal run. `ARCHOND_FLOOD` changes it.
const MESSAGES: usize = 1000;
/// Conversations that they belong to.
const CHATS: usize = 100;
/// Messages that one connection may have under way.
const PER_CONNECTION: usize = 64;
/// Most memory that the daemon may gain while they wait.
const GROWTH_BYTES_MAX: u64 = 64_000_000;

fn messages() -> usize {
    std::env::var("ARCHOND_FLOOD").ok().and_then(|count| count.parse().ok()).unwrap_or(MESSAGES)
}

fn hand_in(house: &TestHouse, numbers: &[usize]) {
    let mut client = house.client();
    for number in numbers {
        let (key, thread) = (number.to_string(), Some(format!("t{}", number % CHATS)));
        client.send(Op::Chat { archon: "ezra".into(), text: "hello".into(), key, thread }).unwrap();
    }
    let mut accepted = 0;
    while accepted < numbers.len() {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Accepted { .. }) => accepted += 1,
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // Leaving now loses nothing: what was accepted is the daemon's.
}

/// What was heard of each message: the places of its answers in the outbox.
type Heard = BTreeMap<String, BTreeSet<u64>>;

/// Takes and confirms answers until so many messages have one.
fn collect(client: &mut Client, wanted: usize, heard: &mut Heard) {
    while heard.len() < wanted {
        let Reply::Answers(found) = client.ask(Op::Undelivered { archon: "ezra".into() }).unwrap() else {
            panic!("no answers")
        };
        for answer in &found {
            assert_eq!(answer.text, "Hello, I am Ezra.");
            heard.entry(answer.key.clone()).or_default().insert(answer.outbox);
            assert_eq!(client.ask(Op::Delivered { outbox: answer.outbox }).unwrap(), Reply::Done);
        }
    }
}

#[test]
fn a_flood_waits_in_the_store_and_is_answered_once_in_order() {
    let house = TestHouse::new();
    house.write_profile("ezra", "limits: (inbox_len_max: 20000),");
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let before = client.status().memory_bytes;
    let numbers: Vec<usize> = (0..messages()).collect();
    for chunk in numbers.chunks(PER_CONNECTION) {
        hand_in(&house, chunk);
    }
    let growth = client.status().memory_bytes.saturating_sub(before);
    println!("{} messages accepted, memory grew by {growth} bytes", numbers.len());
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes");

    let mut heard = Heard::new();
    collect(&mut client, numbers.len() / 2, &mut heard);
    daemon.kill();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    collect(&mut client, numbers.len(), &mut heard);
    // Nothing more comes: what was confirmed stays confirmed, and nobody is answered twice.
    assert_eq!(client.ask(Op::Undelivered { archon: "ezra".into() }).unwrap(), Reply::Answers(vec![]));
    for chat in 0..CHATS.min(numbers.len()) {
        let places: Vec<u64> = numbers
            .iter()
            .filter(|number| *number % CHATS == chat)
            .map(|number| {
                let places = &heard[&number.to_string()];
                assert_eq!(places.len(), 1, "message {number} has the answers {places:?}");
                *places.first().unwrap()
            })
            .collect();
        assert!(places.is_sorted(), "chat {chat} was answered in the order {places:?}");
    }
}

//! Prints the daemon's memory, workers apart: four Archons, ten thousand stored sessions, a thousand in memory.
//!
//! The real daemon with the real tiny model; the stored sessions are written through the store's own adapter before it starts.
//! `cargo bench --bench memory`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    dead_code
)]

#[path = "../tests/it/kit.rs"]
mod kit;

use archond::admin::protocol::HouseView;
use archond::store::RedbStore;
use archond_actors::domain::{
    AnswerKind, InboundMessage, InboxId, ModelId, NewAnswer, NewTurn, OutboxId, ThreadId, TurnEnd, Usage,
};
use archond_actors::ports::{Store, Write, Written};

/// Conversations on disk.
const STORED: u64 = 10_000;
/// Conversations in memory, over all Archons.
const ACTIVE: u64 = 1_000;
/// Turns of each stored conversation.
const TURNS: u64 = 3;
const ARCHONS: [&str; 4] = ["allegro", "bezalel", "electra", "ezra"];

fn main() {
    let house = kit::TestHouse::new();
    for archon in ARCHONS {
        // As many at once as may be, and none leaves memory while the others come.
        house.write_profile(
            archon,
            "limits: (turns_in_flight_max: 64, session_idle: \"1h\", answer_tokens_max: 64),",
        );
    }
    println!("writing {STORED} sessions of {TURNS} turns ...");
    let file = house.path().join("data/house.redb");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    fill(&RedbStore::open(file.clone()).unwrap());
    println!("store: {:.1} MB on disk", std::fs::metadata(&file).unwrap().len() as f64 / 1e6);
    let _daemon = house.start(&ARCHONS);
    let mut client = house.client();
    row("started", &client.status());
    for number in 0..ACTIVE {
        let archon = ARCHONS[usize::try_from(number).unwrap() % ARCHONS.len()];
        client.chat(archon, &format!("live{number}"), &format!("s{number}"), "hello");
        if (number + 1) % (ACTIVE / 4) == 0 {
            row(&format!("{} sessions used", number + 1), &client.status());
        }
    }
    let status = client.status();
    let active: u32 = status.archons.iter().map(|archon| archon.sessions).sum();
    assert_eq!(u64::from(active), ACTIVE, "sessions in memory");
    row("the end", &status);
}

fn row(what: &str, status: &HouseView) {
    let sessions: u32 = status.archons.iter().map(|archon| archon.sessions).sum();
    println!("{what:<24} {sessions:>5} in memory   daemon {:>6.1} MB", status.memory_bytes as f64 / 1e6);
}

fn fill(store: &RedbStore) {
    let mut number = 0;
    for turn in 0..TURNS {
        for chunk in (0..STORED).collect::<Vec<_>>().chunks(500) {
            let accepts: Vec<Write> = chunk.iter().map(|session| accept(*session, turn)).collect();
            let inboxes: Vec<InboxId> =
                store.commit(&accepts).unwrap().into_iter().map(|w| inbox(w.unwrap())).collect();
            let ends: Vec<Write> = inboxes.into_iter().map(end).collect();
            let outboxes: Vec<OutboxId> =
                store.commit(&ends).unwrap().into_iter().map(|w| outbox(w.unwrap())).collect();
            let sent: Vec<Write> = outboxes.into_iter().map(|outbox| Write::MarkSent { outbox }).collect();
            number += store.commit(&sent).unwrap().len();
        }
    }
    assert_eq!(number as u64, STORED * TURNS);
}

fn accept(session: u64, turn: u64) -> Write {
    let archon = ARCHONS[usize::try_from(session).unwrap() % ARCHONS.len()];
    let peer = format!("uid{}", rustix::process::geteuid().as_raw());
    Write::Accept(InboundMessage {
        archon: archon.parse().unwrap(),
        channel: "cli".parse().unwrap(),
        peer: peer.parse().unwrap(),
        key: format!("{peer}:{session}-{turn}"),
        thread: Some(ThreadId::new(&format!("s{session}")).unwrap()),
        text: format!("message {turn} of conversation {session}: {}", "some words of a person ".repeat(6)),
        received_unix_ms: 1_700_000_000_000 + turn,
    })
}

fn end(inbox: InboxId) -> Write {
    let text = "an answer of the ordinary length that people get here ".repeat(6);
    let turn = NewTurn {
        user: "some words of a person ".repeat(6),
        answer: text.clone(),
        stopped: false,
        model: ModelId::new(kit::TINY_ID).unwrap(),
        usage: Usage { prompt_tokens: 40, cached_tokens: 0, answer_tokens: 60, prefill_ms: 1, decode_ms: 1 },
    };
    let answer = NewAnswer { kind: AnswerKind::Answer, text };
    Write::EndTurn(TurnEnd { inbox, turn: Some(turn), answer, ended_unix_ms: 1_700_000_001_000 })
}

fn inbox(written: Written) -> InboxId {
    match written {
        Written::Accepted(archond_actors::domain::Accepted::Fresh(entry)) => entry.id,
        other => panic!("{other:?}"),
    }
}

fn outbox(written: Written) -> OutboxId {
    match written {
        Written::Ended(entry) => entry.id,
        other => panic!("{other:?}"),
    }
}

//! A house's past: conversations that were held before the daemon starts.

use archond::store::RedbStore;
use archond_actors::domain::{
    AnswerKind, InboundMessage, InboxId, ModelId, NewAnswer, NewTurn, OutboxId, ThreadId, TurnEnd, Usage,
};
use archond_actors::ports::{Store, Write, Written};

use crate::kit;

/// Turns of each conversation.
const TURNS: u64 = 3;

/// Writes so many conversations through the store's own adapter, dealt out to the Archons in turn.
///
/// Conversation `n` has the thread `s<n>` and belongs to the terminal of whoever runs this.
pub(crate) fn write(house: &kit::TestHouse, archons: &[&str], sessions: u64) {
    println!("writing {sessions} sessions of {TURNS} turns ...");
    let file = house.path().join("data/house.redb");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    fill(&RedbStore::open(file.clone()).unwrap(), archons, sessions);
    println!("store: {:.1} MB on disk", std::fs::metadata(&file).unwrap().len() as f64 / 1e6);
}

fn fill(store: &RedbStore, archons: &[&str], sessions: u64) {
    let mut number = 0;
    for turn in 0..TURNS {
        for chunk in (0..sessions).collect::<Vec<_>>().chunks(500) {
            let accepts: Vec<Write> = chunk.iter().map(|session| accept(archons, *session, turn)).collect();
            let inboxes: Vec<InboxId> =
                store.commit(&accepts).unwrap().into_iter().map(|w| inbox(w.unwrap())).collect();
            let ends: Vec<Write> = inboxes.into_iter().map(end).collect();
            let outboxes: Vec<OutboxId> =
                store.commit(&ends).unwrap().into_iter().map(|w| outbox(w.unwrap())).collect();
            let sent: Vec<Write> = outboxes.into_iter().map(|outbox| Write::MarkSent { outbox }).collect();
            number += store.commit(&sent).unwrap().len();
        }
    }
    assert_eq!(number as u64, sessions * TURNS);
}

fn accept(archons: &[&str], session: u64, turn: u64) -> Write {
    let archon = archons[usize::try_from(session).unwrap() % archons.len()];
    let peer = format!("uid{}", rustix::process::geteuid().as_raw());
    Write::Accept(InboundMessage {
        archon: archon.parse().unwrap(),
        channel: "cli".parse().unwrap(),
        peer: peer.parse().unwrap(),
        key: format!("{peer}:{session}-{turn}"),
        thread: Some(ThreadId::new(&format!("s{session}")).unwrap()),
        text: format!("message {turn} of conversation {session}: {}", "some words of a person ".repeat(6)),
        received_unix_ms: 1_700_000_000_000 + turn,
        waybill: archond_actors::domain::Waybill::default(),
    })
}

fn end(inbox: InboxId) -> Write {
    let text = "an answer of the ordinary length that people get here ".repeat(6);
    let turn = NewTurn {
        user: "some words of a person ".repeat(6),
        answer: text.clone(),
        stopped: false,
        model: ModelId::new(kit::TINY_ID).unwrap(),
        steps: Vec::new(),
        asides: Vec::new(),
        brought: Vec::new(),
        usage: Usage { prompt_tokens: 40, answer_tokens: 60, ..Usage::default() },
        replaces_last: false,
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
        Written::Ended(entry, _) => entry.id,
        other => panic!("{other:?}"),
    }
}

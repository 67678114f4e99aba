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

#[path = "past/mod.rs"]
mod past;

use archond::admin::protocol::HouseView;

/// Conversations on disk.
const STORED: u64 = 10_000;
/// Conversations in memory, over all Archons.
const ACTIVE: u64 = 1_000;
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
    past::write(&house, &ARCHONS, STORED);
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

//! Prints what a worker that hangs costs: it is stopped, as by a fault in a driver, and asked. How long until
//! it is replaced and answers, and how long the daemon keeps others waiting meanwhile.
//!
//! `cargo bench --bench hung_worker`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    dead_code
)]
#![allow(clippy::disallowed_methods, reason = "a bench looks at the real clock")]

#[path = "../tests/it/kit.rs"]
mod kit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use archond::admin::protocol::{Op, Reply, TurnView};
use archond_actors::pool::PoolSettings;
use rustix::process::Signal;

const ROUNDS: u32 = 5;
/// Between two questions to the daemon.
const ASK_PERIOD: Duration = Duration::from_millis(5);

fn main() {
    let house = kit::TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let watchdog = PoolSettings::default().progress_timeout;
    println!("the watchdog waits {watchdog:?}");
    let ended = AtomicBool::new(false);
    let (mut waits, mut lags) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&house, &ended));
        let waits: Vec<Duration> = (0..ROUNDS).map(|round| hang(&house, round)).collect();
        ended.store(true, Ordering::Relaxed);
        (waits, asking.join().unwrap())
    });
    waits.sort_unstable();
    lags.sort_unstable();
    let (middle, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "from the question to the first word: median {middle:.2?}, most {most:.2?}, past the watchdog {:.2?}",
        most.saturating_sub(watchdog)
    );
    let at = |part: f64| lags[((lags.len() - 1) as f64 * part) as usize];
    println!(
        "an answer of the daemon, {} of them: p50 {:.2?}, p99 {:.2?}, most {:.2?}",
        lags.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Stops the worker and asks it something; returns the time until the first word, which is its successor's.
fn hang(house: &kit::TestHouse, round: u32) -> Duration {
    let mut client = house.client();
    let key = format!("hang{round}");
    client.chat("ezra", &format!("before{round}"), &key, "hello");
    let pid = client.status().models.iter().find_map(|model| model.pid).unwrap();
    let worker = kit::Daemon::of(pid);
    worker.signal(Signal::STOP);
    let asked = Instant::now();
    let op = Op::Chat { archon: "ezra".into(), text: "hello".into(), key: key.clone(), thread: Some(key) };
    client.send(op).unwrap();
    let mut first = None;
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Text { .. }) => drop(first.get_or_insert_with(|| asked.elapsed())),
            Reply::Turn(TurnView::Ended(answer)) => return first.expect(&answer.text),
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Asks for the state of the house again and again; returns how long each answer took.
fn ask(house: &kit::TestHouse, ended: &AtomicBool) -> Vec<Duration> {
    let (mut client, mut lags) = (house.client(), Vec::new());
    while !ended.load(Ordering::Relaxed) {
        let asked = Instant::now();
        client.status();
        lags.push(asked.elapsed());
        std::thread::sleep(ASK_PERIOD);
    }
    lags
}

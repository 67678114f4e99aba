//! Prints what a worker that hangs costs: it is stopped in the middle of an answer, as by a fault in a driver. How long until
//! it is replaced and the answer goes on, and how long the daemon keeps others waiting meanwhile.
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
        "from the hang to the next word: median {middle:.2?}, most {most:.2?}, past the watchdog {:.2?}",
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

/// Stops the worker in the middle of an answer; returns the time until the next word.
fn hang(house: &kit::TestHouse, round: u32) -> Duration {
    let (mut client, mut looker) = (house.client(), house.client());
    let text = format!("Summarise this conversation:\n\nuser: my number is {round}\nassistant: Noted.");
    let key = format!("hang{round}");
    client.send(Op::Chat { archon: "ezra".into(), text, key: key.clone(), thread: Some(key) }).unwrap();
    let (mut words, mut hung) = (0, None);
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Text { .. }) => {
                words += 1;
                if words == 4 {
                    let pid = looker.status().models.iter().find_map(|model| model.pid).unwrap();
                    let worker = kit::Daemon::of(pid);
                    worker.signal(Signal::STOP);
                    // Words that it had said before are still on the way.
                    std::thread::sleep(Duration::from_millis(50));
                    hung = Some((Instant::now(), worker));
                } else if let Some((at, _)) =
                    hung.as_ref().filter(|(at, _)| at.elapsed() > Duration::from_secs(1))
                {
                    let waited = at.elapsed();
                    while !matches!(client.receive().unwrap().reply, Reply::Turn(TurnView::Ended(_))) {}
                    return waited;
                }
            }
            Reply::Turn(TurnView::Ended(answer)) => panic!("it ended before it hung: {}", answer.text),
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

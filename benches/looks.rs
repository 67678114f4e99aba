//! Prints how long an operator waits for a look at the tree: in a quiet house, and in one that has ten times more to do than it can.
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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use archond::admin::inside::InsideOp;
use archond::admin::protocol::{Op, Reply};

const LOOKS: usize = 500;
/// Turns of one Archon that run at once, times ten.
const CLIENTS: usize = 80;

fn main() {
    let house = kit::TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    row("quiet", &mut looks(&house));
    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let floods: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (mut flood, done, answers) = (house.client(), done.clone(), answers.clone());
            std::thread::spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    flood.chat("ezra", &format!("{client}-{number}"), &format!("t{client}"), "hello");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let begun = Instant::now();
    row(&format!("{CLIENTS} clients, 8 turns at once"), &mut looks(&house));
    let per_second = answers.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    println!("meanwhile {per_second:.0} answers a second");
    done.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}

fn looks(house: &kit::TestHouse) -> Vec<Duration> {
    let mut client = house.client();
    (0..LOOKS)
        .map(|_| {
            let begun = Instant::now();
            let Reply::Inside(_) = client.ask(Op::Inside(InsideOp::Tree)).unwrap() else { panic!("no tree") };
            begun.elapsed()
        })
        .collect()
}

fn row(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<32} p50 {:>6.2} ms   p99 {:>6.2} ms   most {:>6.2} ms", at(0.5), at(0.99), at(1.0));
}

//! The whole house in simulated worlds: the real tree of actors and the real store, on a disk that forgets, with a model, people,
//! platforms and a clock that are drawn from a seed. Whatever happens, the laws of `laws` hold.
//!
//! `ARCHOND_SIM_SEEDS` runs more seeds. `ARCHOND_SIM_SEED` runs one and prints its history: a seed that failed fails again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "simulation/channels.rs"]
mod channels;
#[path = "it/disk.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod disk;
#[path = "simulation/laws.rs"]
mod laws;
#[path = "simulation/life.rs"]
mod life;
#[path = "simulation/outside.rs"]
mod outside;
#[path = "simulation/platforms.rs"]
mod platforms;
#[path = "simulation/ports.rs"]
mod ports;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/storm.rs"]
mod storm;

use std::sync::atomic::{AtomicU64, Ordering};

use disk::Disk;
use outside::{Outside, World};
use scenario::Scenario;

/// Seeds of one run.
const SEEDS: u64 = 500;
/// So many that broke a law are enough to look at.
const BROKEN_MAX: usize = 10;

/// Lives through a seed, to the end.
fn simulate(seed: u64) -> Outside {
    let scenario = Scenario::draw(seed);
    let outside = World::default();
    outside.borrow_mut().note(format!("{scenario:#?}"));
    let mut disk = Disk::default();
    for number in 0..scenario.lives.len() {
        disk = life::live(&scenario, &outside, &disk, number);
    }
    outside.take()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

/// What the storms are made of, and the word by which the history shows it. What never happens tests nothing.
const EVENTS: [(&str, &str); 18] = [
    ("actors killed", ": Ok(()) (kill)"),
    ("actors that ended badly", "reason: Abnormal"),
    ("restarts of actors", ": ChildRestarting"),
    ("supervisors that gave up", ": GaveUp"),
    ("Archons put into quarantine", ": ChildQuarantined"),
    ("actors held back", ": Ok(()) (suspend)"),
    ("houses that gave up", "the house has ended"),
    ("starts without power", "the power went while it started"),
    ("full disks", "DiskFull"),
    ("messages handed in twice", "Duplicate"),
    ("messages refused for now", "Busy"),
    ("answers", ": Answer"),
    ("failures told", ": Failure"),
    ("answers stopped", "[stopped]"),
    ("conversations handed over", "Notice Our conversation"),
    ("polls that hung", "a poll hangs"),
    ("deliveries that hung", "a delivery hangs"),
    ("deliveries whose answer was lost", "a delivery loses its answer"),
];

/// Runs seeds on the whole machine; returns those that broke a law, and how often each event happened.
fn run(seeds: u64) -> (Vec<(u64, Vec<String>)>, [u64; EVENTS.len()]) {
    let (next, broken) = (AtomicU64::new(1), std::sync::Mutex::new(Vec::new()));
    let counted = EVENTS.map(|_| AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || broken.lock().unwrap().len() >= BROKEN_MAX {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| simulate(seed));
                    let violations = match outcome {
                        Ok(outside) => {
                            for ((_, word), count) in EVENTS.iter().zip(&counted) {
                                let seen = outside.history.iter().filter(|line| line.contains(word)).count();
                                count.fetch_add(seen as u64, Ordering::Relaxed);
                            }
                            outside.violations
                        }
                        Err(_) => vec!["it panicked".into()],
                    };
                    if !violations.is_empty() {
                        broken.lock().unwrap().push((seed, violations));
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort();
    (broken, counted.map(AtomicU64::into_inner))
}

#[test]
fn no_seed_breaks_a_law() {
    if let Some(seed) = number("ARCHOND_SIM_SEED") {
        let outside = simulate(seed);
        println!("{}", outside.history.join("\n"));
        assert!(outside.violations.is_empty(), "seed {seed}: {:#?}", outside.violations);
        return;
    }
    let seeds = number("ARCHOND_SIM_SEEDS").unwrap_or(SEEDS);
    let (broken, counted) = run(seeds);
    println!("{seeds} seeds, {} broke a law", broken.len());
    let first: Vec<_> = broken.iter().take(5).collect();
    assert!(broken.is_empty(), "of {seeds} seeds {} broke a law, the first: {first:#?}", broken.len());
    for ((event, _), count) in EVENTS.iter().zip(counted) {
        println!("{count:>8} {event}");
        assert!(count > 0 || seeds < SEEDS, "{event}: never in {seeds} seeds");
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 1..=20 {
        let (once, again) = (simulate(seed).history, simulate(seed).history);
        let differs = once.iter().zip(&again).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(once.len(), again.len(), "seed {seed}");
    }
}

#[test]
fn the_bugs_to_be_planted_fit_the_source() {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutations/check");
    let output = std::process::Command::new(check).arg("--list").output().expect("python3 runs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

//! An hour of work: four Archons in conversation, and each minute their worker is killed. Prints what grows.
//!
//! The house has a past that is larger than the store's cache, and people come back to it: otherwise the hour would show only
//! how that cache is filled.
//!
//! `cargo bench --bench soak`; `ARCHOND_SOAK_MINUTES` changes the hour.
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
#[path = "past/mod.rs"]
mod past;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MINUTES: u64 = 60;
const ARCHONS: [&str; 4] = ["allegro", "bezalel", "electra", "ezra"];
/// Conversations of each Archon that go on all the time; each grows until it is summarised, again and again.
const THREADS: u64 = 10;
/// Conversations of the past; every other message takes one up again.
const STORED: u64 = 10_000;
const SAMPLE_PERIOD: Duration = Duration::from_secs(10);
const KILL_PERIOD: Duration = Duration::from_secs(60);
/// Between an answer and the next message, once the first quarter has filled what has a bound, such as the store's cache.
const PAUSE: Duration = Duration::from_millis(200);

/// Key to the number of its answer.
type Answers = BTreeMap<String, u64>;

struct Sample {
    minutes: f64,
    memory: f64,
    files: usize,
}

fn main() {
    let minutes = std::env::var("ARCHOND_SOAK_MINUTES").map_or(MINUTES, |text| text.parse().unwrap());
    let house = kit::TestHouse::new();
    for archon in ARCHONS {
        house.write_profile(archon, "limits: (session_idle: \"1m\", answer_tokens_max: 64),");
    }
    past::write(&house, &ARCHONS, STORED);
    let _daemon = house.start(&ARCHONS);
    let (ended, quarter) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(minutes * 15));
    let (samples, kills, answers) = std::thread::scope(|scope| {
        let writers = ARCHONS.map(|archon| scope.spawn(|| write(&house, archon, quarter, &ended)));
        let (samples, kills) = watch(&house, Duration::from_secs(minutes * 60));
        ended.store(true, Ordering::Relaxed);
        (samples, kills, writers.map(|writer| writer.join().unwrap()))
    });
    let said: usize = answers.iter().map(BTreeMap::len).sum();
    let doubled: usize =
        ARCHONS.iter().zip(&answers).map(|(archon, answers)| doubled(&house, archon, answers)).sum();
    println!("{minutes} minutes, {said} messages, {kills} workers killed, {doubled} answered twice, 0 lost");
    let steady: Vec<&Sample> = samples.iter().skip(samples.len() / 4).collect();
    let (slope, error) = slope(&steady);
    let memory = steady.iter().map(|sample| sample.memory);
    let (least, most) = memory.fold((f64::MAX, f64::MIN), |(least, most), m| (least.min(m), most.max(m)));
    println!(
        "memory after the first quarter: {least:.1} to {most:.1} MB, {slope:+.2} MB an hour, give or take {error:.2}"
    );
    let files = |of: fn(usize, usize) -> usize| steady.iter().map(|sample| sample.files).reduce(of).unwrap();
    println!("open files after the first quarter: {} to {}", files(usize::min), files(usize::max));
}

/// Converses until the time is up. A message without an answer ends the program: it is lost.
fn write(house: &kit::TestHouse, archon: &str, quarter: Instant, ended: &AtomicBool) -> Answers {
    let (mut client, mut answers) = (house.client(), Answers::new());
    while !ended.load(Ordering::Relaxed) {
        let number = answers.len() as u64;
        let (key, thread) = (format!("{archon}{number}"), thread(archon, number));
        let answer = client.chat(archon, &key, &thread, &format!("hello, this is message {number}"));
        assert_ne!(answer.kind, "failure", "{}", answer.text);
        client.ask(archond::admin::protocol::Op::Delivered { outbox: answer.outbox }).unwrap();
        answers.insert(key, answer.outbox);
        if Instant::now() > quarter {
            std::thread::sleep(PAUSE);
        }
    }
    answers
}

/// A conversation that goes on, or one of the past: each in turn, far from the one before.
fn thread(archon: &str, number: u64) -> String {
    let (count, step) = (ARCHONS.len() as u64, 617);
    let own = ARCHONS.iter().position(|other| *other == archon).unwrap() as u64;
    match number % 2 {
        0 => format!("t{}", number / 2 % THREADS),
        _ => format!("s{}", (number / 2 * step) % (STORED / count) * count + own),
    }
}

/// Asks for some answers again: a message that was answered once has the same answer.
fn doubled(house: &kit::TestHouse, archon: &str, answers: &Answers) -> usize {
    let mut client = house.client();
    let mut is_other = |key: &str, outbox: u64| client.chat(archon, key, "t0", "hello").outbox != outbox;
    answers.iter().filter(|(key, outbox)| is_other(key, **outbox)).count()
}

fn watch(house: &kit::TestHouse, length: Duration) -> (Vec<Sample>, u64) {
    let (begun, mut client) = (Instant::now(), house.client());
    let (mut samples, mut kills) = (Vec::new(), 0);
    while begun.elapsed() < length {
        std::thread::sleep(SAMPLE_PERIOD);
        let status = client.status();
        let files = std::fs::read_dir(format!("/proc/{}/fd", status.pid)).unwrap().count();
        let memory = status.memory_bytes as f64 / 1e6;
        samples.push(Sample { minutes: begun.elapsed().as_secs_f64() / 60.0, memory, files });
        if begun.elapsed() >= KILL_PERIOD * (kills + 1) {
            // Between two workers there is nobody to kill.
            if let Some(pid) = status.models.iter().find_map(|model| model.pid) {
                kit::Daemon::of(pid).kill();
            }
            kills += 1;
            println!("minute {kills:>3}: {memory:>6.1} MB, {files} open files");
        }
    }
    (samples, kills.into())
}

/// Least squares of memory over time: MB an hour, and the standard error.
fn slope(samples: &[&Sample]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(|sample| of(sample)).sum::<f64>() / count;
    let (time, memory) = (mean(|sample| sample.minutes), mean(|sample| sample.memory));
    let spread: f64 = samples.iter().map(|sample| (sample.minutes - time).powi(2)).sum();
    let along: f64 = samples.iter().map(|sample| (sample.minutes - time) * (sample.memory - memory)).sum();
    let slope = along / spread;
    let rest: f64 =
        samples.iter().map(|sample| (sample.memory - memory - slope * (sample.minutes - time)).powi(2)).sum();
    let error = (rest / (count - 2.0) / spread).sqrt();
    (slope * 60.0, error * 60.0)
}

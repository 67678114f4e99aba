//! Prints what a message costs on its way without a model: from the channel's hand-in to the answer in the outbox,
//! with a thousand sessions in memory. The model is a double that answers with one word at once.
//!
//! `cargo bench --bench road`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a bench looks at the real clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use archond::store::RedbStore;
use archond_actors::domain::{ModelId, TurnEvent};
use archond_actors::house::{House, HouseArgs};
use archond_actors::memory::MemorySettings;
use archond_actors::pool::PoolSettings;
use archond_actors::ports::{NoTools, RuntimeThreads, Store};
use archond_actors::testkit::{FakeEngine, MemStore, StoppedClock, archon_spec, message};

/// Sessions in memory, over all Archons.
const SESSIONS: usize = 1_000;
/// Messages of one measurement.
const MESSAGES: usize = 5_000;
/// Messages that arrive each second: far more than a house of people writes.
const RATE: f64 = 500.0;
const ARCHONS: [&str; 4] = ["allegro", "bezalel", "electra", "ezra"];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RedbStore::open(folder.path().join("road.redb")).unwrap());
    println!(
        "{:<44}{:>9}{:>9}{:>9}{:>12}",
        "hand-in to answer in the outbox", "p50", "p99", "max", "messages/s"
    );
    runtime.block_on(measure("without a disk", Arc::new(MemStore::new())));
    runtime.block_on(measure("redb, three durable commits", disk));
}

async fn measure(what: &str, store: Arc<dyn Store>) {
    let house = Arc::new(open(store).await);
    for number in 0..SESSIONS {
        say(&house, number, &format!("warm{number}")).await;
    }
    let sessions = house.status().await.archons.iter().map(|archon| archon.sessions).sum::<u32>();
    assert_eq!(sessions as usize, SESSIONS);
    steady(what, &house).await;
    burst(what, &house).await;
    house.shutdown().await.unwrap();
}

/// Messages arrive one by one at a steady rate, to all sessions in turn, whether the earlier ones are answered or not.
async fn steady(what: &str, house: &Arc<House>) {
    let mut arrivals = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..MESSAGES {
        arrivals.tick().await;
        let house = house.clone();
        tasks.spawn(async move { say(&house, number % SESSIONS, &format!("steady{number}")).await });
    }
    let latencies: Vec<Duration> = tasks.join_all().await;
    row(&format!("{what}, {RATE}/s"), latencies, RATE);
}

/// All sessions write at once: what the house can carry.
async fn burst(what: &str, house: &Arc<House>) {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..SESSIONS {
        let house = house.clone();
        tasks.spawn(async move { say(&house, number, &format!("burst{number}")).await });
    }
    let latencies: Vec<Duration> = tasks.join_all().await;
    let rate = SESSIONS as f64 / begun.elapsed().as_secs_f64();
    row(&format!("{what}, {SESSIONS} at once"), latencies, rate);
}

fn row(what: &str, mut latencies: Vec<Duration>, rate: f64) {
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = ((latencies.len() as f64 * part) as usize).min(latencies.len() - 1);
        format!("{:.2} ms", latencies[index].as_secs_f64() * 1e3)
    };
    println!("{what:<44}{:>9}{:>9}{:>9}{rate:>12.0}", at(0.5), at(0.99), at(1.0));
}

async fn say(house: &House, session: usize, key: &str) -> Duration {
    let archon = ARCHONS[session % ARCHONS.len()];
    let asked = message(archon, &format!("p{session}"), key, "hello").unwrap();
    let begun = Instant::now();
    let mut observer = house.observers().observe(asked.message_key());
    house.submit(asked).await.unwrap();
    while let Some(event) = observer.next().await {
        if let TurnEvent::Ended { answer } = event {
            assert_eq!(answer.text, "echo:");
            return begun.elapsed();
        }
    }
    panic!("the observer was replaced");
}

async fn open(store: Arc<dyn Store>) -> House {
    let model = ModelId::new("m").unwrap();
    let engine = FakeEngine::new([model.clone()]);
    engine.set_answer_tokens(Some(1));
    engine.set_slots(256);
    let pool =
        PoolSettings { queue_len_max: 10_000, queue_len_max_per_archon: 10_000, ..PoolSettings::default() };
    let house = House::start(HouseArgs {
        store,
        engine: Arc::new(engine),
        tools: Arc::new(NoTools),
        media: Arc::new(archond_actors::ports::NoMedia),
        channels: Arc::new(archond_actors::ports::NoChannels),
        clock: Arc::new(StoppedClock),
        calls: Arc::new(RuntimeThreads),
        memory: MemorySettings::default(),
        pool,
        report: Arc::new(|_| {}),
    })
    .await
    .unwrap();
    for name in ARCHONS {
        let mut spec = archon_spec(name, &model).unwrap();
        spec.limits.turns_in_flight_max = 1_000;
        house.start_archon(spec).await.unwrap();
    }
    house
}

//! Who goes next, and how many may wait.
use std::sync::{Condvar, Mutex};

use super::*;
use crate::domain::{Finding, Inquiry, Passage, Stretch, Token};

/// A pool with one slot, in which one answer runs; what is ordered now waits.
async fn busy_house(settings: PoolSettings) -> (House, Reading) {
    let house = house(settings).await;
    house.engine.set_slots(1);
    house.engine.set_token_delay(Duration::from_secs(1));
    let mut first = begin(&house.pool, order("first", "occupies the slot")).await.unwrap();
    first.until(is_text).await;
    (house, first)
}

#[tokio::test(start_paused = true)]
async fn by_priority_then_in_turns_then_first_come_first_served() {
    let (House { pool, engine, .. }, first) = busy_house(PoolSettings::default()).await;
    let orders = [
        ("ann", "tidy", Priority::Compaction),
        ("ann", "one", Priority::Direct),
        ("ann", "two", Priority::Direct),
        ("ann", "three", Priority::Direct),
        ("bob", "hook", Priority::Webhook),
        ("bob", "four", Priority::Direct),
        ("cyd", "tick", Priority::Schedule),
    ];
    let mut readings = Vec::new();
    for (archon, text, priority) in orders {
        let order = GenerationOrder { priority, ..order(archon, text) };
        readings.push(begin(&pool, order).await.unwrap());
    }
    for (reading, position) in readings.iter_mut().zip([7, 1, 3, 4, 5, 2, 6]) {
        reading.until(queued_at(position)).await;
    }
    first.end().await;
    for reading in readings {
        reading.end().await;
    }
    let served: Vec<String> =
        engine.requests().iter().skip(1).map(|request| request.prompt.turns()[0].words()).collect();
    assert_eq!(served, ["one", "four", "two", "three", "hook", "tick", "tidy"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_its_length() {
    let settings = PoolSettings { queue_len_max: 3, queue_len_max_per_archon: 2, ..PoolSettings::default() };
    let (House { pool, .. }, first) = busy_house(settings).await;
    let one = begin(&pool, order("ann", "one")).await.unwrap();
    let two = begin(&pool, order("ann", "two")).await.unwrap();
    let refused = |result: Result<Reading, PoolError>| result.err().unwrap();
    assert_eq!(refused(begin(&pool, order("ann", "x")).await), PoolError::QueueFull { waiting: 2 });
    let three = begin(&pool, order("bob", "three")).await.unwrap();
    assert_eq!(refused(begin(&pool, order("cyd", "x")).await), PoolError::QueueFull { waiting: 3 });
    assert_eq!(status(&pool, &large()).await.queued, 3);
    for (reading, text) in [(first, "occupies the slot"), (one, "one"), (two, "two"), (three, "three")] {
        reading.end().await.is_whole(&large(), &echo(text, None));
    }
    begin(&pool, order("cyd", "x")).await.unwrap().end().await.is_whole(&large(), "echo: x");
}

#[tokio::test(start_paused = true)]
async fn models_do_not_wait_for_each_other() {
    let (House { pool, .. }, first) = busy_house(PoolSettings::default()).await;
    let waiting = begin(&pool, order("ann", "waits")).await.unwrap();
    let other = GenerationOrder { models: vec![small()], ..order("ann", "goes") };
    begin(&pool, other).await.unwrap().end().await.is_whole(&small(), "echo: goes");
    assert_eq!(status(&pool, &large()).await.queued, 1);
    first.end().await;
    waiting.end().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_is_told_again_and_again() {
    let (House { pool, engine, .. }, first) = busy_house(PoolSettings::default()).await;
    engine.set_token_delay(Duration::from_secs(12));
    let mut waiting = begin(&pool, order("ann", "waits")).await.unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        waiting.until(queued_at(1)).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
    first.end().await;
    waiting.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_caller_is_gone_does_not_run() {
    let (House { pool, engine, .. }, first) = busy_house(PoolSettings::default()).await;
    // Long enough for the next look at the disk to be due: the order waits for it while its caller leaves.
    pass(Duration::from_secs(2)).await;
    let left = tokio::time::timeout(Duration::ZERO, begin(&pool, order("ann", "gone"))).await;
    assert!(left.is_err());
    first.end().await;
    assert_eq!(status(&pool, &large()).await.queued, 0);
    assert_eq!(engine.requests().len(), 1);
}

/// An engine whose disk hangs on demand.
struct SlowDisk {
    engine: FakeEngine,
    hangs: Mutex<bool>,
    released: Condvar,
}

impl SlowDisk {
    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.released.notify_all();
    }
}

#[async_trait::async_trait]
impl Engine for SlowDisk {
    fn on_disk(&self) -> Vec<ModelId> {
        // Not for ever: a test that fails must end.
        let hangs = self.hangs.lock().unwrap();
        drop(self.released.wait_timeout_while(hangs, Duration::from_secs(10), |hangs| *hangs));
        self.engine.on_disk()
    }

    fn footprint(&self, model: &ModelId) -> Option<Footprint> {
        self.engine.footprint(model)
    }

    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError> {
        self.engine.launch(model, events).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_keeps_no_loaded_model_from_answering() {
    let engine = FakeEngine::new([large()]);
    let engine = Arc::new(SlowDisk { engine, hangs: Mutex::default(), released: Condvar::new() });
    let House { pool, .. } = house_of(engine.clone(), PoolSettings::default()).await;
    begin(&pool, order("ezra", "one")).await.unwrap().end().await.is_whole(&large(), "echo: one");
    pass(Duration::from_secs(3)).await;
    engine.hang(true);
    let first = pool.status();
    tokio::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let second = begin(&pool, order("ezra", "two"));
    let second = tokio::select! {
        second = second => second.unwrap(),
        () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => panic!("it waits for the disk"),
    };
    engine.hang(false);
    second.end().await.is_whole(&large(), "echo: two");
    assert_eq!(first.await.unwrap().models.len(), 1);
}

fn inquiry(archon: &str, inquiry: Inquiry) -> GenerationOrder {
    let priority = if inquiry.takes_slot() { Priority::Direct } else { Priority::Lookup };
    GenerationOrder { priority, prompt: Arc::new(Prompt::Inquiry(inquiry)), ..order(archon, "") }
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_up_waits_for_no_slot_and_what_is_computed_does() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_slots(1);
    engine.set_answer_tokens(Some(50));
    engine.set_token_delay(Duration::from_secs(1));
    let mut runs = begin(&pool, order("ann", "long")).await.unwrap();
    runs.until(is_text).await;
    let mut waits = begin(&pool, order("bob", "behind")).await.unwrap();
    waits.until(queued_at(1)).await;
    let passage: Passage = [Stretch::Text("hi".into())].into();
    let vectors = Inquiry::Vectors { passages: [passage.clone(), passage.clone()].into() };
    let mut computed = begin(&pool, inquiry("ann", vectors)).await.unwrap();
    computed.until(queued_at(2)).await;
    let tokens = Inquiry::Tokens { passage, adds_special: false, reads_marks: true };
    let looked_up = begin(&pool, inquiry("ann", tokens)).await.unwrap().end().await;
    let wanted = [b'h', b'i'].map(|byte| (Token(byte.into()), vec![byte])).to_vec();
    assert!(looked_up.seen.contains(&GenerationEvent::Found { finding: Finding::Tokens(wanted) }));
    let status = pool.status().await.unwrap();
    assert_eq!((status.models[0].slots_used, status.models[0].queued), (1, 2), "neither has begun meanwhile");
    runs.end().await;
    waits.end().await;
    let found = computed.end().await.seen;
    let vector = GenerationEvent::Found { finding: Finding::Vector(crate::testkit::findings::letters("hi")) };
    assert_eq!(found.iter().filter(|event| **event == vector).count(), 2, "{found:?}");
}

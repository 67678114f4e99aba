//! Answers as they should be: at once, many together, by the wanted model, cancelled when they are wished no more.
use super::*;
use crate::domain::{ModelState, Refusal};

#[tokio::test(start_paused = true)]
async fn an_answer_comes_in_pieces_and_ends_once() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    let answer = begin(&pool, order("ezra", "hello you")).await.unwrap().end().await;
    answer.is_whole(&large(), "echo: hello you");
    assert!(answer.seen.contains(&GenerationEvent::Reading { done: 4, total: 4 }));
    assert_eq!(answer.replaced, 0);
    assert_eq!(engine.launches(&large()), 1);
    assert_eq!(engine.launches(&small()), 0, "models are started when they are needed");
}

#[tokio::test(start_paused = true)]
async fn eight_orders_stream_at_once() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_token_delay(Duration::from_millis(100));
    engine.set_answer_tokens(Some(50));
    pool.warm(large()).await.unwrap();
    let began = Instant::now();
    let mut readings = Vec::new();
    for number in 0..8 {
        readings.push(begin(&pool, order("ezra", &format!("order {number}"))).await.unwrap());
    }
    for reading in &mut readings {
        reading.until(is_text).await;
    }
    let status = status(&pool, &large()).await;
    assert_eq!((status.slots, status.slots_used, status.queued), (8, 8, 0));
    for (number, reading) in readings.into_iter().enumerate() {
        let answer = reading.end().await;
        answer.is_whole(&large(), &echo(&format!("order {number}"), Some(50)));
    }
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}: one after another takes 40 s", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn loading_is_told_to_those_who_wait() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_load(&large(), FakeLoad::Takes(Duration::from_secs(28)));
    let mut reading = begin(&pool, order("ezra", "hello")).await.unwrap();
    let half = GenerationEvent::Loading { model: large(), percent: 50 };
    reading.until(|event| *event == half).await;
    assert_eq!(status(&pool, &large()).await.state, ModelState::Loading { percent: 50 });
    let began = Instant::now();
    reading.next().await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(5), "told again before anything changes");
    reading.end().await.is_whole(&large(), "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_a_worker_is_told_so_until_the_answer_begins() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_token_delay(Duration::from_secs(8));
    let mut reading = begin(&pool, order("ezra", "hello you")).await.unwrap();
    let read = |event: &GenerationEvent| *event == GenerationEvent::Reading { done: 4, total: 4 };
    reading.until(read).await;
    let began = Instant::now();
    reading.until(read).await;
    assert!(began.elapsed() <= Duration::from_secs(5), "told again before anything changes");
    reading.until(is_text).await;
    let answer = reading.end().await;
    assert!(!answer.seen.iter().skip_while(|event| !is_text(event)).any(read), "{:?}", answer.seen);
}

#[tokio::test(start_paused = true)]
async fn a_warm_model_is_ready_before_it_is_asked() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    assert_eq!(status(&pool, &large()).await.state, ModelState::Idle);
    engine.set_load(&large(), FakeLoad::Takes(Duration::from_secs(20)));
    pool.warm(large()).await.unwrap();
    pass(Duration::from_secs(25)).await;
    let status = status(&pool, &large()).await;
    assert_eq!((status.state, status.slots, status.context_tokens), (ModelState::Ready, 8, 8192));
    assert!(status.pid.is_some());
    let answer = begin(&pool, order("ezra", "hello")).await.unwrap().end().await;
    assert!(!answer.seen.iter().any(|event| matches!(event, GenerationEvent::Loading { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_first_model_on_disk_answers() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_on_disk(&large(), false);
    let wanted = vec!["unheard-of".parse().unwrap(), large(), small()];
    assert_eq!(pool.choose(wanted.clone()).await, Ok(small()));
    let answer = begin(&pool, GenerationOrder { models: wanted, ..order("ezra", "hi") }).await.unwrap();
    answer.end().await.is_whole(&small(), "echo: hi");

    let refused = begin(&pool, order("ezra", "hi")).await.err().unwrap();
    assert_eq!(refused, PoolError::NoModel { wanted: large() });
    assert_eq!(pool.warm(large()).await, Err(refused.clone()));
    assert_eq!(refused.to_string(), "large is not on disk; get it with `archond model pull large`");

    engine.set_on_disk(&large(), true);
    pass(Duration::from_secs(3)).await;
    assert_eq!(pool.choose(vec![large()]).await, Ok(large()), "a model that was pulled is found");
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_waits() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_slots(1);
    engine.set_token_delay(Duration::from_secs(1));
    let running = begin(&pool, order("ezra", "a b c d e f")).await.unwrap();
    let mut waiting = begin(&pool, order("ezra", "second")).await.unwrap();
    let mut third = begin(&pool, order("ezra", "third")).await.unwrap();
    waiting.until(queued_at(1)).await;
    third.until(queued_at(2)).await;
    pool.cancel(waiting.id);
    let answer = waiting.end().await;
    assert_eq!(answer.text, "");
    assert!(matches!(answer.end, GenerationEvent::Finished { reason: FinishReason::Cancelled, .. }));
    third.until(queued_at(1)).await;
    running.end().await.is_whole(&large(), "echo: a b c d e f");
    third.end().await.is_whole(&large(), "echo: third");
    assert_eq!(engine.requests().len(), 2, "the worker never heard of it");
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_runs() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_answer_tokens(Some(1000));
    engine.set_token_delay(Duration::from_millis(100));
    let mut reading = begin(&pool, order("ezra", "hello")).await.unwrap();
    let mut other = begin(&pool, order("anna", "hello")).await.unwrap();
    reading.until(is_text).await;
    other.until(is_text).await;
    let began = Instant::now();
    pool.cancel(reading.id);
    pool.cancel(reading.id);
    let answer = reading.end().await;
    assert!(matches!(answer.end, GenerationEvent::Finished { reason: FinishReason::Cancelled, .. }));
    assert!(began.elapsed() <= Duration::from_millis(200), "{:?}", began.elapsed());
    other.end().await.is_whole(&large(), &echo("hello", Some(1000)));
    pool.cancel(GenerationId(4711));
    assert_eq!(engine.launches(&large()), 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_worker() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    let long = GenerationOrder { context_tokens_max: 3, ..order("ezra", "more than fits") };
    let answer = begin(&pool, long).await.unwrap().end().await;
    assert_eq!(answer.error(), PoolError::PromptTooLong { tokens: 5, tokens_max: 3 });

    engine.fail_once(FakeFault::Refuses(Refusal::Engine { detail: "odd".into() }));
    let answer = begin(&pool, order("ezra", "hi")).await.unwrap().end().await;
    assert_eq!(answer.error(), PoolError::Engine { detail: "odd".into() });

    engine.fail_once(FakeFault::Refuses(Refusal::NoFreeSlot));
    let answer = begin(&pool, order("ezra", "hi")).await.unwrap().end().await;
    answer.is_whole(&large(), "echo: hi");

    let short = GenerationOrder { answer_tokens_max: 2, ..order("ezra", "one two three") };
    let answer = begin(&pool, short).await.unwrap().end().await;
    assert_eq!(answer.text, "echo: one");
    assert!(matches!(answer.end, GenerationEvent::Finished { reason: FinishReason::Length, .. }));
    assert_eq!(engine.launches(&large()), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_left_without_a_word_when_the_pool_ends() {
    let House { pool, engine, actor } = house(PoolSettings::default()).await;
    engine.set_slots(1);
    engine.set_token_delay(Duration::from_secs(1));
    let mut running = begin(&pool, order("ezra", "hello")).await.unwrap();
    let mut waiting = begin(&pool, order("ezra", "hello")).await.unwrap();
    running.until(is_text).await;
    waiting.until(queued_at(1)).await;
    actor.stop_and_wait(None, Some(PATIENCE)).await.unwrap();
    for reading in [running, waiting] {
        assert!(matches!(reading.end().await.error(), PoolError::Link(_)));
    }
    assert!(matches!(begin(&pool, order("ezra", "hello")).await.err(), Some(PoolError::Link(_))));
}

//! Workers that die, hang and do not obey; models that cannot be loaded; requests that kill.
use super::*;
use crate::domain::{ModelState, Refusal};

fn unusable() -> FakeLoad {
    let detail = "the file is cut off; pull it again".into();
    FakeLoad::Fails(EngineError::Unusable { model: large(), detail })
}

fn crash() -> FakeLoad {
    FakeLoad::Fails(EngineError::Exited { model: large(), detail: "killed by signal 6".into() })
}

#[tokio::test(start_paused = true)]
async fn a_worker_dies_and_the_answer_goes_on() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_answer_tokens(Some(40));
    engine.set_token_delay(Duration::from_millis(10));
    engine.fail_once(FakeFault::Dies { after_tokens: 30 });
    let mut readings = Vec::new();
    for number in 0..3 {
        readings.push(begin(&pool, order("ezra", &format!("order {number}"))).await.unwrap());
    }
    for (number, reading) in readings.into_iter().enumerate() {
        let answer = reading.end().await;
        answer.is_whole(&large(), &echo(&format!("order {number}"), Some(40)));
        assert_eq!(answer.replaced, 1);
    }
    assert_eq!(engine.launches(&large()), 2);
    assert_eq!(engine.requests()[3..].iter().map(|request| request.resume.len()).sum::<usize>(), 30);
    let status = status(&pool, &large()).await;
    assert_eq!((status.crashes, status.state), (1, ModelState::Ready));
    assert!(status.last_error.unwrap().contains("assertion failed"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_is_killed_and_the_answer_goes_on() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_answer_tokens(Some(20));
    engine.fail_once(FakeFault::Hangs { after_tokens: 7 });
    let began = Instant::now();
    let answer = begin(&pool, order("ezra", "hello")).await.unwrap().end().await;
    answer.is_whole(&large(), &echo("hello", Some(20)));
    assert_eq!(answer.replaced, 1);
    assert!((15..17).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let error = status(&pool, &large()).await.last_error.unwrap();
    assert_eq!(error, "the worker of large was killed: it showed no progress for 15s");
}

#[tokio::test(start_paused = true)]
async fn a_poison_request_is_given_up_and_the_others_finish() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_slots(4);
    engine.set_answer_tokens(Some(60));
    engine.set_token_delay(Duration::from_millis(10));
    engine.poison("poison", 5);
    let mut readings = Vec::new();
    for number in 0..6 {
        let text = if number == 2 { "poison".to_owned() } else { format!("order {number}") };
        readings.push((text.clone(), begin(&pool, order("ezra", &text)).await.unwrap()));
    }
    for (text, reading) in readings {
        let answer = reading.end().await;
        if text == "poison" {
            assert_eq!(answer.error(), PoolError::RequestCrashed { model: large(), crashes: 3 });
            assert_eq!(answer.replaced, 2);
        } else {
            answer.is_whole(&large(), &echo(&text, Some(60)));
        }
    }
    assert_eq!(engine.launches(&large()), 4);
    assert_eq!(status(&pool, &large()).await.state, ModelState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_is_told_and_the_next_model_answers() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_load(&large(), unusable());
    let only = begin(&pool, order("ezra", "hello")).await.unwrap();
    let either = GenerationOrder { models: vec![large(), small()], ..order("ezra", "hello") };
    let moved = begin(&pool, either.clone()).await.unwrap();
    let error = only.end().await.error();
    assert_eq!(
        error.to_string(),
        "large cannot be loaded: the file is cut off; pull it again; it is tried again in 60 s"
    );
    moved.end().await.is_whole(&small(), "echo: hello");

    assert!(matches!(begin(&pool, order("ezra", "x")).await.err(), Some(PoolError::ModelFailed { .. })));
    assert_eq!(pool.choose(vec![large(), small()]).await, Ok(small()));
    assert!(matches!(status(&pool, &large()).await.state, ModelState::Failed { .. }));
    begin(&pool, either.clone()).await.unwrap().end().await.is_whole(&small(), "echo: hello");

    engine.set_load(&large(), FakeLoad::Instant);
    pass(Duration::from_secs(61)).await;
    begin(&pool, either).await.unwrap().end().await.is_whole(&large(), "echo: hello");
    assert_eq!(engine.launches(&large()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_crashes_again_and_again_rests() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_load(&large(), crash());
    let began = Instant::now();
    let answer = begin(&pool, order("ezra", "hello")).await.unwrap().end().await;
    let error = answer.error();
    assert!(
        matches!(&error, PoolError::ModelFailed { detail, .. } if detail.contains("signal 6")),
        "{error:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(engine.launches(&large()), 5);
    assert_eq!(answer.replaced, 0, "it never ran");

    pass(Duration::from_secs(59)).await;
    assert_eq!(engine.launches(&large()), 5);
    pass(Duration::from_secs(2)).await;
    assert_eq!(engine.launches(&large()), 6, "one try");
    pass(Duration::from_secs(60)).await;
    assert_eq!(engine.launches(&large()), 7, "and one more");

    engine.set_load(&large(), FakeLoad::Instant);
    pass(Duration::from_secs(60)).await;
    begin(&pool, order("ezra", "hello")).await.unwrap().end().await.is_whole(&large(), "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_obey_is_killed_and_the_others_go_on() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_answer_tokens(Some(300));
    engine.set_token_delay(Duration::from_millis(100));
    engine.fail_once(FakeFault::IgnoresCancel);
    let mut stubborn = begin(&pool, order("ezra", "stubborn")).await.unwrap();
    let mut other = begin(&pool, order("ezra", "other")).await.unwrap();
    stubborn.until(is_text).await;
    other.until(is_text).await;
    let began = Instant::now();
    pool.cancel(stubborn.id);
    let answer = stubborn.end().await;
    assert!(matches!(answer.end, GenerationEvent::Finished { reason: FinishReason::Cancelled, .. }));
    assert_eq!(began.elapsed().as_secs(), 2);
    let answer = other.end().await;
    answer.is_whole(&large(), &echo("other", Some(300)));
    assert_eq!(answer.replaced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_loads_for_ever_is_killed() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_load(&large(), FakeLoad::Takes(Duration::from_secs(1000)));
    let mut reading = begin(&pool, order("ezra", "hello")).await.unwrap();
    let began = Instant::now();
    while status(&pool, &large()).await.crashes == 0 {
        reading.next().await.unwrap();
    }
    assert_eq!(began.elapsed().as_secs() / 5, 6, "{:?}", began.elapsed());
    engine.set_load(&large(), FakeLoad::Instant);
    reading.end().await.is_whole(&large(), "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_costs_one_start() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.fail_once(FakeFault::LaunchPanics);
    begin(&pool, order("ezra", "hello")).await.unwrap().end().await.is_whole(&large(), "echo: hello");
    assert_eq!(status(&pool, &large()).await.crashes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_no_free_slot_though_nothing_runs_is_killed() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    for _ in 0..1000 {
        engine.fail_once(FakeFault::Refuses(Refusal::NoFreeSlot));
    }
    let reading = begin(&pool, order("ezra", "hello")).await.unwrap();
    pass(Duration::from_secs(20)).await;
    let first = status(&pool, &large()).await;
    assert_eq!(first.crashes, 1, "{first:?}");
    assert_eq!(first.last_error.unwrap(), "the worker of large was killed: it took no request for 15s");
    let error = reading.end().await.error();
    assert!(matches!(error, PoolError::ModelFailed { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_begun_answer_whose_model_fails_may_begin_again_with_the_next() {
    let House { pool, engine, .. } = house(PoolSettings::default()).await;
    engine.set_answer_tokens(Some(20));
    engine.set_token_delay(Duration::from_millis(10));
    let either = GenerationOrder { models: vec![large(), small()], ..order("ezra", "hello") };
    let mut only = begin(&pool, order("ezra", "hello")).await.unwrap();
    let mut begun = begin(&pool, either.clone()).await.unwrap();
    only.until(is_text).await;
    begun.until(is_text).await;
    engine.set_load(&large(), unusable());
    engine.fail_once(FakeFault::Dies { after_tokens: 5 });
    assert!(matches!(only.end().await.error(), PoolError::ModelFailed { .. }));
    // The words of one model are not another one's: its reader has to ask anew, and may.
    let error = begun.end().await.error();
    assert!(matches!(error, PoolError::Unable { .. }), "{error}");
    begin(&pool, either).await.unwrap().end().await.is_whole(&small(), &echo("hello", Some(20)));
}

/// Whatever goes wrong in whatever order: every reader gets one whole answer, or is told why not.
#[tokio::test(start_paused = true)]
async fn storms_lose_nothing() {
    for seed in 0..60_u64 {
        let mut random = seed;
        let mut roll = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        let House { pool, engine, .. } = house(PoolSettings::default()).await;
        engine.set_slots(3);
        engine.set_answer_tokens(Some(20));
        engine.set_token_delay(Duration::from_millis(roll(20)));
        let mut readings = Vec::new();
        for number in 0..12 {
            let after_tokens = u32::try_from(roll(60)).unwrap();
            match roll(6) {
                0 => engine.fail_once(FakeFault::Dies { after_tokens }),
                1 => engine.fail_once(FakeFault::Hangs { after_tokens }),
                2 => engine.fail_once(FakeFault::LaunchPanics),
                3 => engine.fail_once(FakeFault::IgnoresCancel),
                _ => {}
            }
            let text = format!("order {number}");
            let reading = begin(&pool, order(["a", "b", "c"][number % 3], &text)).await;
            let Ok(reading) = reading else { continue };
            let cancelled = roll(5) == 0;
            if cancelled {
                pool.cancel(reading.id);
            }
            pass(Duration::from_millis(roll(300))).await;
            readings.push((text, cancelled, reading));
        }
        for (text, cancelled, reading) in readings {
            let answer = reading.end().await;
            let whole = echo(&text, Some(20));
            assert!(whole.starts_with(&answer.text), "seed {seed}: {}", answer.text);
            match answer.end {
                GenerationEvent::Finished { reason: FinishReason::Cancelled, .. } => assert!(cancelled),
                GenerationEvent::Finished { .. } => assert_eq!(answer.text, whole, "seed {seed}"),
                GenerationEvent::Failed { error } => {
                    let excused =
                        matches!(error, PoolError::ModelFailed { .. } | PoolError::RequestCrashed { .. });
                    assert!(excused, "seed {seed}: {error}");
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
    }
}

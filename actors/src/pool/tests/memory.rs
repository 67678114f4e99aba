//! Several models in a memory that does not hold all of them.
use super::*;
use crate::domain::ModelState;

fn settings(memory_bytes_max: u64) -> PoolSettings {
    PoolSettings { memory_bytes_max: Some(memory_bytes_max), ..PoolSettings::default() }
}

fn for_model(model: ModelId, text: &str) -> GenerationOrder {
    GenerationOrder { models: vec![model], ..order("ezra", text) }
}

/// A pool whose memory holds one of its two models.
async fn narrow() -> House {
    let house = house(settings(10)).await;
    house.engine.set_memory(&large(), 8);
    house.engine.set_memory(&small(), 4);
    house
}

#[tokio::test(start_paused = true)]
async fn the_idle_model_leaves_and_comes_back_when_it_is_wanted() {
    let House { pool, engine, .. } = narrow().await;
    for (round, model) in [large(), small(), large(), small()].into_iter().enumerate() {
        let answer = begin(&pool, for_model(model.clone(), "hello")).await.unwrap().end().await;
        answer.is_whole(&model, &echo("hello", None));
        assert_eq!(answer.replaced, 0, "round {round}");
    }
    assert_eq!((engine.launches(&large()), engine.launches(&small())), (2, 2));
    let left = status(&pool, &large()).await;
    assert_eq!((left.state, left.crashes, left.last_error), (ModelState::Resting, 0, None));
    assert_eq!(status(&pool, &small()).await.state, ModelState::Ready);
}

#[tokio::test(start_paused = true)]
async fn both_stay_where_there_is_room_for_both() {
    let House { pool, engine, .. } = house(settings(12)).await;
    engine.set_memory(&large(), 8);
    engine.set_memory(&small(), 4);
    for model in [large(), small(), large(), small()] {
        begin(&pool, for_model(model, "hello")).await.unwrap().end().await;
    }
    assert_eq!((engine.launches(&large()), engine.launches(&small())), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_model_ends_its_answers_before_it_leaves() {
    let House { pool, engine, .. } = narrow().await;
    engine.set_token_delay(Duration::from_secs(10));
    engine.set_answer_tokens(Some(9));
    let mut first = begin(&pool, for_model(large(), "one")).await.unwrap();
    first.until(is_text).await;
    let other = begin(&pool, for_model(small(), "two")).await.unwrap();
    pass(Duration::from_secs(5)).await;
    assert_eq!(status(&pool, &small()).await.state, ModelState::AwaitingMemory);
    // From now on the large one takes nothing more: who comes later waits behind the small one.
    pass(PoolSettings::default().residence_min).await;
    let late = begin(&pool, for_model(large(), "three")).await.unwrap();
    let (first, other, late) = futures::join!(first.end(), other.end(), late.end());
    first.is_whole(&large(), &echo("one", Some(9)));
    other.is_whole(&small(), &echo("two", Some(9)));
    late.is_whole(&large(), &echo("three", Some(9)));
    assert_eq!([&first, &other, &late].map(|answer| answer.replaced), [0; 3]);
    assert_eq!((engine.launches(&large()), engine.launches(&small())), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn warming_sends_nobody_away() {
    let House { pool, engine, .. } = narrow().await;
    pool.warm(large()).await.unwrap();
    pass(Duration::from_secs(1)).await;
    pool.warm(small()).await.unwrap();
    pass(Duration::from_secs(60)).await;
    assert_eq!((engine.launches(&large()), engine.launches(&small())), (1, 0));
    assert_eq!(status(&pool, &small()).await.state, ModelState::Resting);
    begin(&pool, for_model(small(), "hello"))
        .await
        .unwrap()
        .end()
        .await
        .is_whole(&small(), &echo("hello", None));
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_refused_with_the_arithmetic() {
    let House { pool, engine, .. } = house(settings(10)).await;
    engine.set_memory(&large(), 25_000_000_000);
    let refused = begin(&pool, for_model(large(), "hello")).await.err().unwrap();
    let said = refused.to_string();
    assert!(matches!(refused, PoolError::TooLarge { .. }), "{said}");
    assert!(
        said.contains("25.0 GB") && said.contains("as the test says") && said.contains("worker.memory_max"),
        "{said}"
    );
    assert_eq!(engine.launches(&large()), 0);
    // Where there is a smaller one, it answers.
    engine.set_memory(&small(), 4);
    pass(Duration::from_secs(3)).await; // what is on disk is kept in mind for a moment
    let either = GenerationOrder { models: vec![large(), small()], ..order("ezra", "hello") };
    begin(&pool, either).await.unwrap().end().await.is_whole(&small(), &echo("hello", None));
}

//! The ways of answers through the whole house on doubles: each passes every station, and one who goes past the harness is seen.
use super::*;
use crate::insight::Station;

fn names(world: &World, n: usize) -> Vec<&'static str> {
    world.house.trail().answers()[n].stations.iter().map(Station::name).collect()
}

#[tokio::test(start_paused = true)]
async fn an_answer_passes_every_station_and_a_command_those_before_the_model() {
    let world = World::new().await;
    world.start("ezra").await;
    world.say("ezra", "p", "1", "hello").await;
    world.say("ezra", "p", "2", "/status").await;
    let answers = world.house.trail().answers();
    assert_eq!(names(&world, 0), ["inbox", "hermes", "harness", "session", "pool", "worker"]);
    assert_eq!(names(&world, 1), ["inbox", "hermes", "harness"]);
    assert!(answers.iter().all(|answer| answer.missing().is_empty()), "{answers:?}");
    assert_eq!(answers.iter().map(|answer| answer.speaker()).collect::<Vec<_>>(), ["model", "harness"]);
    let worker = answers[0].stations.last().unwrap();
    assert!(matches!(worker, Station::Worker { model: by, .. } if *by == model()), "{worker:?}");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_failed_is_on_the_way_of_the_answer() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    let question = message("ezra", "p", "1", "one two three").unwrap();
    let mut observer = world.house.observers().observe(question.message_key());
    world.house.submit(question).await.unwrap();
    while !matches!(observer.next().await, Some(TurnEvent::Text { .. })) {}
    world.actors(|cell| cell.is_message_type_of::<Envelope<SessionMsg>>() == Some(true))[0].kill();
    while !matches!(observer.next().await, Some(TurnEvent::Ended { .. })) {}
    let way = names(&world, 0);
    assert_eq!(way.iter().filter(|name| **name == "harness").count(), 2, "{way:?}");
    let answer = &world.house.trail().answers()[0];
    assert!(answer.missing().is_empty(), "{answer:?}");
    assert!(answer.stations.contains(&Station::Harness { attempt: 2 }), "{answer:?}");
}

/// A fit layer that thinks for itself: it answers what it finds in the inbox, and asks nobody.
async fn answer_past_the_harness(world: &World, kind: AnswerKind) {
    let memory = world.house.memory();
    let pending = memory.pending(&id("ezra"), None, 10).await.unwrap();
    let end = TurnEnd {
        inbox: pending[0].id,
        turn: None,
        answer: NewAnswer { kind, text: "I know that myself.".into() },
        ended_unix_ms: 1,
    };
    memory.end_turn(end).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fit_layer_that_answers_by_itself_is_caught() {
    for kind in [AnswerKind::Answer, AnswerKind::Notice] {
        let world = World::new().await;
        world.start("ezra").await;
        // The harness is held back, so that the false answer is first.
        world.house.roster().suspend("house/archons/ezra/harness", true).unwrap();
        world.house.submit(message("ezra", "p", "1", "hello").unwrap()).await.unwrap();
        answer_past_the_harness(&world, kind).await;
        let answers = world.house.trail().answers();
        assert!(["inbox", "hermes"].starts_with(&names(&world, 0)), "{answers:?}");
        assert!(answers[0].missing().contains(&"harness"), "{answers:?}");
        // It does not help to let the message go on afterwards.
        world.house.roster().suspend("house/archons/ezra/harness", false).unwrap();
        pass(Duration::from_secs(5)).await;
        assert!(world.house.trail().answers()[0].missing().contains(&"harness"));
    }
}

//! Commands on their way through a channel.
use super::*;

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_status_or_a_stop_is_heard_at_once_while_an_answer_runs() {
    let world = World::new().await;
    world.engine.set_token_delay(Duration::from_secs(20));
    world.write("1", "7", "one two three four five");
    world.until(|| world.platform.shown().iter().any(|(_, shown)| *shown == Shown::Working)).await;
    let began = Instant::now();
    world.write("2", "7", "/status");
    assert!(world.seen(1).await[0].contains("running"), "{:?}", world.texts());
    world.write("3", "7", "/stop");
    assert_eq!(world.seen(2).await[1], "Stopping.");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(world.seen(3).await[2].contains("topped"), "{:?}", world.texts());
}

#[tokio::test(start_paused = true)]
async fn two_places_are_linked_by_a_code_and_share_nothing() {
    let world = World::new().await;
    let seen_of = |key: &'static str| {
        let seen = world.platform.seen().into_iter().find(|seen| seen.key == key);
        seen.map(|seen| seen.text).unwrap_or_default()
    };
    for (key, peer, text, said) in [
        ("1", "7", "a secret", "echo: a secret"),
        ("2", "7", "/link", "Say `/link CODE2345` to me in the other place"),
        ("3", "8", "/link code-2345", "Linked with double/7."),
        ("4", "8", "hello", "echo: hello"),
        ("5", "8", "/sessions", "Our sessions"),
        ("6", "7", "/unlink", "This place stands for itself again."),
        ("7", "8", "/unlink", "This place was linked with no other."),
    ] {
        world.write(key, peer, text);
        world.until(|| !seen_of(key).is_empty()).await;
        assert!(seen_of(key).starts_with(said), "{key}: {}", seen_of(key));
    }
    assert_eq!(
        world.engine.requests().last().unwrap().prompt.turns().len(),
        1,
        "the other place is not read"
    );
    world
        .platform
        .write(Inbound { group: Some("-100".parse().unwrap()), ..inbound("8", "7", "/link").unwrap() });
    world.until(|| !seen_of("8").is_empty()).await;
    assert_eq!(seen_of("8"), "That is to be said where you and I are alone.");
}

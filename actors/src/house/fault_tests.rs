//! What goes wrong between Hermes, the harness and the sessions, and what the writer sees of it.
use super::*;

const SESSION: &str = "house/archons/ezra/sessions/cli/p/main#1";

/// What the observer of one message sees.
struct Watched {
    observer: crate::observer::TurnObserver,
    /// The text since the last try began.
    text: String,
    retries: u32,
}

impl Watched {
    async fn begin(world: &World, key: &str, text: &str) -> Self {
        let message = message("ezra", "p", key, text).unwrap();
        let observer = world.house.observers().observe(message.message_key());
        world.house.submit(message).await.unwrap();
        Self { observer, text: String::new(), retries: 0 }
    }

    async fn next(&mut self) -> Option<OutboxEntry> {
        match self.observer.next().await.unwrap() {
            TurnEvent::Text { text } => self.text.push_str(&text),
            TurnEvent::Retrying { .. } => {
                self.text.clear();
                self.retries += 1;
            }
            TurnEvent::Ended { answer } => return Some(answer),
            _ => {}
        }
        None
    }

    async fn until_words(&mut self, words: usize) {
        while self.text.split_whitespace().count() < words {
            assert_eq!(self.next().await, None, "it ended before");
        }
    }

    async fn end(&mut self) -> OutboxEntry {
        loop {
            if let Some(answer) = self.next().await {
                return answer;
            }
        }
    }
}

impl World {
    fn kill(&self, path: &str) {
        self.house.roster().kill(path).unwrap();
    }

    fn suspend(&self, path: &str, suspended: bool) {
        self.house.roster().suspend(path, suspended).unwrap();
    }

    async fn model_status(&self) -> crate::domain::ModelStatus {
        self.house.status().await.pool.models.remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_without_progress_is_begun_again_and_not_taken_for_a_stop() {
    let world = World::new().await;
    world.engine.set_load(&model(), FakeLoad::Takes(Duration::from_secs(16)));
    let mut spec = archon_spec("ezra", &model()).unwrap();
    spec.fit.progress_timeout = Duration::from_secs(2);
    spec.fit.retry_backoff = Duration::from_secs(5);
    world.house.start_archon(spec).await.unwrap();
    assert_eq!(world.say("ezra", "p", "1", "hello").await.text, "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_no_more_messages_is_replaced_not_doubled() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_millis(100));
    let mut watched = Watched::begin(&world, "1", "one two three four five six").await;
    watched.until_words(2).await;
    world.suspend(SESSION, true);
    let key: SessionKey = "ezra/cli/p/main".parse().unwrap();
    let mut stops = 0;
    while world.house.stop_turn(key.clone()).await.is_ok() {
        stops += 1;
        assert!(stops < 100, "its mailbox has no bound");
    }
    assert_eq!(watched.end().await.text, "echo: one two three four five six");
    assert_eq!(world.actors(is_session).len(), 1, "two actors hold one conversation");
    pass(Duration::from_secs(700)).await;
    assert_eq!(world.actors(is_session).len(), 0, "nobody stops it any more");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_killed_leaves_no_answer_running() {
    let world = World::new().await;
    world.engine.set_slots(1);
    world.engine.set_token_delay(Duration::from_millis(100));
    world.engine.set_answer_tokens(Some(900));
    world.start("ezra").await;
    let mut watched = Watched::begin(&world, "1", "go on").await;
    watched.until_words(3).await;
    world.kill(SESSION);
    watched.until_words(1).await;
    pass(Duration::from_secs(5)).await;
    let status = world.model_status().await;
    assert_eq!((status.slots_used, status.queued), (1, 0), "nobody reads the first answer any more");
    assert_eq!(world.engine.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_turn_could_not_begin_leaves_memory_too() {
    let world = World::new().await;
    world.start("ezra").await;
    pass(Duration::from_secs(2)).await;
    let error = StoreError::Io { path: "disk".into(), detail: "it hums".into() };
    world.store.fail_reads(Some(error));
    let answer = world.say("ezra", "p", "1", "hello").await;
    assert_eq!(answer.kind, AnswerKind::Failure);
    assert_eq!(world.actors(is_session).len(), 1);
    pass(Duration::from_secs(700)).await;
    assert_eq!(world.actors(is_session).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hermes_that_was_held_back_has_one_tick_to_catch_up_on() {
    let world = World::new().await;
    world.start("ezra").await;
    let (hermes, handled) = ("house/archons/ezra/hermes", |world: &World| {
        world.house.roster().actor("house/archons/ezra/hermes").unwrap().handled
    });
    pass(Duration::from_secs(2)).await;
    world.suspend(hermes, true);
    let before = handled(&world);
    pass(Duration::from_secs(3600)).await;
    world.suspend(hermes, false);
    pass(Duration::from_secs(5)).await;
    assert!((3..10).contains(&(handled(&world) - before)), "{} messages", handled(&world) - before);
}

#[tokio::test(start_paused = true)]
async fn a_hermes_that_was_held_back_does_not_blame_the_others() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    world.engine.set_answer_tokens(Some(120));
    let mut watched = Watched::begin(&world, "1", "go on").await;
    watched.until_words(3).await;
    world.suspend("house/archons/ezra/hermes", true);
    pass(Duration::from_secs(60)).await;
    world.suspend("house/archons/ezra/hermes", false);
    watched.end().await;
    assert_eq!(watched.retries, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_streamed_before_a_restart_is_told_to_be_void() {
    for victim in ["house/archons/ezra/harness", "house/pool", "house/memory"] {
        let world = World::new().await;
        world.start("ezra").await;
        world.engine.set_token_delay(Duration::from_millis(100));
        let mut watched = Watched::begin(&world, "1", "one two three four five six").await;
        watched.until_words(3).await;
        world.kill(victim);
        let answer = watched.end().await;
        assert_eq!(answer.text, "echo: one two three four five six", "{victim}");
        assert_eq!((watched.text.as_str(), watched.retries), (answer.text.as_str(), 1), "{victim}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_on_when_only_hermes_is_restarted() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_millis(100));
    let mut watched = Watched::begin(&world, "1", "one two three four five six").await;
    watched.until_words(3).await;
    world.kill("house/archons/ezra/hermes");
    let answer = watched.end().await;
    assert_eq!((watched.text.as_str(), watched.retries), (answer.text.as_str(), 0));
    assert_eq!(world.engine.requests().len(), 1);
    pass(Duration::from_secs(5)).await;
    let status = world.house.archon_status(&id("ezra")).await.unwrap();
    assert_eq!((status.in_flight, status.waiting), (0, 0), "Hermes knows that it ended");
}

#[tokio::test(start_paused = true)]
async fn a_try_of_a_message_that_is_answered_ends_at_once() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_millis(100));
    let mut watched = Watched::begin(&world, "1", "one two three four five six").await;
    watched.until_words(2).await;
    // As when a commit is answered too late, or the session dies right after it.
    let open = world.house.memory().pending(&id("ezra"), None, 10).await.unwrap();
    let answer = NewAnswer { kind: AnswerKind::Answer, text: "kept".into() };
    let end = TurnEnd { inbox: open[0].id, turn: None, answer, ended_unix_ms: 0 };
    world.house.memory().end_turn(end).await.unwrap();
    let began = tokio::time::Instant::now();
    world.kill(SESSION);
    assert_eq!(watched.end().await.text, "kept");
    assert!(began.elapsed() < Duration::from_secs(3), "after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_status_waits_for_no_actor_of_an_archon() {
    let world = World::new().await;
    world.start("ezra").await;
    world.say("ezra", "p", "1", "hello").await;
    world.suspend("house/archons/ezra/harness", true);
    let began = tokio::time::Instant::now();
    let status = world.house.status().await;
    assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    assert_eq!(status.archons[0].sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_still_takes_commands() {
    let world = World::new().await;
    let mut spec = archon_spec("ezra", &model()).unwrap();
    spec.limits.inbox_len_max = 2;
    world.house.start_archon(spec).await.unwrap();
    world.engine.set_token_delay(Duration::from_secs(1));
    // Long: paused time may jump while a commit is on its way.
    let mut first = Watched::begin(&world, "1", &"word ".repeat(500)).await;
    let mut second = Watched::begin(&world, "2", "two").await;
    let refused = world.house.submit(message("ezra", "p", "3", "three").unwrap()).await;
    assert!(matches!(refused, Err(SubmitError::Busy { open: 2, .. })), "{refused:?}");
    first.until_words(2).await;
    assert_eq!(world.say("ezra", "p", "4", "/stop").await.text, "Stopping.");
    assert!(first.end().await.text.ends_with("[stopped]"));
    assert_eq!(second.end().await.text, "echo: two");
    // A flood of them is one, too.
    world.suspend("house/archons/ezra/harness", true);
    let mut refused = None;
    for number in 0..1000 {
        refused =
            world.house.submit(message("ezra", "p", &format!("s{number}"), "/stop").unwrap()).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(refused, Some(SubmitError::Busy { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_though_its_sender_left_while_it_was_journalled() {
    let world = World::new().await;
    world.start("ezra").await;
    world.say("ezra", "p", "1", "hello").await;
    let commits = world.store.batches().len();
    world.store.hold();
    let mut submit = Box::pin(world.house.submit(message("ezra", "p", "2", "and").unwrap()));
    assert!(futures::poll!(&mut submit).is_pending());
    while world.store.batches().len() == commits {
        tokio::task::yield_now().await;
    }
    drop(submit);
    world.store.release();
    pass(Duration::from_secs(10)).await;
    assert_eq!(world.answers("ezra", "p").await["2"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_model_is_loaded_again_when_the_pool_has_begun_anew() {
    let world = World::new().await;
    world.start("ezra").await;
    world.say("ezra", "p", "1", "hello").await;
    world.house.restart("house/pool").await.unwrap();
    pass(Duration::from_secs(5)).await;
    assert_eq!(world.engine.launches(&model()), 2);
    world.kill("house/pool");
    pass(Duration::from_secs(5)).await;
    assert_eq!(world.engine.launches(&model()), 3);
    assert_eq!(world.house.archon_status(&id("ezra")).await.unwrap().state, ActorState::Ready);
}

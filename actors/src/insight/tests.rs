//! What is seen of a whole house from outside, and what is done to it, on paused time.
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{ActorState, OutboxEntry, TurnEvent};
use crate::house::{House, HouseArgs};
use crate::insight::{ActorView, Fact, RosterError, note_panic};
use crate::memory::MemorySettings;
use crate::pool::PoolSettings;
use crate::ports::RuntimeThreads;
use crate::supervision::{ExitReason, SupervisionFact};
use crate::testkit::{FakeEngine, FakeFault, MemStore, StoppedClock, archon_spec, message};

struct World {
    house: House,
    engine: FakeEngine,
    store: Arc<MemStore>,
}

impl World {
    async fn new() -> Self {
        let engine = FakeEngine::new(["large".parse().unwrap()]);
        let store = Arc::new(MemStore::new());
        let house = House::start(HouseArgs {
            store: store.clone(),
            engine: Arc::new(engine.clone()),
            tools: Arc::new(crate::ports::NoTools),
            media: Arc::new(crate::ports::NoMedia),
            channels: Arc::new(crate::ports::NoChannels),
            clock: Arc::new(StoppedClock),
            calls: Arc::new(RuntimeThreads),
            memory: MemorySettings::default(),
            pool: PoolSettings::default(),
            report: Arc::new(|_| {}),
        })
        .await
        .unwrap();
        house.start_archon(archon_spec("ezra", &"large".parse().unwrap()).unwrap()).await.unwrap();
        Self { house, engine, store }
    }

    async fn say(&self, key: &str, text: &str) -> OutboxEntry {
        let message = message("ezra", "p", key, text).unwrap();
        let mut observer = self.house.observers().observe(message.message_key());
        self.house.submit(message).await.unwrap();
        loop {
            if let TurnEvent::Ended { answer } = observer.next().await.unwrap() {
                return answer;
            }
        }
    }

    fn paths(&self) -> Vec<String> {
        self.house.roster().tree().into_iter().map(|view| view.path).collect()
    }

    fn actor(&self, path: &str) -> ActorView {
        self.house.roster().actor(path).unwrap()
    }

    /// Waits until something can be seen.
    async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if seen(self) {
                return;
            }
            pass(Duration::from_millis(10)).await;
        }
        panic!("{what} was never seen: {:#?}", self.house.roster().tree());
    }
}

#[expect(clippy::disallowed_methods, reason = "time is paused")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: paused time
}

const SESSION: &str = "house/archons/ezra/sessions/cli/p/main#1";

#[tokio::test(start_paused = true)]
async fn the_tree_shows_everybody_in_the_order_of_the_start() {
    let world = World::new().await;
    world.say("1", "hello").await;
    assert_eq!(
        world.paths(),
        [
            "house",
            "house/memory",
            "house/pool",
            "house/pool/large#1",
            "house/archons",
            "house/archons/ezra",
            "house/archons/ezra/tools",
            "house/archons/ezra/harness",
            "house/archons/ezra/sessions",
            SESSION,
            "house/archons/ezra/hermes",
            "house/services",
        ]
    );
    let session = world.actor(SESSION);
    assert_eq!((session.state, session.depth, session.restarts), (ActorState::Ready, 4, 0));
    assert!(session.handled > 3 && session.age.is_some(), "{session:?}");
    world.house.stop_archon(&"ezra".parse().unwrap()).await.unwrap();
    assert_eq!(world.paths().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_runs_is_not_stopped_whatever_is_reported_of_his_forerunner() {
    let world = World::new().await;
    let path = "house/archons/ezra/harness";
    let gone = SupervisionFact::ChildExited { id: "harness".into(), reason: ExitReason::Shutdown };
    world.house.roster().reported("house/archons/ezra", &gone);
    assert_eq!(world.actor(path).state, ActorState::Ready);
    world.house.roster().kill(path).unwrap();
    world.until("a harness that is down", |world| world.actor(path).state != ActorState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_seen_by_those_who_wait_for_it() {
    let world = World::new().await;
    world.say("1", "hello").await;
    let commits = world.store.batches().len();
    world.store.hold();
    let house = &world.house;
    let submit = house.submit(message("ezra", "p", "2", "again").unwrap());
    let look = async {
        // A commit that hangs blocks no actor: the caller waits, and memory says what it waits for.
        while world.store.batches().len() == commits {
            tokio::task::yield_now().await;
        }
        let facts = world.house.roster().inspect("house/memory").await.unwrap().unwrap();
        assert!(facts.contains(&("commit running", Fact::Flag(true))), "{facts:?}");
        world.store.release();
    };
    let (accepted, ()) = tokio::join!(submit, look);
    accepted.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_suspended_actor_keeps_its_messages_and_the_others_work() {
    let world = World::new().await;
    world.say("1", "hello").await;
    let roster = world.house.roster();
    roster.suspend(SESSION, true).unwrap();
    world.house.submit(message("ezra", "p", "2", "held back").unwrap()).await.unwrap();
    pass(Duration::from_secs(5)).await;
    let held = world.actor(SESSION);
    assert_eq!((held.state, held.mailbox_len), (ActorState::Suspended, 1), "{held:?}");
    assert_eq!(world.say("3", "/status").await.key, "3");
    roster.suspend(SESSION, false).unwrap();
    world.until("the answer", |world| world.actor(SESSION).state == ActorState::Ready).await;
    let refused = roster.suspend("house/archons", true).unwrap_err();
    assert_eq!(refused, RosterError::IsSupervisor { path: "house/archons".into() });
}

#[tokio::test(start_paused = true)]
async fn whatever_is_killed_is_a_crash_with_its_message() {
    let world = World::new().await;
    world.engine.set_token_delay(Duration::from_millis(50));
    world.house.submit(message("ezra", "p", "1", "one two three four").unwrap()).await.unwrap();
    world
        .until("a running session", |world| {
            world.house.roster().actor(SESSION).is_ok_and(|view| view.state == ActorState::Running)
        })
        .await;
    world.house.roster().kill(SESSION).unwrap();
    world.until("the next session", |world| !world.house.roster().crashes().is_empty()).await;
    let crash = world.house.roster().crashes().remove(0);
    assert_eq!((crash.id, crash.path.as_str(), crash.cause.as_str()), (1, SESSION, "killed"));
    assert!(crash.message.is_some(), "{crash:?}");
    assert_eq!(
        world.house.roster().kill("house/nobody"),
        Err(RosterError::NotFound { path: "house/nobody".into() })
    );
    world
        .until("the answer", |world| {
            world
                .house
                .roster()
                .actor("house/archons/ezra/sessions/cli/p/main#2")
                .is_ok_and(|view| view.state == ActorState::Ready && view.handled > 2)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_replaced_and_its_end_is_kept() {
    let world = World::new().await;
    world.engine.set_token_delay(Duration::from_millis(50));
    let (answer, ()) = tokio::join!(world.say("1", "one two three four"), async {
        world
            .until("the worker", |world| world.actor("house/pool/large#1").state == ActorState::Running)
            .await;
        world.house.roster().kill("house/pool/large#1").unwrap();
    });
    assert_eq!(answer.text, "echo: one two three four");
    assert_eq!(world.actor("house/pool/large#2").state, ActorState::Ready);
    assert_eq!(world.house.roster().crashes()[0].path, "house/pool/large#1");
}

#[tokio::test(start_paused = true)]
async fn stopped_actors_stay_down_until_they_are_restarted() {
    let world = World::new().await;
    let hermes = "house/archons/ezra/hermes";
    world.house.stop(hermes).await.unwrap();
    let stopped = world.actor(hermes);
    assert_eq!((stopped.state, stopped.age), (ActorState::Stopped, None));
    assert_eq!(world.house.roster().inspect(hermes).await, Ok(None));
    world.house.restart(hermes).await.unwrap();
    assert_eq!(world.say("1", "hello").await.text, "echo: hello");
    assert_eq!(world.actor(hermes).restarts, 1);
    world.house.restart("house/archons/ezra").await.unwrap();
    assert_eq!(world.say("2", "hello").await.text, "echo: hello");
    let refused = world.house.roster().stop("house").await.unwrap_err();
    assert_eq!(refused, RosterError::IsRoot { path: "house".into() });
}

#[tokio::test(start_paused = true)]
async fn a_trace_tells_each_message_without_its_words() {
    let world = World::new().await;
    let mut trace = world.house.roster().trace("house/archons/ezra/harness").unwrap();
    world.say("1", "a secret").await;
    let first = trace.recv().await.unwrap();
    assert_eq!((first.kind, first.failed, first.left_out), ("dispatch", false, 0));
    assert_eq!(first.about.as_deref(), Some("message 1 of ezra/cli/p/main, try 1"));
    // A reader that does not read is told what it missed.
    for number in 2..200 {
        world.say(&number.to_string(), "more").await;
    }
    let mut missed = 0;
    while let Ok(event) = trace.try_recv() {
        missed += event.left_out;
    }
    world.say("last", "more").await;
    missed += trace.recv().await.unwrap().left_out;
    assert!(missed > 0);
}

#[tokio::test(start_paused = true)]
async fn inspections_hold_no_words_of_people_or_models() {
    let world = World::new().await;
    world.say("1", "xyzzy-secret").await;
    for path in world.paths() {
        let facts = world.house.roster().inspect(&path).await.unwrap();
        let facts = facts.unwrap_or_else(|| panic!("{path} does not answer"));
        assert!(!facts.is_empty(), "{path}");
        assert!(!format!("{facts:?}").contains("xyzzy"), "{path}: {facts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_kept_with_its_place() {
    // As the process's hook does it.
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        note_panic(&info.to_string());
        former(info);
    }));
    let world = World::new().await;
    world.engine.fail_once(FakeFault::LaunchPanics);
    world.house.roster().kill("house/pool/large#1").unwrap();
    assert_eq!(world.say("1", "hello").await.text, "echo: hello");
    let crash = world.house.roster().crashes().remove(1);
    assert_eq!((crash.path.as_str(), crash.message), ("house/pool/large#2", Some("launch")));
    assert!(crash.stack.as_ref().is_some_and(|stack| stack.contains("asked to panic")), "{crash:?}");
}

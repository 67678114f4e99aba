//! The whole house on doubles, in paused time: whatever is killed, each message is answered once.
#[path = "busy_tests.rs"]
mod busy;
#[path = "command_tests.rs"]
mod commands;
#[path = "fault_tests.rs"]
mod faults;
#[path = "hand_off_tests.rs"]
mod hand_off;
#[path = "handing_tests.rs"]
mod handing;
#[path = "injection_tests.rs"]
mod injections;
#[path = "media_tests.rs"]
mod media;
#[path = "search_tests.rs"]
mod search;
#[path = "tool_tests.rs"]
mod tools;
#[path = "trail_tests.rs"]
mod trail;

use std::collections::BTreeMap;

use ractor::ActorRef;

use super::*;
use crate::domain::{AnswerKind, ChatTurn, ModelId, NewAnswer, OutboxEntry, TurnEnd, TurnEvent};
use crate::harness::HarnessMsg;
use crate::hermes::HermesMsg;
use crate::link::Envelope;
use crate::ports::{MediaShelf, NoTools, RuntimeThreads, StoreError, ToolShed};
use crate::session::SessionMsg;
use crate::testkit::{FakeEngine, FakeLoad, MemStore, StoppedClock, archon_spec, message};

struct World {
    house: House,
    engine: FakeEngine,
    store: Arc<MemStore>,
}

fn model() -> ModelId {
    ModelId::new("m").unwrap()
}

fn id(name: &str) -> ArchonId {
    ArchonId::new(name).unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(Arc::new(NoTools)).await
    }

    async fn with(tools: Arc<dyn ToolShed>) -> Self {
        Self::on(FakeEngine::new([model()]), tools).await
    }

    async fn on(engine: FakeEngine, tools: Arc<dyn ToolShed>) -> Self {
        Self::of(engine, tools, Arc::new(MemStore::new())).await
    }

    async fn of(engine: FakeEngine, tools: Arc<dyn ToolShed>, store: Arc<MemStore>) -> Self {
        Self::whole(engine, tools, store, Arc::new(crate::ports::NoMedia)).await
    }

    async fn whole(
        engine: FakeEngine,
        tools: Arc<dyn ToolShed>,
        store: Arc<MemStore>,
        media: Arc<dyn MediaShelf>,
    ) -> Self {
        let house = House::start(HouseArgs {
            store: store.clone(),
            engine: Arc::new(engine.clone()),
            tools,
            media,
            channels: Arc::new(crate::ports::NoChannels),
            clock: Arc::new(StoppedClock),
            calls: Arc::new(RuntimeThreads),
            memory: MemorySettings::default(),
            pool: PoolSettings::default(),
            report: Arc::new(|_| {}),
        })
        .await
        .unwrap();
        Self { house, engine, store }
    }

    async fn start(&self, name: &str) {
        self.house.start_archon(archon_spec(name, &model()).unwrap()).await.unwrap();
    }

    /// Says something and waits for the answer.
    async fn say(&self, archon: &str, peer: &str, key: &str, text: &str) -> OutboxEntry {
        self.hand_in(message(archon, peer, key, text).unwrap()).await
    }

    /// Hands a message in and waits for the answer.
    async fn hand_in(&self, message: InboundMessage) -> OutboxEntry {
        let mut observer = self.house.observers().observe(message.message_key());
        self.house.submit(message).await.unwrap();
        loop {
            match observer.next().await {
                Some(TurnEvent::Ended { answer }) => return answer,
                Some(_) => {}
                None => panic!("the observer was replaced"),
            }
        }
    }

    /// The actors of a kind, wherever they are in the tree.
    fn actors(&self, kind: fn(&ActorCell) -> bool) -> Vec<ActorCell> {
        let (mut found, mut open) = (Vec::new(), self.house.root_cell.get_children());
        while let Some(cell) = open.pop() {
            open.extend(cell.get_children());
            if kind(&cell) {
                found.push(cell);
            }
        }
        found
    }

    /// Answers in the outbox, by the key of the message.
    async fn answers(&self, archon: &str, peer: &str) -> BTreeMap<String, Vec<OutboxEntry>> {
        let peer = (id(archon), peer.parse().unwrap());
        let entries =
            self.house.memory().undelivered(&"cli".parse().unwrap(), Some(peer), None, 10_000).await.unwrap();
        let mut answers: BTreeMap<String, Vec<OutboxEntry>> = BTreeMap::new();
        for entry in entries {
            answers.entry(entry.key.clone()).or_default().push(entry);
        }
        answers
    }
}

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Lets time pass, which takes none: it is paused, and jumps when everybody waits.
#[expect(clippy::disallowed_methods, reason = "time is paused")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: paused time
}

#[tokio::test(start_paused = true)]
async fn a_session_leaves_memory_and_comes_back_whole() {
    let world = World::new().await;
    world.start("ezra").await;
    assert_eq!(world.say("ezra", "p", "1", "one").await.text, "echo: one");
    assert_eq!(world.house.sessions(&id("ezra")).await.unwrap().len(), 1);
    pass(Duration::from_secs(601)).await;
    assert_eq!(world.house.sessions(&id("ezra")).await.unwrap().len(), 0);
    assert_eq!(world.say("ezra", "p", "2", "two").await.text, "echo: two");
    let prompt = world.engine.requests().last().unwrap().prompt.clone();
    let said: Vec<String> = prompt.turns().iter().map(ChatTurn::words).collect();
    assert_eq!(said, ["one", "echo: one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn peers_and_archons_share_nothing() {
    let world = World::new().await;
    world.start("ezra").await;
    world.start("electra").await;
    world.say("ezra", "p", "1", "a secret").await;
    for (archon, peer, key) in [("ezra", "q", "2"), ("electra", "p", "3")] {
        world.say(archon, peer, key, "hello").await;
        assert_eq!(world.engine.requests().last().unwrap().prompt.turns().len(), 1, "{archon} {peer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_killed_in_a_loop_quarantines_its_archon_alone() {
    let world = World::new().await;
    for name in ["allegro", "bezalel", "electra", "ezra"] {
        world.start(name).await;
    }
    let refusal = world.until_quarantined(&["allegro", "bezalel", "electra"]).await;
    assert!(matches!(refusal, SubmitError::Unavailable { state: ActorState::Quarantined, .. }), "{refusal}");
    let status = world.house.status().await;
    for archon in status.archons {
        let quarantined = archon.state == ActorState::Quarantined;
        assert_eq!(quarantined, archon.id == id("ezra"), "{archon:?}");
        assert_eq!(archon.last_error.is_some(), quarantined);
    }
    // The operator lifts it: nothing that was accepted is forgotten.
    world.start("ezra").await;
    assert_eq!(world.say("ezra", "p", "after", "hi").await.text, "echo: hi");
    assert!(world.answers("ezra", "p").await.values().all(|answers| answers.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_archon_comes_back_by_itself_and_answers_what_waits() {
    let world = World::new().await;
    world.start("ezra").await;
    world.until_quarantined(&[]).await;
    let waiting = world.house.memory().pending(&id("ezra"), None, 100).await.unwrap();
    assert!(!waiting.is_empty());
    pass(QUARANTINE_RETRY - Duration::from_secs(60)).await;
    assert_eq!(world.house.archon_status(&id("ezra")).await.unwrap().state, ActorState::Quarantined);
    pass(Duration::from_secs(120)).await;
    assert_eq!(world.house.archon_status(&id("ezra")).await.unwrap().state, ActorState::Ready);
    assert_eq!(world.answers("ezra", "p").await[&waiting[0].key].len(), 1);
    assert_eq!(world.say("ezra", "p", "after", "hi").await.text, "echo: hi");
}

impl World {
    /// Kills Ezra's session in a loop until he is refused, while these others go on answering.
    async fn until_quarantined(&self, others: &[&str]) -> SubmitError {
        self.engine.set_token_delay(Duration::from_millis(500));
        for round in 0..30 {
            let asked = message("ezra", "p", &format!("k{round}"), "some words to say").unwrap();
            if let Err(refusal) = self.house.submit(asked).await {
                return refusal;
            }
            for other in others {
                assert_eq!(self.say(other, "p", &format!("{other}{round}"), "hi").await.text, "echo: hi");
            }
            // Until a killed try has been begun again, and not until it is ended.
            pass(Duration::from_millis(1100)).await;
            for session in self.sessions_of("ezra").await {
                session.kill();
            }
            tokio::task::yield_now().await;
        }
        panic!("it is never quarantined");
    }

    /// The session actors of one Archon, which say themselves whose they are.
    async fn sessions_of(&self, archon: &str) -> Vec<ActorCell> {
        let mut found = Vec::new();
        for cell in self.actors(is_session) {
            let session: ActorRef<Envelope<SessionMsg>> = cell.clone().into();
            let (sender, receiver) = ractor::concurrency::oneshot();
            let _ = session.send_message(Envelope::fact(SessionMsg::GetStatus { reply: sender.into() }));
            if let Ok(Ok(status)) = receiver.await
                && status.key.archon.as_str() == archon
            {
                found.push(cell);
            }
        }
        found
    }
}

fn is_session(cell: &ActorCell) -> bool {
    cell.is_message_type_of::<Envelope<SessionMsg>>() == Some(true)
}

/// What dies and is brought back without the house noticing.
fn is_of_archon(cell: &ActorCell) -> bool {
    is_session(cell)
        || cell.is_message_type_of::<Envelope<HarnessMsg>>() == Some(true)
        || cell.is_message_type_of::<Envelope<HermesMsg>>() == Some(true)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_removed_is_forgotten_in_memory_too() {
    let world = World::new().await;
    world.start("ezra").await;
    world.say("ezra", "p", "1", "a secret").await;
    let key: SessionKey = "ezra/cli/p/main".parse().unwrap();
    world.house.remove_session(key.clone()).await.unwrap();
    assert_eq!(world.house.memory().session(&key).await.unwrap(), None);
    world.say("ezra", "p", "2", "hello").await;
    assert_eq!(world.engine.requests().last().unwrap().prompt.turns().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_starts_at_once_are_one() {
    let world = World::new().await;
    tokio::join!(world.start("ezra"), world.start("ezra"));
    assert_eq!(world.say("ezra", "p", "1", "hello").await.text, "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_delays_an_answer_and_doubles_nothing() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    let asked = message("ezra", "p", "1", "one two three").unwrap();
    let mut observer = world.house.observers().observe(asked.message_key());
    world.house.submit(asked).await.unwrap();
    while !matches!(observer.next().await, Some(TurnEvent::Text { .. })) {}
    world.store.fail_writes(Some(StoreError::DiskFull { path: "disk".into() }));
    let refused = world.house.submit(message("ezra", "p", "2", "more").unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("free some space"));
    let mut retried = false;
    loop {
        match observer.next().await.unwrap() {
            TurnEvent::Retrying { .. } => retried = true,
            TurnEvent::Ended { answer } => break assert_eq!(answer.text, "echo: one two three"),
            TurnEvent::Text { text } if text.contains("three") => world.store.fail_writes(None),
            _ => {}
        }
    }
    let answers = world.answers("ezra", "p").await;
    assert_eq!(answers["1"].len(), 1, "retried: {retried}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_the_worker_is_given_up_and_the_next_is_answered() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.poison("cyanide", 1);
    let answer = world.say("ezra", "p", "1", "a cup of cyanide").await;
    assert_eq!(answer.kind, AnswerKind::Failure);
    assert!(answer.text.starts_with("I could not answer that"), "{}", answer.text);
    assert_eq!(world.say("ezra", "p", "2", "tea").await.text, "echo: tea");
    let prompt = world.engine.requests().last().unwrap().prompt.clone();
    assert_eq!(prompt.turns().len(), 1, "what failed is no part of the conversation");
}

#[tokio::test(start_paused = true)]
async fn a_long_conversation_is_summarised_and_kept_whole() {
    let world = World::new().await;
    world.engine.set_context_tokens(120);
    let mut spec = archon_spec("ezra", &model()).unwrap();
    spec.context.tokens_max = 120;
    spec.limits.answer_tokens_max = 30;
    world.house.start_archon(spec).await.unwrap();
    for number in 0..20 {
        let text = format!("message number {number} of a long conversation");
        let answer = world.say("ezra", "p", &number.to_string(), &text).await;
        assert_eq!(answer.text, format!("echo: {text}"));
    }
    let key: SessionKey = "ezra/cli/p/main".parse().unwrap();
    let kept = world.house.memory().session(&key).await.unwrap().unwrap();
    assert_eq!(kept.head.turns, 20);
    assert!(kept.head.summary.is_some_and(|summary| summary.turns > 5 && summary.turns < 20));
    assert_eq!(world.house.memory().turns(&key, 0, 100).await.unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_answer_and_commands_overtake_it() {
    let world = World::new().await;
    world.start("ezra").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    world.engine.set_answer_tokens(Some(1000));
    let asked = message("ezra", "p", "1", "go on").unwrap();
    let mut observer = world.house.observers().observe(asked.message_key());
    world.house.submit(asked).await.unwrap();
    while !matches!(observer.next().await, Some(TurnEvent::Text { .. })) {}
    let status = world.say("ezra", "p", "2", "/status").await;
    assert!(status.text.contains("turns running 1"), "{}", status.text);
    assert_eq!(world.say("ezra", "p", "3", "/stop").await.text, "Stopping.");
    loop {
        if let Some(TurnEvent::Ended { answer }) = observer.next().await {
            break assert!(answer.text.ends_with("[stopped]"), "{}", answer.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_killed_each_message_is_answered_once() {
    for seed in 1_u64..=20 {
        let world = World::new().await;
        let mut spec = archon_spec("ezra", &model()).unwrap();
        // A storm is no reason to give up here: that is tested above.
        spec.limits.crashes_max = 100;
        world.house.start_archon(spec).await.unwrap();
        world.engine.set_token_delay(Duration::from_millis(20));
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for number in 0..30_u64 {
            let (peer, key) = (format!("p{}", number % 5), number.to_string());
            // An actor that is being restarted refuses; the writer says it again, as channels do.
            while world
                .house
                .submit(message("ezra", &peer, &key, "some words to say").unwrap())
                .await
                .is_err()
            {
                pass(Duration::from_millis(100)).await;
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Every third message one actor dies; the house itself bears 3 in 5 minutes, so its children are spared.
            let victims: Vec<ActorCell> = world.actors(is_of_archon);
            if number % 3 == 0 && !victims.is_empty() {
                victims[usize::try_from(random % victims.len() as u64).unwrap()].kill();
            }
            pass(Duration::from_millis(random % 200)).await;
        }
        pass(Duration::from_secs(600)).await;
        let mut count = 0;
        for peer in 0..5 {
            for (key, answers) in world.answers("ezra", &format!("p{peer}")).await {
                assert_eq!(answers.len(), 1, "seed {seed}: message {key} has {answers:?}");
                count += 1;
            }
        }
        assert_eq!(count, 30, "seed {seed}: a message has no answer");
        world.house.shutdown().await.unwrap();
    }
}

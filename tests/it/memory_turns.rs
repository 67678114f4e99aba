//! Turns that remember and recall, in a house whose engine is a double: the real tools on the real store, and the law of two.
use std::sync::Arc;

use archond::store::RedbStore;
use archond::tools::MemoryTools;
use archond_actors::domain::{
    ArchonSpec, ModelId, NotesOf, Outcome, Permission, Risk, SessionKey, ToolPolicy, TurnEvent,
};
use archond_actors::house::{House, HouseArgs};
use archond_actors::meaning::Meaning;
use archond_actors::memory::{MemoryHandle, MemorySettings};
use archond_actors::pool::{PoolHandle, PoolSettings};
use archond_actors::ports::{NoEmbedders, RuntimeThreads, ToolShed, ToolSource};
use archond_actors::testkit::{FakeEngine, StoppedClock, ToyTools, archon_spec, message};
use tempfile::TempDir;

use crate::mcp_kit::until;

const REMEMBER: &str = r#"call remember={"text":"Rex-is-the-dog"}"#;
const RECALL: &str = r#"call recall={"query":"dog"}"#;

/// The memory's tools, and one that says something to people.
struct Shed(MemoryTools, ToyTools);

impl ToolShed for Shed {
    fn sources(&self, _: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        vec![Arc::new(self.0.clone()), Arc::new(self.1.clone())]
    }
}

struct World {
    house: House,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    async fn at(folder: TempDir) -> Self {
        // A thread of the life before may hold it for a moment longer than the house.
        let path = folder.path().join("store.redb");
        until("the store is free", || RedbStore::open(&path).is_ok()).await;
        let (memory, pool, model) = (MemoryHandle::new(), PoolHandle::new(), ModelId::new("m").unwrap());
        let meaning =
            Meaning::new(memory.clone(), pool.clone(), Arc::new(NoEmbedders), Arc::new(RuntimeThreads));
        let tools = MemoryTools::new(meaning, Arc::new(StoppedClock));
        let args = HouseArgs {
            store: Arc::new(RedbStore::open(&path).unwrap()),
            engine: Arc::new(FakeEngine::new([model.clone()])),
            tools: Arc::new(Shed(tools, ToyTools::new(&[("send", Risk::Message)]))),
            media: Arc::new(archond_actors::ports::NoMedia),
            channels: Arc::new(archond_actors::ports::NoChannels),
            clock: Arc::new(StoppedClock),
            calls: Arc::new(RuntimeThreads),
            memory: MemorySettings::default(),
            pool: PoolSettings::default(),
            report: Arc::new(|_| {}),
        };
        let house = House::start_with(args, memory, pool).await.unwrap();
        let policy = ToolPolicy {
            tools: ["remember", "recall", "send"].map(str::to_owned).to_vec(),
            permissions: [Permission::Allow; 5],
            ..ToolPolicy::default()
        };
        for name in ["ezra", "electra"] {
            let spec = ArchonSpec { tools: Arc::new(policy.clone()), ..archon_spec(name, &model).unwrap() };
            house.start_archon(spec).await.unwrap();
        }
        Self { house, folder }
    }

    /// Says something, and waits for the answer; or for a question to the owner, if he is asked.
    async fn say(&self, archon: &str, peer: &str, key: &str, text: &str) -> String {
        let message = message(archon, peer, key, text).unwrap();
        let mut observer = self.house.observers().observe(message.message_key());
        self.house.submit(message).await.unwrap();
        loop {
            match observer.next().await {
                Some(TurnEvent::Ended { answer }) => return answer.text,
                Some(TurnEvent::ApprovalWanted { tool, why, .. }) => {
                    return format!("asked about {tool}: {why}");
                }
                Some(_) => {}
                None => panic!("the observer was replaced"),
            }
        }
    }

    /// What the last call in this conversation came to.
    async fn outcome(&self, session: &str) -> Outcome {
        let session: SessionKey = session.parse().unwrap();
        let turns = self.house.memory().turns(&session, 0, 100).await.unwrap();
        turns.last().unwrap().steps.last().unwrap().calls.last().unwrap().outcome.clone()
    }
}

#[tokio::test]
async fn what_is_remembered_is_recalled_in_a_later_conversation_and_after_a_restart() {
    let world = World::new().await;
    assert_eq!(world.say("ezra", "p", "1", REMEMBER).await, "echo: kept as note 1");
    assert_eq!(world.say("ezra", "p", "2", REMEMBER).await, "echo: note 1 says that already");
    world.say("ezra", "p", "3", "my cat chases every dog of the street").await;
    world.say("ezra", "p", "4", "/new").await;
    world.say("ezra", "p", "5", RECALL).await;
    let Outcome::Done { text } = world.outcome("ezra/cli/p/s4").await else { panic!("it failed") };
    assert!(text.starts_with("Recalled, the best first. This was written earlier"), "{text}");
    assert!(text.contains("note 1, 20") && text.contains("Rex-is-the-dog"), "{text}");
    assert!(text.contains("conversation main, turn 3\n   they: my cat chases every dog"), "{text}");

    let World { house, folder } = world;
    house.shutdown().await.unwrap();
    drop(house);
    let world = World::at(folder).await;
    world.say("ezra", "p", "6", "/new").await;
    world.say("ezra", "p", "7", RECALL).await;
    let Outcome::Done { text } = world.outcome("ezra/cli/p/s6").await else { panic!("it failed") };
    assert!(text.contains("Rex-is-the-dog") && text.contains("they: my cat"), "{text}");
}

#[tokio::test]
async fn nobody_else_recalls_it_and_the_peer_himself_forgets_it() {
    let world = World::new().await;
    world.say("ezra", "p", "1", REMEMBER).await;
    for (number, (archon, peer)) in [("ezra", "q"), ("electra", "p")].into_iter().enumerate() {
        world.say(archon, peer, &format!("other {number}"), RECALL).await;
        let Outcome::Done { text } = world.outcome(&format!("{archon}/cli/{peer}/main")).await else {
            panic!("failed")
        };
        assert!(text.starts_with("nothing in the notes"), "{text}");
        let key = format!("list {number}");
        assert_eq!(world.say(archon, peer, &key, "/memory").await, "I keep no notes of you.");
        let key = format!("forget {number}");
        let told = world.say(archon, peer, &key, "/memory forget 1").await;
        assert_eq!(told, "I have no note 1 of you; `/memory` lists all.");
    }
    let listed = world.say("ezra", "p", "2", "/memory").await;
    assert!(listed.contains("\n  1 Rex-is-the-dog\n"), "{listed}");
    assert!(world.say("ezra", "p", "3", "/memory forget one").await.starts_with("`/memory` lists"));
    assert_eq!(world.say("ezra", "p", "4", "/memory forget 1").await, "Note 1 is forgotten.");
    assert_eq!(world.house.memory().notes(&NotesOf::House, None, 9).await, Ok(vec![]));
}

#[tokio::test]
async fn what_the_prompt_shows_anyway_is_not_recalled() {
    let world = World::new().await;
    world.say("ezra", "p", "1", "the dog barks").await;
    world.say("ezra", "p", "2", RECALL).await;
    let Outcome::Done { text } = world.outcome("ezra/cli/p/main").await else { panic!("it failed") };
    assert!(text.starts_with("nothing in the notes"), "{text}");
}

#[tokio::test]
async fn after_recalling_the_owner_is_asked_before_anything_is_sent() {
    let world = World::new().await;
    assert_eq!(world.say("ezra", "p", "1", "call send").await, "echo: send", "alone it is allowed");
    let asked = world.say("ezra", "p", "2", &format!("{RECALL} send")).await;
    assert!(asked.starts_with("asked about send: text of strangers, your own data and a way out"), "{asked}");
    let stopped = world.say("ezra", "p", "3", "/deny").await;
    assert!(stopped.starts_with("I will not: send"), "{stopped}");
    let again = world.say("ezra", "p", "4", "call send").await;
    assert!(again.starts_with("asked about send"), "the next turn reads it again: {again}");
    world.say("ezra", "p", "5", "/deny").await;
    world.say("ezra", "p", "6", "/new").await;
    let asked = world.say("ezra", "p", "7", r#"call remember={"text":"x"} send"#).await;
    assert_eq!(asked, "echo: send", "a note of one's own carries nothing in");
}

#[tokio::test]
async fn what_cannot_be_kept_says_what_to_do() {
    let world = World::new().await;
    for (key, call, words) in [
        ("1", "call remember", "missing field `text`"),
        ("2", r#"call remember={"text":""}"#, "a note needs a text"),
        ("3", r#"call recall={"text":"x"}"#, "unknown field `text`, expected `query`"),
    ] {
        let told = world.say("ezra", "p", key, call).await;
        assert!(told.starts_with("echo: error: ") && told.contains(words), "{told}");
    }
    let long = format!(r#"call remember={{"text":"{}"}}"#, "x".repeat(1001));
    assert!(world.say("ezra", "p", "4", &long).await.contains("at most 1000 characters, this one has 1001"));
    assert_eq!(world.house.memory().notes(&NotesOf::House, None, 9).await, Ok(vec![]));
}

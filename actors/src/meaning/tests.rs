//! The whole house on doubles, in paused time: what is remembered gets its vectors, and nobody waits for them.
use super::indexer::{Verdict, verdict};
use super::vectors::VectorError;
use super::*;
use crate::domain::{
    AnswerKind, Indexed, Kept, Maker, ModelId, NewAnswer, NewNote, NewTurn, NoteId, Refusal, TurnEnd, Usage,
};
use crate::house::{House, HouseArgs};
use crate::memory::MemorySettings;
use crate::pool::{PoolError, PoolSettings};
use crate::ports::{NoTools, RuntimeThreads, StoreError};
use crate::testkit::{FakeEngine, FakeFault, FakeLoad, MemStore, StoppedClock, archon_spec, message};

/// Longest wait for anything, in the tests' own time.
const PATIENCE: u32 = 3600;

/// Says which embedder there is, as long as nobody says otherwise.
struct Choice(Mutex<Option<Embedder>>);

impl Embedders for Choice {
    fn current(&self) -> Option<Embedder> {
        self.0.lock().unwrap().clone()
    }
}

fn embedder(version: &str) -> Embedder {
    let maker = Maker { model: "e".parse().unwrap(), version: version.to_owned() };
    Embedder { maker, query_prefix: String::new(), text_prefix: String::new() }
}

fn talker() -> ModelId {
    "m".parse().unwrap()
}

struct World {
    house: House,
    engine: FakeEngine,
    store: Arc<MemStore>,
    choice: Arc<Choice>,
    meaning: Meaning,
}

impl World {
    async fn new(embedder: Option<Embedder>) -> Self {
        Self::with(embedder, PoolSettings::default()).await
    }

    async fn with(embedder: Option<Embedder>, settings: PoolSettings) -> Self {
        let engine = FakeEngine::new([talker(), "e".parse().unwrap()]);
        let (store, choice) = (Arc::new(MemStore::new()), Arc::new(Choice(Mutex::new(embedder))));
        let (memory, pool) = (MemoryHandle::new(), PoolHandle::new());
        let meaning = Meaning::new(memory.clone(), pool.clone(), choice.clone(), Arc::new(RuntimeThreads));
        let args = HouseArgs {
            store: store.clone(),
            engine: Arc::new(engine.clone()),
            tools: Arc::new(NoTools),
            media: Arc::new(crate::ports::NoMedia),
            channels: Arc::new(crate::ports::NoChannels),
            clock: Arc::new(StoppedClock),
            calls: Arc::new(RuntimeThreads),
            memory: MemorySettings::default(),
            pool: settings,
            report: Arc::new(|_| {}),
        };
        let house = House::start_with(args, memory, pool).await.unwrap();
        house.start_service(meaning.service()).await.unwrap();
        house.start_archon(archon_spec("ezra", &talker()).unwrap()).await.unwrap();
        Self { house, engine, store, choice, meaning }
    }

    async fn note(&self, peer: &str, text: &str) -> NoteId {
        let note = NewNote::new(owner(peer), None, text, 5).unwrap();
        match self.house.memory().keep_note(note).await {
            Ok(Kept::Fresh(note)) => note.id,
            other => panic!("{other:?}"),
        }
    }

    async fn indexed(&self) -> Indexed {
        self.house.memory().indexed().await.unwrap()
    }

    /// Waits for so many with a vector and so many without.
    async fn until(&self, with: u64, without: u64) {
        for _ in 0..PATIENCE {
            let Indexed { with: has, without: has_not, .. } = self.indexed().await;
            if (has, has_not) == (with, without) {
                return;
            }
            pass(Duration::from_secs(1)).await;
        }
        panic!("{:?}, {:?}", self.indexed().await, self.meaning.inspect());
    }

    async fn found(&self, peer: &str, question: &str) -> Vec<String> {
        let found = self.meaning.recall(&owner(peer), question, 9).await.unwrap();
        let text = |recalled: &Recalled| match recalled {
            Recalled::Note(note) => note.text.clone(),
            Recalled::Turn { user, .. } => user.clone(),
        };
        found.iter().map(text).collect()
    }
}

fn owner(peer: &str) -> PeerKey {
    format!("ezra/cli/{peer}").parse().unwrap()
}

/// Lets this much of the tests' time go by.
async fn pass(time: Duration) {
    // Nobody ever answers.
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_other_words_is_found_as_soon_as_it_has_its_vector() {
    let world = World::new(Some(embedder("1"))).await;
    world.note("a", "listen").await;
    world.note("a", "dog").await;
    world.note("b", "silent too").await;
    world.until(3, 0).await;
    assert_eq!(world.found("a", "silent").await, ["listen"], "the same letters in another order");
    assert_eq!(world.found("a", "my dog, silent").await[..2], ["dog", "listen"], "both ways in one");
    assert_eq!(world.found("b", "listen").await, ["silent too"], "never what is another's");

    let entry = message("ezra", "a", "1", "the stone").unwrap();
    let inbox = match world.house.memory().accept(entry).await.unwrap() {
        crate::domain::Accepted::Fresh(entry) => entry.id,
        other => panic!("{other:?}"),
    };
    let turn = NewTurn {
        user: "the stone".into(),
        answer: "is there".into(),
        stopped: false,
        model: talker(),
        steps: Vec::new(),
        asides: Vec::new(),
        brought: Vec::new(),
        usage: Usage::default(),
        replaces_last: false,
    };
    let answer = NewAnswer { kind: AnswerKind::Answer, text: "is there".into() };
    world
        .house
        .memory()
        .end_turn(TurnEnd { inbox, turn: Some(turn), answer, ended_unix_ms: 7 })
        .await
        .unwrap();
    world.until(4, 0).await;
    assert!(world.found("a", "onset three hites").await.contains(&"the stone".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn without_an_embedder_and_with_one_that_fails_or_is_slow_words_are_enough() {
    let world = World::new(None).await;
    world.note("a", "listen to the dog").await;
    pass(Duration::from_secs(200)).await;
    assert_eq!(world.indexed().await, Indexed { maker: None, with: 0, without: 1 });
    assert_eq!(world.found("a", "dogs").await, ["listen to the dog"]);
    assert_eq!(world.found("a", "silent").await, Vec::<String>::new());

    // One that was pulled meanwhile is found within a minute or two.
    *world.choice.0.lock().unwrap() = Some(embedder("1"));
    world.until(1, 0).await;
    assert_eq!(world.found("a", "silent").await, ["listen to the dog"]);

    world.engine.set_load(&"e".parse().unwrap(), FakeLoad::Takes(Duration::from_secs(3000)));
    world.house.restart("house/pool").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(world.found("a", "dogs").await, ["listen to the dog"]);
    assert!(begun.elapsed() <= QUESTION_TIMEOUT + Duration::from_secs(1), "{:?}", begun.elapsed());

    world.engine.set_on_disk(&"e".parse().unwrap(), false);
    world.house.restart("house/pool").await.unwrap();
    assert_eq!(world.found("a", "dogs").await, ["listen to the dog"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_computed_while_somebody_waits_for_an_answer() {
    let world = World::new(Some(embedder("1"))).await;
    world.until(0, 0).await;
    world.engine.set_token_delay(Duration::from_secs(10));
    world.engine.set_answer_tokens(Some(30));
    world.house.submit(message("ezra", "a", "1", "hello").unwrap()).await.unwrap();
    pass(Duration::from_secs(5)).await;
    world.note("a", "listen").await;
    pass(Duration::from_secs(200)).await;
    assert_eq!(world.indexed().await.with, 0, "the answer takes 300 s");
    world.until(2, 0).await;
}

#[tokio::test(start_paused = true)]
async fn no_model_leaves_its_memory_for_a_vector() {
    let settings = PoolSettings { memory_bytes_max: Some(1_500_000), ..PoolSettings::default() };
    let world = World::with(None, settings).await;
    let e: ModelId = "e".parse().unwrap();
    world.house.submit(message("ezra", "a", "1", "hello").unwrap()).await.unwrap();
    pass(Duration::from_secs(5)).await;
    *world.choice.0.lock().unwrap() = Some(embedder("1"));
    pass(Duration::from_secs(1000)).await;
    assert_eq!((world.engine.launches(&e), world.engine.launches(&talker())), (0, 1));
    assert_eq!(world.found("a", "hello").await, ["hello"]);
    assert_eq!(world.indexed().await.with, 0);
    // When there is room, it goes on.
    world.engine.set_memory(&e, 100_000);
    world.until(1, 0).await;
}

#[tokio::test(start_paused = true)]
async fn another_embedder_computes_everything_anew() {
    let world = World::new(Some(embedder("1"))).await;
    for text in ["listen", "dog", "stone"] {
        world.note("a", text).await;
    }
    world.until(3, 0).await;
    let before = world.engine.requests().len();
    *world.choice.0.lock().unwrap() = Some(embedder("2"));
    for _ in 0..PATIENCE {
        if world.indexed().await.maker == Some(embedder("2").maker) && world.indexed().await.without == 0 {
            break;
        }
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(world.indexed().await, Indexed { maker: Some(embedder("2").maker), with: 3, without: 0 });
    assert_eq!(world.engine.requests().len(), before + 3);
    assert_eq!(world.found("a", "silent").await[0], "listen");
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_again_goes_on_where_it_was_and_a_text_that_kills_its_model_is_left_out() {
    let world = World::new(None).await;
    for number in 0..40 {
        world.note("a", &format!("note {number}")).await;
    }
    world.note("a", "poison").await;
    world.engine.poison("poison", 0);
    *world.choice.0.lock().unwrap() = Some(embedder("1"));
    for _ in 0..5 {
        pass(Duration::from_secs(20)).await;
        world.house.roster().kill("house/services/meaning").unwrap();
    }
    world.store.fail_writes(Some(StoreError::DiskFull { path: "p".into() }));
    pass(Duration::from_secs(100)).await;
    world.store.fail_writes(None);
    world.until(41, 0).await;
    let about = |word: &str| {
        let requests = world.engine.requests();
        let texts = requests.iter().map(|request| format!("{:?}", request.prompt));
        texts.filter(|text| text.contains(word)).count()
    };
    assert!(about("poison") as u32 <= PoolSettings::default().request_crashes_max, "{}", about("poison"));
    assert!(about("note 17") <= 2, "{}", about("note 17"));
    assert_eq!(world.found("a", "poison").await[0], "poison", "by its word");
    assert_eq!(world.found("a", "note 7").await[0], "note 7");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_for_the_model_is_found_by_its_beginning() {
    let world = World::new(None).await;
    world.note("a", "listen to the dog").await;
    for tokens in [9, 8] {
        world.engine.fail_once(FakeFault::Refuses(Refusal::PromptTooLong { tokens, tokens_max: 5 }));
    }
    *world.choice.0.lock().unwrap() = Some(embedder("1"));
    world.until(1, 0).await;
    let requests = world.engine.requests();
    let asked = requests.last().map(|request| format!("{:?}", request.prompt)).unwrap_or_default();
    assert!(asked.contains("\"list\""), "a quarter: {asked}");
}

#[test]
fn a_text_is_left_out_only_where_it_is_its_own_fault() {
    let pool = VectorError::Pool;
    let long = || pool(PoolError::PromptTooLong { tokens: 9, tokens_max: 5 });
    let (model, waiting) = (talker(), 9);
    for (error, halvings, expected) in [
        (long(), 0, Verdict::Halve),
        (long(), 5, Verdict::Halve),
        (long(), 6, Verdict::Leave),
        (pool(PoolError::RequestCrashed { model: model.clone(), crashes: 3 }), 0, Verdict::Leave),
        (pool(PoolError::Engine { detail: "x".into() }), 0, Verdict::Leave),
        (pool(PoolError::Unable { detail: "x".into() }), 0, Verdict::Stop),
        (pool(PoolError::NoModel { wanted: model }), 0, Verdict::Stop),
        (pool(PoolError::QueueFull { waiting }), 0, Verdict::Stop),
        (VectorError::Late(Duration::from_secs(9)), 0, Verdict::Stop),
        (VectorError::Lost, 0, Verdict::Stop),
    ] {
        assert_eq!(verdict(&error, halvings), expected, "{error}");
    }
}

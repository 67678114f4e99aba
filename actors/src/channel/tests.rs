//! A channel in a whole house, on a platform that can be told to fail, in paused time.
#[path = "asking_tests.rs"]
mod asking;
#[path = "command_tests.rs"]
mod commands;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::ChannelHandle;
use crate::domain::{
    AccessMode, AccessPolicy, ActorState, Approved, ArchonLimits, ArchonSpec, ChannelStatus, CodeHash,
    FitPolicy, GroupAccess, Inbound, ModelId, OutboxEntry, Shown, Tier,
};
use crate::house::{House, HouseArgs};
use crate::memory::MemorySettings;
use crate::pool::PoolSettings;
use crate::ports::{
    Channel, ChannelFault, ChannelShed, Clock, NoTools, RuntimeThreads, Store, StoreError, ToolShed,
};
use crate::testkit::{FakeEngine, FakePlatform, MemStore, Mishap, StoppedClock, archon_spec, inbound};

/// Longer than every delay that may occur in a test.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

struct Only(FakePlatform);

impl ChannelShed for Only {
    fn channels(&self, _: &ArchonSpec) -> Vec<Arc<dyn Channel>> {
        vec![Arc::new(self.0.clone())]
    }

    fn draw_code(&self) -> Option<(String, CodeHash)> {
        Some(("CODE2345".into(), CodeHash([7; 32])))
    }

    fn hash_code(&self, _: &str) -> CodeHash {
        CodeHash([7; 32])
    }
}

struct World {
    house: House,
    platform: FakePlatform,
    engine: FakeEngine,
    store: Arc<MemStore>,
}

fn model() -> ModelId {
    "m".parse().unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(FakePlatform::new(), Arc::new(MemStore::new()), |spec| spec).await
    }

    async fn with(
        platform: FakePlatform,
        store: Arc<MemStore>,
        change: impl FnOnce(ArchonSpec) -> ArchonSpec,
    ) -> Self {
        Self::with_tools(platform, store, Arc::new(NoTools), change).await
    }

    async fn with_tools(
        platform: FakePlatform,
        store: Arc<MemStore>,
        tools: Arc<dyn ToolShed>,
        change: impl FnOnce(ArchonSpec) -> ArchonSpec,
    ) -> Self {
        let engine = FakeEngine::new([model()]);
        let house = House::start(HouseArgs {
            store: store.clone(),
            engine: Arc::new(engine.clone()),
            tools,
            media: Arc::new(crate::ports::NoMedia),
            channels: Arc::new(Only(platform.clone())),
            clock: Arc::new(StoppedClock),
            calls: Arc::new(RuntimeThreads),
            memory: MemorySettings::default(),
            pool: PoolSettings::default(),
            report: Arc::new(|_| {}),
        })
        .await
        .unwrap();
        let spec = archon_spec("ezra", &model()).unwrap();
        let open = AccessPolicy {
            mode: AccessMode::Open,
            owners: vec!["7".parse().unwrap()],
            groups: vec![GroupAccess { id: "-100".parse().unwrap(), everyone: true }],
            ..AccessPolicy::default()
        };
        let access = [(platform.id(), open)].into_iter().collect();
        let spec = ArchonSpec { channels: vec![platform.id()], access, ..spec };
        house.start_archon(change(spec)).await.unwrap();
        Self { house, platform, engine, store }
    }

    fn write(&self, key: &str, peer: &str, text: &str) {
        self.platform.write(inbound(key, peer, text).unwrap());
    }

    /// What people have seen: the texts, in order.
    fn texts(&self) -> Vec<String> {
        self.platform.seen().into_iter().map(|seen| seen.text).collect()
    }

    fn status(&self) -> ChannelStatus {
        self.house.channels().remove(0)
    }

    async fn seen(&self, count: usize) -> Vec<String> {
        self.until(|| self.texts().len() >= count).await;
        self.texts()
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{:?}, {:?}", self.status(), self.platform.seen());
            pass(Duration::from_millis(10)).await;
        }
    }

    /// Everything is delivered and known to be.
    async fn settled(&self) {
        let channel = self.platform.id();
        let began = Instant::now();
        while !self.house.memory().undelivered(&channel, None, None, 1).await.unwrap().is_empty()
            || self.house.memory().pending_len(&"ezra".parse().unwrap()).await.unwrap() > 0
        {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.status());
            pass(Duration::from_millis(10)).await;
        }
    }
}

/// Lets time pass, which takes none: it is paused, and jumps when everybody waits.
#[expect(clippy::disallowed_methods, reason = "time is paused")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: paused time
}

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_where_it_was_written_and_then_the_platform_may_forget_it() {
    let world = World::new().await;
    world.write("1", "7", "hello");
    assert_eq!(world.seen(1).await, ["echo: hello"]);
    world.settled().await;
    let seen = world.platform.seen().remove(0);
    assert_eq!((seen.key.as_str(), seen.reply_to.as_str()), ("1", "chat-7"));
    assert_eq!(world.platform.confirmed(), 1);
    let status = world.status();
    assert_eq!((status.state, status.received, status.delivered), (ActorState::Ready, 1, 1));
    let path = world.house.roster().tree().into_iter().map(|actor| actor.path);
    assert!(path.into_iter().any(|path| path == "house/archons/ezra/channels/double"));
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_or_mixed_up_is_answered_once() {
    let world = World::new().await;
    world.platform.reverse();
    for key in ["1", "2", "3"] {
        world.write(key, key, key);
    }
    world.seen(3).await;
    for key in ["2", "1", "2"] {
        world.platform.repeat(key);
    }
    world.write("4", "4", "4");
    world.seen(4).await;
    world.settled().await;
    let mut texts = world.texts();
    texts.sort();
    assert_eq!(texts, ["echo: 1", "echo: 2", "echo: 3", "echo: 4"]);
}

#[tokio::test(start_paused = true)]
async fn answers_of_one_chat_come_in_order_though_deliveries_fail() {
    let world = World::new().await;
    let gone = || Mishap::Fail(ChannelFault::transient("gone"));
    world.platform.spoil_deliveries([gone(), gone(), Mishap::Panic, Mishap::Hang]);
    let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
    for key in &keys {
        world.write(key, "7", key);
    }
    world.seen(20).await;
    let expected: Vec<String> = keys.iter().map(|key| format!("echo: {key}")).collect();
    assert_eq!(world.texts(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_is_replaced_and_seen_to_be() {
    let world = World::new().await;
    world.until(|| world.platform.polled() == 1).await;
    world.platform.spoil_polls([Mishap::Hang, Mishap::Hang, Mishap::Panic]);
    world.write("1", "7", "first");
    assert_eq!(world.seen(1).await, ["echo: first"]);
    world.write("2", "7", "second");
    world.until(|| world.status().replaced == 1).await;
    let status = world.status();
    assert_eq!(status.state, ActorState::Starting);
    assert!(status.trouble.unwrap().contains("did not come back"));
    assert_eq!(world.seen(2).await, ["echo: first", "echo: second"]);
    // Once when it began, and once for each poll that hung.
    assert_eq!((world.status().replaced, world.platform.renewed()), (2, 3));
    assert_eq!((world.status().state, world.status().trouble), (ActorState::Ready, None));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_wants_no_more_is_left_alone_for_exactly_so_long() {
    let world = World::new().await;
    let after = Duration::from_secs(17);
    let limited = ChannelFault::Limited { after, everywhere: true };
    world.platform.spoil_deliveries([Mishap::Fail(limited)]);
    // What is answered at once is not shown before.
    world.engine.set_token_delay(Duration::from_millis(50));
    world.write("1", "7", "hello");
    world.until(|| world.platform.shown().iter().any(|(_, shown)| *shown == Shown::Working)).await;
    let began = Instant::now();
    world.seen(1).await;
    let waited = began.elapsed();
    assert!(waited >= after && waited < after + Duration::from_millis(500), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_refused_is_given_up_with_its_reason_and_holds_nobody_up() {
    let world = World::new().await;
    let refused = ChannelFault::Refused { reason: "the person has left".into() };
    world.platform.close("chat-7", Some(refused));
    world.write("1", "7", "one");
    world.write("2", "8", "two");
    assert_eq!(world.seen(1).await, ["echo: two"]);
    world.settled().await;
    let lost = world.house.memory().undeliverable(None, None, 9).await.unwrap();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].entry.text.as_str(), lost[0].reason.as_str()), ("echo: one", "the person has left"));
    assert_eq!((world.status().given_up, world.status().state), (1, ActorState::Ready));

    world.platform.close("chat-7", None);
    world.house.deliver_again(lost[0].entry.id).await.unwrap();
    assert_eq!(world.seen(2).await, ["echo: two", "echo: one"]);
    assert!(world.house.memory().undeliverable(None, None, 9).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_fails_for_hours_keeps_no_other_waiting() {
    let world = World::new().await;
    world.platform.close("chat-7", Some(ChannelFault::transient("no such luck")));
    for key in 0..40_u32 {
        world.write(&key.to_string(), "7", "held");
    }
    world.write("40", "8", "free");
    assert_eq!(world.seen(1).await, ["echo: free"]);
    pass(Duration::from_secs(3600)).await;
    assert_eq!(world.texts().len(), 1);
    world.platform.close("chat-7", None);
    assert_eq!(world.seen(41).await.len(), 41);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_works_in_steps_says_nothing_twice_though_its_answers_are_lost() {
    let platform = FakePlatform::new();
    platform.in_two_steps();
    let world = World::with(platform, Arc::new(MemStore::new()), |spec| spec).await;
    world.write("0", "7", "first");
    world.seen(1).await;
    world.settled().await;
    world.platform.spoil_deliveries([Mishap::LoseAnswer, Mishap::LoseAnswer]);
    world.write("1", "7", "second");
    world.seen(2).await;
    world.settled().await;
    assert_eq!(world.texts(), ["echo: first", "echo: second"]);
    // The draft that was shown became the answer.
    assert_eq!(world.platform.placeholders(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_barred_says_so_and_asks_again_now_and_then() {
    let platform = FakePlatform::new();
    let barred = || Mishap::Fail(ChannelFault::Barred { detail: "the token is not known".into() });
    platform.spoil_polls([barred(), barred()]);
    let world = World::with(platform, Arc::new(MemStore::new()), |spec| spec).await;
    world.write("1", "7", "hello");
    world.until(|| world.status().state == ActorState::Failed).await;
    assert_eq!(world.status().trouble.as_deref(), Some("the token is not known"));
    let began = Instant::now();
    world.seen(1).await;
    assert!(began.elapsed() >= Duration::from_secs(590), "{:?}", began.elapsed());
    assert_eq!(world.status().state, ActorState::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_stays_with_the_platform() {
    let world = World::new().await;
    world.store.fail_writes(Some(StoreError::DiskFull { path: "x".into() }));
    for key in ["1", "2", "3"] {
        world.write(key, "7", key);
    }
    world.until(|| world.status().trouble.is_some()).await;
    pass(Duration::from_secs(300)).await;
    assert_eq!((world.platform.confirmed(), world.status().state), (0, ActorState::Starting));
    assert!(world.status().trouble.unwrap().contains("disk"));
    world.store.fail_writes(None);
    assert_eq!(world.seen(3).await, ["echo: 1", "echo: 2", "echo: 3"]);
    world.settled().await;
    assert_eq!(world.status().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_holds_the_rest_back_and_loses_nothing() {
    let few =
        |spec: ArchonSpec| ArchonSpec { limits: ArchonLimits { inbox_len_max: 2, ..spec.limits }, ..spec };
    let world = World::with(FakePlatform::new(), Arc::new(MemStore::new()), few).await;
    world.engine.set_token_delay(Duration::from_secs(1));
    for key in 0..12_u32 {
        world.write(&key.to_string(), "7", &key.to_string());
    }
    world.until(|| world.status().trouble.is_some_and(|trouble| trouble.contains("unanswered"))).await;
    let expected: Vec<String> = (0..12).map(|key| format!("echo: {key}")).collect();
    assert_eq!(world.seen(12).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_is_refused_once_in_words() {
    let world = World::new().await;
    world.write("1", "7", &"x".repeat(100_000));
    let texts = world.seen(1).await;
    assert!(texts[0].contains("100000 bytes"), "{texts:?}");
    world.platform.repeat("1");
    world.write("2", "7", "short");
    assert_eq!(world.seen(2).await[1], "echo: short");
    world.settled().await;
    assert_eq!(world.texts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_from_long_ago_is_not_answered_and_its_writer_knows() {
    let old = |inbound: Inbound| {
        let waybill = crate::domain::Waybill { written_unix_ms: Some(0), ..inbound.waybill };
        Inbound { waybill, ..inbound }
    };
    // The clock of these tests stands at a moment after the epoch.
    let strict = |spec: ArchonSpec| ArchonSpec {
        fit: FitPolicy { message_age_max: Duration::ZERO, ..spec.fit },
        ..spec
    };
    let world = World::with(FakePlatform::new(), Arc::new(MemStore::new()), strict).await;
    world.platform.write(old(inbound("1", "7", "still there?").unwrap()));
    let texts = world.seen(1).await;
    assert!(texts[0].starts_with("I could not answer that: it came"), "{texts:?}");
    world.platform.repeat("1");
    world.write("2", "7", "new");
    assert_eq!(world.seen(2).await[1], "echo: new");
    world.settled().await;
    assert_eq!(world.texts().len(), 2);
    assert_eq!(world.engine.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_person_in_a_group_has_a_conversation_of_his_own_there() {
    let world = World::new().await;
    let in_group = |key: &str, text: &str| Inbound {
        group: Some("-100".parse().unwrap()),
        ..inbound(key, "7", text).unwrap()
    };
    world.write("1", "7", "a secret");
    world.seen(1).await;
    world.platform.write(in_group("2", "hello all"));
    world.seen(2).await;
    assert_eq!(world.engine.requests().last().unwrap().prompt.turns().len(), 1);
    let heads = world.house.memory().sessions(None, None, 9).await.unwrap();
    let keys: Vec<String> = heads.iter().map(|head| head.key.to_string()).collect();
    assert_eq!(keys, ["ezra/double/7/main", "ezra/double/7@-100/main"]);
}

#[tokio::test(start_paused = true)]
async fn killing_the_channel_loses_nothing_and_doubles_nothing() {
    let platform = FakePlatform::new();
    platform.in_two_steps();
    let world = World::with(platform, Arc::new(MemStore::new()), |spec| spec).await;
    world.engine.set_token_delay(Duration::from_millis(40));
    for key in 0..30_u32 {
        world.write(&key.to_string(), &(key % 3).to_string(), &key.to_string());
        if key % 10 == 5 {
            pass(Duration::from_millis(150)).await;
            world.until(|| world.house.roster().kill("house/archons/ezra/channels/double").is_ok()).await;
        }
    }
    world.seen(30).await;
    world.settled().await;
    let mut texts = world.texts();
    let of_first: Vec<String> = (0..30).step_by(3).map(|key| format!("echo: {key}")).collect();
    let said: Vec<String> = world
        .platform
        .seen()
        .into_iter()
        .filter(|seen| seen.reply_to == "chat-0")
        .map(|seen| seen.text)
        .collect();
    assert_eq!(said, of_first);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_left_in_the_outbox_is_delivered() {
    let store = Arc::new(MemStore::new());
    let first = World::with(FakePlatform::new(), store.clone(), |spec| spec).await;
    first.platform.close("chat-7", Some(ChannelFault::transient("not now")));
    first.write("1", "7", "hello");
    let (channel, none) = (first.platform.id(), Vec::<OutboxEntry>::new());
    while store.undelivered(&channel, None, None, 9).unwrap() == none {
        pass(Duration::from_millis(10)).await;
    }
    first.house.shutdown().await.unwrap();
    let second = World::with(FakePlatform::new(), store, |spec| spec).await;
    assert_eq!(second.seen(1).await, ["echo: hello"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_shown_while_it_comes() {
    let world = World::new().await;
    world.engine.set_token_delay(Duration::from_secs(3));
    world.write("1", "7", "one two three four five");
    world.seen(1).await;
    let shown = world.platform.shown();
    assert!(shown.contains(&("1".to_owned(), Shown::Working)), "{shown:?}");
    let drafts = shown.iter().filter_map(|(_, shown)| match shown {
        Shown::Text(text) => Some(text.clone()),
        _ => None,
    });
    let drafts: Vec<String> = drafts.collect();
    assert!(drafts.len() >= 2, "{shown:?}");
    assert!(drafts.windows(2).all(|pair| pair[1].starts_with(&pair[0])), "{drafts:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_before_a_crash_is_gone_on_with() {
    let platform = FakePlatform::new();
    platform.in_two_steps();
    let world = World::with(platform, Arc::new(MemStore::new()), |spec| spec).await;
    world.engine.set_token_delay(Duration::from_secs(3));
    world.write("1", "7", "one two three four five");
    world.until(|| world.platform.placeholders() == 1).await;
    world.house.roster().kill("house/archons/ezra/channels/double").unwrap();
    let before = world.platform.shown().len();
    world.until(|| world.platform.shown().len() > before).await;
    world.seen(1).await;
    assert_eq!(world.platform.placeholders(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_gets_a_code_once_and_nothing_of_his_is_kept_until_the_owner_says_yes() {
    let closed = |spec: ArchonSpec| ArchonSpec { access: std::collections::BTreeMap::new(), ..spec };
    let world = World::with(FakePlatform::new(), Arc::new(MemStore::new()), closed).await;
    world.write("1", "7", "let me in, please");
    let texts = world.seen(1).await;
    assert!(texts[0].contains("CODE2345") && texts[0].contains("archond pairing approve"), "{texts:?}");
    for (key, text) in [("2", "hello?"), ("3", "/status"), ("4", "/approve")] {
        world.write(key, "7", text);
    }
    world.until(|| world.platform.confirmed() == 4).await;
    assert_eq!((world.texts().len(), world.status().received), (1, 0));
    let (memory, now) = (world.house.memory(), StoppedClock.now_unix_ms());
    assert!(memory.sessions(None, None, 9).await.unwrap().is_empty());

    let wrong = memory.approve_code(CodeHash([8; 32]), Tier::User, now).await.unwrap();
    assert_eq!(wrong, Approved::Wrong { left: 4 });
    let right = memory.approve_code(CodeHash([7; 32]), Tier::User, now).await.unwrap();
    assert!(matches!(right, Approved::Paired(_)), "{right:?}");
    world.write("5", "7", "thanks");
    assert_eq!(world.seen(2).await[1], "echo: thanks");

    memory.unpair("ezra/double/7".parse().unwrap()).await.unwrap();
    world.write("6", "7", "still there?");
    world.seen(3).await;
    assert!(world.texts()[2].contains("CODE2345"));
}

#[test]
fn a_channel_that_does_not_run_says_so() {
    let handle = ChannelHandle::new(Arc::new(FakePlatform::new()));
    let status = handle.status(&archon_spec("ezra", &model()).unwrap());
    assert_eq!((status.state, status.polled_ago), (ActorState::Starting, None));
    handle.answered();
}

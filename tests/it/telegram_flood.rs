//! Many bots with many chats, all of which want to show how their answers come at once: none is limited, and all answers are said.
use std::sync::Arc;
use std::time::Duration;

use archond::channels::telegram::Telegram;
use archond_actors::domain::{Inbound, OutboxId, Parcel, Shown};
use archond_actors::ports::{Channel, Handed};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::telegram_kit::{World, answer};

/// Bots, each with a judge of its own.
const BOTS: usize = 8;
/// Chats of each with one person.
const ALONE: i64 = 18;
/// Groups of each.
const GROUPS: i64 = 7;
/// How long answers come: longer than the time over which Telegram counts.
const STREAMING: Duration = Duration::from_secs(65);
/// Words of an answer that come in a second.
const WORDS_PER_S: u32 = 8;
/// Answers that the house hands over at once.
const IN_FLIGHT_MAX: usize = 8;

/// An answer of two messages that comes along, is shown, and is handed over.
async fn chat(bot: Arc<Telegram>, inbound: Inbound, hands: Arc<Semaphore>) {
    let (mut to, begun) = (answer(&inbound, ""), Instant::now());
    let mut ticks = interval(bot.show_period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let text = |passed: Duration| "word ".repeat((passed.as_millis() as u32 * WORDS_PER_S / 1000) as usize);
    while begun.elapsed() < STREAMING {
        ticks.tick().await;
        let so_far = text(begun.elapsed());
        let shown = if so_far.is_empty() { Shown::Working } else { Shown::Text(so_far) };
        if let Some(receipt) = bot.show(to.clone(), shown).await.unwrap() {
            to.receipt = Some(receipt);
        }
    }
    let mut parcel = Parcel { outbox: Some(OutboxId(1)), text: "word ".repeat(1000), ..to };
    loop {
        let _hand = hands.acquire().await.unwrap();
        match bot.deliver(parcel.clone()).await.unwrap() {
            Handed::Step(receipt) => parcel.receipt = Some(receipt),
            Handed::Whole => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_that_show_two_hundred_answers_at_once_stay_within_the_limits() {
    let (mut worlds, mut chats) = (Vec::new(), JoinSet::new());
    for _ in 0..BOTS {
        let Some(world) = World::new() else { return };
        let hands = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        for chat in (1..=ALONE).chain((1..=GROUPS).map(|group| -group)) {
            world.judge.write(&json!({"chat": chat, "user": 7, "text": "@judge_bot hi"}));
        }
        let mut came = Vec::new();
        while came.len() < (ALONE + GROUPS) as usize {
            came.extend(world.receive().await);
        }
        world.judge.post("/_set", &json!({"limits": true}));
        for inbound in came {
            chats.spawn(chat(world.bot.clone(), inbound, hands.clone()));
        }
        worlds.push(world);
    }
    while let Some(done) = chats.join_next().await {
        done.unwrap();
    }
    let (mut edits, mut most) = (0, Vec::new());
    for world in &worlds {
        let state = world.judge.state();
        let limited = state["log"].as_array().unwrap().iter().find(|entry| entry["error"].is_string());
        assert!(limited.is_none(), "{limited:?}, {}", state["most"]);
        for chat in (1..=ALONE).chain((1..=GROUPS).map(|group| -group)) {
            let texts = world.judge.texts(chat);
            assert_eq!(
                texts.iter().map(|text| text.matches("word").count()).sum::<usize>(),
                1000,
                "{texts:?}"
            );
        }
        edits += state["drafts"].as_array().unwrap().len() + world.judge.requests("editmessagetext").len();
        most.push(state["most"].clone());
    }
    // Nobody is left without a sign of life: each chat was shown something every ten seconds at least.
    assert!(edits as u64 >= BOTS as u64 * (ALONE + GROUPS) as u64 * STREAMING.as_secs() / 10, "{edits}");
    println!("{edits} changes of what is shown; the most in a judge's windows: {most:?}");
}

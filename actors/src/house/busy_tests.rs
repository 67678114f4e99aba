//! What a second message does while a turn runs, in the whole house on doubles: it waits, joins or interrupts, and nothing is lost or
//! answered twice, whoever dies meanwhile.
use super::tools::{TOOLS, policy};
use super::*;
use crate::domain::{Aside, SessionKey, TurnRecord};
use crate::testkit::ToyTools;

fn main_session() -> SessionKey {
    "ezra/cli/p/main".parse().unwrap()
}

fn begun(event: &TurnEvent) -> bool {
    matches!(event, TurnEvent::CallBegun { .. })
}

/// The answer to an aside that was told to the double of the engine.
fn echo_of(text: &str) -> String {
    format!("echo: {}{text}", Aside::HEADING.replace('\n', " "))
}

impl World {
    /// A house whose Ezra hangs in a call until it is let go, and in whose conversation this was chosen.
    async fn chosen(busy: &str) -> (Self, ToyTools) {
        let toys = ToyTools::new(&TOOLS);
        let world = Self::with_tools(&toys, policy()).await;
        let said = world.say("ezra", "p", "0", &format!("/busy {busy}")).await.text;
        assert!(said.contains(&format!("({busy})")), "{said}");
        (world, toys)
    }

    /// Hands a message in, and lets everybody hear of it.
    async fn write(&self, key: &str, text: &str) {
        self.house.submit(message("ezra", "p", key, text).unwrap()).await.unwrap();
        pass(Duration::from_millis(50)).await;
    }

    async fn kept(&self) -> Vec<TurnRecord> {
        self.house.memory().turns(&main_session(), 0, 1000).await.unwrap()
    }

    /// Everything has one answer, and is in one turn at most.
    async fn assert_once(&self, keys: usize) {
        let answers = self.answers("ezra", "p").await;
        assert_eq!(answers.len(), keys, "{answers:?}");
        assert!(answers.values().all(|answers| answers.len() == 1), "{answers:?}");
        let turns = self.kept().await;
        let in_turns = turns
            .iter()
            .flat_map(|turn| std::iter::once(turn.inbox).chain(turn.asides.iter().map(|aside| aside.inbox)));
        let mut seen: Vec<_> = in_turns.collect();
        let len = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), len, "{turns:?}");
        assert_eq!(self.house.memory().pending_len(&id("ezra")).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_chosen_is_said_and_kept() {
    let world = World::new().await;
    world.start("ezra").await;
    assert!(world.say("ezra", "p", "1", "/busy").await.text.contains("waits for its turn (queue)"));
    assert!(world.say("ezra", "p", "2", "/busy later").await.text.starts_with("Say `/busy queue`"));
    world.say("ezra", "p", "3", "/busy interrupt").await;
    pass(Duration::from_secs(601)).await;
    assert!(world.house.sessions(&id("ezra")).await.unwrap().is_empty(), "it rests");
    assert!(world.say("ezra", "p", "4", "/busy").await.text.contains("(interrupt)"));
    assert!(world.say("ezra", "q", "5", "/busy").await.text.contains("(queue)"), "each has his own");
}

#[tokio::test(start_paused = true)]
async fn by_default_a_message_waits() {
    let (world, toys) = World::chosen("queue").await;
    world.say_until("1", "call hang", begun).await;
    world.write("2", "and milk").await;
    toys.release();
    assert_eq!(world.answer("1").await, "echo: hang");
    assert_eq!(world.answer("2").await, "echo: and milk");
    world.assert_once(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_joins_the_turn_behind_the_results_of_its_calls() {
    let (world, toys) = World::chosen("steer").await;
    world.say_until("1", "call hang clock", begun).await;
    world.write("2", "and milk").await;
    world.write("3", "/compact").await;
    world.write("4", "and sugar").await;
    toys.release();
    assert_eq!(world.answer("1").await, echo_of("and milk"));
    assert_eq!(world.answer("2").await, Aside::ANSWER);
    world.answer("4").await;
    world.assert_once(5).await;
    let turns = world.kept().await;
    let users: Vec<_> = turns.iter().map(|turn| turn.said()).collect();
    assert_eq!(users, ["call hang clock\n\nand milk", "and sugar"], "what comes behind a command waits");
    let requests = world.engine.requests();
    let (first, second) = (requests[0].prompt.clone(), requests[1].prompt.clone());
    assert_eq!(second.turns()[..first.turns().len()], *first.turns());
    let roles: Vec<_> = second.turns().iter().map(|turn| turn.role).collect();
    use crate::domain::ChatRole::{Assistant, Tool, User};
    assert_eq!(roles, [User, Assistant, Tool, Tool, User]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_too_late_to_join_is_the_next_one() {
    let (world, _) = World::chosen("steer").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    world.say_until("1", "tea please", |event| matches!(event, TurnEvent::Text { .. })).await;
    world.write("2", "and milk").await;
    assert_eq!(world.answer("1").await, "echo: tea please");
    assert_eq!(world.answer("2").await, "echo: and milk");
    world.assert_once(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_turn_that_took_something_in_and_leaves_what_it_did_not() {
    let (world, toys) = World::chosen("steer").await;
    world.say_until("1", "call hang", begun).await;
    world.write("2", "call hang").await;
    toys.release();
    while toys.calls().len() < 2 {
        pass(Duration::from_millis(1)).await;
    }
    world.write("3", "and sugar").await;
    assert_eq!(world.say("ezra", "p", "4", "/stop").await.text, "Stopping.");
    assert_eq!(world.answer("1").await, "Stopped.");
    assert_eq!(world.answer("2").await, Aside::ANSWER);
    assert_eq!(world.answer("3").await, "echo: and sugar");
    world.assert_once(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_interrupts_and_is_answered_next() {
    let (world, toys) = World::chosen("interrupt").await;
    world.say_until("1", "call hang", begun).await;
    world.write("2", "rather coffee").await;
    assert_eq!(world.answer("1").await, "Stopped.");
    assert_eq!(world.answer("2").await, "echo: rather coffee");
    assert_eq!(toys.calls(), ["hang"]);
    world.engine.set_token_delay(Duration::from_secs(1));
    world.say_until("3", "one two three", |event| matches!(event, TurnEvent::Text { .. })).await;
    for (key, text) in [("4", "four"), ("5", "five"), ("6", "six")] {
        world.write(key, text).await;
    }
    assert_eq!(world.answer("6").await, "echo: six", "the last one is answered");
    assert!(world.answer("3").await.ends_with("[stopped]"));
    world.assert_once(7).await;
}

#[tokio::test(start_paused = true)]
async fn what_joined_stands_at_the_same_place_after_a_crash() {
    let (world, toys) = World::chosen("steer").await;
    world.say_until("1", "call clock hang", begun).await;
    world.write("2", "call hang").await;
    toys.release();
    while toys.calls().len() < 3 {
        pass(Duration::from_millis(1)).await;
    }
    for cell in world.actors(|cell| cell.is_message_type_of::<Envelope<SessionMsg>>() == Some(true)) {
        cell.kill();
    }
    let answer = world.answer("1").await;
    assert!(answer.contains("nobody knows whether it took effect"), "{answer}");
    assert_eq!(world.answer("2").await, Aside::ANSWER);
    world.assert_once(3).await;
    let turns = world.kept().await;
    assert_eq!(turns.len(), 1);
    let aside = &turns[0].asides[0];
    assert_eq!((turns[0].asides.len(), aside.after, aside.text.as_str()), (1, 1, "call hang"));
    let asked: Vec<_> =
        world.engine.requests().iter().map(|request| request.prompt.turns().to_vec()).collect();
    assert_eq!(asked.last().unwrap()[..asked[1].len()], asked[1][..], "the model reads what it had read");
}

/// Messages of all kinds in each of the three ways, while sessions, the harness and Hermes are killed and calls hang.
async fn storm(seed: u64) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (world, toys) = World::chosen(["queue", "steer", "interrupt"][dice.below(3) as usize]).await;
    world.engine.set_token_delay(Duration::from_millis([0, 5, 60][dice.below(3) as usize]));
    let mut keys = 1;
    for _ in 0..30 {
        let text = match dice.below(12) {
            0 => "/busy steer",
            1 => "/busy interrupt",
            2 => "/busy queue",
            3 => "/stop",
            4 => "/retry",
            5 | 6 => "call clock",
            7 | 8 => "call hang",
            9 => "call clock hang write",
            _ => "some words to say",
        };
        let message = message("ezra", "p", &keys.to_string(), text).unwrap();
        if world.house.submit(message).await.is_ok() {
            keys += 1;
        }
        pass(Duration::from_millis([0, 1, 30, 400][dice.below(4) as usize])).await;
        if dice.below(2) == 0 {
            toys.release();
        }
        let victim: Option<fn(&ActorCell) -> bool> = match dice.below(16) {
            0 => Some(|cell| cell.is_message_type_of::<Envelope<SessionMsg>>() == Some(true)),
            1 => Some(|cell| cell.is_message_type_of::<Envelope<HarnessMsg>>() == Some(true)),
            2 => Some(|cell| cell.is_message_type_of::<Envelope<HermesMsg>>() == Some(true)),
            _ => None,
        };
        victim.into_iter().flat_map(|kind| world.actors(kind)).for_each(|cell| cell.kill());
        pass(Duration::from_millis(dice.below(20))).await;
    }
    for _ in 0..50_000 {
        toys.release();
        pass(Duration::from_millis(500)).await;
        if world.house.memory().pending_len(&id("ezra")).await == Ok(0) {
            break;
        }
    }
    world.assert_once(keys).await;
    let turns = world.kept().await;
    assert!(turns.is_sorted_by_key(|turn| turn.inbox), "seed {seed}: {turns:?}");
    for turn in &turns {
        let asides: Vec<_> = turn.asides.iter().map(|aside| (aside.after, aside.inbox)).collect();
        assert!(
            asides.is_sorted() && asides.iter().all(|(after, _)| *after <= turn.steps.len()),
            "seed {seed}"
        );
    }
    let missing: Vec<_> =
        world.house.trail().answers().into_iter().filter(|answer| !answer.missing().is_empty()).collect();
    assert!(missing.is_empty(), "seed {seed}: {missing:?}");
    turns.iter().map(|turn| turn.asides.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn whatever_dies_each_message_is_answered_once_and_stands_in_one_turn() {
    let seeds = std::env::var("ARCHOND_BUSY_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let mut joined = 0;
    for seed in 1..=seeds {
        joined += storm(seed).await;
    }
    assert!(joined > 0, "what never happens tests nothing");
}

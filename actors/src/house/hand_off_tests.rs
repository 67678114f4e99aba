//! Conversations that go to another place of the same person, in the whole house on doubles: whole, once, and nothing else with them.
use super::tools::{TOOLS, policy};
use super::*;
use crate::domain::{CodeHash, LinkAnswer, LinkChange, Linked, Permission, Recalled, Risk, TurnRecord};
use crate::testkit::ToyTools;

impl World {
    /// The peers p and q are one person from now on.
    async fn link(&self) {
        let (memory, code) = (self.house.memory(), CodeHash([7; 32]));
        let peer = |name: &str| format!("ezra/cli/{name}").parse().unwrap();
        memory.link(peer("p"), LinkChange::Offer(code), 1).await.unwrap();
        let joined = memory.link(peer("q"), LinkChange::Join(code), 1).await.unwrap();
        assert_eq!(joined, LinkAnswer::Joined(Linked::Joined(vec![peer("p")])));
    }

    async fn linked() -> Self {
        let world = Self::new().await;
        world.start("ezra").await;
        world.link().await;
        world
    }

    async fn told(&self, peer: &str, key: &str, text: &str) -> String {
        self.say("ezra", peer, key, text).await.text
    }

    /// What the model read last.
    fn prompt(&self) -> Vec<String> {
        let requests = self.engine.requests();
        requests.last().unwrap().prompt.turns().iter().map(ChatTurn::words).collect()
    }

    /// Every turn that is kept of these two peers, with the peer who has it.
    async fn everything(&self) -> Vec<(String, TurnRecord)> {
        let mut found = Vec::new();
        for head in self.house.memory().sessions(Some(&id("ezra")), None, 1_000).await.unwrap() {
            let turns = self.house.memory().turns(&head.key, 0, 1_000).await.unwrap();
            found.extend(turns.into_iter().map(|turn| (head.key.peer.to_string(), turn)));
        }
        found
    }

    /// The sessions in which a word is recalled.
    async fn recalled(&self, peer: &str, word: &str) -> Vec<String> {
        let owner = format!("ezra/cli/{peer}").parse().unwrap();
        let found = self.house.memory().recall(&owner, word, 9).await.unwrap();
        let session = |found: Recalled| match found {
            Recalled::Turn { session, .. } => Some(session.to_string()),
            Recalled::Note(_) => None,
        };
        found.into_iter().filter_map(session).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_on_whole_in_the_other_place_and_only_there() {
    let world = World::linked().await;
    world.told("p", "1", "one tea").await;
    world.told("p", "2", "two").await;
    world.told("p", "3", "/busy steer").await;
    let listed = world.told("p", "4", "/handoff").await;
    assert!(listed.contains("\n  1  terminal/q\n"), "{listed}");
    let moved = world.told("p", "5", "/handoff terminal").await;
    assert_eq!(
        moved,
        "Our conversation goes on in terminal/q: 2 turns, the last on \"two\". Here a fresh session begins with your next message."
    );
    world.told("q", "6", "three").await;
    assert_eq!(world.prompt(), ["one tea", "echo: one tea", "two", "echo: two", "three"]);
    world.told("p", "7", "four").await;
    assert_eq!(world.prompt(), ["four"], "the place that it left begins afresh");
    assert!(world.told("q", "8", "/busy").await.contains("(steer)"), "what was chosen went along");
    assert!(world.told("p", "9", "/busy").await.contains("(queue)"));
    let sessions = world.told("p", "10", "/sessions").await;
    assert!(sessions.contains("* s5 ") && !sessions.contains("main"), "{sessions}");
    assert!(world.told("p", "11", "/resume main").await.starts_with("You have no session `main`"));
    let exported = world.told("q", "12", "/export").await;
    assert!(exported.contains("**You:** one tea") && exported.contains("**You:** three"), "{exported}");
    assert_eq!(world.recalled("q", "tea").await, ["ezra/cli/q/s5"]);
    assert_eq!(world.recalled("p", "tea").await, Vec::<String>::new());
    assert!(world.told("q", "13", "/undo 2").await.starts_with("Taken back 2 turns"));
    assert_eq!(world.told("q", "14", "/retry").await, "echo: one tea");

    // And back again, called from the other side.
    let brought = world.told("p", "15", "/handoff from terminal/q").await;
    assert!(brought.starts_with("Our conversation from terminal/q goes on here: 1 turns"), "{brought}");
    world.told("p", "16", "five").await;
    assert_eq!(world.prompt(), ["one tea", "echo: one tea", "five"]);
    world.told("q", "17", "six").await;
    assert_eq!(world.prompt(), ["six"]);
    assert!(
        world.told("p", "18", "/resume s5").await.starts_with("Back in s5: 1 turns"),
        "what p said meanwhile is his"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_linked_or_not_there_or_not_at_rest_stays() {
    let world = World::new().await;
    world.start("ezra").await;
    world.told("p", "1", "one").await;
    assert!(
        world.told("p", "2", "/handoff terminal").await.starts_with("This place is linked with no other")
    );
    world.link().await;
    assert_eq!(
        world.told("q", "3", "/handoff 1").await,
        "Nothing was said yet in the session that is current here."
    );
    assert!(world.told("p", "4", "/handoff telegram").await.starts_with("No place telegram"));
    world.engine.set_token_delay(Duration::from_secs(1));
    let waiting = message("ezra", "p", "5", "a long answer please").unwrap();
    world.house.submit(waiting).await.unwrap();
    pass(Duration::from_millis(500)).await;
    let refused = world.told("p", "6", "/handoff 1").await;
    assert!(refused.starts_with("A message is being answered here, or waits"), "{refused}");
    let refused = world.told("q", "7", "/handoff from 1").await;
    assert!(refused.starts_with("A message is being answered in terminal/p"), "{refused}");
    assert_eq!(world.told("p", "8", "/stop").await, "Stopping.");
    world.answer("5").await;
    world.told("p", "9", "/unlink").await;
    assert!(world.told("q", "10", "/handoff from 1").await.starts_with("This place is linked with no other"));
    assert!(world.everything().await.iter().all(|(peer, _)| peer == "p"));
}

#[tokio::test(start_paused = true)]
async fn outside_text_goes_along_and_yeses_do_not() {
    let toys = ToyTools::new(&[TOOLS.as_slice(), &[("fetch", Risk::Network)]].concat());
    let world = World::with(Arc::new(toys.clone())).await;
    let tools = crate::domain::ToolPolicy {
        tools: ["clock", "write", "fetch", "send"].map(str::to_owned).to_vec(),
        permissions: [
            Permission::Allow,
            Permission::Ask,
            Permission::Allow,
            Permission::Allow,
            Permission::Allow,
        ],
        ..policy()
    };
    let spec = ArchonSpec { tools: Arc::new(tools), ..archon_spec("ezra", &model()).unwrap() };
    world.house.start_archon(spec).await.unwrap();
    world.link().await;
    let asked = |event: &TurnEvent| matches!(event, TurnEvent::ApprovalWanted { .. });
    // From q to p, so that p is asked.
    world.told("q", "1", "call fetch").await;
    world.told("q", "2", "/handoff terminal").await;
    world.say_until("3", "call clock send", asked).await;
    assert_eq!(toys.calls(), ["fetch", "clock"], "a page that came in the other place counts");
    world.told("p", "4", "/deny").await;
    world.answer("3").await;

    world.say_until("5", "call write", asked).await;
    world.told("p", "6", "/approve session").await;
    world.answer("5").await;
    world.told("p", "7", "call write").await;
    world.told("p", "8", "/handoff 1").await;
    world.told("q", "9", "/handoff 1").await;
    world.say_until("10", "call write", asked).await;
    assert_eq!(toys.calls(), ["fetch", "clock", "write", "write"], "it is asked anew");
}

/// A conversation goes to and fro while people write in both places and anything is killed.
async fn storm(seed: u64) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let world = World::linked().await;
    world.engine.set_token_delay(Duration::from_millis([0, 5, 60][dice.below(3) as usize]));
    let mut keys = 0;
    for _ in 0..40 {
        let peer = ["p", "q"][dice.below(2) as usize];
        let text = match dice.below(8) {
            0 | 1 => "/handoff 1",
            2 => "/handoff from 1",
            3 => "/stop",
            4 => "/new",
            _ => "some words to say",
        };
        let message = message("ezra", peer, &keys.to_string(), text).unwrap();
        if world.house.submit(message).await.is_ok() {
            keys += 1;
        }
        pass(Duration::from_millis([0, 1, 30, 400][dice.below(4) as usize])).await;
        if dice.below(6) == 0 {
            world
                .actors(is_of_archon)
                .into_iter()
                .filter(|_| dice.below(2) == 0)
                .for_each(|cell| cell.kill());
        }
    }
    for _ in 0..50_000 {
        pass(Duration::from_millis(500)).await;
        if world.house.memory().pending_len(&id("ezra")).await == Ok(0) {
            break;
        }
    }
    let (mut answers, of_q) = (world.answers("ezra", "p").await, world.answers("ezra", "q").await);
    answers.extend(of_q);
    assert_eq!(answers.len(), keys, "seed {seed}");
    let once: Vec<_> = answers.values().map(|answers| answers.as_slice()).collect();
    assert!(once.iter().all(|answers| answers.len() == 1), "seed {seed}: {once:?}");
    let kept = world.everything().await;
    let turns: std::collections::BTreeSet<_> = kept.iter().map(|(_, turn)| turn.inbox).collect();
    assert_eq!(turns.len(), kept.len(), "seed {seed}: a turn is in two places: {kept:?}");
    let said = once.iter().flat_map(|answers| answers.iter());
    let lost: Vec<_> = said
        .clone()
        .filter(|answer| answer.kind == AnswerKind::Answer && !turns.contains(&answer.answers))
        .collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    // Whoever has a turn now may find it, and the other one may not.
    for peer in ["p", "q"] {
        let has = kept.iter().filter(|(of, _)| of == peer).count();
        let owner = format!("ezra/cli/{peer}").parse().unwrap();
        let found = world.house.memory().recall(&owner, "words", 1_000).await.unwrap();
        assert_eq!(found.len(), has, "seed {seed}");
        let theirs = |found: &Recalled| matches!(found, Recalled::Turn { session, .. } if session.peer.as_str() == peer);
        assert!(found.iter().all(theirs), "seed {seed}: {found:?}");
    }
    said.filter(|answer| answer.text.starts_with("Our conversation")).count()
}

#[tokio::test(start_paused = true)]
async fn whatever_dies_each_turn_is_in_one_place() {
    let seeds = std::env::var("ARCHOND_BUSY_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let mut moved = 0;
    for seed in 1..=seeds {
        moved += storm(seed).await;
    }
    assert!(moved > 0, "what never happens tests nothing");
}

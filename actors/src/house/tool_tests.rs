//! Turns that call tools, in the whole house on doubles: asked, approved, denied, stopped, going round, and killed on the way.
use super::*;
use crate::domain::{ChatRole, Outcome, Permission, Risk, ToolLimits, ToolPolicy};
use crate::testkit::ToyTools;

pub(super) const TOOLS: [(&str, Risk); 4] =
    [("clock", Risk::Read), ("write", Risk::Write), ("hang", Risk::Write), ("send", Risk::Message)];

pub(super) fn policy() -> ToolPolicy {
    use Permission::{Allow, Ask, Deny};
    ToolPolicy {
        tools: TOOLS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        permissions: [Allow, Allow, Ask, Ask, Deny],
        ..ToolPolicy::default()
    }
}

impl World {
    pub(super) async fn with_tools(toys: &ToyTools, policy: ToolPolicy) -> Self {
        let world = Self::with(Arc::new(toys.clone())).await;
        let spec = ArchonSpec { tools: Arc::new(policy), ..archon_spec("ezra", &model()).unwrap() };
        world.house.start_archon(spec).await.unwrap();
        world
    }

    /// Says something and waits until `reached` is seen.
    pub(super) async fn say_until(&self, key: &str, text: &str, reached: fn(&TurnEvent) -> bool) {
        let message = message("ezra", "p", key, text).unwrap();
        let mut observer = self.house.observers().observe(message.message_key());
        self.house.submit(message).await.unwrap();
        while let Some(event) = observer.next().await {
            if reached(&event) {
                return;
            }
        }
        panic!("the observer was replaced");
    }

    /// The answer to a message, once it is there.
    pub(super) async fn answer(&self, key: &str) -> String {
        for _ in 0..1000 {
            if let Some([answer]) = self.answers("ezra", "p").await.get(key).map(Vec::as_slice) {
                return answer.text.clone();
            }
            pass(Duration::from_millis(100)).await;
        }
        panic!("no answer to {key}");
    }

    async fn steps(&self) -> Vec<(String, Outcome)> {
        let session = "ezra/cli/p/main".parse().unwrap();
        let turns = self.house.memory().turns(&session, 0, 100).await.unwrap();
        let calls = turns.into_iter().flat_map(|turn| turn.steps).flat_map(|step| step.calls);
        calls.map(|record| (record.call.name, record.outcome)).collect()
    }
}

fn done(name: &str) -> (String, Outcome) {
    (name.to_owned(), Outcome::Done { text: name.to_owned() })
}

#[tokio::test(start_paused = true)]
async fn a_model_calls_reads_what_came_of_it_and_answers() {
    let toys = ToyTools::new(&TOOLS);
    let world = World::with_tools(&toys, policy()).await;
    assert_eq!(world.say("ezra", "p", "1", "call clock write").await.text, "echo: write");
    assert_eq!(toys.calls(), ["clock", "write"]);
    assert_eq!(world.steps().await, [done("clock"), done("write")]);
    let first = world.engine.requests()[0].prompt.clone();
    let second = world.engine.requests()[1].prompt.clone();
    assert_eq!(second.turns()[..first.turns().len()], *first.turns());
    assert_eq!(second.turns().len(), first.turns().len() + 3, "one turn with both calls, two with answers");
    world.say("ezra", "p", "2", "hello").await;
    let third = world.engine.requests()[2].prompt.clone();
    assert_eq!(
        third.turns()[..second.turns().len()],
        *second.turns(),
        "the next turn begins as this one ended"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_or_is_no_tool_is_told_to_the_model() {
    let toys = ToyTools::new(&TOOLS);
    let world = World::with_tools(&toys, policy()).await;
    let answer = world.say("ezra", "p", "1", "call send frobnicate").await.text;
    assert!(answer.starts_with("echo: error: there is no tool `frobnicate`; there are: clock,"), "{answer}");
    assert!(toys.calls().is_empty());
    let steps = world.steps().await;
    assert!(matches!(&steps[0].1, Outcome::Failed { text } if text.contains("denies `send`")), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_asked_and_what_he_says_is_done() {
    let toys = ToyTools::new(&TOOLS);
    let mut asks = policy();
    asks.permissions[1] = Permission::Ask;
    let world = World::with_tools(&toys, asks).await;
    let asked = |event: &TurnEvent| matches!(event, TurnEvent::ApprovalWanted { .. });
    world.say_until("1", "call write", asked).await;
    assert_eq!(world.house.sessions(&id("ezra")).await.unwrap()[0].state, ActorState::WaitingApproval);
    assert!(toys.calls().is_empty());
    assert_eq!(world.say("ezra", "p", "2", "/deny").await.text, "I will not: write {}");
    assert!(world.answer("1").await.contains("the owner said no"));
    world.say_until("3", "call write", asked).await;
    assert!(world.say("ezra", "p", "4", "/approve session").await.text.starts_with("I will, and its like"));
    assert_eq!(world.answer("3").await, "echo: write");
    assert_eq!(
        world.say("ezra", "p", "5", "call write").await.text,
        "echo: write",
        "allowed for the session"
    );
    assert_eq!(toys.calls(), ["write", "write"]);
    assert_eq!(world.say("ezra", "p", "6", "/approve").await.text, "I have not asked you for anything.");
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_says_nothing_says_no() {
    let toys = ToyTools::new(&TOOLS);
    let mut asks = policy();
    asks.permissions[1] = Permission::Ask;
    let world = World::with_tools(&toys, asks).await;
    let answer = world.say("ezra", "p", "1", "call write").await.text;
    assert!(answer.contains("did not answer in time"), "{answer}");
    assert!(toys.calls().is_empty());
    assert_eq!(world.answers("ezra", "p").await["1"].len(), 1, "waiting is not taken for a standstill");
}

#[tokio::test(start_paused = true)]
async fn how_far_a_call_is_is_seen_by_whoever_watches() {
    let toys = ToyTools::new(&TOOLS);
    let world = World::with_tools(&toys, policy()).await;
    let is_told = |event: &TurnEvent| {
        *event == TurnEvent::CallProgress { tool: "clock".into(), text: "half way".into() }
    };
    world.say_until("1", "call clock", is_told).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_what_is_called() {
    let toys = ToyTools::new(&TOOLS);
    let world = World::with_tools(&toys, policy()).await;
    world.say_until("1", "call hang", |event| matches!(event, TurnEvent::CallBegun { .. })).await;
    assert_eq!(world.say("ezra", "p", "2", "/stop").await.text, "Stopping.");
    assert_eq!(world.answer("1").await, "Stopped.");
    assert_eq!(world.steps().await, [("hang".to_owned(), Outcome::Unknown)]);
    assert_eq!(world.say("ezra", "p", "3", "hello").await.text, "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_goes_round_in_circles_ends_and_says_so() {
    let toys = ToyTools::new(&TOOLS);
    toys.fail("clock", "it is broken");
    let limits = ToolLimits { same_error_max: 1, ..ToolLimits::default() };
    let world = World::with_tools(&toys, ToolPolicy { limits, ..policy() }).await;
    let answer = world.say("ezra", "p", "1", "call clock clock").await.text;
    assert!(answer.contains("`clock` failed 2 times in the same way: it is broken"), "{answer}");
    assert_eq!(world.say("ezra", "p", "2", "hello").await.text, "echo: hello");
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_called_beside_the_last_straw_is_not_made_and_known_as_such() {
    let toys = ToyTools::new(&TOOLS);
    let limits = ToolLimits { same_error_max: 1, ..ToolLimits::default() };
    let world = World::with_tools(&toys, ToolPolicy { limits, ..policy() }).await;
    let answer = world.say("ezra", "p", "1", "call write send send").await.text;
    assert!(answer.contains("`send` failed 2 times in the same way"), "{answer}");
    assert!(toys.calls().is_empty());
    let steps = world.steps().await;
    assert!(matches!(&steps[0].1, Outcome::Failed { text } if text.contains("it was not made")), "{steps:?}");
}

/// Kills the session, or all of the Archon, while a call is made.
async fn killed(kind: fn(&ActorCell) -> bool, tool: &str, calls: &[&str], outcome: &str) {
    let toys = ToyTools::new(&[("hang", if tool == "look" { Risk::Read } else { Risk::Write })]);
    let world = World::with_tools(&toys, ToolPolicy { tools: vec!["hang".into()], ..policy() }).await;
    world.say_until("1", "call hang", |event| matches!(event, TurnEvent::CallBegun { .. })).await;
    while toys.calls().is_empty() {
        pass(Duration::from_millis(1)).await;
    }
    for cell in world.actors(kind) {
        cell.kill();
    }
    for _ in 0..100 {
        pass(Duration::from_millis(100)).await;
        toys.release();
    }
    let answer = world.answer("1").await;
    assert!(answer.contains(outcome), "{tool}: {answer}");
    assert_eq!(toys.calls(), calls, "{tool}");
    assert_eq!(world.answers("ezra", "p").await["1"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_when_the_session_died_is_not_done_twice() {
    let session: fn(&ActorCell) -> bool =
        |cell| cell.is_message_type_of::<Envelope<SessionMsg>>() == Some(true);
    killed(session, "look", &["hang", "hang"], "echo: hang").await;
    killed(session, "change", &["hang"], "nobody knows whether it took effect").await;
}

/// The calls of a prompt and their answers, which must stand together.
fn assert_whole(turns: &[ChatTurn]) {
    let mut open: Vec<String> = Vec::new();
    for turn in turns {
        match turn.role {
            ChatRole::Tool => {
                let place = open.iter().position(|id| **id == *turn.answers);
                open.remove(place.expect("an answer without its call"));
            }
            _ => assert!(open.is_empty(), "a call without its answer: {turn:?}"),
        }
        open.extend(turn.calls.iter().map(|call| call.id.clone()));
    }
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test(start_paused = true)]
async fn three_hundred_turns_with_calls_stay_within_the_window() {
    let toys = ToyTools::new(&TOOLS);
    let world = World::with_tools(&toys, policy()).await;
    for turn in 0..300 {
        let text =
            if turn % 2 == 0 { "call clock write".to_owned() } else { format!("word {}", "x ".repeat(200)) };
        let answer = world.say("ezra", "p", &turn.to_string(), &text).await;
        assert_eq!(answer.kind, AnswerKind::Answer, "turn {turn}: {}", answer.text);
    }
    assert_eq!(toys.calls().len(), 300);
    let requests = world.engine.requests();
    let (mut grown, mut shortened) = (0, 0);
    let mut last: Option<Vec<ChatTurn>> = None;
    for request in &requests {
        let prompt = request.prompt.turns();
        assert_whole(prompt);
        if prompt.last().is_some_and(|turn| turn.words().starts_with("Summarise")) {
            continue;
        }
        match last.replace(prompt.to_vec()) {
            Some(last) if prompt.starts_with(&last) => grown += 1,
            Some(_) => shortened += 1,
            None => {}
        }
    }
    assert!(shortened > 0, "the window is full now and then");
    assert!(grown > 10 * shortened, "{grown} prompts began with the one before, {shortened} did not");
    let session = "ezra/cli/p/main".parse().unwrap();
    assert_eq!(world.house.memory().turns(&session, 0, 1000).await.unwrap().len(), 300, "nothing is deleted");
}

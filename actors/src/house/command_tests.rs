//! The commands on a whole house on doubles: what they change is kept, and what they do not change stays.
use super::tools::{TOOLS, policy};
use super::*;
use crate::domain::{ContextPolicy, Permission, Risk, ToolPolicy};
use crate::ports::ToolSource;
use crate::testkit::ToyTools;

impl World {
    /// Says something to Ezra and waits for the text of the answer.
    async fn hears(&self, key: &str, text: &str) -> String {
        self.say("ezra", "p", key, text).await.text
    }

    /// What the model read last.
    fn read(&self) -> Vec<String> {
        let requests = self.engine.requests();
        requests.last().unwrap().prompt.turns().iter().map(ChatTurn::words).collect()
    }

    /// The model of the last turn.
    async fn answered(&self, thread: &str) -> ModelId {
        let session = format!("ezra/cli/p/{thread}").parse().unwrap();
        let turns = self.house.memory().turns(&session, 0, 100).await.unwrap();
        turns.last().unwrap().model.clone()
    }

    async fn turns(&self, thread: &str) -> Vec<String> {
        let session = format!("ezra/cli/p/{thread}").parse().unwrap();
        let turns = self.house.memory().turns(&session, 0, 100).await.unwrap();
        turns.into_iter().map(|turn| turn.user).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_turns_are_taken_back_and_answered_again() {
    let world = World::new().await;
    world.start("ezra").await;
    assert_eq!(world.hears("0", "/undo").await, "There is nothing to take back.");
    assert_eq!(world.hears("1", "/retry").await, "There is nothing to answer again.");
    for (key, text) in [("2", "one"), ("3", "two"), ("4", "three")] {
        world.hears(key, text).await;
    }
    assert!(
        world.hears("5", "/undo 2").await.starts_with("Taken back 2 turns, from: \"two\". 1 turns are left.")
    );
    assert_eq!(world.turns("main").await, ["one"]);
    world.hears("6", "four").await;
    assert_eq!(world.read(), ["one", "echo: one", "four"]);

    assert_eq!(world.hears("7", "/retry").await, "echo: four");
    assert_eq!(world.read(), ["one", "echo: one", "four"], "the answer before it is not read");
    assert_eq!(world.turns("main").await, ["one", "four"], "and its turn took that one's place");
    pass(Duration::from_secs(601)).await;
    world.hears("8", "five").await;
    assert_eq!(world.read(), ["one", "echo: one", "four", "echo: four", "five"], "so it is kept");
    assert!(world.hears("9", "/undo 4").await.starts_with("Only the last 3 can be taken back"));
}

#[tokio::test(start_paused = true)]
async fn a_second_try_that_fails_takes_nobodys_place() {
    let world = World::new().await;
    world.start("ezra").await;
    world.hears("1", "one").await;
    world.engine.set_token_delay(Duration::from_secs(1));
    let retry = message("ezra", "p", "2", "/retry").unwrap();
    let mut observer = world.house.observers().observe(retry.message_key());
    world.house.submit(retry).await.unwrap();
    pass(Duration::from_millis(500)).await;
    assert!(world.hears("3", "/undo").await.starts_with("An answer is being written"));
    assert_eq!(world.hears("4", "/stop").await, "Stopping.");
    while let Some(event) = observer.next().await {
        if matches!(event, TurnEvent::Ended { .. }) {
            break;
        }
    }
    assert_eq!(world.turns("main").await, ["one"]);
}

#[tokio::test(start_paused = true)]
async fn sessions_branch_and_are_gone_back_to() {
    let world = World::new().await;
    world.start("ezra").await;
    world.hears("1", "one").await;
    let branched = world.hears("2", "/branch").await;
    assert!(branched.starts_with("A copy of our conversation: s2."), "{branched}");
    world.hears("3", "two").await;
    assert_eq!(world.read(), ["one", "echo: one", "two"]);
    assert_eq!((world.turns("main").await.len(), world.turns("s2").await.len()), (1, 2));

    assert_eq!(world.hears("4", "/resume main").await, "Back in main: 1 turns, the last on \"one\".");
    world.hears("5", "three").await;
    assert_eq!(world.read(), ["one", "echo: one", "three"]);
    let missing = world.hears("6", "/resume s99").await;
    assert_eq!(missing, "You have no session `s99` with me; /sessions lists them.");
    assert_eq!(world.hears("7", "four").await, "echo: four", "and one stays where one was");
    assert_eq!(world.turns("main").await, ["one", "three", "four"]);

    let listed = world.hears("8", "/sessions").await;
    assert!(listed.contains("* main        3 turns") && listed.contains("  s2          2 turns"), "{listed}");
    let of_another = world.say("ezra", "q", "9", "/resume s2").await.text;
    assert!(of_another.starts_with("You have no session `s2`"), "{of_another}");
    let exported = world.hears("10", "/export").await;
    assert!(exported.contains("**You:** three") && !exported.contains("two"), "{exported}");
}

#[tokio::test(start_paused = true)]
async fn a_summary_is_made_when_the_peer_wants_it_or_when_nobody_writes() {
    let world = World::with(Arc::new(NoTools)).await;
    let context = ContextPolicy { tokens_max: 100, compact_at_percent: 50, keep_turns: 1 };
    let spec = ArchonSpec { context, ..archon_spec("ezra", &model()).unwrap() };
    world.house.start_archon(spec).await.unwrap();
    assert_eq!(world.hears("1", "/compact").await, "There is nothing to summarise.");
    world.hears("2", "one").await;
    world.hears("3", "two").await;
    assert!(world.hears("4", "/compact tea and cake").await.starts_with("Summarised;"));
    let asked = world.read();
    assert!(
        asked[0].starts_with("Summarise this conversation; keep above all what has to do with tea and cake:"),
        "{asked:?}"
    );
    world.hears("5", "three").await;
    assert_eq!(world.read(), ["two", "echo: two", "three"]);
    assert_eq!(world.turns("main").await, ["one", "two", "three"], "the transcript is whole");

    let long = "word ".repeat(40);
    world.hears("6", &long).await;
    pass(Duration::from_secs(5)).await;
    let asked = world.read();
    assert!(asked[0].starts_with("Summarise this conversation:"), "while nobody writes: {asked:?}");
    let requests = world.engine.requests().len();
    world.hears("7", "four").await;
    let next = world.engine.requests()[requests].prompt.turns().last().map(ChatTurn::words);
    assert_eq!(next.as_deref(), Some("four"), "it was done already");
    assert!(world.hears("8", "/context").await.contains("summary of "));
}

#[tokio::test(start_paused = true)]
async fn the_peer_chooses_the_model_and_what_is_said_below_answers() {
    let other = ModelId::new("other").unwrap();
    let world = World::on(FakeEngine::new([model(), other.clone()]), Arc::new(NoTools)).await;
    world.start("ezra").await;
    world.hears("1", "one").await;
    assert_eq!(world.answered("main").await, model());
    let said = world.hears("2", "/model oth --once").await;
    assert_eq!(said, "other answers your next message, then the one before.");
    world.hears("3", "two").await;
    assert_eq!(world.answered("main").await, other);
    let status = world.hears("4", "/status").await;
    assert!(status.contains("the last answer came from other: you chose it for one answer"), "{status}");
    assert!(status.contains("a message now is for m: no rule of the profile held"), "{status}");
    world.hears("5", "three").await;
    assert_eq!(world.answered("main").await, model());

    world.hears("6", "/model other").await;
    pass(Duration::from_secs(601)).await;
    world.hears("7", "four").await;
    assert_eq!(world.answered("main").await, other, "kept over a rest");
    assert!(world.hears("8", "/model nothing").await.contains("There is no model nothing here"));
    assert!(world.hears("9", "/model").await.contains("  other "));
    world.hears("10", "/new").await;
    world.hears("11", "five").await;
    assert_eq!(world.answered("s10").await, model(), "for that session alone");

    assert_eq!(world.hears("12", "/usage tokens").await, "Each answer says what it cost.");
    let answer = world.hears("13", "six").await;
    assert!(answer.starts_with("echo: six\n\n[") && answer.contains("tokens read"), "{answer}");
    assert_eq!(world.hears("14", "/retry").await.matches("tokens read").count(), 1);
    world.hears("15", "seven").await;
    assert!(world.read().iter().all(|words| !words.contains("tokens read")), "the model never reads it");
    assert!(world.hears("16", "/usage").await.contains("turns                      3"));
}

#[tokio::test(start_paused = true)]
async fn what_is_allowed_for_good_is_until_it_is_taken_back() {
    let toys = ToyTools::new(&TOOLS);
    let mut asks = policy();
    asks.permissions[1] = Permission::Ask;
    let world = World::with_tools(&toys, asks).await;
    let asked = |event: &TurnEvent| matches!(event, TurnEvent::ApprovalWanted { .. });
    world.say_until("1", "call write", asked).await;
    assert!(world.hears("2", "/approve for ever").await.contains("nothing was decided"));
    assert!(world.hears("3", "/approve always").await.starts_with("I will, and its like from now on"));
    assert_eq!(world.answer("1").await, "echo: write");
    world.hears("4", "/new").await;
    pass(Duration::from_secs(601)).await;
    assert_eq!(world.hears("5", "call write").await, "echo: write", "in another session, after a rest");
    assert!(world.hears("6", "/approvals").await.contains("  1  write"));
    assert!(world.hears("7", "/approvals forget 1").await.starts_with("From now on I ask again: write"));
    world.say_until("8", "call write", asked).await;
    assert_eq!(world.hears("9", "/deny").await, "I will not: write {}");
    world.say_until("10", "hello", |event| matches!(event, TurnEvent::Ended { .. })).await;
    let other = world.say("ezra", "q", "11", "/approvals").await.text;
    assert!(other.starts_with("You have allowed nothing"), "{other}");
}

#[tokio::test(start_paused = true)]
async fn a_question_of_the_model_ends_the_turn_and_the_next_message_answers_it() {
    let toys =
        ToyTools::new(&[("ask_user", crate::domain::Risk::Read), ("clock", crate::domain::Risk::Read)]);
    toys.answer("ask_user", "Which one?\n1. red\n2. blue");
    let asks = ToolPolicy { tools: vec!["ask_user".into(), "clock".into()], ..policy() };
    let world = World::with_tools(&toys, asks).await;
    assert_eq!(world.hears("1", "call clock ask_user").await, "Which one?\n1. red\n2. blue");
    assert_eq!(toys.calls(), ["clock", "ask_user"], "what it called beside is made");
    let requests = world.engine.requests().len();
    assert_eq!(requests, 1, "the model is not asked on before the answer is there");
    assert_eq!(world.hears("2", "blue").await, "echo: blue");
    let read = world.read();
    assert_eq!(read[0], "call clock ask_user");
    assert!(read.iter().any(|words| words.starts_with("Which one?")), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_summary_stands_for_still_counts_when_something_is_to_be_sent() {
    let toys = ToyTools::new(&[TOOLS.as_slice(), &[("fetch", Risk::Network)]].concat());
    let world = World::with(Arc::new(toys.clone())).await;
    let tools = ToolPolicy {
        tools: toys.tools().into_iter().map(|spec| spec.tool.name).collect(),
        permissions: [Permission::Allow; 5],
        ..policy()
    };
    let context = ContextPolicy { keep_turns: 1, ..archon_spec("ezra", &model()).unwrap().context };
    let spec = ArchonSpec { tools: Arc::new(tools), context, ..archon_spec("ezra", &model()).unwrap() };
    world.house.start_archon(spec).await.unwrap();
    world.hears("1", "call fetch").await;
    world.hears("2", "one").await;
    assert!(world.hears("3", "/compact").await.starts_with("Summarised;"));
    world.hears("4", "two").await;
    assert_eq!(world.read(), ["one", "echo: one", "two"], "the page is in the summary alone");
    pass(Duration::from_secs(601)).await;
    let asked = |event: &TurnEvent| matches!(event, TurnEvent::ApprovalWanted { .. });
    world.say_until("5", "call clock send", asked).await;
    assert_eq!(toys.calls(), ["fetch", "clock"], "nothing was sent unasked");
}

#[tokio::test(start_paused = true)]
async fn a_model_with_a_shorter_context_than_the_profile_wants_is_summarised_in_time() {
    let world = World::with(Arc::new(NoTools)).await;
    world.engine.set_context_tokens(100);
    let context = ContextPolicy { tokens_max: 8192, compact_at_percent: 50, keep_turns: 1 };
    let spec = ArchonSpec { context, ..archon_spec("ezra", &model()).unwrap() };
    world.house.start_archon(spec).await.unwrap();
    world.hears("1", "one").await;
    let told = world.hears("2", "/context").await;
    assert!(told.contains(" of 100 tokens") && told.contains("At 50 tokens"), "{told}");
    world.hears("3", &"word ".repeat(30)).await;
    pass(Duration::from_secs(5)).await;
    let asked = world.read();
    assert!(asked[0].starts_with("Summarise this conversation:"), "while nobody writes: {asked:?}");
}

//! An Archon with more tools than the model is told of, in the whole house on doubles: what is found is judged, shown and kept as itself.
use async_trait::async_trait;

use super::*;
use crate::domain::{Outcome, Permission, Risk, Tool, ToolCall, ToolLimits, ToolOrder, ToolPolicy, ToolSpec};
use crate::ports::ToolSource;
use crate::testkit::ToyTools;
use crate::tools::search::{TOOL_CALL, TOOL_SEARCH, tokens};

/// Tools that nobody wants to read about with every message.
const MANY: usize = 200;

/// Stands for the tools that are many: a call of `tool_call` means the one that is named here.
#[derive(Clone)]
struct Shed {
    toys: ToyTools,
    meant: &'static str,
}

struct ToySearch(&'static str);

struct Core(ToyTools);

fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        tool: Tool { name: name.into(), description: String::new(), parameters: String::new() },
        risk: Risk::Read,
        is_repeatable: true,
        reads_private: false,
        brings_outside_text: false,
    }
}

#[async_trait]
impl ToolSource for ToySearch {
    fn name(&self) -> &str {
        "search"
    }

    fn tools(&self) -> Vec<ToolSpec> {
        vec![spec(TOOL_SEARCH), spec(TOOL_CALL)]
    }

    fn is_core(&self) -> bool {
        true
    }

    fn meant(&self, call: &ToolCall) -> Option<ToolCall> {
        let id = call.id.clone();
        (call.name == TOOL_CALL).then(|| ToolCall { id, name: self.0.into(), arguments: "{}".into() })
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        Outcome::Failed { text: format!("`{}` calls nothing", order.call.name) }
    }
}

#[async_trait]
impl ToolSource for Core {
    fn name(&self) -> &str {
        "core"
    }

    fn tools(&self) -> Vec<ToolSpec> {
        self.0.tools()
    }

    fn is_core(&self) -> bool {
        true
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        self.0.call(order).await
    }
}

impl ToolShed for Shed {
    fn sources(&self, _: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        let core = ToyTools::new(&[("clock", Risk::Read)]);
        vec![Arc::new(Core(core)), Arc::new(self.toys.clone()), Arc::new(ToySearch(self.meant))]
    }
}

async fn world(many: usize, meant: &'static str, permission: Permission) -> (World, ToyTools) {
    let names: Vec<String> = (0..many).map(|n| format!("archive_{n}")).collect();
    let mut tools: Vec<(&str, Risk)> = names.iter().map(|name| (name.as_str(), Risk::Read)).collect();
    tools.push(("send", Risk::Message));
    let toys = ToyTools::new(&tools);
    let world = World::with(Arc::new(Shed { toys: toys.clone(), meant })).await;
    let named = tools.iter().map(|(name, _)| (*name).to_owned());
    let mut policy = ToolPolicy {
        tools: std::iter::once("clock".to_owned()).chain(named).collect(),
        limits: ToolLimits { schema_tokens_max: 500, ..ToolLimits::default() },
        ..ToolPolicy::default()
    };
    policy.permissions[4] = permission;
    let spec = ArchonSpec { tools: Arc::new(policy), ..archon_spec("ezra", &model()).unwrap() };
    world.house.start_archon(spec).await.unwrap();
    (world, toys)
}

fn declared(world: &World, request: usize) -> Arc<[Tool]> {
    match &*world.engine.requests()[request].prompt {
        crate::domain::Prompt::Chat(conversation) => conversation.tools.clone(),
        other => panic!("{other:?}"),
    }
}

fn names(tools: &[Tool]) -> Vec<&str> {
    tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn many_tools_take_no_more_of_the_prompt_than_the_search_for_them() {
    let (few, _) = world(3, "send", Permission::Allow).await;
    few.say("ezra", "p", "1", "hello").await;
    assert_eq!(names(&declared(&few, 0)), ["clock", "archive_0", "archive_1", "archive_2", "send"]);
    let (world, _) = world(MANY, "send", Permission::Allow).await;
    world.say("ezra", "p", "1", "hello").await;
    assert_eq!(names(&declared(&world, 0)), ["clock", TOOL_SEARCH, TOOL_CALL]);
    let all: Vec<ToolSpec> = (0..MANY).map(|n| spec(&format!("archive_{n}"))).collect();
    let before: usize = all.iter().map(|spec| tokens(&spec.tool)).sum();
    let after: usize = declared(&world, 0).iter().map(tokens).sum();
    assert!(after * 10 < before, "{after} tokens in place of {before}");
}

#[tokio::test(start_paused = true)]
async fn a_found_tool_is_called_as_itself_and_told_as_it_was_asked_for() {
    let (world, toys) = world(MANY, "archive_7", Permission::Allow).await;
    assert_eq!(world.say("ezra", "p", "1", "call tool_call").await.text, "echo: archive_7");
    assert_eq!(toys.calls(), ["archive_7"]);
    let turns = world.house.memory().turns(&"ezra/cli/p/main".parse().unwrap(), 0, 10).await.unwrap();
    assert_eq!(turns[0].steps[0].calls[0].call.name, "archive_7", "what is kept is what was done");
    world.say("ezra", "p", "2", "hello").await;
    let requests = world.engine.requests();
    let (first, second, third) = (&requests[0].prompt, &requests[1].prompt, &requests[2].prompt);
    let told = second.turns().iter().flat_map(|turn| &turn.calls).next().unwrap();
    assert_eq!(told.name, TOOL_CALL);
    assert_eq!(told.arguments, r#"{"arguments":{},"name":"archive_7"}"#);
    assert_eq!(second.turns()[..first.turns().len()], *first.turns());
    assert_eq!(third.turns()[..second.turns().len()], *second.turns(), "prompts begin alike");
    assert!(
        (1..3).all(|request| declared(&world, request) == declared(&world, 0)),
        "and with the same tools"
    );
}

#[tokio::test(start_paused = true)]
async fn a_found_tool_is_judged_by_its_own_risk_and_shown_by_its_own_name() {
    let (denied, toys) = world(MANY, "send", Permission::Deny).await;
    let answer = denied.say("ezra", "p", "1", "call tool_call").await.text;
    assert!(answer.contains("denies `send` (message)"), "{answer}");
    assert!(toys.calls().is_empty());
    let (world, toys) = world(MANY, "send", Permission::Ask).await;
    let question = message("ezra", "p", "1", "call tool_call").unwrap();
    let mut observer = world.house.observers().observe(question.message_key());
    world.house.submit(question).await.unwrap();
    let asked = loop {
        let event = observer.next().await.expect("a question");
        if let TurnEvent::ApprovalWanted { tool, shown, .. } = event {
            break (tool, shown);
        }
    };
    assert_eq!(asked, ("send".to_owned(), "send {}".to_owned()));
    assert!(toys.calls().is_empty(), "nobody has said yes");
    world.say("ezra", "p", "2", "/approve session").await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(toys.calls(), ["send"]);
    assert_eq!(
        world.say("ezra", "p", "3", "call tool_call").await.text,
        "echo: send",
        "the yes was to `send`"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_stands_for_what_is_not_given_or_for_what_stands_for_others() {
    for meant in ["frobnicate", TOOL_CALL, TOOL_SEARCH] {
        let (world, toys) = world(MANY, meant, Permission::Allow).await;
        let answer = world.say("ezra", "p", "1", "call tool_call").await.text;
        assert!(answer.contains("`tool_call` calls nothing"), "{meant}: {answer}");
        assert!(toys.calls().is_empty());
    }
    let (world, _) = world(MANY, "send", Permission::Allow).await;
    let answer = world.say("ezra", "p", "1", "call frobnicate").await.text;
    assert!(
        answer.contains("there is no tool `frobnicate`; there are: clock, tool_search, tool_call"),
        "{answer}"
    );
}

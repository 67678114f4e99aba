//! `tool_search` and `tool_call` over two hundred tools of the real kind: programs of the user's own would be as many files, so the
//! source is a double; what searches, reads and checks is the product.
use std::sync::Arc;

use archond::tools::SearchTools;
use archond_actors::domain::{Outcome, Risk, Tool, ToolCall, ToolOrder, ToolPolicy, ToolSpec};
use archond_actors::ports::ToolSource;
use archond_models::chat::{CallRule, Tool as Declaration};
use archond_models::grammar::{Style, for_calls};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::tools_kit::{AMPLE, Workshop, runtime};

const MANY: usize = 200;

struct Doubles {
    specs: Vec<ToolSpec>,
    is_core: bool,
}

#[async_trait]
impl ToolSource for Doubles {
    fn name(&self) -> &str {
        "doubles"
    }

    fn tools(&self) -> Vec<ToolSpec> {
        self.specs.clone()
    }

    fn is_core(&self) -> bool {
        self.is_core
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        Outcome::Done { text: order.call.name }
    }
}

fn spec(name: &str, description: &str, parameters: &str) -> ToolSpec {
    let tool = Tool { name: name.into(), description: description.into(), parameters: parameters.into() };
    ToolSpec {
        tool,
        risk: Risk::Network,
        is_repeatable: false,
        reads_private: false,
        brings_outside_text: true,
    }
}

/// Three sources: a core, two hundred tools, and one whose tools the policy does not give.
fn search() -> SearchTools {
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1}},"required":["city"]}"#;
    let mut many: Vec<ToolSpec> =
        (0..MANY - 2).map(|n| spec(&format!("archive_{n}"), "Read a record of the archive.", "")).collect();
    many.push(spec("forecast", "Tell the weather of a city.", schema));
    many.push(spec("clock", "Another clock, behind the core's.", ""));
    let mut names: Vec<String> = many.iter().map(|spec| spec.tool.name.clone()).collect();
    names.dedup();
    let core = Doubles { specs: vec![spec("clock", "Tell the time.", "")], is_core: true };
    let hidden =
        Doubles { specs: vec![spec("secret_weather", "The weather that is not given.", "")], is_core: false };
    let policy = ToolPolicy { tools: names, ..ToolPolicy::default() };
    let many = Doubles { specs: many, is_core: false };
    SearchTools::new(vec![Arc::new(core), Arc::new(many), Arc::new(hidden)], Arc::new(policy))
}

fn call(name: &str, arguments: &Value) -> Outcome {
    runtime().block_on(search().call(Workshop::order(name, arguments, AMPLE)))
}

#[track_caller]
fn found(query: &str) -> String {
    match call("tool_search", &json!({"query": query})) {
        Outcome::Done { text } => text,
        other => panic!("{query}: {other:?}"),
    }
}

fn meant(arguments: &str) -> Option<(String, String)> {
    let call = ToolCall { id: "7".into(), name: "tool_call".into(), arguments: arguments.into() };
    search().meant(&call).map(|call| (call.name, call.arguments))
}

#[test]
fn a_search_answers_the_best_with_what_their_calls_need() {
    let text = found("weather in a city");
    assert!(
        text.starts_with("forecast: Tell the weather of a city.\n  arguments: {\"type\":\"object\""),
        "{text}"
    );
    assert!(!text.contains("secret_weather"), "what is not given is not found: {text}");
    assert!(text.ends_with("Call one with tool_call."), "{text}");
    assert!(!found("the time of the clock").contains("Another clock"), "the core's clock is told anyway");
    let many = found("archive records");
    assert_eq!(many.matches("  arguments: ").count(), 5, "{many}");
    let none = found("zeppelin");
    assert!(none.starts_with("no tool fits; there are: archive_0, ") && none.ends_with("more"), "{none}");
    assert!(matches!(call("tool_search", &json!({"words": "x"})), Outcome::Failed { .. }));
}

#[test]
fn a_call_stands_for_a_given_tool_with_arguments_that_fit() {
    let city = Some(("forecast".to_owned(), r#"{"city":"Ulm"}"#.to_owned()));
    assert_eq!(meant(r#"{"name":"forecast","arguments":{"city":"Ulm"}}"#), city);
    assert_eq!(
        meant(r#"{"name":"forecast","arguments":"{\"city\":\"Ulm\"}"}"#),
        city,
        "as small models write it"
    );
    assert_eq!(meant(r#"{"name":"archive_3"}"#), Some(("archive_3".to_owned(), "{}".to_owned())));
    for (arguments, why) in [
        (r#"{"name":"forecast","arguments":{}}"#, "\"city\" is a required property"),
        (r#"{"name":"forecast","arguments":{"city":"Ulm","days":0}}"#, "`days`: 0 is less than the minimum"),
        (r#"{"name":"forecast","arguments":["Ulm"]}"#, "an object is needed"),
        (r#"{"name":"archive_3","arguments":{"x":1}}"#, "it takes none, and `x` was given"),
        (r#"{"name":"secret_weather","arguments":{}}"#, "there is no tool `secret_weather`"),
        (r#"{"name":"tool_call","arguments":{}}"#, "there is no tool `tool_call`"),
        (r#"{"name":"forecast","city":"Ulm"}"#, "unknown field `city`"),
        ("nonsense", "cannot be used"),
    ] {
        assert_eq!(meant(arguments), None, "{arguments}");
        let call = ToolCall { id: "7".into(), name: "tool_call".into(), arguments: arguments.into() };
        let order = ToolOrder { call, ..Workshop::order("tool_call", &json!({}), AMPLE) };
        let Outcome::Failed { text } = runtime().block_on(search().call(order)) else {
            panic!("{arguments}")
        };
        assert!(text.contains(why), "{arguments}: {text}");
    }
    let other = ToolCall { id: "7".into(), name: "tool_search".into(), arguments: "{}".into() };
    assert_eq!(search().meant(&other), None, "a search stands for itself");
}

#[test]
fn a_model_can_be_held_to_both_and_they_are_cheap() {
    let tools = search().tools();
    let declarations: Vec<Declaration> = tools
        .iter()
        .map(|spec| Declaration {
            name: spec.tool.name.clone(),
            description: spec.tool.description.clone(),
            parameters: spec.tool.parameters.clone(),
        })
        .collect();
    for_calls(&declarations, &CallRule::Required, true, &Style::chatml(|_| None)).unwrap();
    let tokens: usize = tools.iter().map(|spec| archond_actors::tools::search::tokens(&spec.tool)).sum();
    assert!(tokens < 130, "{tokens} tokens");
}

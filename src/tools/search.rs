//! Two tools for an Archon that has too many: `tool_search` finds the others, `tool_call` calls one of them.
//!
//! What is called so is another tool's call from then on: judged, shown, written down and made as that one. Only its words in the
//! conversation stay those that the model wrote. So the declarations at the beginning of the prompt never change for what was found.
use std::collections::BTreeSet;
use std::sync::Arc;

use archond_actors::domain::{Outcome, Risk, Tool, ToolCall, ToolOrder, ToolPolicy, ToolSpec};
use archond_actors::ports::ToolSource;
use archond_actors::tools::search::{TOOL_CALL, TOOL_SEARCH, best};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::arguments::{self, ArgumentsError};
use super::directory_files::{fits, validator};

/// The name of this source.
const SOURCE: &str = "search";
/// Tools that one search answers, with their schemas: what a model can compare.
const FOUND_MAX: usize = 5;
/// Names that are told where nothing was found.
const NAMES_MAX: usize = 60;

/// The search through an Archon's other sources.
#[derive(Clone)]
pub struct SearchTools {
    sources: Vec<Arc<dyn ToolSource>>,
    policy: Arc<ToolPolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// Why a call of `tool_call` calls nothing.
#[derive(Debug, thiserror::Error)]
enum CallFault {
    #[error(transparent)]
    Written(#[from] ArgumentsError),
    #[error("there is no tool `{0}`; `{TOOL_SEARCH}` finds those that there are")]
    Unknown(String),
    #[error("the arguments of `{name}` cannot be used: {why}; they are: {schema}")]
    Arguments { name: String, why: String, schema: String },
}

impl SearchTools {
    /// Through these sources, for those of their tools that the policy gives.
    pub fn new(sources: Vec<Arc<dyn ToolSource>>, policy: Arc<ToolPolicy>) -> Self {
        Self { sources, policy }
    }

    /// The tools of the sources that are wanted, in the policy's order. Of two of one name the first source's counts.
    fn given(&self, wanted: impl Fn(&dyn ToolSource) -> bool) -> Vec<ToolSpec> {
        let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
        for source in &self.sources {
            let is_wanted = wanted(source.as_ref());
            for spec in source.tools() {
                if seen.insert(spec.tool.name.clone()) && is_wanted {
                    all.push(spec);
                }
            }
        }
        let of_policy = self.policy.tools.iter();
        of_policy.filter_map(|name| all.iter().find(|spec| spec.tool.name == *name)).cloned().collect()
    }

    fn search(&self, text: &str) -> Result<String, ArgumentsError> {
        let Search { query } = arguments::read(TOOL_SEARCH, text)?;
        let tools = self.given(|source| !source.is_core());
        let found = best(&query, &tools, FOUND_MAX);
        if found.is_empty() {
            let names: Vec<&str> = tools.iter().take(NAMES_MAX).map(|spec| spec.tool.name.as_str()).collect();
            let more = tools.len().saturating_sub(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Ok(format!("no tool fits; there are: {}{more}", names.join(", ")));
        }
        let shown: Vec<String> = found.into_iter().map(shown).collect();
        Ok(format!("{}\nCall one with {TOOL_CALL}.", shown.join("\n")))
    }

    /// The call that is wanted, with arguments that fit its tool.
    fn wanted(&self, text: &str) -> Result<(String, String), CallFault> {
        let Call { name, arguments } = arguments::read(TOOL_CALL, text)?;
        let known = self.given(|_| true).into_iter().find(|spec| spec.tool.name == name);
        let Some(ToolSpec { tool, .. }) = known else { return Err(CallFault::Unknown(name)) };
        let checked = object(arguments).and_then(|arguments| check(&tool, arguments));
        let schema = if tool.parameters.is_empty() { "none".to_owned() } else { tool.parameters };
        match checked {
            Ok(arguments) => Ok((name, arguments)),
            Err(why) => Err(CallFault::Arguments { name, why, schema }),
        }
    }
}

/// A tool as the model is told of it.
fn shown(spec: &ToolSpec) -> String {
    let Tool { name, description, parameters } = &spec.tool;
    let parameters = if parameters.is_empty() { "none" } else { parameters };
    format!("{name}: {description}\n  arguments: {parameters}")
}

/// Arguments as an object, also where a model wrote them as a text or not at all.
fn object(arguments: Value) -> Result<Map<String, Value>, String> {
    match arguments {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        Value::String(text) if text.trim().is_empty() => Ok(Map::new()),
        Value::String(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        _ => Err("an object is needed".to_owned()),
    }
}

fn check(tool: &Tool, arguments: Map<String, Value>) -> Result<String, String> {
    if tool.parameters.is_empty() {
        return match arguments.keys().next() {
            Some(first) => Err(format!("it takes none, and `{first}` was given")),
            None => Ok("{}".to_owned()),
        };
    }
    let schema: Value = serde_json::from_str(&tool.parameters).map_err(|error| error.to_string())?;
    let arguments = Value::Object(arguments);
    fits(&validator(&schema)?, &arguments)?;
    Ok(arguments.to_string())
}

fn spec(name: &str, description: &str, parameters: &str) -> ToolSpec {
    ToolSpec {
        tool: Tool {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters: parameters.to_owned(),
        },
        // They answer declarations and faults; what is called by them is judged by its own risk.
        risk: Risk::Read,
        is_repeatable: true,
        reads_private: false,
        brings_outside_text: false,
    }
}

#[async_trait]
impl ToolSource for SearchTools {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Vec<ToolSpec> {
        vec![
            spec(
                TOOL_SEARCH,
                "Find more tools: you have many that are not listed here. Answers names and arguments.",
                r#"{"type":"object","properties":{"query":{"type":"string","description":"a few words"}},"required":["query"]}"#,
            ),
            spec(
                TOOL_CALL,
                "Call a tool that tool_search found.",
                r#"{"type":"object","properties":{"name":{"type":"string"},"arguments":{"type":"object"}},"required":["name","arguments"]}"#,
            ),
        ]
    }

    fn is_core(&self) -> bool {
        true
    }

    fn meant(&self, call: &ToolCall) -> Option<ToolCall> {
        let is_call = call.name == TOOL_CALL;
        let (name, arguments) = is_call.then(|| self.wanted(&call.arguments).ok()).flatten()?;
        Some(ToolCall { id: call.id.clone(), name, arguments })
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        let failed = |text: String| Outcome::Failed { text };
        let (this, ToolCall { name, arguments, .. }) = (self.clone(), order.call);
        let answer = move || match name.as_str() {
            TOOL_SEARCH => match this.search(&arguments) {
                Ok(text) => Outcome::Done { text },
                Err(error) => failed(error.to_string()),
            },
            // What could be called has become another call before.
            TOOL_CALL => match this.wanted(&arguments) {
                Ok((name, _)) => failed(format!("`{name}` could not be called; try again")),
                Err(fault) => failed(fault.to_string()),
            },
            other => failed(format!("there is no tool `{other}` here")),
        };
        // The sources look at their files.
        match tokio::task::spawn_blocking(answer).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed { text: format!("the call broke off: {error}") },
        }
    }
}

impl std::fmt::Debug for SearchTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.sources.iter().map(|source| source.name()).collect();
        write!(f, "SearchTools({})", names.join(", "))
    }
}

//! A source of tools that answers as it is told, and counts what it was asked for.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::domain::{
    AnswerPart, ArchonSpec, Aside, ChatRole, Chosen, Outcome, Prompt, Risk, Tool, ToolCall, ToolOrder,
    ToolSpec,
};
use crate::ports::{Sink, ToolShed, ToolSource};

/// The name of a tool that does not end before it is let go.
const HANGING: &str = "hang";

/// Stands before the name of a tool that the double of the engine calls.
const CALL: char = '\u{1}';

/// The calls that the double of the engine is asked for: `call clock echo` calls both, `call echo={"text":"x"}` with these arguments. It
/// obeys a peer, and, gullible as it is, also a line of what a tool answered, once each turn.
pub(super) fn calls_wanted(prompt: &Prompt) -> Option<Vec<String>> {
    let last = prompt.turns().last()?;
    let words = last.words();
    let order = match last.role {
        ChatRole::User => words.strip_prefix(Aside::HEADING).unwrap_or(&words).strip_prefix("call ")?,
        ChatRole::Tool => words.lines().find_map(|line| line.strip_prefix("call "))?,
        ChatRole::System | ChatRole::Assistant => return None,
    };
    Some(order.split_whitespace().map(|name| format!("{CALL}{name}")).collect())
}

/// A token of the double of the engine: a word, or a call.
pub(super) fn said(word: &str) -> Chosen {
    let Some(wanted) = word.strip_prefix(CALL) else { return Chosen::text(word) };
    let (name, arguments) = wanted.split_once('=').unwrap_or((wanted, "{}"));
    let call = ToolCall { id: "1".to_owned(), name: name.to_owned(), arguments: arguments.to_owned() };
    Chosen { parts: vec![AnswerPart::Call(call)], logprobs: None }
}

/// The source. Each of its tools is called with `{}` and answers its own name.
#[derive(Clone, Default)]
pub struct ToyTools(Arc<Toys>);

#[derive(Default)]
struct Toys {
    tools: Mutex<Vec<ToolSpec>>,
    fails: Mutex<HashMap<String, String>>,
    answers: Mutex<HashMap<String, String>>,
    calls: Mutex<Vec<String>>,
    released: Notify,
}

impl ToyTools {
    /// With these tools.
    pub fn new(tools: &[(&str, Risk)]) -> Self {
        let toys = Self::default();
        let specs = tools.iter().map(|(name, risk)| ToolSpec {
            tool: Tool {
                name: (*name).to_owned(),
                description: format!("The tool {name}."),
                parameters: String::new(),
            },
            risk: *risk,
            is_repeatable: *risk == Risk::Read,
            reads_private: *risk == Risk::Read,
            brings_outside_text: *risk == Risk::Network,
        });
        *toys.0.tools.lock().unwrap_or_else(PoisonError::into_inner) = specs.collect();
        toys
    }

    /// From now on calls of this tool fail.
    pub fn fail(&self, name: &str, error: &str) {
        let mut fails = self.0.fails.lock().unwrap_or_else(PoisonError::into_inner);
        fails.insert(name.to_owned(), error.to_owned());
    }

    /// From now on this tool answers so.
    pub fn answer(&self, name: &str, text: &str) {
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(name.to_owned(), text.to_owned());
    }

    /// From now on what this tool answers may have been written by strangers.
    pub fn bring_outside_text(&self, name: &str) {
        let mut tools = self.0.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools
            .iter_mut()
            .filter(|spec| spec.tool.name == name)
            .for_each(|spec| spec.brings_outside_text = true);
    }

    /// Lets a call of the tool `hang` end.
    pub fn release(&self) {
        self.0.released.notify_one();
    }

    /// The names of the tools that were called, in order.
    pub fn calls(&self) -> Vec<String> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ToolSource for ToyTools {
    fn name(&self) -> &str {
        "toys"
    }

    fn tools(&self) -> Vec<ToolSpec> {
        self.0.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shown(&self, call: &ToolCall) -> String {
        format!("{} {}", call.name, call.arguments)
    }

    async fn call_telling(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        progress("half way".to_owned());
        self.call(order).await
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        let name = order.call.name;
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        if name == HANGING {
            self.0.released.notified().await;
        }
        let fails = self.0.fails.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        match fails {
            Some(text) => Outcome::Failed { text },
            None => {
                let answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
                Outcome::Done { text: answers.get(&name).cloned().unwrap_or(name) }
            }
        }
    }
}

impl ToolShed for ToyTools {
    fn sources(&self, _: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        vec![Arc::new(self.clone())]
    }
}

//! What a template is given: the conversation as OpenAI's messages, with stand-ins for what strangers wrote.
use super::texts::{Marks, Texts};
use crate::chat::ChatError;
use crate::chat::conversation::{Content, Conversation, Role, ToolCall, Turn};
use crate::chat::prompt::answered_tool;
use crate::chat::tool::{arguments, declaration};
use crate::chat::value::Value;

/// The texts of a conversation, and the values that stand for it.
#[derive(Debug)]
pub(super) struct Context<'m> {
    pub(super) texts: Texts,
    /// The texts that a prompt must not lack.
    pub(super) needed: Vec<usize>,
    marks: &'m Marks,
    media: usize,
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Vec<(String, Value)> {
    entries.map(|(key, value)| (key.to_owned(), value)).to_vec()
}

impl<'m> Context<'m> {
    /// `media`: how many pictures and recordings come before the turns.
    pub(super) fn new(marks: &'m Marks, media: usize) -> Self {
        Self { texts: Texts::default(), needed: Vec::new(), marks, media }
    }

    /// The variables of a template. `joins`: the instructions are joined to what the user says first.
    pub(super) fn conversation(
        &mut self,
        conversation: &Conversation,
        (system, turns): (&str, &[Turn]),
        joins: bool,
        (bos, eos): (Option<&str>, &str),
    ) -> Result<Value, ChatError> {
        let mut messages = Vec::new();
        let mut instructions = None;
        if !system.trim().is_empty() {
            let put = self.texts.put(system);
            self.needed.extend(put.number);
            if joins {
                instructions = Some(put.text);
            } else {
                let entries = dict([("role", text("system")), ("content", Value::Text(put.text))]);
                messages.push(Value::Dict(entries));
            }
        }
        for at in 0..turns.len() {
            messages.extend(self.message(turns, at, &mut instructions));
        }
        let tools = conversation.tools.iter().map(|tool| Ok(self.named(&declaration(tool)?)));
        let tools = tools.collect::<Result<Vec<_>, ChatError>>()?;
        Ok(Value::Dict(dict([
            ("messages", Value::List(messages)),
            ("tools", if tools.is_empty() { Value::Null } else { Value::List(tools) }),
            ("add_generation_prompt", Value::Bool(true)),
            ("enable_thinking", Value::Bool(conversation.thinking)),
            ("bos_token", text(bos.unwrap_or_default())),
            ("eos_token", text(eos)),
        ])))
    }

    fn message(&mut self, turns: &[Turn], at: usize, instructions: &mut Option<String>) -> Option<Value> {
        let turn = turns.get(at)?;
        let mut content = String::new();
        if turn.role == Role::User
            && let Some(instructions) = instructions.take()
        {
            content = instructions + "\n\n";
        }
        for part in &turn.content {
            match part {
                Content::Text(text) => {
                    let put = self.texts.put(text);
                    content.push_str(&put.text);
                    self.needed.extend(put.number.filter(|_| at + 1 == turns.len()));
                }
                Content::Image(_) | Content::Audio(_) => {
                    content.push_str(&Texts::media(self.media));
                    self.media += 1;
                }
            }
        }
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        };
        let mut message = dict([("role", text(role)), ("content", Value::Text(content))]);
        if !turn.thought.trim().is_empty() {
            let thought = Value::Text(self.texts.put(turn.thought.trim()).text);
            message.extend(dict([("reasoning_content", thought)]));
        }
        if !turn.calls.is_empty() {
            let calls =
                turn.calls.iter().enumerate().map(|(index, call)| self.call(call, call_id(at, index)));
            let calls = Value::List(calls.collect());
            message.extend(dict([("tool_calls", calls)]));
        }
        if turn.role == Role::Tool {
            let name = self.texts.put_name(answered_tool(turns, at).unwrap_or("unknown"), self.marks);
            let id = answered_id(turns, at);
            message.extend(dict([("tool_call_id", Value::Text(id)), ("name", Value::Text(name))]));
        }
        Some(Value::Dict(message))
    }

    fn call(&mut self, call: &ToolCall, id: String) -> Value {
        let arguments = self.named(&arguments(&call.arguments));
        let name = Value::Text(self.texts.put_name(&call.name, self.marks));
        let function = Value::Dict(dict([("name", name), ("arguments", arguments)]));
        Value::Dict(dict([("id", Value::Text(id)), ("type", text("function")), ("function", function)]))
    }

    /// A value with stand-ins for its texts and keys, but for plain names.
    fn named(&mut self, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
            Value::Text(text) => Value::Text(self.texts.put_name(text, self.marks)),
            Value::List(list) => Value::List(list.iter().map(|value| self.named(value)).collect()),
            Value::Dict(entries) => {
                let entry = |(key, value): &(String, Value)| {
                    (self.texts.put_name(key, self.marks), self.named(value))
                };
                Value::Dict(entries.iter().map(entry).collect())
            }
        }
    }
}

/// Nine letters and digits, which is what all templates take: some refuse the ids that clients choose.
fn call_id(turn: usize, call: usize) -> String {
    format!("c{:05}{:03}", turn % 100_000, call % 1000)
}

/// The id of the call that a tool's turn answers.
fn answered_id(turns: &[Turn], at: usize) -> String {
    let answers = turns.get(at).map_or("", |turn| turn.answers.as_str());
    let before = turns.get(..at).unwrap_or_default().iter().enumerate().rev();
    let mut found = before.filter_map(|(turn, of)| {
        let call = of.calls.iter().rposition(|call| !call.id.is_empty() && call.id == answers)?;
        Some(call_id(turn, call))
    });
    found.next().unwrap_or_else(|| call_id(at, 999))
}

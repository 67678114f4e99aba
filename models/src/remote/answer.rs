//! From the events of an OpenAI-compatible server to the parts of an answer. Pure.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{AnswerPart, ToolCall};
use crate::engine::{Chosen, Finish, TokenLogprob, Usage};

/// Most that one answer may say, in bytes: more than any context holds.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Most calls in one answer.
const CALLS_MAX: usize = 256;

/// Why an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerFault {
    /// The server itself says that it failed.
    #[error("{0}")]
    Told(String),
    #[error("an event that cannot be read: {0}")]
    Unreadable(String),
    #[error("more than {ANSWER_BYTES_MAX} bytes in one answer")]
    TooLong,
    #[error("more than {CALLS_MAX} calls in one answer")]
    TooManyCalls,
}

#[derive(Debug, Default, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    delta: Option<Delta>,
    /// Where a bare text is gone on with.
    text: Option<String>,
    finish_reason: Option<String>,
    /// vLLM: the text that ended the answer.
    stop_reason: Option<Value>,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
    /// The name at llama-server and older vLLM.
    reasoning_content: Option<String>,
    /// The name at newer vLLM.
    reasoning: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Debug, Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: u32,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Debug, Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Logprobs {
    content: Option<Vec<WireLogprob>>,
}

#[derive(Debug, Deserialize)]
struct WireLogprob {
    id: Option<i32>,
    #[serde(default)]
    token: String,
    bytes: Option<Vec<u8>>,
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<WireLogprob>,
}

#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

#[derive(Debug, Default)]
struct CallInMaking {
    id: String,
    name: String,
    arguments: String,
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub(super) struct Answer {
    calls: BTreeMap<u32, CallInMaking>,
    bytes: usize,
    finish: Option<Finish>,
    usage: Option<WireUsage>,
    /// Events with words, where the server does not count its tokens.
    events: u32,
}

impl Answer {
    /// Takes the data of one event. Answers what may be shown now, one entry for each event of ours.
    pub(super) fn take(&mut self, data: &str) -> Result<Vec<Chosen>, AnswerFault> {
        if data.trim() == "[DONE]" {
            return Ok(Vec::new());
        }
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|error| AnswerFault::Unreadable(error.to_string()))?;
        if let Some(error) = chunk.error {
            return Err(AnswerFault::Told(told(&error)));
        }
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(Vec::new()) };
        self.finish = finish(&choice).or(self.finish);
        self.bytes += data.len();
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(AnswerFault::TooLong);
        }
        let mut parts = Vec::new();
        parts.extend(choice.text.filter(|text| !text.is_empty()).map(AnswerPart::Text));
        if let Some(delta) = choice.delta {
            let thought = delta.reasoning_content.or(delta.reasoning).filter(|text| !text.is_empty());
            parts.extend(thought.map(AnswerPart::Thought));
            parts.extend(delta.content.filter(|text| !text.is_empty()).map(AnswerPart::Text));
            for call in delta.tool_calls.unwrap_or_default() {
                self.call(call)?;
            }
        }
        let logprobs = choice.logprobs.and_then(|logprobs| logprobs.content).unwrap_or_default();
        let chosen = chosen(parts, logprobs);
        self.events = self.events.saturating_add(u32::try_from(chosen.len()).unwrap_or(u32::MAX));
        Ok(chosen)
    }

    fn call(&mut self, delta: CallDelta) -> Result<(), AnswerFault> {
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(&delta.index) {
            return Err(AnswerFault::TooManyCalls);
        }
        let call = self.calls.entry(delta.index).or_default();
        if let Some(id) = delta.id.filter(|_| call.id.is_empty()) {
            call.id = id;
        }
        if let Some(function) = delta.function {
            call.name.push_str(&function.name.unwrap_or_default());
            call.arguments.push_str(&function.arguments.unwrap_or_default());
        }
        Ok(())
    }

    /// The stream has ended. Answers the calls and why the answer ended; `None`: the server did not say, so it broke off.
    pub(super) fn finish(&mut self) -> Option<(Chosen, Finish)> {
        let finish = self.finish?;
        let calls = std::mem::take(&mut self.calls).into_iter();
        let parts = calls.map(|(index, call)| whole_call(index, call, finish)).collect();
        Some((Chosen { parts, logprobs: None }, finish))
    }

    /// What it cost, as far as the server has said so.
    pub(super) fn usage(&self) -> Usage {
        let told = self.usage.as_ref();
        let cached = told.and_then(|usage| usage.prompt_tokens_details.as_ref()?.cached_tokens).unwrap_or(0);
        let prompt_tokens = told.map_or(0, |usage| usage.prompt_tokens);
        Usage {
            prompt_tokens,
            cached_tokens: cached.min(prompt_tokens),
            answer_tokens: told.map_or(self.events, |usage| usage.completion_tokens),
            ..Usage::default()
        }
    }
}

fn finish(choice: &Choice) -> Option<Finish> {
    Some(match choice.finish_reason.as_deref()? {
        "length" => Finish::Length,
        "stop" if matches!(choice.stop_reason, Some(Value::String(_))) => Finish::StopText,
        _ => Finish::EndOfTurn,
    })
}

/// The words come with the last of the tokens that the event is of.
fn chosen(parts: Vec<AnswerPart>, logprobs: Vec<WireLogprob>) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = logprobs
        .into_iter()
        .map(|mut logprob| {
            let likeliest = std::mem::take(&mut logprob.top_logprobs).into_iter().map(token).collect();
            Chosen { parts: Vec::new(), logprobs: Some((token(logprob), likeliest)) }
        })
        .collect();
    match chosen.last_mut() {
        Some(last) => last.parts = parts,
        None if parts.is_empty() => {}
        None => chosen.push(Chosen { parts, logprobs: None }),
    }
    chosen
}

fn token(wire: WireLogprob) -> TokenLogprob {
    let bytes = wire.bytes.unwrap_or_else(|| wire.token.into_bytes());
    TokenLogprob { token: wire.id.unwrap_or(0), bytes, logprob: wire.logprob }
}

fn whole_call(index: u32, call: CallInMaking, finish: Finish) -> AnswerPart {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
    let fault = match serde_json::from_str::<Value>(arguments) {
        _ if call.name.is_empty() => "the name of the tool is missing".to_owned(),
        Ok(Value::Object(_)) => {
            let id = if call.id.is_empty() { format!("call_{index}") } else { call.id };
            return AnswerPart::Call(ToolCall { id, name: call.name, arguments: arguments.to_owned() });
        }
        Ok(_) => "the arguments are no object".to_owned(),
        Err(_) if finish == Finish::Length => "the answer was cut off inside the call".to_owned(),
        Err(error) => format!("the arguments cannot be read: {error}"),
    };
    AnswerPart::BadCall { written: format!("{}{}", call.name, call.arguments), fault }
}

/// What a server says is wrong, in OpenAI's form or any other.
pub(super) fn told(error: &Value) -> String {
    let message = error.get("message").unwrap_or(error);
    message.as_str().map_or_else(|| message.to_string(), str::to_owned)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;

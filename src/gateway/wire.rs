//! Answers as OpenAI's clients read them, whole and in pieces, for chats and for completions.
use archond_actors::domain::{AnswerPart, FinishReason, TokenLogprob, ToolCall, Usage};
use serde_json::{Value, json};

use super::answer::Ending;

/// What computes, for clients that look whether it changed.
const FINGERPRINT: &str = concat!("archond-", env!("CARGO_PKG_VERSION"));

/// Which endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Completion,
}

/// Writes the answer to one request.
pub(super) struct Writer {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) include_usage: bool,
    /// Calls so far.
    calls: usize,
    text: String,
    thought: String,
    whole_calls: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Writer {
    pub(super) fn new(kind: Kind, number: u64, created: u64, model: String, include_usage: bool) -> Self {
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        Self {
            kind,
            id: format!("{prefix}-{created}-{number}"),
            created,
            model,
            include_usage,
            calls: 0,
            text: String::new(),
            thought: String::new(),
            whole_calls: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// The first piece of a stream.
    pub(super) fn opening(&self) -> Option<Value> {
        let delta = json!({ "role": "assistant", "content": null });
        (self.kind == Kind::Chat).then(|| self.chunk(&delta, None, None))
    }

    pub(super) fn logprob(&mut self, token: &TokenLogprob, likeliest: &[TokenLogprob]) {
        let likeliest: Vec<Value> = likeliest.iter().map(logprob).collect();
        let mut entry = logprob(token);
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("top_logprobs".into(), likeliest.into());
        }
        self.logprobs.push(entry);
    }

    /// A part as a piece of a stream.
    pub(super) fn piece(&mut self, part: AnswerPart) -> Value {
        let logprobs = std::mem::take(&mut self.logprobs);
        let logprobs = (!logprobs.is_empty()).then(|| logprobs_of(self.kind, &logprobs));
        let delta = match part {
            AnswerPart::Text(text) | AnswerPart::BadCall { written: text, .. } => json!({ "content": text }),
            AnswerPart::Thought(text) => json!({ "reasoning_content": text }),
            AnswerPart::Call(call) => {
                let mut call = tool_call(&call);
                if let Some(fields) = call.as_object_mut() {
                    fields.insert("index".into(), self.calls.into());
                }
                self.calls += 1;
                json!({ "tool_calls": [call] })
            }
        };
        self.chunk(&delta, None, logprobs.as_ref())
    }

    /// The last pieces of a stream.
    pub(super) fn closing(&mut self, ending: &Ending) -> Vec<Value> {
        let logprobs = std::mem::take(&mut self.logprobs);
        let logprobs = (!logprobs.is_empty()).then(|| logprobs_of(self.kind, &logprobs));
        let mut last = self.chunk(&json!({}), Some(self.finish_reason(ending.reason)), logprobs.as_ref());
        if let Some(fields) = last.as_object_mut() {
            fields.insert("timings".into(), timings(&ending.usage));
        }
        if !self.include_usage {
            return vec![last];
        }
        let mut cost = self.chunk(&json!({}), None, None);
        if let Some(fields) = cost.as_object_mut() {
            fields.insert("choices".into(), json!([]));
            fields.insert("usage".into(), usage(&ending.usage));
            fields.insert("timings".into(), timings(&ending.usage));
        }
        vec![last, cost]
    }

    /// Keeps a part for the whole answer.
    pub(super) fn keep(&mut self, part: AnswerPart) {
        match part {
            AnswerPart::Text(text) | AnswerPart::BadCall { written: text, .. } => self.text.push_str(&text),
            AnswerPart::Thought(text) => self.thought.push_str(&text),
            AnswerPart::Call(call) => {
                self.calls += 1;
                self.whole_calls.push(tool_call(&call));
            }
        }
    }

    /// The whole answer.
    pub(super) fn whole(mut self, ending: &Ending) -> Value {
        let finish_reason = self.finish_reason(ending.reason);
        let logprobs = std::mem::take(&mut self.logprobs);
        let logprobs = (!logprobs.is_empty()).then(|| logprobs_of(self.kind, &logprobs));
        let choice = match self.kind {
            Kind::Completion => json!({
                "index": 0, "text": self.text, "finish_reason": finish_reason, "logprobs": logprobs,
            }),
            Kind::Chat => {
                let empty = self.text.is_empty() && self.calls > 0;
                let content = if empty { Value::Null } else { self.text.into() };
                let mut message = json!({ "role": "assistant", "content": content });
                if let Some(fields) = message.as_object_mut() {
                    if !self.thought.is_empty() {
                        fields.insert("reasoning_content".into(), self.thought.into());
                    }
                    if !self.whole_calls.is_empty() {
                        fields.insert("tool_calls".into(), self.whole_calls.into());
                    }
                }
                json!({ "index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs })
            }
        };
        json!({
            "id": self.id,
            "object": if self.kind == Kind::Chat { "chat.completion" } else { "text_completion" },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [choice],
            "usage": usage(&ending.usage),
            "timings": timings(&ending.usage),
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>, logprobs: Option<&Value>) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs,
            }),
            Kind::Completion => json!({
                "index": 0,
                "text": delta.get("content").and_then(Value::as_str).unwrap_or_default(),
                "finish_reason": finish_reason,
                "logprobs": logprobs,
            }),
        };
        json!({
            "id": self.id,
            "object": if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [choice],
        })
    }

    fn finish_reason(&self, reason: FinishReason) -> &'static str {
        match reason {
            FinishReason::Length => "length",
            FinishReason::EndOfTurn if self.calls > 0 => "tool_calls",
            FinishReason::EndOfTurn | FinishReason::StopText | FinishReason::Cancelled => "stop",
        }
    }
}

fn tool_call(call: &ToolCall) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    })
}

fn logprob(token: &TokenLogprob) -> Value {
    json!({
        "id": token.token.0,
        "token": String::from_utf8_lossy(&token.bytes),
        "bytes": token.bytes,
        "logprob": token.logprob,
    })
}

/// Chats have one object per token; completions have had lists since before there were chats.
fn logprobs_of(kind: Kind, entries: &[Value]) -> Value {
    let list = |field: &str| -> Vec<Value> { entries.iter().map(|entry| entry[field].clone()).collect() };
    match kind {
        Kind::Chat => json!({ "content": entries }),
        Kind::Completion => {
            let top = entries.iter().map(|entry| {
                let pairs = entry["top_logprobs"].as_array().into_iter().flatten();
                let pairs =
                    pairs.filter_map(|one| Some((one["token"].as_str()?.to_owned(), one["logprob"].clone())));
                Value::Object(pairs.collect())
            });
            json!({
                "content": entries,
                "tokens": list("token"),
                "token_logprobs": list("logprob"),
                "top_logprobs": top.collect::<Vec<_>>(),
            })
        }
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.answer_tokens,
        "total_tokens": usage.context_tokens(),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}

/// What llama-server calls `timings`.
fn timings(usage: &Usage) -> Value {
    let read = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
    let per = |ms: u32, tokens: u32| if tokens == 0 { 0.0 } else { f64::from(ms) / f64::from(tokens) };
    let rate = |ms: u32, tokens: u32| if ms == 0 { 0.0 } else { f64::from(tokens) * 1000.0 / f64::from(ms) };
    json!({
        "cache_n": usage.cached_tokens,
        "prompt_n": read,
        "prompt_ms": usage.prefill_ms,
        "prompt_per_token_ms": per(usage.prefill_ms, read),
        "prompt_per_second": rate(usage.prefill_ms, read),
        "predicted_n": usage.answer_tokens,
        "predicted_ms": usage.decode_ms,
        "predicted_per_token_ms": per(usage.decode_ms, usage.answer_tokens),
        "predicted_per_second": rate(usage.decode_ms, usage.answer_tokens),
        "draft_n": usage.drafted_tokens,
        "draft_n_accepted": usage.accepted_tokens,
    })
}

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

/// Writes the answers to one request.
pub(super) struct Writer {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) include_usage: bool,
    /// By their `index`.
    answers: Vec<Written>,
}

/// What was written of one answer.
#[derive(Default)]
struct Written {
    /// Calls so far.
    calls: usize,
    text: String,
    thought: String,
    whole_calls: Vec<Value>,
    logprobs: Vec<Value>,
    reason: Option<&'static str>,
}

impl Writer {
    pub(super) fn new(kind: Kind, number: u64, created: u64, model: String, include_usage: bool) -> Self {
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        let id = format!("{prefix}-{created}-{number}");
        Self { kind, id, created, model, include_usage, answers: Vec::new() }
    }

    /// For so many answers.
    pub(super) fn expect(&mut self, answers: usize) {
        self.answers.resize_with(answers, Written::default);
    }

    /// The first pieces of a stream.
    pub(super) fn opening(&self) -> Vec<Value> {
        let delta = json!({ "role": "assistant", "content": null });
        let is_chat = self.kind == Kind::Chat;
        (0..self.answers.len()).filter(|_| is_chat).map(|at| self.chunk(at, &delta, None, None)).collect()
    }

    pub(super) fn logprob(&mut self, at: usize, token: &TokenLogprob, likeliest: &[TokenLogprob]) {
        let likeliest: Vec<Value> = likeliest.iter().map(logprob).collect();
        let mut entry = logprob(token);
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("top_logprobs".into(), likeliest.into());
        }
        if let Some(written) = self.answers.get_mut(at) {
            written.logprobs.push(entry);
        }
    }

    /// A part of an answer as a piece of a stream.
    pub(super) fn piece(&mut self, at: usize, part: AnswerPart) -> Value {
        let logprobs = self.take_logprobs(at);
        let delta = match part {
            AnswerPart::Text(text) | AnswerPart::BadCall { written: text, .. } => json!({ "content": text }),
            AnswerPart::Thought(text) => json!({ "reasoning_content": text }),
            AnswerPart::Call(call) => {
                let mut call = tool_call(&call);
                if let (Some(fields), Some(written)) = (call.as_object_mut(), self.answers.get_mut(at)) {
                    fields.insert("index".into(), written.calls.into());
                    written.calls += 1;
                }
                json!({ "tool_calls": [call] })
            }
        };
        self.chunk(at, &delta, None, logprobs.as_ref())
    }

    /// The last piece of an answer in a stream.
    pub(super) fn closing(&mut self, at: usize, ending: &Ending) -> Value {
        let logprobs = self.take_logprobs(at);
        self.end(at, ending);
        let reason = self.answers.get(at).and_then(|written| written.reason);
        let mut last = self.chunk(at, &json!({}), reason, logprobs.as_ref());
        if let Some(fields) = last.as_object_mut() {
            fields.insert("timings".into(), timings(&ending.usage));
        }
        last
    }

    /// The last piece of a stream, where it was asked for: what all its answers cost together.
    pub(super) fn cost(&self, cost: &Usage) -> Option<Value> {
        let mut last = self.include_usage.then(|| self.frame("chat.completion.chunk", &json!([])))?;
        if let Some(fields) = last.as_object_mut() {
            fields.insert("usage".into(), usage(cost));
            fields.insert("timings".into(), timings(cost));
        }
        Some(last)
    }

    /// Keeps a part of an answer for the whole.
    pub(super) fn keep(&mut self, at: usize, part: AnswerPart) {
        let Some(written) = self.answers.get_mut(at) else { return };
        match part {
            AnswerPart::Text(text) | AnswerPart::BadCall { written: text, .. } => {
                written.text.push_str(&text)
            }
            AnswerPart::Thought(text) => written.thought.push_str(&text),
            AnswerPart::Call(call) => {
                written.calls += 1;
                written.whole_calls.push(tool_call(&call));
            }
        }
    }

    /// Keeps how an answer ended.
    pub(super) fn end(&mut self, at: usize, ending: &Ending) {
        let Some(written) = self.answers.get_mut(at) else { return };
        written.reason = Some(match ending.reason {
            FinishReason::Length => "length",
            FinishReason::EndOfTurn if written.calls > 0 => "tool_calls",
            FinishReason::EndOfTurn | FinishReason::StopText | FinishReason::Cancelled => "stop",
        });
    }

    /// All answers, and what they cost together.
    pub(super) fn whole(mut self, cost: &Usage) -> Value {
        let answers = std::mem::take(&mut self.answers);
        let choices = answers.into_iter().enumerate().map(|(at, written)| written.choice(self.kind, at));
        let mut whole = self.frame("chat.completion", &choices.collect());
        if let Some(fields) = whole.as_object_mut() {
            fields.insert("usage".into(), usage(cost));
            fields.insert("timings".into(), timings(cost));
        }
        whole
    }

    fn take_logprobs(&mut self, at: usize) -> Option<Value> {
        let logprobs = std::mem::take(&mut self.answers.get_mut(at)?.logprobs);
        (!logprobs.is_empty()).then(|| logprobs_of(self.kind, &logprobs))
    }

    fn chunk(
        &self,
        at: usize,
        delta: &Value,
        finish_reason: Option<&str>,
        logprobs: Option<&Value>,
    ) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": at, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs,
            }),
            Kind::Completion => json!({
                "index": at,
                "text": delta.get("content").and_then(Value::as_str).unwrap_or_default(),
                "finish_reason": finish_reason,
                "logprobs": logprobs,
            }),
        };
        self.frame("chat.completion.chunk", &json!([choice]))
    }

    /// What stands around choices; completions have one name for it, whole or not.
    fn frame(&self, chat_object: &str, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": if self.kind == Kind::Chat { chat_object } else { "text_completion" },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        })
    }
}

impl Written {
    /// The whole answer.
    fn choice(self, kind: Kind, index: usize) -> Value {
        let finish_reason = self.reason;
        let logprobs = (!self.logprobs.is_empty()).then(|| logprobs_of(kind, &self.logprobs));
        if kind == Kind::Completion {
            return json!({
                "index": index, "text": self.text, "finish_reason": finish_reason, "logprobs": logprobs,
            });
        }
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
        json!({ "index": index, "message": message, "finish_reason": finish_reason, "logprobs": logprobs })
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

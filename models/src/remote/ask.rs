//! From a request to the body that an OpenAI-compatible server takes. Pure.
//!
//! Fields beyond OpenAI's own are those that llama-server and vLLM know; other servers ignore them.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::chat::{AnswerForm, CallRule, Content, Conversation, Role, Shape, Tool, ToolCall, Turn};
use crate::engine::{Prompt, Request, SamplingParams, Stretch};
use crate::media::{AudioKind, ImageKind};

/// The least that a server's `logit_bias` takes: such a token is never chosen.
const BIAS_MIN: f32 = -100.0;

/// What a server cannot be asked for. It is no fault of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CannotAsk {
    #[error("a model on another server takes no GBNF grammar; a JSON schema does for most")]
    Grammar,
    #[error("the tokens of a model on another server are not looked up here; ask that server itself")]
    Tokens,
    #[error("a model on another server takes text or tokens, not both in one prompt")]
    Mixture,
    #[error("a model on another server does not tell how likely the tokens of a bare text are")]
    Logprobs,
    #[error("the answer broke off where it cannot be gone on with on another server; ask again")]
    Resume,
    #[error("a schema that is no JSON")]
    Schema,
}

/// One request as the server takes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    /// Below the server's address.
    pub(super) path: &'static str,
    pub(super) body: Map<String, Value>,
}

/// Where chats are asked for.
pub(super) const CHAT: &str = "v1/chat/completions";
/// Where bare texts are gone on with.
pub(super) const TEXT: &str = "v1/completions";
/// Where vectors are asked for.
pub(super) const VECTORS: &str = "v1/embeddings";

/// The body for a request. `told` is what the reader has of the answer already; the server goes on behind it.
pub(super) fn generation(model: &str, request: &Request, told: &str) -> Result<Ask, CannotAsk> {
    let mut ask = match &request.prompt {
        Prompt::Chat(conversation) => chat(conversation, &request.form, told)?,
        Prompt::Text(text) => bare(&json!(format!("{text}{told}")), &request.form)?,
        Prompt::Passage(passage) => bare(&self::passage(passage, told)?, &request.form)?,
        Prompt::Inquiry(_) => return Err(CannotAsk::Tokens),
    };
    let (body, form) = (&mut ask.body, &request.form);
    sampling(body, &request.sampling);
    body.insert("model".into(), model.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    body.insert("max_tokens".into(), request.answer_tokens_max.into());
    if !form.stop.is_empty() {
        body.insert("stop".into(), json!(form.stop));
    }
    if form.ignores_end {
        body.insert("ignore_eos".into(), true.into());
    }
    if !form.bias.is_empty() {
        let bias = form.bias.iter().map(|(token, bias)| (token.to_string(), json!(bias.max(BIAS_MIN))));
        body.insert("logit_bias".into(), Value::Object(bias.collect()));
    }
    shape(body, &form.shape)?;
    Ok(ask)
}

/// The body by which the length of a chat's prompt is asked for.
pub(super) fn to_count(chat: &Map<String, Value>) -> Map<String, Value> {
    let counts = [
        "model",
        "messages",
        "tools",
        "chat_template_kwargs",
        "continue_final_message",
        "add_generation_prompt",
    ];
    let fields = chat.iter().filter(|(name, _)| counts.contains(&name.as_str()));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The body for the vectors of passages.
pub(super) fn vectors(model: &str, passages: &[Vec<Stretch>]) -> Result<Ask, CannotAsk> {
    let inputs: Result<Vec<Value>, CannotAsk> = passages.iter().map(|one| passage(one, "")).collect();
    let body = json!({ "model": model, "input": inputs?, "encoding_format": "float" });
    Ok(Ask { path: VECTORS, body: object(body) })
}

fn chat(conversation: &Conversation, form: &AnswerForm, told: &str) -> Result<Ask, CannotAsk> {
    let mut messages = Vec::new();
    if !conversation.system.is_empty() {
        messages.push(json!({ "role": "system", "content": conversation.system }));
    }
    messages.extend(conversation.turns.iter().map(message));
    let continues = conversation.turns.last().is_some_and(|turn| turn.role == Role::Assistant);
    match (told.is_empty(), continues, messages.last_mut()) {
        (true, ..) => {}
        (false, true, Some(last)) => {
            let begun = last["content"].as_str().ok_or(CannotAsk::Resume)?;
            last["content"] = format!("{begun}{told}").into();
        }
        (false, ..) => messages.push(json!({ "role": "assistant", "content": told })),
    }
    let mut body = object(json!({
        "messages": messages,
        "chat_template_kwargs": { "enable_thinking": conversation.thinking },
    }));
    if continues || !told.is_empty() {
        // llama-server and archond go on with an assistant's last message by themselves; vLLM wants to be told.
        body.insert("continue_final_message".into(), true.into());
        body.insert("add_generation_prompt".into(), false.into());
    }
    if let Some(top) = form.logprobs {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), top.into());
    }
    if !conversation.tools.is_empty() {
        let tools: Result<Vec<Value>, CannotAsk> = conversation.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools?.into());
        body.insert("parallel_tool_calls".into(), form.parallel_calls.into());
        let choice = match &form.calls {
            CallRule::Free => json!("auto"),
            CallRule::Never => json!("none"),
            CallRule::Required => json!("required"),
            CallRule::Named(name) => json!({ "type": "function", "function": { "name": name } }),
        };
        body.insert("tool_choice".into(), choice);
    }
    Ok(Ask { path: CHAT, body })
}

fn bare(prompt: &Value, form: &AnswerForm) -> Result<Ask, CannotAsk> {
    if form.logprobs.is_some() {
        return Err(CannotAsk::Logprobs);
    }
    Ok(Ask { path: TEXT, body: object(json!({ "prompt": prompt })) })
}

fn passage(passage: &[Stretch], told: &str) -> Result<Value, CannotAsk> {
    let tokens: Option<Vec<i32>> = passage
        .iter()
        .map(|stretch| match stretch {
            Stretch::Token(token) => Some(*token),
            Stretch::Text(_) => None,
        })
        .collect();
    match tokens {
        Some(tokens) if !tokens.is_empty() => {
            if told.is_empty() {
                Ok(json!(tokens))
            } else {
                Err(CannotAsk::Resume)
            }
        }
        _ => {
            let texts: Option<String> = passage
                .iter()
                .map(|stretch| match stretch {
                    Stretch::Text(text) => Some(text.as_str()),
                    Stretch::Token(_) => None,
                })
                .collect();
            texts.map(|text| json!(text + told)).ok_or(CannotAsk::Mixture)
        }
    }
}

fn message(turn: &Turn) -> Value {
    let role = match turn.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let is_text = turn.content.iter().all(|part| matches!(part, Content::Text(_)));
    let content = match is_text {
        true => json!(turn.words()),
        false => turn.content.iter().map(part).collect(),
    };
    let mut message = object(json!({ "role": role, "content": content }));
    if !turn.thought.is_empty() {
        message.insert("reasoning_content".into(), json!(turn.thought));
    }
    if !turn.calls.is_empty() {
        message.insert("tool_calls".into(), turn.calls.iter().map(call).collect());
    }
    if turn.role == Role::Tool {
        message.insert("tool_call_id".into(), json!(turn.answers));
    }
    Value::Object(message)
}

fn part(content: &Content) -> Value {
    match content {
        Content::Text(text) => json!({ "type": "text", "text": text }),
        Content::Image(bytes) => {
            let kind = match ImageKind::of(bytes) {
                Some(ImageKind::Jpeg) => "jpeg",
                Some(ImageKind::Webp) => "webp",
                Some(ImageKind::Gif) => "gif",
                Some(ImageKind::Png) | None => "png",
            };
            let url = format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
        Content::Audio(bytes) => {
            let format = match AudioKind::of(bytes) {
                Some(AudioKind::Opus) => "ogg",
                Some(AudioKind::Wav) | None => "wav",
            };
            let data = BASE64_STANDARD.encode(bytes);
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
        }
    }
}

fn call(call: &ToolCall) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn tool(tool: &Tool) -> Result<Value, CannotAsk> {
    let mut function = json!({ "name": tool.name, "description": tool.description });
    if let Some(fields) = function.as_object_mut().filter(|_| !tool.parameters.trim().is_empty()) {
        let parameters: Value = serde_json::from_str(&tool.parameters).map_err(|_| CannotAsk::Schema)?;
        fields.insert("parameters".into(), parameters);
    }
    Ok(json!({ "type": "function", "function": function }))
}

fn sampling(body: &mut Map<String, Value>, params: &SamplingParams) {
    let fields = [
        ("temperature", params.temperature),
        ("top_p", params.top_p),
        ("min_p", params.min_p),
        ("presence_penalty", params.presence_penalty),
        ("frequency_penalty", params.frequency_penalty),
        // The same under the names of llama-server and of vLLM.
        ("repeat_penalty", params.repeat_penalty),
        ("repetition_penalty", params.repeat_penalty),
    ];
    // As the decimal that was set: 0.7, not 0.699999988079071.
    let decimal = |value: f32| value.to_string().parse::<f64>().unwrap_or(value.into());
    body.extend(fields.map(|(name, value)| (name.to_owned(), json!(decimal(value)))));
    body.insert("top_k".into(), params.top_k.into());
    if let Some(seed) = params.seed {
        body.insert("seed".into(), seed.into());
    }
}

fn shape(body: &mut Map<String, Value>, shape: &Shape) -> Result<(), CannotAsk> {
    let format = match shape {
        Shape::Free => return Ok(()),
        Shape::JsonObject => json!({ "type": "json_object" }),
        Shape::JsonSchema(schema) => {
            let schema: Value = serde_json::from_str(schema).map_err(|_| CannotAsk::Schema)?;
            json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": true } })
        }
        Shape::Grammar(_) => return Err(CannotAsk::Grammar),
    };
    body.insert("response_format".into(), format);
    Ok(())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;

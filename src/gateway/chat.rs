//! `/v1/chat/completions`: from its JSON to a conversation with wishes for the answer.
use std::sync::Arc;

use archond_actors::domain::{
    AnswerForm, CallRule, ChatRole, ChatTurn, Content, Conversation, Prompt, Sampling, Tool, ToolCall,
};
use archond_models::media::{AudioKind, ImageKind, MEDIA_BYTES_MAX, MEDIA_MAX, MEDIUM_BYTES_MAX};
use base64::Engine as _;
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::wishes::{self, Telling};

/// Most tools of one request: all their schemas stand in the prompt.
const TOOLS_MAX: usize = 256;

/// A chat request that was read.
pub(super) struct ChatRequest {
    pub(super) prompt: Prompt,
    pub(super) form: AnswerForm,
    pub(super) sampling: Sampling,
    pub(super) answer_tokens_max: u32,
    pub(super) telling: Telling,
}

pub(super) fn read(fields: &Fields<'_>) -> Result<ChatRequest, ApiError> {
    let conversation = conversation(fields)?;
    let form = AnswerForm {
        calls: call_rule(fields, &conversation.tools)?,
        // As at llama-server, and not as at OpenAI: small models call again and again where they may.
        parallel_calls: fields.flag("parallel_tool_calls")?.unwrap_or(false),
        logprobs: logprobs(fields)?,
        ..wishes::form(fields)?
    };
    Ok(ChatRequest {
        prompt: Prompt::Chat(conversation),
        form,
        sampling: wishes::sampling(fields)?,
        answer_tokens_max: wishes::answer_tokens_max(fields)?,
        telling: wishes::telling(fields)?,
    })
}

/// The messages and the tools of a request.
pub(super) fn conversation(fields: &Fields<'_>) -> Result<Conversation, ApiError> {
    let messages = fields.list("messages")?.ok_or_else(|| fields.missing("messages"))?;
    let mut turns = Vec::with_capacity(messages.len());
    for (number, message) in messages.iter().enumerate() {
        turns.push(turn(&Fields::of(message, &format!("messages[{number}]"))?)?);
    }
    bound_media(fields, &turns)?;
    // What stands first is how the model is set up; what follows is a word in between.
    let sets_up = turns.first().is_some_and(|turn| turn.role == ChatRole::System);
    let system = if sets_up { turns.remove(0).words() } else { String::new() };
    if turns.is_empty() {
        return Err(fields.fault("messages", "needs at least one message besides the system's"));
    }
    let goes_on = fields.flag("continue_final_message")?.unwrap_or(false);
    if goes_on && fields.flag("add_generation_prompt")?.unwrap_or(false) {
        return Err(fields.fault("continue_final_message", "excludes `add_generation_prompt`"));
    }
    match turns.as_slice() {
        [.., last] if goes_on && last.role != ChatRole::Assistant => {
            return Err(fields.fault("continue_final_message", "needs a last message of the assistant"));
        }
        [.., before, last] if [before, last].iter().all(|turn| turn.role == ChatRole::Assistant) => {
            return Err(fields.fault("messages", "must not end with two messages of the assistant"));
        }
        _ => {}
    }
    let tools = tools(fields)?;
    Ok(Conversation { system: system.into(), turns, tools: tools.into(), thinking: thinking(fields)? })
}

/// The `content` of an object, which may be text alone.
pub(super) fn text_content(fields: &Fields<'_>) -> Result<String, ApiError> {
    if fields.list("content")?.is_none() {
        return Err(fields.missing("content"));
    }
    let mut whole = String::new();
    for content in content(fields, ChatRole::User)? {
        match content {
            Content::Text(text) => whole.push_str(&text),
            Content::Image(_) | Content::Audio(_) => {
                return Err(fields.fault("content", "must be text alone"));
            }
        }
    }
    Ok(whole)
}

/// The last message of the user, for an Archon, who knows what was before.
pub(super) fn last_user_text(fields: &Fields<'_>) -> Result<String, ApiError> {
    let messages = fields.list("messages")?.ok_or_else(|| fields.missing("messages"))?;
    let mut last = None;
    for (number, message) in messages.iter().enumerate() {
        let turn = turn(&Fields::of(message, &format!("messages[{number}]"))?)?;
        if turn.role == ChatRole::User {
            last = Some(turn);
        }
    }
    let last = last.ok_or_else(|| fields.fault("messages", "needs a message of the user"))?;
    if last.content.iter().any(|content| !matches!(content, Content::Text(_))) {
        return Err(fields.fault("messages", "must be text alone: Archons do not take media by this road"));
    }
    Ok(last.words())
}

fn turn(fields: &Fields<'_>) -> Result<ChatTurn, ApiError> {
    let role = match fields.required_text("role")? {
        "system" | "developer" => ChatRole::System,
        "user" => ChatRole::User,
        "assistant" => ChatRole::Assistant,
        "tool" | "function" => ChatRole::Tool,
        _ => return Err(fields.fault("role", "must be system, developer, user, assistant or tool")),
    };
    let calls = match fields.list("tool_calls")? {
        Some(calls) if role == ChatRole::Assistant => {
            let read = |(number, call)| {
                tool_call(&Fields::of(call, &fields.name(&format!("tool_calls[{number}]")))?)
            };
            calls.iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
        _ => Vec::new(),
    };
    let content = content(fields, role)?;
    if content.is_empty() && calls.is_empty() && role != ChatRole::Assistant {
        return Err(fields.missing("content"));
    }
    let answers: Arc<str> = match role {
        ChatRole::Tool => fields.required_text("tool_call_id")?.into(),
        _ => "".into(),
    };
    let thought = fields.text("reasoning_content")?.unwrap_or_default().into();
    Ok(ChatTurn { role, content, thought, calls, answers })
}

fn content(fields: &Fields<'_>, role: ChatRole) -> Result<Vec<Content>, ApiError> {
    match fields.get("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Content::Text(text.as_str().into())]),
        Some(Value::Array(parts)) => {
            let read = |(number, value)| {
                part(&Fields::of(value, &fields.name(&format!("content[{number}]")))?, role)
            };
            parts.iter().enumerate().map(read).collect()
        }
        Some(_) => Err(fields.fault("content", "must be a string or a list of parts")),
    }
}

fn part(fields: &Fields<'_>, role: ChatRole) -> Result<Content, ApiError> {
    let kind = fields.required_text("type")?;
    if matches!(kind, "image_url" | "input_audio") && role != ChatRole::User {
        return Err(fields.fault("type", "may be media in the user's messages only"));
    }
    match kind {
        "text" => Ok(Content::Text(fields.required_text("text")?.into())),
        "refusal" => Ok(Content::Text(fields.required_text("refusal")?.into())),
        "image_url" => {
            let (group, url);
            let (owner, field) = match fields.get("image_url") {
                Some(Value::String(_)) => (fields, "image_url"),
                _ => {
                    group = fields.group("image_url")?.ok_or_else(|| fields.missing("image_url"))?;
                    (&group, "url")
                }
            };
            url = owner.required_text(field)?;
            let words = "must be a `data:` URL with the picture in base64: nothing is fetched from elsewhere";
            let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
            let (media_type, data) = data.ok_or_else(|| owner.fault(field, words))?;
            let declared = media_type.split(';').next().and_then(ImageKind::named);
            let declared = declared.ok_or_else(|| {
                owner.fault(field, "must be of the type image/png, image/jpeg, image/webp or image/gif")
            })?;
            let bytes = decode(owner, field, data)?;
            match ImageKind::of(&bytes) {
                Some(found) if found == declared => Ok(Content::Image(bytes)),
                Some(found) => {
                    Err(owner.fault(field, &format!("says that it is {declared}, and is {found}")))
                }
                None => Err(owner.fault(field, &format!("says that it is {declared}, and is not"))),
            }
        }
        "input_audio" => {
            let audio = fields.group("input_audio")?.ok_or_else(|| fields.missing("input_audio"))?;
            if audio.required_text("format")? != "wav" {
                return Err(audio.fault("format", "must be wav"));
            }
            let bytes = decode(&audio, "data", audio.required_text("data")?)?;
            match AudioKind::of(&bytes) {
                Some(AudioKind::Wav) => Ok(Content::Audio(bytes)),
                Some(AudioKind::Opus) | None => Err(audio.fault("data", "says that it is WAV, and is not")),
            }
        }
        _ => Err(fields.fault("type", "must be text, image_url or input_audio")),
    }
}

fn decode(fields: &Fields<'_>, field: &str, data: &str) -> Result<Arc<[u8]>, ApiError> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim());
    let bytes: Arc<[u8]> = bytes.map_err(|_| fields.fault(field, "is not base64"))?.into();
    if bytes.len() > MEDIUM_BYTES_MAX {
        return Err(fields.fault(field, &format!("may have {} MiB at most", MEDIUM_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

/// What travels to the worker in one message.
fn bound_media(fields: &Fields<'_>, turns: &[ChatTurn]) -> Result<(), ApiError> {
    let media = turns.iter().flat_map(|turn| &turn.content).filter_map(|content| match content {
        Content::Text(_) => None,
        Content::Image(bytes) | Content::Audio(bytes) => Some(bytes.len()),
    });
    if media.clone().count() > MEDIA_MAX {
        return Err(
            fields.fault("messages", &format!("may have {MEDIA_MAX} pictures and recordings at most"))
        );
    }
    if media.sum::<usize>() > MEDIA_BYTES_MAX {
        let words = format!("may have {} MiB of pictures and recordings at most", MEDIA_BYTES_MAX >> 20);
        return Err(fields.fault("messages", &words));
    }
    Ok(())
}

fn tool_call(fields: &Fields<'_>) -> Result<ToolCall, ApiError> {
    let function = fields.group("function")?.ok_or_else(|| fields.missing("function"))?;
    let arguments = function.text("arguments")?.unwrap_or("{}");
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    if !serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()) {
        return Err(function.fault("arguments", "must be a JSON object as text"));
    }
    Ok(ToolCall {
        id: fields.text("id")?.unwrap_or_default().to_owned(),
        name: function.required_text("name")?.to_owned(),
        arguments: arguments.to_owned(),
    })
}

fn tools(fields: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let list = fields.list("tools")?.unwrap_or_default();
    if list.len() > TOOLS_MAX {
        return Err(fields.fault("tools", &format!("may have {TOOLS_MAX} tools at most")));
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
    for (number, value) in list.iter().enumerate() {
        let tool = Fields::of(value, &format!("tools[{number}]"))?;
        if tool.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(tool.fault("type", "must be `function`"));
        }
        let function = tool.group("function")?.ok_or_else(|| tool.missing("function"))?;
        let name = function.required_text("name")?;
        let named =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !named || tools.iter().any(|tool| tool.name == name) {
            return Err(function.fault("name", "must be letters, digits, `_`, `-`, `.`, and no other tool's"));
        }
        let parameters = match function.get("parameters") {
            // It takes none, as at OpenAI; and nothing is said of them to the model.
            None => String::new(),
            Some(schema) if schema.is_object() => schema.to_string(),
            Some(_) => return Err(function.fault("parameters", "must be a JSON schema, an object")),
        };
        let description = function.text("description")?.unwrap_or_default().to_owned();
        tools.push(Tool { name: name.to_owned(), description, parameters });
    }
    Ok(tools)
}

fn call_rule(fields: &Fields<'_>, tools: &[Tool]) -> Result<CallRule, ApiError> {
    let rule = match fields.get("tool_choice") {
        None => CallRule::Free,
        Some(Value::String(word)) => match word.as_str() {
            "auto" => CallRule::Free,
            "none" => CallRule::Never,
            "required" => CallRule::Required,
            _ => return Err(fields.fault("tool_choice", "must be auto, none, required or a named function")),
        },
        Some(value) => {
            let choice = Fields::of(value, "tool_choice")?;
            let function = choice.group("function")?.ok_or_else(|| choice.missing("function"))?;
            let name = function.required_text("name")?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(function.fault("name", "names none of the `tools`"));
            }
            CallRule::Named(name.to_owned())
        }
    };
    if rule == CallRule::Required && tools.is_empty() {
        return Err(fields.fault("tool_choice", "requires a call, and there are no `tools`"));
    }
    Ok(rule)
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<u8>, ApiError> {
    let top = wishes::top_logprobs(fields, "top_logprobs")?;
    match fields.flag("logprobs")?.unwrap_or(false) {
        true => Ok(Some(top.unwrap_or(0))),
        false if top.is_some_and(|top| top > 0) => {
            Err(fields.fault("top_logprobs", "needs `logprobs: true`"))
        }
        false => Ok(None),
    }
}

fn thinking(fields: &Fields<'_>) -> Result<bool, ApiError> {
    if let Some(arguments) = fields.group("chat_template_kwargs")?
        && let Some(thinking) = arguments.flag("enable_thinking")?
    {
        return Ok(thinking);
    }
    match fields.text("reasoning_effort")? {
        None | Some("none" | "minimal") => Ok(false),
        Some("low" | "medium" | "high" | "xhigh") => Ok(true),
        Some(_) => Err(fields.fault("reasoning_effort", "must be none, minimal, low, medium, high or xhigh")),
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;

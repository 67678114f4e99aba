//! What is found out with a model without an answer in words: tokens, the text of a prompt, vectors. Shapes as at llama-server and OpenAI.
use archond_actors::domain::{Finding, Inquiry, ModelId, Passage, Priority, Prompt, Stretch, Token, Usage};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::ModelAnswer;
use super::chat;
use super::error::ApiError;
use super::fields::Fields;
use super::opening::{self, Opened};
use super::server::Served;

/// Longest text whose tokens are told, in bytes: several times what a usual context holds. Nothing is computed meanwhile.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Most tokens whose text is told, likewise.
const TOKENS_MAX: usize = 64 << 10;
/// Most passages of one request, as at OpenAI.
const PASSAGES_MAX: usize = 2048;
/// All passages of one request together, in bytes: an hour's work for a small machine.
const PASSAGES_BYTES_MAX: usize = 1 << 20;

pub(super) async fn tokenize(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let Opened { place: _place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let content = fields.get("content").ok_or_else(|| fields.missing("content"))?;
    let passage = passage(&fields, "content", content)?;
    if bytes_of(&passage) > TEXT_BYTES_MAX {
        return Err(fields.fault("content", &format!("may have {TEXT_BYTES_MAX} bytes at most")));
    }
    let adds_special = fields.flag("add_special")?.unwrap_or(false);
    let reads_marks = fields.flag("parse_special")?.unwrap_or(true);
    let with_pieces = fields.flag("with_pieces")?.unwrap_or(false);
    let inquiry = Inquiry::Tokens { passage, adds_special, reads_marks };
    let (findings, _) = find(&served, model, inquiry).await?;
    let tokens = findings.into_iter().flat_map(|finding| match finding {
        Finding::Tokens(tokens) => tokens,
        Finding::Text(_) | Finding::Vector(_) => Vec::new(),
    });
    let tokens = tokens.map(|(Token(id), bytes)| match with_pieces {
        false => json!(id),
        // A part of a character is told as its bytes.
        true => match String::from_utf8(bytes) {
            Ok(text) => json!({ "id": id, "piece": text }),
            Err(error) => json!({ "id": id, "piece": error.into_bytes() }),
        },
    });
    Ok(Json(json!({ "tokens": tokens.collect::<Vec<_>>() })))
}

pub(super) async fn detokenize(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let Opened { place: _place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let tokens = fields.list("tokens")?.ok_or_else(|| fields.missing("tokens"))?;
    if tokens.len() > TOKENS_MAX {
        return Err(fields.fault("tokens", &format!("may have {TOKENS_MAX} tokens at most")));
    }
    let read =
        |value: &Value| token(value).ok_or_else(|| fields.fault("tokens", "must be a list of token numbers"));
    let tokens = tokens.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let (findings, _) = find(&served, model, Inquiry::Text { tokens: tokens.into() }).await?;
    Ok(Json(json!({ "content": text_of(findings) })))
}

pub(super) async fn apply_template(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let Opened { place: _place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let conversation = chat::conversation(&fields)?;
    let (findings, _) = find(&served, model, Inquiry::Format { conversation }).await?;
    Ok(Json(json!({ "prompt": text_of(findings) })))
}

/// How many tokens a chat's prompt has, to know before whether it fits.
pub(super) async fn input_tokens(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let Opened { place: _place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let conversation = chat::conversation(&fields)?;
    let (_, usage) = find(&served, model, Inquiry::Format { conversation }).await?;
    Ok(Json(json!({ "object": "response.input_tokens", "input_tokens": usage.prompt_tokens })))
}

/// One passage's vector.
#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Numbers,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
}

/// The vectors of all passages, in order.
#[derive(Serialize)]
struct Embeddings {
    object: &'static str,
    model: String,
    data: Vec<Embedding>,
    usage: Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Floats(Vec<f32>),
    /// Each 4 bytes, little endian, all together in base64.
    Base64(String),
}

pub(super) async fn embeddings(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Opened { place: _place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let in_base64 = match fields.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(fields.fault("encoding_format", "must be float or base64")),
    };
    if fields.get("dimensions").is_some() {
        return Err(fields.fault("dimensions", "cannot be chosen: a model has its own"));
    }
    let passages = passages(&fields)?;
    let name = model.to_string();
    let (findings, usage) = find(&served, model, Inquiry::Vectors { passages: passages.into() }).await?;
    served.gateway.counters.finished(&usage);
    let vectors = findings.into_iter().filter_map(|finding| match finding {
        Finding::Vector(vector) => Some(vector),
        Finding::Tokens(_) | Finding::Text(_) => None,
    });
    let embedding = |(index, vector): (usize, Vec<f32>)| {
        let (embedding, encoding_format) = match in_base64 {
            false => (Numbers::Floats(vector), None),
            true => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                (Numbers::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)), Some("base64"))
            }
        };
        Embedding { object: "embedding", index, embedding, encoding_format }
    };
    let usage = json!({ "prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens });
    let data = vectors.enumerate().map(embedding).collect();
    Ok(Json(Embeddings { object: "list", model: name, data, usage }).into_response())
}

async fn find(served: &Served, model: ModelId, inquiry: Inquiry) -> Result<(Vec<Finding>, Usage), ApiError> {
    let priority = if inquiry.takes_slot() { Priority::Direct } else { Priority::Lookup };
    let order = opening::order(model, priority, Prompt::Inquiry(inquiry))?;
    ModelAnswer::begin(served.gateway.house.pool(), order).await?.findings().await
}

fn text_of(findings: Vec<Finding>) -> String {
    let texts = findings.into_iter().map(|finding| match finding {
        Finding::Text(text) => text,
        Finding::Tokens(_) | Finding::Vector(_) => String::new(),
    });
    texts.collect()
}

fn token(value: &Value) -> Option<Token> {
    value.as_i64().and_then(|token| i32::try_from(token).ok()).map(Token)
}

/// A text, its tokens, or both one after the other.
pub(super) fn passage(fields: &Fields<'_>, name: &str, value: &Value) -> Result<Passage, ApiError> {
    let fault = || fields.fault(name, "must be a string, or a list of token numbers and strings");
    let text = |text: &str| Stretch::Text(text.into());
    match value {
        Value::String(one) => Ok([text(one)].into()),
        Value::Array(list) => {
            let stretch = |value: &Value| match value {
                Value::String(one) => Ok(text(one)),
                number => token(number).map(Stretch::Token).ok_or_else(fault),
            };
            list.iter().map(stretch).collect()
        }
        Value::Object(_) => {
            let object = Fields::of(value, &fields.name(name))?;
            if object.list("multimodal_data")?.is_some_and(|data| !data.is_empty()) {
                return Err(object.fault("multimodal_data", "cannot be read here; send pictures in a chat"));
            }
            let one = match object.text("prompt_string")? {
                Some(one) => one.to_owned(),
                None => chat::text_content(&object)?,
            };
            Ok([text(&one)].into())
        }
        _ => Err(fault()),
    }
}

/// The `input` of a request for vectors: one passage, or a list of them.
fn passages(fields: &Fields<'_>) -> Result<Vec<Passage>, ApiError> {
    let input = fields.get("input").ok_or_else(|| fields.missing("input"))?;
    let passages = match input {
        // A list with token numbers in it is one passage.
        Value::Array(list) if !list.iter().any(Value::is_number) => {
            if !(1..=PASSAGES_MAX).contains(&list.len()) {
                return Err(fields.fault("input", &format!("must have 1 to {PASSAGES_MAX} texts")));
            }
            let read = |(index, value)| passage(fields, &format!("input[{index}]"), value);
            list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?
        }
        value => vec![passage(fields, "input", value)?],
    };
    if passages.iter().map(bytes_of).sum::<usize>() > PASSAGES_BYTES_MAX {
        return Err(fields.fault("input", &format!("may have {PASSAGES_BYTES_MAX} bytes at most")));
    }
    if passages.iter().any(|passage| bytes_of(passage) == 0) {
        return Err(fields.fault("input", "must not have empty texts: they have no vector"));
    }
    Ok(passages)
}

fn bytes_of(passage: &Passage) -> usize {
    let bytes = passage.iter().map(|stretch| match stretch {
        Stretch::Text(text) => text.len(),
        Stretch::Token(_) => size_of::<i32>(),
    });
    bytes.sum()
}

//! Asks a server: what it has, and one question after the other. It follows no redirection and uses no proxy.
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::answer::told;
use super::ask::Ask;
use super::endpoint::{Endpoint, EndpointFault};
use crate::download::Token;
use crate::engine::Refusal;

/// Longest wait for a connection: on one's own network it takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for what a server has, or whether it is well.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that is no stream: the vectors of 2,048 passages of 8,192 numbers are the most that is asked for.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Most bytes of an error, and of what a server says of itself.
const NOTE_BYTES_MAX: usize = 1 << 20;
/// Most characters of a server's own words that are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// The server is gone or out of order: another try may help, and other requests fare no better.
    #[error("{0}")]
    Down(String),
    /// It answers, and will not serve us before somebody changes something.
    #[error("{0}")]
    Shut(String),
    /// This request alone.
    #[error("{}", shown(.0))]
    Refused(Refusal),
}

fn shown(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoFreeSlot => "the server takes no request now; it may be loading its model".to_owned(),
        Refusal::Unable { detail } | Refusal::Engine { detail } | Refusal::Medium { detail, .. } => {
            detail.clone()
        }
        Refusal::PromptTooLong { tokens, tokens_max } => {
            format!("the prompt has {tokens} tokens, {tokens_max} are allowed")
        }
    }
}

/// What a server has of the model that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its name there.
    pub model: String,
    /// Answers side by side, where the server says it.
    pub slots: Option<u32>,
    /// Context of one answer in tokens, where the server says it.
    pub context_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    /// vLLM.
    max_model_len: Option<u32>,
    /// llama-server and archond.
    meta: Option<ListedMeta>,
}

#[derive(Debug, Deserialize)]
struct ListedMeta {
    n_ctx: Option<u32>,
}

/// llama-server's `/props`.
#[derive(Debug, Deserialize)]
struct Props {
    total_slots: Option<u32>,
    default_generation_settings: Option<ListedMeta>,
}

/// Speaks with one server.
#[derive(Debug, Clone)]
pub(super) struct RemoteClient {
    client: Client,
    endpoint: Endpoint,
}

impl RemoteClient {
    pub(super) fn new(endpoint: Endpoint, key: Option<&Token>) -> Result<Self, String> {
        // Whoever was first to install one wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| "its key has characters that no header may have".to_owned())?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let client = Client::builder()
            .user_agent(concat!("archond/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(endpoint.resolver())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| cause(&error.without_url()))?;
        Ok(Self { client, endpoint })
    }

    /// Asks what the server has. `wanted` is the model's name there; without it the server's only model is meant.
    pub(super) async fn probe(&self, wanted: Option<&str>) -> Result<Served, Fault> {
        let listing: Listing = self.look("v1/models").await?;
        let names: Vec<&str> = listing.data.iter().map(|listed| listed.id.as_str()).collect();
        let chosen = match wanted {
            Some(name) => listing.data.iter().find(|listed| listed.id == name),
            None => listing.data.first().filter(|_| listing.data.len() == 1),
        };
        let Some(chosen) = chosen else {
            let has = if names.is_empty() { "none".to_owned() } else { shorten(&names.join(", ")) };
            let wanted =
                wanted.map_or("one model, or `name` in its settings".to_owned(), |name| format!("`{name}`"));
            return Err(Fault::Shut(format!("{} was to have {wanted}; its models: {has}", self.endpoint)));
        };
        // Other servers have no such page.
        let props = self.look::<Props>("props").await.ok();
        let slots = props.as_ref().and_then(|props| props.total_slots);
        let of_slot = props.and_then(|props| props.default_generation_settings?.n_ctx);
        let listed = chosen.max_model_len.or(chosen.meta.as_ref().and_then(|meta| meta.n_ctx));
        Ok(Served { model: chosen.id.clone(), slots, context_tokens: of_slot.or(listed) })
    }

    async fn look<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let asked = timeout(PROBE_TIMEOUT, async {
            let response = self.answered(self.client.get(self.endpoint.at(path)).send().await).await?;
            self.whole(response, NOTE_BYTES_MAX).await
        });
        match asked.await {
            Ok(body) => self.read(&body?),
            Err(_) => Err(Fault::Down(format!("{} gave no answer for {PROBE_TIMEOUT:?}", self.endpoint))),
        }
    }

    /// Asks, and answers as soon as the server begins to.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Response, Fault> {
        let sent = self.client.post(self.endpoint.at(ask.path)).json(&ask.body).send().await;
        self.answered(sent).await
    }

    /// Asks for something that is answered at once.
    pub(super) async fn ask_whole(&self, path: &str, body: &Map<String, Value>) -> Result<Value, Fault> {
        let sent = self.client.post(self.endpoint.at(path)).json(body).send().await;
        let response = self.answered(sent).await?;
        let body = self.whole(response, BODY_BYTES_MAX).await?;
        self.read(&body)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T, Fault> {
        let unreadable =
            |error| Fault::Shut(format!("{} is no OpenAI-compatible server: {error}", self.endpoint));
        serde_json::from_slice(body).map_err(unreadable)
    }

    /// What a break of the connection means.
    pub(super) fn broken(&self, error: reqwest::Error) -> Fault {
        let error = error.without_url();
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = source {
            // A name that leads where it may not: no try helps.
            if let Some(fault) = inner.downcast_ref::<EndpointFault>() {
                return Fault::Shut(format!("{} {fault}", self.endpoint));
            }
            source = inner.source();
        }
        Fault::Down(format!("{}: {}", self.endpoint, cause(&error)))
    }

    async fn answered(&self, sent: reqwest::Result<Response>) -> Result<Response, Fault> {
        let response = sent.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.whole(response, NOTE_BYTES_MAX).await.unwrap_or_default();
        Err(of_status(&self.endpoint, status, &body))
    }

    async fn whole(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(Fault::Down(format!("{} answered more than {bytes_max} bytes", self.endpoint)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What a status means that is not one of success.
fn of_status(endpoint: &Endpoint, status: StatusCode, body: &[u8]) -> Fault {
    let body: Value = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    let error = body.get("error").unwrap_or(&body);
    if let Some(too_long) = too_long(error) {
        return Fault::Refused(too_long);
    }
    let words = shorten(&told(error));
    let detail = format!("{endpoint} answers {status}: {words}");
    match status.as_u16() {
        401 | 403 => Fault::Shut(format!("{detail}; `key` in its settings says where its key is")),
        300..=399 => Fault::Shut(format!("{detail}; redirections are not followed, write its own address")),
        429 | 503 => Fault::Refused(Refusal::NoFreeSlot),
        404 | 405 | 408 | 500.. => Fault::Refused(Refusal::Unable { detail }),
        _ => Fault::Refused(Refusal::Engine { detail }),
    }
}

/// The ways in which servers say that a prompt is longer than the context.
fn too_long(error: &Value) -> Option<Refusal> {
    let number = |name: &str| error.get(name)?.as_u64().and_then(|number| u32::try_from(number).ok());
    // llama-server and archond.
    if let (Some(tokens), Some(tokens_max)) = (number("n_prompt_tokens"), number("n_ctx")) {
        return Some(Refusal::PromptTooLong { tokens, tokens_max });
    }
    let message = told(error);
    let is_it = error.get("code").and_then(Value::as_str) == Some("context_length_exceeded")
        || message.contains("maximum context length");
    if !is_it {
        return None;
    }
    // vLLM and OpenAI: "maximum context length is 8192 tokens. However, your request has 9000 input tokens".
    let mut numbers =
        message.split(|char: char| !char.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
    let tokens_max = numbers.next().unwrap_or(0);
    let tokens = numbers.next().unwrap_or(tokens_max.saturating_add(1));
    Some(Refusal::PromptTooLong { tokens: tokens.max(tokens_max.saturating_add(1)), tokens_max })
}

/// The innermost cause of an error: "Connection refused" says most.
fn cause(error: &reqwest::Error) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}

/// A server's words as they may stand in a log line.
pub(super) fn shorten(words: &str) -> String {
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let mut shown: String = words.chars().take(SHOWN_CHARS_MAX).map(plain).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &Fault) {
        let endpoint = Endpoint::parse("http://127.0.0.1:1", &[].into()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(of_status(&endpoint, status, body.as_bytes()), *expected, "{status} {body}");
    }

    #[test]
    fn what_servers_say_and_what_it_means() {
        let too_long = |tokens, tokens_max| Fault::Refused(Refusal::PromptTooLong { tokens, tokens_max });
        let llama = r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"x","n_prompt_tokens":9000,"n_ctx":8192}}"#;
        check(400, llama, &too_long(9000, 8192));
        let vllm = r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. Please reduce it.","type":"BadRequestError","code":400}}"#;
        check(400, vllm, &too_long(9000, 8192));
        let older = r#"{"object":"error","message":"This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8900 in the messages, 100 in the completion).","code":400}"#;
        check(400, older, &too_long(9000, 8192));
        check(400, r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#, &too_long(1, 0));
        check(429, "", &Fault::Refused(Refusal::NoFreeSlot));
        check(503, r#"{"error":{"message":"Loading model"}}"#, &Fault::Refused(Refusal::NoFreeSlot));
        let detail = "http://127.0.0.1:1 answers 400 Bad Request: no such field".to_owned();
        check(400, r#"{"error":{"message":"no such field"}}"#, &Fault::Refused(Refusal::Engine { detail }));
        let detail = "http://127.0.0.1:1 answers 500 Internal Server Error: out  of memory".to_owned();
        check(500, "out\r\nof memory", &Fault::Refused(Refusal::Unable { detail }));
        let shut = "http://127.0.0.1:1 answers 401 Unauthorized: Invalid API Key; `key` in its settings says where its key is";
        check(401, r#"{"error":{"message":"Invalid API Key","code":401}}"#, &Fault::Shut(shut.to_owned()));
    }
}

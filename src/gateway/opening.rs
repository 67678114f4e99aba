//! What every request with a body begins with: a place among those that run, the body, and whom it is for.
use std::sync::Arc;

use archond_actors::domain::{
    ArchonId, ModelId, ModelState, PeerId, Priority, Prompt, Sampling, SessionKey, ThreadId,
};
use archond_actors::pool::GenerationOrder;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::answer;
use super::error::ApiError;
use super::fields::Fields;
use super::server::Served;

/// What model names of whole Archons begin with.
pub(super) const ARCHON_PREFIX: &str = "archon:";
/// Who asks by this road, for the pool and for the Archons: all clients hold the same key.
pub(super) const PEER: &str = "api";

/// A request that was read.
pub(super) struct Opened {
    /// Kept as long as the request runs.
    pub(super) place: OwnedSemaphorePermit,
    pub(super) body: Value,
}

pub(super) async fn open(served: &Served, headers: &HeaderMap, body: Body) -> Result<Opened, ApiError> {
    let full = |_| ApiError::overloaded("too many requests are running; try again in a moment");
    let place = served.gateway.places.clone().try_acquire_owned().map_err(full)?;
    let body = read_body(served, headers, body).await?;
    let body = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok(Opened { place, body })
}

async fn read_body(served: &Served, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    let settings = &served.gateway.settings;
    let bytes_max = settings.body_max.0;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::too_large(bytes_max));
    }
    let (mut stream, mut whole) = (body.into_data_stream(), Vec::new());
    loop {
        let part = tokio::time::timeout(settings.read_timeout, stream.next()).await;
        let part: Option<Result<Bytes, _>> = part.map_err(|_| ApiError::too_slow())?;
        let Some(part) = part else { return Ok(whole) };
        let part = part.map_err(|_| ApiError::bad_request("the body broke off"))?;
        if (whole.len() + part.len()) as u64 > bytes_max {
            return Err(ApiError::too_large(bytes_max));
        }
        whole.extend_from_slice(&part);
    }
}

/// Whom a request is for.
pub(super) enum Target {
    Model(ModelId),
    Archon(String),
}

impl Target {
    /// As clients name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Model(model) => model.to_string(),
            Self::Archon(archon) => format!("{ARCHON_PREFIX}{archon}"),
        }
    }
}

/// A model that can answer, which is one on disk, or an Archon. Who names none gets the model that is in memory, or the first one: small
/// houses have no other.
pub(super) async fn target(served: &Served, fields: &Fields<'_>) -> Result<Target, ApiError> {
    let name = fields.text("model")?.filter(|name| !name.is_empty());
    if let Some(archon) = name.and_then(|name| name.strip_prefix(ARCHON_PREFIX)) {
        return Ok(Target::Archon(archon.to_owned()));
    }
    let models = served.gateway.house.pool_status().await?.models;
    let found = match name {
        Some(name) => models.iter().find(|model| model.id.as_str() == name),
        None => {
            let embedder = served.gateway.meaning.embedder().map(|embedder| embedder.maker.model);
            models.iter().min_by_key(|model| match model.state {
                // It answers nobody, mostly; where it is the only one, it does.
                _ if Some(&model.id) == embedder.as_ref() => 3,
                ModelState::Ready => 0,
                ModelState::Loading { .. } => 1,
                _ => 2,
            })
        }
    };
    let found = found.ok_or_else(|| match name {
        Some(name) => unknown(name),
        None => ApiError::no_model("there is no model yet; get one with `archond model pull`"),
    })?;
    Ok(Target::Model(found.id.clone()))
}

/// The same where an Archon is of no use.
pub(super) async fn model(served: &Served, fields: &Fields<'_>) -> Result<ModelId, ApiError> {
    match target(served, fields).await? {
        Target::Model(model) => Ok(model),
        Target::Archon(_) => {
            Err(fields.fault("model", "is an Archon, who is asked at /v1/chat/completions only"))
        }
    }
}

pub(super) fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    ApiError::no_model(format!("there is no model `{shown}`; GET /v1/models lists those that there are"))
}

/// An order of this road, for the pool.
pub(super) fn order(model: ModelId, priority: Priority, prompt: Prompt) -> Result<GenerationOrder, ApiError> {
    let failed = |error: archond_actors::domain::IdError| ApiError::internal(error.to_string());
    let archon = ArchonId::new(PEER).map_err(failed)?;
    let peer = PeerId::new(PEER).map_err(failed)?;
    let session =
        SessionKey { archon: archon.clone(), channel: answer::channel()?, peer, thread: ThreadId::main() };
    Ok(GenerationOrder {
        archon,
        session,
        priority,
        models: vec![model],
        makes_room: true,
        prompt: Arc::new(prompt),
        form: Arc::default(),
        sampling: Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
        },
        answer_tokens_max: u32::MAX,
        context_tokens_max: u32::MAX,
    })
}

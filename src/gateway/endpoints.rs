//! What each path does.
use std::sync::Arc;

use archond_actors::domain::{
    AnswerForm, ArchonId, InboundMessage, ModelId, ModelState, PeerId, Priority, Prompt, SessionKey, ThreadId,
};
use archond_actors::pool::GenerationOrder;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Answer, ArchonAnswer, ModelAnswer};
use super::chat::{self, ChatRequest};
use super::error::ApiError;
use super::fields::Fields;
use super::server::Served;
use super::stream;
use super::wire::{Kind, Writer};
use super::wishes;

/// What model names of whole Archons begin with.
const ARCHON_PREFIX: &str = "archon:";
/// Who asks by this road, for the pool and for the Archons: all clients hold the same key.
const PEER: &str = "api";

pub(super) async fn health(State(served): State<Served>) -> Response {
    let states = served.gateway.house.pool_status().await.map(|status| status.models);
    let loading = states.is_ok_and(|models| {
        let is = |wanted: fn(&ModelState) -> bool| models.iter().any(|model| wanted(&model.state));
        is(|state| matches!(state, ModelState::Loading { .. })) && !is(|state| *state == ModelState::Ready)
    });
    if loading {
        let error = json!({ "code": 503, "message": "Loading model", "type": "unavailable_error" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error }))).into_response();
    }
    Json(json!({ "status": "ok" })).into_response()
}

pub(super) async fn metrics(State(served): State<Served>) -> Result<Response, ApiError> {
    let pool = served.gateway.house.pool_status().await?;
    let text = served.gateway.counters.page(&pool);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

pub(super) async fn models(State(served): State<Served>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "object": "list", "data": listed(&served).await? })))
}

pub(super) async fn model(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = listed(&served).await?.into_iter().find(|model| model["id"] == id.as_str());
    found.map(Json).ok_or_else(|| unknown(&id))
}

async fn listed(served: &Served) -> Result<Vec<Value>, ApiError> {
    let house = &served.gateway.house;
    let models = house.pool_status().await?.models;
    let models = models.iter().map(|model| (model.id.to_string(), Some(model.context_tokens)));
    let archons = house.archons().into_iter().map(|archon| (format!("{ARCHON_PREFIX}{archon}"), None));
    let entry = |(id, context): (String, Option<u32>)| {
        let mut entry = json!({ "id": id, "object": "model", "created": 0, "owned_by": "archond" });
        if let (Some(tokens @ 1..), Some(fields)) = (context, entry.as_object_mut()) {
            fields.insert("meta".into(), json!({ "n_ctx": tokens }));
        }
        entry
    };
    Ok(models.chain(archons).map(entry).collect())
}

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    ApiError::no_model(format!("there is no model `{shown}`; GET /v1/models lists those that there are"))
}

pub(super) async fn chat(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let place = place(&served)?;
    let body = read_body(&served, &headers, body).await?;
    let value = parse(&body)?;
    let fields = Fields::of_request(&value)?;
    let name = fields.required_text("model")?;
    if let Some(archon) = name.strip_prefix(ARCHON_PREFIX) {
        let telling = wishes::telling(&fields)?;
        let answer = Answer::Archon(ask_archon(&served, archon, &fields).await?);
        let writer = writer(&served, Kind::Chat, name, telling.include_usage);
        return stream::respond(served.gateway, answer, writer, telling.stream, place).await;
    }
    let model = known(&served, name).await?;
    let ChatRequest { prompt, form, sampling, answer_tokens_max, telling } = chat::read(&fields)?;
    let order = GenerationOrder { sampling, answer_tokens_max, ..order(model, prompt, form)? };
    let answer = Answer::Model(ModelAnswer::begin(served.gateway.house.pool(), order).await?);
    let writer = writer(&served, Kind::Chat, name, telling.include_usage);
    stream::respond(served.gateway, answer, writer, telling.stream, place).await
}

pub(super) async fn completion(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let place = place(&served)?;
    let body = read_body(&served, &headers, body).await?;
    let value = parse(&body)?;
    let fields = Fields::of_request(&value)?;
    let name = fields.required_text("model")?;
    if name.starts_with(ARCHON_PREFIX) {
        return Err(fields.fault("model", "is an Archon, who is asked at /v1/chat/completions"));
    }
    let model = known(&served, name).await?;
    let prompt = Prompt::Text(fields.required_text("prompt")?.into());
    if fields.flag("echo")?.unwrap_or(false) {
        return Err(fields.fault("echo", "must be false"));
    }
    let form = AnswerForm { logprobs: wishes::top_logprobs(&fields, "logprobs")?, ..wishes::form(&fields)? };
    let telling = wishes::telling(&fields)?;
    let order = GenerationOrder {
        sampling: wishes::sampling(&fields)?,
        answer_tokens_max: wishes::answer_tokens_max(&fields)?,
        ..order(model, prompt, form)?
    };
    let answer = Answer::Model(ModelAnswer::begin(served.gateway.house.pool(), order).await?);
    let writer = writer(&served, Kind::Completion, name, telling.include_usage);
    stream::respond(served.gateway, answer, writer, telling.stream, place).await
}

fn place(served: &Served) -> Result<OwnedSemaphorePermit, ApiError> {
    let full = |_| ApiError::overloaded("too many requests are running; try again in a moment");
    served.gateway.places.clone().try_acquire_owned().map_err(full)
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

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))
}

/// A model that can answer: one that is on disk.
async fn known(served: &Served, name: &str) -> Result<ModelId, ApiError> {
    let model = ModelId::new(name).map_err(|_| unknown(name))?;
    let status = served.gateway.house.pool_status().await?;
    match status.models.iter().any(|known| known.id == model) {
        true => Ok(model),
        false => Err(unknown(name)),
    }
}

fn order(model: ModelId, prompt: Prompt, form: AnswerForm) -> Result<GenerationOrder, ApiError> {
    let failed = |error: archond_actors::domain::IdError| ApiError::internal(error.to_string());
    let archon = ArchonId::new(PEER).map_err(failed)?;
    let peer = PeerId::new(PEER).map_err(failed)?;
    let session =
        SessionKey { archon: archon.clone(), channel: answer::channel()?, peer, thread: ThreadId::main() };
    Ok(GenerationOrder {
        archon,
        session,
        priority: Priority::Direct,
        models: vec![model],
        prompt: Arc::new(prompt),
        form: Arc::new(form),
        sampling: archond_actors::domain::Sampling {
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

async fn ask_archon(served: &Served, name: &str, fields: &Fields<'_>) -> Result<ArchonAnswer, ApiError> {
    let gateway = &served.gateway;
    let archon = ArchonId::new(name).map_err(|_| unknown(name))?;
    let thread = fields.text("user")?.map(ThreadId::new).transpose();
    let message = InboundMessage {
        archon,
        channel: answer::channel()?,
        peer: PeerId::new(PEER).map_err(|error| ApiError::internal(error.to_string()))?,
        key: gateway.message_key(),
        thread: thread
            .map_err(|error| ApiError::field("user", format!("`user` names the session: {error}")))?,
        text: chat::last_user_text(fields)?,
        received_unix_ms: gateway.clock.now_unix_ms(),
    };
    ArchonAnswer::begin(gateway.house.clone(), message, served.abandoned.clone()).await
}

fn writer(served: &Served, kind: Kind, model: &str, include_usage: bool) -> Writer {
    let created = served.gateway.clock.now_unix_ms() / 1000;
    Writer::new(kind, served.gateway.number(), created, model.to_owned(), include_usage)
}

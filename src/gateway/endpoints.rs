//! What each path does.
use std::sync::Arc;

use archond_actors::domain::{
    AnswerForm, ArchonId, InboundMessage, ModelState, Passage, PeerId, Priority, Prompt, Sampling, ThreadId,
};
use archond_actors::pool::GenerationOrder;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{self, Answer, ArchonAnswer, ModelAnswer};
use super::chat::{self, ChatRequest};
use super::choices::Choices;
use super::error::ApiError;
use super::fields::Fields;
use super::inquiries;
use super::opening::{self, ARCHON_PREFIX, Opened, PEER, Target, unknown};
use super::server::Served;
use super::stream;
use super::wire::{Kind, Writer};
use super::wishes;

/// Most answers to one request, all its prompts together: each waits like a request of its own, and these are half of those that may.
const ANSWERS_MAX: usize = 32;

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
    let text = served.gateway.counters.page(&pool, &served.gateway.house.channels());
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

pub(super) async fn chat(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Opened { place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let target = opening::target(&served, &fields).await?;
    let (choices, telling) = match &target {
        Target::Archon(archon) => {
            let telling = wishes::telling(&fields)?;
            if telling.answers > 1 {
                return Err(fields.fault("n", "must be 1: an Archon answers once"));
            }
            let answer = Answer::Archon(ask_archon(&served, archon, &fields).await?);
            (Choices::new(vec![answer], 1), telling)
        }
        Target::Model(model) => {
            let ChatRequest { prompt, form, sampling, answer_tokens_max, telling } = chat::read(&fields)?;
            let order = opening::order(model.clone(), Priority::Direct, prompt)?;
            let order = GenerationOrder { form: Arc::new(form), sampling, answer_tokens_max, ..order };
            (ask_model(&served, vec![order], telling.answers).await?, telling)
        }
    };
    let writer = writer(&served, Kind::Chat, target.name(), telling.include_usage);
    stream::respond(served.gateway, choices, writer, telling.stream, place).await
}

pub(super) async fn completion(
    State(served): State<Served>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Opened { place, body } = opening::open(&served, &headers, body).await?;
    let fields = Fields::of_request(&body)?;
    let model = opening::model(&served, &fields).await?;
    let prompts = prompts(&fields)?;
    if fields.flag("echo")?.unwrap_or(false) {
        return Err(fields.fault("echo", "must be false"));
    }
    let form = AnswerForm { logprobs: wishes::top_logprobs(&fields, "logprobs")?, ..wishes::form(&fields)? };
    let telling = wishes::telling(&fields)?;
    let writer = writer(&served, Kind::Completion, model.to_string(), telling.include_usage);
    if prompts.len() * telling.answers as usize > ANSWERS_MAX {
        return Err(fields.fault("prompt", &format!("may have {ANSWERS_MAX} answers at most, `n` of each")));
    }
    let (form, sampling) = (Arc::new(form), wishes::sampling(&fields)?);
    let answer_tokens_max = wishes::answer_tokens_max(&fields)?;
    let order = |prompt| {
        let order = opening::order(model.clone(), Priority::Direct, Prompt::Passage(prompt))?;
        Ok(GenerationOrder { form: form.clone(), sampling, answer_tokens_max, ..order })
    };
    let orders = prompts.into_iter().map(order).collect::<Result<_, ApiError>>()?;
    let choices = ask_model(&served, orders, telling.answers).await?;
    stream::respond(served.gateway, choices, writer, telling.stream, place).await
}

/// One prompt, or a list of them. A list with token numbers in it is one.
fn prompts(fields: &Fields<'_>) -> Result<Vec<Passage>, ApiError> {
    match fields.get("prompt").ok_or_else(|| fields.missing("prompt"))? {
        Value::Array(list) if !list.iter().any(Value::is_number) => {
            if !(1..=ANSWERS_MAX).contains(&list.len()) {
                return Err(fields.fault("prompt", &format!("must have 1 to {ANSWERS_MAX} prompts")));
            }
            let read = |(at, prompt)| inquiries::passage(fields, &format!("prompt[{at}]"), prompt);
            list.iter().enumerate().map(read).collect()
        }
        one => Ok(vec![inquiries::passage(fields, "prompt", one)?]),
    }
}

/// So many answers to each order. Where one is refused, those that were begun are given up.
async fn ask_model(served: &Served, orders: Vec<GenerationOrder>, each: u32) -> Result<Choices, ApiError> {
    let mut answers = Vec::new();
    for order in orders {
        for number in 0..each {
            // Or all would be the same.
            let seed = order.sampling.seed.map(|seed| seed.wrapping_add(number));
            let order = GenerationOrder { sampling: Sampling { seed, ..order.sampling }, ..order.clone() };
            answers.push(Answer::Model(ModelAnswer::begin(served.gateway.house.pool(), order).await?));
        }
    }
    Ok(Choices::new(answers, each as usize))
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
        waybill: archond_actors::domain::Waybill::default(),
    };
    ArchonAnswer::begin(gateway.house.clone(), message, served.abandoned.clone()).await
}

fn writer(served: &Served, kind: Kind, model: String, include_usage: bool) -> Writer {
    let created = served.gateway.clock.now_unix_ms() / 1000;
    Writer::new(kind, served.gateway.number(), created, model, include_usage)
}

//! Tells an answer, whole or as server-sent events. The events end when the client does, and with them the work.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::answer::{Answer, Ending, Step};
use super::error::ApiError;
use super::server::Gateway;
use super::wire::Writer;

/// Longest silence on a stream: proxies and clients take a minute's for the end. Also the time to notice that a client is gone
/// where the system does not say so.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An answer that is being told.
struct Telling {
    gateway: Arc<Gateway>,
    answer: Answer,
    writer: Writer,
    ready: VecDeque<Bytes>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn respond(
    gateway: Arc<Gateway>,
    mut answer: Answer,
    mut writer: Writer,
    streams: bool,
    place: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    if !streams {
        let ending = collect(&mut answer, &mut writer).await?;
        gateway.counters.finished(&ending.usage);
        return Ok(Json(writer.whole(&ending)).into_response());
    }
    // A refusal that comes before the first word is a status, not an event.
    let first = timeout(KEEP_ALIVE, answer.next()).await;
    let mut telling = Telling {
        gateway,
        answer,
        ready: writer.opening().iter().map(event).collect(),
        writer,
        ended: false,
        _place: place,
    };
    match first {
        Ok(Step::Failed(error)) => return Err(error),
        Ok(step) => telling.tell(step),
        Err(_) => {}
    }
    let events = futures::stream::unfold(telling, async |mut telling| {
        let bytes = telling.next().await?;
        Some((Ok::<_, Infallible>(bytes), telling))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(events)).into_response())
}

async fn collect(answer: &mut Answer, writer: &mut Writer) -> Result<Ending, ApiError> {
    loop {
        match answer.next().await {
            Step::Part(part) => writer.keep(part),
            Step::Logprobs(token, likeliest) => writer.logprob(&token, &likeliest),
            Step::End(ending) => return Ok(ending),
            Step::Failed(error) => return Err(error),
        }
    }
}

impl Telling {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            match timeout(KEEP_ALIVE, self.answer.next()).await {
                Ok(step) => self.tell(step),
                Err(_) => return Some(Bytes::from_static(b": still at work\n\n")),
            }
        }
    }

    fn tell(&mut self, step: Step) {
        match step {
            Step::Part(part) => {
                let piece = self.writer.piece(part);
                self.ready.push_back(event(&piece));
            }
            Step::Logprobs(token, likeliest) => self.writer.logprob(&token, &likeliest),
            Step::End(ending) => {
                self.gateway.counters.finished(&ending.usage);
                self.ready.extend(self.writer.closing(&ending).iter().map(event));
                self.end();
            }
            Step::Failed(error) => {
                self.ready.push_back(event(&error.body()));
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.ended = true;
    }
}

fn event(value: &Value) -> Bytes {
    // JSON text has no line breaks outside of its strings, and escapes those within.
    format!("data: {value}\n\n").into()
}

//! Tells answers, whole or as server-sent events. The events end when the client does, and with them the work.
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

use super::answer::Step;
use super::choices::Choices;
use super::error::ApiError;
use super::server::Gateway;
use super::wire::Writer;

/// Longest silence on a stream: proxies and clients take a minute's for the end. Also the time to notice that a client is gone
/// where the system does not say so.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Answers that are being told.
struct Telling {
    gateway: Arc<Gateway>,
    choices: Choices,
    writer: Writer,
    ready: VecDeque<Bytes>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn respond(
    gateway: Arc<Gateway>,
    mut choices: Choices,
    mut writer: Writer,
    streams: bool,
    place: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    writer.expect(choices.len());
    if !streams {
        collect(&mut choices, &mut writer).await?;
        let cost = choices.cost();
        gateway.counters.finished(&cost);
        return Ok(Json(writer.whole(&cost)).into_response());
    }
    // A refusal that comes before the first word is a status, not an event.
    let first = timeout(KEEP_ALIVE, choices.next()).await;
    let mut telling = Telling {
        gateway,
        choices,
        ready: writer.opening().iter().map(event).collect(),
        writer,
        ended: false,
        _place: place,
    };
    match first {
        Ok(Some((_, Step::Failed(error)))) => return Err(error),
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

async fn collect(choices: &mut Choices, writer: &mut Writer) -> Result<(), ApiError> {
    while let Some((at, step)) = choices.next().await {
        match step {
            Step::Part(part) => writer.keep(at, part),
            Step::Logprobs(token, likeliest) => writer.logprob(at, &token, &likeliest),
            Step::End(ending) => writer.end(at, &ending),
            Step::Failed(error) => return Err(error),
        }
    }
    Ok(())
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
            match timeout(KEEP_ALIVE, self.choices.next()).await {
                Ok(step) => self.tell(step),
                Err(_) => return Some(Bytes::from_static(b": still at work\n\n")),
            }
        }
    }

    fn tell(&mut self, step: Option<(usize, Step)>) {
        let Some((at, step)) = step else {
            let cost = self.choices.cost();
            self.gateway.counters.finished(&cost);
            self.ready.extend(self.writer.cost(&cost).iter().map(event));
            return self.end();
        };
        match step {
            Step::Part(part) => {
                let piece = self.writer.piece(at, part);
                self.ready.push_back(event(&piece));
            }
            Step::Logprobs(token, likeliest) => self.writer.logprob(at, &token, &likeliest),
            Step::End(ending) => {
                let last = self.writer.closing(at, &ending);
                self.ready.push_back(event(&last));
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

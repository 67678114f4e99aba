//! The listener for webhooks: who sent one is proved by its signature before a byte of it is read, and none is acknowledged before what it
//! brings is durable.
//!
//! Signatures: HMAC-SHA256 of the body (`services/webhook/deliver.go` of Gitea; GitHub's `X-Hub-Signature-256`). They cover neither the
//! time nor the number of a delivery, so one that was overheard can be sent again under another number: that is why messages are
//! recognised by what they say, not by that number.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};

use super::events::Delivery;

/// Longest webhook, in bytes: an issue of a mebibyte, with all that is told of its repository.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Longest that a request may take to come in.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sender waits for its message to be durable. Gitea itself gives up after five seconds.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(4);
/// Webhooks that may wait to be received.
pub(super) const QUEUE_LEN_MAX: usize = 64;
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// How long nobody is let in when the system has no room for a connection.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Where a signature may be, the first that is not empty counts.
const SIGNATURES: [&str; 4] =
    ["x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-hub-signature-256"];
/// Where the event's exact name is; then its family's.
const EVENTS: [&str; 4] = ["x-gitea-event-type", "x-forgejo-event-type", "x-gitea-event", "x-github-event"];

/// A webhook that was proved. Its sender waits until it is acknowledged.
#[derive(Debug)]
pub(super) struct Hooked {
    pub(super) event: String,
    pub(super) delivery: Box<Delivery>,
    /// `true`: it is durable, or meant for nobody. Dropped: it is not.
    pub(super) acknowledge: oneshot::Sender<bool>,
}

/// What the listener needs.
pub(super) struct Hook {
    pub(super) secret: Vec<u8>,
    pub(super) queue: mpsc::Sender<Hooked>,
}

/// Opens the address. What goes wrong is said for its owner.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another program; end it, or set another `listen`")
        }
        _ => format!("{address} cannot be listened on: {error}; set another `listen`"),
    })
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, hook: Arc<Hook>) {
    let router = Router::new().fallback(take).with_state(hook);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a webhook could not be let in");
                interval_at(Instant::now() + FULL_PAUSE, FULL_PAUSE).tick().await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a webhook's connection broke off");
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Takes a webhook, or says why not. A refusal is one line in the log, without anything that was sent.
async fn take(State(hook): State<Arc<Hook>>, request: Request<Body>) -> StatusCode {
    match taken(&hook, request).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err((status, why)) => {
            tracing::warn!(status = status.as_u16(), "a webhook was refused: {why}");
            status
        }
    }
}

async fn taken(hook: &Hook, request: Request<Body>) -> Result<(), (StatusCode, &'static str)> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "it was no POST"));
    }
    // Whoever has no signature at all is not even read.
    let signature =
        first(&parts.headers, &SIGNATURES).ok_or((StatusCode::UNAUTHORIZED, "it had no signature"))?;
    let body = timeout(READ_TIMEOUT, to_bytes(body, BODY_BYTES_MAX))
        .await
        .map_err(|_| (StatusCode::REQUEST_TIMEOUT, "it came in too slowly"))?
        .map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "it was too long, or broke off"))?;
    let json = payload(&parts.headers, &body);
    if !is_signed(&hook.secret, signature, &json) {
        return Err((StatusCode::UNAUTHORIZED, "its signature was wrong"));
    }
    let event = first(&parts.headers, &EVENTS).unwrap_or_default().to_owned();
    // Events without an issue, such as pushes, have other fields: they are well, and for nobody.
    let Ok(delivery) = serde_json::from_slice(&json) else { return Ok(()) };
    let (acknowledge, acknowledged) = oneshot::channel();
    let hooked = Hooked { event, delivery: Box::new(delivery), acknowledge };
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "too many wait already");
    hook.queue.try_send(hooked).map_err(|_| busy)?;
    match timeout(ACKNOWLEDGE_TIMEOUT, acknowledged).await {
        Ok(Ok(true)) => Ok(()),
        _ => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            "it could not be kept in time; it is found by looking, later",
        )),
    }
}

fn first<'h>(headers: &'h HeaderMap, names: &[&str]) -> Option<&'h str> {
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok().filter(|value| !value.is_empty()))
}

/// A form has the JSON in a field. The signature is then that of the JSON.
fn payload(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let is_form = first(headers, &["content-type"])
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return body.to_vec();
    }
    let field = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    field.map(|(_, value)| value.into_owned().into_bytes()).unwrap_or_default()
}

/// Compares in a time that tells nothing.
fn is_signed(secret: &[u8], signature: &str, body: &[u8]) -> bool {
    let hex = signature.strip_prefix("sha256=").unwrap_or(signature);
    let Some(signature) = unhex(hex) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    !secret.is_empty() && mac.verify_slice(&signature).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secrets_own_signature_is_one() {
        // RFC 4231, test case 2.
        let (secret, body) = (b"Jefe".as_slice(), b"what do ya want for nothing?".as_slice());
        let good = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(is_signed(secret, good, body));
        assert!(is_signed(secret, &format!("sha256={good}"), body));
        for wrong in ["", "sha256=", &good[..62], &good.replace('5', "6"), "zz"] {
            assert!(!is_signed(secret, wrong, body), "{wrong}");
        }
        assert!(!is_signed(b"", good, body) && !is_signed(b"jefe", good, body));
        assert!(!is_signed(secret, good, b"what do ya want for nothing!"));
    }
}

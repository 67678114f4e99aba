//! Updates that Telegram brings: a small listener behind whoever gives the public address its certificate.
//!
//! Telegram is known by a word that it repeats with each update. It gets its answer when the update is durable, and until then holds back
//! what comes after it in the same chat; one that gets none brings the update again.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use subtle::ConstantTimeEq;
use teloxide::types::Update;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fault::Failure;
use crate::settings::platforms::telegram::WebhookSettings;

/// The header with the word.
const HEADER: &str = "x-telegram-bot-api-secret-token";
/// Largest update: the longest message with all that it answers, several times over.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Updates that may wait; more are to come again.
const WAITING_MAX: usize = 64;
/// Updates that are taken at once.
const BATCH_LEN: usize = 50;
/// With nothing new for so long an empty batch is given.
const WAIT: Duration = Duration::from_secs(25);
/// Time for an update to arrive whole.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for an update to become durable. Telegram gives up after a minute.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(45);

/// An update, and who waits for it to be durable.
struct Brought {
    update: Update,
    durable: oneshot::Sender<()>,
}

struct Door {
    secret: String,
    brought: mpsc::Sender<Brought>,
}

/// The listener, once it is open.
#[derive(Default)]
pub(super) struct Listener {
    open: Mutex<Option<Open>>,
    /// Those whose updates are handed in.
    handed: Mutex<Vec<oneshot::Sender<()>>>,
}

struct Open {
    server: JoinSet<()>,
    brought: Arc<tokio::sync::Mutex<mpsc::Receiver<Brought>>>,
}

/// The word by which Telegram is known. Reads the disk, apart from the runtime's threads.
pub(super) async fn secret(settings: &WebhookSettings) -> Result<String, Failure> {
    let reference = settings.secret.clone();
    let read = tokio::task::spawn_blocking(move || reference.reveal()).await;
    let secret = match read {
        Ok(Ok(secret)) => secret,
        Ok(Err(error)) => return Err(Failure::Barred(format!("the webhook's secret {error}"))),
        Err(_) => return Err(Failure::Transient("the webhook's secret could not be read".into())),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match (16..=256).contains(&secret.len()) && secret.bytes().all(plain) {
        true => Ok(secret),
        false => {
            Err(Failure::Barred("the webhook's secret needs 16 to 256 letters A-Z, a-z, 0-9, _ and -".into()))
        }
    }
}

impl Listener {
    /// Begins to listen, unless it does.
    pub(super) async fn open(&self, settings: &WebhookSettings) -> Result<(), Failure> {
        if let Some(open) = self.lock().as_mut()
            && open.server.try_join_next().is_none()
        {
            return Ok(());
        }
        let secret = secret(settings).await?;
        let listen = settings.listen;
        let bound = TcpListener::bind(listen).await;
        let bound = bound.map_err(|error| {
            Failure::Transient(format!("cannot listen at {listen} for Telegram: {error}"))
        })?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let door = Arc::new(Door { secret, brought: sender });
        let app = Router::new().fallback(take).with_state(door);
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(bound, app).await {
                tracing::error!(%error, "nobody listens for Telegram any more");
            }
        });
        *self.lock() = Some(Open { server, brought: Arc::new(tokio::sync::Mutex::new(receiver)) });
        Ok(())
    }

    /// What comes next, after a while nothing.
    pub(super) async fn next(&self) -> Vec<Update> {
        let Some(brought) = self.lock().as_ref().map(|open| open.brought.clone()) else { return Vec::new() };
        // Nobody else asks at the same time; it is held no longer than this call.
        let mut brought = brought.lock().await;
        let mut updates = Vec::new();
        let mut next = timeout(WAIT, brought.recv()).await.ok().flatten();
        while let Some(Brought { update, durable }) = next.take() {
            updates.push(update);
            self.handed().push(durable);
            if updates.len() < BATCH_LEN {
                next = brought.try_recv().ok();
            }
        }
        updates
    }

    /// What was handed in is durable: those who wait for that are told.
    pub(super) fn settle(&self) {
        for durable in self.handed().drain(..) {
            // Whoever did not wait so long brings it again, and it is known.
            let _ = durable.send(());
        }
    }

    /// What was handed in may be lost: those who wait bring it again.
    pub(super) fn renew(&self) {
        self.handed().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handed(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(door): State<Arc<Door>>, request: Request) -> StatusCode {
    let status = judge(&door, request).await;
    if status.is_client_error() {
        // Nothing of what was sent: anybody may send it.
        tracing::warn!(status = status.as_u16(), "a webhook was refused");
    }
    status
}

async fn judge(door: &Door, request: Request) -> StatusCode {
    let said = request.headers().get(HEADER).map(|said| said.as_bytes()).unwrap_or_default();
    if !bool::from(said.ct_eq(door.secret.as_bytes())) {
        return StatusCode::UNAUTHORIZED;
    }
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let Ok(Ok(body)) = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_BYTES_MAX)).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let Ok(update) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let (durable, is_durable) = oneshot::channel();
    if door.brought.try_send(Brought { update, durable }).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match timeout(DURABLE_TIMEOUT, is_durable).await {
        Ok(Ok(())) => StatusCode::OK,
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

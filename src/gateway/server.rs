//! The listener: bounded connections, bounded requests, and the table of endpoints. A task of the house: when it ends it is begun
//! again. Where its address is in use it says so, and tries again until it is free; the house goes on meanwhile.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_actors::house::{House, Service};
use archond_actors::insight::{Fact, Inspection};
use archond_actors::meaning::Meaning;
use archond_actors::ports::Clock;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, interval_at};

use super::access::{Access, KeyError, let_read, preflight};
use super::answer::Abandoned;
use super::endpoints;
use super::error::ApiError;
use super::inquiries;
use super::metrics::Counters;
use crate::settings::GatewaySettings;

/// Connections besides those with requests: clients keep some open, and those who are refused need one too.
const CONNECTIONS_EXTRA: u32 = 256;
/// How often an address that is in use is tried again: whoever holds it is asked to leave by a person.
const BIND_PERIOD: Duration = Duration::from_secs(5);
/// How long nobody is let in when the system has no room for a client.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// What the gateway needs.
pub struct GatewayContext {
    /// The house.
    pub house: Arc<House>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Recall: its model is nobody's to talk with.
    pub meaning: Meaning,
    /// How it is set.
    pub settings: GatewaySettings,
}

/// The gateway, whichever incarnation of its listener runs.
pub struct Gateway {
    pub(super) house: Arc<House>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meaning: Meaning,
    pub(super) settings: GatewaySettings,
    pub(super) access: Access,
    pub(super) places: Arc<Semaphore>,
    pub(super) counters: Counters,
    numbers: AtomicU64,
    started_unix_ms: u64,
    place: Mutex<Result<SocketAddr, String>>,
}

/// What a request is served with.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) gateway: Arc<Gateway>,
    pub(super) abandoned: mpsc::UnboundedSender<Abandoned>,
    address: SocketAddr,
}

impl Gateway {
    /// Reads the key, and opens nothing yet.
    pub fn new(context: GatewayContext) -> Result<Arc<Self>, KeyError> {
        let GatewayContext { house, clock, meaning, settings } = context;
        Ok(Arc::new(Self {
            access: Access::new(&settings)?,
            places: Arc::new(Semaphore::new(settings.requests_max as usize)),
            counters: Counters::default(),
            numbers: AtomicU64::new(1),
            started_unix_ms: clock.now_unix_ms(),
            place: Mutex::new(Err("not open yet".to_owned())),
            house,
            clock,
            meaning,
            settings,
        }))
    }

    /// The gateway as a service of the house.
    pub fn service(self: &Arc<Self>) -> Service {
        let (runs, looks) = (self.clone(), self.clone());
        Service {
            name: "gateway",
            task: Arc::new(move || runs.clone().run().boxed()),
            look: Arc::new(move || looks.inspect()),
        }
    }

    /// Where it listens, or why it does not.
    pub fn place(&self) -> Result<SocketAddr, String> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells requests of one gateway apart.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells messages of all gateways of this house apart.
    pub(super) fn message_key(&self) -> String {
        format!("{}-{}", self.started_unix_ms, self.number())
    }

    fn inspect(&self) -> Inspection {
        let place = self.place().map_or_else(|problem| problem, |address| format!("http://{address}/v1"));
        let free = self.places.available_permits() as u64;
        vec![
            ("address", Fact::Text(place)),
            ("requests running", (u64::from(self.settings.requests_max) - free).into()),
            ("requests running at most", self.settings.requests_max.into()),
            ("requests so far", self.counters.requests().into()),
        ]
    }

    fn set_place(&self, place: Result<SocketAddr, String>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    async fn run(self: Arc<Self>) -> String {
        let listener = self.bind().await;
        match listener.local_addr() {
            Ok(address) => {
                self.set_place(Ok(address));
                tracing::info!(%address, "the OpenAI API is open");
                self.serve(listener, address).await
            }
            Err(error) => format!("the listener has no address: {error}"),
        }
    }

    async fn bind(&self) -> TcpListener {
        let (address, mut tries) = (self.settings.address, interval(BIND_PERIOD));
        let mut told = false;
        loop {
            tries.tick().await;
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(error) => {
                    let problem = match error.kind() {
                        std::io::ErrorKind::AddrInUse => {
                            format!(
                                "{address} is in use by another program; end it, or set `gateway.address`"
                            )
                        }
                        _ => format!("{address} cannot be listened on: {error}; set `gateway.address`"),
                    };
                    self.set_place(Err(problem.clone()));
                    // Said once: it may last.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(problem, "there is no OpenAI API; trying again and again");
                    }
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, address: SocketAddr) -> String {
        let (abandoned, mut left) = mpsc::unbounded_channel::<Abandoned>();
        let router = router(Served { gateway: self.clone(), abandoned, address });
        let connections_max = self.settings.requests_max.saturating_add(CONNECTIONS_EXTRA);
        let connections_free = Arc::new(Semaphore::new(connections_max as usize));
        let mut tasks = JoinSet::new();
        loop {
            let accept = async {
                let place = connections_free.clone().acquire_owned().await;
                (place, next_stream(&listener).await)
            };
            tokio::select! {
                (place, stream) = accept => {
                    let connection = converse(stream, router.clone(), self.settings.read_timeout);
                    tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Some(abandoned) = left.recv() => {
                    tasks.spawn(abandoned.tidy(self.house.clone()));
                }
            }
            while tasks.try_join_next().is_some() {}
        }
    }
}

/// The next client. Waits while the system has no room for one.
async fn next_stream(listener: &TcpListener) -> TcpStream {
    let mut full = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                if !std::mem::replace(&mut full, true) {
                    tracing::warn!(%error, "HTTP clients cannot be let in; trying again and again");
                }
                interval_at(Instant::now() + FULL_PAUSE, FULL_PAUSE).tick().await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, read_timeout: Duration) {
    // Tokens are small and are to arrive as they come; without it they only come later.
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/health", get(endpoints::health))
        .route("/metrics", get(endpoints::metrics))
        .route("/v1/models", get(endpoints::models))
        .route("/v1/models/{id}", get(endpoints::model))
        .route("/v1/chat/completions", post(endpoints::chat))
        .route("/v1/chat/completions/input_tokens", post(inquiries::input_tokens))
        .route("/v1/completions", post(endpoints::completion))
        .route("/v1/embeddings", post(inquiries::embeddings))
        .route("/tokenize", post(inquiries::tokenize))
        .route("/v1/tokenize", post(inquiries::tokenize))
        .route("/detokenize", post(inquiries::detokenize))
        .route("/v1/detokenize", post(inquiries::detokenize))
        .route("/apply-template", post(inquiries::apply_template))
        .route("/v1/apply-template", post(inquiries::apply_template))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(from_fn_with_state(served.clone(), guard))
        .with_state(served)
}

/// Everything passes here first.
async fn guard(State(served): State<Served>, request: Request, next: Next) -> Response {
    let (access, path) = (&served.gateway.access, request.uri().path().to_owned());
    let page = access.check_place(request.headers(), served.address);
    let allowed = page.as_ref().map_err(Clone::clone).and_then(|_| match path.as_str() {
        // Those who look after machines have no key, and learn nothing but whether it works.
        "/health" => Ok(()),
        _ => access.check_key(request.headers()),
    });
    let page = page.ok().flatten();
    let asked = preflight(page.as_ref(), request.method(), request.headers());
    let mut response = match (asked, allowed) {
        (Some(response), _) => response,
        (None, Ok(())) => next.run(request).await,
        (None, Err(error)) => error.into_response(),
    };
    let_read(page, &mut response);
    served.gateway.counters.answered(response.status().as_u16());
    tracing::debug!(status = response.status().as_u16(), "an HTTP request was answered");
    response
}

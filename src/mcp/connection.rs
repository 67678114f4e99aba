//! One conversation with a server: it is begun, tools are listed, calls are made, and it ends with all that it started.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_actors::ports::Sink;
use rmcp::ServiceExt;
use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotificationParam, ClientCapabilities,
    ClientConfig, ClientRequest, Implementation, InitializeRequestParams, PaginatedRequestParams,
    PingRequest, ProgressNotificationParam, ProgressToken, RequestId, ServerResult,
};
use rmcp::service::{
    NotificationContext, Peer, PeerRequestOptions, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Map, Value};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::bounded::{Bounded, MESSAGE_BYTES_MAX};
use super::offer::Offer;
use super::words::{Words, one_line};
use crate::settings::{HttpServer, McpServer, ProgramServer, ServerWay};
use crate::tools::{BuiltIn, Server, Serving};

/// For a server to start and to say what it is.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// For the list of its tools, all pages together.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// For a sign of life of a server that was slow.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// For a short word to a server that may not read.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// For the end of the conversation.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most tools of a server: a model that is told of more chooses badly.
const TOOLS_MAX: usize = 128;
/// Most pages of a list.
const PAGES_MAX: usize = 64;
/// Calls that were given up, and wait to be told to the server.
pub(super) const GIVEN_UP_MAX: usize = 64;
/// Between two lines about how far a call is.
const PROGRESS_PERIOD: Duration = Duration::from_millis(250);
/// Longest such line, in characters.
const PROGRESS_CHARS_MAX: usize = 200;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallFault {
    /// It took too long. The server was told that it is not wanted any more.
    TimedOut,
    /// The conversation has ended.
    Ended,
    /// The server answers that it cannot be made.
    Refused(String),
}

/// Hears what a server says without being asked.
#[derive(Clone, Default)]
pub(super) struct Listener {
    progress: Arc<Mutex<HashMap<ProgressToken, Teller>>>,
    /// The list of its tools has changed.
    pub(super) changed: Arc<Notify>,
}

struct Teller {
    sink: Sink<String>,
    told: Option<Instant>,
}

impl Listener {
    fn with<T>(&self, of: impl FnOnce(&mut HashMap<ProgressToken, Teller>) -> T) -> T {
        // A panic cannot leave the map half-changed: each operation on it is one call.
        of(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientHandler for Listener {
    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let sink = self.with(|tellers| {
            let teller = tellers.get_mut(&progress.progress_token)?;
            let is_early = teller.told.is_some_and(|told| told.elapsed() < PROGRESS_PERIOD);
            teller.told = if is_early { teller.told } else { Some(Instant::now()) };
            (!is_early).then(|| teller.sink.clone())
        });
        if let Some(sink) = sink {
            sink(progress_line(&progress));
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    /// It offers servers nothing: no questions to the user, no use of the model, no list of folders.
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("archond", env!("CARGO_PKG_VERSION"));
        InitializeRequestParams::new(ClientCapabilities::default(), us)
    }
}

fn progress_line(progress: &ProgressNotificationParam) -> String {
    let message = progress.message.as_deref().unwrap_or_default();
    let far = match progress.total {
        Some(total) => format!("{} of {total}", progress.progress),
        None => progress.progress.to_string(),
    };
    let line = if message.is_empty() { far } else { format!("{far}: {message}") };
    one_line(&line, PROGRESS_CHARS_MAX)
}

/// A conversation that was begun.
pub(super) struct Opened {
    pub(super) service: RunningService<RoleClient, Listener>,
    /// The program behind it, if there is one.
    pub(super) serving: Option<Ending>,
    pub(super) words: Arc<Words>,
}

/// The end of a server's program, which comes at the latest when this is dropped.
pub(super) struct Ending {
    ended: tokio::sync::oneshot::Receiver<String>,
    wanted: std::io::PipeWriter,
}

impl Ending {
    /// Ends it and tells how it ended.
    pub(super) async fn end(self) -> String {
        drop(self.wanted);
        let told = timeout(CLOSE_TIMEOUT, self.ended).await;
        told.ok().and_then(Result::ok).unwrap_or_else(|| "and nobody knows how".to_owned())
    }
}

/// Begins a conversation. A program of its own works in the workspace of these tools.
pub(super) async fn open(server: &McpServer, tools: &BuiltIn) -> Result<Opened, String> {
    match &server.way {
        ServerWay::Program(program) => open_program(&server.name, program, tools).await,
        ServerWay::Http(http) => open_http(&server.name, http).await,
    }
}

async fn open_program(name: &str, program: &ProgramServer, tools: &BuiltIn) -> Result<Opened, String> {
    let secrets = reveal(&program.secrets).await?;
    let values = secrets.iter().map(|(_, value)| value.clone()).collect();
    let words = Arc::new(Words::new(name, values));
    let mut command = program.command.iter().cloned();
    let server = Server {
        program: command.next().unwrap_or_default(),
        arguments: command.collect(),
        env: program.env.iter().cloned().chain(secrets).collect(),
        reads: program.reads.clone(),
        writes: program.writes.clone(),
        network: program.network,
    };
    let heard = Arc::clone(&words);
    let lines: crate::tools::Lines = Arc::new(move |line| heard.hear(line));
    let Serving { input, output, ended, wanted } = tools.serve(server, lines).await?;
    let ending = Ending { ended, wanted };
    let pipes = pipe::Receiver::from_owned_fd(output)
        .and_then(|output| Ok((Bounded::new(output), pipe::Sender::from_owned_fd(input)?)));
    let pipes = pipes.map_err(|error| format!("its pipes cannot be used: {error}"))?;
    match timeout(OPEN_TIMEOUT, Listener::default().serve(pipes)).await {
        Ok(Ok(service)) => Ok(Opened { service, serving: Some(ending), words }),
        Ok(Err(error)) => {
            let how = ending.end().await;
            let why = words.plain(&error.to_string());
            Err(format!("it does not speak MCP ({why}); it ended {how}{}", words.last()))
        }
        Err(_) => {
            drop(ending);
            Err(format!("it said nothing for {} s{}", OPEN_TIMEOUT.as_secs(), words.last()))
        }
    }
}

async fn open_http(name: &str, http: &HttpServer) -> Result<Opened, String> {
    let mut headers = reveal(&http.headers).await?;
    if let Some(key) = &http.key {
        let key = reveal(&[("key".to_owned(), key.clone())]).await?;
        headers.extend(key.into_iter().map(|(_, key)| ("authorization".to_owned(), format!("Bearer {key}"))));
    }
    let words = Arc::new(Words::new(name, headers.iter().map(|(_, value)| value.clone()).collect()));
    http.url.check().await.map_err(|fault| format!("{} {fault}", http.url))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(http.url.to_string());
    config.max_json_response_size = MESSAGE_BYTES_MAX;
    config.max_sse_event_size = MESSAGE_BYTES_MAX;
    let transport = StreamableHttpClientTransport::with_client(http.url.client(&headers)?, config);
    match timeout(OPEN_TIMEOUT, Listener::default().serve(transport)).await {
        Ok(Ok(service)) => Ok(Opened { service, serving: None, words }),
        Ok(Err(error)) => Err(format!("{} cannot be used: {}", http.url, words.plain(&error.to_string()))),
        Err(_) => Err(format!("{} said nothing for {} s", http.url, OPEN_TIMEOUT.as_secs())),
    }
}

/// The secrets themselves.
async fn reveal(
    references: &[(String, crate::settings::KeyReference)],
) -> Result<Vec<(String, String)>, String> {
    let references = references.to_vec();
    let reveal = move || {
        let one = |(name, place): (String, crate::settings::KeyReference)| match place.reveal() {
            Ok(secret) => Ok((name, secret)),
            Err(error) => Err(format!("the secret `{name}` {error}")),
        };
        references.into_iter().map(one).collect()
    };
    tokio::task::spawn_blocking(reveal).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// All tools that the server offers now, in its order.
pub(super) async fn list(peer: &Peer<RoleClient>) -> Result<Vec<Offer>, String> {
    let all = async {
        let (mut offers, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let params = cursor.take().map(|next| PaginatedRequestParams::default().with_cursor(Some(next)));
            let page = peer.list_tools(params).await.map_err(|error| shown(&error))?;
            let offer = |tool: rmcp::model::Tool| {
                let description = tool.description.as_deref().unwrap_or_default();
                Offer::new(&tool.name, description, &tool.input_schema)
            };
            offers.extend(page.tools.into_iter().map(offer));
            if offers.len() > TOOLS_MAX {
                return Err(format!("it has more than {TOOLS_MAX} tools"));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(offers);
            }
        }
        Err(format!("its list of tools has more than {PAGES_MAX} pages"))
    };
    let told = timeout(LIST_TIMEOUT, all).await;
    told.unwrap_or_else(|_| Err(format!("it did not list its tools within {} s", LIST_TIMEOUT.as_secs())))
}

/// Whether the server answers at all.
pub(super) async fn is_alive(peer: &Peer<RoleClient>) -> bool {
    let ping = ClientRequest::PingRequest(PingRequest::default());
    matches!(timeout(PING_TIMEOUT, peer.send_request(ping)).await, Ok(Ok(_) | Err(ServiceError::McpError(_))))
}

/// Tells the server that nobody waits for an answer any more.
pub(super) async fn give_up(peer: &Peer<RoleClient>, id: RequestId) {
    let why = Some("nobody waits for it any more".to_owned());
    let told = peer.notify_cancelled(CancelledNotificationParam::new(Some(id), why));
    // A server that does not read is found out by its next call.
    let _told = timeout(NOTIFY_TIMEOUT, told).await;
}

/// What makes calls in a conversation.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) peer: Peer<RoleClient>,
    pub(super) listener: Listener,
    /// Takes the calls that were given up.
    pub(super) given_up: mpsc::Sender<RequestId>,
}

/// A call whose answer has not come. Dropped before, the server is told.
struct Open<'c> {
    caller: &'c Caller,
    id: RequestId,
    token: ProgressToken,
    is_wanted: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.caller.listener.with(|tellers| tellers.remove(&self.token));
        if self.is_wanted {
            // One that is not told of it works in vain, no more.
            let _told = self.caller.given_up.try_send(self.id.clone());
        }
    }
}

impl Caller {
    /// Makes a call. Dropping the future gives it up.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        time_max: Duration,
        progress: Sink<String>,
    ) -> Result<CallToolResult, CallFault> {
        match timeout(time_max, self.called(tool, arguments, progress)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallFault::TimedOut),
        }
    }

    async fn called(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        progress: Sink<String>,
    ) -> Result<CallToolResult, CallFault> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let begun = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
        let handle = begun.map_err(|_| CallFault::Ended)?;
        let (id, token) = (handle.id.clone(), handle.progress_token.clone());
        self.listener.with(|tellers| tellers.insert(token.clone(), Teller { sink: progress, told: None }));
        let mut open = Open { caller: self, id, token, is_wanted: true };
        let answer = handle.await_response().await;
        open.is_wanted = false;
        drop(open);
        match answer {
            Ok(ServerResult::CallToolResult(result)) => Ok(result),
            Ok(ServerResult::EmptyResult(_)) => Ok(CallToolResult::default()),
            Ok(_) => Err(CallFault::Refused("it answered something that is no answer to a call".to_owned())),
            Err(error @ ServiceError::McpError(_)) => Err(CallFault::Refused(shown(&error))),
            Err(_) => Err(CallFault::Ended),
        }
    }
}

/// A fault in words; a server's own words are cut.
fn shown(error: &ServiceError) -> String {
    /// Enough to know what is meant.
    const CHARS_MAX: usize = 500;
    match error {
        ServiceError::McpError(error) => one_line(&error.message, CHARS_MAX),
        other => one_line(&other.to_string(), CHARS_MAX),
    }
}

/// Begins a conversation once, lists the tools, and ends it: for whoever wants to see what a server is.
pub async fn look(server: &McpServer, tools: &BuiltIn) -> Result<Vec<Offer>, String> {
    let Opened { mut service, serving, words } = open(server, tools).await?;
    let listed = list(service.peer()).await;
    let _closed = service.close_with_timeout(CLOSE_TIMEOUT).await;
    if let Some(serving) = serving {
        let how = serving.end().await;
        return listed.map_err(|why| format!("{why}; it ended {how}{}", words.last()));
    }
    listed
}

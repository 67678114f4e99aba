//! What is done for a client, one function per operation.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archond_actors::domain::{
    Accepted, ActorState, ArchonId, ArchonSpec, ChannelId, InboundMessage, InboxId, MessageKey, OutboxId,
    PeerId, SessionKey, ThreadId, TurnEvent, Waybill,
};
use archond_actors::harness::HarnessError;
use archond_actors::house::{House, HouseError, SubmitError};
use archond_actors::insight::RosterError;
use archond_actors::link::LinkError;
use archond_actors::meaning::Meaning;
use archond_actors::memory::MemoryError;
use archond_actors::ports::{Clock, StoreError};
use tokio::sync::{Notify, mpsc};

use super::protocol::{ErrorCode, Op, Reply, Request, Response, TurnView};
use super::{bringing, deciding, operator, remembering, roads, views};
use crate::channels::media::MediaFolder;
use crate::gateway::Gateway;
use crate::logging::LogLevels;

/// The channel of terminals.
pub(super) const CLI_CHANNEL: &str = "cli";
/// How long a watcher waits for the next event before it looks into the outbox itself.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// How often it is looked whether an Archon is ready: short beside what a person notices.
const READY_LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Longest client-made message id, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// Sessions in one answer.
const SESSIONS_MAX: usize = 1000;
/// Turns in one answer.
const TURNS_MAX: usize = 200;
/// Undelivered answers in one answer.
const ANSWERS_MAX: usize = 200;

/// Why a profile cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// There is none of that name.
    #[error(
        "there is no Archon {archon}; `archond archon list` shows all, `archond archon new {archon}` makes one"
    )]
    NotFound {
        /// The name.
        archon: ArchonId,
    },
    /// The settings have faults.
    #[error("{faults}")]
    Faulty {
        /// All of them, with their places.
        faults: String,
    },
}

/// Reads a profile as it is on disk now. Blocks.
pub type ProfileSource = Arc<dyn Fn(&ArchonId) -> Result<ArchonSpec, ProfileError> + Send + Sync>;

/// What operations need.
pub struct AdminContext {
    /// The house.
    pub house: Arc<House>,
    /// Recall.
    pub meaning: Meaning,
    /// What came with messages.
    pub media: MediaFolder,
    /// Where profiles come from.
    pub profiles: ProfileSource,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// The OpenAI API, if there is one.
    pub gateway: Option<Arc<Gateway>>,
    /// Ends the daemon.
    pub shutdown: Arc<Notify>,
    /// When the daemon was started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Where it listens.
    pub socket: String,
    /// Where the Archons' workspaces are.
    pub state: PathBuf,
    /// Where its logs are.
    pub logs: String,
    /// What is logged.
    pub log: Arc<LogLevels>,
}

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller {
    uid: u32,
}

impl Caller {
    pub(super) fn new(uid: u32) -> Self {
        Self { uid }
    }

    /// The peer, as the kernel says: a client cannot choose it.
    pub(super) fn peer(&self) -> Result<PeerId, Refusal> {
        Ok(PeerId::new(&format!("uid{}", self.uid))?)
    }

    /// The message id within the channel: two users may choose the same one.
    fn key(&self, key: &str) -> Result<String, Refusal> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let message = format!("`key` must have 1 to {KEY_BYTES_MAX} bytes");
            return Err(Refusal { code: ErrorCode::BadRequest, message });
        }
        Ok(format!("uid{}:{key}", self.uid))
    }
}

/// Why an operation was not done.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl From<archond_actors::domain::IdError> for Refusal {
    fn from(error: archond_actors::domain::IdError) -> Self {
        Self { code: ErrorCode::BadRequest, message: error.to_string() }
    }
}

impl From<MemoryError> for Refusal {
    fn from(error: MemoryError) -> Self {
        let code = match &error {
            MemoryError::Link(LinkError::Busy { .. }) => ErrorCode::Busy,
            MemoryError::Store(StoreError::NotFound { .. }) => ErrorCode::NotFound,
            MemoryError::Link(_) | MemoryError::Store(_) => ErrorCode::Failed,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        let code = match error {
            SubmitError::Memory(error) => return error.into(),
            SubmitError::NotRunning { .. } | SubmitError::Unavailable { .. } => ErrorCode::Unavailable,
            SubmitError::ChannelClosed { .. } => ErrorCode::Unavailable,
            SubmitError::Empty => ErrorCode::BadRequest,
            SubmitError::TooLarge { .. } => ErrorCode::TooLarge,
            SubmitError::Busy { .. } => ErrorCode::Busy,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<HouseError> for Refusal {
    fn from(error: HouseError) -> Self {
        let code = match &error {
            HouseError::Memory(error) => return error.clone().into(),
            HouseError::Roster(error) => return error.clone().into(),
            HouseError::Harness(HarnessError::Running { .. }) => ErrorCode::Busy,
            HouseError::NotAsked { .. } => ErrorCode::NotFound,
            HouseError::NotRunning { .. } => ErrorCode::Unavailable,
            HouseError::Pool(_) => ErrorCode::Unavailable,
            HouseError::Supervision(_) | HouseError::Harness(_) => ErrorCode::Failed,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<RosterError> for Refusal {
    fn from(error: RosterError) -> Self {
        let code = match &error {
            RosterError::NotFound { .. } => ErrorCode::NotFound,
            RosterError::NotRunning { .. } => ErrorCode::Unavailable,
            RosterError::IsSupervisor { .. } | RosterError::IsRoot { .. } => ErrorCode::BadRequest,
            RosterError::Supervision(_) => ErrorCode::Failed,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<ProfileError> for Refusal {
    fn from(error: ProfileError) -> Self {
        let code = match &error {
            ProfileError::NotFound { .. } => ErrorCode::NotFound,
            ProfileError::Faulty { .. } => ErrorCode::BadRequest,
        };
        Self { code, message: error.to_string() }
    }
}

/// Does what is asked and sends the answer.
pub(super) async fn perform(
    request: Request,
    caller: Caller,
    context: Arc<AdminContext>,
    sender: mpsc::Sender<Response>,
) {
    let id = request.id;
    let ends_daemon = request.op == Op::Shutdown;
    let reply = match request.op {
        Op::Chat { archon, text, key, thread } => {
            let chat = Chat { id, archon, text, key, thread, files: Vec::new() };
            chat.run(&caller, &context, &sender).await
        }
        Op::Bring { archon, text, key, thread, files } => {
            let chat = Chat { id, archon, text, key, thread, files };
            chat.run(&caller, &context, &sender).await
        }
        Op::Inside(op) => operator::perform(id, op, &context, &sender).await,
        other => simple(other, &caller, &context).await,
    };
    let reply = reply.unwrap_or_else(|Refusal { code, message }| Reply::Error { code, message });
    // A client that has left wants no answer.
    let _ = sender.send(Response { id, reply }).await;
    if ends_daemon {
        // Only now: what is answered before the house closes is still written.
        context.shutdown.notify_one();
    }
}

async fn simple(op: Op, caller: &Caller, context: &AdminContext) -> Result<Reply, Refusal> {
    let memory = context.house.memory();
    match op {
        Op::Status => Ok(Reply::House(views::house(context).await)),
        Op::Cancel { archon, thread } => cancel(archon, thread, caller, context).await,
        Op::Undelivered { archon } => {
            let peer = (ArchonId::new(&archon)?, caller.peer()?);
            let entries =
                memory.undelivered(&ChannelId::new(CLI_CHANNEL)?, Some(peer), None, ANSWERS_MAX).await?;
            Ok(Reply::Answers(entries.iter().map(|entry| views::answer(entry, &context.state)).collect()))
        }
        Op::Delivered { outbox } => {
            memory.mark_sent(OutboxId(outbox)).await?;
            Ok(Reply::Done)
        }
        Op::Sessions { archon, after } => {
            let archon = archon.as_deref().map(ArchonId::new).transpose()?;
            let after = after.as_deref().map(str::parse::<SessionKey>).transpose()?;
            let heads = memory.sessions(archon.as_ref(), after.as_ref(), SESSIONS_MAX).await?;
            Ok(Reply::Sessions(heads.iter().map(views::session).collect()))
        }
        Op::Turns { session, from } => turns(&session, from, context).await,
        Op::RemoveSession { session } => {
            context.house.remove_session(session.parse()?).await?;
            Ok(Reply::Done)
        }
        Op::StartArchon { archon } => {
            let (profiles, id) = (context.profiles.clone(), ArchonId::new(&archon)?);
            let unread = |error: tokio::task::JoinError| Refusal {
                code: ErrorCode::Failed,
                message: format!("the profile could not be read: {error}"),
            };
            let spec = tokio::task::spawn_blocking(move || profiles(&id)).await.map_err(unread)??;
            let id = spec.id.clone();
            context.house.start_archon(spec).await?;
            ready(&id, context).await
        }
        Op::StopArchon { archon } => {
            context.house.stop_archon(&ArchonId::new(&archon)?).await?;
            Ok(Reply::Done)
        }
        Op::Memory(op) => remembering::perform(op, caller, context).await,
        Op::Channel(op) => roads::perform(op, context).await,
        Op::Approval(op) => deciding::perform(op, context).await,
        Op::Shutdown => Ok(Reply::Done),
        Op::Chat { .. } | Op::Bring { .. } | Op::Inside(_) => {
            Err(Refusal { code: ErrorCode::BadRequest, message: "this is a stream".into() })
        }
    }
}

/// Waits until an Archon's model is loaded, however long that takes: the pool ends a load that makes no progress.
async fn ready(id: &ArchonId, context: &AdminContext) -> Result<Reply, Refusal> {
    let mut looks = tokio::time::interval(READY_LOOK_PERIOD);
    loop {
        looks.tick().await;
        let Some(status) = context.house.archon_status(id).await else {
            let message = format!("{id} was stopped while it started");
            return Err(Refusal { code: ErrorCode::Unavailable, message });
        };
        match status.state {
            ActorState::Starting => {}
            ActorState::Failed | ActorState::Quarantined | ActorState::Stopped => {
                let reason = status.last_error.unwrap_or_else(|| "the log may say why".into());
                let message = format!("{id} is {}: {reason}", status.state);
                return Err(Refusal { code: ErrorCode::Unavailable, message });
            }
            _ => return Ok(Reply::Done),
        }
    }
}

async fn cancel(
    archon: String,
    thread: Option<String>,
    caller: &Caller,
    context: &AdminContext,
) -> Result<Reply, Refusal> {
    let (archon, channel, peer) = (ArchonId::new(&archon)?, ChannelId::new(CLI_CHANNEL)?, caller.peer()?);
    let thread = match thread {
        Some(thread) => ThreadId::new(&thread)?,
        None => {
            let memory = context.house.memory();
            memory.current_thread(&archon, &channel, &peer).await?
        }
    };
    let session = SessionKey { archon, channel, peer, thread };
    if context.house.stop_turn(session).await? {
        return Ok(Reply::Done);
    }
    Err(Refusal { code: ErrorCode::NotFound, message: "nothing is running in that session".into() })
}

async fn turns(session: &str, from: u64, context: &AdminContext) -> Result<Reply, Refusal> {
    let key: SessionKey = session.parse()?;
    let memory = context.house.memory();
    let Some(snapshot) = memory.session(&key).await? else {
        let message = format!("there is no session {key}; `archond session list` shows all");
        return Err(Refusal { code: ErrorCode::NotFound, message });
    };
    let turns = memory.turns(&key, from, TURNS_MAX).await?;
    Ok(Reply::Turns(views::turns(&snapshot.head, &turns)))
}

/// A message and its way to the answer.
struct Chat {
    id: u64,
    archon: String,
    text: String,
    key: String,
    thread: Option<String>,
    files: Vec<String>,
}

impl Chat {
    async fn run(
        self,
        caller: &Caller,
        context: &AdminContext,
        sender: &mpsc::Sender<Response>,
    ) -> Result<Reply, Refusal> {
        let (text, enclosures) = bringing::keep(&context.media, self.text, self.files).await?;
        let message = InboundMessage {
            archon: ArchonId::new(&self.archon)?,
            channel: ChannelId::new(CLI_CHANNEL)?,
            peer: caller.peer()?,
            key: caller.key(&self.key)?,
            thread: self.thread.as_deref().map(ThreadId::new).transpose()?,
            text,
            received_unix_ms: context.clock.now_unix_ms(),
            waybill: Waybill { enclosures, ..Waybill::default() },
        };
        // Watched before it is handed in, so that not even the quickest answer is missed.
        let key: MessageKey = message.message_key();
        let mut observer = context.house.observers().observe(key);
        let (inbox, session, duplicate) = match context.house.submit(message).await? {
            Accepted::Fresh(entry) => (entry.id, entry.session.to_string(), false),
            Accepted::Duplicate(inbox) => (inbox, String::new(), true),
        };
        let send = async |turn| sender.send(Response { id: self.id, reply: Reply::Turn(turn) }).await;
        let mut listening = send(TurnView::Accepted { inbox: inbox.0, session, duplicate }).await.is_ok();
        if duplicate && let Some(answer) = answered(inbox, context).await? {
            return Ok(answer);
        }
        while listening {
            match tokio::time::timeout(LOOK_PERIOD, observer.next()).await {
                Ok(Some(TurnEvent::Ended { answer })) => {
                    return Ok(Reply::Turn(TurnView::Ended(views::answer(&answer, &context.state))));
                }
                Ok(Some(event)) => listening = send(views::turn_event(event, &context.state)).await.is_ok(),
                Err(_) => {
                    // Nothing for a while; should an event be lost, the outbox knows.
                    if let Some(answer) = answered(inbox, context).await? {
                        return Ok(answer);
                    }
                    listening = !sender.is_closed();
                }
                Ok(None) => {
                    let message = "another client watches this message now".into();
                    return answered(inbox, context).await?.ok_or(Refusal { code: ErrorCode::Busy, message });
                }
            }
        }
        Ok(Reply::Done)
    }
}

async fn answered(inbox: InboxId, context: &AdminContext) -> Result<Option<Reply>, Refusal> {
    let answer = context.house.memory().answer_to(inbox).await?;
    Ok(answer.map(|answer| Reply::Turn(TurnView::Ended(views::answer(&answer, &context.state)))))
}

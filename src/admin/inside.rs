//! What an operator asks and sees of the inside of the house: the protocol's types, and how they are made.
//!
//! Nothing here holds what a person or a model said.
use std::time::Duration;

use archond_actors::domain::{InboxEntry, OutboxEntry, QueuedRequest, SessionStatus};
use archond_actors::insight::{ActorView, Crash, Fact, TraceEvent};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::protocol::ModelView;
use super::trail::TrailView;

/// What can be asked about the inside of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum InsideOp {
    /// Every actor. Answered by [`InsideReply::Tree`], also while actors hang.
    Tree,
    /// One actor. Answered by [`InsideReply::Inspection`].
    Inspect {
        /// Which.
        path: String,
    },
    /// The messages of an actor as it handles them: a stream of [`InsideReply::Traced`], ended by [`Reply::Done`](super::protocol::Reply::Done).
    Trace {
        /// Which.
        path: String,
        /// For so many seconds.
        seconds: u32,
    },
    /// Does something to an actor. Answered by [`Reply::Done`](super::protocol::Reply::Done).
    Act {
        /// To which.
        path: String,
        /// What.
        act: Act,
    },
    /// The models and every request. Answered by [`InsideReply::Pool`].
    Pool,
    /// The sessions in memory. Answered by [`InsideReply::Sessions`].
    Sessions,
    /// What fills the window of a session. Answered by [`InsideReply::Window`].
    Window {
        /// `archon/channel/peer/thread`.
        session: String,
    },
    /// Messages without an answer. Answered by [`InsideReply::Inbox`].
    Inbox,
    /// Answers that no client has confirmed. Answered by [`InsideReply::Outbox`].
    Outbox,
    /// The last crashes. Answered by [`InsideReply::Crashes`].
    Crashes,
    /// Which way each of the last answers took. Answered by [`InsideReply::Trail`].
    Trail,
    /// What is limited, and how near it is. Answered by [`InsideReply::Limits`].
    Limits,
    /// What is written into the log of a part of the program, until the daemon ends. Answered by [`Reply::Done`](super::protocol::Reply::Done).
    SetLog {
        /// Such as `archond_actors::pool`.
        target: String,
        /// `error`, `warn`, `info`, `debug`, `trace`, `off`; `default` takes the setting back.
        level: String,
    },
}

/// What can be done to an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// End it at its next wait; its supervisor decides what follows.
    Kill,
    /// End it in order; it stays down.
    Stop,
    /// Start it, after ending it in order; its failures are forgotten.
    Restart,
    /// Hold its messages back.
    Suspend,
    /// Let its messages go again.
    Resume,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum InsideReply {
    /// Every actor, parents before their children.
    Tree(Vec<ActorNode>),
    /// One actor.
    Inspection(InspectionView),
    /// One message that an actor handled.
    Traced(TraceView),
    /// The pool.
    Pool {
        /// Every model.
        models: Vec<ModelView>,
        /// Every request, those that run first.
        requests: Vec<PoolRequest>,
    },
    /// Sessions in memory.
    Sessions(Vec<ActiveSession>),
    /// One session's window.
    Window(WindowView),
    /// Messages without an answer.
    Inbox(Vec<WaitingMessage>),
    /// Answers that no client has confirmed.
    Outbox(Vec<WaitingAnswer>),
    /// Crashes, newest last.
    Crashes(Vec<CrashView>),
    /// The ways of the last answers, oldest first.
    Trail(Vec<TrailView>),
    /// Limits.
    Limits(Vec<LimitView>),
}

/// One actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActorNode {
    /// Where it is in the tree.
    pub path: String,
    /// How many actors are above it.
    pub depth: usize,
    /// What kind of actor it is.
    pub actor: String,
    /// One of the state words.
    pub state: String,
    /// Since when this incarnation runs, in milliseconds; absent while it does not.
    pub age_ms: Option<u64>,
    /// How often it was started again.
    pub restarts: u32,
    /// Messages that wait.
    pub mailbox: usize,
    /// Messages that may wait.
    pub mailbox_max: usize,
    /// Messages handled so far.
    pub handled: u64,
    /// The kind of the message that it handles.
    pub doing: Option<String>,
    /// The ids in that message.
    pub about: Option<String>,
    /// For how long it has handled it, in milliseconds.
    pub doing_ms: Option<u64>,
    /// The actor that it waits for.
    pub waits_for: Option<String>,
    /// For how long, in milliseconds.
    pub waits_ms: Option<u64>,
    /// Until it is started again, in milliseconds.
    pub restart_in_ms: Option<u64>,
    /// Its last failure.
    pub last_error: Option<String>,
}

/// The state of one actor, from outside and as it tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InspectionView {
    /// What is seen from outside.
    pub actor: ActorNode,
    /// What it says itself, in the order in which people read it; absent when it does not answer now.
    pub facts: Option<IndexMap<String, FactView>>,
}

/// One value of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactView {
    /// Whether.
    Flag(bool),
    /// How many.
    Count(u64),
    /// An id, a name, a state word, a duration with its unit.
    Text(String),
    /// Several of them.
    List(Vec<String>),
}

/// A message that an actor handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceView {
    /// The kind of the message.
    pub message: String,
    /// The ids in it.
    pub about: Option<String>,
    /// How long it had waited, in microseconds.
    pub waited_us: u64,
    /// How long it was handled, in microseconds.
    pub took_us: u64,
    /// Whether it ended the actor.
    pub failed: bool,
    /// Messages before this one that are not shown, because there were too many.
    pub left_out: u64,
}

/// An actor that ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CrashView {
    /// Numbers crashes since the daemon started.
    pub id: u64,
    /// Which actor.
    pub path: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How it ended.
    pub cause: String,
    /// The kind of the message that it handled, or had handled last.
    pub message: Option<String>,
    /// Ids in that message.
    pub about: Option<String>,
    /// Where it panicked.
    pub stack: Option<String>,
    /// Which of its incarnations this was, from 1.
    pub incarnation: u32,
}

/// A session in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActiveSession {
    /// `archon/channel/peer/thread`.
    pub session: String,
    /// One of the state words.
    pub state: String,
    /// Turns kept.
    pub turns: u64,
    /// Length of the last prompt and answer, in tokens.
    pub context_tokens: u32,
    /// The limit of that.
    pub context_tokens_max: u32,
    /// How much of the last prompt did not have to be read again, in percent.
    pub reuse_percent: u8,
    /// The model that answered last.
    pub model: Option<String>,
}

/// What fills the window of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowView {
    /// `archon/channel/peer/thread`.
    pub session: String,
    /// What its actor says, when it is in memory.
    pub active: Option<ActiveSession>,
    /// Bytes of the persona.
    pub persona_bytes: u64,
    /// Bytes of the summary over the first turns.
    pub summary_bytes: u64,
    /// Turns that the summary covers.
    pub summarised: u64,
    /// Bytes of each turn that is in the prompt word for word, oldest first: number, the peer's, the Archon's.
    pub turns: Vec<(u64, u64, u64)>,
}

/// A message without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WaitingMessage {
    /// Its place in the inbox.
    pub inbox: u64,
    /// The session that it belongs to.
    pub session: String,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_unix_ms: u64,
    /// How often a turn was begun for it.
    pub attempts: u32,
    /// Its length.
    pub bytes: u64,
}

/// An answer that no client has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WaitingAnswer {
    /// Its place in the outbox.
    pub outbox: u64,
    /// The message that it answers.
    pub inbox: u64,
    /// The session.
    pub session: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// Its length.
    pub bytes: u64,
}

/// A request in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolRequest {
    /// Its number.
    pub id: u64,
    /// The model.
    pub model: String,
    /// The session.
    pub session: String,
    /// Its place in the queue; absent while it runs.
    pub position: Option<u32>,
    /// Tokens of the answer so far.
    pub tokens: u32,
}

/// One limit of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitView {
    /// What is limited.
    pub what: String,
    /// How much there is now.
    pub now: u64,
    /// How much there may be.
    pub max: u64,
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<ActorView> for ActorNode {
    fn from(view: ActorView) -> Self {
        let (doing, about, doing_ms) = match view.doing {
            Some((kind, about, since)) => (Some(kind.to_owned()), about, Some(ms(since))),
            None => (None, None, None),
        };
        Self {
            path: view.path,
            depth: view.depth,
            actor: view.actor.to_owned(),
            state: view.state.to_string(),
            age_ms: view.age.map(ms),
            restarts: view.restarts,
            mailbox: view.mailbox_len,
            mailbox_max: view.mailbox_len_max,
            handled: view.handled,
            doing,
            about,
            doing_ms,
            waits_for: view.waits_for.map(|(actor, _)| actor.to_owned()),
            waits_ms: view.waits_for.map(|(_, since)| ms(since)),
            restart_in_ms: view.restart_in.map(ms),
            last_error: view.last_error,
        }
    }
}

impl From<Fact> for FactView {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Text(text) => Self::Text(text),
            Fact::Count(count) => Self::Count(count),
            Fact::Duration(duration) => Self::Text(format!("{duration:?}")),
            Fact::Flag(flag) => Self::Flag(flag),
            Fact::List(list) => Self::List(list),
        }
    }
}

impl From<TraceEvent> for TraceView {
    fn from(event: TraceEvent) -> Self {
        Self {
            message: event.kind.to_owned(),
            about: event.about,
            waited_us: us(event.waited),
            took_us: us(event.took),
            failed: event.failed,
            left_out: event.left_out,
        }
    }
}

impl From<Crash> for CrashView {
    fn from(crash: Crash) -> Self {
        Self {
            id: crash.id,
            path: crash.path,
            at_unix_ms: crash.at_unix_ms,
            cause: crash.cause,
            message: crash.message.map(str::to_owned),
            about: crash.about,
            stack: crash.stack,
            incarnation: crash.incarnation,
        }
    }
}

impl From<SessionStatus> for ActiveSession {
    fn from(status: SessionStatus) -> Self {
        Self {
            session: status.key.to_string(),
            state: status.state.to_string(),
            turns: status.turns,
            context_tokens: status.context_tokens,
            context_tokens_max: status.context_tokens_max,
            reuse_percent: status.reuse_percent,
            model: status.model.map(|model| model.to_string()),
        }
    }
}

impl From<InboxEntry> for WaitingMessage {
    fn from(entry: InboxEntry) -> Self {
        Self {
            inbox: entry.id.0,
            session: entry.session.to_string(),
            received_unix_ms: entry.received_unix_ms,
            attempts: entry.attempts,
            bytes: entry.text.len() as u64,
        }
    }
}

impl From<OutboxEntry> for WaitingAnswer {
    fn from(entry: OutboxEntry) -> Self {
        Self {
            outbox: entry.id.0,
            inbox: entry.answers.0,
            session: entry.session.to_string(),
            created_unix_ms: entry.created_unix_ms,
            bytes: entry.text.len() as u64,
        }
    }
}

impl From<QueuedRequest> for PoolRequest {
    fn from(request: QueuedRequest) -> Self {
        Self {
            id: request.id.0,
            model: request.model.to_string(),
            session: request.session.to_string(),
            position: request.position,
            tokens: request.tokens,
        }
    }
}

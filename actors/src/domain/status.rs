//! What the house says of itself. One state word per actor, the same wherever it is shown.
use std::fmt;
use std::time::Duration;

use super::ids::{ArchonId, GenerationId, ModelId, SessionKey};

/// The state of an actor or a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorState {
    /// Being started, or waiting for its restart.
    Starting,
    /// Nothing to do.
    Ready,
    /// At work.
    Running,
    /// Waits for the operator's yes.
    WaitingApproval,
    /// Waits for a place in the pool.
    Queued,
    /// Summarises a conversation.
    Compacting,
    /// Finishes what it has and takes no more.
    Draining,
    /// Held back by the operator: its messages wait.
    Suspended,
    /// Ended as asked.
    Stopped,
    /// Ended after too many crashes; waits for the operator.
    Quarantined,
    /// Broken; it is tried again now and then.
    Failed,
}

impl ActorState {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::WaitingApproval => "waiting-approval",
            Self::Queued => "queued",
            Self::Compacting => "compacting",
            Self::Draining => "draining",
            Self::Suspended => "suspended",
            Self::Stopped => "stopped",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One Archon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchonStatus {
    /// Which.
    pub id: ArchonId,
    /// Its state.
    pub state: ActorState,
    /// The model that answers a plain message now.
    pub model: Option<ModelId>,
    /// The model that its route names, where that is another one.
    pub wanted_model: Option<ModelId>,
    /// Sessions in memory.
    pub sessions: u32,
    /// Turns that run.
    pub in_flight: u32,
    /// Messages that wait.
    pub waiting: u32,
    /// Crashes since the daemon started.
    pub crashes: u32,
    /// Why it is not well, in words.
    pub last_error: Option<String>,
}

/// One session in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Which.
    pub key: SessionKey,
    /// Its state.
    pub state: ActorState,
    /// Turns kept.
    pub turns: u64,
    /// Length of the last prompt and answer, in tokens, counted by the model.
    pub context_tokens: u32,
    /// The limit of that.
    pub context_tokens_max: u32,
    /// How much of the last prompt did not have to be read again, in percent.
    pub reuse_percent: u8,
    /// The model that answered last.
    pub model: Option<ModelId>,
    /// Why the route named the model that it named last.
    pub because: Option<String>,
    /// The calls that wait for the owner's yes.
    pub asked: Vec<AskedCall>,
}

impl SessionStatus {
    /// The calls that wait for the owner's yes, each with the session whose turn wants it.
    pub fn into_asked(self) -> impl Iterator<Item = (SessionKey, AskedCall)> {
        let Self { key, asked, .. } = self;
        asked.into_iter().map(move |asked| (key.clone(), asked))
    }
}

/// A call that waits for the owner's yes, as a session tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    /// Its name in the house, which is never given twice.
    pub call: String,
    /// Exactly what will be done.
    pub shown: String,
    /// It is wanted in the turn of somebody who may not say yes himself.
    pub of_user: bool,
}

/// The state of a model in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// Not needed so far.
    Idle,
    /// Its worker loads it.
    Loading {
        /// 0 to 100.
        percent: u8,
    },
    /// It answers.
    Ready,
    /// It left its memory to another model, and is loaded again when it is wanted.
    Resting,
    /// It is wanted, and waits for memory that another model has.
    AwaitingMemory,
    /// Its worker died; it is started again after a delay.
    Restarting {
        /// Until the next try.
        retry_in: Duration,
    },
    /// It failed too often; it is tried again now and then.
    Failed {
        /// Until the next try.
        retry_in: Duration,
    },
}

/// One model in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// Which.
    pub id: ModelId,
    /// Its state.
    pub state: ModelState,
    /// The worker's process.
    pub pid: Option<u32>,
    /// What computes, while there is a worker: `100% CPU`, or the server that does.
    pub processor: Option<String>,
    /// Sequences that it can run at once.
    pub slots: u32,
    /// Sequences that run.
    pub slots_used: u32,
    /// Requests that wait for it.
    pub queued: u32,
    /// Context of one sequence, in tokens.
    pub context_tokens: u32,
    /// Workers that died since the daemon started.
    pub crashes: u32,
    /// Tokens generated since the daemon started.
    pub tokens: u64,
    /// Tokens of the prompts of all ended answers.
    pub prompt_tokens: u64,
    /// How many of those did not have to be read again.
    pub cached_tokens: u64,
    /// Tokens of the answers that ended, but for the first of each.
    pub written_tokens: u64,
    /// What those took, in milliseconds, each answer for itself.
    pub written_ms: u64,
    /// The last failure, in words.
    pub last_error: Option<String>,
}

/// One request in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRequest {
    /// Its number.
    pub id: GenerationId,
    /// The model that is to answer it, or does.
    pub model: ModelId,
    /// The conversation.
    pub session: SessionKey,
    /// Its place in the queue, from 1; `None` while it runs.
    pub position: Option<u32>,
    /// Tokens of the answer so far.
    pub tokens: u32,
}

/// The pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Every model that is on disk or was asked for.
    pub models: Vec<ModelStatus>,
    /// Every request, those that run first.
    pub requests: Vec<QueuedRequest>,
    /// Requests that may wait.
    pub queue_len_max: u32,
}

/// The house.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HouseStatus {
    /// Every Archon that was started since the daemon started.
    pub archons: Vec<ArchonStatus>,
    /// The pool.
    pub pool: PoolStatus,
}

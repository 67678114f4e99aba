//! What runs models: worker processes, and what they tell.
use std::sync::Arc;

use async_trait::async_trait;

use super::Sink;
use crate::domain::{
    Chosen, Finding, FinishReason, GenerationId, GenerationRequest, ModelId, Refusal, Senses, Token, Usage,
};

/// Why a worker could not be started or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The model is not on disk, or not in the catalogue.
    #[error("{model} is not on disk; get it with `archond model pull {model}`")]
    NotOnDisk {
        /// Which model.
        model: ModelId,
    },
    /// The file cannot be used. Trying again does not help before it is replaced.
    #[error("{model} cannot be loaded: {detail}")]
    Unusable {
        /// Which model.
        model: ModelId,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The process ended or was killed.
    #[error("the worker of {model} ended: {detail}")]
    Exited {
        /// Which model.
        model: ModelId,
        /// By which signal or with which code, and the last words it said.
        detail: String,
    },
    /// The process could not be started or does not speak as expected.
    #[error("the worker of {model} failed: {detail}")]
    Process {
        /// Which model.
        model: ModelId,
        /// What happened.
        detail: String,
    },
}

/// What a worker says. Every event of a worker comes in order; [`WorkerEvent::Exited`] is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    /// The model is being loaded.
    Loading {
        /// 0 to 100.
        percent: u8,
    },
    /// The worker takes requests.
    Ready {
        /// Sequences at once.
        slots: u32,
        /// Context of one sequence, in tokens.
        context_tokens: u32,
    },
    /// A prompt is being read.
    Prefill {
        /// Which request.
        id: GenerationId,
        /// Tokens read, those found in the cache included.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// One token was chosen.
    Token {
        /// Which request.
        id: GenerationId,
        /// The token, needed to go on elsewhere.
        token: Token,
        /// What became of it.
        chosen: Chosen,
    },
    /// Something was found out.
    Found {
        /// Which request.
        id: GenerationId,
        /// What.
        finding: Finding,
    },
    /// An answer ended.
    Finished {
        /// Which request.
        id: GenerationId,
        /// Why.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
    /// A request was not begun, or could not be gone on with.
    Refused {
        /// Which request.
        id: GenerationId,
        /// Why.
        refusal: Refusal,
    },
    /// The process is gone, reaped.
    Exited {
        /// Why.
        error: EngineError,
    },
}

impl WorkerEvent {
    /// Which variant, for those who look from outside.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Loading { .. } => "worker-loading",
            Self::Ready { .. } => "worker-ready",
            Self::Prefill { .. } => "worker-prefill",
            Self::Token { .. } => "worker-token",
            Self::Found { .. } => "worker-found",
            Self::Finished { .. } => "worker-finished",
            Self::Refused { .. } => "worker-refused",
            Self::Exited { .. } => "worker-exited",
        }
    }
}

/// A running worker process. Dropping the last link kills it.
pub trait WorkerLink: Send + Sync + 'static {
    /// Hands over a request. `false`: the process is gone or its queue is full; [`WorkerEvent::Exited`] follows.
    fn generate(&self, request: GenerationRequest) -> bool;
    /// Asks for the end of an answer; [`WorkerEvent::Finished`] follows within one step.
    fn cancel(&self, id: GenerationId);
    /// Ends the process at once, by signal.
    fn kill(&self);
    /// The process, where it is one of this machine.
    fn pid(&self) -> Option<u32>;
    /// What computes, for people: `100% CPU`, or the server that does. `None` until that is known.
    fn processor(&self) -> Option<String>;
}

/// What a model takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Size of its file, in bytes. Bounds the time that loading may take.
    pub file_bytes: u64,
    /// Memory of its worker, the mapped file included, in bytes.
    pub memory_bytes: u64,
    /// How that sum comes about, for people.
    pub arithmetic: String,
    /// What it takes beside words.
    pub senses: Senses,
}

/// Runs models.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The catalogue's models that are complete on disk now.
    fn on_disk(&self) -> Vec<ModelId>;
    /// What a model takes up, if it is on disk.
    fn footprint(&self, model: &ModelId) -> Option<Footprint>;
    /// Starts a worker process and returns at once; loading is told by events.
    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError>;
}

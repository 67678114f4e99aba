//! What everybody else holds: orders go in, events come out.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorCell, RpcReplyPort, SpawnErr};

use super::actor::{PoolActor, PoolMsg, Question};
use super::settings::PoolSettings;
use crate::domain::{
    AnswerForm, ArchonId, Chosen, Finding, FinishReason, GenerationId, MediaId, ModelId, PoolStatus,
    Priority, Prompt, Sampling, Senses, SessionKey, Usage,
};
use crate::insight::{Roster, Vitals};
use crate::link::{Link, LinkError};
use crate::ports::{Engine, Sink};

/// Questions that may wait for the actor, which never works long.
const MAILBOX_LEN_MAX: usize = 1024;
/// Longest wait for an answer of the actor: it may have to look at the disk first.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// One answer that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOrder {
    /// For whom: the pool is fair between Archons.
    pub archon: ArchonId,
    /// For which conversation; told in the log.
    pub session: SessionKey,
    /// Who goes first.
    pub priority: Priority,
    /// In the order of preference: the first usable one answers.
    pub models: Vec<ModelId>,
    /// Whether other models may be asked to leave the memory for its model. Otherwise it waits until there is room.
    pub makes_room: bool,
    /// What to go on with.
    pub prompt: Arc<Prompt>,
    /// What the answer must be like.
    pub form: Arc<AnswerForm>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer ends here at the latest.
    pub answer_tokens_max: u32,
    /// Prompt and answer together must fit.
    pub context_tokens_max: u32,
}

/// What becomes of an order. [`GenerationEvent::Finished`] or [`GenerationEvent::Failed`] is the last, and comes once.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// It waits. Told again every few seconds, so that waiting is not taken for a standstill.
    Queued {
        /// Its place; 1 is next.
        position: u32,
    },
    /// It waits for its model, which is being loaded.
    Loading {
        /// Which model.
        model: ModelId,
        /// 0 to 100.
        percent: u8,
    },
    /// A worker has it: the first one, or the successor of one that died.
    Begun {
        /// Which model.
        model: ModelId,
        /// The worker's process, where it is one of this machine.
        pid: Option<u32>,
    },
    /// The model reads the prompt.
    Reading {
        /// Tokens read.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// The next token of the answer. Without parts now and then: a sign of progress while there is nothing to show.
    Token {
        /// What became of it.
        chosen: Chosen,
    },
    /// The next thing that was found out, where that was wanted.
    Found {
        /// What.
        finding: Finding,
    },
    /// The worker died; the answer goes on in its successor where it stopped. What is to be found out is begun again: what was found
    /// so far is void.
    WorkerReplaced,
    /// The answer is complete.
    Finished {
        /// Which model answered, or would have.
        model: ModelId,
        /// Why it ended.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
    /// There is no answer, or no more of it.
    Failed {
        /// Why.
        error: PoolError,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Too many wait.
    #[error("{waiting} requests wait for the model already; try again in a moment")]
    QueueFull {
        /// How many wait that count against the exceeded limit.
        waiting: u32,
    },
    /// None of the wanted models is on disk.
    #[error("{wanted} is not on disk; get it with `archond model pull {wanted}`")]
    NoModel {
        /// The one that is wanted most.
        wanted: ModelId,
    },
    /// None of the wanted models fits into the memory.
    #[error(
        "{model} needs {:.1} GB of memory ({arithmetic}), and workers may have {:.1} GB; take a smaller model (`archond model ls`), \
         a smaller `context.tokens_max` in the profiles, or raise `worker.memory_max`",
        *needed_bytes as f64 / 1e9, *allowed_bytes as f64 / 1e9
    )]
    TooLarge {
        /// The one that is wanted most.
        model: ModelId,
        /// What it needs.
        needed_bytes: u64,
        /// How that sum comes about.
        arithmetic: String,
        /// What there is.
        allowed_bytes: u64,
    },
    /// The prompt does not fit.
    #[error("the prompt has {tokens} tokens, and {tokens_max} fit; shorten it")]
    PromptTooLong {
        /// Its exact length.
        tokens: u32,
        /// What it may be at most.
        tokens_max: u32,
    },
    /// The model does not run.
    #[error("{detail}; it is tried again in {} s", .retry_in.as_secs())]
    ModelFailed {
        /// Which model.
        model: ModelId,
        /// What became of it, by name, and what to do.
        detail: String,
        /// Until the next try.
        retry_in: Duration,
    },
    /// The request ended the model's worker again and again; it is not tried any more.
    #[error("this request crashed {model} {crashes} times and was given up; word it differently")]
    RequestCrashed {
        /// Which model.
        model: ModelId,
        /// How often.
        crashes: u32,
    },
    /// A picture or recording of the prompt cannot be used; without it the rest can be asked again.
    #[error("{detail}")]
    Medium {
        /// Which: the hash of its bytes.
        id: MediaId,
        /// Why.
        detail: String,
    },
    /// The model's worker ended before the first word of an answer to pictures or recordings; without them it can be asked again.
    #[error("{model} broke over a picture or recording")]
    MediaCrashed {
        /// Which model.
        model: ModelId,
    },
    /// The pool could not be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It could not be done, or not be ended, through no fault of the request.
    #[error("{detail}")]
    Unable {
        /// Why.
        detail: String,
    },
    /// The engine could not run the request, whose own fault it is: its form asks for what cannot be.
    #[error("the model could not run the request: {detail}")]
    Engine {
        /// What the engine said.
        detail: String,
    },
}

impl GenerationEvent {
    /// Which variant, for those who look from outside.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Loading { .. } => "loading",
            Self::Begun { .. } => "begun",
            Self::Reading { .. } => "reading",
            Self::Token { .. } => "token",
            Self::Found { .. } => "found",
            Self::WorkerReplaced => "worker-replaced",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What the actor is started with.
#[derive(Clone)]
pub struct PoolArgs {
    /// What runs models.
    pub engine: Arc<dyn Engine>,
    /// How much, how long.
    pub settings: PoolSettings,
    /// Where workers are shown.
    pub roster: Roster,
    /// The pool's own path there.
    pub path: String,
}

/// The pool, whichever incarnation of its actor runs.
#[derive(Clone)]
pub struct PoolHandle {
    link: Link<PoolMsg>,
    /// Ids are made here, so that none is used twice when the actor is restarted.
    generations: Arc<AtomicU64>,
    /// Models that are to be in memory: every incarnation of the actor begins with them.
    warm: Arc<Mutex<BTreeSet<ModelId>>>,
}

impl Default for PoolHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl PoolHandle {
    /// A handle to an actor that does not run yet.
    pub fn new() -> Self {
        let (link, generations) = (Link::new("pool", MAILBOX_LEN_MAX), Arc::new(AtomicU64::new(1)));
        Self { link, generations, warm: Arc::default() }
    }

    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Starts an incarnation of the actor.
    pub async fn spawn(&self, args: PoolArgs, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let args = (args, self.link.clone());
        let (actor, _) = PoolActor::spawn_linked(None, PoolActor, args, supervisor).await?;
        for model in self.warm.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            // Nobody waits for the reply: a model that is gone from the disk is missed by whoever asks for it.
            let (reply, _) = ractor::concurrency::oneshot();
            self.link.fact(PoolMsg::Ask { question: Question::Warm { model, reply: reply.into() } });
        }
        Ok(actor.get_cell())
    }

    /// Orders an answer. Once this has answered `Ok`, the events tell all the rest; the first of them may come before that.
    /// An order whose caller gives up waiting for this answer is cancelled.
    pub async fn generate(
        &self,
        order: GenerationOrder,
        events: Sink<GenerationEvent>,
    ) -> Result<GenerationId, PoolError> {
        let id = GenerationId(self.generations.fetch_add(1, Ordering::Relaxed));
        let mut unwanted = CancelOnDrop { pool: self, id, armed: true };
        let order = Box::new(order);
        self.ask(|reply| Question::Generate { id, order, events, reply }).await?;
        unwanted.armed = false;
        Ok(id)
    }

    /// Ends an answer: its last event follows, within seconds. An answer that has ended already does not mind.
    pub fn cancel(&self, id: GenerationId) {
        // Every order is cancelled once or twice at most, and orders are bounded: no place in the mailbox is needed.
        self.link.fact(PoolMsg::CancelGeneration { id });
    }

    /// The state of every model that is on disk or was asked for.
    pub async fn status(&self) -> Result<PoolStatus, PoolError> {
        self.ask(|reply| Question::GetStatus { reply }).await
    }

    /// Which of these would answer now.
    pub async fn choose(&self, models: Vec<ModelId>) -> Result<ModelId, PoolError> {
        self.ask(|reply| Question::GetChoice { models, reply }).await
    }

    /// What each of these takes beside words; one that is not on disk takes nothing.
    pub async fn senses(&self, models: Vec<ModelId>) -> Result<Vec<Senses>, PoolError> {
        self.ask(|reply| Question::GetSenses { models, reply }).await
    }

    /// Begins to load a model, if that was not done before; answers at once. It is loaded again with the pool.
    pub async fn warm(&self, model: ModelId) -> Result<(), PoolError> {
        self.ask(|reply| Question::Warm { model: model.clone(), reply }).await?;
        self.warm.lock().unwrap_or_else(PoisonError::into_inner).insert(model);
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(RpcReplyPort<Result<T, PoolError>>) -> Question,
    ) -> Result<T, PoolError> {
        self.link.call(ASK_TIMEOUT, |reply| PoolMsg::Ask { question: question(reply) }).await
    }
}

/// Takes back an order whose caller is gone before he knows its number.
struct CancelOnDrop<'a> {
    pool: &'a PoolHandle,
    id: GenerationId,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.pool.cancel(self.id);
        }
    }
}

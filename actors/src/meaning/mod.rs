//! Recall by meaning: questions become vectors within a short time, and what is remembered gets its vectors while nobody waits for an answer.
//!
//! - [`Meaning`] is what everybody else holds.
//! - `vectors` orders one vector from the pool.
//! - `indexer` gives vectors to what is new, one text after the other. What is done lies in the store: whoever begins again goes on there.
//!
//! Meaning only ever adds: without an embedder, or with one that fails or is slow, things are found by their words.
mod indexer;
#[cfg(test)]
mod tests;
mod vectors;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;

use crate::domain::{Embedder, Meant, PeerKey, Priority, Recalled, Sought, Vector};
use crate::house::Service;
use crate::insight::{Fact, Inspection};
use crate::memory::{MemoryError, MemoryHandle};
use crate::pool::PoolHandle;
use crate::ports::{BlockingCalls, Embedders};

/// Longest wait for a question's vector: as long as whoever asks does not mind. A model that is not in memory yet takes longer, and is there for
/// the next question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);
/// What is looked at of a question, in characters.
const QUESTION_CHARS_MAX: usize = 1000;

/// What the indexer does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Doing {
    /// It has not looked yet.
    #[default]
    Beginning,
    /// Nothing: there is no embedder.
    NoEmbedder,
    /// It computes.
    Indexing,
    /// It waits until nobody waits for an answer.
    Waiting,
    /// Nothing is left to do.
    Done,
    /// It could not go on, and tries again.
    Failed(String),
}

#[derive(Debug, Default)]
struct Seen {
    embedder: Option<Embedder>,
    doing: Doing,
    computed: u64,
}

/// Recall, also by meaning. Its clones are the same one.
#[derive(Clone)]
pub struct Meaning {
    memory: MemoryHandle,
    pool: PoolHandle,
    embedders: Arc<dyn Embedders>,
    calls: Arc<dyn BlockingCalls>,
    seen: Arc<Mutex<Seen>>,
}

impl Meaning {
    /// On the ways to the store and to the pool. By words alone until its [`Meaning::service`] runs.
    pub fn new(
        memory: MemoryHandle,
        pool: PoolHandle,
        embedders: Arc<dyn Embedders>,
        calls: Arc<dyn BlockingCalls>,
    ) -> Self {
        Self { memory, pool, embedders, calls, seen: Arc::default() }
    }

    /// The ways that it was made with, for the house in which it works.
    pub fn ways(&self) -> (MemoryHandle, PoolHandle) {
        (self.memory.clone(), self.pool.clone())
    }

    /// The way to the store.
    pub fn memory(&self) -> &MemoryHandle {
        &self.memory
    }

    /// What one peer of one Archon noted and said that answers a question best, the best first; by words alone where its meaning is not known
    /// in time.
    pub async fn recall(
        &self,
        owner: &PeerKey,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>, MemoryError> {
        let meant = self.meant(question).await;
        self.memory.find(owner, Sought { question: question.to_owned(), meant }, limit).await
    }

    /// The embedder that is used now.
    pub fn embedder(&self) -> Option<Embedder> {
        self.seen().embedder.clone()
    }

    /// What gives vectors to all that is remembered, to be started with the house.
    pub fn service(&self) -> Service {
        let (runs, looks) = (self.clone(), self.clone());
        let task = Arc::new(move || {
            let indexer = runs.clone();
            async move { indexer.index().await }.boxed()
        });
        Service { name: "meaning", task, look: Arc::new(move || looks.inspect()) }
    }

    async fn meant(&self, question: &str) -> Option<Meant> {
        let embedder = self.embedder()?;
        let beginning: String = question.chars().take(QUESTION_CHARS_MAX).collect();
        let text = format!("{}{beginning}", embedder.query_prefix);
        match vectors::vector(&self.pool, &embedder.maker.model, &text, Priority::Direct, QUESTION_TIMEOUT)
            .await
        {
            Ok(numbers) => Some(Meant { maker: embedder.maker, vector: Vector::of(&numbers) }),
            Err(error) => {
                tracing::info!(model = %embedder.maker.model, %error, "recall by words alone");
                None
            }
        }
    }

    fn inspect(&self) -> Inspection {
        let seen = self.seen();
        let model = seen.embedder.as_ref().map(|embedder| embedder.maker.model.to_string());
        let doing = match &seen.doing {
            Doing::Beginning => "beginning",
            Doing::NoEmbedder => "nothing: no embedding model is on disk",
            Doing::Indexing => "indexing",
            Doing::Waiting => "waiting until nobody waits for an answer",
            Doing::Done => "everything is indexed",
            Doing::Failed(why) => why,
        };
        vec![
            ("embedding model", Fact::Text(model.unwrap_or_else(|| "none".to_owned()))),
            ("doing", Fact::Text(doing.to_owned())),
            ("vectors computed", seen.computed.into()),
        ]
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

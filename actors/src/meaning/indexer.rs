//! Gives vectors to what is remembered: one text at a time, and only while the pool has nothing else to do.
use std::time::Duration;

use tokio::sync::oneshot;

use super::vectors::{self, VectorError};
use super::{Doing, Meaning};
use crate::domain::{Embedder, Priority, Unindexed, Vector};
use crate::memory::MemoryError;
use crate::pool::PoolError;

/// Texts that are fetched from the store at once.
const BATCH_LEN: usize = 16;
/// Longest work on one text: a hundred times what it takes, and loading its model before.
const TEXT_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest look for the embedder, on a disk that sleeps.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// When it is looked again for an embedder that was pulled, or a text that nobody told of.
const LOOK_PERIOD: Duration = Duration::from_secs(60);
/// When it is looked again whether somebody waits for an answer. After an answer mostly comes the next question.
const CALM_PERIOD: Duration = Duration::from_secs(2);
/// When what failed is tried again.
const RETRY_PERIOD: Duration = Duration::from_secs(60);
/// A text that is too long for its model is cut in half so many times.
const HALVINGS_MAX: u32 = 6;

/// What becomes of a text without a vector.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its beginning is tried.
    Halve,
    /// It has none, and will not be tried again.
    Leave,
    /// It is not its fault: the whole work stops, and is tried again later.
    Stop,
}

/// Pure.
pub(super) fn verdict(error: &VectorError, halvings: u32) -> Verdict {
    match error {
        VectorError::Pool(PoolError::PromptTooLong { .. }) if halvings < HALVINGS_MAX => Verdict::Halve,
        VectorError::Pool(
            PoolError::PromptTooLong { .. }
            | PoolError::RequestCrashed { .. }
            | PoolError::Medium { .. }
            | PoolError::MediaCrashed { .. }
            | PoolError::Engine { .. },
        ) => Verdict::Leave,
        VectorError::Late(_) | VectorError::Pool(_) | VectorError::Lost | VectorError::Name(_) => {
            Verdict::Stop
        }
    }
}

/// Why a round ended before its end.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("the pool does not answer: {0}")]
    Pool(#[from] PoolError),
    #[error("no vectors with {model}: {source}")]
    Vector { model: crate::domain::ModelId, source: VectorError },
    #[error("the look for an embedding model took more than {} s", LOOK_TIMEOUT.as_secs())]
    Look,
}

impl Meaning {
    /// Runs until it is dropped.
    pub(super) async fn index(&self) -> String {
        loop {
            let doing = match self.round().await {
                Ok(doing) => doing,
                Err(error) => {
                    tracing::warn!(%error, "recall by meaning does not grow for now");
                    Doing::Failed(error.to_string())
                }
            };
            let pause = match doing {
                Doing::Waiting => CALM_PERIOD,
                Doing::Failed(_) => RETRY_PERIOD,
                _ => LOOK_PERIOD,
            };
            let is_done = doing == Doing::Done;
            self.seen().doing = doing;
            // Either end is one to go on after.
            let _ = match is_done {
                true => tokio::time::timeout(pause, self.memory.grown()).await,
                false => tokio::time::timeout(pause, std::future::pending()).await,
            };
        }
    }

    /// Goes through all that has no vector, until there is nothing left, or somebody else needs the machine.
    async fn round(&self) -> Result<Doing, RoundError> {
        let embedder = self.look().await?;
        self.seen().embedder.clone_from(&embedder);
        let Some(embedder) = embedder else { return Ok(Doing::NoEmbedder) };
        if self.memory.indexed().await?.maker.as_ref() != Some(&embedder.maker) {
            self.memory.use_maker(embedder.maker.clone()).await?;
        }
        loop {
            let batch = self.memory.unindexed(BATCH_LEN).await?;
            if batch.is_empty() {
                return Ok(Doing::Done);
            }
            for text in batch {
                if !self.pool.status().await?.requests.is_empty() {
                    return Ok(Doing::Waiting);
                }
                self.seen().doing = Doing::Indexing;
                let vector = self.vector(&embedder, &text).await?;
                self.memory.keep_vector(embedder.maker.clone(), text.of, vector).await?;
                self.seen().computed += 1;
            }
        }
    }

    async fn look(&self) -> Result<Option<Embedder>, RoundError> {
        let (sender, found) = oneshot::channel();
        let embedders = self.embedders.clone();
        // Nobody awaits the thread: what it sends is its end.
        drop(self.calls.begin(Box::new(move || {
            let _ = sender.send(embedders.current());
        })));
        match tokio::time::timeout(LOOK_TIMEOUT, found).await {
            Ok(Ok(embedder)) => Ok(embedder),
            Ok(Err(_)) | Err(_) => Err(RoundError::Look),
        }
    }

    async fn vector(&self, embedder: &Embedder, unindexed: &Unindexed) -> Result<Vector, RoundError> {
        let (model, mut halvings) = (&embedder.maker.model, 0);
        let mut text = unindexed.text.clone();
        loop {
            let whole = format!("{}{text}", embedder.text_prefix);
            let found = vectors::vector(&self.pool, model, &whole, Priority::Background, TEXT_TIMEOUT).await;
            let source = match found {
                Ok(numbers) => return Ok(Vector::of(&numbers)),
                Err(error) => error,
            };
            match verdict(&source, halvings) {
                Verdict::Halve => {
                    halvings += 1;
                    text = text.chars().take(text.chars().count() / 2).collect();
                }
                Verdict::Leave => {
                    let (owner, place) = (&unindexed.of.owner, &unindexed.of.place);
                    tracing::warn!(%model, %owner, ?place, error = %source, "found by words alone");
                    return Ok(Vector::none());
                }
                Verdict::Stop => return Err(RoundError::Vector { model: model.clone(), source }),
            }
        }
    }
}

//! One vector from the pool, within a time.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::{
    ArchonId, Finding, FinishReason, GenerationId, IdError, Inquiry, ModelId, Priority, Prompt, Sampling,
    SessionKey, Stretch,
};
use crate::pool::{GenerationEvent, GenerationOrder, PoolError, PoolHandle};

/// For whom the pool works then: it is fair between Archons.
const ASKER: &str = "memory";

/// Why there is no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum VectorError {
    /// It took too long.
    #[error("it took more than {} s", .0.as_secs())]
    Late(Duration),
    /// The pool refused or failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The order was ended by others.
    #[error("it was ended before there was a vector")]
    Lost,
    /// Never: the names are good.
    #[error(transparent)]
    Name(#[from] IdError),
}

/// What has come so far, and who waits for the end. No queue: one vector is all that can come.
struct Coming {
    vector: Option<Vec<f32>>,
    end: Option<oneshot::Sender<Result<Vec<f32>, VectorError>>>,
}

impl Coming {
    fn take(&mut self, event: GenerationEvent) {
        let end = match event {
            GenerationEvent::Found { finding: Finding::Vector(vector) } => {
                self.vector = Some(vector);
                return;
            }
            // The next worker begins again.
            GenerationEvent::WorkerReplaced => {
                self.vector = None;
                return;
            }
            GenerationEvent::Finished { reason: FinishReason::Cancelled, .. } => Err(VectorError::Lost),
            GenerationEvent::Finished { .. } => self.vector.take().ok_or(VectorError::Lost),
            GenerationEvent::Failed { error } => Err(error.into()),
            GenerationEvent::Queued { .. }
            | GenerationEvent::Loading { .. }
            | GenerationEvent::Begun { .. }
            | GenerationEvent::Reading { .. }
            | GenerationEvent::Found { .. }
            | GenerationEvent::Token { .. } => return,
        };
        if let Some(waiting) = self.end.take() {
            // Whoever waited may have given up.
            let _ = waiting.send(end);
        }
    }
}

/// Takes the order back when nobody waits any more.
struct CancelOnDrop<'a> {
    pool: &'a PoolHandle,
    id: GenerationId,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // One that has ended does not mind.
        self.pool.cancel(self.id);
    }
}

/// The vector of a text. No other model leaves the memory for it.
pub(super) async fn vector(
    pool: &PoolHandle,
    model: &ModelId,
    text: &str,
    priority: Priority,
    time_max: Duration,
) -> Result<Vec<f32>, VectorError> {
    let (sender, end) = oneshot::channel();
    let coming = Mutex::new(Coming { vector: None, end: Some(sender) });
    let events = Arc::new(move |event| coming.lock().unwrap_or_else(PoisonError::into_inner).take(event));
    let order = order(model, text, priority)?;
    let asked = async {
        let id = pool.generate(order, events).await?;
        let _taken_back = CancelOnDrop { pool, id };
        end.await.unwrap_or(Err(VectorError::Lost))
    };
    tokio::time::timeout(time_max, asked).await.unwrap_or(Err(VectorError::Late(time_max)))
}

fn order(model: &ModelId, text: &str, priority: Priority) -> Result<GenerationOrder, IdError> {
    let archon = ArchonId::new(ASKER)?;
    let session: SessionKey = format!("{ASKER}/{ASKER}/{ASKER}/main").parse()?;
    let passages = [[Stretch::Text(text.into())].into()].into();
    Ok(GenerationOrder {
        archon,
        session,
        priority,
        models: vec![model.clone()],
        makes_room: false,
        prompt: Arc::new(Prompt::Inquiry(Inquiry::Vectors { passages })),
        form: Arc::default(),
        sampling: Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
        },
        answer_tokens_max: u32::MAX,
        context_tokens_max: u32::MAX,
    })
}

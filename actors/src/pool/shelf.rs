//! Which models are on disk. Looking costs time, so the answer is kept for a moment and looked up beside the actor.
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::actor::Question;
use crate::domain::ModelId;
use crate::link::LinkError;
use crate::ports::{Engine, Footprint};

/// Short enough that a model that was just pulled is found, long enough that a crowd of orders costs one look.
const KEEP: Duration = Duration::from_secs(2);
/// A look takes milliseconds; while one takes longer, what was known before has to do.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions that may wait for one look at the disk.
const PARKED_MAX: usize = 1024;

/// The models on disk, with what they take up.
pub(super) type OnDisk = BTreeMap<ModelId, Footprint>;

/// What is known of the disk.
pub(super) struct Shelf {
    engine: Arc<dyn Engine>,
    on_disk: OnDisk,
    read_at: Option<Instant>,
    /// Somebody looks since then.
    reading: Option<Instant>,
    parked: Vec<Question>,
}

impl Shelf {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, on_disk: OnDisk::new(), read_at: None, reading: None, parked: Vec::new() }
    }

    pub(super) fn on_disk(&self) -> &OnDisk {
        &self.on_disk
    }

    /// Gives the question back if it can be answered now. Otherwise it is kept until [`Shelf::filled`], and `tell` is
    /// called with what was found; with `None` if the engine panicked.
    pub(super) fn pass(
        &mut self,
        question: Question,
        tell: impl FnOnce(Option<OnDisk>) + Send + 'static,
    ) -> Option<Question> {
        let known = self.read_at.is_some();
        let hangs = self.reading.is_some_and(|since| since.elapsed() >= LOOK_TIMEOUT);
        let fresh = self.reading.is_none() && self.read_at.is_some_and(|read| read.elapsed() < KEEP);
        // A disk that hangs must not keep a loaded model from answering.
        if fresh || (known && hangs) {
            return Some(question);
        }
        if self.parked.len() >= PARKED_MAX {
            question.refuse(LinkError::Busy { actor: "pool" }.into());
            return None;
        }
        self.parked.push(question);
        if self.reading.is_none() {
            self.reading = Some(Instant::now());
            let engine = self.engine.clone();
            // Nobody awaits this thread: its end is a fact in the actor's mailbox.
            drop(spawn_blocking(move || tell(catch_unwind(AssertUnwindSafe(|| look(&*engine))).ok())));
        }
        None
    }

    /// Takes in what was found; answers the questions that waited for it.
    pub(super) fn filled(&mut self, on_disk: OnDisk) -> Vec<Question> {
        self.on_disk = on_disk;
        self.read_at = Some(Instant::now());
        self.reading = None;
        std::mem::take(&mut self.parked)
    }
}

fn look(engine: &dyn Engine) -> OnDisk {
    let models = engine.on_disk().into_iter();
    models.filter_map(|model| Some((model.clone(), engine.footprint(&model)?))).collect()
}

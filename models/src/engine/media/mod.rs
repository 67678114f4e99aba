//! Pictures and recordings: what they are in a prompt, and the thread that encodes them while the engine goes on.
//!
//! In a slot's row of tokens a medium stands as the marks around it and one number for each of its rows. These numbers are negative,
//! which no token is, and made of the content's hash: two prompts with the same picture have the same numbers, with another picture
//! others, so that whatever compares prompts (slots, neighbours, the shelf, what outlives a worker) is right without knowing of media.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::token::LlamaToken;
use sha2::{Digest as _, Sha256};

mod decoding;
mod opus;
mod projector;
mod raw;
mod seeing;
#[cfg(test)]
mod tests;

pub use projector::Projector;
pub(super) use raw::decode_rows;

use super::EngineError;
use crate::chat::Content;

/// Lengths of media that are remembered: a conversation shows its pictures again with every turn. A few hundred bytes each.
const KNOWN_MAX: usize = 1024;
/// Longest wait for the encoder in a step that has nothing else to do: as long a cancellation may wait.
const WAIT: Duration = Duration::from_millis(20);

/// Which medium: the hash of its kind and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    fn of(kind: Kind, bytes: &[u8]) -> Self {
        let hasher = Sha256::new_with_prefix([kind as u8]).chain_update(bytes);
        Self(hasher.finalize().into())
    }

    /// Whether this is the hash of a medium.
    pub(super) fn is_of(&self, medium: &Medium) -> bool {
        *self == medium.digest
    }

    /// What stands for a row of it where tokens stand.
    fn place_holder(&self, row: usize) -> LlamaToken {
        let hash = Sha256::new_with_prefix(self.0).chain_update((row as u64).to_le_bytes()).finalize();
        let bits = hash.first_chunk::<4>().map_or(0, |first| i32::from_le_bytes(*first));
        LlamaToken(bits | i32::MIN)
    }
}

/// Whether this stands for a row of a medium, and is no token.
pub(super) fn is_place_holder(token: LlamaToken) -> bool {
    token.0 < 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Audio,
}

/// A picture or a recording that was handed in.
#[derive(Debug)]
pub(super) struct Medium {
    digest: Digest,
    kind: Kind,
    bytes: Vec<u8>,
}

impl Medium {
    /// The medium of a part of a conversation.
    pub(super) fn of(content: &Content) -> Option<Arc<Self>> {
        let (kind, bytes) = match content {
            Content::Text(_) => return None,
            Content::Image(bytes) => (Kind::Image, bytes),
            Content::Audio(bytes) => (Kind::Audio, bytes),
        };
        Some(Arc::new(Self { digest: Digest::of(kind, bytes), kind, bytes: bytes.clone() }))
    }

    /// The hash of its bytes, by which those know it who handed it in.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    pub(super) fn is_image(&self) -> bool {
        self.kind == Kind::Image
    }
}

/// Marks and place holders of one medium.
pub(super) type Row = Arc<[LlamaToken]>;
/// A medium with what stands for it in a prompt.
pub(super) type MediumRow = (Arc<Medium>, Row);
/// What all its rows are to the model.
pub(super) type Numbers = Arc<[f32]>;

/// What the encoding thread is asked.
#[derive(Debug, Clone)]
enum Task {
    /// How many rows it has.
    Measure(Arc<Medium>),
    /// What they are.
    Encode(Arc<Medium>),
}

/// What it answers; an error is of the medium.
#[derive(Debug)]
enum Done {
    Measured(Digest, Result<Row, String>),
    Encoded(Digest, Result<Numbers, String>),
}

/// News of a medium.
#[derive(Debug)]
pub(super) enum News {
    /// Its length is known now.
    Measured,
    /// It can be used now.
    Encoded,
    /// It cannot be used, and why.
    Unusable(Digest, String),
}

/// The encoder's thread and what it found out.
pub(super) struct Media {
    /// `None`: it is to end.
    tasks: Option<SyncSender<Task>>,
    answers: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// It has a task.
    busy: bool,
    measured: HashMap<Digest, Row>,
    encoded: HashMap<Digest, Numbers>,
    /// Whether the rows of a picture see each other, those behind them included.
    pictures_are_causal: bool,
    /// Numbers of a row.
    pub(super) width: usize,
}

impl Media {
    /// Starts the thread with a projector for the context's model.
    pub(super) fn start(projector: Projector, context: &LlamaContext<'_>) -> Result<Self, EngineError> {
        let width = raw::row_width(context).filter(|width| *width == projector.width());
        let unfit = "the rows of its pictures do not have the width of the model's";
        let width = width.ok_or_else(|| projector.fault(unfit))?;
        let pictures_are_causal = projector.pictures_are_causal();
        let (tasks, orders) = sync_channel::<Task>(1);
        let (reports, answers) = sync_channel(1);
        let rows_max = context.n_ubatch() as usize;
        let mut encoder = seeing::Encoder::new(projector, width, rows_max);
        let work = move || {
            for task in orders {
                let done = match task {
                    Task::Measure(medium) => Done::Measured(medium.digest, encoder.measure(&medium)),
                    Task::Encode(medium) => Done::Encoded(medium.digest, encoder.encode(&medium)),
                };
                if reports.send(done).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("encode".to_owned()).spawn(work);
        let thread = thread.map_err(|error| EngineError::Backend { detail: error.to_string() })?;
        Ok(Self {
            tasks: Some(tasks),
            answers,
            thread: Some(thread),
            busy: false,
            measured: HashMap::new(),
            encoded: HashMap::new(),
            pictures_are_causal,
            width,
        })
    }

    /// What stands in a prompt for a medium, once it was measured.
    pub(super) fn row(&self, medium: &Medium) -> Option<&Row> {
        self.measured.get(&medium.digest)
    }

    /// What its rows are, once they were encoded.
    pub(super) fn numbers(&self, medium: &Medium) -> Option<&Numbers> {
        self.encoded.get(&medium.digest)
    }

    /// Whether its rows see only what is before them.
    pub(super) fn is_causal(&self, medium: &Medium) -> bool {
        self.pictures_are_causal || !medium.is_image()
    }

    /// Gives the thread the first thing that is needed and not there, and forgets what is no longer needed. Lengths come first: a
    /// request cannot begin without them.
    pub(super) fn order(&mut self, unmeasured: &[Arc<Medium>], wanted: &[Arc<Medium>]) {
        let digests: HashSet<Digest> = wanted.iter().map(|medium| medium.digest).collect();
        self.encoded.retain(|digest, _| digests.contains(digest));
        if self.busy {
            return;
        }
        let measure = unmeasured.iter().find(|medium| !self.measured.contains_key(&medium.digest));
        let encode = wanted.iter().find(|medium| !self.encoded.contains_key(&medium.digest));
        let measure = measure.map(|medium| Task::Measure(Arc::clone(medium)));
        let Some(task) = measure.or_else(|| encode.map(|medium| Task::Encode(Arc::clone(medium)))) else {
            return;
        };
        // If the thread is gone, `news` tells.
        self.busy = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
    }

    /// What the thread has found out since the last time. `waits`: there is nothing else to do.
    pub(super) fn news(&mut self, waits: bool) -> Result<Option<News>, EngineError> {
        let gone =
            || EngineError::Compute { detail: "the thread that encodes pictures has ended".to_owned() };
        let done = if waits {
            match self.answers.recv_timeout(WAIT) {
                Ok(done) => done,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        } else {
            match self.answers.try_recv() {
                Ok(done) => done,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(gone()),
            }
        };
        self.busy = false;
        Ok(Some(match done {
            Done::Measured(digest, Ok(row)) => {
                if self.measured.len() >= KNOWN_MAX {
                    self.measured.clear();
                }
                self.measured.insert(digest, row);
                News::Measured
            }
            Done::Encoded(digest, Ok(numbers)) => {
                self.encoded.insert(digest, numbers);
                News::Encoded
            }
            Done::Measured(digest, Err(fault)) | Done::Encoded(digest, Err(fault)) => {
                News::Unusable(digest, fault)
            }
        }))
    }
}

impl Drop for Media {
    /// The projector looks into the model: the thread ends before that goes.
    fn drop(&mut self) {
        self.tasks = None;
        // A reader that is gone does not stop an encoding, but it stops the wait for room for its answer.
        while self.answers.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

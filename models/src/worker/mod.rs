//! One model in one process of its own: what the daemon sees of it.
//!
//! llama.cpp ends the process it runs in when something is wrong with a model file or with its own state. So it never
//! runs in the daemon: [`Spawner::launch`] starts `archond model-worker`, which is [`run_worker`], and everything that
//! happens there arrives as an [`Event`]. The worker can read its model file and nothing else, and has no network.
use std::path::PathBuf;

mod anticipation;
mod child;
mod conduct;
mod event;
mod finding;
mod forbidden;
mod frame;
mod keepsake;
mod last_words;
mod link;
mod log_lines;
mod probe;
mod sandbox;
mod spawner;

pub use child::run_worker;
pub use event::Event;
pub use keepsake::Keepsake;
pub use link::Worker;
pub use probe::{SandboxAttempt, SandboxProbe, run_sandbox_probe};
pub use spawner::Spawner;

pub use crate::chat::{
    AnswerForm, AnswerPart, CallRule, ChatFamily, Content, Conversation, Role, Shape, Tool, ToolCall, Turn,
};
pub use crate::engine::{
    BACK_ENDS, Chosen, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Request, Residence,
    SamplingParams, Stretch, TokenLogprob, Usage,
};

/// What to run.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// The daemon's own binary: `/proc/self/exe`.
    pub program: PathBuf,
    /// The model's GGUF file: with the projector and the drafter the only file that the worker may open.
    pub model_path: PathBuf,
    /// The GGUF file that turns pictures and recordings into what the model reads; without it the worker takes text alone.
    pub projector_path: Option<PathBuf>,
    /// Where the weights live.
    pub residence: Residence,
    /// The GGUF file of the small model that guesses this one's next tokens; without it they are guessed from the text alone.
    pub drafter_path: Option<PathBuf>,
    /// How the model was taught to converse.
    pub family: ChatFamily,
    /// Answers at once.
    pub slots: u32,
    /// Context of each answer, in tokens.
    pub context_tokens: u32,
    /// CPU threads that compute.
    pub threads: u32,
    /// Most guesses of an answer's next tokens that are computed along with it, where that pays; 0 for none.
    pub draft_tokens_max: u32,
    /// Most private memory of the process, in bytes. The model file, which is mapped, does not count; the contexts do,
    /// and so do weights that are laid out anew (up to about the file's size again for Q4).
    pub memory_bytes_max: Option<u64>,
    /// Where it keeps its contexts for the worker after it, if at all. Never give it to two workers at once.
    pub keepsake: Option<Keepsake>,
    /// The file where contexts rest that are in no slot, if anywhere. It may be missing; its folder may not.
    pub shelf: Option<Shelf>,
}

/// A file of contexts, for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// Readable and writable for the user alone: what lies there is what was said.
    pub path: PathBuf,
    /// What it may take up, in bytes.
    pub bytes_max: u64,
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The operating system refused.
    #[error("cannot start the model worker {}: {source}", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The thread that starts workers is gone.
    #[error("the thread that starts model workers has ended; restart the daemon")]
    SpawnerGone,
}

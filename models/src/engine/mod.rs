//! Many answers at once from one model, step by step.
//!
//! An [`Engine`] owns one llama.cpp context with a fixed number of slots. Each [`Engine::step`] computes one batch: the
//! next token of every answer that is being written, and as many waiting prompt tokens as the [`pace`] allows. Between
//! steps it takes requests and cancellations. Instructions that several requests share are read once, also when the
//! requests come together, as they do after the death of a worker.
//!
//! Memory: every slot has its own part of the context ("not unified"), so one answer can neither crowd out nor see
//! another, and `context_tokens` holds exactly for each. The layers with a sliding window keep that window and one step more: a slot
//! can be rolled back so far, or to a context on the [`shelf`], which is whole where it ends.
use std::path::PathBuf;

use llama_cpp_2::llama_batch::BatchAddError;
use llama_cpp_2::token::LlamaToken;

mod address;
mod batch;
mod draft;
#[cfg(test)]
mod draft_tests;
mod drafter;
mod embedder;
mod gpu;
mod inquiry;
#[cfg(test)]
mod inquiry_tests;
#[cfg(test)]
mod isolation_tests;
mod job;
mod keeping;
#[cfg(test)]
mod keeping_tests;
mod keepsake;
mod looking;
mod media;
mod model;
mod pace;
mod portions;
mod raw;
mod request;
mod residence;
mod sampler;
mod shelf;
#[cfg(test)]
mod shelf_tests;
mod slots;
mod stop;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;
mod writing;

pub use batch::Engine;
pub use drafter::DraftModel;
pub use gpu::{BACK_ENDS, is_wanted as is_gpu_wanted, open_drivers};
pub use keepsake::Keepsake;
pub use media::Projector;
pub use model::LoadedModel;
pub use request::{
    Chosen, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Request, SamplingParams, Stretch,
    TokenLogprob, Usage,
};
pub use residence::Residence;

use crate::chat::{ChatError, ChatFamily};

/// What comes of requests. Events of one request come in order; the last is `Finished` or `Refused`.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// A prompt is being read.
    Prefill {
        /// Which request.
        id: u64,
        /// Tokens in memory.
        done: u32,
        /// Tokens of the prompt, resumed ones included.
        total: u32,
    },
    /// One token was chosen.
    Token {
        /// Which request.
        id: u64,
        /// The token.
        token: i32,
        /// What became of it.
        chosen: Chosen,
    },
    /// Something was found out.
    Found {
        /// Which request.
        id: u64,
        /// What.
        finding: Finding,
    },
    /// An answer ended.
    Finished {
        /// Which request.
        id: u64,
        /// Why.
        reason: Finish,
        /// What it cost.
        usage: Usage,
    },
    /// A request was not begun.
    Refused {
        /// Which request.
        id: u64,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a model cannot be run, or cannot be run any longer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file cannot be read.
    #[error("cannot open the model file {}: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// llama.cpp could not be set up.
    #[error("llama.cpp cannot be set up: {detail}")]
    Backend {
        /// What it said.
        detail: String,
    },
    /// llama.cpp refused the file.
    #[error("llama.cpp cannot load {}: {detail}", path.display())]
    Load {
        /// Which file.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
    /// The projector cannot be used with the model.
    #[error(
        "the projector {} cannot be used: {detail}; without it (`archond model rm`, then import or pull the model alone) text can be read", path.display()
    )]
    Projector {
        /// Which file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The drafter cannot be used with the model.
    #[error("the drafter {} cannot be used: {detail}; the next tokens are guessed from the text alone", path.display())]
    Drafter {
        /// Which file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The vocabulary lacks a special token of the chat format.
    #[error("the model has no token `{mark}`: it is no {family:?} model, or its file is damaged")]
    NoMark {
        /// The token's text.
        mark: &'static str,
        /// The format that was asked for.
        family: ChatFamily,
    },
    /// The model's own template is of no use.
    #[error(transparent)]
    Format(#[from] ChatError),
    /// More slots than llama.cpp can run.
    #[error("{slots} answers at once are not possible; set 1 to {slots_max}")]
    Slots {
        /// What was asked for.
        slots: u32,
        /// What is possible.
        slots_max: u32,
    },
    /// No room for the context.
    #[error(
        "no room for {slots} x {context_tokens} tokens of context: {detail}; fewer slots, a shorter context or more memory helps"
    )]
    Context {
        /// Answers at once.
        slots: u32,
        /// Context of each.
        context_tokens: u32,
        /// What llama.cpp said.
        detail: String,
    },
    /// A batch could not be put together: a bug of this engine.
    #[error("a batch could not be put together: {0}")]
    Batch(#[from] BatchAddError),
    /// llama.cpp could not compute a step.
    #[error("llama.cpp cannot compute: {detail}")]
    Compute {
        /// What it said.
        detail: String,
    },
}

impl EngineError {
    /// Whether the model file itself is at fault, so that trying again does not help.
    pub fn is_of_the_file(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::Load { .. }
                | Self::NoMark { .. }
                | Self::Format(_)
                | Self::Projector { .. }
        )
    }
}

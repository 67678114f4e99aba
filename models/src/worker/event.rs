//! What the daemon hears of a worker.
use super::{Chosen, Finding, Finish, Refusal, Usage};

/// What a worker says. Events of one worker come in order, from one thread; [`Event::Exited`] always comes, last.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The model is being loaded.
    Loading {
        /// 0 to 100.
        percent: u8,
    },
    /// The worker takes requests.
    Ready {
        /// Answers at once.
        slots: u32,
        /// Context of each, in tokens: as asked for, or what the model was trained for if that is less.
        context_tokens: u32,
    },
    /// A prompt is being read.
    Prefill {
        /// Which request.
        id: u64,
        /// Tokens read, those still in memory from before included.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// One token was chosen.
    Token {
        /// Which request.
        id: u64,
        /// The token, needed to resume elsewhere.
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
    /// The process is gone and reaped.
    Exited {
        /// How it ended, with its last words.
        detail: String,
        /// The model file itself is the cause: trying again does not help before it is replaced.
        unusable: bool,
    },
}

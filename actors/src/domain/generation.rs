//! What is asked of a model and what comes back, without a word about how it is run.
use std::sync::Arc;

use super::ids::GenerationId;

/// One token of a model's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub i32);

/// Who speaks in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatRole {
    /// The peer.
    User,
    /// The Archon.
    Assistant,
}

/// One utterance of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTurn {
    /// Who speaks.
    pub role: ChatRole,
    /// What is said. Untrusted: the chat format must not let it speak as the format itself.
    pub text: Arc<str>,
}

/// A conversation to be continued by the model. The chat format is the engine's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The persona and the standing instructions: byte-stable from turn to turn.
    pub system: Arc<str>,
    /// The conversation. The last one is the peer's.
    pub turns: Vec<ChatTurn>,
}

/// How the next token is chosen. The order of the chain is: penalties, top-k, top-p, min-p, temperature, draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy: always the likeliest token.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this part of the likeliest; 0 drops none.
    pub min_p: f32,
    /// Divide the logit of tokens seen lately by this; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtract this once from tokens seen lately.
    pub presence_penalty: f32,
    /// Subtract this per occurrence from tokens seen lately.
    pub frequency_penalty: f32,
    /// Same seed, prompt and model: same answer. `None` draws one.
    pub seed: Option<u32>,
}

/// One answer to generate, or to go on generating.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// Chosen by the caller, named in every event.
    pub id: GenerationId,
    /// The conversation.
    pub prompt: Arc<Prompt>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that were already given to the reader by a worker that died: the answer continues behind them.
    pub resume: Vec<Token>,
    /// The answer ends here at the latest, resumed tokens included.
    pub answer_tokens_max: u32,
    /// Prompt and answer together must fit; a longer prompt is refused with its exact length.
    pub context_tokens_max: u32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model ended its turn.
    EndOfTurn,
    /// `answer_tokens_max` or the context was reached.
    Length,
    /// Someone asked for it to stop.
    Cancelled,
}

/// Why a request was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Prompt plus the smallest useful answer is longer than the context.
    PromptTooLong {
        /// The prompt's exact length.
        tokens: u32,
        /// What it may be at most.
        tokens_max: u32,
    },
    /// Every slot runs an answer.
    NoFreeSlot,
    /// The engine could not run it.
    Engine {
        /// What the engine said.
        detail: String,
    },
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// How many of them were still in the slot from before.
    pub cached_tokens: u32,
    /// Length of the answer.
    pub answer_tokens: u32,
    /// Time from the start of reading to the first token, in milliseconds.
    pub prefill_ms: u32,
    /// Time from the first token to the last, in milliseconds.
    pub decode_ms: u32,
}

impl Usage {
    /// Length of the prompt with its answer. A count that is beyond all measure stays one.
    pub fn context_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.answer_tokens)
    }
}

//! What is asked of the engine and what it answers. Plain data: it travels between daemon and worker process.
use serde::{Deserialize, Serialize};

use crate::chat::{AnswerForm, AnswerPart, Conversation};

/// How the next token is chosen. Order: penalties, top-k, top-p, min-p, temperature, draw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// 0 is greedy: always the likeliest token.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this part of the likeliest; 0 drops none.
    pub min_p: f32,
    /// Divide the logit of tokens that the answer used lately by this; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtract this once from tokens that the answer used lately.
    pub presence_penalty: f32,
    /// Subtract this per use from tokens that the answer used lately.
    pub frequency_penalty: f32,
    /// Same seed, prompt and model: same answer. `None` draws one.
    pub seed: Option<u32>,
}

impl SamplingParams {
    /// Always the likeliest token, no penalties.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: None,
    };

    /// The first setting that makes no sense, in words.
    pub fn fault(&self) -> Option<&'static str> {
        let finite = |value: f32| value.is_finite();
        let rules = [
            (finite(self.temperature) && self.temperature >= 0.0, "temperature must be 0 or more"),
            (finite(self.top_p) && self.top_p > 0.0 && self.top_p <= 1.0, "top_p must be above 0, at most 1"),
            (finite(self.min_p) && (0.0..1.0).contains(&self.min_p), "min_p must be 0 or more, below 1"),
            (finite(self.repeat_penalty) && self.repeat_penalty > 0.0, "repeat_penalty must be above 0"),
            (finite(self.presence_penalty), "presence_penalty must be a number"),
            (finite(self.frequency_penalty), "frequency_penalty must be a number"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map(|(_, rule)| rule)
    }
}

/// What the model is to go on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, in the model's own chat format.
    Chat(Conversation),
    /// Bare text, without any format.
    Text(String),
    /// Bare text of which some is tokens already.
    Passage(Vec<Stretch>),
    /// Nothing: something is to be found out, and no words are wanted.
    Inquiry(Inquiry),
}

/// Longest passage that has a vector, in tokens: more of a text than one vector can stand for, and an eighth of a usual context in memory.
pub const PASSAGE_TOKENS_MAX: u32 = 1024;

/// A stretch of what is to become tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stretch {
    /// Text. The texts of the vocabulary's marks become marks.
    Text(String),
    /// One token.
    Token(i32),
}

/// What can be found out with the vocabulary, the chat format and the weights, without an answer in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Inquiry {
    /// The tokens of a passage.
    Tokens {
        /// The passage.
        passage: Vec<Stretch>,
        /// With the tokens that the model's texts begin and end with.
        adds_special: bool,
        /// The texts of marks become marks; otherwise they are text like any other.
        reads_marks: bool,
    },
    /// The text of tokens.
    Text {
        /// Which tokens.
        tokens: Vec<i32>,
    },
    /// A conversation as the model reads it, up to where the answer begins.
    Format {
        /// Which conversation.
        conversation: Conversation,
    },
    /// A vector for each passage: none may be longer than [`PASSAGE_TOKENS_MAX`].
    Vectors {
        /// The passages.
        passages: Vec<Vec<Stretch>>,
    },
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Finding {
    /// Tokens with their texts, which are parts of characters now and then.
    Tokens(Vec<(i32, Vec<u8>)>),
    /// A text.
    Text(String),
    /// The vector of the next passage, of length 1.
    Vector(Vec<f32>),
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Which token.
    pub token: i32,
    /// Its text, perhaps a part of a character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, at temperature 1 and before anything was left out.
    pub logprob: f32,
}

/// What became of one token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// What may now be shown. Often nothing.
    pub parts: Vec<AnswerPart>,
    /// The token and the likeliest ones, the likeliest first, where that was asked for.
    pub logprobs: Option<(TokenLogprob, Vec<TokenLogprob>)>,
}

impl Chosen {
    /// The words among the parts.
    pub fn words(&self) -> String {
        let words = self.parts.iter().map(|part| match part {
            AnswerPart::Text(text) => text.as_str(),
            AnswerPart::Thought(_) | AnswerPart::Call(_) | AnswerPart::BadCall { .. } => "",
        });
        words.collect()
    }
}

/// One answer to generate, or to go on generating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the caller, named in every event. Never used twice for one worker.
    pub id: u64,
    /// What to go on with.
    pub prompt: Prompt,
    /// What the answer must be like.
    pub form: AnswerForm,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens of this answer that were given out before, perhaps by another worker: it continues behind them.
    pub resume: Vec<i32>,
    /// The answer ends here at the latest, resumed tokens included.
    pub answer_tokens_max: u32,
    /// Prompt and answer together must fit; the context of the worker bounds them too.
    pub context_tokens_max: u32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// One of the texts came before which it was to end.
    StopText,
    /// `answer_tokens_max` or the context was reached.
    Length,
    /// Someone asked for it to stop.
    Cancelled,
}

/// Why a request was not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The request makes no sense to the engine.
    Engine {
        /// What is wrong.
        detail: String,
    },
    /// A picture or recording of the request cannot be used.
    Medium {
        /// Which: the SHA-256 of its bytes.
        sha256: [u8; 32],
        /// Why.
        detail: String,
    },
    /// It cannot be done with this model, or not now, through no fault of the request.
    Unable {
        /// Why.
        detail: String,
    },
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// How many of them are rows of pictures and recordings.
    pub media_tokens: u32,
    /// How many of them were not computed, because they were known from before.
    pub cached_tokens: u32,
    /// How many of those came from the disk, where contexts rest that are in no slot.
    pub restored_tokens: u32,
    /// Length of the answer, resumed tokens included.
    pub answer_tokens: u32,
    /// Guesses of the answer's next tokens that were computed along with it.
    pub drafted_tokens: u32,
    /// How many of them were right: so many steps were spared.
    pub accepted_tokens: u32,
    /// From the start of reading to the first token, in milliseconds.
    pub prefill_ms: u32,
    /// From the first token to the last, in milliseconds.
    pub decode_ms: u32,
}

//! What is asked of a model and what comes back, without a word about how it is run.
use std::sync::Arc;

use super::channel::MediaId;
use super::ids::GenerationId;

/// One token of a model's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub i32);

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatRole {
    /// Whoever set the model up, in the middle of the conversation. What stands at its beginning is [`Conversation::system`].
    System,
    /// The peer.
    User,
    /// The Archon.
    Assistant,
    /// A tool, with the result of a call.
    Tool,
}

/// A piece of an utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Words.
    Text(Arc<str>),
    /// A picture, as the bytes of its file.
    Image(Arc<[u8]>),
    /// A recording, as the bytes of its file.
    Audio(Arc<[u8]>),
}

/// One utterance of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTurn {
    /// Who speaks.
    pub role: ChatRole,
    /// What is said, in order. Untrusted: the chat format must not let it speak as the format itself.
    pub content: Vec<Content>,
    /// What the Archon thought before it spoke; empty for nothing.
    pub thought: Arc<str>,
    /// The tools that the Archon called.
    pub calls: Vec<ToolCall>,
    /// The [`ToolCall::id`] that a tool's turn answers; empty in other turns.
    pub answers: Arc<str>,
}

impl ChatTurn {
    /// A turn of text alone.
    pub fn text(role: ChatRole, text: impl Into<Arc<str>>) -> Self {
        let content = vec![Content::Text(text.into())];
        Self { role, content, thought: "".into(), calls: Vec::new(), answers: "".into() }
    }

    /// Its words, media left out.
    pub fn words(&self) -> String {
        let words = self.content.iter().map(|content| match content {
            Content::Text(text) => &**text,
            Content::Image(_) | Content::Audio(_) => "",
        });
        words.collect()
    }
}

/// A tool as it is declared to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object, as JSON text. Empty where it takes none.
    pub parameters: String,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Tells apart the calls of a conversation.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its arguments: a JSON object, as JSON text.
    pub arguments: String,
}

/// A conversation to be continued by the model. The chat format is the engine's affair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversation {
    /// The persona and the standing instructions: byte-stable from turn to turn.
    pub system: Arc<str>,
    /// What was said. The last turn is mostly the peer's or a tool's; where it is the Archon's, the answer goes on with it.
    pub turns: Vec<ChatTurn>,
    /// The tools that the model may call: in the same order from turn to turn.
    pub tools: Arc<[Tool]>,
    /// Whether the model may think before it answers, where it can.
    pub thinking: bool,
}

/// What the model is to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, in the model's own chat format.
    Chat(Conversation),
    /// Bare text, without any format.
    Text(Arc<str>),
    /// Bare text of which some is tokens already.
    Passage(Passage),
    /// Nothing: something is to be found out, and no words are wanted.
    Inquiry(Inquiry),
}

/// What becomes tokens one after the other: text, and tokens that are known already.
pub type Passage = Arc<[Stretch]>;

/// A stretch of a [`Passage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// Text. The texts of a vocabulary's marks become marks.
    Text(Arc<str>),
    /// One token.
    Token(Token),
}

/// What can be found out with a model's vocabulary, its chat format and its weights, without an answer in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inquiry {
    /// The tokens of a passage.
    Tokens {
        /// Which passage.
        passage: Passage,
        /// With the tokens that the model's texts begin and end with.
        adds_special: bool,
        /// The texts of marks become marks; otherwise they are text like any other.
        reads_marks: bool,
    },
    /// The text of tokens.
    Text {
        /// Which tokens.
        tokens: Arc<[Token]>,
    },
    /// A conversation as the model reads it, up to where the answer begins.
    Format {
        /// Which conversation.
        conversation: Conversation,
    },
    /// A vector for each passage: near to each other where the passages mean the like. Computed, in a slot.
    Vectors {
        /// Which passages.
        passages: Arc<[Passage]>,
    },
}

impl Inquiry {
    /// Whether it is computed in the time of a slot, as opposed to looked up at once.
    pub fn takes_slot(&self) -> bool {
        matches!(self, Self::Vectors { .. })
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Tokens with their texts, which are parts of characters now and then.
    Tokens(Vec<(Token, Vec<u8>)>),
    /// A text.
    Text(String),
    /// The vector of the next passage, of length 1.
    Vector(Vec<f32>),
}

impl Prompt {
    /// The turns of a conversation; none of bare text.
    pub fn turns(&self) -> &[ChatTurn] {
        match self {
            Self::Chat(conversation) => &conversation.turns,
            Self::Text(_) | Self::Passage(_) | Self::Inquiry(_) => &[],
        }
    }

    /// Whether it shows pictures or recordings.
    pub fn has_media(&self) -> bool {
        let content = self.turns().iter().flat_map(|turn| &turn.content);
        content.into_iter().any(|content| matches!(content, Content::Image(_) | Content::Audio(_)))
    }

    /// Whether a worker needs one of its slots for it.
    pub fn takes_slot(&self) -> bool {
        match self {
            Self::Chat(_) | Self::Text(_) | Self::Passage(_) => true,
            Self::Inquiry(inquiry) => inquiry.takes_slot(),
        }
    }

    /// The standing instructions of a conversation; nothing of bare text.
    pub fn system(&self) -> &str {
        match self {
            Self::Chat(conversation) => &conversation.system,
            Self::Text(_) | Self::Passage(_) | Self::Inquiry(_) => "",
        }
    }
}

/// Which tools an answer may or must call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CallRule {
    /// As the model likes.
    #[default]
    Free,
    /// None, though tools are declared.
    Never,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// What shape the words of an answer have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Shape {
    /// Any.
    #[default]
    Free,
    /// One JSON object.
    JsonObject,
    /// JSON that a schema, given as JSON text, allows.
    JsonSchema(String),
    /// What a grammar in llama.cpp's GBNF allows.
    Grammar(String),
}

/// What an answer must be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerForm {
    /// Calls of tools.
    pub calls: CallRule,
    /// Whether several calls may follow each other in one answer.
    pub parallel_calls: bool,
    /// The words.
    pub shape: Shape,
    /// Texts before which the answer ends.
    pub stop: Vec<String>,
    /// Tell the probability of each token, with so many of the likeliest others.
    pub logprobs: Option<u8>,
    /// The model may not end the answer by itself.
    pub ignores_end: bool,
    /// A model that was not taught to call tools does without those of the conversation. Otherwise it is told of them all the same.
    pub tools_if_able: bool,
    /// A model that does not see, or does not hear, gets a note in the place of each picture, or recording. Otherwise it is refused.
    pub media_if_able: bool,
    /// Added to the logits of single tokens; negative infinity forbids one.
    pub bias: Vec<(Token, f32)>,
}

/// A part of an answer, in the order in which the model speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// Words for the reader: complete characters, without the format's own marks.
    Text(String),
    /// Words of a thought.
    Thought(String),
    /// A whole call of a tool.
    Call(ToolCall),
    /// Something that was meant as a call and is none.
    BadCall {
        /// What the model wrote, with the format's marks as text.
        written: String,
        /// What is wrong with it, for the model and for people.
        fault: String,
    },
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// Which token.
    pub token: Token,
    /// Its text, perhaps a part of a character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, at temperature 1 and before anything was left out.
    pub logprob: f32,
}

/// What became of one token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chosen {
    /// What may now be shown. Often nothing.
    pub parts: Vec<AnswerPart>,
    /// The token and the likeliest ones, the likeliest first, where that was asked for.
    pub logprobs: Option<(TokenLogprob, Vec<TokenLogprob>)>,
}

impl Chosen {
    /// Words and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![AnswerPart::Text(text.into())], logprobs: None }
    }

    /// The words among the parts.
    pub fn words(&self) -> String {
        let words = self.parts.iter().map(|part| match part {
            AnswerPart::Text(text) => text.as_str(),
            AnswerPart::Thought(_) | AnswerPart::Call(_) | AnswerPart::BadCall { .. } => "",
        });
        words.collect()
    }
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
    /// What to go on with.
    pub prompt: Arc<Prompt>,
    /// What the answer must be like.
    pub form: Arc<AnswerForm>,
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
    /// One of the texts came before which it was to end.
    StopText,
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
    /// A picture or recording of the prompt cannot be used.
    Medium {
        /// Which: the hash of its bytes.
        id: MediaId,
        /// Why.
        detail: String,
    },
    /// The worker or the model cannot do it, through no fault of the request.
    Unable {
        /// Why.
        detail: String,
    },
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
    /// How many of them are rows of pictures and recordings.
    pub media_tokens: u32,
    /// How many of them were not computed, because they were known from before.
    pub cached_tokens: u32,
    /// How many of those came from the disk.
    pub restored_tokens: u32,
    /// Length of the answer.
    pub answer_tokens: u32,
    /// Guesses of the answer's next tokens that were computed along with it.
    pub drafted_tokens: u32,
    /// How many of them were right.
    pub accepted_tokens: u32,
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

//! What a model is asked to go on with, and the parts of what it answers. Plain data: it travels between daemon and worker process.
use serde::{Deserialize, Serialize};

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Whoever set the model up, in the middle of the conversation. What stands at its beginning is [`Conversation::system`].
    System,
    /// The peer.
    User,
    /// The model.
    Assistant,
    /// A tool, with the result of a call.
    Tool,
}

/// A conversation that the model is to continue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The standing instructions; empty for none.
    pub system: String,
    /// What was said. The last turn is mostly the user's or a tool's; where it is the assistant's, the answer goes on with it.
    pub turns: Vec<Turn>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may think before it answers, where its family can.
    pub thinking: bool,
}

impl Conversation {
    /// A conversation of texts alone; the turns are the user's and the model's by turns.
    pub fn of_texts<'t>(system: &str, said: impl IntoIterator<Item = &'t str>) -> Self {
        let roles = [Role::User, Role::Assistant].into_iter().cycle();
        let turns = roles.zip(said).map(|(role, text)| Turn::text(role, text)).collect();
        Self { system: system.to_owned(), turns, ..Self::default() }
    }

    /// The pictures and recordings of all turns, in order. [`Piece::Media`](super::Piece::Media) counts them.
    pub fn media(&self) -> impl Iterator<Item = &Content> {
        let parts = self.turns.iter().flat_map(|turn| &turn.content);
        parts.filter(|part| !matches!(part, Content::Text(_)))
    }
}

/// One utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order. Untrusted: it must never act as the format itself.
    pub content: Vec<Content>,
    /// What an assistant thought before it spoke; empty for nothing.
    pub thought: String,
    /// The tools that an assistant called.
    pub calls: Vec<ToolCall>,
    /// The [`ToolCall::id`] that a tool's turn answers; empty in other turns.
    pub answers: String,
}

impl Turn {
    /// A turn of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        let content = vec![Content::Text(text.into())];
        Self { role, content, thought: String::new(), calls: Vec::new(), answers: String::new() }
    }

    /// Its words, media left out.
    pub fn words(&self) -> String {
        let words = self.content.iter().map(|content| match content {
            Content::Text(text) => text.as_str(),
            Content::Image(_) | Content::Audio(_) => "",
        });
        words.collect()
    }
}

/// A piece of an utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Words.
    Text(String),
    /// A picture, as the bytes of its file.
    Image(Vec<u8>),
    /// A recording, as the bytes of its file.
    Audio(Vec<u8>),
}

impl Content {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Image(bytes) | Self::Audio(bytes) => bytes.len(),
        }
    }
}

/// A tool as it is declared to the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object, as JSON text. Empty where it takes none.
    pub parameters: String,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Tells apart the calls of a conversation.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its arguments: a JSON object, as JSON text.
    pub arguments: String,
}

/// A part of an answer, in the order in which the model speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerPart {
    /// Words for the reader: complete characters, without the format's own marks.
    Text(String),
    /// Words of a thought.
    Thought(String),
    /// A whole call of a tool.
    Call(ToolCall),
    /// Something that was meant as a call and is none, even after mending.
    BadCall {
        /// What the model wrote, with the format's marks as text.
        written: String,
        /// What is wrong with it, for the model and for people.
        fault: String,
    },
}

/// Which tools an answer may or must call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Added to the logits of single tokens; negative infinity forbids one.
    pub bias: Vec<(i32, f32)>,
}

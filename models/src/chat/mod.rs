//! The chat formats: a conversation as the pieces of a prompt, and a model's tokens as the parts of its answer.
//!
//! Nothing here knows llama.cpp. A prompt is a row of [`Piece`]s: marks, which become their one special token, and text,
//! which is tokenised so that it can never become a mark, whatever a peer writes. An answer goes through an [`AnswerParser`].
//!
//! Two families are written natively, so that a damaged or outdated template of a model file cannot break them. All others are
//! rendered by their file's own template.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod call;
mod characters;
mod chatml;
mod conversation;
mod error;
mod gemma4;
mod parser;
mod parts;
mod prompt;
mod read;
mod tagged;
mod template;
#[cfg(test)]
mod tests;
mod tool;
mod value;

pub use conversation::{
    AnswerForm, AnswerPart, CallRule, Content, Conversation, Role, Shape, Tool, ToolCall, Turn,
};
pub use error::ChatError;
pub use parser::{AnswerEnd, AnswerParser, Shown};
pub use prompt::{Piece, cut_inside_marks};
pub use template::check;

use parser::Reader;
use tagged::{TaggedReader, Tags};
use template::Template;

/// How a model was taught to converse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChatFamily {
    /// `<|im_start|>role … <|im_end|>`: SmolLM2 and many others.
    ChatMl,
    /// `<|turn>role … <turn|>` with thought channels.
    Gemma4,
    /// Whatever the model file's own template says.
    Template,
    /// Not at all: an embedding model.
    Mute,
}

/// What a format has to know of a model's vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The texts of its special tokens: those that [`is_mark`] names.
    pub marks: Vec<String>,
    /// The text of the token that every prompt begins with, if the model wants one.
    pub bos: Option<String>,
    /// The text of the token that ends everything.
    pub eos: String,
}

/// Whether a token is a mark, which is never shown, and which text never becomes. `is_control`: the vocabulary says so.
///
/// Vocabularies call tokens "user defined" that are marks and others that are ordinary text: runs of spaces, HTML tags.
pub fn is_mark(text: &str, is_control: bool) -> bool {
    is_control || text.starts_with("<|") || text.ends_with("|>") || tagged::is_tag(text)
}

/// A family, with what one model's own template says about it.
#[derive(Debug, Clone)]
pub struct ChatFormat {
    /// The family.
    pub family: ChatFamily,
    /// An answer begins behind an empty thought, which tells a model not to think. Gemma 4's small models' own template leaves it out.
    empty_thought: bool,
    /// A ChatML model that knows thoughts.
    thinks: bool,
    tags: Tags,
    marks: Arc<[String]>,
    template: Option<Arc<Template>>,
}

/// The empty thought as Gemma 4's template's source spells it.
const EMPTY_CHANNEL: &str = r"<|channel>thought\n<channel|>";
/// The empty thought as ChatML's templates' source spells it.
const EMPTY_THINK: &str = r"<think>\n\n</think>";

impl ChatFamily {
    /// The family that a GGUF's `general.architecture` and chat template stand for. `None` if nothing tells how to speak to the model.
    pub fn detect(architecture: &str, template: &str) -> Option<Self> {
        if architecture == "gemma4" {
            Some(Self::Gemma4)
        } else if template.contains("<|im_start|>") {
            Some(Self::ChatMl)
        } else {
            (!template.trim().is_empty()).then_some(Self::Template)
        }
    }

    /// The special tokens that a model of this family must have.
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &["<|im_start|>", "<|im_end|>"],
            Self::Gemma4 => &["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"],
            Self::Template | Self::Mute => &[],
        }
    }

    /// The format, as the model's own template shapes it; a model without a template gets the family's.
    pub fn format(self, template: Option<&str>, vocabulary: &Vocabulary) -> Result<ChatFormat, ChatError> {
        let source = template.unwrap_or_default();
        let tags = Tags::of(source, &vocabulary.marks);
        let (empty_thought, thinks, tags, own) = match self {
            Self::Gemma4 => (template.is_none_or(|source| source.contains(EMPTY_CHANNEL)), true, tags, None),
            Self::ChatMl => {
                let thinks = tags.thought.is_some();
                (source.contains(EMPTY_THINK), thinks, tags.with_call(&vocabulary.marks), None)
            }
            Self::Template => {
                let own = Template::new(template.ok_or(ChatError::NoTemplate)?, vocabulary)?;
                (false, false, tags, Some(Arc::new(own)))
            }
            Self::Mute => (false, false, tags, None),
        };
        let marks = vocabulary.marks.as_slice().into();
        Ok(ChatFormat { family: self, empty_thought, thinks, tags, marks, template: own })
    }
}

impl ChatFormat {
    /// The prompt after which the model writes the assistant's next turn, or goes on with the assistant's last. Equal conversations
    /// give equal pieces.
    ///
    /// Pictures and recordings count where they are shown to the model: in the turns of users and of the system.
    pub fn render(&self, conversation: &Conversation) -> Result<Vec<Piece>, ChatError> {
        match (&self.template, self.family) {
            (Some(template), _) => template.render(conversation),
            (None, ChatFamily::ChatMl) => chatml::render(self, conversation),
            (None, ChatFamily::Mute) => Err(ChatError::Mute),
            (None, _) => gemma4::render(conversation, self.empty_thought),
        }
    }

    /// Takes the answer to such a prompt apart. The same `seed` gives the same calls the same names, so one that is kept with the
    /// request lets another process go on with the answer.
    pub fn parser(&self, conversation: &Conversation, prompt: &[Piece], seed: u64) -> AnswerParser {
        let reads_gemma = self.template.as_ref().is_some_and(|template| template.is_gemma());
        if self.family == ChatFamily::Gemma4 || reads_gemma {
            return AnswerParser::new(Reader::Gemma4(gemma4::Gemma4Reader::new()), seed);
        }
        let has_calls = conversation.turns.iter().any(|turn| !turn.calls.is_empty());
        let knows_tools = !conversation.tools.is_empty() || has_calls;
        let tags = if knows_tools { self.tags.clone() } else { self.tags.clone().without_calls() };
        let in_thought = tags.thought.is_some_and(|(open, _)| ends_with(prompt, open));
        AnswerParser::new(Reader::Tagged(TaggedReader::new(tags, in_thought)), seed)
    }

    fn has_mark(&self, text: &str) -> bool {
        self.marks.iter().any(|mark| mark == text)
    }
}

/// Whether a tag is the last thing in a prompt, blanks apart.
fn ends_with(prompt: &[Piece], tag: &str) -> bool {
    let mut pieces = prompt.iter().rev();
    pieces
        .find_map(|piece| match piece {
            Piece::Text(text) if text.trim().is_empty() => None,
            Piece::Text(text) => Some(text.trim_end().ends_with(tag)),
            Piece::Mark(mark) => Some(mark == tag),
            Piece::Media(_) => Some(false),
        })
        .unwrap_or(false)
}

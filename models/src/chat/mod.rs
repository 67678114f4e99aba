//! The chat formats: a conversation as the pieces of a prompt, and a model's output as the text to show.
//!
//! Nothing here knows llama.cpp. A prompt is a row of [`Piece`]s: marks, which become their one special token, and text,
//! which is tokenised so that it can never become a mark, whatever a user writes.
use serde::{Deserialize, Serialize};

mod conversation;
mod output;
#[cfg(test)]
mod tests;

pub use conversation::{
    AnswerForm, AnswerPart, CallRule, Content, Conversation, Role, Shape, Tool, ToolCall, Turn,
};
pub use output::{OutputFilter, Shown};

/// How a model was taught to converse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChatFamily {
    /// `<|im_start|>role … <|im_end|>`: SmolLM2 and many others.
    ChatMl,
    /// `<|turn>role … <turn|>` with thought channels.
    Gemma4,
}

/// One part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A special token, by its text.
    Mark(&'static str),
    /// Plain text, some of it written by strangers.
    Text(String),
}

/// A family, with what one model's own template says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatFormat {
    /// The family.
    pub family: ChatFamily,
    /// An answer begins behind an empty thought, which tells Gemma 4 not to think. Its small models' own template
    /// leaves it out.
    pub empty_thought: bool,
}

/// The empty thought as a template's source spells it.
const EMPTY_THOUGHT_SOURCE: &str = r"<|channel>thought\n<channel|>";

impl ChatFamily {
    /// The family that a GGUF's `general.architecture` and chat template stand for.
    pub fn detect(architecture: &str, template: &str) -> Option<Self> {
        if architecture == "gemma4" {
            return Some(Self::Gemma4);
        }
        template.contains("<|im_start|>").then_some(Self::ChatMl)
    }

    /// The special tokens that a model of this family must have.
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &["<|im_start|>", "<|im_end|>"],
            Self::Gemma4 => &["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"],
        }
    }

    /// Marks that open a part of the output which is not for the reader: thoughts, calls of tools.
    pub fn opening_marks(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &[],
            Self::Gemma4 => &["<|channel>", "<|tool_call>", "<|tool_response>", "<|tool>"],
        }
    }

    /// Marks that close such a part.
    pub fn closing_marks(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &[],
            Self::Gemma4 => &["<channel|>", "<tool_call|>", "<tool_response|>", "<tool|>"],
        }
    }

    /// The format, as the model's own template shapes it; a model without a template gets the family's.
    pub fn format(self, template: Option<&str>) -> ChatFormat {
        let empty_thought = template.is_none_or(|source| source.contains(EMPTY_THOUGHT_SOURCE));
        ChatFormat { family: self, empty_thought: self == Self::Gemma4 && empty_thought }
    }
}

impl ChatFormat {
    /// The prompt after which the model writes the assistant's next turn. Equal conversations give equal pieces, and a
    /// longer conversation begins with the pieces of the shorter one, up to the opening of the answer.
    pub fn render(self, system: &str, turns: &[(Role, String)]) -> Vec<Piece> {
        let mut prompt = Prompt::default();
        match self.family {
            ChatFamily::ChatMl => {
                let turn = |prompt: &mut Prompt, role: &str, text: &str| {
                    prompt
                        .mark("<|im_start|>")
                        .text(role)
                        .text("\n")
                        .text(text)
                        .mark("<|im_end|>")
                        .text("\n");
                };
                if !system.is_empty() {
                    turn(&mut prompt, "system", system);
                }
                for (role, text) in turns {
                    let name = if *role == Role::User { "user" } else { "assistant" };
                    turn(&mut prompt, name, text);
                }
                prompt.mark("<|im_start|>").text("assistant\n");
            }
            ChatFamily::Gemma4 => {
                let turn = |prompt: &mut Prompt, role: &str, text: &str| {
                    let prompt = prompt.mark("<|turn>").text(role).text("\n");
                    prompt.text(text.trim()).mark("<turn|>").text("\n"); // Gemma's template trims, too
                };
                prompt.mark("<bos>");
                if !system.trim().is_empty() {
                    turn(&mut prompt, "system", system);
                }
                for (role, text) in turns {
                    turn(&mut prompt, if *role == Role::User { "user" } else { "model" }, text);
                }
                prompt.mark("<|turn>").text("model\n");
                if self.empty_thought {
                    prompt.mark("<|channel>").text("thought\n").mark("<channel|>");
                }
            }
        }
        prompt.pieces
    }
}

/// A prompt in the making. Neighbouring texts become one, as a template's text is tokenised in one.
#[derive(Default)]
struct Prompt {
    pieces: Vec<Piece>,
}

impl Prompt {
    fn mark(&mut self, mark: &'static str) -> &mut Self {
        self.pieces.push(Piece::Mark(mark));
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
        self
    }
}

/// Cuts a text so that no part holds a whole mark: tokenised apart, the parts cannot become one.
///
/// Needed because llama.cpp turns tokens of the type "user defined" into themselves even where it is told not to parse
/// special tokens, and Gemma 4's channel and quote marks are of that type.
pub fn cut_inside_marks<'t>(text: &'t str, marks: &[String]) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, first) in text.char_indices() {
        if marks.iter().any(|mark| !mark.is_empty() && text[at..].starts_with(mark.as_str())) {
            let cut = at + first.len_utf8();
            parts.push(&text[begin..cut]);
            begin = cut;
        }
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

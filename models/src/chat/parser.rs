//! From a model's tokens to the parts of its answer, one token at a time.
use std::sync::Arc;

use super::call::{CallIds, Closed};
use super::characters::Characters;
use super::conversation::AnswerPart;
use super::gemma4::Gemma4Reader;
use super::parts::Parts;
use super::tagged::TaggedReader;

/// What one token means to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'t> {
    /// Text, or a part of a character.
    Bytes(&'t [u8]),
    /// A mark, by its text: not shown, but in bare text.
    Mark(&'t str),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// The model ended it: small omissions at the end are mended.
    ByModel,
    /// It was cut off, by a limit or by someone: a call that is not closed may lack its most important part.
    CutOff,
}

/// Takes an answer apart: words, thoughts, calls. What it gives depends on the tokens' text and marks only, not on how the tokens
/// cut the text, but for where neighbouring words of one kind are divided.
#[derive(Debug, Clone)]
pub struct AnswerParser {
    characters: Characters,
    reader: Reader,
    ids: CallIds,
}

#[derive(Debug, Clone)]
pub(super) enum Reader {
    Gemma4(Gemma4Reader),
    Tagged(TaggedReader),
    /// All is words, these marks too.
    Bare(Arc<[String]>),
}

impl AnswerParser {
    /// For what goes on with bare text: nothing is taken apart. `shown`: the marks that are told as the text that they are; others say nothing
    /// to a reader.
    pub fn of_bare_text(shown: Arc<[String]>) -> Self {
        Self::new(Reader::Bare(shown), 0)
    }

    pub(super) fn new(reader: Reader, seed: u64) -> Self {
        Self { characters: Characters::default(), reader, ids: CallIds::new(seed) }
    }

    /// Takes the next token; returns what it completes. Words come as soon as they cannot be part of a mark.
    pub fn push(&mut self, token: Shown<'_>) -> Vec<AnswerPart> {
        let mut parts = Parts::default();
        match token {
            Shown::Bytes(bytes) => {
                let text = self.characters.complete(bytes);
                match &mut self.reader {
                    Reader::Gemma4(reader) => reader.words(&text, &mut parts),
                    Reader::Tagged(reader) => reader.words(&text, &mut self.ids, &mut parts),
                    Reader::Bare(_) => parts.text(&text),
                }
            }
            Shown::Mark(mark) => {
                self.characters.interrupt();
                match &mut self.reader {
                    Reader::Gemma4(reader) => reader.mark(mark, &mut self.ids, &mut parts),
                    Reader::Tagged(reader) => reader.mark(mark, &mut self.ids, &mut parts),
                    Reader::Bare(shown) if shown.iter().any(|one| one == mark) => parts.text(mark),
                    Reader::Bare(_) => {}
                }
            }
        }
        parts.done()
    }

    /// Nothing more comes: returns what was held back.
    pub fn finish(&mut self, end: AnswerEnd) -> Vec<AnswerPart> {
        self.characters.interrupt();
        let closed = match end {
            AnswerEnd::ByModel => Closed::ByTurn,
            AnswerEnd::CutOff => Closed::Cut,
        };
        let mut parts = Parts::default();
        match &mut self.reader {
            Reader::Gemma4(reader) => reader.finish(closed, &mut self.ids, &mut parts),
            Reader::Tagged(reader) => reader.finish(closed, &mut self.ids, &mut parts),
            Reader::Bare(_) => {}
        }
        parts.done()
    }
}

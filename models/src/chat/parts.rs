//! The parts of an answer in the making, and the blanks around them.
use super::conversation::AnswerPart;

/// Parts in order; words of one kind that follow each other are one part.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<AnswerPart>,
}

impl Parts {
    pub(super) fn text(&mut self, words: &str) {
        match self.parts.last_mut() {
            _ if words.is_empty() => {}
            Some(AnswerPart::Text(text)) => text.push_str(words),
            _ => self.parts.push(AnswerPart::Text(words.to_owned())),
        }
    }

    pub(super) fn thought(&mut self, words: &str) {
        match self.parts.last_mut() {
            _ if words.is_empty() => {}
            Some(AnswerPart::Thought(thought)) => thought.push_str(words),
            _ => self.parts.push(AnswerPart::Thought(words.to_owned())),
        }
    }

    pub(super) fn calls(&mut self, calls: Vec<AnswerPart>) {
        self.parts.extend(calls);
    }

    pub(super) fn done(self) -> Vec<AnswerPart> {
        self.parts
    }
}

/// Leaves out the blanks around words that come in pieces: those before them, where they belong to the format, and those behind
/// until it is known what follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Blanks {
    skips: bool,
    held: String,
}

impl Blanks {
    /// Leading blanks are left out, or not.
    pub(super) fn new(skips: bool) -> Self {
        Self { skips, held: String::new() }
    }

    /// The words up to the last that is no blank, with the blanks that were held back before them.
    pub(super) fn inner(&mut self, words: &str) -> String {
        let words = if self.skips { words.trim_start() } else { words };
        let end = words.trim_end().len();
        let (inner, behind) = words.split_at(end);
        if inner.is_empty() {
            self.held.push_str(behind);
            return String::new();
        }
        self.skips = false;
        let mut out = std::mem::replace(&mut self.held, behind.to_owned());
        out.push_str(inner);
        out
    }

    /// The blanks that were held back: they turn out to be words.
    pub(super) fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

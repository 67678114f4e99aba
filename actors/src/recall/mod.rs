//! Finding texts by their words: what was said and noted, for every store alike, and tools. Pure.
//!
//! - [`Terms`]: what a text is found by; a store keeps it beside each turn.
//! - [`Query`] and [`Ranking`]: what is looked for, and which texts answer it best.
//! - [`excerpt`]: the part of a long text that is worth showing.
mod excerpt;
mod ranking;
#[cfg(test)]
mod tests;
mod words;

pub use excerpt::excerpt;
pub use ranking::{Query, Ranking};
pub use words::Terms;

use crate::domain::{Note, NoteId, ThreadId};

/// The name of a text that is found, within one peer's memory. Notes come first where all else is equal, then what is later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A turn.
    Turn {
        /// Of which conversation.
        thread: ThreadId,
        /// Its number there.
        number: u64,
    },
    /// A note.
    Note(NoteId),
}

/// What a turn is found by. What tools answered is left out: it is what others wrote, often long, and can be had again.
pub fn turn_terms(user: &str, answer: &str) -> Terms {
    Terms::of(&[user, answer])
}

/// What a note is found by.
pub fn note_terms(note: &Note) -> Terms {
    Terms::of(&[note.topic.as_deref().unwrap_or_default(), &note.text])
}

impl Ranking<'_, Place> {
    /// Shows a note.
    pub fn add_note(&mut self, note: &Note) {
        self.add_terms(Place::Note(note.id), &note_terms(note));
    }
}

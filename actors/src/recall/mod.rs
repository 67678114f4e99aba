//! Finding texts: what was said and noted, by words and by meaning, for every store alike; and tools, by words. Pure.
//!
//! - [`Search`]: what one question finds in one memory.
//! - [`Terms`]: what a text is found by; a store keeps it beside each turn.
//! - [`Query`] and [`Ranking`]: what is looked for, and which texts answer it best.
//! - [`Nearness`] and [`fused`]: which texts mean the like, and both orders made one.
//! - [`excerpt`]: the part of a long text that is worth showing.
mod excerpt;
mod meaning;
mod ranking;
#[cfg(test)]
mod tests;
mod words;

pub use excerpt::excerpt;
pub use meaning::{NEAREST_MAX, Nearness, fused, note_text, turn_text};
pub use ranking::{Query, Ranking};
pub use words::Terms;

pub use crate::domain::Place;
use crate::domain::{Note, Sought};

/// What a turn is found by. What tools answered is left out: it is what others wrote, often long, and can be had again.
pub fn turn_terms(user: &str, answer: &str) -> Terms {
    Terms::of(&[user, answer])
}

/// What a note is found by.
pub fn note_terms(note: &Note) -> Terms {
    Terms::of(&[note.topic.as_deref().unwrap_or_default(), &note.text])
}

/// At least so many of those that fit by their words are ranked with those that fit by their meaning.
const FITTING_MIN: usize = 100;

/// What one question finds in one memory. Every text is shown with its terms, and with its vector where it has one.
#[derive(Debug)]
pub struct Search<'q> {
    ranking: Ranking<'q, Place>,
    nearness: Option<Nearness<'q, Place>>,
}

impl<'q> Search<'q> {
    /// Nothing was shown yet.
    pub fn new(query: &'q Query, sought: &'q Sought) -> Self {
        let nearness = sought.meant.as_ref().map(|meant| Nearness::new(&meant.vector));
        Self { ranking: Ranking::new(query), nearness }
    }

    /// Shows a note.
    pub fn add_note(&mut self, note: &Note) {
        self.ranking.add_terms(Place::Note(note.id), &note_terms(note));
    }

    /// Shows a turn by what it is found by.
    pub fn add_turn<'t>(&mut self, place: Place, len: u32, terms: impl IntoIterator<Item = (&'t str, u32)>) {
        self.ranking.add(place, len, terms);
    }

    /// Whether vectors are of any use.
    pub fn looks_at_meaning(&self) -> bool {
        self.nearness.is_some()
    }

    /// Shows the vector of a text by its parts.
    pub fn add_vector(&mut self, place: Place, step: f32, numbers: &[u8]) {
        if let Some(nearness) = &mut self.nearness {
            nearness.add(place, step, numbers);
        }
    }

    /// What was found, the best first.
    pub fn best(self, limit: usize) -> Vec<Place> {
        match self.nearness {
            None => self.ranking.best(limit),
            Some(nearness) => {
                fused([self.ranking.best(limit.max(FITTING_MIN)), nearness.best(NEAREST_MAX)], limit)
            }
        }
    }
}

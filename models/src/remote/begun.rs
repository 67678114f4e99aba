//! What the readers of unfinished answers have, kept beyond the connection that it came by. Another server, or the same one
//! after a break, goes on behind it.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chat::AnswerPart;

/// Most unfinished answers that are kept: as many as may wait in a pool, several times. The oldest go first.
const ANSWERS_MAX: usize = 1024;

/// The unfinished answers of one model.
#[derive(Debug, Clone, Default)]
pub struct Begun(Arc<Mutex<BTreeMap<u64, Vec<Piece>>>>);

/// What came with one token.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Words(String),
    /// A thought or a call: there is no way to say to a server that it has begun one.
    Other,
}

impl Begun {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Piece>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    /// Notes what came with the token of this number.
    pub(super) fn add(&self, id: u64, number: usize, parts: &[AnswerPart]) {
        let mut answers = self.answers();
        let pieces = answers.entry(id).or_default();
        // What the reader was not told before the break is said anew.
        pieces.truncate(number);
        let words = parts.iter().map(|part| match part {
            AnswerPart::Text(text) => Some(text.as_str()),
            AnswerPart::Thought(_) | AnswerPart::Call(_) | AnswerPart::BadCall { .. } => None,
        });
        pieces.push(words.collect::<Option<String>>().map_or(Piece::Other, Piece::Words));
        while answers.len() > ANSWERS_MAX {
            answers.pop_first();
        }
    }

    /// The words of the first so many tokens of an answer; `None` where it cannot be gone on with.
    pub(super) fn words(&self, id: u64, tokens: usize) -> Option<String> {
        if tokens == 0 {
            return Some(String::new());
        }
        let answers = self.answers();
        let pieces = answers.get(&id)?.get(..tokens)?;
        let words = pieces.iter().map(|piece| match piece {
            Piece::Words(words) => Some(words.as_str()),
            Piece::Other => None,
        });
        words.collect()
    }

    /// An answer is over.
    pub(super) fn forget(&self, id: u64) {
        self.answers().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<AnswerPart> {
        vec![AnswerPart::Text(text.to_owned())]
    }

    #[test]
    fn words_are_kept_up_to_where_the_reader_is() {
        let begun = Begun::default();
        assert_eq!(begun.words(7, 0), Some(String::new()));
        assert_eq!(begun.words(7, 1), None);
        for (number, word) in ["The", " answer", " is"].into_iter().enumerate() {
            begun.add(7, number, &text(word));
        }
        assert_eq!(begun.words(7, 2), Some("The answer".to_owned()));
        assert_eq!(begun.words(7, 4), None);
        // Gone on with behind the second token.
        begun.add(7, 2, &text(" was"));
        assert_eq!(begun.words(7, 3), Some("The answer was".to_owned()));
        begun.forget(7);
        assert_eq!(begun.words(7, 1), None);
    }

    #[test]
    fn a_thought_cannot_be_gone_on_with_and_old_answers_are_forgotten() {
        let begun = Begun::default();
        begun.add(1, 0, &[AnswerPart::Thought("hm".to_owned())]);
        assert_eq!(begun.words(1, 1), None);
        (2..=ANSWERS_MAX as u64 + 2).for_each(|id| begun.add(id, 0, &text("a")));
        assert_eq!((begun.words(2, 1), begun.words(3, 1)), (None, Some("a".to_owned())));
    }
}

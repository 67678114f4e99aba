//! What it takes to find something by its meaning: vectors of what is remembered, and who computed them.
use super::ids::{ModelId, NoteId, ThreadId};
use super::memory::PeerKey;

/// Steps between 0 and the largest number of a vector.
const STEPS: f32 = 127.0;

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

/// A text of somebody's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Whose memory.
    pub owner: PeerKey,
    /// Which text.
    pub place: Place,
    /// Tells it from others that stood there: the message that a turn answers; 0 of a note, whose number is never given again.
    pub stamp: u64,
}

/// A text that has no vector yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// Which text.
    pub of: Remembered,
    /// As far as it is looked at.
    pub text: String,
}

/// What computes vectors. Those of different makers cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The model.
    pub model: ModelId,
    /// Which file of it, and what its texts begin with: another one computes other vectors.
    pub version: String,
}

/// A maker, and what it wants to be told with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedder {
    /// Who.
    pub maker: Maker,
    /// What a question begins with.
    pub query_prefix: String,
    /// What a text that is to be found begins with.
    pub text_prefix: String,
}

/// The direction in which the meaning of a text lies: a vector of length 1, each number in one byte. That is a quarter of the room, and of the
/// time to read it; the product of two is off by less than a hundredth.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    step: f32,
    /// Each a signed byte.
    numbers: Vec<u8>,
}

impl Vector {
    /// Of what a model computed. One that is no direction is nothing that anything is found by.
    pub fn of(numbers: &[f32]) -> Self {
        let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        if !(largest > 0.0 && length.is_finite() && numbers.iter().all(|number| number.is_finite())) {
            return Self::none();
        }
        #[expect(clippy::cast_possible_truncation, reason = "between -127 and 127")]
        let byte = |number: &f32| ((number / largest * STEPS).round() as i8).cast_unsigned();
        Self { step: largest / length / STEPS, numbers: numbers.iter().map(byte).collect() }
    }

    /// Of a text that has none.
    pub fn none() -> Self {
        Self { step: 0.0, numbers: Vec::new() }
    }

    /// As it was kept.
    pub fn from_parts(step: f32, numbers: Vec<u8>) -> Self {
        Self { step, numbers }
    }

    /// What one step of its numbers is.
    pub fn step(&self) -> f32 {
        self.step
    }

    /// Its numbers in steps, each a signed byte.
    pub fn numbers(&self) -> &[u8] {
        &self.numbers
    }

    /// The cosine of the angle to another one, given by its parts: 1 where both mean the same. `None` where they cannot be compared.
    pub fn likeness(&self, step: f32, numbers: &[u8]) -> Option<f32> {
        if numbers.is_empty() || numbers.len() != self.numbers.len() {
            return None;
        }
        let pairs = self.numbers.iter().zip(numbers);
        let product: i32 =
            pairs.map(|(one, other)| i32::from(one.cast_signed()) * i32::from(other.cast_signed())).sum();
        #[expect(clippy::cast_precision_loss, reason = "far more exact than the steps")]
        let likeness = product as f32 * self.step * step;
        likeness.is_finite().then_some(likeness)
    }
}

/// A question as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Meant {
    /// Who computed it.
    pub maker: Maker,
    /// What it means.
    pub vector: Vector,
}

/// What is looked for in a memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Sought {
    /// In anybody's words.
    pub question: String,
    /// What they mean, where that is known.
    pub meant: Option<Meant>,
}

impl Sought {
    /// By words alone.
    pub fn by_words(question: &str) -> Self {
        Self { question: question.to_owned(), meant: None }
    }
}

/// How much of the house's memory can be found by meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexed {
    /// Who computed the vectors; `None` while there never was anybody.
    pub maker: Option<Maker>,
    /// Notes and turns that were looked at.
    pub with: u64,
    /// Notes and turns that wait for it.
    pub without: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn likeness(one: &Vector, other: &Vector) -> Option<f32> {
        one.likeness(other.step(), other.numbers())
    }

    #[test]
    fn what_is_no_direction_is_like_nothing() {
        for numbers in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[f32::MAX, f32::MAX]]
        {
            let vector = Vector::of(numbers);
            assert_eq!(vector, Vector::none(), "{numbers:?}");
            assert_eq!(likeness(&vector, &vector), None);
        }
        let (two, three) = (Vector::of(&[1.0, 2.0]), Vector::of(&[1.0, 2.0, 0.0]));
        assert_eq!(likeness(&two, &three), None);
        assert_eq!(two.likeness(f32::NAN, two.numbers()), None);
        assert!(likeness(&two, &Vector::of(&[-1.0, -2.0])).unwrap() < -0.99);
    }

    proptest! {
        #[test]
        fn a_byte_for_each_number_is_exact_enough(
            one in prop::collection::vec(-1.0_f32..1.0, 64),
            other in prop::collection::vec(-1.0_f32..1.0, 64),
        ) {
            let length = |numbers: &[f32]| numbers.iter().map(|n| n * n).sum::<f32>().sqrt();
            let product: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
            let exact = product / length(&one) / length(&other);
            let found = likeness(&Vector::of(&one), &Vector::of(&other)).unwrap();
            prop_assert!((exact - found).abs() < 0.01, "{} {}", exact, found);
        }
    }
}

//! Whether what a worker found out is of the kind and the size that was asked for. Pure, as all of the daemon's guard.
use super::frame::FRAME_BYTES_MAX;
use super::{Finding, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Stretch};

/// Most tokens of a text, beside one for each of its bytes: what texts begin and end with.
const TOKENS_EXTRA: usize = 16;
/// Longest vector. Those of the largest models have some 8,000 numbers.
const VECTOR_LEN_MAX: usize = 1 << 16;
/// How far the square of a vector's length may be from 1.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// What a request is still to get besides words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Words, and nothing else.
    Words,
    /// Tokens, so many at most.
    Tokens { tokens_max: usize },
    /// A text, which may be as long as a frame.
    Text { tokens_max: usize },
    /// So many vectors, all of the length of the first.
    Vectors { left: usize, all: usize, len: Option<usize> },
    /// It was all found.
    Nothing { tokens_max: usize },
}

impl Wanted {
    pub(super) fn by(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Chat(_) | Prompt::Text(_) | Prompt::Passage(_) => Self::Words,
            Prompt::Inquiry(Inquiry::Tokens { passage, .. }) => {
                let tokens = passage.iter().map(|stretch| match stretch {
                    Stretch::Text(text) => text.len(),
                    Stretch::Token(_) => 1,
                });
                Self::Tokens { tokens_max: tokens.fold(TOKENS_EXTRA, usize::saturating_add) }
            }
            Prompt::Inquiry(Inquiry::Text { tokens }) => Self::Text { tokens_max: tokens.len() },
            Prompt::Inquiry(Inquiry::Format { .. }) => Self::Text { tokens_max: FRAME_BYTES_MAX },
            Prompt::Inquiry(Inquiry::Vectors { passages }) => {
                Self::Vectors { left: passages.len(), all: passages.len(), len: None }
            }
        }
    }

    /// How many tokens may be read or named, where the context is not the measure.
    pub(super) fn tokens_max(&self) -> Option<u32> {
        let tokens = match *self {
            Self::Words => return None,
            Self::Tokens { tokens_max } | Self::Text { tokens_max } | Self::Nothing { tokens_max } => {
                tokens_max
            }
            Self::Vectors { all, .. } => all.saturating_mul(PASSAGE_TOKENS_MAX as usize),
        };
        Some(u32::try_from(tokens).unwrap_or(u32::MAX))
    }

    pub(super) fn is_satisfied(&self) -> bool {
        match *self {
            Self::Words | Self::Nothing { .. } => true,
            Self::Tokens { .. } | Self::Text { .. } => false,
            Self::Vectors { left, .. } => left == 0,
        }
    }

    /// Takes what was found, or says why it makes no sense.
    pub(super) fn take(&mut self, finding: &Finding) -> Result<(), &'static str> {
        let require = |kept: bool, fault| if kept { Ok(()) } else { Err(fault) };
        match (&mut *self, finding) {
            (&mut Self::Tokens { tokens_max }, Finding::Tokens(tokens)) => {
                require(tokens.len() <= tokens_max, "more tokens than the text has bytes")?;
                require(tokens.iter().all(|(token, _)| *token >= 0), "a negative token")?;
                *self = Self::Nothing { tokens_max };
            }
            (&mut Self::Text { tokens_max }, Finding::Text(_)) => *self = Self::Nothing { tokens_max },
            (Self::Vectors { left, len, .. }, Finding::Vector(vector)) => {
                require(*left > 0, "more vectors than passages")?;
                require((1..=VECTOR_LEN_MAX).contains(&vector.len()), "a vector of no usual length")?;
                require(*len.get_or_insert(vector.len()) == vector.len(), "vectors of different lengths")?;
                let square: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
                require((square - 1.0).abs() <= LENGTH_TOLERANCE, "a vector whose length is not 1")?;
                *left -= 1;
            }
            _ => return Err("it is not what was asked for"),
        }
        Ok(())
    }
}

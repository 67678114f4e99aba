//! Texts before which an answer ends. What may be the beginning of one is held back until it is known what it is.
use crate::chat::AnswerPart;

/// Cuts the words of an answer off before the first stop text. Thoughts and calls are not words: they pass, and words on both sides
/// of one do not make a stop text together.
#[derive(Debug, Clone)]
pub(super) struct Stopper {
    stops: Vec<String>,
    /// Words that may be the beginning of a stop text.
    held: String,
    stopped: bool,
}

impl Stopper {
    /// Empty texts stop nothing.
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Whether a stop text has come.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes what the answer goes on with; returns what of it may be shown.
    pub(super) fn take(&mut self, parts: Vec<AnswerPart>) -> Vec<AnswerPart> {
        let mut shown = Vec::new();
        for part in parts {
            if self.stopped {
                break;
            }
            match part {
                AnswerPart::Text(words) => {
                    self.held.push_str(&words);
                    shown.extend(self.sure());
                }
                other => {
                    shown.extend(self.finish());
                    shown.push(other);
                }
            }
        }
        shown
    }

    /// Nothing more comes behind the words so far: returns those that were held back.
    pub(super) fn finish(&mut self) -> Option<AnswerPart> {
        let words = std::mem::take(&mut self.held);
        (!words.is_empty()).then_some(AnswerPart::Text(words))
    }

    /// The words that are in no stop text, nor in what may become one.
    fn sure(&mut self) -> Option<AnswerPart> {
        // The one that is complete first counts, and of several that end together the longest: so it is however the words are cut.
        let complete = self.stops.iter().filter_map(|stop| {
            let begin = self.held.find(stop.as_str())?;
            Some((begin + stop.len(), begin))
        });
        let begin = complete.min().map(|(_, begin)| begin);
        let behind = self.held.split_off(begin.unwrap_or_else(|| self.pending()));
        let words = std::mem::replace(&mut self.held, behind);
        if begin.is_some() {
            self.stopped = true;
            self.held.clear();
        }
        (!words.is_empty()).then_some(AnswerPart::Text(words))
    }

    /// Where the first beginning of a stop text is that the words end in.
    fn pending(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let places = (from..self.held.len()).filter(|at| self.held.is_char_boundary(*at));
        let mut begins = places.filter(|at| {
            let rest = self.held.get(*at..).unwrap_or_default();
            self.stops.iter().any(|stop| stop.starts_with(rest))
        });
        begins.next().unwrap_or(self.held.len())
    }
}

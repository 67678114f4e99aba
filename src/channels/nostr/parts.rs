//! A long answer in parts, and the receipt that says how far its delivery is. Pure.
//!
//! The receipt freezes what the ids of the parts are made of (the time, and where the text is cut): a part that is sent again has the same
//! id, and whoever has it already drops it.
use std::fmt::Write as _;

use archond_actors::domain::Receipt;

/// Longest part, in bytes as JSON: relays take 64 KiB mostly, and what is encrypted twice grows to two and a half times its size.
pub(super) const PART_BYTES_MAX: usize = 16 << 10;
/// Parts of one answer, so that a receipt holds them all.
const PARTS_MAX: usize = 400;
/// How the receipt of this form begins.
const FORM: &str = "nostr1";

/// How far an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// When it was written, in seconds since the Unix epoch: the time of its first part. Each further one is a second later, which keeps
    /// them in order.
    pub(super) at: u64,
    /// Parts that were sent.
    pub(super) sent: usize,
    /// The lengths of all parts, in bytes.
    pub(super) lengths: Vec<usize>,
}

impl Progress {
    /// Cuts a text. `None`: it is too long for any number of messages.
    pub(super) fn begin(at: u64, text: &str) -> Option<Self> {
        let lengths = cut(text, PART_BYTES_MAX);
        (lengths.len() <= PARTS_MAX).then_some(Self { at, sent: 0, lengths })
    }

    /// As it is kept.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        let mut text = format!("{FORM} {} {} ", self.at, self.sent);
        for length in &self.lengths {
            // Writing into a text cannot fail.
            let _ = write!(text, "{length},");
        }
        Receipt::new(&text).ok()
    }

    /// As it was kept; `None`: it is of another form, or of another text.
    pub(super) fn read(receipt: &Receipt, text: &str) -> Option<Self> {
        let mut words = receipt.as_str().split(' ');
        if words.next()? != FORM {
            return None;
        }
        let (at, sent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let lengths: Option<Vec<usize>> = words
            .next()?
            .split(',')
            .filter(|length| !length.is_empty())
            .map(|length| length.parse().ok())
            .collect();
        let progress = Self { at, sent, lengths: lengths? };
        (progress.lengths.iter().sum::<usize>() == text.len()).then_some(progress)
    }

    /// The next part to be sent, and its time.
    pub(super) fn next<'t>(&self, text: &'t str) -> Option<(&'t str, u64)> {
        let length = *self.lengths.get(self.sent)?;
        let start: usize = self.lengths.iter().take(self.sent).sum();
        let part = text.get(start..start + length)?;
        Some((part, self.at + self.sent as u64))
    }

    /// Whether all parts are sent.
    pub(super) fn is_done(&self) -> bool {
        self.sent >= self.lengths.len()
    }
}

/// What a character takes in JSON.
fn json_bytes(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        letter if letter.is_control() => 6,
        letter => letter.len_utf8(),
    }
}

/// The lengths of parts of at most so many bytes as JSON; cut after an empty line, a line or a word, if there is one in the last half.
fn cut(text: &str, max: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut weight = 0;
        let over = rest.char_indices().find(|(_, letter)| {
            weight += json_bytes(*letter);
            weight > max
        });
        let length = match over {
            None => rest.len(),
            Some((at, _)) => {
                let (fits, _) = rest.split_at(at);
                let after =
                    |mark: &str| fits.rfind(mark).map(|found| found + mark.len()).filter(|end| *end > at / 2);
                after("\n\n").or_else(|| after("\n")).or_else(|| after(" ")).unwrap_or(at)
            }
        };
        lengths.push(length);
        rest = rest.get(length..).unwrap_or_default();
    }
    lengths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_cut_where_people_would() {
        let table: [(&str, usize, &[&str]); 6] = [
            ("", 10, &[]),
            ("short", 10, &["short"]),
            ("one two three", 8, &["one two ", "three"]),
            ("aaaa\n\nbb cc dd", 10, &["aaaa\n\n", "bb cc dd"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("ääää", 3, &["ä", "ä", "ä", "ä"]),
        ];
        for (text, max, parts) in table {
            let mut rest = text;
            let cut: Vec<&str> = cut(text, max)
                .into_iter()
                .map(|length| {
                    let (part, behind) = rest.split_at(length);
                    rest = behind;
                    part
                })
                .collect();
            assert_eq!(cut, parts, "{text}");
        }
    }

    #[test]
    fn a_receipt_reads_what_it_writes_and_knows_its_text() {
        let text = "word ".repeat(10_000);
        let mut progress = Progress::begin(1_700_000_000, &text).unwrap();
        assert!(progress.lengths.len() > 3);
        progress.sent = 2;
        let receipt = progress.receipt().unwrap();
        assert_eq!(Progress::read(&receipt, &text), Some(progress.clone()));
        assert_eq!(Progress::read(&receipt, "another"), None);
        assert_eq!(Progress::read(&Receipt::new("7 12").unwrap(), &text), None);
        let (part, at) = progress.next(&text).unwrap();
        assert_eq!((part.len(), at), (progress.lengths[2], 1_700_000_002));
        let most = Progress { at: u64::MAX / 2, sent: PARTS_MAX, lengths: vec![PART_BYTES_MAX; PARTS_MAX] };
        assert!(most.receipt().is_some());
    }

    proptest! {
        #[test]
        fn parts_are_the_text_and_none_is_too_long(text in ".{0,400}", max in 8_usize..60) {
            let lengths = cut(&text, max);
            prop_assert_eq!(lengths.iter().sum::<usize>(), text.len());
            let mut rest = text.as_str();
            for length in lengths {
                let (part, behind) = rest.split_at(length);
                prop_assert!(length > 0 && part.chars().map(json_bytes).sum::<usize>() <= max);
                rest = behind;
            }
        }
    }
}

//! A command's output, however much it is: its beginning and its end are kept, the middle is counted.
use std::collections::VecDeque;

use crate::tools::order::TEXT_BYTES_MAX;

/// Kept of the beginning, and as much of the end.
const HALF_BYTES: usize = TEXT_BYTES_MAX / 2;

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Captured {
    /// Takes what came next.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let room = HALF_BYTES - self.head.len();
        if let Some((first, rest)) = bytes.split_at_checked(room) {
            self.head.extend_from_slice(first);
            bytes = rest;
        } else {
            self.head.extend_from_slice(bytes);
            return;
        }
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(HALF_BYTES);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// As text.
    pub(super) fn text(mut self) -> String {
        if self.left_out == 0 {
            self.head.extend(self.tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        let tail: Vec<u8> = self.tail.into();
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[{} bytes are left out here: let the command print less]\n{tail}", self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_output_is_kept_as_it_is() {
        let mut captured = Captured::default();
        captured.push(b"one\n");
        captured.push("zw\u{f6}lf".as_bytes());
        assert_eq!(captured.text(), "one\nzw\u{f6}lf");
    }

    #[test]
    fn a_letter_across_the_middle_stays_whole_when_nothing_is_left_out() {
        let mut captured = Captured::default();
        captured.push(&vec![b'a'; HALF_BYTES - 1]);
        captured.push("\u{f6}".as_bytes());
        assert!(captured.text().ends_with("a\u{f6}"));
    }

    #[test]
    fn of_long_output_beginning_and_end_are_kept_and_the_rest_is_counted() {
        let mut captured = Captured::default();
        captured.push(b"begin");
        for _ in 0..100 {
            captured.push(&[b'x'; 10_000]);
        }
        captured.push(b"end");
        let text = captured.text();
        assert!(text.starts_with("begin") && text.ends_with("end"));
        assert!(text.len() < TEXT_BYTES_MAX + 100, "{}", text.len());
        let left_out = 1_000_008 - TEXT_BYTES_MAX;
        assert!(text.contains(&format!("[{left_out} bytes are left out here")));
    }
}

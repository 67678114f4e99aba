//! What a worker writes to its standard error: passed on to the log, and remembered for the message of its end.
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

use tracing::Level;

/// Longest line that is kept whole, in bytes: llama.cpp's own are shorter.
const LINE_BYTES_MAX: u64 = 2048;
/// Lines remembered: an assertion of llama.cpp and what led to it.
const LINES_KEPT: usize = 4;
/// Most bytes of last words in a message, so that it fits a log line.
const WORDS_BYTES_MAX: usize = 600;

/// The last lines that tell of trouble.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: VecDeque<String>,
}

impl LastWords {
    /// Reads until the worker closes the pipe.
    pub(super) fn listen(pipe: impl Read, pid: u32) -> Self {
        let mut words = Self::default();
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut pipe).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return words,
                Ok(_) => words.hear(&String::from_utf8_lossy(&line), pid),
            }
        }
    }

    fn hear(&mut self, line: &str, pid: u32) {
        let line = line.trim_end();
        let (level, text) = level_of(line);
        match level {
            _ if text.trim().is_empty() => return,
            Some(Level::ERROR) => tracing::error!(target: "model-worker", pid, "{text}"),
            Some(Level::WARN) | None => tracing::warn!(target: "model-worker", pid, "{text}"),
            Some(_) => tracing::debug!(target: "model-worker", pid, "{text}"),
        }
        if matches!(level, None | Some(Level::ERROR)) {
            if self.lines.len() == LINES_KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(text.trim().to_owned());
        }
    }

    /// The words in one line; `None` if there were none.
    pub(super) fn text(&self) -> Option<String> {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        let joined = lines.join(" | ");
        let mut begin = joined.len().saturating_sub(WORDS_BYTES_MAX);
        while !joined.is_char_boundary(begin) {
            begin += 1;
        }
        joined.get(begin..).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// The level that [`LineSubscriber`](super::log_lines::LineSubscriber) put before a line; lines of other origin have none.
fn level_of(line: &str) -> (Option<Level>, &str) {
    let Some((word, text)) = line.split_once(' ') else { return (None, line) };
    match word {
        "ERROR" => (Some(Level::ERROR), text),
        "WARN" => (Some(Level::WARN), text),
        "INFO" => (Some(Level::INFO), text),
        _ => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_remembered_and_chatter_is_not() {
        let said = "INFO loading\nERROR bad magic\n\nWARN odd\nGGML_ASSERT(x) failed\n";
        let words = LastWords::listen(said.as_bytes(), 1);
        assert_eq!(words.text().as_deref(), Some("bad magic | GGML_ASSERT(x) failed"));
        assert_eq!(LastWords::listen("INFO fine\n".as_bytes(), 1).text(), None);
    }

    #[test]
    fn endless_and_broken_lines_are_bounded() {
        let said = [vec![b'x'; 100_000], vec![0xff, 0xfe, b'\n']].concat();
        let text = LastWords::listen(said.as_slice(), 1).text().unwrap();
        assert!(text.len() <= WORDS_BYTES_MAX, "{}", text.len());
    }
}

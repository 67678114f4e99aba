//! What a worker writes to its standard error: passed on to the log, and remembered for the message of its end.
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use tracing::Level;

use super::conduct::one_line;

/// Longest line in bytes, the rest is cut off: llama.cpp's own are shorter.
const LINE_BYTES_MAX: u64 = 2048;
/// Lines remembered: an assertion of llama.cpp and what led to it.
const LINES_KEPT: usize = 4;
/// Most bytes of last words in a message, so that it fits a log line.
const WORDS_BYTES_MAX: usize = 600;
/// Most lines of one worker that are passed on to the log in [`LOG_PERIOD`]: loading a model takes about 100, and
/// 200 more with its drafter. A worker that was taken over could fill the disk.
const LOG_LINES_MAX: u32 = 500;
/// How long [`LOG_LINES_MAX`] must do.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// What may still be passed on to the log. Pure.
#[derive(Debug, Default)]
struct Allowance {
    began: Option<Instant>,
    passed_on: u32,
    left_out: u64,
}

impl Allowance {
    /// Whether a line may be passed on; and before it, if a period with too many lines has ended, how many were left out.
    fn admit(&mut self, now: Instant) -> (bool, u64) {
        let fresh = self.began.is_none_or(|began| now.saturating_duration_since(began) >= LOG_PERIOD);
        let left_out = if fresh { self.left_out } else { 0 };
        if fresh {
            *self = Self { began: Some(now), ..Self::default() };
        }
        let admitted = self.passed_on < LOG_LINES_MAX;
        if admitted {
            self.passed_on += 1;
        } else {
            self.left_out += 1;
        }
        (admitted, left_out)
    }
}

/// The last lines that tell of trouble.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: VecDeque<String>,
    allowance: Allowance,
}

#[expect(clippy::disallowed_methods, reason = "measures what a foreign process writes; nothing waits for it")]
fn now() -> Instant {
    Instant::now()
}

fn tell_left_out(lines: u64, pid: u32) {
    if lines > 0 {
        tracing::warn!(target: "model-worker", pid, "{lines} lines of the worker were left out here: it writes too many");
    }
}

impl LastWords {
    /// Reads until the worker closes the pipe.
    pub(super) fn listen(pipe: impl Read, pid: u32) -> Self {
        let mut words = Self::default();
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            let cut_off = match (&mut pipe).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) if line.ends_with(b"\n") => Ok(0),
                Ok(_) => pipe.skip_until(b'\n'),
            };
            words.hear(&String::from_utf8_lossy(&line), pid);
            if cut_off.is_err() {
                break;
            }
        }
        tell_left_out(words.allowance.left_out, pid);
        words
    }

    fn hear(&mut self, line: &str, pid: u32) {
        let line = one_line(line);
        let (level, text) = level_of(line.trim_end());
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let (admitted, left_out) = self.allowance.admit(now());
        tell_left_out(left_out, pid);
        match level {
            _ if !admitted => {}
            Some(Level::ERROR) => tracing::error!(target: "model-worker", pid, "{text}"),
            None => tracing::warn!(target: "model-worker", pid, "{text}"),
            // llama.cpp says its doubts about a file at each loading; they are for whoever looks for them.
            Some(_) => tracing::debug!(target: "model-worker", pid, "{text}"),
        }
        if matches!(level, None | Some(Level::ERROR)) {
            if self.lines.len() == LINES_KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(text.to_owned());
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

    #[test]
    fn nothing_in_them_steers_a_terminal() {
        let words = LastWords::listen("ERROR \x1b[2Jgone\rback\u{9b}1m\n".as_bytes(), 1);
        assert_eq!(words.text().as_deref(), Some("[2Jgone back 1m"));
    }

    #[test]
    fn a_long_line_is_one_line() {
        let said = [vec![b'x'; 100_000], b"\nERROR the end\n".to_vec()].concat();
        let words = LastWords::listen(said.as_slice(), 1);
        assert_eq!((words.lines.len(), words.allowance.passed_on), (2, 2));
    }

    #[test]
    fn a_flood_is_counted_and_left_out() {
        let mut allowance = Allowance::default();
        let began = now();
        let admitted = (0..1000).filter(|_| allowance.admit(began) == (true, 0)).count();
        assert_eq!(admitted, LOG_LINES_MAX as usize);
        assert_eq!(
            allowance.admit(began + LOG_PERIOD),
            (true, 1000 - u64::from(LOG_LINES_MAX)),
            "the next period begins with the number"
        );
        assert_eq!(allowance.admit(began + LOG_PERIOD), (true, 0), "which is told once");

        let words = LastWords::listen("ERROR flood\n".repeat(1000).as_bytes(), 1);
        assert_eq!(words.allowance.passed_on + words.allowance.left_out as u32, 1000);
        assert_eq!(words.text().as_deref(), Some("flood | flood | flood | flood"), "the last are remembered");
    }
}

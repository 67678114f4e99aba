//! What a server says about itself on its error output: its last words are kept for whoever asks why it ended, and some of it goes into
//! the log. Secrets that it was given are blotted out.
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that are kept.
const KEPT_MAX: usize = 5;
/// Lines that go into the log in each [`LOG_PERIOD`]; the rest is counted.
const LOGGED_MAX: u32 = 20;
/// See [`LOGGED_MAX`].
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// Shown of a line, in characters.
const LINE_CHARS_MAX: usize = 300;
/// Shorter secrets are no secrets, and would blot out half of what is said.
const SECRET_BYTES_MIN: usize = 4;

/// The words of one server.
#[derive(Debug)]
pub(super) struct Words {
    server: String,
    secrets: Vec<String>,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    last: VecDeque<String>,
    since: Instant,
    logged: u32,
    left_out: u64,
}

impl Words {
    /// Of a server that was given these secrets.
    pub(super) fn new(server: &str, secrets: Vec<String>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
        let heard = Heard { last: VecDeque::new(), since: Instant::now(), logged: 0, left_out: 0 };
        Self { server: server.to_owned(), secrets, heard: Mutex::new(heard) }
    }

    /// Takes a line.
    pub(super) fn hear(&self, line: &str) {
        let line = self.plain(line);
        if line.is_empty() {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.since.elapsed() >= LOG_PERIOD {
            if heard.left_out > 0 {
                tracing::info!(server = self.server, lines = heard.left_out, "the MCP server said more");
            }
            (heard.since, heard.logged, heard.left_out) = (Instant::now(), 0, 0);
        }
        if heard.logged < LOGGED_MAX {
            heard.logged += 1;
            tracing::info!(server = self.server, line, "the MCP server says");
        } else {
            heard.left_out += 1;
        }
        if heard.last.len() >= KEPT_MAX {
            heard.last.pop_front();
        }
        heard.last.push_back(line);
    }

    /// Its last words, after a colon; nothing if it said none.
    pub(super) fn last(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = heard.last.iter().map(String::as_str).collect();
        if last.is_empty() { String::new() } else { format!(": {}", last.join(" / ")) }
    }

    /// Without secrets, without what a terminal would obey, and short.
    pub(super) fn plain(&self, text: &str) -> String {
        let blotted =
            self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
        one_line(&blotted, LINE_CHARS_MAX)
    }
}

/// A text as one short line without control characters.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept_without_secrets() {
        let words = Words::new("files", vec!["hunter22".to_owned(), "abc".to_owned()]);
        assert_eq!(words.last(), "");
        for line in ["1", "2", "3", "4", "5", "", "the key \u{1b}[31mhunter22 is wrong, abc"] {
            words.hear(line);
        }
        assert_eq!(words.last(), ": 2 / 3 / 4 / 5 / the key  [31m*** is wrong, abc");
        words.hear(&"x".repeat(10_000));
        assert!(words.last().len() < 5 * LINE_CHARS_MAX);
    }
}

//! The line in which a person types: history, completion, several lines by a backslash at the end.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};

use super::error::CliError;

/// Lines of history: more than anybody scrolls through, and a file of some 100 KB.
const HISTORY_LEN_MAX: usize = 2000;

/// What a person did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Ended a line.
    Line(String),
    /// Pressed Ctrl-C: the line is dropped.
    Dropped,
    /// Pressed Ctrl-D.
    End,
}

/// The editor with its history.
pub(super) struct LineEditor {
    editor: Editor<Assistance, FileHistory>,
    history: PathBuf,
    /// Whether a line is being typed.
    reading: Arc<AtomicBool>,
}

/// Writes above the line that is being typed, which stays as it is.
pub(super) struct Above {
    printer: Box<dyn ExternalPrinter + Send>,
    reading: Arc<AtomicBool>,
}

impl Above {
    /// `false`: nobody types just now, and nothing was written.
    pub(super) fn say(&mut self, text: String) -> bool {
        self.reading.load(Ordering::Acquire) && self.printer.print(text).is_ok()
    }
}

impl LineEditor {
    /// Opens the editor; history is kept in this file, for its owner alone.
    pub(super) fn open(history: &Path, complete: Complete) -> Result<Self, CliError> {
        let failed = |source| CliError::Terminal { source };
        let config = Config::builder()
            .max_history_size(HISTORY_LEN_MAX)
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistance { complete }));
        // A first start has no history; one that cannot be read is no reason not to talk.
        let _ = editor.load_history(history);
        Ok(Self { editor, history: history.to_owned(), reading: Arc::default() })
    }

    /// Waits for a line.
    pub(super) fn read(&mut self, prompt: &str) -> Result<Typed, CliError> {
        self.reading.store(true, Ordering::Release);
        let typed = self.editor.readline(prompt);
        self.reading.store(false, Ordering::Release);
        match typed {
            Ok(line) => Ok(Typed::Line(join_lines(&line))),
            Err(ReadlineError::Interrupted) => Ok(Typed::Dropped),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(source) => Err(CliError::Terminal { source }),
        }
    }

    /// What may be written above the line; `None` where the terminal cannot do that.
    pub(super) fn above(&mut self) -> Option<Above> {
        let printer = self.editor.create_external_printer().ok()?;
        Some(Above { printer: Box::new(printer), reading: self.reading.clone() })
    }

    /// Keeps the history.
    pub(super) fn save(&mut self) -> Result<(), CliError> {
        // The library creates the file for its owner alone, and adds to what other terminals wrote meanwhile.
        self.editor
            .append_history(&self.history)
            .map_err(|source| CliError::History { path: self.history.clone(), source })
    }
}

/// A backslash at the end of a line only said that another line follows.
fn join_lines(typed: &str) -> String {
    typed.replace("\\\n", "\n")
}

/// What may follow: given the line up to the cursor, where the word begins that is completed, and what it may become.
pub(super) type Complete = Box<dyn Fn(&str) -> (usize, Vec<String>)>;

struct Assistance {
    complete: Complete,
}

impl Helper for Assistance {}
impl Highlighter for Assistance {}
impl Hinter for Assistance {
    type Hint = String;
}

impl Completer for Assistance {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((self.complete)(line.get(..position).unwrap_or(line)))
    }
}

impl Validator for Assistance {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if context.input().ends_with('\\') {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_joins_lines() {
        assert_eq!(join_lines("one\\\ntwo\\\nthree"), "one\ntwo\nthree");
        assert_eq!(join_lines("C:\\dir and \\n"), "C:\\dir and \\n");
    }
}

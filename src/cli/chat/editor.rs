//! The line in which a person types: history, completion of commands, several lines by a backslash at the end.
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::slash;
use crate::cli::error::CliError;

/// Lines of history: more than anybody scrolls through, and a file of some 100 KB.
const HISTORY_LEN_MAX: usize = 2000;
/// Name of the history in the state directory.
const HISTORY_FILE: &str = "chat_history";

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
}

impl LineEditor {
    /// Opens the editor; history is kept in the state directory, for its owner alone.
    pub(super) fn open(state_dir: &Path) -> Result<Self, CliError> {
        let failed = |source| CliError::Terminal { source };
        let config = Config::builder()
            .max_history_size(HISTORY_LEN_MAX)
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistance));
        let history = state_dir.join(HISTORY_FILE);
        // A first start has no history; one that cannot be read is no reason not to talk.
        let _ = editor.load_history(&history);
        Ok(Self { editor, history })
    }

    /// Waits for a line.
    pub(super) fn read(&mut self, prompt: &str) -> Result<Typed, CliError> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Typed::Line(join_lines(&line))),
            Err(ReadlineError::Interrupted) => Ok(Typed::Dropped),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(source) => Err(CliError::Terminal { source }),
        }
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

struct Assistance;

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
        let typed = line.get(..position).unwrap_or(line);
        let candidates = match typed {
            "/" => slash::names().collect(),
            _ => slash::candidates(typed),
        };
        Ok((0, candidates.into_iter().map(str::to_owned).collect()))
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

    #[test]
    fn commands_are_completed() {
        let history = FileHistory::new();
        let context = Context::new(&history);
        let complete = |line: &str| Assistance.complete(line, line.len(), &context).unwrap().1;
        assert_eq!(complete("/sta"), ["/status", "/start"]);
        assert!(complete("/").len() > 8);
        assert!(complete("hello /s").is_empty());
    }
}

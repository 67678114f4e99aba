//! The tools that the daemon answers itself: they read no file of anybody's and start nothing.
use std::io;
use std::path::Path;

use archond_actors::domain::{ASK_USER, SessionKey};
use jiff::ZonedDateTime;

use super::arguments::{self, ArgumentsError, AskUser, Clock, Todo, TodoItem, TodoStatus};
use crate::settings::{PathsError, private_dir};

/// Tasks in a list, and characters in a task: more is no list that anybody keeps in mind.
const ITEMS_MAX: usize = 100;
const ITEM_CHARS_MAX: usize = 500;
/// Answers to choose from.
const OPTIONS_MAX: usize = 10;

/// Why one of these tools did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideError {
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error("a list has at most {ITEMS_MAX} items of {ITEM_CHARS_MAX} characters; make it shorter")]
    TooLong,
    #[error("ask one question, of at most {ITEM_CHARS_MAX} characters, with at most {OPTIONS_MAX} options")]
    Question,
    #[error(transparent)]
    Folder(#[from] PathsError),
    #[error("the list cannot be kept: {0}")]
    Keep(#[from] io::Error),
}

/// The time, in the machine's zone.
pub(super) fn clock(text: &str) -> Result<String, InsideError> {
    let _none: Clock = arguments::read("clock", text)?;
    Ok(ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// The question as the person is asked it. Whoever runs the turn says it, and ends the turn.
pub(super) fn ask_user(text: &str) -> Result<String, InsideError> {
    let AskUser { question, options } = arguments::read(ASK_USER, text)?;
    let lines = options.unwrap_or_default();
    let is_long = |text: &String| text.chars().count() > ITEM_CHARS_MAX;
    if question.trim().is_empty()
        || is_long(&question)
        || lines.len() > OPTIONS_MAX
        || lines.iter().any(is_long)
    {
        return Err(InsideError::Question);
    }
    let options = lines.iter().enumerate().map(|(index, option)| format!("\n{}. {option}", index + 1));
    Ok(format!("{}{}", question.trim(), options.collect::<String>()))
}

/// Replaces a session's list, which lies beside the workspace, where no tool reaches it. Blocking.
pub(super) fn todo(folder: &Path, session: &SessionKey, text: &str) -> Result<String, InsideError> {
    let Todo { items } = arguments::read("todo", text)?;
    if items.len() > ITEMS_MAX || items.iter().any(|item| item.text.chars().count() > ITEM_CHARS_MAX) {
        return Err(InsideError::TooLong);
    }
    private_dir(folder)?;
    let half = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&half, &items).map_err(io::Error::from)?;
    half.persist(folder.join(file_name(session))).map_err(|error| error.error)?;
    Ok(shown(&items))
}

/// A name for each session: what a name of a file cannot hold is written by its number.
fn file_name(session: &SessionKey) -> String {
    let safe = |part: &str| -> String {
        let written = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            other => format!("_{other:02x}"),
        };
        part.bytes().map(written).collect()
    };
    let name = [session.channel.as_str(), session.peer.as_str(), session.thread.as_str()].map(safe).join("+");
    // A name has 255 bytes at most; two so long ones that differ in their last bytes only would share a list of tasks, no more.
    format!("{}.json", name.get(..name.len().min(240)).unwrap_or_default())
}

fn shown(items: &[TodoItem]) -> String {
    if items.is_empty() {
        return "the list is empty".to_owned();
    }
    let mark = |status| match status {
        TodoStatus::Pending => "[ ]",
        TodoStatus::InProgress => "[~]",
        TodoStatus::Completed => "[x]",
    };
    items.iter().map(|item| format!("{} {}\n", mark(item.status), item.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionKey {
        text.parse().unwrap()
    }

    #[test]
    fn the_time_has_a_date_and_a_zone() {
        let now = clock("{}").unwrap();
        let read: jiff::Timestamp = now.parse().unwrap();
        assert!(read.as_second() > 1_700_000_000, "{now}");
        assert!(clock(r#"{"zone":"UTC"}"#).unwrap_err().to_string().contains("unknown field `zone`"));
    }

    #[test]
    fn a_list_is_replaced_and_shown() {
        let home = tempfile::tempdir().unwrap();
        let (folder, key) = (home.path().join("todo"), session("ezra/cli/uid1000/main"));
        let first = r#"{"items":[{"text":"look","status":"completed"},{"text":"leap","status":"in_progress"},{"text":"rest"}]}"#;
        assert_eq!(todo(&folder, &key, first).unwrap(), "[x] look\n[~] leap\n[ ] rest\n");
        assert_eq!(todo(&folder, &key, r#"{"items":[]}"#).unwrap(), "the list is empty");
        let files: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["cli+uid1000+main.json"]);
    }

    #[test]
    fn sessions_have_lists_of_their_own_and_no_name_leads_out() {
        let names =
            ["ezra/cli/a_b/c", "ezra/cli/a/b_c", "ezra/cli/../main"].map(|key| file_name(&session(key)));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.')), "{names:?}");
    }

    #[test]
    fn a_list_that_nobody_reads_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let many = format!(r#"{{"items":[{}]}}"#, vec![r#"{"text":"x"}"#; 101].join(","));
        let error = todo(home.path(), &session("ezra/cli/a/b"), &many).unwrap_err();
        assert!(matches!(error, InsideError::TooLong));
    }
}

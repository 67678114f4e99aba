//! Reads what a model wrote as the arguments of a call: strict in the names, lenient in how numbers and truths are written.
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

/// Why arguments cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the arguments of `{tool}` cannot be used: {source}")]
pub(super) struct ArgumentsError {
    tool: String,
    source: serde_json::Error,
}

/// Reads the arguments of a tool.
pub(super) fn read<T: DeserializeOwned>(tool: &str, text: &str) -> Result<T, ArgumentsError> {
    // A model that has nothing to say to a tool sometimes says nothing at all.
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|source| ArgumentsError { tool: tool.to_owned(), source })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadFile {
    #[serde(alias = "file_path")]
    pub(super) path: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) offset: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteFile {
    #[serde(alias = "file_path")]
    pub(super) path: String,
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditFile {
    #[serde(alias = "file_path")]
    pub(super) path: String,
    pub(super) old_string: String,
    pub(super) new_string: String,
    #[serde(default, deserialize_with = "truth")]
    pub(super) replace_all: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendFile {
    #[serde(alias = "file_path")]
    pub(super) path: String,
    #[serde(default)]
    pub(super) caption: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GlobSearch {
    pub(super) pattern: String,
    #[serde(default)]
    pub(super) path: Option<String>,
}

/// What a search shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputMode {
    #[default]
    Content,
    FilesWithMatches,
    Count,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrepSearch {
    pub(super) pattern: String,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) glob: Option<String>,
    #[serde(default)]
    pub(super) output_mode: Option<OutputMode>,
    #[serde(default, deserialize_with = "truth")]
    pub(super) ignore_case: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) context: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bash {
    #[serde(alias = "cmd")]
    pub(super) command: String,
    /// In seconds.
    #[serde(default, deserialize_with = "number")]
    pub(super) timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebFetch {
    pub(super) url: String,
    /// Characters to leave out.
    #[serde(default, deserialize_with = "number")]
    pub(super) offset: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebSearch {
    pub(super) query: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskUser {
    pub(super) question: String,
    pub(super) options: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Todo {
    pub(super) items: Vec<TodoItem>,
}

/// How far something is that is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TodoStatus {
    #[default]
    Pending,
    InProgress,
    Completed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TodoItem {
    #[serde(alias = "content")]
    pub(super) text: String,
    #[serde(default)]
    pub(super) status: TodoStatus,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Whole(u64),
    Real(f64),
    Truth(bool),
    Text(String),
}

/// A number, also as `"3"` or `3.0`; none for null and an empty text.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let wrong = || D::Error::custom("expected a whole number from 0 up");
    match Option::<Written>::deserialize(from).map_err(|_| wrong())? {
        None => Ok(None),
        Some(Written::Whole(number)) => Ok(Some(number)),
        Some(Written::Real(real)) => whole(real).map(Some).ok_or_else(wrong),
        Some(Written::Text(text)) if text.trim().is_empty() => Ok(None),
        Some(Written::Text(text)) => {
            let text = text.trim();
            let read = text.parse().ok().or_else(|| text.parse().ok().and_then(whole));
            read.map(Some).ok_or_else(wrong)
        }
        Some(Written::Truth(_)) => Err(wrong()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and in range by the test before"
)]
fn whole(real: f64) -> Option<u64> {
    let is_whole = real.fract() == 0.0 && (0.0..=1e15).contains(&real);
    is_whole.then_some(real as u64)
}

/// A truth, also as `"true"`; none is `false`.
fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let wrong = || D::Error::custom("expected true or false");
    match Option::<Written>::deserialize(from).map_err(|_| wrong())? {
        None => Ok(false),
        Some(Written::Truth(truth)) => Ok(truth),
        Some(Written::Text(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" | "" => Ok(false),
            _ => Err(wrong()),
        },
        Some(Written::Whole(1)) => Ok(true),
        Some(Written::Whole(0)) => Ok(false),
        Some(Written::Whole(_) | Written::Real(_)) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_truths_may_be_written_as_small_models_write_them() {
        for text in [
            r#"{"path":"a","offset":3}"#,
            r#"{"path":"a","offset":"3"}"#,
            r#"{"file_path":"a","offset":3.0}"#,
        ] {
            assert_eq!(read::<ReadFile>("read_file", text).unwrap().offset, Some(3), "{text}");
        }
        for text in [r#"{"path":"a","offset":null}"#, r#"{"path":"a","offset":""}"#, r#"{"path":"a"}"#] {
            assert_eq!(read::<ReadFile>("read_file", text).unwrap().offset, None, "{text}");
        }
        let edit = r#"{"path":"a","old_string":"x","new_string":"y","replace_all":"true"}"#;
        assert!(read::<EditFile>("edit_file", edit).unwrap().replace_all);
        assert!(read::<Clock>("clock", "").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text| read::<ReadFile>("read_file", text).unwrap_err().to_string();
        assert!(
            said(r#"{"path":"a","lines":3}"#).contains("unknown field `lines`, expected"),
            "{}",
            said("{}")
        );
        assert!(said("{}").contains("missing field `path`"), "{}", said("{}"));
        assert!(said(r#"{"path":"a","offset":-1}"#).contains("expected a whole number from 0 up"));
        assert!(said(r#"{"path":"a","offset":"two"}"#).contains("expected a whole number from 0 up"));
    }
}

//! The file that says what a tool of the user's own is: `tools/NAME.ron`, beside the program that does its work.
use std::path::Path;

use archond_actors::domain::Risk;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::read_text;
use super::reader::{Sheet, any};
use super::values::Setting;

/// Longest description, in characters: the model reads it with every prompt.
const DESCRIPTION_CHARS_MAX: usize = 500;
/// Longest schema, in bytes: the largest that anybody wants a model to read with every prompt.
const PARAMETERS_BYTES_MAX: usize = 16 << 10;

/// What a file says of its tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFile {
    /// One line for the model.
    pub description: String,
    /// JSON schema of the arguments; empty: it takes none.
    pub parameters: String,
    /// The program, below the tools' folder; `None`: it is called like the tool.
    pub program: Option<String>,
    /// What a call may do.
    pub risk: Risk,
    /// Whether a second call is as good as one.
    pub is_repeatable: bool,
    /// Whether its answers may have been written by strangers.
    pub brings_outside_text: bool,
    /// Whether its answers are the owner's own affair.
    pub reads_private: bool,
}

/// A risk, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    Read,
    Write,
    Execute,
    Network,
    Message,
}

impl Setting for Word {
    const WRITTEN: &'static str = "one of Read, Write, Execute, Network and Message";
}

impl From<Word> for Risk {
    fn from(word: Word) -> Self {
        match word {
            Word::Read => Self::Read,
            Word::Write => Self::Write,
            Word::Execute => Self::Execute,
            Word::Network => Self::Network,
            Word::Message => Self::Message,
        }
    }
}

/// Reads a tool's file; answers all its faults when there is one.
pub fn read_tool_file(path: &Path) -> Result<ToolFile, Vec<Fault>> {
    let text = read_text(path).map_err(|fault| vec![fault])?;
    let text = text.ok_or_else(|| vec![Fault::of_file(path, "there is no such file")])?;
    read(path, text)
}

fn read(path: &Path, text: String) -> Result<ToolFile, Vec<Fault>> {
    let sheet = Sheet::new(path, text);
    let file = sheet.top().and_then(|mut top| {
        let description =
            top.required("description", "one line that tells the model what the tool is for", one_line);
        let parameters = top.value("parameters", String::new(), is_schema);
        let program = top.value("program", None::<String>, is_below);
        let risk = top.value("risk", Word::Execute, has_no_network);
        let is_repeatable = top.value("repeatable", false, any);
        let brings_outside_text = top.value("brings_outside_text", false, any);
        let reads_private = top.value("reads_private", false, any);
        top.finish();
        let (description, risk) = (description?.value, risk.into());
        Some(ToolFile {
            description,
            parameters,
            program,
            risk,
            is_repeatable,
            brings_outside_text,
            reads_private,
        })
    });
    sheet.finish()?;
    file.ok_or_else(|| vec![Fault::of_file(path, "says nothing that can be used")])
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn one_line(text: &String) -> Result<(), String> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err("must be one line that says something".to_owned());
    }
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(format!("must have at most {DESCRIPTION_CHARS_MAX} characters"));
    }
    Ok(())
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn is_schema(text: &String) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > PARAMETERS_BYTES_MAX {
        return Err(format!("must have at most {PARAMETERS_BYTES_MAX} bytes"));
    }
    let schema: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("needs a JSON schema as text: {error}"))?;
    if schema.get("type").and_then(serde_json::Value::as_str) != Some("object") {
        return Err("needs a JSON schema that begins with `{\"type\": \"object\"`".to_owned());
    }
    Ok(())
}

fn is_below(path: &Option<String>) -> Result<(), String> {
    use std::path::Component;
    let Some(path) = path else { return Ok(()) };
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !is_plain {
        return Err("needs a path below the tools' folder, without `..`".to_owned());
    }
    Ok(())
}

fn has_no_network(word: &Word) -> Result<(), String> {
    if *word == Word::Network {
        let why = "cannot be Network: in this version no tool of your own reaches the network";
        return Err(why.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_what_promises_least() {
        let file = read(Path::new("a.ron"), r#"(description: "Does it.")"#.to_owned()).unwrap();
        assert_eq!((file.risk, file.program, file.parameters.as_str()), (Risk::Execute, None, ""));
        assert!(!file.is_repeatable && !file.brings_outside_text && !file.reads_private);
        let text = r##"(description: "x", parameters: r#"{"type": "object"}"#, program: "bin/x", risk: Read,
            repeatable: true, brings_outside_text: true, reads_private: true)"##;
        let file = read(Path::new("a.ron"), text.to_owned()).unwrap();
        assert_eq!((file.risk, file.program.as_deref()), (Risk::Read, Some("bin/x")));
        assert!(file.is_repeatable && file.brings_outside_text && file.reads_private);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        for (text, wanted) in [
            ("", "`description` is missing"),
            ("(description: \"\")", "must be one line"),
            ("(description: \"a\\nb\")", "must be one line"),
            ("(description: \"a\", parameters: \"{\")", "needs a JSON schema as text"),
            ("(description: \"a\", parameters: \"{}\")", "needs a JSON schema that begins"),
            ("(description: \"a\", program: \"../x\")", "needs a path below the tools' folder"),
            ("(description: \"a\", program: \"/bin/sh\")", "needs a path below the tools' folder"),
            ("(description: \"a\", program: \"\")", "needs a path below the tools' folder"),
            ("(description: \"a\", risk: Network)", "no tool of your own reaches the network"),
            ("(description: \"a\", risk: Fly)", "needs one of Read, Write"),
            ("(description: \"a\",\n\nrepeatabel: true)", "a.ron:3:1: unknown field `repeatabel`"),
            ("(description", "a.ron:1"),
        ] {
            let faults = read(Path::new("a.ron"), text.to_owned()).unwrap_err();
            let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert!(shown.iter().any(|fault| fault.contains(wanted)), "{text}: {shown:?}");
        }
        let many = "(\n risk: Network,\n speed: 3,\n)";
        assert_eq!(read(Path::new("a.ron"), many.to_owned()).unwrap_err().len(), 3);
    }
}

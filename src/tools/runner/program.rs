//! Programs of the user's own: what they get on their input, and what their output means.
use std::fs::File;
use std::io::{self, Seek, Write};

use serde_json::Value;

use crate::tools::order::{Answer, Order};

/// Shown of what a program says on its error output, in characters: a reason stands at the beginning.
const ERROR_CHARS_MAX: usize = 2_000;

/// What the program reads: the arguments as one line. A file without a name: nobody has to write while the program reads.
pub(super) fn input(order: &Order) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(&order.temporary)?;
    file.write_all(order.arguments.as_bytes())?;
    file.write_all(b"\n")?;
    file.rewind()?;
    Ok(file)
}

/// What a program answered that has ended: `how` it did, unless well.
pub(super) fn answer(how: Option<&str>, output: String, errors: &str) -> Answer {
    let said = Said::of(&output);
    match (how, said) {
        (None, Said::Result(text)) => Answer::Done(text),
        (None, Said::Text) if output.trim().is_empty() && !errors.trim().is_empty() => {
            Answer::Failed(head(errors))
        }
        (None, Said::Text) => Answer::Done(output),
        (_, Said::Error(text)) => Answer::Failed(text),
        (Some(how), Said::Result(_) | Said::Text) => {
            let reason = if errors.trim().is_empty() { head(&output) } else { head(errors) };
            let colon = if reason.is_empty() { "" } else { ": " };
            Answer::Failed(format!("the program failed {how}{colon}{reason}"))
        }
    }
}

/// What an output is.
enum Said {
    /// `{"result": ..}`
    Result(String),
    /// `{"error": ..}`
    Error(String),
    /// Anything else, which is the result as it stands.
    Text,
}

impl Said {
    fn of(output: &str) -> Self {
        let Ok(Value::Object(mut object)) = serde_json::from_str(output) else { return Self::Text };
        if let Some(error) = object.remove("error").filter(|error| !error.is_null()) {
            return Self::Error(text(error));
        }
        object.remove("result").map_or(Self::Text, |result| Self::Result(text(result)))
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The beginning, without white space around it.
pub(super) fn head(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_or_plain_text_and_a_failure_says_why() {
        let (done, failed) =
            (|text: &str| Answer::Done(text.into()), |text: &str| Answer::Failed(text.into()));
        for (how, output, errors, wanted) in [
            (None, "{\"result\": \"42\"}\n", "", done("42")),
            (None, "{\"result\": [1, {\"a\": null}]}", "a warning", done("[1,{\"a\":null}]")),
            (None, "{\"result\": null}", "", done("null")),
            (None, "{\"error\": \"no such town\"}", "", failed("no such town")),
            (None, "{\"error\": null, \"result\": 1}", "", done("1")),
            (None, "{\"error\": \"x\", \"result\": 1}", "", failed("x")),
            (None, "{\"temperature\": 3}", "", done("{\"temperature\": 3}")),
            (None, "plain\ntext\n", "a warning", done("plain\ntext\n")),
            (None, "{\"result\": ", "", done("{\"result\": ")),
            (None, "", "", done("")),
            (None, " \n", "it is broken\n", failed("it is broken")),
            (Some("with exit code 3"), "", "", failed("the program failed with exit code 3")),
            (Some("with exit code 3"), "x", "why\n", failed("the program failed with exit code 3: why")),
            (Some("with exit code 3"), "x", "", failed("the program failed with exit code 3: x")),
            (Some("with exit code 3"), "{\"error\": \"no\"}", "why", failed("no")),
            (
                Some("with exit code 3"),
                "{\"result\": 1}",
                "",
                failed("the program failed with exit code 3: {\"result\": 1}"),
            ),
        ] {
            assert_eq!(answer(how, output.to_owned(), errors), wanted, "{how:?} {output} {errors}");
        }
        let long = "\u{f6}".repeat(ERROR_CHARS_MAX + 1);
        assert_eq!(head(&long).chars().count(), ERROR_CHARS_MAX + 1);
    }
}

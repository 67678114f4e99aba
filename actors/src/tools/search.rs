//! Finds tools by words, where there are too many to tell the model of each. Pure.
//!
//! The words and their ranking are those of [`crate::recall`]: a tool is a text, and its name says more than its description, which says
//! more than the names of its arguments. Nothing is learnt and nothing is asked: the same query finds the same tools.
use std::cmp::Reverse;

use crate::domain::{Tool, ToolCall, ToolSpec};
use crate::recall::{Query, Ranking, Terms};

/// The tool that finds others.
pub const TOOL_SEARCH: &str = "tool_search";
/// The tool by which a found one is called.
pub const TOOL_CALL: &str = "tool_call";

/// Bytes of a declaration for each token, in the vocabularies of the catalogue: English and JSON alike.
const BYTES_PER_TOKEN: usize = 4;
/// As how many a word counts, by the place where it is found.
const IN_NAME: u32 = 6;
const IN_DESCRIPTION: u32 = 2;
const IN_PARAMETERS: u32 = 1;

/// About how many tokens of the prompt a tool's declaration takes.
pub fn tokens(tool: &Tool) -> usize {
    (tool.name.len() + tool.description.len() + tool.parameters.len()).div_ceil(BYTES_PER_TOKEN)
}

/// How a call is told to a model that was not told of its tool: as it asked for it.
pub fn as_told(call: &ToolCall, declared: &[Tool]) -> ToolCall {
    let is_declared = |name: &str| declared.iter().any(|tool| tool.name == name);
    if is_declared(&call.name) || !is_declared(TOOL_CALL) {
        return call.clone();
    }
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    // A tool's name needs no escapes: it is one by the format of calls.
    let arguments = format!(r#"{{"arguments":{arguments},"name":"{}"}}"#, call.name);
    ToolCall { id: call.id.clone(), name: TOOL_CALL.to_owned(), arguments }
}

/// The tools that fit a query best, at most so many, best first, equals in their order. None where no word fits.
pub fn best<'t>(query: &str, tools: &'t [ToolSpec], most: usize) -> Vec<&'t ToolSpec> {
    let query = Query::of(&parted(query));
    let mut ranking = Ranking::new(&query);
    for (at, spec) in tools.iter().enumerate() {
        ranking.add_terms(Reverse(at), &terms(&spec.tool));
    }
    ranking.best(most).into_iter().filter_map(|Reverse(at)| tools.get(at)).collect()
}

/// What a tool is found by.
fn terms(tool: &Tool) -> Terms {
    let texts = [
        (parted(&tool.name), IN_NAME),
        (parted(&tool.description), IN_DESCRIPTION),
        (parted(&tool.parameters), IN_PARAMETERS),
    ];
    Terms::weighted(texts.iter().map(|(text, times)| (text.as_str(), *times)))
}

/// A text whose compound names fall apart: `sendMail` has two words, as `send_mail` has.
fn parted(text: &str) -> String {
    let mut parted = String::with_capacity(text.len());
    let mut was_small = false;
    for letter in text.chars() {
        if letter.is_uppercase() && was_small {
            parted.push(' ');
        }
        parted.push(letter);
        was_small = letter.is_lowercase();
    }
    parted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Risk;

    fn spec(name: &str, description: &str, parameters: &str) -> ToolSpec {
        ToolSpec {
            tool: Tool { name: name.into(), description: description.into(), parameters: parameters.into() },
            risk: Risk::Read,
            is_repeatable: false,
            reads_private: false,
            brings_outside_text: false,
        }
    }

    fn shed() -> Vec<ToolSpec> {
        let mut tools: Vec<ToolSpec> = (0..195)
            .map(|n| spec(&format!("record_{n}"), "Read one record of the archive.", r#"{"type":"object"}"#))
            .collect();
        tools.extend([
            spec(
                "send_mail",
                "Send an e-mail to somebody.",
                r#"{"properties":{"recipient":{"type":"string"}}}"#,
            ),
            spec("list_mails", "List the newest messages of a mailbox.", ""),
            spec("weather", "Tell the forecast of a city.", r#"{"properties":{"city":{"type":"string"}}}"#),
            spec("calculator", "Evaluate an arithmetic expression.", ""),
            spec("queryDatabase", "Run a query, read only.", ""),
        ]);
        tools
    }

    #[track_caller]
    fn check(query: &str, wanted: &[&str]) {
        let tools = shed();
        let found: Vec<&str> =
            best(query, &tools, wanted.len().max(1)).iter().map(|spec| spec.tool.name.as_str()).collect();
        assert_eq!(found, wanted, "{query}");
    }

    #[test]
    fn the_tools_whose_words_fit_come_first() {
        check("send_mail", &["send_mail"]);
        check("I want to send an e-mail", &["send_mail"]);
        check("mails", &["send_mail", "list_mails"]);
        check("listing of my mailboxes", &["list_mails"]);
        check("forecast", &["weather"]);
        check("arithmetic expressions", &["calculator"]);
        check("calculate", &["calculator"]);
        check("DATABASE", &["queryDatabase"]);
        check("recipient", &["send_mail"]);
        check("record 17", &["record_17"]);
        check("weather record", &["weather"]);
        check("which tool reads a Datenbank or the databases", &["queryDatabase"]);
        check("mailboxes", &["list_mails"]);
    }

    #[test]
    fn what_a_tool_is_called_says_more_than_what_is_written_of_it() {
        let tools = [
            spec("note", "Make a backup of the backup of a backup.", ""),
            spec("backup", "Keep a copy.", ""),
            spec("copy", "", r#"{"properties":{"backup":{"type":"boolean"}}}"#),
        ];
        let found: Vec<&str> =
            best("backups", &tools, 9).iter().map(|spec| spec.tool.name.as_str()).collect();
        assert_eq!(found, ["backup", "note", "copy"]);
    }

    #[test]
    fn what_no_tool_knows_finds_none() {
        check("", &[]);
        check("?! …", &[]);
        check("zeppelin", &[]);
        assert!(best("mail", &[], 5).is_empty());
    }

    #[test]
    fn a_query_finds_no_more_than_it_may_and_always_the_same() {
        let tools = shed();
        let names =
            |found: Vec<&ToolSpec>| found.iter().map(|spec| spec.tool.name.clone()).collect::<Vec<_>>();
        let found = names(best("archive", &tools, 5));
        assert_eq!(
            found,
            ["record_0", "record_1", "record_2", "record_3", "record_4"],
            "equals in their order"
        );
        assert_eq!(names(best("archive", &tools, 5)), found);
    }

    #[test]
    fn a_call_is_told_as_the_model_asked_for_it() {
        let call = |name: &str, arguments: &str| ToolCall {
            id: "1".into(),
            name: name.into(),
            arguments: arguments.into(),
        };
        let declared =
            [spec("clock", "", "").tool, spec(TOOL_SEARCH, "", "").tool, spec(TOOL_CALL, "", "").tool];
        assert_eq!(as_told(&call("clock", "{}"), &declared), call("clock", "{}"));
        let told = as_told(&call("weather", r#"{"city":"Ulm"}"#), &declared);
        assert_eq!(told, call(TOOL_CALL, r#"{"arguments":{"city":"Ulm"},"name":"weather"}"#));
        assert_eq!(
            as_told(&call("weather", ""), &declared).arguments,
            r#"{"arguments":{},"name":"weather"}"#
        );
        assert_eq!(
            as_told(&call("weather", "{}"), &declared[..1]),
            call("weather", "{}"),
            "nothing is searched"
        );
    }
}

//! Finds tools by words, where there are too many to tell the model of each. Pure.
//!
//! A tool is as good as the words of the query that it has, rare words before common ones, its name before its description before the
//! names of its arguments. Nothing is learnt and nothing is asked: the same query finds the same tools.
use std::collections::HashMap;

use crate::domain::{Tool, ToolCall, ToolSpec};

/// The tool that finds others.
pub const TOOL_SEARCH: &str = "tool_search";
/// The tool by which a found one is called.
pub const TOOL_CALL: &str = "tool_call";

/// Bytes of a declaration for each token, in the vocabularies of the catalogue: English and JSON alike.
const BYTES_PER_TOKEN: usize = 4;
/// What a word counts for, by the place where it is found.
const IN_NAME: f64 = 3.0;
const IN_DESCRIPTION: f64 = 1.0;
const IN_PARAMETERS: f64 = 0.5;
/// What a word counts for that only begins like the one that is sought.
const BEGINS_ALIKE: f64 = 0.5;
/// Shortest beginning that two words share so, in letters; and it is three quarters of the shorter one.
const BEGINNING_MIN: usize = 4;

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

/// The tools that fit a query best, at most so many, best first. None where no word fits.
pub fn best<'t>(query: &str, tools: &'t [ToolSpec], most: usize) -> Vec<&'t ToolSpec> {
    let wanted = words(query);
    let sheets: Vec<Sheet> = tools.iter().map(|spec| Sheet::of(&spec.tool)).collect();
    let weights: Vec<f64> = wanted.iter().map(|word| rarity(word, &sheets)).collect();
    let score = |sheet: &Sheet| -> f64 {
        wanted.iter().zip(&weights).map(|(word, weight)| weight * sheet.fits(word)).sum()
    };
    let mut ranked: Vec<(f64, usize)> = sheets
        .iter()
        .map(score)
        .enumerate()
        .map(|(at, score)| (score, at))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.iter().take(most).filter_map(|(_, at)| tools.get(*at)).collect()
}

/// The words of one tool, each with what it counts for.
struct Sheet(HashMap<String, f64>);

impl Sheet {
    fn of(tool: &Tool) -> Self {
        let mut sheet = HashMap::new();
        for (text, weight) in
            [(&tool.parameters, IN_PARAMETERS), (&tool.description, IN_DESCRIPTION), (&tool.name, IN_NAME)]
        {
            for word in words(text) {
                sheet.insert(word, weight);
            }
        }
        Self(sheet)
    }

    fn fits(&self, word: &str) -> f64 {
        if let Some(weight) = self.0.get(word) {
            return *weight;
        }
        let alike = |known: &str| {
            let shared = known.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
            let shorter = known.chars().count().min(word.chars().count());
            shared >= BEGINNING_MIN && shared * 4 >= shorter * 3
        };
        let best =
            self.0.iter().filter(|(known, _)| alike(known)).map(|(_, weight)| *weight).reduce(f64::max);
        best.unwrap_or(0.0) * BEGINS_ALIKE
    }
}

/// The fewer tools have a word, the more it says (BM25's inverse document frequency; Robertson and Zaragoza, 2009).
#[expect(clippy::cast_precision_loss, reason = "numbers of tools are small")]
fn rarity(word: &str, sheets: &[Sheet]) -> f64 {
    let having = sheets.iter().filter(|sheet| sheet.fits(word) > 0.0).count() as f64;
    (1.0 + (sheets.len() as f64 - having + 0.5) / (having + 0.5)).ln()
}

/// The words of a text in small letters, without their commonest endings; `sendMail` and `send_mail` have two.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut was_small = false;
    for letter in text.chars().chain([' ']) {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && was_small);
        if begins && !word.is_empty() {
            let found = stem(&std::mem::take(&mut word));
            if !words.contains(&found) {
                words.push(found);
            }
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase();
    }
    words
}

/// `files` is `file` and `sending` is `send`: enough for the names of tools.
fn stem(word: &str) -> String {
    let cut =
        |ending: &str, least: usize| word.strip_suffix(ending).filter(|rest| rest.chars().count() >= least);
    let stem = cut("ies", 3).map(|rest| format!("{rest}y"));
    let stem = stem.or_else(|| cut("ing", 4).or_else(|| cut("s", 3)).map(str::to_owned));
    stem.unwrap_or_else(|| word.to_owned())
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

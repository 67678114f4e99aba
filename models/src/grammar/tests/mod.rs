//! Grammars against the schemas they are made of, without llama.cpp. `engine/sampler/tests.rs` does the same with it.
use serde_json::{Value, json};

use super::*;
use crate::chat::{AnswerForm, CallRule, Shape, Tool};

pub(crate) mod calls_read;
pub(crate) mod matcher;
pub(crate) mod samples;
pub(crate) mod servers;
mod words;

use matcher::Matcher;
use samples::Numbers;

const TOKENS: [(&str, u32); 5] =
    [("<|tool_call>", 48), ("<tool_call|>", 49), ("<|\"|>", 52), ("<|channel>", 100), ("<channel|>", 101)];

pub(crate) fn gemma4() -> Style {
    let reserved = |mark: &str| mark.chars().next().map(|first| first as i32).filter(|first| *first < 8);
    Style::gemma4(|mark| {
        reserved(mark)
            .map(|number| 1000 + number)
            .or(TOKENS.iter().find(|(text, _)| *text == mark).map(|(_, token)| *token as i32))
    })
}

pub(crate) fn chatml() -> Style {
    Style::chatml(|_| None)
}

fn token_text(token: u32) -> &'static str {
    TOKENS.iter().find(|(_, number)| *number == token).map_or("<unknown>", |(text, _)| text)
}

pub(crate) fn tool(name: &str, parameters: &Value) -> Tool {
    Tool { name: name.to_owned(), description: String::new(), parameters: parameters.to_string() }
}

/// The grammar of one call of one tool.
fn one_call(parameters: &Value, style: &Style) -> Result<Constraint, GrammarError> {
    Ok(for_calls(&[tool("do_it", parameters)], &CallRule::Required, false, style)?.expect("a grammar"))
}

fn matcher(constraint: &Constraint) -> Matcher {
    let mut text = constraint.gbnf.clone().unwrap();
    for (mark, witness) in &constraint.marks {
        text = text.replace(&format!("(<[{mark}]> | <[{witness}]>)"), &format!("<[{mark}]>"));
    }
    Matcher::new(&text, token_text)
}

fn call_of(value: &Value, style_is_gemma: bool) -> String {
    if style_is_gemma {
        format!("<|tool_call>call:do_it{}<tool_call|>", calls_read::written(value))
    } else {
        format!("<tool_call>\n{{\"name\": \"do_it\", \"arguments\": {value}}}\n</tool_call>")
    }
}

/// The arguments of a call as a reader would find them.
pub(crate) fn arguments_of(text: &str, style_is_gemma: bool) -> Value {
    if style_is_gemma {
        let text = text.find("<|tool_call>").map_or(text, |begin| &text[begin..]);
        let calls = calls_read::calls(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        return calls[0].1.clone();
    }
    let inside =
        text.trim().strip_prefix("<tool_call>").and_then(|text| text.strip_suffix("</tool_call>")).unwrap();
    let call: Value = serde_json::from_str(inside).unwrap_or_else(|error| panic!("{error}\n{text}"));
    call["arguments"].clone()
}

pub(crate) fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|e| panic!("{e}: {schema}"))
}

#[test]
fn what_fits_a_random_schema_can_be_written_and_what_does_not_cannot() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        let (schema, values) = samples::object_schema(&mut numbers);
        let judge = validator(&schema);
        for (style, is_gemma) in [(gemma4(), true), (chatml(), false)] {
            let constraint = one_call(&schema, &style).unwrap_or_else(|error| panic!("{error}: {schema}"));
            assert_eq!(constraint.widened, [], "{schema}");
            let matcher = matcher(&constraint);
            for value in &values {
                assert!(judge.is_valid(value), "the sample is wrong: {value} {schema}");
                let written = call_of(value, is_gemma);
                // A text of limited length or with a pattern writes what marks begin with by its number.
                let escaped = call_of(value, is_gemma)
                    .replace("x<", "x\\u003c")
                    .replace("q\\\"<", "q\\\"\\u003c")
                    .replace("a<b", "a\\u003cb");
                let has_mark =
                    is_gemma && value.to_string().contains("<|") && schema.to_string().contains("Length");
                assert!(
                    matcher.accepts(&written) || matcher.accepts(&escaped) || has_mark,
                    "seed {seed} refuses {written}\n{schema}\n{}",
                    constraint.gbnf.as_deref().unwrap()
                );
                accepted += 1;
                let mut other = value.clone();
                for _ in 0..8 {
                    other = samples::changed(&other, &mut numbers);
                    let written = call_of(&other, is_gemma);
                    if !judge.is_valid(&other) {
                        assert!(!matcher.accepts(&written), "seed {seed} lets through {written}\n{schema}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(accepted > 1500 && refused > 5000, "{accepted} {refused}");
}

#[test]
fn every_text_of_a_grammar_fits_its_schema() {
    let mut longest = 0;
    for seed in 0..400 {
        let mut numbers = Numbers(seed + 1_000_000);
        let (schema, _) = samples::object_schema(&mut numbers);
        let judge = validator(&schema);
        for (style, is_gemma) in [(gemma4(), true), (chatml(), false)] {
            let matcher = matcher(&one_call(&schema, &style).unwrap());
            for steps in [0, 10, 60, 300] {
                let text = matcher.text(&mut |end| numbers.below(end), steps);
                let arguments = arguments_of(&text, is_gemma);
                assert!(judge.is_valid(&arguments), "seed {seed}: {text}\n{schema}");
                if steps < 100 {
                    assert!(matcher.accepts(&text), "{text}");
                }
                longest = longest.max(text.len());
            }
        }
    }
    assert!(longest > 300, "{longest}");
}

#[test]
fn equal_schemas_give_equal_bytes_and_share_their_rules() {
    let point =
        json!({ "type": "object", "properties": { "x": { "type": "integer" }, "y": { "type": "integer" } } });
    let schema =
        json!({ "type": "object", "properties": { "a": point, "b": point, "c": point, "d": point } });
    let first = one_call(&schema, &gemma4()).unwrap();
    assert_eq!(first, one_call(&schema, &gemma4()).unwrap());
    let text = first.gbnf.unwrap();
    assert_eq!(text.matches("\ninteger ::= ").count(), 1, "{text}");
    assert_eq!(text.matches("\"x:\" ").count(), 1, "{text}");
    let names: Vec<&str> = text.lines().map(|line| line.split(" ::= ").next().unwrap()).collect();
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len(), "{names:?}");
}

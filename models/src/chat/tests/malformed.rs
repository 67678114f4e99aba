//! Calls as models write them when they get them wrong: mended where one thing alone can be meant, else named with what is wrong.
use super::AnswerEnd::{ByModel, CutOff};
use super::*;

/// A call, its end, and what becomes of it: a row of calls, or a part of the fault.
type Row = (&'static str, AnswerEnd, Result<&'static [(&'static str, &'static str)], &'static str>);

const GEMMA: [Row; 22] = [
    ("<|tool_call>call:f{a:1}", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    ("<|tool_call>call:f{a:1", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    ("<|tool_call>call:f{a:1", CutOff, Err("cut off")),
    ("<|tool_call>call:f{a:<|\"|>rm -r", CutOff, Err("cut off")),
    ("<|tool_call>call:f{a:<|\"|>rm -r<tool_call|>", ByModel, Err("not closed")),
    ("<|tool_call>call:f{a:\"x\"}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":"x"}"#)])),
    ("<|tool_call>call:f{a:'x'}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":"x"}"#)])),
    ("<|tool_call>call:f{a:[1,2,],}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":[1,2]}"#)])),
    ("<|tool_call>call:f{a:Paris}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":"Paris"}"#)])),
    ("<|tool_call>call:f{a:1,a:2}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":2}"#)])),
    (
        "<|tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}<tool_call|>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#)]),
    ),
    ("<|tool_call>call:f{\"a\": 1}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    ("<|tool_call>f{a:1}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    ("<|tool_call>call:f<tool_call|>", ByModel, Ok(&[("f", "{}")])),
    ("<|tool_call>call:f(a=1)<tool_call|>", ByModel, Err("no name of a tool")),
    ("<|tool_call>call:{a:1}<tool_call|>", ByModel, Err("name of the tool is missing")),
    (
        "<|tool_call>call:f{a:1}<|tool_call>call:g{b:2}<tool_call|>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#), ("g", r#"{"b":2}"#)]),
    ),
    (
        "<|tool_call>call:f{a:1}call:g{b:2}<tool_call|>",
        ByModel,
        Err("the end is missing before `call:g{b:2}`"),
    ),
    ("<|tool_call>call:f{a:1}}<tool_call|>", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    ("<|tool_call>call:f{a}<tool_call|>", ByModel, Err("`:` is missing")),
    ("<|tool_call>call:f[1]<tool_call|>", ByModel, Err("no name of a tool")),
    ("<|tool_call>call:f{a:<|channel>thought\nhm<channel|>1}<tool_call|>", ByModel, Err("needs quotes")),
];

const TAGGED: [Row; 18] = [
    ("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}", ByModel, Ok(&[("f", r#"{"a":1}"#)])),
    (
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#)]),
    ),
    ("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x", CutOff, Err("cut off")),
    ("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x", ByModel, Err("not closed")),
    (
        "<tool_call>{'name': 'f', 'arguments': {'a': None}}</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":null}"#)]),
    ),
    (
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1,},}</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#)]),
    ),
    (
        "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#)]),
    ),
    ("<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", ByModel, Ok(&[("f", "{}")])),
    ("<tool_call>{\"name\": \"f\"}</tool_call>", ByModel, Ok(&[("f", "{}")])),
    ("<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", ByModel, Err("no object")),
    ("<tool_call>{\"arguments\": {}}</tool_call>", ByModel, Err("name of the tool is missing")),
    (
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"1\"}}</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":"1"}"#)]),
    ),
    ("<tool_call>call:f{a:<|\"|>x<|\"|>}</tool_call>", ByModel, Ok(&[("f", r#"{"a":"x"}"#)])),
    (
        "<tool_call>```json\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n```</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":1}"#)]),
    ),
    (
        "<tool_call>[{\"name\": \"f\"}, {\"name\": \"g\"}]</tool_call>",
        ByModel,
        Ok(&[("f", "{}"), ("g", "{}")]),
    ),
    ("<tool_call>{\"name\": \"f\"}\n{\"name\": \"g\"}</tool_call>", ByModel, Err("the end is missing")),
    (
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": {\"name\": \"g\", \"arguments\": {}}}}</tool_call>",
        ByModel,
        Ok(&[("f", r#"{"a":{"name":"g","arguments":{}}}"#)]),
    ),
    ("<tool_call>f(a=1)</tool_call>", ByModel, Err("no name of a tool")),
];

fn becomes(written: &str, parts: &[AnswerPart], wanted: Result<&[(&str, &str)], &str>) -> Result<(), String> {
    let is_so = match wanted {
        Ok(calls) => {
            parts == calls.iter().map(|(name, arguments)| called(name, arguments)).collect::<Vec<_>>()
        }
        Err(reason) => matches!(parts, [AnswerPart::BadCall { fault, .. }] if fault.contains(reason)),
    };
    if is_so { Ok(()) } else { Err(format!("{written}: {parts:?}, not {wanted:?}")) }
}

#[test]
fn each_is_mended_or_named() {
    let gemma = GEMMA.map(|(written, end, wanted)| becomes(written, &gemma_answer(written, end), wanted));
    let tagged = TAGGED.map(|(written, end, wanted)| {
        let answer = [Piece::Text(written.to_owned())];
        becomes(written, &cut_anyhow(&chatml(true), &answer, end), wanted)
    });
    let wrong: Vec<_> = gemma.into_iter().chain(tagged).filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

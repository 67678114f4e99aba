//! Strange things for properties: texts full of marks and their fragments, values of all kinds, and what they are cut into.
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::*;

/// What a text must not become, and what such texts are made of.
pub(super) const FRAGMENTS: [&str; 40] = [
    "<|\"|>",
    "<|turn>",
    "<turn|>",
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<|tool>",
    "<|think|>",
    "<|image|>",
    "<bos>",
    "<eos>",
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "<think>",
    "</think>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|",
    "|>",
    "<",
    ">",
    "\"",
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "call:f{",
    "thought\n",
];

/// A text of fragments, words and odd characters.
pub(super) fn strange() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => proptest::sample::select(&FRAGMENTS[..]).prop_map(str::to_owned),
        2 => "[a-z]{1,6}",
        1 => "[ \n\té€😀\u{1}\u{7f}\u{2028}\u{300}]{1,3}",
        1 => ".{0,4}",
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// A text in which no tag stands as text: where tags are words, a model that writes one means it.
pub(super) fn tagless() -> impl Strategy<Value = String> {
    strange().prop_map(|text| text.replace(['<', '['], "("))
}

/// JSON of all kinds.
pub(super) fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter_map("JSON has no such number", |number| {
            serde_json::Number::from_f64(number).map(Json::Number)
        }),
        strange().prop_map(Json::from),
        proptest::sample::select(&["null", "None", "true", "-1", "1e5", "007"][..]).prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::vec((strange(), inner), 0..4).prop_map(dictionary),
        ]
    })
}

fn dictionary(entries: Vec<(String, Json)>) -> Json {
    Json::Object(entries.into_iter().collect::<Map<_, _>>())
}

/// A call's arguments.
pub(super) fn arguments() -> impl Strategy<Value = Json> {
    proptest::collection::vec((strange(), json()), 0..4).prop_map(dictionary)
}

/// A prompt's pieces as tokens that cut its texts after so many bytes, over and over.
pub(super) fn cut(pieces: &[Piece], steps: &[usize]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut steps = steps.iter().cycle();
    for piece in pieces {
        match piece {
            Piece::Mark(mark) => tokens.push(Token::Mark(mark.to_string())),
            Piece::Text(text) => {
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    let (run, behind) = rest.split_at((*steps.next().unwrap()).min(rest.len()));
                    tokens.push(Token::Bytes(run.to_vec()));
                    rest = behind;
                }
            }
            Piece::Media(_) => {}
        }
    }
    tokens
}

/// Where a text is cut.
pub(super) fn steps() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..12_usize, 1..6)
}

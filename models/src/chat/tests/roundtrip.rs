//! What a renderer writes of an assistant's turn, a reader takes apart into the same turn: words, thought, calls.
use proptest::prelude::*;
use serde_json::Value as Json;

use super::strange::*;
use super::*;

/// Words, thought and calls of an answer, each kind by itself: the formats order them differently.
type Said = (String, String, Vec<(String, Json)>);

fn said(parts: Vec<AnswerPart>) -> Said {
    let mut said = Said::default();
    for part in parts {
        match part {
            AnswerPart::Text(text) => said.0.push_str(&text),
            AnswerPart::Thought(thought) => said.1.push_str(&thought),
            AnswerPart::Call(call) => {
                let arguments = serde_json::from_str(&call.arguments);
                said.2.push((
                    call.name,
                    arguments.unwrap_or_else(|error| panic!("{error}: {}", call.arguments)),
                ));
            }
            AnswerPart::BadCall { written, fault } => panic!("{fault}: {written}"),
        }
    }
    said
}

/// A thinking ChatML format whose tags are tokens of their own.
fn chatml_of_marks() -> ChatFormat {
    let tags = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"];
    let marks: Vec<&str> = CHATML_MARKS.into_iter().chain(tags).collect();
    ChatFamily::ChatMl.format(Some("<|im_start|><think></think>"), &vocabulary(&marks)).unwrap()
}

/// The turn as the model writes it: what the renderer puts behind the opening of the last turn.
fn as_written(format: &ChatFormat, said: &Said) -> Vec<Piece> {
    let (text, thought, calls) = said;
    let calls = calls
        .iter()
        .enumerate()
        .map(|(at, (name, arguments))| call(&at.to_string(), name, &arguments.to_string()));
    let turn = Turn {
        thought: thought.clone(),
        calls: calls.collect(),
        ..Turn::text(Role::Assistant, text.as_str())
    };
    let conversation = Conversation {
        turns: vec![Turn::text(Role::User, "hi"), turn],
        tools: vec![tool("x", "", &[])],
        thinking: true,
        ..Conversation::default()
    };
    let pieces = format.render(&conversation).unwrap();
    let is = |piece: &Piece, marks: [&str; 2]| matches!(piece, Piece::Mark(mark) if marks.contains(&&**mark));
    let begins = |at: &usize| {
        is(&pieces[*at], ["<|turn>", "<|im_start|>"])
            && matches!(&pieces[at + 1], Piece::Text(role) if role.starts_with("model\n") || role.starts_with("assistant\n"))
    };
    let opening = (0..pieces.len() - 1).find(begins).unwrap();
    let answer = pieces[opening + 1..].iter().take_while(|piece| !is(piece, ["<turn|>", "<|im_end|>"]));
    let mut answer: Vec<Piece> = answer.cloned().collect();
    let Piece::Text(first) = &mut answer[0] else { panic!("a turn without a role") };
    *first = first.split_once('\n').unwrap().1.to_owned();
    answer
}

#[track_caller]
fn comes_back(format: &ChatFormat, wanted: &Said, steps: &[usize]) {
    let written = as_written(format, wanted);
    let parts = parse(parser(format), &cut(&written, steps), AnswerEnd::ByModel);
    assert_eq!(said(parts), *wanted, "{written:?}");
}

fn turn(
    text: impl Strategy<Value = String>,
    thought: impl Strategy<Value = String>,
) -> impl Strategy<Value = Said> {
    let calls = proptest::collection::vec(("[a-zA-Z_][a-zA-Z0-9_.-]{0,12}", arguments()), 0..3);
    (text, thought, calls)
        .prop_map(|(text, thought, calls)| (text.trim().to_owned(), thought.trim().to_owned(), calls))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    // An earlier thought that stands as text in the words is left out on purpose, so the words hold no channel.
    #[test]
    fn a_gemma_turn_comes_back(
        wanted in turn(strange().prop_map(|text| text.replace("channel", "canal")), strange()),
        steps in steps(),
    ) {
        comes_back(&gemma(), &wanted, &steps);
    }

    #[test]
    fn a_chatml_turn_comes_back(wanted in turn(tagless(), tagless()), steps in steps()) {
        comes_back(&chatml(true), &wanted, &steps);
    }

    #[test]
    fn a_chatml_turn_with_marks_comes_back(wanted in turn(strange(), strange()), steps in steps()) {
        comes_back(&chatml_of_marks(), &wanted, &steps);
    }

    /// Mistral's way: one list of calls up to the end of the turn.
    #[test]
    fn a_list_of_calls_comes_back(calls in proptest::collection::vec(("[a-z_]{1,9}", arguments()), 1..4), steps in steps()) {
        let template = "{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}{# [TOOL_CALLS] #}";
        let list: Vec<_> = calls.iter().map(|(name, arguments)| serde_json::json!({"name": name, "arguments": arguments})).collect();
        let list = Piece::Text(Json::from(list).to_string());
        for marks in [&["[INST]", "[/INST]", "[TOOL_CALLS]"][..], &[]] {
            let format = ChatFamily::Template.format(Some(template), &vocabulary(marks)).unwrap();
            let open = if marks.is_empty() { Piece::Text("[TOOL_CALLS]".to_owned()) } else { Piece::Mark("[TOOL_CALLS]".into()) };
            let parts = parse(parser(&format), &cut(&[open, list.clone()], &steps), AnswerEnd::ByModel);
            assert_eq!(said(parts), (String::new(), String::new(), calls.clone()));
        }
    }
}

#[test]
fn the_smallest_turns_that_once_did_not_come_back() {
    let turns = [
        serde_json::json!({"": 1}),
        serde_json::json!({"a:b": 1, "{": 2, "\"": 3, " a ": 4, "<|\"|>": 5, "\n": 6}),
        serde_json::json!({"a": {"x,y": [{"[": ""}]}}),
        serde_json::json!({"a": "</tool_call>".repeat(40)}),
        (0..60).fold(serde_json::json!({"a": "</tool_call>"}), |inner, _| serde_json::json!({"a": inner})),
    ];
    for arguments in turns {
        let wanted = (String::new(), String::new(), vec![("f".to_owned(), arguments)]);
        for format in [gemma(), chatml(true), chatml_of_marks()] {
            comes_back(&format, &wanted, &[3]);
        }
    }
}

//! What servers say, as llama-server, vLLM and archond write it.
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// All parts of an answer, those of one kind joined; why it ended; what it cost.
fn read(events: &[&str]) -> Result<(Vec<AnswerPart>, Option<Finish>, Usage), AnswerFault> {
    let mut answer = Answer::default();
    let mut parts = Vec::new();
    for event in events {
        parts.extend(answer.take(event)?.into_iter().flat_map(|chosen| chosen.parts));
    }
    let finish = answer.finish().map(|(calls, finish)| {
        parts.extend(calls.parts);
        finish
    });
    Ok((parts, finish, answer.usage()))
}

fn text(text: &str) -> AnswerPart {
    AnswerPart::Text(text.to_owned())
}

#[test]
fn words_thoughts_and_the_count() {
    let (parts, finish, usage) = read(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning":"m"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"four"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":90,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":80}}}"#,
        "[DONE]",
    ])
    .unwrap();
    let thought = |text: &str| AnswerPart::Thought(text.to_owned());
    assert_eq!(parts, [thought("hm"), thought("m"), text("four")]);
    assert_eq!(finish, Some(Finish::EndOfTurn));
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.answer_tokens), (90, 80, 4));
}

#[test]
fn a_call_comes_in_pieces_and_is_told_whole() {
    let delta = |call: Value| json!({ "choices": [{ "delta": { "tool_calls": [call] } }] }).to_string();
    let events = [
        delta(
            json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "clock", "arguments": "" } }),
        ),
        delta(json!({ "index": 0, "function": { "arguments": "{\"zone\":" } })),
        delta(json!({ "index": 0, "function": { "arguments": "\"UTC\"}" } })),
        delta(json!({ "index": 1, "function": { "name": "now" } })),
        delta(json!({ "index": 2, "id": "c", "function": { "name": "bad", "arguments": "[1]" } })),
        r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned(),
    ];
    let (parts, finish, _) = read(&events.each_ref().map(String::as_str)).unwrap();
    let call = |id: &str, name: &str, arguments: &str| {
        AnswerPart::Call(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    };
    let fault = "the arguments are no object".to_owned();
    let bad = AnswerPart::BadCall { written: "bad[1]".to_owned(), fault };
    assert_eq!(parts, [call("a", "clock", "{\"zone\":\"UTC\"}"), call("call_1", "now", "{}"), bad]);
    assert_eq!(finish, Some(Finish::EndOfTurn));
}

#[test]
fn how_answers_end() {
    let end = |event: &str| read(&[event]).unwrap().1;
    assert_eq!(end(r#"{"choices":[{"text":"a","finish_reason":"length"}]}"#), Some(Finish::Length));
    assert_eq!(
        end(r#"{"choices":[{"delta":{},"finish_reason":"stop","stop_reason":"END"}]}"#),
        Some(Finish::StopText)
    );
    assert_eq!(
        end(r#"{"choices":[{"delta":{},"finish_reason":"stop","stop_reason":106}]}"#),
        Some(Finish::EndOfTurn)
    );
    // A stream that just ends was cut off.
    assert_eq!(end(r#"{"choices":[{"text":"a","finish_reason":null}]}"#), None);
    let cut = [
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
    ];
    let fault = "the answer was cut off inside the call".to_owned();
    assert_eq!(read(&cut).unwrap().0, [AnswerPart::BadCall { written: "f{\"a".to_owned(), fault }]);
}

#[test]
fn probabilities_come_token_by_token() {
    let event = r#"{"choices":[{"delta":{"content":"ab"},"logprobs":{"content":[
        {"id":5,"token":"a","bytes":[97],"logprob":-0.1,"top_logprobs":[{"token":"a","logprob":-0.1},{"token":"b","logprob":-3.0}]},
        {"token":"b","logprob":-0.2}]}}]}"#;
    let chosen = Answer::default().take(event).unwrap();
    let told: Vec<(i32, &[u8], usize, &[AnswerPart])> = chosen
        .iter()
        .map(|chosen| {
            let (token, likeliest) = chosen.logprobs.as_ref().unwrap();
            (token.token, token.bytes.as_slice(), likeliest.len(), chosen.parts.as_slice())
        })
        .collect();
    assert_eq!(told, [(5, &b"a"[..], 2, &[][..]), (0, &b"b"[..], 0, &[text("ab")][..])]);
}

#[test]
fn what_a_server_says_of_itself_and_what_nobody_can_read() {
    let fault = |event: &str| Answer::default().take(event).unwrap_err();
    assert_eq!(
        fault(r#"{"error":{"message":"out of memory","code":500}}"#),
        AnswerFault::Told("out of memory".to_owned())
    );
    assert_eq!(fault(r#"{"error":"out of memory"}"#), AnswerFault::Told("out of memory".to_owned()));
    assert!(matches!(fault("<html>"), AnswerFault::Unreadable(_)));
    let mut answer = Answer::default();
    let long = json!({ "choices": [{ "text": "a".repeat(1 << 20) }] }).to_string();
    assert!((0..17).any(|_| answer.take(&long) == Err(AnswerFault::TooLong)));
    let mut answer = Answer::default();
    let many = |index: usize| {
        json!({ "choices": [{ "delta": { "tool_calls": [{ "index": index }] } }] }).to_string()
    };
    assert!((0..=CALLS_MAX).any(|index| answer.take(&many(index)) == Err(AnswerFault::TooManyCalls)));
}

proptest! {
    #[test]
    fn however_words_are_cut_they_come_out_whole(words in proptest::collection::vec(".{0,8}", 0..20)) {
        let events: Vec<String> =
            words.iter().map(|word| json!({ "choices": [{ "delta": { "content": word } }] }).to_string()).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let parts = read(&events).unwrap().0;
        let said: String = parts.iter().map(|part| match part { AnswerPart::Text(text) => text.as_str(), _ => "?" }).collect();
        prop_assert_eq!(said, words.concat());
    }

    #[test]
    fn nothing_that_a_server_sends_breaks_it(
        data in proptest::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"choices\"", "\"delta\"", "\"content\"", "\"tool_calls\"", "\"index\"",
            "\"function\"", "\"error\"", "\"usage\"", "null", "-1", "1e999", "\"\\ud800\"", "\"a\"", "true",
        ]), 0..30)
    ) {
        let mut answer = Answer::default();
        let _refused_or_not = answer.take(&data.concat());
        let _ended_or_not = answer.finish();
    }
}

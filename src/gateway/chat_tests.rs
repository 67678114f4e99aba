//! Chat requests as clients write them.
use serde_json::json;

use super::*;

fn read_json(value: &Value) -> Result<ChatRequest, ApiError> {
    Fields::of_request(value).and_then(|fields| read(&fields))
}

#[test]
fn a_whole_conversation_is_read() {
    let request = read_json(&json!({
        "messages": [
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "input_audio", "input_audio": {"data": "UklGRgAAAABXQVZF", "format": "wav"}},
            ]},
            {"role": "assistant", "content": null, "reasoning_content": "hm",
             "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "stop": ["END", ""], "logprobs": true, "top_logprobs": 3, "logit_bias": {"5": -100, "6": 2.5},
        "seed": 7, "temperature": 0, "max_tokens": 9, "reasoning_effort": "high", "an_unknown_field": [1],
        "stream": true, "stream_options": {"include_usage": true},
    }));
    let request = request.unwrap();
    let Prompt::Chat(conversation) = &request.prompt else { panic!("no conversation") };
    assert_eq!(&*conversation.system, "Be short.");
    assert_eq!(conversation.turns[0].content[1], Content::Image((*b"\x89PNG\r\n\x1a\n").into()));
    assert_eq!(conversation.turns[0].content[2], Content::Audio((*b"RIFF\0\0\0\0WAVE").into()));
    assert_eq!(conversation.turns[1].calls[0].arguments, "{\"a\":1}");
    assert_eq!((&*conversation.turns[1].thought, &*conversation.turns[2].answers), ("hm", "c1"));
    assert!(conversation.thinking && !request.form.parallel_calls);
    assert_eq!(request.form.calls, CallRule::Named("look".into()));
    assert_eq!((request.form.stop.len(), request.form.logprobs), (1, Some(3)));
    assert_eq!(request.form.bias.iter().find(|(token, _)| token.0 == 5).unwrap().1, f32::NEG_INFINITY);
    assert_eq!((request.sampling.seed, request.answer_tokens_max), (Some(7), 9));
    assert_eq!(request.telling, Telling { stream: true, include_usage: true, answers: 1 });
}

#[test]
fn a_fault_names_its_field() {
    let user = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        (json!({}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "king", "content": "hi"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
        (
            json!({"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}),
            "messages[0].content[0].image_url.url",
        ),
        (json!({"messages": user, "temperature": "hot"}), "temperature"),
        (json!({"messages": user, "temperature": -1}), "temperature"),
        (json!({"messages": user, "n": 9}), "n"),
        (json!({"messages": user, "stop": [1]}), "stop"),
        (json!({"messages": user, "stream": "yes"}), "stream"),
        (json!({"messages": user, "max_tokens": 0}), "max_tokens"),
        (json!({"messages": user, "tools": [{"function": {"name": "a b"}}]}), "tools[0].function.name"),
        (json!({"messages": user, "tool_choice": "required"}), "tool_choice"),
        (json!({"messages": user, "top_logprobs": 3}), "top_logprobs"),
        (json!({"messages": user, "logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"messages": user, "logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"messages": user, "response_format": {"type": "xml"}}), "response_format.type"),
        (
            json!({"messages": user, "response_format": {"type": "json_schema", "json_schema": {"name": "x",
                "schema": {"type": "object", "properties": {"type": {"type": ["null", "strin"]}}}}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"messages": user, "json_schema": {"items": {"type": "list"}}}), "json_schema"),
    ];
    for (body, field) in cases {
        let error = read_json(&body).err().unwrap_or_else(|| panic!("{body} was accepted"));
        assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(field)), "{body}");
    }
}

#[test]
fn media_are_what_they_say_and_not_too_much() {
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let image = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    let audio = |data: &str, format: &str| {
        part(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
    };
    let large = format!("data:image/gif;base64,R0lGODlh{}", "AAAA".repeat(MEDIUM_BYTES_MAX / 3));
    let cases = [
        (image("data:image/jpeg;base64,iVBORw0KGgo="), "says that it is JPEG, and is PNG"),
        (image("data:image/png;base64,aGVsbG8="), "says that it is PNG, and is not"),
        (image("data:image/svg+xml;base64,aGVsbG8="), "must be of the type image/png"),
        (image("data:image/png;base64,***"), "is not base64"),
        (image("data:image/png,hello"), "must be a `data:` URL"),
        (image("file:///etc/passwd"), "must be a `data:` URL"),
        (image(&large), "may have 6 MiB at most"),
        (audio("SUQz", "mp3"), "must be wav"),
        (audio("SUQz", "wav"), "says that it is WAV, and is not"),
    ];
    for (body, words) in cases {
        let error = read_json(&body).err().unwrap_or_else(|| panic!("{words}: accepted"));
        assert_eq!(error.status.as_u16(), 400);
        assert!(error.body()["error"]["message"].as_str().unwrap().contains(words), "{}", error.body());
    }
    let png = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let many = |count| json!({"messages": [{"role": "user", "content": vec![png.clone(); count]}]});
    assert!(read_json(&many(MEDIA_MAX)).is_ok());
    assert!(read_json(&many(MEDIA_MAX + 1)).is_err());
}

//! What servers are asked, field by field.
use serde_json::json;

use super::*;

fn request(prompt: Prompt) -> Request {
    Request {
        id: 7,
        prompt,
        form: AnswerForm::default(),
        sampling: SamplingParams { temperature: 0.7, top_k: 40, seed: Some(3), ..SamplingParams::GREEDY },
        resume: Vec::new(),
        answer_tokens_max: 512,
        context_tokens_max: 8192,
    }
}

fn talk() -> Conversation {
    Conversation::of_texts("You are Ezra.", ["What is 2 + 2?"])
}

fn body(request: &Request, told: &str) -> Value {
    Value::Object(generation("gemma", request, told).unwrap().body)
}

#[test]
fn a_chat_with_all_its_wishes() {
    let tool = Tool {
        name: "clock".to_owned(),
        description: "The time".to_owned(),
        parameters: r#"{"type":"object"}"#.to_owned(),
    };
    let mut conversation = Conversation { tools: vec![tool], thinking: true, ..talk() };
    let call = ToolCall {
        id: "call_1".to_owned(),
        name: "clock".to_owned(),
        arguments: r#"{"zone":"UTC"}"#.to_owned(),
    };
    let asks =
        Turn { calls: vec![call], thought: "I need the time".to_owned(), ..Turn::text(Role::Assistant, "") };
    let told = Turn { answers: "call_1".to_owned(), ..Turn::text(Role::Tool, "noon") };
    conversation.turns.extend([asks, told]);
    let form = AnswerForm {
        calls: CallRule::Named("clock".to_owned()),
        shape: Shape::JsonSchema(r#"{"type":"object"}"#.to_owned()),
        stop: vec!["END".to_owned()],
        logprobs: Some(3),
        bias: vec![(5, f32::NEG_INFINITY), (6, 1.5)],
        ..AnswerForm::default()
    };
    let request = Request { form, ..request(Prompt::Chat(conversation)) };
    let function = json!({ "name": "clock", "arguments": "{\"zone\":\"UTC\"}" });
    let expected = json!({
        "model": "gemma",
        "messages": [
            { "role": "system", "content": "You are Ezra." },
            { "role": "user", "content": "What is 2 + 2?" },
            { "role": "assistant", "content": "", "reasoning_content": "I need the time",
              "tool_calls": [{ "id": "call_1", "type": "function", "function": function }] },
            { "role": "tool", "content": "noon", "tool_call_id": "call_1" },
        ],
        "chat_template_kwargs": { "enable_thinking": true },
        "tools": [{ "type": "function", "function":
            { "name": "clock", "description": "The time", "parameters": { "type": "object" } } }],
        "parallel_tool_calls": false,
        "tool_choice": { "type": "function", "function": { "name": "clock" } },
        "logprobs": true, "top_logprobs": 3,
        "temperature": 0.7, "top_p": 1.0, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "repeat_penalty": 1.0, "repetition_penalty": 1.0, "top_k": 40, "seed": 3,
        "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 512,
        "stop": ["END"], "logit_bias": { "5": -100.0, "6": 1.5 },
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "answer", "schema": { "type": "object" }, "strict": true } },
    });
    assert_eq!(body(&request, ""), expected);
}

#[test]
fn an_answer_that_broke_off_is_gone_on_with() {
    let asked = body(&request(Prompt::Chat(talk())), "The answer");
    assert_eq!(asked["messages"][2], json!({ "role": "assistant", "content": "The answer" }));
    assert_eq!(asked["continue_final_message"], true);
    assert_eq!(asked["add_generation_prompt"], false);
    // One that began in the conversation itself stays one message.
    let mut begun = talk();
    begun.turns.push(Turn::text(Role::Assistant, "The"));
    let asked = body(&request(Prompt::Chat(begun)), " answer");
    assert_eq!(asked["messages"][2], json!({ "role": "assistant", "content": "The answer" }));
    assert_eq!(asked["messages"].as_array().unwrap().len(), 3);
    assert!(body(&request(Prompt::Chat(talk())), "").get("continue_final_message").is_none());
    assert_eq!(body(&request(Prompt::Text("Once".to_owned())), " upon")["prompt"], "Once upon");
}

#[test]
fn pictures_and_recordings_travel_with_their_kind() {
    let mut turn = Turn::text(Role::User, "What is this?");
    turn.content.push(Content::Image(b"\xff\xd8\xff\xe0".to_vec()));
    turn.content.push(Content::Audio(b"RIFF\0\0\0\0WAVE".to_vec()));
    let asked = body(&request(Prompt::Chat(Conversation { turns: vec![turn], ..talk() })), "");
    assert_eq!(
        asked["messages"][1]["content"],
        json!([
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,/9j/4A==" } },
            { "type": "input_audio", "input_audio": { "data": "UklGRgAAAABXQVZF", "format": "wav" } },
        ])
    );
}

#[test]
fn bare_texts_and_tokens() {
    let words = |text: &str| Stretch::Text(text.to_owned());
    let ask = |passage: Vec<Stretch>, told: &str| {
        generation("gemma", &request(Prompt::Passage(passage)), told).map(|ask| ask.body["prompt"].clone())
    };
    assert_eq!(ask(vec![words("Once "), words("upon")], " a"), Ok(json!("Once upon a")));
    assert_eq!(ask(vec![Stretch::Token(2), Stretch::Token(9)], ""), Ok(json!([2, 9])));
    assert_eq!(ask(vec![Stretch::Token(2), words("Once")], ""), Err(CannotAsk::Mixture));
    assert_eq!(ask(vec![Stretch::Token(2)], "Once"), Err(CannotAsk::Resume));
}

#[test]
fn what_cannot_be_asked_is_refused_and_not_left_out() {
    let refused = |form: AnswerForm, prompt: Prompt| {
        generation("gemma", &Request { form, ..request(prompt) }, "").unwrap_err()
    };
    let grammar = AnswerForm { shape: Shape::Grammar("root ::= \"a\"".to_owned()), ..AnswerForm::default() };
    assert_eq!(refused(grammar, Prompt::Chat(talk())), CannotAsk::Grammar);
    let logprobs = AnswerForm { logprobs: Some(0), ..AnswerForm::default() };
    assert_eq!(refused(logprobs, Prompt::Text("a".to_owned())), CannotAsk::Logprobs);
    let format = crate::engine::Inquiry::Format { conversation: talk() };
    assert_eq!(refused(AnswerForm::default(), Prompt::Inquiry(format)), CannotAsk::Tokens);
}

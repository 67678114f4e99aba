//! The OpenAI API of a real daemon with its real worker, over real sockets.
use std::io::Read;

use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::kit::TINY_ID;

#[test]
fn programs_that_speak_openais_language_are_answered() {
    let api = Api::start("()");
    let listed = api.raw("GET", "/v1/models", "", "").json();
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(names.contains(&TINY_ID) && names.contains(&"archon:ezra"), "{names:?}");
    assert_eq!(api.raw("GET", &format!("/v1/models/{TINY_ID}"), "", "").json()["id"], TINY_ID);
    assert_eq!(api.raw("GET", "/health", "", "").json(), json!({ "status": "ok" }));

    let whole = api.chat(&json!({})).json();
    let said = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(said, "Hello, I am Ezra.");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        whole["usage"]["total_tokens"],
        whole["timings"]["predicted_n"].as_u64().unwrap() + whole["usage"]["prompt_tokens"].as_u64().unwrap()
    );

    let stream = api.chat(&json!({ "stream": true, "stream_options": { "include_usage": true } }));
    assert!(stream.head.to_ascii_lowercase().contains("text/event-stream"), "{}", stream.head);
    let pieces = stream.pieces();
    let told = pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str());
    assert_eq!(told.collect::<String>(), said);
    let cost = &pieces.last().unwrap()["usage"];
    assert!(cost["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 0, "asked twice: {cost}");

    let archon = api.post(
        "/v1/chat/completions",
        &json!({ "model": "archon:ezra", "messages": [{ "role": "user", "content": "hello" }] }),
    );
    assert_eq!(archon.json()["choices"][0]["message"]["content"], "Hello, I am Ezra.");

    let completion = json!({ "model": TINY_ID, "prompt": "hello", "max_tokens": 5, "temperature": 0 });
    let completion = api.post("/v1/completions", &completion).json();
    assert!(
        completion["choices"][0]["text"].is_string() && completion["object"] == "text_completion",
        "{completion}"
    );
    let metrics = api.raw("GET", "/metrics", "", "").body;
    assert!(metrics.lines().any(|line| line.starts_with("archond_")), "{metrics}");
}

#[test]
fn answers_have_the_form_that_was_asked_for() {
    let api = Api::start("()");
    let stopped = api.chat(&json!({ "stop": ["Ezra"] })).json();
    assert_eq!(stopped["choices"][0]["message"]["content"], "Hello, I am ");
    let short = api.chat(&json!({ "max_tokens": 2 })).json();
    assert_eq!(
        (&short["choices"][0]["finish_reason"], &short["usage"]["completion_tokens"]),
        (&json!("length"), &json!(2))
    );
    let long = api.chat(&json!({ "ignore_eos": true })).json();
    assert_eq!(long["usage"]["completion_tokens"], 48);
    let likely = api.chat(&json!({ "logprobs": true, "top_logprobs": 3 })).json();
    let first = &likely["choices"][0]["logprobs"]["content"][0];
    assert_eq!(first["token"], first["top_logprobs"][0]["token"], "greedy takes the likeliest");
    assert_eq!(first["top_logprobs"].as_array().unwrap().len(), 3);
    assert!(first["logprob"].as_f64().unwrap() <= 0.0);

    let schema = json!({ "type": "object", "properties": { "colour": { "enum": ["teal", "red"] } }, "required": ["colour"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "c", "schema": schema } });
    let shaped = api.chat(&json!({ "response_format": format })).json();
    let shaped = shaped["choices"][0]["message"]["content"].as_str().unwrap();
    let shaped: Value = serde_json::from_str(shaped).unwrap_or_else(|error| panic!("{error}: {shaped}"));
    assert!(["teal", "red"].contains(&shaped["colour"].as_str().unwrap()), "{shaped}");

    let drawn =
        |seed: u32| api.chat(&json!({ "temperature": 1.5, "top_p": 1, "top_k": 0, "seed": seed })).body;
    let text = |body: &str| serde_json::from_str::<Value>(body).unwrap()["choices"].clone();
    assert_eq!(text(&drawn(7)), text(&drawn(7)));
}

#[test]
fn tools_are_called() {
    let api = Api::start("()");
    let parameters = json!({ "type": "object", "properties": { "expression": { "type": "string" } }, "required": ["expression"] });
    let tool = json!({ "type": "function", "function": { "name": "calculate", "description": "computes", "parameters": parameters } });
    let called = api.chat(&json!({ "tools": [tool], "tool_choice": "required", "max_tokens": 200 })).json();
    let choice = &called["choices"][0];
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&choice["finish_reason"], &call["function"]["name"]),
        (&json!("tool_calls"), &json!("calculate")),
        "{called}"
    );
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["expression"].is_string(), "{arguments}");
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let api = Api::start("(gateway: (body_max: \"64 KiB\"))");
    #[track_caller]
    fn check(reply: &Reply, status: u16, word: &str) {
        assert_eq!(reply.status, status, "{}", reply.body);
        let said = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.contains(word), "{said} says nothing of {word}");
    }
    check(&api.raw("POST", "/v1/chat/completions", "", "{"), 400, "JSON");
    check(&api.chat(&json!({ "model": "gpt-4o" })), 404, "gpt-4o");
    check(&api.chat(&json!({ "messages": "hello" })), 400, "messages");
    check(&api.chat(&json!({ "temperature": "hot" })), 400, "temperature");
    check(&api.chat(&json!({ "n": 9 })), 400, "from 1 to 8");
    check(&api.chat(&json!({ "n": 2, "model": "archon:ezra" })), 400, "answers once");
    let remote = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "http://10.0.0.1/x.png" } }] }]);
    check(&api.chat(&json!({ "messages": remote })), 400, "data:");
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "$ref": "#/$defs/missing" } } });
    check(&api.chat(&json!({ "response_format": schema })), 400, "missing");
    let long = json!([{ "role": "user", "content": "hello ".repeat(9_000) }]);
    let reply = api.chat(&json!({ "messages": long }));
    check(&reply, 400, "tokens");
    assert_eq!(reply.json()["error"]["type"], "exceed_context_size_error");
    check(&api.raw("POST", "/v1/chat/completions", "", &"x".repeat(70_000)), 413, "64 KiB");
    check(&api.raw("GET", "/v2/nothing", "", ""), 404, "");
    // And it answers all the same.
    assert_eq!(api.chat(&json!({})).status, 200);
}

#[test]
fn strangers_are_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let api = Api::start(&format!("(gateway: (key: \"file:{}\"))", key.display()));
    let status = |head: &str| api.raw("GET", "/v1/models", head, "").status;
    assert_eq!(status(""), 401);
    assert_eq!(status("Authorization: Bearer 0123456789abcdef0123456789abcdee\r\n"), 401);
    let right = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    assert_eq!(status(right), 200);
    // A page of a browser whose name was made to point here, and one that is elsewhere.
    assert_eq!(status(&format!("Host: evil.example\r\n{right}")), 403);
    assert_eq!(status(&format!("Origin: https://evil.example\r\n{right}")), 403);
    assert_eq!(api.raw("GET", "/health", "", "").status, 200);
    let output = api.house.run(&["logs"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("0123456789abcdef"), "the key is in the log");
}

#[test]
fn pages_that_are_allowed_can_read_what_they_are_told_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let settings =
        format!("(gateway: (key: \"file:{}\", origins: [\"https://chat.example\"]))", key.display());
    let api = Api::start(&settings);
    let asks =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-own\r\n";
    let has = |reply: &Reply, line: &str| reply.head.to_ascii_lowercase().lines().any(|one| one == line);
    let page = "Origin: https://chat.example\r\n";
    let before = api.raw("OPTIONS", "/v1/chat/completions", &format!("{page}{asks}"), "");
    assert_eq!(before.status, 204, "a browser has no key yet: {}", before.head);
    for line in [
        "access-control-allow-origin: https://chat.example",
        "access-control-allow-headers: authorization,x-own",
        "access-control-allow-methods: get, post",
        "vary: origin",
    ] {
        assert!(has(&before, line), "{line}: {}", before.head);
    }
    let refused = api.raw("GET", "/v1/models", page, "");
    assert_eq!(refused.status, 401, "the key is asked for all the same");
    assert!(has(&refused, "access-control-allow-origin: https://chat.example"), "{}", refused.head);
    let right = format!("{page}Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n");
    let answered = api.raw("GET", "/v1/models", &right, "");
    assert!(answered.status == 200 && has(&answered, "access-control-allow-origin: https://chat.example"));
    for stranger in ["https://evil.example", "null", "https://chat.example.evil.example"] {
        let refused =
            api.raw("OPTIONS", "/v1/chat/completions", &format!("Origin: {stranger}\r\n{asks}"), "");
        assert_eq!(refused.status, 403, "{stranger}");
        assert!(!refused.head.to_ascii_lowercase().contains("access-control"), "{}", refused.head);
    }
    let nobody = api.raw("OPTIONS", "/v1/models", asks, "");
    assert_eq!(nobody.status, 401, "who is no page asks as anybody");
}

#[test]
fn whoever_leaves_frees_his_slot() {
    let api = Api::start("(worker: (slots: 1))");
    let body = json!({
        "model": TINY_ID, "stream": true, "ignore_eos": true, "max_tokens": 3000,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let mut stream = api.connect(&api.request("POST", "/v1/chat/completions", "", &body.to_string()));
    let mut some = [0; 400];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    // The only slot: this one is answered as soon as the other is gone.
    assert_eq!(api.chat(&json!({})).json()["choices"][0]["message"]["content"], "Hello, I am Ezra.");
}

#[test]
fn a_crowd_is_answered_or_asked_to_come_again() {
    let api = Api::start("(gateway: (requests_max: 40))");
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..500)
            .map(|_| {
                std::thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, || api.chat(&json!({ "max_tokens": 4 })))
                    .unwrap()
            })
            .collect();
        asked.into_iter().map(|reply| reply.join().unwrap()).collect()
    });
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!(count(200) + count(429), 500);
    assert!(count(200) >= 8, "{} answered", count(200));
    let turned_away = replies.iter().filter(|reply| reply.status == 429);
    assert!(turned_away.into_iter().all(|reply| reply.head.to_ascii_lowercase().contains("retry-after")));
    assert_eq!(api.chat(&json!({})).status, 200, "and all slots are free again");
}

fn texts(reply: &Reply) -> Vec<(u64, String)> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body = reply.json();
    let text = |choice: &Value| {
        choice["text"].as_str().or_else(|| choice["message"]["content"].as_str()).map(str::to_owned)
    };
    let choices = body["choices"].as_array().unwrap().iter();
    choices.map(|choice| (choice["index"].as_u64().unwrap(), text(choice).unwrap())).collect()
}

#[test]
fn several_answers_to_one_request_are_told_side_by_side() {
    let api = Api::start("()");
    let warm =
        json!({ "temperature": 2, "top_p": 1, "top_k": 0, "seed": 11, "max_tokens": 12, "ignore_eos": true });
    let with = |more: Value| {
        let mut body = warm.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.chat(&body)
    };
    let three = with(json!({ "n": 3 }));
    let told = texts(&three);
    assert_eq!(told.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(told[0].1 != told[1].1 && told[1].1 != told[2].1, "each is drawn anew: {told:?}");
    let one = with(json!({}));
    let (one, three) = (one.json()["usage"].clone(), three.json()["usage"].clone());
    assert_eq!(three["prompt_tokens"], one["prompt_tokens"], "one prompt is one prompt");
    assert_eq!(three["completion_tokens"], json!(36));

    let streamed = || {
        let pieces =
            with(json!({ "n": 3, "stream": true, "stream_options": { "include_usage": true } })).pieces();
        assert_eq!(pieces.last().unwrap()["usage"]["completion_tokens"], json!(36));
        let mut streamed = vec![String::new(); 3];
        let mut ended = 0;
        for choice in pieces.iter().filter_map(|piece| piece["choices"].get(0)) {
            let index = choice["index"].as_u64().unwrap() as usize;
            streamed[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            ended += u32::from(choice["finish_reason"] == "length");
        }
        assert_eq!(ended, 3);
        streamed
    };
    // What is computed side by side is rounded by who else is there, so that once in a while one of them draws another word.
    let whole = || texts(&with(json!({ "n": 3 }))).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert!((0..4).any(|_| streamed() == whole()), "as if told whole: {:?}, {:?}", streamed(), whole());
}

#[test]
fn several_prompts_of_one_request_are_gone_on_with_in_their_order() {
    let api = Api::start("()");
    let complete = |prompt: Value, n: u32| {
        let body = json!({ "prompt": prompt, "n": n, "max_tokens": 4, "temperature": 0 });
        api.post("/v1/completions", &body)
    };
    let alone = |prompt: Value| texts(&complete(prompt, 1)).remove(0).1;
    let (text, tokens) = (json!("hello"), json!([5, 6, 7]));
    let both = texts(&complete(json!([text, tokens]), 2));
    let wanted = [alone(text.clone()), alone(text), alone(tokens.clone()), alone(tokens)];
    assert_eq!(both, (0..).zip(wanted).collect::<Vec<_>>());
    // More than there are slots; and they leave all of them free.
    assert_eq!(texts(&complete(json!(vec!["hello"; 16]), 2)).len(), 32);
    assert_eq!(complete(json!(vec!["hello"; 17]), 2).status, 400);
    assert_eq!(api.chat(&json!({})).status, 200);
}

#[test]
fn a_completion_has_all_that_was_written() {
    let api = Api::start("()");
    let system = "<|turn>system\n<|tool>declaration:clock{description:<|\"|>Returns the current time.<|\"|>}<tool|><turn|>\n";
    let prompt =
        format!("{system}<|turn>user\nwhat time is it?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>");
    let body = json!({ "prompt": prompt, "temperature": 0, "max_tokens": 32 });
    let said = api.post("/v1/completions", &body).json();
    let choice = &said["choices"][0];
    assert_eq!(choice["text"], "<|tool_call>call:clock{}<tool_call|>", "{said}");
    assert_eq!(choice["finish_reason"], "stop");
}

#[test]
fn a_tool_without_parameters_takes_none() {
    let api = Api::start("()");
    let tool = json!({ "type": "function", "function": { "name": "clock", "description": "Returns the current time." } });
    let asked = json!({ "messages": [{ "role": "user", "content": "what time is it?" }], "tools": [tool], "tool_choice": "required" });
    let called = api.chat(&asked).json();
    let call = &called["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("clock"), &json!("{}")), "{called}");
    let shown = api.post("/apply-template", &asked).json()["prompt"].as_str().unwrap().to_owned();
    assert!(shown.contains("clock{description:") && !shown.contains("parameters"), "{shown}");
}

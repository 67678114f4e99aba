//! What the API of a real daemon finds out without words: tokens, prompts, vectors. Models are named only where that is the point.
use std::io::Read;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::kit::{TINY_ID, TestHouse};

const HELLO: &str = "hello, été 東京 😀";

#[track_caller]
fn ids(reply: &Reply) -> Vec<i64> {
    let body = reply.json();
    let tokens = body["tokens"].as_array().unwrap_or_else(|| panic!("{body}"));
    tokens.iter().map(|token| token.as_i64().unwrap()).collect()
}

fn vectors(reply: &Reply) -> Vec<Vec<f64>> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body = reply.json();
    let data = body["data"].as_array().unwrap();
    let numbers =
        |entry: &Value| entry["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    for (index, entry) in data.iter().enumerate() {
        assert_eq!((&entry["index"], &entry["object"]), (&json!(index), &json!("embedding")));
    }
    data.iter().map(numbers).collect()
}

fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[test]
fn texts_become_tokens_and_come_back() {
    let api = Api::start("()");
    let tokens = ids(&api.post("/tokenize", &json!({ "content": HELLO })));
    let back = api.post("/detokenize", &json!({ "tokens": tokens })).json();
    assert_eq!(back, json!({ "content": HELLO }));
    let named = json!({ "model": TINY_ID, "content": HELLO, "add_special": true });
    let special = ids(&api.post("/v1/tokenize", &named));
    assert_eq!(special[1..], tokens, "one more, at the beginning");

    let told = api.post("/tokenize", &json!({ "content": HELLO, "with_pieces": true })).json();
    let mut bytes = Vec::new();
    for (told, id) in told["tokens"].as_array().unwrap().iter().zip(&tokens) {
        assert_eq!(told["id"], json!(id));
        match &told["piece"] {
            Value::String(text) => bytes.extend(text.as_bytes()),
            parts => bytes.extend(parts.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8)),
        }
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), HELLO);

    // The text of a mark is a mark, unless that is not wanted.
    let mark = |more: Value| {
        let mut body = json!({ "content": "<|turn>" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ids(&api.post("/tokenize", &body)).len()
    };
    assert!(mark(json!({})) == 1 && mark(json!({ "parse_special": false })) > 1);
    let mixed = json!({ "content": [tokens[0], HELLO] });
    assert_eq!(ids(&api.post("/tokenize", &mixed)), [&tokens[..1], &tokens[..]].concat());

    let completion = |prompt: Value| {
        let body = json!({ "prompt": prompt, "max_tokens": 8, "temperature": 0 });
        let whole = api.post("/v1/completions", &body).json();
        (whole["choices"][0]["text"].clone(), whole["usage"]["prompt_tokens"].clone())
    };
    assert_eq!(completion(json!(special)), completion(json!(HELLO)), "tokens are as good as their text");
}

#[test]
fn a_prompt_is_shown_and_counted_as_the_model_reads_it() {
    let api = Api::start("()");
    let messages = json!([
        { "role": "system", "content": "You are Ezra, a helpful assistant." },
        { "role": "user", "content": "hello" },
    ]);
    let body = json!({ "messages": messages });
    let shown = api.post("/apply-template", &body).json()["prompt"].as_str().unwrap().to_owned();
    assert!(shown.starts_with("<bos><|turn>system\nYou are Ezra") && shown.contains("hello"), "{shown}");
    let answered = api.chat(&json!({})).json();
    let counted = api.post("/v1/chat/completions/input_tokens", &body).json();
    assert_eq!(counted["input_tokens"], answered["usage"]["prompt_tokens"]);
    let tokens = ids(&api.post("/tokenize", &json!({ "content": shown })));
    assert_eq!(json!(tokens.len()), counted["input_tokens"], "as if it was tokenised in one");

    let tool = json!({ "type": "function", "function": { "name": "calculate", "description": "computes" } });
    let with_tool = api.post("/v1/apply-template", &json!({ "messages": messages, "tools": [tool] })).json();
    assert!(with_tool["prompt"].as_str().unwrap().contains("calculate"), "{with_tool}");
}

#[test]
fn passages_have_vectors() {
    let api = Api::start("()");
    let long = "rivers and stones and birds and rain ".repeat(40);
    let asked = json!({ "input": ["my dog is Rex", long, "my dog is Rex", [5, 6, 7], { "content": [
        { "type": "text", "text": "my dog " }, { "type": "text", "text": "is Rex" },
    ] }] });
    let reply = api.post("/v1/embeddings", &asked);
    let found = vectors(&reply);
    assert_eq!(found.len(), 5);
    for vector in &found {
        assert!((product(vector, vector) - 1.0).abs() < 1e-4);
    }
    assert!(product(&found[0], &found[2]) > 0.9999 && product(&found[0], &found[4]) > 0.9999);
    assert!(product(&found[0], &found[1]) < 0.999 && product(&found[0], &found[3]) < 0.999);
    let body = reply.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!(TINY_ID)));
    assert_eq!(body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]);
    assert!(body["usage"]["prompt_tokens"].as_u64().unwrap() > 300, "{}", body["usage"]);

    let coded = json!({ "input": "my dog is Rex", "encoding_format": "base64" });
    let coded = api.post("/v1/embeddings", &coded).json();
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(coded["data"][0]["embedding"].as_str().unwrap());
    let bytes = bytes.unwrap();
    let numbers = bytes.chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())));
    assert!(product(&found[0], &numbers.collect::<Vec<_>>()) > 0.9999);
    // And nobody's conversation is any other for it.
    assert_eq!(api.chat(&json!({})).json()["choices"][0]["message"]["content"], "Hello, I am Ezra.");
}

/// A number of the metrics' page.
fn metric(api: &Api, name: &str) -> u64 {
    let page = api.raw("GET", "/metrics", "", "").body;
    let start = format!("archond_{name}{{model=\"{TINY_ID}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{page}"));
    line.parse().unwrap()
}

/// Waits until so many slots of the model are taken.
fn until_used(api: &Api, slots: u64) {
    let is_so = (0..100_000).any(|_| metric(api, "model_slots_used") == slots);
    assert!(is_so, "never are {slots} slots taken");
}

#[test]
fn what_is_looked_up_needs_no_slot_and_vectors_leave_theirs_with_whoever_wanted_them() {
    let api = Api::start("(worker: (slots: 1))");
    let body = json!({
        "stream": true, "ignore_eos": true, "max_tokens": 3000, "messages": [{ "role": "user", "content": "hello" }],
    });
    let mut stream = api.connect(&api.request("POST", "/v1/chat/completions", "", &body.to_string()));
    let mut some = [0; 400];
    stream.read_exact(&mut some).unwrap();
    assert!(!ids(&api.post("/tokenize", &json!({ "content": HELLO }))).is_empty());
    drop(stream);
    until_used(&api, 0);

    let before = metric(&api, "model_prompt_tokens_total");
    let many = json!({ "input": vec!["rivers and stones and birds ".repeat(40); 900] }).to_string();
    let asked = api.connect(&api.request("POST", "/v1/embeddings", "", &many));
    until_used(&api, 1);
    drop(asked);
    until_used(&api, 0);
    let read = metric(&api, "model_prompt_tokens_total") - before;
    assert!(read < 900 * 500, "{read} tokens were read for nobody");
    assert_eq!(api.chat(&json!({})).json()["choices"][0]["message"]["content"], "Hello, I am Ezra.");
}

#[test]
fn bad_questions_are_told_what_is_wrong() {
    let api = Api::start("()");
    let long = "x".repeat((256 << 10) + 1);
    for (path, body, word) in [
        ("/tokenize", json!({}), "content"),
        ("/tokenize", json!({ "content": 5 }), "content"),
        ("/tokenize", json!({ "content": [1.5] }), "content"),
        ("/tokenize", json!({ "content": [-1] }), "-1"),
        ("/tokenize", json!({ "content": "x", "add_special": 1 }), "add_special"),
        ("/tokenize", json!({ "content": long }), "262144"),
        ("/tokenize", json!({ "content": "x", "model": "archon:ezra" }), "Archon"),
        ("/detokenize", json!({}), "tokens"),
        ("/detokenize", json!({ "tokens": "x" }), "tokens"),
        ("/detokenize", json!({ "tokens": [1, "x"] }), "tokens"),
        ("/detokenize", json!({ "tokens": [1, 99_999_999] }), "99999999"),
        ("/detokenize", json!({ "tokens": vec![1; 65_537] }), "65536"),
        ("/apply-template", json!({}), "messages"),
        ("/apply-template", json!({ "messages": [{ "role": "king", "content": "x" }] }), "role"),
        ("/v1/chat/completions/input_tokens", json!({ "messages": 5 }), "messages"),
        ("/v1/completions", json!({ "prompt": [] }), "prompt"),
        ("/v1/completions", json!({ "prompt": ["x", true] }), "prompt[1]"),
        ("/v1/completions", json!({ "prompt": vec!["x"; 33] }), "32"),
        (
            "/v1/completions",
            json!({ "prompt": { "prompt_string": "x", "multimodal_data": ["AA=="] } }),
            "multimodal",
        ),
        ("/v1/completions", json!({ "prompt": [99_999_999] }), "99999999"),
        ("/v1/embeddings", json!({}), "input"),
        ("/v1/embeddings", json!({ "input": [] }), "input"),
        ("/v1/embeddings", json!({ "input": "" }), "empty"),
        ("/v1/embeddings", json!({ "input": ["x", []] }), "empty"),
        ("/v1/embeddings", json!({ "input": true }), "input"),
        ("/v1/embeddings", json!({ "input": ["x", { "content": "x" }] }), "content"),
        ("/v1/embeddings", json!({ "input": vec!["x"; 2049] }), "2048"),
        ("/v1/embeddings", json!({ "input": vec![long.as_str(); 5] }), "1048576"),
        ("/v1/embeddings", json!({ "input": "rivers and stones ".repeat(900) }), "1024 fit"),
        ("/v1/embeddings", json!({ "input": "x", "encoding_format": "text" }), "encoding_format"),
        ("/v1/embeddings", json!({ "input": "x", "encoding_format": 1 }), "encoding_format"),
        ("/v1/embeddings", json!({ "input": "x", "dimensions": 8 }), "dimensions"),
        ("/v1/embeddings", json!({ "input": "x", "model": "archon:ezra" }), "Archon"),
    ] {
        api.refuses(path, &body, 400, word);
    }
    api.refuses("/v1/embeddings", &json!({ "input": "x", "model": "gpt-4o" }), 404, "gpt-4o");
    assert_eq!(api.raw("GET", "/v1/embeddings", "", "").status, 405);
    assert_eq!(
        vectors(&api.post("/v1/embeddings", &json!({ "input": "x" }))).len(),
        1,
        "it answers all the same"
    );
}

/// See `memory.rs`.
const EMBEDDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-embedder.gguf");

#[test]
fn an_embedding_model_reads_a_text_whole_and_has_no_words() {
    let house = TestHouse::new();
    let imported = house.run(&["model", "import", EMBEDDER]);
    assert!(imported.status.success(), "{imported:?}");
    let api = Api::of(house, "()");
    let named = |input: Value| json!({ "model": "tiny-embedder", "input": input });
    let together =
        vectors(&api.post("/v1/embeddings", &named(json!(["my dog", "dog my", "my cat", "my dog"]))));
    assert_eq!(together[0], together[3], "the same each time");
    for (at, text) in ["my dog", "dog my", "my cat"].iter().enumerate() {
        let alone = vectors(&api.post("/v1/embeddings", &named(json!(text))));
        assert!(product(&alone[0], &together[at]) > 0.9999, "{text}");
        assert!((product(&alone[0], &alone[0]) - 1.0).abs() < 1e-4, "{text}");
    }
    // It is the first token's vector, and that stands before all others: it knows of them only who reads in both directions.
    assert!(product(&together[0], &together[1]) < 0.9999 && product(&together[0], &together[2]) < 0.9999);
    api.refuses("/v1/embeddings", &named(json!("rivers and stones ".repeat(9))), 400, "64 fit");
    for (path, body) in [
        ("/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": "hello" }] })),
        ("/v1/completions", json!({ "prompt": "hello" })),
    ] {
        let mut body = body;
        body["model"] = json!("tiny-embedder");
        api.refuses(path, &body, 400, "computes vectors and answers nobody");
    }
    // Who names no model is not given this one.
    assert_eq!(api.chat(&json!({})).json()["choices"][0]["message"]["content"], "Hello, I am Ezra.");
}

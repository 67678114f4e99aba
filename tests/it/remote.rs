//! Two houses: one runs the model, the other one's Archons are answered by it over the API.
use serde_json::{Value, json};

use crate::api::Api;
use crate::kit::{TINY_ID, TestHouse, text};

/// The name of the other house's model in this one.
const FAR: &str = "far-gemma";

/// The settings of a house whose model another one runs.
fn settings(address: &str, more: &str) -> String {
    format!("(remotes: [(model: \"{FAR}\", url: \"http://{address}/v1\", name: \"{TINY_ID}\", {more})])")
}

fn house_without_model() -> TestHouse {
    let house = TestHouse::new();
    assert!(house.run(&["model", "rm", "--yes", TINY_ID]).status.success());
    ["ezra", "electra", "allegro", "bezalel"].iter().for_each(|name| house.write_profile_for(name, FAR));
    house
}

#[test]
fn the_model_of_another_house_answers_as_ones_own() {
    let far = Api::start("()");
    let near = Api::of(house_without_model(), &settings(&far.address, ""));
    let answer = near.house.client().chat("ezra", "1", "t", "hello");
    assert_eq!(answer.text, "Hello, I am Ezra.");

    // Over both APIs: streams, calls, shapes, vectors.
    let ask = |more: Value| {
        let mut body = json!({ "model": FAR });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        near.chat(&body)
    };
    let stream = ask(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let pieces = stream.pieces();
    let told: String =
        pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(told, "Hello, I am Ezra.");
    let here = &pieces.last().unwrap()["usage"];
    let there = &far.chat(&json!({})).json()["usage"];
    assert_eq!(here["prompt_tokens"], there["prompt_tokens"]);
    assert_eq!(here["completion_tokens"], there["completion_tokens"]);
    let schema = json!({ "type": "object", "properties": { "colour": { "enum": ["teal"] } }, "required": ["colour"], "additionalProperties": false });
    let shaped = ask(
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "c", "schema": schema } } }),
    );
    let shaped = shaped.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&shaped).unwrap(), json!({ "colour": "teal" }));
    let tool = json!({ "type": "function", "function": { "name": "clock", "parameters": { "type": "object", "properties": {} } } });
    let called = ask(json!({ "tools": [tool], "tool_choice": "required" })).json();
    assert_eq!(called["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "clock", "{called}");
    let likely = ask(json!({ "logprobs": true, "top_logprobs": 2 })).json();
    let first = &likely["choices"][0]["logprobs"]["content"][0];
    assert_eq!(first["top_logprobs"].as_array().unwrap().len(), 2, "{likely}");
    let vectors = json!({ "model": FAR, "input": ["one", "two"] });
    let (here, there) = (
        near.post("/v1/embeddings", &vectors).json(),
        far.post("/v1/embeddings", &json!({ "model": TINY_ID, "input": ["one", "two"] })).json(),
    );
    assert_eq!(here["data"].as_array().unwrap().len(), 2, "{here}");
    let numbers = |vectors: &Value| -> Vec<f64> {
        vectors["data"][1]["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap())
            .collect()
    };
    let difference =
        numbers(&here).iter().zip(numbers(&there)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(difference < 1e-3, "{difference}");

    // What it cannot do it says.
    near.refuses("/tokenize", &json!({ "model": FAR, "content": "a" }), 503, "on another server");
    let long = json!({ "model": FAR, "messages": [{ "role": "user", "content": "word ".repeat(20_000) }] });
    near.refuses("/v1/chat/completions", &long, 400, "tokens");

    // Seen as what it is: no process here.
    let status = near.house.client().status();
    let model = status.models.iter().find(|model| model.model == FAR).unwrap();
    assert_eq!((model.state.as_str(), model.pid), ("ready", None));
    assert_eq!(model.processor, Some(format!("http://{}", far.address)));
    let there = far.house.client().status();
    assert_eq!(there.models[0].processor.as_deref(), Some("100% CPU"));
    let doctor = near.house.run(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let row = doctor["checks"].as_array().unwrap().iter().find(|row| row["check"] == "remotes").unwrap();
    assert_eq!(row["state"], "ok", "{row:#}");
    assert!(row["finding"].as_str().unwrap().contains(&far.address), "{row:#}");
}

#[test]
fn a_server_that_goes_and_comes_back_is_gone_on_with() {
    let far = Api::start("()");
    let address = far.address.clone();
    let near = Api::of(house_without_model(), &settings(&address, ""));
    assert_eq!(near.house.client().chat("ezra", "1", "t", "hello").text, "Hello, I am Ezra.");
    // A message that comes while the server is away waits, and is answered when it is back.
    far.daemon.signal(rustix::process::Signal::TERM);
    assert!(far.daemon.wait(std::time::Duration::from_secs(60)));
    let mut client = near.house.client();
    let waiting = std::thread::spawn(move || client.chat("ezra", "2", "u", "hello").text);
    let listens = format!("(gateway: (address: {address:?}))");
    std::fs::write(far.house.path().join("config/archond.ron"), listens).unwrap();
    let back =
        far.house.command(&["start", "--no-chat", "ezra"]).env_remove("ARCHOND_GATEWAY_ADDRESS").output();
    let back = back.unwrap();
    assert!(back.status.success(), "{}", text(&back));
    let _ends_with_the_test = crate::kit::Daemon::of(far.house.client().status().pid);
    assert_eq!(waiting.join().unwrap(), "Hello, I am Ezra.");
}

#[test]
fn a_server_outside_ones_own_network_is_refused_before_anything_starts() {
    let house = TestHouse::new();
    let refused = |settings: &str, words: &str| {
        std::fs::write(house.path().join("config/archond.ron"), settings).unwrap();
        let output = house.run(&["start", "--no-chat", "ezra"]);
        assert_eq!(output.status.code(), Some(64), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
        assert!(!house.socket().exists());
    };
    refused(&settings("8.8.8.8:80", ""), "leads to 8.8.8.8, which is not in your own network");
    refused(&settings("169.254.169.254", ""), "which is never asked");
    refused(&settings("127.0.0.1:1", "key: \"secret\""), "a secret is not written into the settings");
    refused(&settings("127.0.0.1:1", "key: \"env:ARCHOND_NO_SUCH_KEY\""), "is to be in $ARCHOND_NO_SUCH_KEY");
    let open = format!(
        "(egress: [\"gpu.example.org\"], remotes: [(model: {FAR:?}, url: \"http://gpu.example.org\", key: \"env:KEY\")])"
    );
    refused(&open, "for everybody on the way to read");
}

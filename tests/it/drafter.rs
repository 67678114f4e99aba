//! A drafter beside a model, from the import to the worker of a real daemon.
use serde_json::json;

use crate::api::Api;
use crate::kit::{TINY, TestHouse, text};

/// A drafter for the tiny model; `tests/data/tiny-drafter.py` makes it.
const DRAFTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-drafter.gguf");
/// The tiny model with that drafter.
const DRAFTED: &str = "tiny-drafted";

/// A house with that model.
fn house() -> TestHouse {
    let house = TestHouse::new();
    let imported = house.run(&["model", "import", TINY, "--name", DRAFTED, "--drafter", DRAFTER]);
    assert!(imported.status.success(), "{}", text(&imported));
    house
}

/// What its model answers, and what the log says after that.
fn answer(house: TestHouse, settings: &str) -> (String, String) {
    let api = Api::of(house, settings);
    let system = json!({ "role": "system", "content": "You are Ezra, a helpful assistant." });
    let messages = json!([system, { "role": "user", "content": "hello" }]);
    let reply = api.chat(&json!({ "model": DRAFTED, "messages": messages }));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let said = reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(api.house.run(&["shutdown"]).status.success());
    (said, api.house.log())
}

#[test]
fn a_drafter_beside_its_model_guesses_along() {
    let house = house();
    let shown = house.run(&["model", "show", DRAFTED]);
    assert!(text(&shown).contains("tiny-drafted.drafter.gguf"), "{}", text(&shown));
    let verified = house.run(&["model", "verify", DRAFTED]);
    assert!(text(&verified).contains("tiny-drafted.drafter.gguf is sound"), "{}", text(&verified));
    let (said, log) = answer(house, "(log_level: \"debug\")");
    assert_eq!(said, "Hello, I am Ezra.");
    assert!(log.contains("a drafter guesses along"), "{log}");
    assert!(!log.contains("were left out"), "{log}");
}

#[test]
fn a_drafter_that_cannot_be_used_is_done_without() {
    let house = house();
    let file = house.path().join("data/models").join(DRAFTED).join("tiny-drafted.drafter.gguf");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..64].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let (said, log) = answer(house, "()");
    assert_eq!(said, "Hello, I am Ezra.");
    assert!(log.contains("the next tokens are guessed from the text alone"), "{log}");
}

#[test]
fn where_nothing_is_to_be_guessed_the_drafter_is_not_read() {
    let (said, log) = answer(house(), "(log_level: \"debug\", worker: (draft_max: 0))");
    assert_eq!(said, "Hello, I am Ezra.");
    assert!(log.contains("model-worker") && !log.contains("drafter guesses"), "{log}");
}

#[test]
fn what_is_no_drafter_of_the_model_is_not_imported() {
    let house = TestHouse::new();
    let wrong = house.run(&["model", "import", TINY, "--name", DRAFTED, "--drafter", TINY]);
    assert_eq!(wrong.status.code(), Some(65), "{}", text(&wrong));
    assert!(text(&wrong).contains("it is no drafter"), "{}", text(&wrong));
    let alone = house.run(&["model", "import", DRAFTER]);
    assert_eq!(alone.status.code(), Some(65), "{}", text(&alone));
    assert!(text(&alone).contains("--drafter"), "{}", text(&alone));
    assert_eq!(house.run(&["model", "show", DRAFTED]).status.code(), Some(66), "nothing was left");
}

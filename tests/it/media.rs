//! Pictures and recordings over the API of a real daemon: its worker decodes and encodes them in its sandbox.
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::kit::{TINY, TINY_ID, TestHouse, text};

/// A projector for the tiny model, of random numbers; `tests/data/tiny-mmproj.py` makes it.
pub(crate) const PROJECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-mmproj.gguf");
/// The tiny model with that projector.
pub(crate) const SEEING: &str = "tiny-seeing";
/// Two pictures of 48 by 48 pixels: squares and stripes.
pub(crate) const SQUARES: &str = "iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAIAAADYYG7QAAAAS0lEQVR42u3WsQ0AMAgDsJzO5+0DZawYMGJEwhMkp6lUPfv3fICAgNaBpha380BAQOtALjUQEJA85HUAAclDLjUQEJA85HUAAa0GXaNs84A7wjfnAAAAAElFTkSuQmCC";
const STRIPES: &str = "iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAIAAADYYG7QAAAAPUlEQVR42u3OMQ0AAAwCQfwrq6xaYGg6HWH+XFJsin92gICAgICAgICAgICAgICAgICAgICAgICAgICOOguAr4QuWG//3gAAAABJRU5ErkJggg==";
/// A head that promises 20000 by 15000 pixels, and nothing behind it.
const BOMB: &str = "iVBORw0KGgoAAAANSUhEUgAATiAAADqYCAIAAACCrLROAAAACElEQVR42gMAAAAAAW/dyZEAAAAASUVORK5CYII=";

fn show(api: &Api, model: &str, url: &str) -> Reply {
    let image = json!({ "type": "image_url", "image_url": { "url": url } });
    let words = json!({ "type": "text", "text": "hello" });
    let messages = json!([{ "role": "user", "content": [image, words] }]);
    api.chat(&json!({ "model": model, "messages": messages, "max_tokens": 8 }))
}

fn png(data: &str) -> String {
    format!("data:image/png;base64,{data}")
}

#[track_caller]
fn refused(reply: &Reply, words: &str) {
    assert_eq!(reply.status, 400, "{}", reply.body);
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(words), "{message}");
}

#[track_caller]
fn usage(reply: &Reply) -> (u64, u64) {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let usage: Value = reply.json()["usage"].clone();
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
    (usage["prompt_tokens"].as_u64().unwrap(), cached)
}

#[test]
fn pictures_are_answered_where_there_is_a_projector_and_refused_elsewhere() {
    let house = TestHouse::new();
    let wrong = house.run(&["model", "import", TINY, "--name", SEEING, "--projector", TINY]);
    assert_eq!(wrong.status.code(), Some(65), "{}", text(&wrong));
    assert!(text(&wrong).contains("it is no projector"), "{}", text(&wrong));
    let imported = house.run(&["model", "import", TINY, "--name", SEEING, "--projector", PROJECTOR]);
    assert!(imported.status.success(), "{}", text(&imported));
    let verified = house.run(&["model", "verify", SEEING]);
    assert!(text(&verified).contains("tiny-seeing.mmproj.gguf is sound"), "{}", text(&verified));
    let api = Api::of(house, "()");

    let (tokens, _) = usage(&show(&api, SEEING, &png(SQUARES)));
    assert!(tokens > 72, "a picture has 70 rows and two marks at least: {tokens}");
    let workers = api.daemon.worker_pids();
    let again = usage(&show(&api, SEEING, &png(SQUARES)));
    assert_eq!(again, (tokens, tokens - 1), "the same picture is known");
    let (_, cached) = usage(&show(&api, SEEING, &png(STRIPES)));
    assert!(cached < tokens - 70, "another picture is read anew: {cached} of {tokens}");

    refused(&show(&api, SEEING, &png(BOMB)), "PNG picture");
    refused(&show(&api, SEEING, &png(&SQUARES[..80])), "PNG picture cannot be read");
    refused(&show(&api, SEEING, &png("aGVsbG8=")), "says that it is PNG, and is not");
    refused(&show(&api, SEEING, &png("???")), "not base64");
    refused(&show(&api, SEEING, "https://example.com/a.png"), "nothing is fetched");
    refused(&show(&api, TINY_ID, &png(SQUARES)), "no projector on disk");
    let (_, cached) = usage(&show(&api, SEEING, &png(STRIPES)));
    assert!(cached > 70, "the worker lives, and knows what it knew: {cached}");
    assert_eq!(api.daemon.worker_pids(), workers, "nothing that was sent ended a worker");
}

#[test]
fn a_file_that_is_brought_to_the_terminal_is_shown_to_the_archon() {
    use base64::Engine as _;
    let house = TestHouse::new();
    let imported = house.run(&["model", "import", TINY, "--name", SEEING, "--projector", PROJECTOR]);
    assert!(imported.status.success(), "{}", text(&imported));
    house.write_profile_for("ezra", SEEING);
    let _daemon = house.start(&["ezra"]);
    let picture = house.path().join("squares.png");
    std::fs::write(&picture, base64::engine::general_purpose::STANDARD.decode(SQUARES).unwrap()).unwrap();
    let picture = picture.display().to_string();
    let answer = house.run(&["chat", "ezra", "-m", "hello", "--file", &picture]);
    assert!(answer.status.success(), "{}", text(&answer));
    let context = text(&house.run(&["chat", "ezra", "-m", "/context"]));
    assert!(context.contains("pictures and recordings"), "{context}");
    let missing = house.run(&["chat", "ezra", "-m", "hello", "--file", "/nowhere.png"]);
    assert!(!missing.status.success() && text(&missing).contains("cannot be attached"), "{}", text(&missing));
}

//! The tiny model alone and the whole house around it say the same: dialogues with tools, of every kind that the model was taught, asked over the
//! API as clients ask. `tests/data/tiny-gemma4-dialogues.md` says where they come from.
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::kit::TINY_ID;

/// One dialogue a line.
const DIALOGUES: &str = include_str!("../data/tiny-gemma4-dialogues.jsonl");
/// Dialogues that are held at once: as many as the worker has slots, so that they meet in its steps.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Dialogue {
    kind: String,
    tools: Vec<Value>,
    steps: Vec<Step>,
}

/// What is said, and what the model alone answers to it, greedily.
#[derive(Deserialize)]
struct Step {
    messages: Vec<Value>,
    answer: Answer,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Text(String),
    Call { name: String, arguments: Value },
}

fn answer(whole: &Value) -> Option<Answer> {
    let message = whole.get("choices")?.get(0)?.get("message")?;
    let Some(calls) = message.get("tool_calls") else {
        return Some(Answer::Text(message.get("content")?.as_str()?.to_owned()));
    };
    let [call] = calls.as_array()?.as_slice() else { return None };
    let function = call.get("function")?;
    let arguments = serde_json::from_str(function.get("arguments")?.as_str()?).ok()?;
    let is_all = message.get("content")?.is_null();
    is_all.then_some(Answer::Call { name: function.get("name")?.as_str()?.to_owned(), arguments })
}

/// What was answered otherwise than by the model alone.
fn differences(api: &Api, number: usize, dialogue: &Dialogue) -> Vec<String> {
    let (mut messages, mut differences) = (Vec::new(), Vec::new());
    for (at, step) in dialogue.steps.iter().enumerate() {
        messages.extend(step.messages.iter().cloned());
        let mut body = json!({ "model": TINY_ID, "messages": messages, "temperature": 0, "max_tokens": 400 });
        if !dialogue.tools.is_empty() {
            body["tools"] = json!(dialogue.tools);
        }
        let whole = api.post("/v1/chat/completions", &body).json();
        if answer(&whole).as_ref() != Some(&step.answer) {
            let (kind, wanted) = (&dialogue.kind, &step.answer);
            differences.push(format!("line {} step {at} ({kind}): {wanted:?}, not {whole}", number + 1));
        }
    }
    differences
}

#[test]
fn the_house_answers_as_its_model_does_alone() {
    let dialogues: Vec<Dialogue> =
        DIALOGUES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(dialogues.len() >= 160, "{} dialogues", dialogues.len());
    let (api, next) = (Api::start("(worker: (slots: 8))"), AtomicUsize::new(0));
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        Some((number, dialogues.get(number)?))
    };
    let hold = || {
        let mut differences = Vec::new();
        while let Some((number, dialogue)) = take() {
            differences.extend(self::differences(&api, number, dialogue));
        }
        differences
    };
    let differences: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(hold)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

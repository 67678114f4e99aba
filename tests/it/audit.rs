//! `archond audit hermes` against the real daemon: what it shows, and what it says when there is none.
use serde_json::Value;

use crate::kit::{TestHouse, text};

#[test]
fn each_answer_of_a_running_house_passed_the_harness_and_its_worker_is_named() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    assert_eq!(client.chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");
    client.chat("ezra", "2", "main", "/status");
    let output = house.run(&["audit", "hermes", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(audit["ok"], true);
    let files = audit["files"].as_array().unwrap();
    assert!(
        files.len() >= 4 && files.iter().all(|file| file["faults"] == serde_json::json!([])),
        "{files:?}"
    );
    let [answer, notice] = audit["answers"].as_array().unwrap().as_slice() else { panic!("{audit}") };
    let names = |answer: &Value| -> Vec<String> {
        let stations = answer["stations"].as_array().unwrap().iter();
        stations.map(|station| station["station"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(answer), ["inbox", "hermes", "harness", "session", "pool", "worker"]);
    assert_eq!(names(notice), ["inbox", "hermes", "harness"]);
    assert_eq!((&answer["speaker"], &notice["speaker"]), (&"model".into(), &"harness".into()));
    let pid = answer["stations"][5]["pid"].as_u64().unwrap();
    assert_eq!(daemon.worker_pids().into_iter().map(u64::from).collect::<Vec<_>>(), [pid]);

    let output = house.run(&["audit", "hermes"]);
    let shown = text(&output);
    for wanted in
        ["actors/src/hermes/actor.rs", "FORBIDDEN", "PASSED", "ezra/cli/", &format!("process {pid}")]
    {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!shown.contains("NO:"), "{shown}");
}

#[test]
fn without_a_daemon_the_text_is_examined_alone_and_that_is_said() {
    let house = TestHouse::new();
    let output = house.run(&["audit", "hermes"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(text(&output).contains("actors/src/hermes/dispatch.rs"), "{}", text(&output));
}

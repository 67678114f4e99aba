//! Memory from outside: notes by hand, over the daemon's death, and all of `archond memory`.
use serde_json::Value;

use crate::kit::{TestHouse, text};

/// Runs a command that must succeed, and returns what it said.
#[track_caller]
fn run(house: &TestHouse, args: &[&str]) -> String {
    let output = house.run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with this exit code, and returns its complaint.
#[track_caller]
fn refused(house: &TestHouse, args: &[&str], code: i32) -> String {
    let output = house.run(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
    String::from_utf8(output.stderr).unwrap()
}

fn json(house: &TestHouse, args: &[&str]) -> Value {
    serde_json::from_str(&run(house, args)).unwrap()
}

#[test]
fn a_note_outlives_the_daemon_and_is_listed_found_and_forgotten() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    let keep = r#"{"text": "My dog is called Rex.", "topic": "pets"}"#;
    assert_eq!(run(&house, &["tool", "call", "remember", keep]), "kept as note 1\n");
    // What was acknowledged is there, whatever comes next.
    daemon.kill();
    drop(daemon);
    let _daemon = house.start(&["ezra"]);
    assert_eq!(run(&house, &["tool", "call", "remember", keep]), "note 1 says that already\n");
    let recalled = run(&house, &["tool", "call", "recall", r#"{"query": "which dogs?"}"#]);
    assert!(
        recalled.contains("1. note 1 on pets, 20") && recalled.contains("My dog is called Rex."),
        "{recalled}"
    );
    house.client().chat("ezra", "1", "main", "what is your name?");
    let found = json(&house, &["memory", "search", "ezra", "your", "names", "--json"]);
    assert_eq!(found[0]["turn"]["answer"], "I am Ezra.", "{found}");
    let found = run(&house, &["memory", "search", "ezra", "name"]);
    assert!(found.contains("/main · turn 1 · 20") && found.contains("\n  ezra: I am Ezra.\n"), "{found}");
    assert_eq!(run(&house, &["memory", "search", "electra", "name"]), "nothing fits; try other words\n");

    let me = format!("cli/uid{}", rustix::process::getuid().as_raw());
    let listed = run(&house, &["memory", "list"]);
    assert!(listed.contains("pets") && listed.contains(&format!("ezra/{me}")), "{listed}");
    let notes = json(&house, &["memory", "list", "ezra", "--peer", &me, "--json"]);
    assert_eq!(
        (&notes[0]["note"], &notes[0]["text"]),
        (&1.into(), &"My dog is called Rex.".into()),
        "{notes}"
    );
    assert_eq!(
        json(&house, &["memory", "list", "ezra", "--peer", "cli/nobody", "--json"]),
        Value::Array(vec![])
    );
    assert!(run(&house, &["memory", "export", "ezra"]).contains("· pets: My dog is called Rex."));
    assert_eq!(json(&house, &["memory", "export", "ezra", "--json"]), notes);
    let chat = house.client().chat("ezra", "2", "main", "/memory").text;
    assert!(chat.contains("\n  1 pets: My dog is called Rex.\n"), "{chat}");

    let unasked = refused(&house, &["memory", "forget", "ezra", "1"], 2);
    assert!(unasked.contains("add --yes if you mean it"), "{unasked}");
    assert!(refused(&house, &["memory", "forget", "electra", "1", "--yes"], 66).contains("keeps no note 1"));
    assert_eq!(run(&house, &["memory", "forget", "ezra", "1", "--yes"]), "note 1 is forgotten\n");
    assert_eq!(json(&house, &["memory", "list", "--json"]), Value::Array(vec![]));

    let session = format!("ezra/{me}/main");
    run(&house, &["session", "rm", &session, "--yes"]);
    assert_eq!(run(&house, &["memory", "search", "ezra", "name"]), "nothing fits; try other words\n");
}

#[test]
fn what_memory_cannot_do_is_said() {
    let house = TestHouse::new();
    let away = refused(&house, &["tool", "call", "recall", r#"{"query": "x"}"#], 69);
    assert!(away.contains("archond start"), "{away}");
    let _daemon = house.start(&["ezra"]);
    let missing = refused(&house, &["tool", "call", "remember", "{}"], 1);
    assert!(missing.contains("missing field `text`"), "{missing}");
    let peer = refused(&house, &["memory", "list", "ezra", "--peer", "uid0"], 1);
    assert!(peer.contains("write channel/peer, like cli/uid1000"), "{peer}");
    let tools = run(&house, &["tool", "list"]);
    assert!(tools.contains("remember") && tools.contains("recall"), "{tools}");
}

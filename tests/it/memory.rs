//! Memory from outside: notes by hand, over the daemon's death, and all of `archond memory`.
use archond::admin::memory::{MemoryOp, MemoryReply};
use archond::admin::protocol::{Op, Reply};
use serde_json::Value;

use crate::kit::{TINY_ID, TestHouse, text};

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

/// Waits until so much is found by its meaning, and nothing waits for it.
#[track_caller]
fn until_indexed(house: &TestHouse, wanted: u64) {
    let mut client = house.client();
    let mut last = None;
    let is_so = (0..2_000_000).any(|_| {
        last = Some(client.ask(Op::Memory(MemoryOp::Indexed)).unwrap());
        let Some(Reply::Memory(MemoryReply::Indexed(indexed))) = &last else { panic!("{last:?}") };
        (indexed.with, indexed.without) == (wanted, 0)
    });
    assert!(is_so, "{last:?}");
}

#[test]
fn what_shares_no_word_with_the_question_is_found_by_its_meaning() {
    let house = TestHouse::new();
    let settings = house.path().join("config/archond.ron");
    std::fs::write(&settings, format!("(memory: (embedding: \"{TINY_ID}\"))")).unwrap();
    let daemon = house.start(&["ezra"]);
    let keep = |text: &str| run(&house, &["tool", "call", "remember", &format!(r#"{{"text": "{text}"}}"#)]);
    keep("rivers and stones and birds");
    until_indexed(&house, 1);
    // What is done is done, and what was said while nobody computed is taken up.
    keep("what is your name?");
    daemon.kill();
    drop(daemon);
    let daemon = house.start(&["ezra"]);
    until_indexed(&house, 2);
    house.client().chat("ezra", "1", "main", "what is your name?");
    until_indexed(&house, 3);
    let listed = run(&house, &["memory", "list"]);
    assert!(listed.contains(&format!("by meaning ({TINY_ID}): 3 of 3 notes and turns")), "{listed}");
    let far = json(&house, &["memory", "search", "ezra", "zeppelin", "--json"]);
    assert!(!far.as_array().unwrap().is_empty(), "{far}");
    let recalled = run(&house, &["tool", "call", "recall", r#"{"query": "zeppelin"}"#]);
    assert!(recalled.starts_with("Recalled, the best first."), "{recalled}");
    let near = json(&house, &["memory", "search", "ezra", "birds", "and", "rivers", "--json"]);
    assert_eq!(near[0]["note"]["text"], "rivers and stones and birds", "{near}");
    assert_eq!(json(&house, &["memory", "search", "electra", "birds", "--json"]), Value::Array(vec![]));

    run(&house, &["memory", "forget", "ezra", "1", "--yes"]);
    run(&house, &["memory", "forget", "ezra", "2", "--yes"]);
    until_indexed(&house, 1);
    run(
        &house,
        &["session", "rm", &format!("ezra/cli/uid{}/main", rustix::process::getuid().as_raw()), "--yes"],
    );
    until_indexed(&house, 0);
    assert_eq!(run(&house, &["memory", "search", "ezra", "zeppelin"]), "nothing fits; try other words\n");
    run(&house, &["shutdown"]);
    assert!(daemon.wait(std::time::Duration::from_secs(60)), "it does not end");
    let told = text(&house.run(&["doctor"]));
    assert!(told.contains("every page is sound"), "{told}");

    // Without a model it goes on by words.
    std::fs::write(&settings, "(memory: (embedding: \"none\"))").unwrap();
    let _daemon = house.start(&["ezra"]);
    keep("rivers and stones");
    assert_eq!(run(&house, &["memory", "search", "ezra", "zeppelin"]), "nothing fits; try other words\n");
    assert!(run(&house, &["memory", "search", "ezra", "stone"]).contains("rivers and stones"));
    assert!(run(&house, &["memory", "list"]).contains("with an embedding model also by meaning"));
}

/// An embedding model, untrained; `tests/data/tiny-embedder.py` makes it.
const EMBEDDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-embedder.gguf");

#[test]
fn an_embedding_model_is_used_as_soon_as_it_is_imported_and_answers_nobody() {
    let house = TestHouse::new();
    run(&house, &["model", "import", EMBEDDER]);
    let shown = run(&house, &["model", "show", "tiny-embedder"]);
    assert!(shown.contains("embedding"), "{shown}");
    let _daemon = house.start(&["ezra"]);
    let keep = |text: &str| run(&house, &["tool", "call", "remember", &format!(r#"{{"text": "{text}"}}"#)]);
    // Longer than the model reads at once, too: letter by letter.
    for text in ["listen to me", "rivers and stones", &"many words about birds and rain ".repeat(20)] {
        keep(text);
    }
    until_indexed(&house, 3);
    assert!(run(&house, &["memory", "list"]).contains("by meaning (tiny-embedder): 3 of 3"));
    let far = json(&house, &["memory", "search", "ezra", "zeppelin", "--json"]);
    assert!(!far.as_array().unwrap().is_empty(), "{far}");
    // The ordinary model is loaded, and goes on answering; the other one has no words.
    let answer = house.client().chat("ezra", "1", "main", "what is your name?").text;
    assert_eq!(answer, "I am Ezra.");
    run(&house, &["model", "rm", "tiny-embedder", "--yes"]);
}

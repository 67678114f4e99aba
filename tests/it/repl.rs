//! The operator's console against the real daemon: what it shows, what it does, and that it answers under load.
use std::io::Write;
use std::process::{Output, Stdio};

use archond::admin::protocol::{Op, Reply, TurnView};

use crate::kit::{TestHouse, text};

fn repl(house: &TestHouse, line: &str) -> String {
    let output = house.run(&["repl", "-c", line]);
    assert!(output.status.success(), "`{line}`: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(house: &TestHouse, line: &str) -> serde_json::Value {
    serde_json::from_str(&repl(house, &format!("{line} --json"))).unwrap()
}

fn refused(house: &TestHouse, line: &str) -> (Option<i32>, String) {
    let output = house.run(&["repl", "-c", line]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The one row of a table of actors that ends so.
fn state(house: &TestHouse, path: &str) -> String {
    let tree = json(house, "tree");
    let actor = tree.as_array().unwrap().iter().find(|actor| actor["path"] == path).cloned();
    actor.map_or_else(|| "absent".to_owned(), |actor| actor["state"].as_str().unwrap().to_owned())
}

#[test]
fn the_house_is_seen_and_its_actors_are_acted_on() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    assert_eq!(client.chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");

    let tree = repl(&house, "tree");
    for row in [
        "house  ",
        "├─ memory  ",
        "│  └─ tiny-gemma4#1  ",
        "│  └─ ezra  ",
        "│     └─ hermes  ",
        "└─ services",
    ] {
        assert!(tree.contains(row), "{row} is not in\n{tree}");
    }
    assert!(!tree.contains('\x1b'), "a pipe gets no colours");
    let session = json(&house, "sessions")[0]["session"].as_str().unwrap().to_owned();
    assert!(repl(&house, &format!("session {session}")).contains("turn 1 "));
    let inspected = json(&house, &format!("inspect {}#1", session.strip_prefix("ezra/").unwrap()));
    assert_eq!(inspected["facts"]["turns kept"], 1);
    assert!(!inspected.to_string().contains("Hello"), "{inspected}");
    assert!(json(&house, "pool")[0][0]["tokens"].as_u64().unwrap() > 3);
    assert!(repl(&house, "limits").contains("messages of ezra without an answer"));
    assert_eq!(json(&house, "inbox").as_array().unwrap().len(), 0);
    assert_eq!(json(&house, "outbox").as_array().unwrap().len(), 1, "nobody confirmed it");

    repl(&house, "suspend ezra/harness");
    assert_eq!(state(&house, "house/archons/ezra/harness"), "suspended");
    let (key, thread) = ("2".to_owned(), Some("main".to_owned()));
    client.send(Op::Chat { archon: "ezra".into(), text: "hello".into(), key, thread }).unwrap();
    while !matches!(client.receive().unwrap().reply, Reply::Turn(TurnView::Accepted { .. })) {}
    assert_eq!(json(&house, "inbox").as_array().unwrap().len(), 1);
    repl(&house, "resume ezra/harness");
    while !matches!(client.receive().unwrap().reply, Reply::Turn(TurnView::Ended(_))) {}

    repl(&house, "kill ezra/hermes");
    assert_eq!(client.chat("ezra", "3", "main", "hello").text, "Hello, I am Ezra.");
    let crashes = json(&house, "crashes");
    assert_eq!(
        (&crashes[0]["path"], &crashes[0]["cause"]),
        (&"house/archons/ezra/hermes".into(), &"killed".into())
    );
    assert!(repl(&house, "crash 1").contains("none: it did not panic"));
    repl(&house, "stop ezra/hermes");
    assert_eq!(state(&house, "house/archons/ezra/hermes"), "stopped");
    repl(&house, "restart ezra/hermes");
    assert_eq!(client.chat("ezra", "4", "main", "hello").text, "Hello, I am Ezra.");
    repl(&house, "kill pool/tiny-gemma4#1");
    assert_eq!(client.chat("ezra", "5", "main", "hello").text, "Hello, I am Ezra.");

    repl(&house, "set-log archond_actors debug");
    assert!(refused(&house, "set-log archond_actors loud").1.contains("off, error, warn"));
    for (line, word) in [
        ("inspect nobody", "`tree` shows all"),
        ("crash 99", "`crashes` shows all"),
        ("suspend house/archons", "never suspended"),
        ("stop house", "archond shutdown"),
        ("nonsense", "`help` lists"),
        ("session ezra/cli/x/y", "archond session list"),
    ] {
        let (code, said) = refused(&house, line);
        assert!(code != Some(0) && said.contains(word), "{line}: {code:?} {said}");
    }
}

#[test]
fn lines_may_be_piped_watched_and_traced() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let watched = repl(&house, "watch -n 0.2 -c 3 limits");
    assert_eq!(watched.matches("requests waiting in the pool").count(), 3);

    let mut child = house
        .command(&["repl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"ps\n\ntree pool\nquit\nnever read\n").unwrap();
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success() && said.contains("ARCHON") && said.contains("tiny-gemma4#1"), "{said}");

    let mut tracing = house
        .command(&["repl", "--json", "-c", "trace ezra/harness -s 2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = house.client();
    let mut number = 0;
    while tracing.try_wait().unwrap().is_none() {
        number += 1;
        client.chat("ezra", &number.to_string(), "main", "a secret");
    }
    let said = String::from_utf8(tracing.wait_with_output().unwrap().stdout).unwrap();
    let kinds: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(kinds.iter().any(|event| event["message"] == "dispatch"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn it_answers_while_the_house_has_far_too_much_to_do() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    // Ten times the turns that run at once; each asks again as soon as it is answered.
    let floods: Vec<_> = (0..80)
        .map(|client| {
            let mut flood = house.client();
            std::thread::spawn(move || {
                for number in 0..5 {
                    let (key, thread) = (format!("{client}-{number}"), format!("t{client}"));
                    assert_eq!(flood.chat("ezra", &key, &thread, "hello").text, "Hello, I am Ezra.");
                }
            })
        })
        .collect();
    let mut looks = house.client();
    for _ in 0..20 {
        let Reply::Inside(_) = looks.ask(Op::Inside(archond::admin::operator::InsideOp::Tree)).unwrap()
        else {
            panic!("no tree")
        };
    }
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    assert!(json(&house, "tree").as_array().unwrap().len() > 80);
    assert_eq!(json(&house, "inbox").as_array().unwrap().len(), 0, "each is answered");
}

//! An Archon that acts: the real model asks for tools, real processes do it, the owner is asked, and the answer comes over the terminal's channel.
use archond::admin::protocol::{Op, Reply, TurnView};

use crate::kit::{Client, TestHouse};

const LOOKS: &str = r#"tools: ["clock", "read_file"],"#;
const ASKS: &str = r#"tools: ["clock", "read_file"], permissions: (read: Ask),"#;

fn house(profile: &str) -> TestHouse {
    let house = TestHouse::new();
    house.write_profile("ezra", profile);
    let workspace = house.path().join("state/archons/ezra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
    house
}

/// Says something, and returns what was seen before the answer's end, and the answer.
fn say(client: &mut Client, key: &str, text: &str) -> (Vec<TurnView>, String) {
    begin(client, key, text);
    let mut seen = Vec::new();
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Ended(answer)) => return (seen, answer.text),
            Reply::Turn(view) => seen.push(view),
            other => panic!("{other:?}"),
        }
    }
}

fn begin(client: &mut Client, key: &str, text: &str) {
    let (archon, thread) = ("ezra".to_owned(), Some("main".to_owned()));
    client.send(Op::Chat { archon, text: text.to_owned(), key: key.to_owned(), thread }).unwrap();
}

fn calls(seen: &[TurnView]) -> Vec<(&str, &str)> {
    let mut calls = Vec::new();
    for view in seen {
        if let TurnView::CallBegun { tool, shown } = view {
            calls.push((tool.as_str(), shown.as_str()));
        }
    }
    calls
}

#[test]
fn the_model_calls_reads_and_answers() {
    let house = house(LOOKS);
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (seen, answer) = say(&mut client, "1", "what is your name?");
    assert_eq!((calls(&seen), answer.as_str()), (vec![], "I am Ezra."), "no tool where none is needed");
    let (seen, answer) = say(&mut client, "2", "read the file notes.txt");
    assert_eq!(calls(&seen), [("read_file", "read_file notes.txt")]);
    assert_eq!(answer, "notes.txt says: milk and honey");
    let (seen, answer) = say(&mut client, "3", "what time is it?");
    assert_eq!(calls(&seen), [("clock", "clock")]);
    assert!(answer.starts_with("It is 20"), "{answer}");
    let (seen, answer) = say(&mut client, "4", "read the file missing.txt");
    assert_eq!(calls(&seen), [("read_file", "read_file missing.txt")]);
    assert!(seen.iter().any(|view| matches!(view, TurnView::CallEnded { failed: true, .. })), "{seen:?}");
    assert!(answer.starts_with("The tool failed: there is no `missing.txt"), "{answer}");
    // What was called is part of the conversation, also after a restart, and most of it is not read again.
    let status = client.chat("ezra", "5", "main", "/status").text;
    let reused = status.split(" % of the last prompt reused").next().and_then(|s| s.rsplit(' ').next());
    assert!(reused.unwrap().parse::<u32>().unwrap() >= 75, "{status}");
}

#[test]
fn the_owner_sees_what_will_be_done_and_decides() {
    let house = house(ASKS);
    let _daemon = house.start(&["ezra"]);
    let (mut client, mut owner) = (house.client(), house.client());
    begin(&mut client, "1", "read the file notes.txt");
    wait_for_question(&mut client, "read_file notes.txt");
    let status = owner.chat("ezra", "2", "main", "/status").text;
    assert!(status.contains("waiting-approval"), "{status}");
    assert_eq!(owner.chat("ezra", "3", "main", "/approve").text, "I will: read_file notes.txt");
    assert_eq!(end(&mut client), "notes.txt says: milk and honey");
    begin(&mut client, "4", "read the file notes.txt");
    wait_for_question(&mut client, "read_file notes.txt");
    assert_eq!(owner.chat("ezra", "5", "main", "/deny").text, "I will not: read_file notes.txt");
    assert!(end(&mut client).starts_with("The tool failed: the owner said no"));
    let listed = owner.chat("ezra", "6", "main", "/tools").text;
    assert!(listed.contains("read_file (read, I ask you first)"), "{listed}");
}

#[test]
fn a_question_outlives_the_daemon() {
    let house = house(ASKS);
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    begin(&mut client, "1", "read the file notes.txt");
    wait_for_question(&mut client, "read_file notes.txt");
    daemon.kill();
    drop(daemon);
    let _daemon = house.start(&["ezra"]);
    let (mut client, mut owner) = (house.client(), house.client());
    // The same message again: it is known, and its turn goes on where it was.
    begin(&mut client, "1", "read the file notes.txt");
    loop {
        let text = owner.chat("ezra", &format!("try {}", client_time()), "main", "/approve").text;
        if text.starts_with("I will: ") {
            break;
        }
        assert_eq!(text, "I have not asked you for anything.");
    }
    assert_eq!(end(&mut client), "notes.txt says: milk and honey");
}

/// A key that no other message has.
fn client_time() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()
}

fn wait_for_question(client: &mut Client, wanted: &str) {
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::ApprovalWanted { shown, .. }) => return assert_eq!(shown, wanted),
            Reply::Turn(TurnView::Ended(answer)) => panic!("nobody was asked: {answer:?}"),
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn end(client: &mut Client) -> String {
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Ended(answer)) => return answer.text,
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_tool_of_ones_own_calculates_and_two_calls_follow_each_other() {
    let house = house(r#"tools: ["calculator", "clock"],"#);
    let tools = house.path().join("config/tools");
    std::fs::create_dir_all(&tools).unwrap();
    for file in ["calculator", "calculator.ron"] {
        let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tools").join(file);
        // Its rights come along.
        std::fs::copy(example, tools.join(file)).unwrap();
    }
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (seen, answer) = say(&mut client, "1", "what is 12 + 30?");
    assert_eq!(calls(&seen), [("calculator", r#"calculator {"expression":"12 + 30"}"#)]);
    assert_eq!(answer, "12 + 30 = 42.");
    let (seen, answer) = say(&mut client, "2", "what is 12 + 30? Also, what time is it?");
    assert_eq!(calls(&seen), [("calculator", r#"calculator {"expression":"12 + 30"}"#), ("clock", "clock")]);
    assert!(answer.starts_with("12 + 30 = 42.\nIt is 20"), "{answer}");
    let (seen, answer) = say(&mut client, "3", "calculate 5 / 0");
    assert_eq!(calls(&seen), [("calculator", r#"calculator {"expression":"5 / 0"}"#)]);
    assert!(answer.starts_with("The tool failed: division by zero"), "{answer}");
}

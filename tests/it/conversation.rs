//! From a start to a conversation that is kept, with the real model.
use archond::admin::protocol::{Op, Reply, TurnView};

use crate::kit::{TINY_ID, TestHouse, text};

#[test]
fn ezra_answers_streams_and_remembers_over_a_restart() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    client
        .send(Op::Chat { archon: "ezra".into(), text: "hello".into(), key: "k1".into(), thread: None })
        .unwrap();
    let mut streamed = String::new();
    let answer = loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Text { text }) => streamed.push_str(&text),
            Reply::Turn(TurnView::Ended(answer)) => break answer,
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((answer.text.as_str(), answer.kind.as_str()), ("Hello, I am Ezra.", "answer"));
    assert_eq!(streamed.trim_end(), answer.text);
    assert_eq!(answer.key, "k1");

    let noted = client.chat("ezra", "k2", "main", "my colour is teal");
    assert_eq!(noted.text, "Noted, your colour is teal.");
    drop(client);
    daemon.kill();
    drop(daemon);
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    assert_eq!(client.chat("ezra", "k3", "main", "what is my colour?").text, "Your colour is teal.");
    // A key that was answered before is answered with the same words, and not again.
    let again = client.chat("ezra", "k2", "main", "my colour is teal");
    assert_eq!((again.outbox, again.text), (noted.outbox, noted.text));
    // Another thread, another Archon: nothing is shared.
    let other = client.chat("ezra", "k4", "other", "what is my colour?").text;
    assert_eq!(other, "You have not told me your colour.");
    assert_eq!(client.ask(Op::StartArchon { archon: "electra".into() }).unwrap(), Reply::Done);
    let other = client.chat("electra", "k5", "main", "what is my colour?").text;
    assert_eq!(other, "You have not told me your colour.");
}

#[test]
fn commands_are_answered_past_the_model() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    client.chat("ezra", "1", "main", "my dog is Rex");
    let status = client.chat("ezra", "2", "main", "/status");
    assert_eq!(status.kind, "notice");
    assert!(status.text.contains(TINY_ID) && status.text.contains("1 turns"), "{}", status.text);
    assert!(client.chat("ezra", "3", "main", "/help").text.contains("/stop"));
    assert!(client.chat("ezra", "4", "main", "/whoami").text.contains("uid"));
    assert_eq!(client.chat("ezra", "5", "main", "/stop").text, "Nothing is running.");
    assert!(client.chat("ezra", "6", "main", "/frobnicate").text.contains("/help"));
}

#[test]
fn a_fresh_session_keeps_the_old_one() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let say = |text: &str, args: &[&str]| {
        let output = house.run(&[&["chat", "ezra", "-m", text], args].concat());
        assert!(output.status.success(), "{}", self::text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(say("my dog is Rex", &[]), "Noted, your dog is Rex.");
    assert_eq!(say("what is my dog?", &["--new"]), "You have not told me your dog.");
    assert_eq!(say("what is my dog?", &["--session", "main"]), "Your dog is Rex.");
    let list = house.run(&["session", "list", "--json"]);
    let sessions: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
}

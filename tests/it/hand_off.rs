//! A conversation that begins on Telegram and goes on at the terminal: the real daemon, the real tiny model, and a judge in Telegram's place.
use archond::admin::protocol::{AnswerView, Op, Reply, TurnView};

use crate::kit::{Client, TestHouse, text};
use crate::telegram_house::{joined, said, write};
use crate::telegram_kit::Judge;

const CHAT: i64 = 7;

/// Both places of one person.
struct Person<'a> {
    judge: &'a Judge,
    house: &'a TestHouse,
    /// What the bot has said so far.
    heard: usize,
    /// What was written at the terminal so far.
    typed: usize,
}

impl Person<'_> {
    fn on_telegram(&mut self, text: &str) -> String {
        write(self.judge, CHAT, text);
        self.heard += 1;
        said(self.judge, CHAT, self.heard)[self.heard - 1]["text"].as_str().unwrap().to_owned()
    }

    fn at_terminal(&mut self, text: &str) -> String {
        self.typed += 1;
        say(&mut self.house.client(), &format!("t{}", self.typed), text).unwrap().text
    }

    fn link(&mut self) {
        let offered = self.on_telegram("/link");
        let words: Vec<&str> = offered.split_whitespace().collect();
        let code = words.iter().skip_while(|word| !word.ends_with("/link")).nth(1).unwrap();
        let linked = self.at_terminal(&format!("/link {code}"));
        assert!(linked.starts_with("Linked with telegram/7."), "{linked}");
    }

    fn finds(&self, peer: &str, word: &str) -> usize {
        let output = self.house.run(&["memory", "search", "ezra", word, "--peer", peer, "--json"]);
        assert!(output.status.success(), "{}", text(&output));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        found.as_array().unwrap().len()
    }
}

/// In the thread that is current there.
fn say(client: &mut Client, key: &str, text: &str) -> std::io::Result<AnswerView> {
    client.send(Op::Chat { archon: "ezra".into(), text: text.into(), key: key.into(), thread: None })?;
    loop {
        match client.receive()?.reply {
            Reply::Turn(TurnView::Ended(answer)) => return Ok(answer),
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_conversation_from_telegram_goes_on_at_the_terminal_and_back_over_a_kill() {
    let Some(judge) = Judge::start() else { return };
    let house = joined(&judge);
    let daemon = house.start(&["ezra"]);
    let mut person = Person { judge: &judge, house: &house, heard: 0, typed: 0 };
    assert_eq!(person.on_telegram("my dog is Rex"), "Noted, your dog is Rex.");
    assert!(person.on_telegram("/handoff terminal").starts_with("This place is linked with no other"));
    person.link();
    assert!(person.on_telegram("/handoff").contains("terminal/uid"));
    let moved = person.on_telegram("/handoff terminal");
    assert!(moved.starts_with("Our conversation goes on in terminal/uid"), "{moved}");

    assert_eq!(person.at_terminal("what is my dog?"), "Your dog is Rex.");
    assert_eq!(person.on_telegram("what is my dog?"), "You have not told me your dog.");
    assert!(person.at_terminal("/export").contains("**You:** my dog is Rex"));
    assert!(!person.on_telegram("/sessions").contains("my dog is Rex"));
    let terminal = format!("cli/uid{}", rustix::process::geteuid().as_raw());
    assert_eq!((person.finds(&terminal, "Rex"), person.finds("telegram/7", "Rex")), (2, 0));

    daemon.kill();
    drop(daemon);
    let _daemon = house.start(&["ezra"]);
    assert!(
        person
            .at_terminal("/handoff telegram")
            .starts_with("Our conversation goes on in telegram/7: 2 turns")
    );
    assert_eq!(person.on_telegram("what is my dog?"), "Your dog is Rex.");
    assert_eq!(person.at_terminal("what is my dog?"), "You have not told me your dog.");
    judge.requests("");
}

#[test]
fn killed_in_the_middle_of_it_the_conversation_is_in_one_place() {
    let Some(judge) = Judge::start() else { return };
    let house = joined(&judge);
    let mut daemon = house.start(&["ezra"]);
    let mut person = Person { judge: &judge, house: &house, heard: 0, typed: 0 };
    assert_eq!(person.at_terminal("my dog is Rex"), "Noted, your dog is Rex.");
    person.link();
    for round in 0..8 {
        let mut client = house.client();
        let key = format!("k{round}");
        let command = if round % 2 == 0 { "/handoff telegram" } else { "/handoff from telegram" };
        client
            .send(Op::Chat { archon: "ezra".into(), text: command.into(), key: key.clone(), thread: None })
            .unwrap();
        // At the latest when it was answered; mostly when it is on its way.
        for _ in 0..round % 3 {
            drop(client.receive());
        }
        daemon.kill();
        daemon = house.start(&["ezra"]);
        let answer = say(&mut house.client(), &key, command).unwrap().text;
        assert!(answer.starts_with("Our conversation "), "round {round}: {answer}");
        let listed = house.run(&["session", "list", "--json"]);
        let sessions: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let place = if round % 2 == 0 { "ezra/telegram/7/" } else { "ezra/cli/" };
        assert_eq!(sessions.as_array().unwrap().len(), 1, "round {round}: {sessions}");
        assert!(sessions.to_string().contains(place), "round {round}: {sessions}");
    }
    assert_eq!(person.at_terminal("what is my dog?"), "Your dog is Rex.");
    drop(daemon);
}

//! The whole house on Telegram: the real daemon, the real tiny model, and a judge in Telegram's place.
use serde_json::{Value, json};

use crate::kit::{Daemon, TestHouse, text};
use crate::telegram_kit::{Judge, SECRET};

/// As the tiny model was taught to be told.
const SEND: &str = r#"Use the send_file tool: path="notes.txt""#;

/// A house whose Ezra has a bot, with person 7 as its owner and person 8 as somebody who may talk.
pub(crate) fn joined(judge: &Judge) -> TestHouse {
    let house = TestHouse::new();
    house.write_profile("ezra", r#"tools: ["send_file"], permissions: (message: Ask),"#);
    join(judge, &house);
    let workspace = house.path().join("state/archons/ezra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
    house
}

/// Gives a house's Ezra a bot.
pub(crate) fn join(judge: &Judge, house: &TestHouse) {
    let folder = house.path().join("config/channels/ezra");
    std::fs::create_dir_all(&folder).unwrap();
    let token = house.path().join("token");
    std::fs::write(&token, format!("123:{SECRET}")).unwrap();
    let file = format!(
        "(token: \"file:{}\", api: \"http://127.0.0.1:{}\", owners: [\"7\"], users: [\"8\"])",
        token.display(),
        judge.port
    );
    std::fs::write(folder.join("telegram.ron"), file).unwrap();
}

/// Waits until the bot has said so many messages in a chat.
pub(crate) fn said(judge: &Judge, chat: i64, count: usize) -> Vec<Value> {
    for _ in 0..600 {
        let said = judge.said(chat);
        if said.len() >= count {
            return said;
        }
        // tidy: polls a foreign process, which tells no one
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{} messages only: {:?}", judge.said(chat).len(), judge.texts(chat));
}

pub(crate) fn write(judge: &Judge, chat: i64, text: &str) {
    judge.write(&json!({"chat": chat, "user": chat, "text": text}));
}

#[test]
fn a_conversation_with_a_call_a_yes_by_button_and_a_file() {
    let Some(judge) = Judge::start() else { return };
    let house = joined(&judge);
    let daemon = house.start(&["ezra"]);
    write(&judge, 7, "what is your name?");
    let first = said(&judge, 7, 1);
    assert!(!first[0]["text"].as_str().unwrap().is_empty());
    write(&judge, 7, SEND);
    let asked = said(&judge, 7, 2)[1].clone();
    assert!(
        asked["reply_markup"].is_object() && asked["text"].as_str().unwrap().contains("notes.txt"),
        "{asked}"
    );
    judge.post("/_press", &json!({"chat": 7, "user": 7, "message": asked["message_id"], "data": "yes"}));
    // The yes is confirmed, the answer is said, and its file comes behind it.
    let all = said(&judge, 7, 5);
    let file =
        all.iter().find(|message| message["document"].is_object()).unwrap_or_else(|| panic!("{all:?}"));
    assert_eq!(
        (&file["document"]["file_name"], &file["document"]["file_size"]),
        (&json!("notes.txt"), &json!(15))
    );
    // A stranger gets a code, and no more.
    write(&judge, 9, "hello?");
    let code = said(&judge, 9, 1)[0]["text"].as_str().unwrap().to_owned();
    assert!(code.contains("archond pairing approve"), "{code}");
    // A group that is not listed, whoever writes there.
    judge.write(&json!({"chat": -200, "user": 7, "text": "@judge_bot PASSWORD of the group"}));
    // A command, and what the house shows of the channel.
    write(&judge, 7, "/whoami");
    said(&judge, 7, all.len() + 1);
    let shown = house.run(&["channel", "ls"]);
    assert!(text(&shown).contains("@judge_bot"), "{}", text(&shown));
    judge.requests("");
    drop(daemon);
    let log = house.log();
    assert!(!log.contains(SECRET) && !log.contains("PASSWORD") && !log.contains("hello?"), "{log}");
    assert_eq!(log.matches("was not heard").count(), 1, "{log}");
    assert_eq!(log.matches("a stranger has a code").count(), 1, "{log}");
    assert!(judge.said(-200).is_empty());
}

#[test]
fn the_owner_says_yes_in_his_own_chat_also_after_a_crash_or_on_the_machine() {
    let Some(judge) = Judge::start() else { return };
    let house = joined(&judge);
    let daemon = house.start(&["ezra"]);
    write(&judge, 8, SEND);
    let asked = said(&judge, 7, 1)[0]["text"].as_str().unwrap().to_owned();
    assert!(asked.contains("telegram/8 wants") && asked.contains("notes.txt"), "{asked}");
    assert!(judge.said(8).is_empty(), "nothing is asked of who may not decide");
    daemon.kill();
    let daemon = house.start(&["ezra"]);
    let again = said(&judge, 7, 2)[1]["text"].as_str().unwrap().to_owned();
    assert_eq!(again, asked, "the same call has the same name");
    let answer = |text: &str| {
        let at = text.find("/approve ").unwrap();
        text[at..].split(" or ").next().unwrap().to_owned()
    };
    write(&judge, 8, &answer(&asked));
    assert_eq!(said(&judge, 8, 1)[0]["text"], json!("Only my owner may decide that."));
    write(&judge, 7, &answer(&asked));
    assert!(said(&judge, 7, 3)[2]["text"].as_str().unwrap().starts_with("I will: "));
    let to_user = said(&judge, 8, 3);
    assert!(to_user.iter().any(|message| message["document"].is_object()), "{to_user:?}");

    write(&judge, 8, SEND);
    let second = said(&judge, 7, 4)[3]["text"].as_str().unwrap().to_owned();
    let call = answer(&second).split_once(' ').unwrap().1.to_owned();
    let listed = text(&house.run(&["approvals", "list"]));
    assert!(listed.contains(&call) && listed.contains("ezra/telegram/8/main"), "{listed}");
    let refused = house.run(&["approvals", "approve", "1.1.1"]);
    assert!(!refused.status.success() && text(&refused).contains("archond approvals"), "{}", text(&refused));
    let denied = text(&house.run(&["approvals", "deny", &call]));
    assert!(denied.contains("it is not done: ") && denied.contains("notes.txt"), "{denied}");
    said(&judge, 8, 4);
    assert!(text(&house.run(&["approvals", "list"])).contains("no call waits for a yes"));
    drop(daemon);
}

#[test]
fn killed_at_any_moment_it_answers_each_message_and_none_twice() {
    let Some(judge) = Judge::start() else { return };
    let house = joined(&judge);
    let mut daemon: Daemon = house.start(&["ezra"]);
    let mut written = 0;
    for round in 0..4 {
        for chat in [7] {
            for number in 0..2 {
                write(&judge, chat, &format!("message {round} {number}"));
                written += 1;
            }
        }
        if round % 2 == 0 {
            // While the first of them is being answered.
            said(&judge, 7, written - 1);
        }
        daemon.kill();
        daemon = house.start(&["ezra"]);
    }
    said(&judge, 7, written);
    write(&judge, 7, "/whoami");
    let all = said(&judge, 7, written + 1);
    // A kill between Telegram's yes and the mark in the store may repeat one message each time; more would be a fault.
    assert!(all.len() <= written + 1 + 4, "{:?}", judge.texts(7));
    drop(daemon);
}

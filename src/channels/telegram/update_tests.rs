//! Tables of updates as Telegram sends them, and what the house hears of each.
#![expect(clippy::needless_pass_by_value, reason = "the tables are written in place")]

use serde_json::{Value, json};

use super::*;

fn me() -> Identity {
    Identity { id: 123, username: "Ezra_bot".into() }
}

fn came(update: Value) -> Came {
    // As it comes: the library reads borrowed text.
    read(&serde_json::from_str(&update.to_string()).unwrap(), &me())
}

/// A message with these fields beside the usual ones.
fn message(fields: Value) -> Value {
    let mut message = json!({"message_id": 5, "date": 1_700_000_000, "chat": {"id": 7, "type": "private", "first_name": "A"},
        "from": {"id": 7, "is_bot": false, "first_name": "A", "username": "anna"}});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    json!({"update_id": 1, "message": message})
}

fn group(fields: Value) -> Value {
    let mut fields = fields;
    fields["chat"] = json!({"id": -100, "type": "supergroup", "title": "G", "is_forum": true});
    message(fields)
}

fn heard(update: Value) -> Option<Inbound> {
    match came(update) {
        Came::Message(inbound, _) => Some(*inbound),
        Came::Press(_) | Came::Nothing => None,
    }
}

fn text(update: Value) -> Option<String> {
    heard(update).map(|inbound| inbound.text)
}

#[test]
fn who_writes_is_known_by_numbers_alone() {
    let inbound = heard(message(json!({"text": "hello"}))).unwrap();
    assert_eq!(
        (inbound.key.as_str(), inbound.peer.as_str(), inbound.text.as_str()),
        ("123.7.5", "7", "hello")
    );
    assert_eq!((inbound.group, inbound.thread), (None, None));
    assert_eq!(inbound.waybill.reply_to.as_str(), "7 5");
    assert_eq!(inbound.waybill.written_unix_ms, Some(1_700_000_000_000));
    let topic = json!({"text": "@ezra_bot hello", "message_thread_id": 9, "is_topic_message": true});
    let inbound = heard(group(topic)).unwrap();
    assert_eq!(inbound.group.unwrap().as_str(), "-100");
    assert_eq!(
        (inbound.thread.unwrap().as_str(), inbound.waybill.reply_to.as_str()),
        ("topic-9", "-100 5 9")
    );
    assert_eq!(inbound.text, "hello");
    // A chain of answers is no topic.
    let inbound = heard(group(json!({"text": "@ezra_bot hello", "message_thread_id": 9}))).unwrap();
    assert_eq!((inbound.thread, inbound.waybill.reply_to.as_str()), (None, "-100 5"));
}

#[test]
fn only_people_are_heard() {
    for nobody in [
        message(
            json!({"text": "hi", "from": {"id": 9, "is_bot": true, "first_name": "B", "username": "b_bot"}}),
        ),
        group(
            json!({"text": "@ezra_bot hi", "from": {"id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"},
            "sender_chat": {"id": -100, "type": "supergroup", "title": "G"}}),
        ),
        group(
            json!({"text": "@ezra_bot hi", "from": {"id": 777_000, "is_bot": false, "first_name": "Telegram"}}),
        ),
        group(json!({"text": "@ezra_bot hi", "sender_chat": {"id": -200, "type": "channel", "title": "C"}})),
        group(json!({"new_chat_members": [{"id": 8, "is_bot": false, "first_name": "N"}]})),
        json!({"update_id": 4, "something_new": {"x": 1}}),
        json!({"update_id": 4, "message": {"x": 1}}),
    ] {
        assert_eq!(came(nobody.clone()), Came::Nothing, "{nobody}");
    }
}

#[test]
fn in_a_group_only_what_speaks_to_the_bot_is_heard() {
    let of_bot = json!({"message_id": 3, "date": 1, "chat": {"id": -100, "type": "supergroup", "title": "G"}, "text": "x",
        "from": {"id": 123, "is_bot": true, "first_name": "E", "username": "Ezra_bot"}});
    let mut of_other = of_bot.clone();
    of_other["from"]["id"] = json!(99);
    let table = [
        (json!({"text": "good morning all"}), None),
        (json!({"text": "@EZRA_BOT, what time is it?"}), Some("what time is it?")),
        (json!({"text": "what does @ezra_bot say?"}), Some("what does @ezra_bot say?")),
        (json!({"text": "@ezra_bot"}), Some("@ezra_bot")),
        (json!({"text": "@ezra_bots hi"}), None),
        (json!({"text": "mail@ezra_bot"}), None),
        (json!({"text": "yes", "reply_to_message": of_bot}), Some("yes")),
        (json!({"text": "yes", "reply_to_message": of_other}), None),
        (json!({"text": "/new"}), Some("/new")),
        (json!({"text": "/new@Ezra_Bot now"}), Some("/new now")),
        (json!({"text": "/new@other_bot now"}), None),
        (json!({"photo": [photo("s", 1)], "caption": "@ezra_bot what is this?"}), Some("what is this?")),
        (json!({"photo": [photo("s", 1)]}), None),
    ];
    for (fields, expected) in table {
        assert_eq!(text(group(fields.clone())).as_deref(), expected, "{fields}");
    }
}

fn photo(id: &str, width: u32) -> Value {
    json!({"file_id": id, "file_unique_id": id, "width": width, "height": width, "file_size": 9})
}

fn file(id: &str, more: Value) -> Value {
    let mut file = json!({"file_id": id, "file_unique_id": id, "file_size": 9, "duration": 1});
    for (name, value) in more.as_object().unwrap() {
        file[name] = value.clone();
    }
    file
}

#[test]
fn what_comes_along_is_named_or_told_in_words() {
    let table = [
        (
            json!({"photo": [photo("small", 90), photo("large", 900)], "caption": "look"}),
            "look",
            vec!["picture large photo.jpg"],
        ),
        (json!({"voice": file("V", json!({"mime_type": "audio/ogg"}))}), "", vec!["recording V voice.ogg"]),
        (
            json!({"audio": file("A", json!({"file_name": "song one.mp3", "mime_type": "audio/mpeg"}))}),
            "",
            vec!["recording A song one.mp3"],
        ),
        (
            json!({"document": file("D", json!({"file_name": "a b.pdf", "mime_type": "application/pdf"}))}),
            "",
            vec!["file D a b.pdf"],
        ),
        (json!({"document": file("D", json!({"mime_type": "image/png"}))}), "", vec!["picture D file"]),
        (json!({"location": {"latitude": 1.5, "longitude": 2.5}}), "[a place: 1.5, 2.5]", vec![]),
        (json!({"contact": {"phone_number": "1", "first_name": "x"}, "text": "x"}), "", vec![]),
    ];
    for (fields, said, enclosed) in table.iter().take(6) {
        let inbound = heard(message(fields.clone())).unwrap_or_else(|| panic!("{fields}"));
        assert_eq!(
            (inbound.text.as_str(), &inbound.enclosed),
            (*said, &enclosed.iter().map(ToString::to_string).collect()),
            "{fields}"
        );
    }
}

#[test]
fn commands_of_others_and_forwarded_ones_are_none() {
    let origin =
        json!({"type": "user", "date": 1, "sender_user": {"id": 9, "is_bot": false, "first_name": "M"}});
    let table = [
        (json!({"text": "/approve"}), Some("/approve")),
        (json!({"text": "/status@ezra_bot"}), Some("/status")),
        (json!({"text": "/status@other"}), None),
        (json!({"text": "/approve", "forward_origin": origin}), Some("[forwarded] /approve")),
        (json!({"text": "/usr/bin is a path"}), Some("/usr/bin is a path")),
    ];
    for (fields, expected) in table {
        assert_eq!(text(message(fields.clone())).as_deref(), expected, "{fields}");
    }
}

#[test]
fn a_press_says_what_whoever_pressed_would_have_written() {
    let of_bot = json!({"message_id": 3, "date": 1, "chat": {"id": -100, "type": "supergroup", "title": "G", "is_forum": true}, "text": "May I?",
        "message_thread_id": 9, "is_topic_message": true, "from": {"id": 123, "is_bot": true, "first_name": "E", "username": "Ezra_bot"}});
    let press = |data: &str| {
        json!({"update_id": 2, "callback_query": {"id": "77", "chat_instance": "1", "data": data, "message": of_bot,
            "from": {"id": 7, "is_bot": false, "first_name": "A"}}})
    };
    for (data, said) in [("yes", "/approve"), ("session", "/approve session"), ("no", "/deny")] {
        let Came::Press(pressed) = came(press(data)) else { panic!("{data}") };
        assert_eq!((pressed.inbound.text.as_str(), pressed.inbound.key.as_str()), (said, "123.press.77"));
        assert_eq!(
            (pressed.person.as_str(), pressed.place),
            ("7", Place { chat: -100, message: 3, topic: Some(9) })
        );
        assert_eq!(pressed.inbound.thread.as_ref().unwrap().as_str(), "topic-9");
    }
    assert_eq!(came(press("/shutdown")), Came::Nothing);
}

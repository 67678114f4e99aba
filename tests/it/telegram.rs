//! The Telegram channel before a judge that is not ours: what people write, how answers are said, shown and asked about.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use archond::channels::telegram::{WebhookSettings, probe};
use archond::settings::KeyReference;
use archond_actors::domain::{AnswerKind, EnclosureKind, Parcel, Question, Shown};
use archond_actors::ports::{Channel, Handed};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mcp_kit::until;
use crate::telegram_kit::{World, after, answer, attachment, checked, in_group};

#[tokio::test]
async fn what_is_written_is_confirmed_when_it_is_durable_and_comes_again_until_then() {
    let Some(world) = World::new() else { return };
    let first = world.received(&json!({"chat": 7, "user": 7, "text": "one"})).await;
    assert_eq!((first.key.as_str(), first.peer.as_str(), first.text.as_str()), ("123.7.1", "7", "one"));
    // It may be lost on our side, and comes again.
    world.bot.renew();
    assert_eq!(world.receive().await, std::slice::from_ref(&first));
    assert_eq!(world.judge.state()["updates"].as_array().unwrap().len(), 1);
    let second =
        world.received(&json!({"chat": -100, "user": 8, "text": "@judge_bot two", "topic": 3})).await;
    assert_eq!(second.session_peer().unwrap().as_str(), "8@-100");
    assert_eq!((second.thread.unwrap().as_str(), second.text.as_str()), ("topic-3", "two"));
    let state = world.judge.state();
    assert_eq!(state["updates"].as_array().unwrap().len(), 1, "the first is confirmed, the second is not");
    // What comes again out of order is brought into order, with the same keys.
    world.judge.post("/_repeat", &json!({"update_ids": [2, 1, 2]}));
    let keys: Vec<String> = world.receive().await.into_iter().map(|inbound| inbound.key).collect();
    assert_eq!(keys, ["123.7.1", "123.-100.2", "123.-100.2"]);
    // Where nobody speaks to the bot it hears nothing, and that is confirmed, too.
    world.judge.write(&json!({"chat": -100, "user": 8, "text": "good morning all"}));
    assert_eq!(world.receive().await, []);
    let commands = world.judge.state()["commands"].as_array().unwrap().len();
    assert!(commands >= 18 && world.bot.leads_to() == "@judge_bot", "{commands}");
    let polls = world.judge.requests("getupdates");
    assert_eq!((&polls[0]["params"]["limit"], &polls[0]["params"]["timeout"]), (&json!(50), &json!(25)));
    assert_eq!(polls[0]["params"]["allowed_updates"], json!(["message", "callback_query"]));
}

#[tokio::test]
async fn a_long_answer_comes_in_parts_and_a_crash_repeats_one_at_most() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "tell me"})).await;
    let paragraph = "**Bold** words & <tags> of a _long_ story, with `code`. ".repeat(20);
    let code = format!("```rust\n{}```", "let mut sum: Vec<u8> = Vec::new(); // & more\n".repeat(150));
    let text = format!("# A story\n\n{}\n\n{code}\n\n{paragraph}", [paragraph.as_str(); 6].join("\n\n"));
    let parcel = answer(&inbound, &text);
    let Handed::Step(receipt) = world.bot.deliver(parcel.clone()).await.unwrap() else {
        panic!("more than one part")
    };
    // A crash before the receipt of the second part is kept.
    let Handed::Step(_) = world.bot.deliver(after(&parcel, Some(receipt.clone()))).await.unwrap() else {
        panic!()
    };
    let steps = world.deliver(after(&parcel, Some(receipt))).await.unwrap();
    let texts = world.judge.texts(7);
    assert_eq!(texts.len(), steps + 2, "one part twice");
    assert_eq!(texts[1], texts[2]);
    assert!(texts.iter().all(|text| text.encode_utf16().count() <= 4096));
    let all = texts.concat();
    assert!(
        all.starts_with("A story") && all.contains("Bold words & <tags> of a long story, with code."),
        "{all}"
    );
    let sent = world.judge.requests("sendmessage");
    assert!(
        sent.iter().all(|request| request["params"]["parse_mode"] == "HTML" && request["error"].is_null())
    );
    assert!(sent.iter().all(|request| request["params"]["link_preview_options"]["is_disabled"] == true));
    let reopened = sent.iter().filter(|request| {
        request["params"]["text"].as_str().unwrap().contains("<pre><code class=\"language-rust\">let mut")
    });
    assert!(reopened.count() >= 2);
}

#[tokio::test]
async fn what_telegram_cannot_read_is_sent_once_more_without_styles() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&in_group("hello")).await;
    world.judge.post(
        "/_fail",
        &json!({"method": "sendMessage", "code": 400, "description": "Bad Request: can't parse entities: x"}),
    );
    assert_eq!(world.deliver(answer(&inbound, "**a** < b")).await, Ok(1));
    assert_eq!(world.judge.texts(-100), ["a < b"]);
    let sent = world.judge.requests("sendmessage");
    assert_eq!((sent.len(), &sent[1]["params"]["parse_mode"]), (2, &json!(null)));
    // In a group it shows what it answers.
    assert_eq!(sent[1]["params"]["reply_parameters"]["message_id"], 1);
    // The house's own words have no styles.
    let help = Parcel { kind: AnswerKind::Notice, ..answer(&inbound, "  /new   **not bold**") };
    assert_eq!(world.deliver(help).await, Ok(1));
    assert_eq!(world.judge.texts(-100)[1], "/new   **not bold**");
}

#[tokio::test]
async fn alone_with_a_person_drafts_show_how_the_answer_comes() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "hi"})).await;
    let to = answer(&inbound, "");
    let show = |shown| world.bot.show(to.clone(), shown);
    assert_eq!(show(Shown::Working).await.unwrap(), None);
    assert_eq!(show(Shown::Text("one **two".into())).await.unwrap(), None);
    assert_eq!(show(Shown::Text("one **two** three".into())).await.unwrap(), None, "too soon, and left out");
    tokio::time::timeout(Duration::from_millis(1100), std::future::pending::<()>()).await.unwrap_err();
    show(Shown::Text("one **two** three four".into())).await.unwrap();
    let drafts = world.judge.state()["drafts"].as_array().unwrap().clone();
    let texts: Vec<&str> = drafts.iter().filter_map(|draft| draft["text"].as_str()).collect();
    assert_eq!(texts, ["one **two …", "one two three four …"]);
    assert_eq!(drafts[0]["draft"], drafts[1]["draft"]);
    assert_eq!(world.deliver(answer(&inbound, "one **two** three four")).await, Ok(1));
    assert_eq!(world.judge.texts(7), ["one two three four"]);
    assert_eq!(world.judge.requests("sendchataction").len(), 1);
}

#[tokio::test]
async fn in_a_group_a_message_shows_it_and_becomes_the_answer() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&in_group("hi")).await;
    let mut to = answer(&inbound, "");
    let (began, mut text) = (Instant::now(), String::new());
    let mut shown_at = Vec::new();
    while began.elapsed() < Duration::from_secs(9) {
        text.push_str("word ");
        let receipt = world.bot.show(to.clone(), Shown::Text(text.clone())).await.unwrap();
        if receipt.is_some() {
            (to.receipt, shown_at) = (receipt, vec![began.elapsed()]);
        }
        let _next = tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await;
    }
    assert!(shown_at[0] >= Duration::from_secs(2), "{shown_at:?}");
    let edits = world.judge.requests("editmessagetext");
    let times: Vec<f64> = edits.iter().map(|edit| edit["time"].as_f64().unwrap()).collect();
    assert!(
        (1..=3).contains(&times.len()) && times.windows(2).all(|pair| pair[1] - pair[0] >= 3.9),
        "{times:?}"
    );
    let done = after(&answer(&inbound, "the **end**"), to.receipt.clone());
    assert_eq!(world.deliver(done.clone()).await, Ok(1));
    // It is done and was not marked: nothing is seen of the second time.
    assert_eq!(world.deliver(done.clone()).await, Ok(1));
    assert_eq!(world.judge.texts(-100), ["the end"]);
    // Somebody deleted it.
    let message = world.judge.said(-100)[0]["message_id"].clone();
    world.judge.post("/_delete", &json!({"chat": -100, "message": message}));
    assert_eq!(world.deliver(done).await, Ok(1));
    assert_eq!(world.judge.texts(-100), ["the end"]);
}

#[tokio::test]
async fn where_there_are_no_drafts_a_message_does_it() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "hi"})).await;
    world.judge.post(
        "/_fail",
        &json!({"method": "sendMessageDraft", "code": 404, "description": "Not Found", "times": 9}),
    );
    let to = world.shown(answer(&inbound, ""), "words").await;
    assert_eq!(world.judge.texts(7), ["words …"]);
    assert_eq!(world.judge.requests("sendmessagedraft").len(), 1, "it is not asked for again and again");
    assert_eq!(world.deliver(after(&answer(&inbound, "all words"), to.receipt)).await, Ok(1));
    assert_eq!(world.judge.texts(7), ["all words"]);
}

#[tokio::test]
async fn the_owner_is_asked_with_buttons_and_each_question_is_decided_once() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&in_group("do it")).await;
    let to = answer(&inbound, "");
    let asked = |what: &str| Shown::Asked(question(what));
    let receipt = world.bot.show(to.clone(), asked("rm -r ~/a")).await.unwrap();
    let first = world.judge.said(-100)[0].clone();
    assert!(
        first["text"].as_str().unwrap().contains("rm -r ~/a") && first["reply_markup"].is_object(),
        "{first}"
    );
    let receipt = world.bot.show(after(&to, receipt), asked("rm -r ~/b")).await.unwrap();
    let said = world.judge.said(-100);
    assert!(said[0]["reply_markup"].is_null(), "the older one has no buttons any more");
    let press = |user: i64, message: &serde_json::Value, data: &str| {
        world.judge.post(
            "/_press",
            &json!({"chat": -100, "user": user, "message": message["message_id"], "data": data}),
        )
    };
    press(7, &said[0], "yes");
    press(8, &said[1], "yes");
    press(7, &said[1], "session");
    let messages = world.receive().await;
    let heard: Vec<(&str, &str)> =
        messages.iter().map(|message| (message.peer.as_str(), message.text.as_str())).collect();
    assert_eq!(heard, [("7", "/approve session")]);
    assert!(world.judge.requests("answercallbackquery").is_empty(), "nothing is said before it is durable");
    // It was not durable, and comes again.
    world.bot.renew();
    let again = world.receive().await;
    assert_eq!(again.iter().map(|message| &message.key).collect::<Vec<_>>(), [&messages[0].key]);
    press(7, &said[1], "no");
    assert_eq!(world.receive().await, [], "a second tap decides nothing");
    let answered = world.judge.requests("answercallbackquery");
    assert_eq!(answered.len(), 3);
    assert!(world.judge.said(-100)[1]["reply_markup"].is_null());
    assert_eq!(world.deliver(after(&answer(&inbound, "done"), receipt)).await, Ok(1));
    assert_eq!(world.judge.texts(-100).last().unwrap(), "done");
    // Who writes his decision needs no buttons.
    let receipt = world.bot.show(to, asked("rm -r ~/c")).await.unwrap();
    assert!(receipt.is_some() && world.judge.said(-100)[3]["reply_markup"].is_object());
    assert_eq!(world.received(&json!({"chat": -100, "user": 7, "text": "/deny"})).await.text, "/deny");
    world.received(&json!({"chat": -100, "user": 7, "text": "/status"})).await;
    assert!(world.judge.said(-100)[3]["reply_markup"].is_null());
}

fn question(what: &str) -> Question {
    Question {
        call: "12.1.1".into(),
        tool: "shell".into(),
        shown: what.into(),
        why: "the profile asks".into(),
        timeout_s: 300,
        elsewhere: None,
    }
}

#[tokio::test]
async fn the_owner_is_asked_in_his_own_chat_about_somebody_elses_turn() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "do it"})).await;
    world.bot.show(answer(&inbound, ""), Shown::Asked(question("mine"))).await.unwrap();
    let owner = "7".parse().unwrap();
    let to = Parcel { reply_to: world.bot.chat_with(&owner).unwrap(), ..answer(&inbound, "") };
    let of_another =
        Question { elsewhere: Some("ezra/nostr/8".parse().unwrap()), ..question("cat <b>x</b>") };
    assert_eq!(world.bot.show(to, Shown::Asked(of_another)).await, Ok(None));
    let said = world.judge.said(7);
    let text = said[1]["text"].as_str().unwrap();
    assert!(text.starts_with("nostr/8 wants something of me") && text.contains("cat <b>x</b>"), "{text}");
    assert!(text.contains("/approve 12.1.1 or /deny 12.1.1") && said[1]["reply_markup"].is_null(), "{text}");
    assert!(said[0]["reply_markup"].is_object(), "his own question is still open");
    for nobody in ["-100", "@maria", "0"] {
        let chat = nobody.parse().ok().and_then(|person| world.bot.chat_with(&person));
        assert_eq!(chat, None, "{nobody}");
    }
}

#[tokio::test]
async fn who_asks_for_the_models_gets_buttons_that_choose_one() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "/model"})).await;
    let answer = Parcel { kind: AnswerKind::Notice, ..answer(&inbound, "gemma-4-e4b answers.") };
    world.deliver(answer).await.unwrap();
    let said = world.judge.said(7)[0].clone();
    let rows = said["reply_markup"]["inline_keyboard"].as_array().unwrap().clone();
    let names: Vec<&str> = rows.iter().map(|row| row[0]["text"].as_str().unwrap()).collect();
    assert_eq!(names, ["gemma-4-e4b", "gemma-4-e2b", "auto"]);
    let press = |data: &serde_json::Value| {
        world
            .judge
            .post("/_press", &json!({"chat": 7, "user": 7, "message": said["message_id"], "data": data}));
    };
    // A press says what a person would write; what no button said is nothing.
    press(&json!("model gemma-4-e4b\n/approve"));
    press(&rows[1][0]["callback_data"]);
    let texts: Vec<String> = world.receive().await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["/model gemma-4-e2b"]);
    assert!(world.judge.said(7)[0]["reply_markup"].is_object(), "they stay");
    // Other answers have none.
    let other = world.received(&json!({"chat": 7, "user": 7, "text": "/model auto"})).await;
    world.deliver(crate::telegram_kit::answer(&other, "The profile chooses.")).await.unwrap();
    assert!(world.judge.said(7)[1]["reply_markup"].is_null());
}

/// The smallest PNG picture there is.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82";

#[tokio::test]
async fn files_come_in_and_go_out() {
    let Some(world) = World::new() else { return };
    let source = world.folder.path().join("source.bin");
    std::fs::write(&source, PNG).unwrap();
    for (kind, expected, name) in [
        ("photo", EnclosureKind::Picture, "photo.jpg"),
        ("voice", EnclosureKind::Recording, "voice.ogg"),
        ("document", EnclosureKind::File, "source.bin"),
    ] {
        let inbound =
            world.received(&json!({"chat": 7, "user": 7, "text": "look", "file": source, "as": kind})).await;
        assert_eq!((inbound.text.as_str(), inbound.enclosed.len()), ("look", 1));
        let kept = world.bot.fetch(&inbound.enclosed[0]).await.unwrap();
        assert_eq!((kept.kind, kept.name.as_str(), kept.bytes), (expected, name, PNG.len() as u64));
    }
    let gone = checked(world.bot.fetch("picture F99 x").await).unwrap_err();
    assert!(gone.to_string().contains("invalid file_id"), "{gone}");

    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "send"})).await;
    for (name, bytes) in [("a.png", PNG), ("b.png", b"no picture"), ("c.txt", b"milk"), ("d.ogg", b"sound")] {
        std::fs::write(world.workspace(name), bytes).unwrap();
    }
    let mut parcel = answer(&inbound, "here");
    parcel.attachments = vec![
        attachment("a.png", PNG, "image/png"),
        attachment("b.png", b"no picture", "image/png"),
        attachment("c.txt", b"milk", "text/plain"),
        attachment("c.txt", b"MILK", "text/plain"),
        attachment("d.ogg", b"sound", "audio/ogg"),
        attachment("../token", b"x", "text/plain"),
    ];
    assert_eq!(world.deliver(parcel).await, Ok(7));
    let said = world.judge.said(7);
    assert!(said[1]["photo"].is_array() && said[1]["caption"] == "this is a.png", "{said:?}");
    assert_eq!(said[2]["document"]["file_name"], "b.png", "what is no picture is a file");
    assert_eq!(
        (&said[3]["document"]["file_name"], &said[3]["document"]["file_size"]),
        (&json!("c.txt"), &json!(4))
    );
    assert_eq!(said[4]["text"], "I wanted to send `c.txt`, but it was changed since.");
    assert!(said[5]["voice"].is_object());
    assert_eq!(said[6]["text"], "I wanted to send `../token`, but it is not there any more.");
    world.judge.requests("");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_answered_when_the_update_is_durable() {
    let Some(mut world) = World::new() else { return };
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(world.folder.path().join("secret"), "a-word-of-sixteen-letters").unwrap();
    let secret = KeyReference::File(world.folder.path().join("secret"));
    world.with_webhook(WebhookSettings {
        listen,
        url: "https://bot.example.org/telegram".parse().unwrap(),
        secret,
    });
    let world = Arc::new(world);
    let mut polls = JoinSet::new();
    let receive = |polls: &mut JoinSet<_>| {
        let bot = world.bot.clone();
        polls.spawn(async move { bot.receive(None).await.unwrap().messages });
    };
    let write = |text: &'static str| {
        let world = world.clone();
        tokio::task::spawn_blocking(move || world.judge.write(&json!({"chat": 7, "user": 7, "text": text})))
    };
    receive(&mut polls);
    until("the webhook is set", || !world.judge.state()["webhook"].is_null()).await;
    assert_eq!(world.judge.state()["webhook"]["secret"], "a-word-of-sixteen-letters");
    world.judge.post("/_set", &json!({"webhook_to": format!("http://{listen}/telegram")}));
    let first = write("one");
    assert_eq!(polls.join_next().await.unwrap().unwrap()[0].text, "one");
    assert!(!first.is_finished(), "nobody is told before it is durable");
    receive(&mut polls);
    assert_eq!(first.await.unwrap()["webhook_status"], 200);
    let second = write("two");
    assert_eq!(polls.join_next().await.unwrap().unwrap()[0].text, "two");
    world.bot.renew();
    assert_eq!(second.await.unwrap()["webhook_status"], 503, "it is to come again");
    for (secret, status) in
        [("", 401), ("a-word-of-sixteen-letterz", 401), ("a-word-of-sixteen-letters", 400)]
    {
        assert_eq!(knock(listen, secret), status, "{secret}");
    }
}

/// The status of an answer to a stranger.
fn knock(listen: SocketAddr, secret: &str) -> u16 {
    let mut stream = TcpStream::connect(listen).unwrap();
    write!(stream, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-telegram-bot-api-secret-token: {secret}\r\ncontent-length: 2\r\n\r\nno").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn whoever_sets_a_bot_up_is_told_who_it_is() {
    let Some(world) = World::new() else { return };
    let facts = probe(&world.settings()).await.unwrap();
    assert_eq!(
        (facts.id, facts.username.as_str(), facts.can_read_all_groups, facts.webhook),
        (123, "judge_bot", false, None)
    );
    assert!(world.judge.state()["commands"].is_null(), "nothing is changed");
    world.judge.post("/_set", &json!({"token": "123:other"}));
    let error = probe(&world.settings()).await.unwrap_err();
    assert!(error.contains("does not know the bot's token") && !error.contains("AAF7"), "{error}");
}

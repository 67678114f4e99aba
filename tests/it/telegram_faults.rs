//! The Telegram channel when things go wrong: what each failure means to the house, and that none of them says the token.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use archond::channels::telegram::TelegramSettings;
use archond_actors::domain::{OutboxId, Parcel, Shown};
use archond_actors::ports::{Channel, ChannelFault, Handed};
use serde_json::{Value, json};

use crate::telegram_kit::{AMPLE, World, after, answer, attachment, bot, checked, in_group};

fn fail(method: &str, code: u16, description: &str) -> Value {
    json!({"method": method, "code": code, "description": description})
}

#[tokio::test]
async fn each_failure_is_one_of_four_kinds() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "hi"})).await;
    let parcel = answer(&inbound, "hello");
    let deliver = async || checked(world.bot.deliver(parcel.clone()).await).unwrap_err();

    let mut limited = fail("sendMessage", 429, "Too Many Requests: retry after 7");
    limited["retry_after"] = json!(7);
    world.judge.post("/_fail", &limited);
    assert_eq!(deliver().await, ChannelFault::Limited { after: Duration::from_secs(7), everywhere: false });
    for (code, description) in [
        (403, "Forbidden: bot was blocked by the user"),
        (400, "Bad Request: chat not found"),
        (403, "Forbidden: user is deactivated"),
    ] {
        world.judge.post("/_fail", &fail("sendMessage", code, description));
        let ChannelFault::Refused { reason } = deliver().await else { panic!("{description}") };
        assert!(!reason.is_empty());
    }
    // Telegram's trouble. The library waits ten seconds before it says so.
    world.judge.post("/_fail", &fail("sendMessage", 502, "Bad Gateway"));
    let trouble = deliver().await;
    assert!(matches!(trouble, ChannelFault::Transient { .. }), "{trouble:?}");
    // It is done, and nobody learns of it. A word of the channel itself has no receipt, and may come twice.
    world.judge.post("/_fail", &json!({"method": "sendMessage", "lose": true}));
    let lost = deliver().await;
    assert!(matches!(lost, ChannelFault::Transient { .. }), "{lost:?}");
    assert_eq!(world.judge.texts(7), ["hello"]);
    let place = answer(&inbound, "x");
    let nowhere = checked(world.bot.deliver(Parcel { reply_to: Default::default(), ..place }).await);
    assert!(matches!(nowhere, Err(ChannelFault::Refused { .. })));
}

#[tokio::test]
async fn what_was_shown_is_not_doubled_where_an_answer_is_lost() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&in_group("hi")).await;
    let to = world.shown(answer(&inbound, ""), "he").await;
    let parcel = after(&answer(&inbound, "hello"), to.receipt);
    world.judge.post("/_fail", &json!({"method": "editMessageText", "lose": true}));
    assert!(matches!(world.bot.deliver(parcel.clone()).await, Err(ChannelFault::Transient { .. })));
    assert_eq!(world.deliver(parcel).await, Ok(1));
    assert_eq!(world.judge.texts(-100), ["hello"]);
}

#[tokio::test]
async fn what_was_sent_before_a_crash_or_a_lost_reply_is_found_and_not_sent_again() {
    let Some(world) = World::new() else { return };
    std::fs::write(world.workspace("notes.txt"), "milk and honey").unwrap();
    let long = format!("*first* {}", "and more words ".repeat(400));
    for (number, lost) in ["sendMessage", "sendDocument"].into_iter().enumerate() {
        let inbound = world.received(&json!({"chat": 7, "user": 7, "text": "hi"})).await;
        let mut parcel = Parcel { outbox: Some(OutboxId(1)), ..answer(&inbound, &long) };
        parcel.attachments = vec![attachment("notes.txt", b"milk and honey", "text/plain")];
        // The second part, or the file.
        let before = world.judge.said(7).len();
        let mut steps = 0;
        while world.judge.said(7).len() < before + 1 + number {
            let Handed::Step(receipt) = world.bot.deliver(parcel.clone()).await.unwrap() else {
                panic!("{steps}")
            };
            parcel.receipt = Some(receipt);
            steps += 1;
        }
        let Handed::Step(receipt) = world.bot.deliver(parcel.clone()).await.unwrap() else {
            panic!("an intent")
        };
        parcel.receipt = Some(receipt);
        world.judge.post("/_fail", &json!({"method": lost, "lose": true}));
        assert!(matches!(world.bot.deliver(parcel.clone()).await, Err(ChannelFault::Transient { .. })));
        // Others write and are answered meanwhile; what they have is not touched.
        let other = world.received(&json!({"chat": 8, "user": 8, "text": "hi"})).await;
        world.deliver(answer(&other, "yours")).await.unwrap();
        // In the same life, and in the next one.
        let next = if number == 0 { world.bot.clone() } else { bot(&world.folder, &world.settings()) };
        while let Handed::Step(receipt) = checked(next.deliver(parcel.clone()).await).unwrap() {
            parcel.receipt = Some(receipt);
        }
        let said = world.judge.said(7);
        let [first, second, file] = &said[before..] else { panic!("{said:?}") };
        assert!(first["text"].as_str().unwrap().starts_with("first and"), "{first}");
        let words = [first, second].map(|part| part["text"].as_str().unwrap().matches("words").count());
        assert_eq!(words[0] + words[1], 400);
        assert_eq!(file["document"]["file_name"], "notes.txt");
    }
    assert_eq!(world.judge.texts(8), ["yours", "yours"]);
}

#[tokio::test]
async fn what_others_of_a_group_are_answered_is_not_taken_for_an_answer() {
    let Some(world) = World::new() else { return };
    let mut parcels = Vec::new();
    for user in [7, 8] {
        let inbound = world.received(&json!({"chat": -100, "user": user, "text": "@judge_bot hi"})).await;
        let parcel = Parcel { outbox: Some(OutboxId(1)), ..answer(&inbound, "hello") };
        let Handed::Step(receipt) = world.bot.deliver(parcel.clone()).await.unwrap() else {
            panic!("an intent")
        };
        parcels.push(after(&parcel, Some(receipt)));
    }
    // Both are under way, one is sent, and nobody learns of it.
    world.judge.post("/_fail", &json!({"method": "sendMessage", "lose": true}));
    assert!(world.bot.deliver(parcels[1].clone()).await.is_err());
    let next = bot(&world.folder, &world.settings());
    for parcel in parcels {
        let mut parcel = parcel;
        while let Handed::Step(receipt) = checked(next.deliver(parcel.clone()).await).unwrap() {
            parcel.receipt = Some(receipt);
        }
    }
    let said = world.judge.said(-100);
    let answered: std::collections::BTreeSet<i64> =
        said.iter().map(|message| message["_answers"].as_i64().unwrap()).collect();
    assert_eq!((said.len(), answered.len()), (2, 2), "{said:?}");
    assert!(said.iter().all(|message| message["reply_markup"].is_null() && message["text"] == "hello"));
}

#[tokio::test]
async fn what_was_shown_before_a_crash_becomes_the_answer() {
    let Some(world) = World::new() else { return };
    let inbound = world.received(&in_group("hi")).await;
    let mut to = answer(&inbound, "");
    world.judge.post("/_fail", &json!({"method": "sendMessage", "lose": true}));
    while world.judge.texts(-100).is_empty() {
        // The receipt of what was shown is lost with the reply.
        to.receipt = world.bot.show(to.clone(), Shown::Text("he".into())).await.ok().flatten().or(to.receipt);
        let _next = tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await;
    }
    let next = bot(&world.folder, &world.settings());
    let parcel = Parcel { outbox: Some(OutboxId(1)), ..after(&answer(&inbound, "hello"), to.receipt) };
    assert_eq!(next.deliver(parcel).await, Ok(Handed::Whole));
    assert_eq!(world.judge.texts(-100), ["hello"]);
}

#[tokio::test]
async fn two_chats_that_are_limited_at_once_are_a_limit_for_all() {
    let Some(world) = World::new() else { return };
    let mut faults = Vec::new();
    for chat in [7, 8] {
        let inbound = world.received(&json!({"chat": chat, "user": chat, "text": "hi"})).await;
        let mut limited = fail("sendMessage", 429, "Too Many Requests: retry after 30");
        limited["retry_after"] = json!(30);
        world.judge.post("/_fail", &limited);
        faults.push(checked(world.bot.deliver(answer(&inbound, "hello")).await).unwrap_err());
        // Nothing is shown there meanwhile.
        assert_eq!(world.bot.show(answer(&inbound, ""), Shown::Working).await, Ok(None));
    }
    let of = |everywhere| ChannelFault::Limited { after: Duration::from_secs(30), everywhere };
    assert_eq!(faults, [of(false), of(true)]);
    assert!(world.judge.requests("sendchataction").is_empty());
}

#[tokio::test]
async fn only_the_owner_can_help_where_the_token_is_wrong_or_used_elsewhere() {
    let Some(world) = World::new() else { return };
    world.received(&json!({"chat": 7, "user": 7, "text": "hi"})).await;
    let barred = async || match checked(world.bot.receive(None).await) {
        Err(ChannelFault::Barred { detail }) => detail,
        other => panic!("{other:?}"),
    };
    world.judge.post("/_fail", &fail("getUpdates", 409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"));
    assert!(barred().await.contains("another program receives"));
    world.judge.post("/_fail", &fail("getUpdates", 409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"));
    assert!(barred().await.contains("webhook"));
    world.judge.post("/_set", &json!({"token": "123:the-new-one"}));
    assert!(barred().await.contains("does not know the bot's token"));
    // The owner puts the new one into its place, and nothing is started anew.
    std::fs::write(world.folder.path().join("token"), "123:the-new-one").unwrap();
    assert_eq!(world.received(&json!({"chat": 7, "user": 7, "text": "again"})).await.text, "again");
    std::fs::remove_file(world.folder.path().join("token")).unwrap();
    world.bot.renew();
    assert!(barred().await.contains("the bot's token cannot be read"));
    std::fs::write(world.folder.path().join("token"), "a token").unwrap();
    assert!(barred().await.contains("@BotFather"));
}

#[tokio::test]
async fn a_poll_that_hangs_is_given_up_and_loses_nothing() {
    let Some(world) = World::new() else { return };
    world.received(&json!({"chat": 7, "user": 7, "text": "one"})).await;
    world.judge.post("/_fail", &json!({"method": "getUpdates", "hang": true}));
    world.judge.write(&json!({"chat": 7, "user": 7, "text": "two"}));
    let hanging = tokio::time::timeout(Duration::from_millis(500), world.bot.receive(None)).await;
    assert!(hanging.is_err());
    world.bot.renew();
    let messages = world.receive().await;
    assert_eq!(messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["two"]);
}

/// Passes connections on to the judge, until it forgets those that there are, without a word to either side.
struct Router {
    port: u16,
    /// Connections from before this number are forgotten.
    forgotten: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Router {
    fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Self { port, forgotten: Arc::default(), connections: Arc::default() };
        let (forgotten, connections) = (router.forgotten.clone(), router.connections.clone());
        std::thread::spawn(move || {
            for inner in listener.incoming().flatten() {
                let outer = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst);
                for (mut from, mut into) in
                    [(inner.try_clone().unwrap(), outer.try_clone().unwrap()), (outer, inner)]
                {
                    let forgotten = forgotten.clone();
                    std::thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(length @ 1..) = from.read(&mut bytes) {
                            let passes = number >= forgotten.load(Ordering::SeqCst);
                            if passes && into.write_all(&bytes[..length]).is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        router
    }

    fn forget(&self) {
        self.forgotten.store(self.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn connections_that_a_router_forgot_are_not_used_again() {
    let Some(world) = World::new() else { return };
    let router = Router::new(world.judge.port);
    let api = format!("http://127.0.0.1:{}", router.port).parse().unwrap();
    let bot = bot(&world.folder, &TelegramSettings { api, ..world.settings() });
    world.judge.write(&json!({"chat": 7, "user": 7, "text": "one"}));
    let inbound = bot.receive(None).await.unwrap().messages.remove(0);
    bot.deliver(answer(&inbound, "hello")).await.unwrap();
    router.forget();
    let stuck = tokio::time::timeout(Duration::from_secs(1), bot.deliver(answer(&inbound, "lost"))).await;
    assert!(stuck.is_err(), "{stuck:?}");
    bot.renew();
    let fresh = tokio::time::timeout(AMPLE, bot.deliver(answer(&inbound, "there"))).await.unwrap();
    assert!(fresh.is_ok(), "{fresh:?}");
    assert_eq!(world.judge.texts(7), ["hello", "there"]);
}

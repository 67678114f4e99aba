//! Nostr against a relay and a person that share no code with what is tested: a relay in Python, and nostr-tools in JavaScript.
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use archond::channels::nostr::{Nostr, NostrKey, NostrSettings, probe, publish};
use archond::channels::taken::Taken;
use archond::clock::SystemClock;
use archond::settings::KeyReference;
use archond_actors::domain::{AnswerKind, ArchonId, ChannelId, Cursor, OutboxId, Parcel};
use archond_actors::ports::{Channel, ChannelFault, Handed};
use archond_actors::testkit::MemStore;
use nostr::event::{EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::Keys;
use nostr::nips::nip19::ToBech32;
use nostr_sdk::relay::Relay;

use crate::kit::{TestHouse, text};
use crate::nostr_kit::{Person, PythonRelay, RemoteSigner, account, peers, settings};

/// Ezra's road to his relays, in a house that has taken nothing yet.
fn channel(settings: NostrSettings) -> Nostr {
    let (ezra, nostr): (ArchonId, ChannelId) = ("ezra".parse().unwrap(), "nostr".parse().unwrap());
    let taken = Taken::new(Arc::new(MemStore::new()), ezra.clone(), nostr.clone());
    Nostr::new(ezra, nostr, settings, Arc::new(SystemClock), taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_another_implementation_writes_over_another_relay_and_is_answered() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let folder = tempfile::tempdir().unwrap();
    let (ezra, key) = account(folder.path());
    let settings = settings(key, &relay.url);
    let told = publish(&settings).await.unwrap();
    assert!(told.relays.iter().all(|tried| tried.outcome.is_ok()), "{told:?}");
    let tried = probe(&settings).await.unwrap();
    assert!(tried.relays.iter().all(|tried| tried.outcome.is_ok()), "{tried:?}");

    let channel = channel(settings);
    let (maria, me) = (Keys::generate(), ezra.public_key().to_hex());
    let answer = format!("shalom 🕊 \"quoted\"\n{}", "A long answer. ".repeat(2000));
    let mut person = Person::write(&peers, &relay.url, &me, &maria, 2, &["peace 🌿"]);
    assert_eq!(person.says("inbox")["inbox"], serde_json::json!([relay.url.as_str()]));
    let (mut after, mut came) = (None, None);
    for _ in 0..5 {
        let batch = channel.receive(after.clone()).await.unwrap();
        after = batch.place.map(|place| Cursor { place, moved_unix_ms: 0 }).or(after);
        came = came.or(batch.messages.into_iter().next());
        if came.is_some() {
            break;
        }
    }
    let came = came.unwrap();
    assert_eq!((came.text.as_str(), came.peer.as_str()), ("peace 🌿", maria.public_key().to_hex().as_str()));
    let mut parcel = Parcel {
        outbox: Some(OutboxId(1)),
        key: came.key.clone(),
        peer: came.peer,
        reply_to: came.waybill.reply_to,
        kind: AnswerKind::Answer,
        text: answer.clone(),
        attachments: Vec::new(),
        created_unix_ms: 1000 * nostr::types::Timestamp::now().as_secs(),
        receipt: None,
        tries: 0,
    };
    while let Handed::Step(receipt) = channel.deliver(parcel.clone()).await.unwrap() {
        parcel.receipt = Some(receipt);
    }
    let parts = [person.says("answer"), person.says("answer")];
    for part in &parts {
        assert_eq!((&part["kind"], &part["signed"]), (&14.into(), &false.into()), "{part}");
        assert_eq!((&part["genuine"], &part["hidden"]), (&true.into(), &true.into()), "{part}");
        assert_eq!(part["replies"], serde_json::json!([came.key]), "it knows the id of what he wrote, too");
    }
    let said: String = parts.iter().map(|part| part["answer"].as_str().unwrap()).collect();
    assert_eq!(said, answer.trim_end());
}

/// Gives Ezra an account, with these owners and users; answers its key.
fn join(house: &TestHouse, relay: &PythonRelay, owners: &[&Keys], users: &[&Keys]) -> String {
    let (ezra, key) = account(house.path());
    let NostrKey::Secret(reference) = &key else { panic!("a key of its own") };
    let list = |keys: &[&Keys]| {
        keys.iter().map(|keys| format!("\"{}\"", keys.public_key().to_hex())).collect::<Vec<_>>().join(", ")
    };
    let file = format!(
        "(key: \"{reference}\", relays: [\"{}\"], owners: [{}], users: [{}])",
        relay.url,
        list(owners),
        list(users)
    );
    let folder = house.path().join("config/channels/ezra");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("nostr.ron"), file).unwrap();
    let told = tokio::runtime::Runtime::new().unwrap().block_on(publish(&settings(key.clone(), &relay.url)));
    assert!(told.unwrap().relays[0].outcome.is_ok());
    ezra.public_key().to_hex()
}

#[test]
fn ezra_answers_its_owner_over_nostr_and_offers_a_stranger_a_code_across_a_crash() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let house = TestHouse::new();
    let (maria, noah) = (Keys::generate(), Keys::generate());
    let me = join(&house, &relay, &[&maria], &[]);

    let daemon = house.start(&["ezra"]);
    let answered = |person: &mut Person| person.says("answer")["answer"].as_str().unwrap().to_owned();
    let mut owner = Person::write(&peers, &relay.url, &me, &maria, 1, &["hello"]);
    assert_eq!(answered(&mut owner), "Hello, I am Ezra.");
    let mut stranger = Person::write(&peers, &relay.url, &me, &noah, 1, &["hello"]);
    let offer = answered(&mut stranger);
    let code = offer.split("code: ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect(&offer);
    let approved = house.run(&["pairing", "approve", code]);
    assert!(approved.status.success(), "{}", text(&approved));
    daemon.kill();
    drop(daemon);
    // What is written while nobody is there is answered when somebody is, and nothing of what was answered before is answered again.
    let mut friend = Person::write(&peers, &relay.url, &me, &noah, 0, &["hello again"]);
    friend.says("sent");
    let mut friend = Person::write(&peers, &relay.url, &me, &noah, 3, &[]);
    let _daemon = house.start(&["ezra"]);
    // A relay lists wraps by their times, which are drawn by lot. It brings again what he wrote while he was a stranger: now it is answered.
    let mut said: Vec<String> = (0..3).map(|_| answered(&mut friend)).collect();
    said.sort();
    let hello = "Hello, I am Ezra.".to_owned();
    assert_eq!(said, [hello.clone(), hello, offer]);
    let mut owner = Person::write(&peers, &relay.url, &me, &maria, 2, &["what is my colour?"]);
    let said = BTreeSet::from([answered(&mut owner), answered(&mut owner)]);
    assert_eq!(said, ["Hello, I am Ezra.", "You have not told me your colour."].map(str::to_owned).into());
    let shown = text(&house.run(&["channel", "ls"]));
    assert!(shown.contains("nostr") && shown.contains("npub1") && shown.contains("1 of 1 relays"), "{shown}");
}

#[test]
fn a_conversation_over_nostr_with_a_call_that_its_owner_allows() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let house = TestHouse::new();
    house.write_profile("ezra", r#"tools: ["read_file"], permissions: (read: Ask),"#);
    let workspace = house.path().join("state/archons/ezra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
    let (maria, noah) = (Keys::generate(), Keys::generate());
    let ezra = join(&house, &relay, &[&maria], &[&noah]);
    let _daemon = house.start(&["ezra"]);
    let answered = |person: &mut Person| person.says("answer")["answer"].as_str().unwrap().to_owned();

    let mut owner = Person::write(&peers, &relay.url, &ezra, &maria, 4, &["read the file notes.txt"]);
    let asked = answered(&mut owner);
    assert!(asked.contains("read_file notes.txt") && asked.contains("/approve"), "{asked}");
    // Somebody who is no owner cannot say yes to it.
    let mut user = Person::write(&peers, &relay.url, &ezra, &noah, 1, &["/approve"]);
    let nothing = answered(&mut user);
    assert!(!nothing.contains("notes.txt"), "{nothing}");
    owner.writes("/approve");
    let said = BTreeSet::from([answered(&mut owner), answered(&mut owner)]);
    let wanted = ["I will: read_file notes.txt", "notes.txt says: milk and honey"];
    assert_eq!(said, wanted.map(str::to_owned).into());
    // The next call is asked about again. The same words within the same second would be the same message.
    owner.writes("read the file letters.txt");
    assert!(answered(&mut owner).contains("/deny"));
}

#[test]
fn an_archon_whose_key_is_with_a_remote_signer_is_written_to_and_answers() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let house = TestHouse::new();
    let (ezra, maria) = (Keys::generate(), Keys::generate());
    let mut signer = RemoteSigner::start(&peers, &relay.url, &ezra, None);
    let owner = maria.public_key().to_bech32().unwrap();
    let mut add =
        house.command(&["channel", "add", "nostr", "ezra", "--signer", "--relay", relay.url.as_str()]);
    add.args(["--owner", &owner]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut add = add.spawn().unwrap();
    writeln!(add.stdin.take().unwrap(), "{}", signer.address).unwrap();
    let added = add.wait_with_output().unwrap();
    let said = text(&added);
    assert!(added.status.success() && said.contains(&ezra.public_key().to_bech32().unwrap()), "{said}");
    assert!(!said.contains("open-sesame") && said.contains("stays with the signer"), "{said}");
    let client = signer.lines.may_say("client").unwrap()["client"].as_str().unwrap().to_owned();

    let daemon = house.start(&["ezra"]);
    let me = ezra.public_key().to_hex();
    let answered = |person: &mut Person| person.says("answer");
    let mut person = Person::write(&peers, &relay.url, &me, &maria, 1, &["hello"]);
    let answer = answered(&mut person);
    assert_eq!(
        (answer["answer"].as_str(), answer["genuine"].as_bool()),
        (Some("Hello, I am Ezra."), Some(true))
    );
    // While the signer is away nothing can be opened; nothing of it is lost.
    drop(signer);
    let mut person = Person::write(&peers, &relay.url, &me, &maria, 2, &["what is your name?"]);
    person.says("sent");
    daemon.kill();
    drop(daemon);
    let _daemon = house.start(&["ezra"]);
    let _signer = RemoteSigner::start(&peers, &relay.url, &ezra, Some(&client));
    // The relay brings him the first answer again, before or after he has written.
    let mut said = answered(&mut person);
    if said["answer"] == "Hello, I am Ezra." {
        said = answered(&mut person);
    }
    assert_eq!(said["answer"], "I am Ezra.");
    let logs = house.log();
    assert!(!logs.contains("open-sesame") && !logs.contains("Hello, I am Ezra."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_says_no_costs_no_message_and_what_is_broken_stops_nothing() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let folder = tempfile::tempdir().unwrap();
    let (ezra, client, maria) = (Keys::generate(), Keys::generate(), Keys::generate());
    let known = client.public_key().to_hex();
    let signer = RemoteSigner::start(&peers, &relay.url, &ezra, Some(&known));
    let keep = |name: &str, secret: &str| {
        std::fs::write(folder.path().join(name), secret).unwrap();
        KeyReference::File(folder.path().join(name))
    };
    let key = NostrKey::Remote {
        address: keep("address", &signer.address),
        client: keep("client", &client.secret_key().to_secret_hex()),
    };
    let channel = channel(settings(key, &relay.url));
    let mut cursor =
        channel.receive(None).await.unwrap().place.map(|place| Cursor { place, moved_unix_ms: 0 });
    drop(signer);
    // One that has forgotten whom it let in, and something that nobody can open.
    let signer = RemoteSigner::start(&peers, &relay.url, &ezra, None);
    let garbage = EventBuilder::new(Kind::GiftWrap, "garbage").tag(Tag::public_key(ezra.public_key()));
    let line = Relay::new(relay.url.clone());
    line.try_connect().await.unwrap();
    line.send_event(&garbage.finalize(&Keys::generate()).unwrap()).await.unwrap();
    let me = ezra.public_key().to_hex();
    Person::write(&peers, &relay.url, &me, &maria, 0, &["are you there?"]).says("sent");
    let denied = loop {
        match channel.receive(cursor.clone()).await {
            Ok(batch) => assert!(batch.messages.is_empty(), "{batch:?}"),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&denied, ChannelFault::Barred { detail } if detail.contains("says no")), "{denied:?}");
    drop(signer);
    let _signer = RemoteSigner::start(&peers, &relay.url, &ezra, Some(&known));
    let came = loop {
        if let Ok(batch) = channel.receive(cursor.clone()).await {
            cursor = batch.place.map(|place| Cursor { place, moved_unix_ms: 0 }).or(cursor);
            if let Some(came) = batch.messages.into_iter().next() {
                break came;
            }
        }
    };
    assert_eq!(
        (came.text.as_str(), came.peer.as_str()),
        ("are you there?", maria.public_key().to_hex().as_str())
    );
}

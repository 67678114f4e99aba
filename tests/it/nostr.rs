//! Nostr against a relay and a person that share no code with what is tested: a relay in Python, and nostr-tools in JavaScript.
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use archond::channels::nostr::{Nostr, NostrKey, NostrProfile, NostrSettings, probe, publish};
use archond::clock::SystemClock;
use archond::settings::KeyReference;
use archond_actors::domain::{AnswerKind, Cursor, OutboxId, Parcel};
use archond_actors::ports::{Channel, Handed};
use nostr::key::Keys;
use nostr::types::RelayUrl;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::kit::{TestHouse, text};

/// Longest wait for the relay to be there: a Python that starts on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// A person of the tests.
const PERSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nostr/person.mjs");

/// Where the relay and the person are; `None` on a machine where they cannot be had. Machines that check the project must have them.
fn peers() -> Option<PathBuf> {
    static PEERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    static TELLS: Mutex<()> = Mutex::new(());
    let peers = PEERS.get_or_init(|| {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("archond");
        let output = Command::new(launcher).args(["setup", "--test-nostr"]).output().unwrap();
        if output.status.success() {
            return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "the peers of the tests cannot be had: {said}");
        let _one_at_a_time = TELLS.lock();
        println!("SKIPPED: the tests of Nostr with others; they cannot be had on this machine: {said}");
        None
    });
    peers.clone()
}

/// A process and all that it starts. Killed when dropped.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.0.id()).unwrap()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// The relay in Python.
struct PythonRelay {
    url: RelayUrl,
    _folder: tempfile::TempDir,
    _process: Group,
}

impl PythonRelay {
    fn start(peers: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It is free just now; a test that finds it taken fails, and says so.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.path().join("relay.yaml");
        let settings = format!(
            "DEBUG: false\nrelay_name: test\nstorage:\n  sqlalchemy.url: sqlite+aiosqlite:///relay.sqlite3\n  \
             class: nostr_relay.storage.db.DBStorage\ngunicorn:\n  bind: 127.0.0.1:{port}\n  workers: 1\n"
        );
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("python3");
        command
            .arg(peers.join("relay/bin/nostr-relay"))
            .arg("-c")
            .arg(&file)
            .arg("serve")
            .env("PYTHONPATH", peers.join("relay"))
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Group::start(&mut command);
        let mut log = BufReader::new(process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let listens = log.by_ref().any(|line| line.contains("Listening at"));
            let _ = tell.send(listens);
            // Whatever else it says: a full pipe would stop it.
            log.for_each(drop);
        });
        assert_eq!(told.recv_timeout(START_MAX), Ok(true), "the relay does not start");
        let url = RelayUrl::parse(&format!("ws://127.0.0.1:{port}")).unwrap();
        Self { url, _folder: folder, _process: process }
    }
}

/// A person in JavaScript, who says what he sends and gets.
struct Person {
    lines: std::io::Lines<BufReader<ChildStdout>>,
    _process: Group,
}

impl Person {
    fn write(
        peers: &Path,
        relay: &RelayUrl,
        archon: &str,
        keys: &Keys,
        count: usize,
        texts: &[&str],
    ) -> Self {
        let mut command = Command::new(peers.join("node"));
        command
            .arg(PERSON)
            .arg(peers)
            .args([relay.as_str(), archon, &keys.secret_key().to_secret_hex(), &count.to_string()])
            .args(texts)
            .stdout(Stdio::piped());
        let mut process = Group::start(&mut command);
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        Self { lines, _process: process }
    }

    /// The next line that he says which has this field.
    fn says(&mut self, field: &str) -> Value {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("he says no {field}")).unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            if said.get(field).is_some() {
                return said;
            }
        }
    }
}

/// The Archon's key, in a file.
fn account(folder: &Path) -> (Keys, NostrKey) {
    let keys = Keys::generate();
    let path = folder.join("ezra.nsec");
    std::fs::write(&path, keys.secret_key().to_secret_hex()).unwrap();
    (keys, NostrKey::Secret(KeyReference::File(path)))
}

fn settings(key: NostrKey, relay: &RelayUrl) -> NostrSettings {
    NostrSettings {
        key,
        relays: vec![relay.clone()],
        dm_relays: vec![relay.clone()],
        nip04: false,
        self_copy: false,
        profile: NostrProfile { name: Some("Ezra".into()), ..NostrProfile::default() },
        pow: None,
        messages_per_minute: 30,
        wraps_per_minute: 1200,
    }
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

    let channel =
        Nostr::new("ezra".parse().unwrap(), "nostr".parse().unwrap(), settings, Arc::new(SystemClock));
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

#[test]
fn ezra_answers_its_owner_over_nostr_and_offers_a_stranger_a_code_across_a_crash() {
    let Some(peers) = peers() else { return };
    let relay = PythonRelay::start(&peers);
    let house = TestHouse::new();
    let (ezra, key) = account(house.path());
    let NostrKey::Secret(reference) = &key;
    let (maria, noah, me) = (Keys::generate(), Keys::generate(), ezra.public_key().to_hex());
    let folder = house.path().join("config/channels/ezra");
    std::fs::create_dir_all(&folder).unwrap();
    let file = format!(
        "(key: \"{reference}\", relays: [\"{}\"], owners: [\"{}\"])",
        relay.url,
        maria.public_key().to_hex()
    );
    std::fs::write(folder.join("nostr.ron"), file).unwrap();
    let told = tokio::runtime::Runtime::new().unwrap().block_on(publish(&settings(key.clone(), &relay.url)));
    assert!(told.unwrap().relays[0].outcome.is_ok());

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

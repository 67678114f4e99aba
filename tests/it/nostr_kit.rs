//! A relay and a person on Nostr of other implementations: a relay in Python, and nostr-tools in JavaScript.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use archond::channels::nostr::{NostrKey, NostrProfile, NostrSettings};
use archond::settings::KeyReference;
use nostr::key::Keys;
use nostr::types::RelayUrl;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

/// Longest wait for the relay to be there: a Python that starts on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// A signer of the tests.
const SIGNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nostr/signer.mjs");
/// A person of the tests.
const PERSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nostr/person.mjs");

/// Where the relay and the person are; `None` on a machine where they cannot be had. Machines that check the project must have them.
pub(crate) fn peers() -> Option<PathBuf> {
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
        Self(command.process_group(0).spawn().unwrap())
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
pub(crate) struct PythonRelay {
    pub(crate) url: RelayUrl,
    _folder: tempfile::TempDir,
    _process: Group,
}

impl PythonRelay {
    pub(crate) fn start(peers: &Path) -> Self {
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
            .stdin(Stdio::null())
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
pub(crate) struct Person {
    lines: Lines,
    input: ChildStdin,
}

/// What a person says. He ends with it.
pub(crate) struct Lines {
    lines: std::io::Lines<BufReader<ChildStdout>>,
    _process: Group,
}

impl Lines {
    /// The next line that he says which has this field; `None`: he says no more.
    pub(crate) fn may_say(&mut self, field: &str) -> Option<Value> {
        loop {
            let said: Value = serde_json::from_str(&self.lines.next()?.ok()?).unwrap();
            if said.get(field).is_some() {
                return Some(said);
            }
        }
    }
}

impl Person {
    /// He writes these texts, and ends when he was answered so often.
    pub(crate) fn write(
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Group::start(&mut command);
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let input = process.0.stdin.take().unwrap();
        Self { lines: Lines { lines, _process: process }, input }
    }

    /// He writes once more.
    pub(crate) fn writes(&mut self, text: &str) {
        writeln!(self.input, "{text}").unwrap();
    }

    /// The next line that he says which has this field.
    pub(crate) fn says(&mut self, field: &str) -> Value {
        self.lines.may_say(field).unwrap_or_else(|| panic!("he says no {field}"))
    }

    /// What he says apart from what he writes, for two threads.
    pub(crate) fn split(self) -> (ChildStdin, Lines) {
        (self.input, self.lines)
    }
}

/// A remote signer in JavaScript, which has a key.
pub(crate) struct RemoteSigner {
    pub(crate) address: String,
    pub(crate) lines: Lines,
}

impl RemoteSigner {
    /// `known`: whom it knows from before.
    pub(crate) fn start(peers: &Path, relay: &RelayUrl, keys: &Keys, known: Option<&str>) -> Self {
        let mut command = Command::new(peers.join("node"));
        command
            .arg(SIGNER)
            .arg(peers)
            .args([relay.as_str(), &keys.secret_key().to_secret_hex(), "open-sesame"])
            .args(known)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Group::start(&mut command);
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let mut lines = Lines { lines, _process: process };
        let said = lines.may_say("address").expect("the signer says its address");
        Self { address: said["address"].as_str().unwrap().to_owned(), lines }
    }
}

/// The Archon's key, in a file.
pub(crate) fn account(folder: &Path) -> (Keys, NostrKey) {
    let keys = Keys::generate();
    let path = folder.join("ezra.nsec");
    std::fs::write(&path, keys.secret_key().to_secret_hex()).unwrap();
    (keys, NostrKey::Secret(KeyReference::File(path)))
}

pub(crate) fn settings(key: NostrKey, relay: &RelayUrl) -> NostrSettings {
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

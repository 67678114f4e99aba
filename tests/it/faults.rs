//! What can go wrong on a machine, each with a clear word, nothing half-made, and a daemon that lives.
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use archond::admin::protocol::{ErrorCode, Op, Reply, TurnView};
use archond::store::RedbStore;

use crate::kit::{TINY, TINY_ID, TestHouse, text};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn error(reply: Reply) -> (ErrorCode, String) {
    match reply {
        Reply::Error { code, message } => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let second = house.run(&["run"]);
    assert!(!second.status.success());
    assert!(stderr(&second).contains("archond shutdown"), "{}", text(&second));
    assert_eq!(house.client().chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");
}

#[test]
fn a_start_while_the_daemon_ends_begins_a_new_one() {
    let house = TestHouse::new();
    let first = house.start(&["ezra"]);
    assert_eq!(house.client().ask(Op::Shutdown).unwrap(), Reply::Done);
    let _second = house.start(&["ezra", "ezra"]);
    assert!(first.wait(Duration::from_secs(30)), "the first still runs");
    assert_eq!(house.client().chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");
}

#[test]
fn a_start_waits_for_a_daemon_that_takes_long_to_end() {
    let house = TestHouse::new();
    // As a daemon that listens no more holds it, for longer than a daemon that begins waits by itself.
    let held = RedbStore::open(house.path().join("data/house.redb")).unwrap();
    let mut start = house.command(&["start", "--no-chat", "ezra"]);
    let start = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let last_words = house.path().join("state/logs/archond.out");
    while !std::fs::read_to_string(&last_words).is_ok_and(|words| words.contains("archond shutdown")) {
        std::thread::yield_now();
    }
    drop(held);
    let output = start.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let _daemon = crate::kit::Daemon::of(house.client().status().pid);
}

#[test]
fn who_is_named_twice_is_stopped_once() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra", "electra"]);
    let stopped = house.run(&["stop", "ezra", "electra", "ezra"]);
    assert!(stopped.status.success(), "{}", text(&stopped));
    assert_eq!(String::from_utf8_lossy(&stopped.stdout).matches("ezra is stopped").count(), 1);
}

#[test]
fn a_client_that_asks_no_more_gets_all_its_answers() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    for number in 0..20 {
        let (key, thread) = (number.to_string(), Some(format!("t{}", number % 4)));
        client.send(Op::Chat { archon: "ezra".into(), text: "hello".into(), key, thread }).unwrap();
    }
    client.close_writing();
    let mut answers = 0;
    while let Ok(response) = client.receive() {
        answers += usize::from(matches!(response.reply, Reply::Turn(TurnView::Ended(_))));
    }
    assert_eq!(answers, 20);
}

#[test]
fn a_bad_profile_ends_the_start_before_anything_is_opened() {
    let house = TestHouse::new();
    house.write_profile("ezra", "limits: (answer_tokens_max: 0, colour: \"red\"),");
    let output = house.run(&["start", "--no-chat", "ezra"]);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    let said = stderr(&output);
    assert!(
        said.contains("ezra.ron:") && said.contains("answer_tokens_max") && said.contains("colour"),
        "{said}"
    );
    assert!(!house.socket().exists() && !house.path().join("data/house.redb").exists());
}

#[test]
fn messages_that_cannot_be_taken_are_refused_and_the_daemon_lives() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let chat = |text: String| Op::Chat { archon: "ezra".into(), text, key: "k".into(), thread: None };

    let (code, message) = error(client.ask(chat("x".repeat(1024 * 1024))).unwrap());
    assert_eq!(code, ErrorCode::TooLarge);
    assert!(message.contains("1048576") && message.contains("65536"), "{message}");
    let (code, _) = error(client.ask(chat("  \n".into())).unwrap());
    assert_eq!(code, ErrorCode::BadRequest);
    let (code, message) = error(client.ask(Op::StopArchon { archon: "nobody".into() }).unwrap());
    assert_eq!(code, ErrorCode::Unavailable, "{message}");
    let (code, message) = error(client.ask(Op::StartArchon { archon: "nobody".into() }).unwrap());
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("archond archon new nobody"), "{message}");

    for bytes in [b"\xff\xfe\xfd\n".as_slice(), b"not json\n", b"{\"id\":1,\"op\":\"fly\"}\n", b"\n"] {
        client.send_bytes(bytes).unwrap();
        let (code, _) = error(client.receive().unwrap().reply);
        assert_eq!(code, ErrorCode::BadRequest);
    }
    client.send_bytes(&vec![b'x'; 3 * 1024 * 1024]).unwrap();
    client.send_bytes(b"\n").unwrap();
    let (_, message) = error(client.receive().unwrap().reply);
    assert!(message.contains("longer than"), "{message}");
    assert_eq!(client.chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");
}

#[test]
fn a_broken_model_fails_clearly_and_the_others_answer() {
    let house = TestHouse::new();
    let broken = house.path().join("broken.gguf");
    // A file that is whole to the eye but whose tensors are cut off: the import must refuse it.
    let bytes = std::fs::read(TINY).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let output = house.run(&["model", "import", broken.to_str().unwrap(), "--name", "broken"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("truncated") || stderr(&output).contains("cut"), "{}", text(&output));

    // One that is damaged after it was imported.
    std::fs::write(&broken, &bytes).unwrap();
    let output = house.run(&["model", "import", broken.to_str().unwrap(), "--name", "broken"]);
    assert!(output.status.success(), "{}", text(&output));
    let installed = std::fs::read_dir(house.path().join("data/models/broken")).unwrap();
    let file =
        installed.map(|entry| entry.unwrap().path()).find(|path| path.extension() == Some("gguf".as_ref()));
    let mut damaged = bytes;
    damaged[24..2048].fill(0xff);
    replace(&file.unwrap(), &damaged);
    house.write_profile_for("electra", "broken");

    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    // It starts; its model does not.
    client.ask(Op::StartArchon { archon: "electra".into() }).unwrap();
    let answer = client.chat("electra", "1", "main", "hello");
    assert_eq!(answer.kind, "failure");
    assert!(answer.text.contains("broken"), "{}", answer.text);
    assert_eq!(client.chat("ezra", "2", "main", "hello").text, "Hello, I am Ezra.");
    let status = client.status();
    let electra = status.archons.iter().find(|archon| archon.archon == "electra").unwrap();
    assert!(electra.state == "failed" && electra.last_error.is_some(), "{electra:?}");
}

fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_model_that_is_not_on_disk_is_named_with_the_command_that_gets_it() {
    let house = TestHouse::new();
    house.write_profile_for("electra", "gemma-4-e2b");
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (_, message) = error(client.ask(Op::StartArchon { archon: "electra".into() }).unwrap());
    assert!(message.contains("archond model pull gemma-4-e2b"), "{message}");
    assert_eq!(client.chat("ezra", "1", "main", "hello").text, "Hello, I am Ezra.");
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let house = TestHouse::new();
    let mut command = house.command(&["run"]);
    let output = command.env("ARCHOND_HOME", "/dev/null/house").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("/dev/null/house"), "{}", text(&output));
}

#[test]
fn a_model_that_needs_too_much_memory_is_not_begun() {
    let house = TestHouse::new();
    // The largest context that a profile may ask for: its memory is far beyond the limit.
    house.write_profile("electra", "context: (tokens_max: 262144),");
    let settings = "(worker: (memory_max: \"256 MiB\", slots: 64))";
    std::fs::write(house.path().join("config/archond.ron"), settings).unwrap();
    let output = house.run(&["start", "--no-chat", "ezra"]);
    assert!(!output.status.success(), "{}", text(&output));
    let mut client = house.client();
    let status = client.status();
    let said = status.archons[0].last_error.clone().unwrap_or_default();
    assert!(said.contains("64 x 0.") && said.contains("`worker.memory_max`"), "{said}");
    let model = status.models.iter().find(|model| model.model == TINY_ID).unwrap();
    assert_eq!((model.crashes, model.pid), (0, None), "{model:?}");
    let _daemon = crate::kit::Daemon::of(status.pid);
}

#[test]
fn a_running_answer_is_stopped_at_once() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let text = "Summarise this conversation:\n\n".to_owned()
        + &"user: my colour is teal\nassistant: Noted, your colour is teal.\n".repeat(20);
    let thread = Some("main".to_owned());
    client.send(Op::Chat { archon: "ezra".into(), text, key: "1".into(), thread: thread.clone() }).unwrap();
    let mut asked = false;
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Reading { .. } | TurnView::Text { .. }) if !asked => {
                asked = true;
                client.send(Op::Cancel { archon: "ezra".into(), thread: thread.clone() }).unwrap();
            }
            Reply::Turn(TurnView::Ended(answer)) => {
                // Stopped, or so quick that there was nothing left to stop.
                assert!(
                    answer.text.ends_with("[stopped]")
                        || answer.text.contains("Stopped")
                        || !asked
                        || answer.kind == "answer"
                );
                break;
            }
            _ => {}
        }
    }
    assert_eq!(client_chat_again(&house), "Hello, I am Ezra.");
}

fn client_chat_again(house: &TestHouse) -> String {
    house.client().chat("ezra", "again", "fresh", "hello").text
}

#[test]
fn a_pull_that_cannot_succeed_leaves_nothing_behind() {
    let house = TestHouse::new();
    let folder = house.path().join("mirror");
    std::fs::create_dir_all(&folder).unwrap();
    // The right name, other bytes: the catalogue knows this file's hash.
    std::fs::copy(TINY, folder.join("gemma-4-E2B-it-Q4_K_M.gguf")).unwrap();
    let sources = [folder.to_str().unwrap(), "http://127.0.0.1:9", "/nowhere"];
    for from in sources {
        let output = house.run(&["model", "pull", "gemma-4-e2b", "--from", from]);
        assert!(!output.status.success(), "{from}: {}", text(&output));
        assert!(stderr(&output).lines().any(|line| line.len() > 20), "{from}: {}", text(&output));
        let shown = house.run(&["model", "ls", "--json"]);
        assert!(!String::from_utf8_lossy(&shown.stdout).contains("gemma-4-e2b"), "{from}: {}", text(&shown));
    }
}

#[test]
fn a_full_disk_refuses_messages_and_takes_them_again_when_there_is_space() {
    let template = TestHouse::new();
    let house = template.sibling();
    let data = house.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let mount = "mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 77; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", mount])
        .arg(&data)
        .arg(env!("CARGO_BIN_EXE_archond"))
        .args(["run", "ezra"]);
    command
        .env("ARCHOND_HOME", house.path())
        .env("ARCHOND_WORKER_THREADS", "1")
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let daemon = crate::kit::Daemon::of(child.id());
    let mut client = loop {
        if let Ok(client) = crate::kit::Client::connect(&house.socket()) {
            break client;
        }
        if daemon.wait(std::time::Duration::from_millis(10)) {
            assert_eq!(child.wait().unwrap().code(), Some(77), "the daemon ended");
            eprintln!("left out: mounting a small disk needs root");
            return;
        }
    };
    assert_eq!(client.ask(Op::StartArchon { archon: "ezra".into() }).unwrap(), Reply::Done);
    assert_eq!(client.chat("ezra", "1", "main", "my dog is Rex").text, "Noted, your dog is Rex.");
    // The daemon's own view of its folder: the small disk is mounted for it alone.
    let filler = format!("/proc/{}/root{}/filler", child.id(), data.display());
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let long = "words ".repeat(10_000);
    let mut refusal = None;
    for number in 0..200 {
        let op = Op::Chat {
            archon: "ezra".into(),
            text: long.clone(),
            key: format!("f{number}"),
            thread: Some("x".into()),
        };
        client.send(op).unwrap();
        // Accepted as long as the store's file has room in itself; then refused.
        match client.receive().unwrap().reply {
            Reply::Error { message, .. } => {
                refusal = Some(message);
                break;
            }
            _ => client = crate::kit::Client::connect(&house.socket()).unwrap(),
        }
    }
    let refusal = refusal.expect("the disk never became full");
    assert!(refusal.contains("full") && refusal.contains("free some space"), "{refusal}");
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(client.chat("ezra", "2", "main", "what is my dog?").text, "Your dog is Rex.");
    daemon.kill();
    child.wait().unwrap();
}

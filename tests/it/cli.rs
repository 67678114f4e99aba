//! The command line from outside: its help, its exit codes, and the chat against a daemon that follows a script.
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};

use archond::admin::protocol::{AnswerView, ErrorCode, Op, Reply, Request, Response, TurnView};
use assert_cmd::Command;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A home whose daemon is the test itself.
struct ScriptedHouse {
    home: TempDir,
    listener: UnixListener,
}

impl ScriptedHouse {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        let listener = UnixListener::bind(home.path().join("run/archond.sock")).unwrap();
        Self { home, listener }
    }

    /// Begins a command with its streams in our hands.
    fn spawn(&self, args: &[&str]) -> Child {
        std::process::Command::new(env!("CARGO_BIN_EXE_archond"))
            .args(args)
            .env("ARCHOND_HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn accept(&self) -> Connection {
        let (stream, _) = self.listener.accept().unwrap();
        Connection { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }
}

struct Connection {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Connection {
    fn read(&mut self) -> Request {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn reply(&mut self, id: u64, reply: Reply) {
        let mut line = serde_json::to_vec(&Response { id, reply }).unwrap();
        line.push(b'\n');
        self.stream.write_all(&line).unwrap();
    }

    fn turn(&mut self, id: u64, view: TurnView) {
        self.reply(id, Reply::Turn(view));
    }

    /// Takes a message in; answers its request's number and key.
    fn take_message(&mut self, duplicate: bool) -> (u64, String) {
        let request = self.read();
        let Op::Chat { archon, text, key, thread } = request.op else { panic!("{request:?}") };
        assert_eq!((archon.as_str(), text.as_str(), thread), ("ezra", "hello", None));
        let session = "ezra/cli/uid0/main".to_owned();
        self.turn(request.id, TurnView::Accepted { inbox: 1, session, duplicate });
        (request.id, key)
    }

    fn text(&mut self, id: u64, text: &str) {
        self.turn(id, TurnView::Text { text: text.to_owned() });
    }

    /// Ends the turn and expects the confirmation that its answer was shown.
    fn end(&mut self, id: u64, kind: &str, text: &str) {
        self.turn(id, TurnView::Ended(answer(kind, text)));
        let request = self.read();
        assert_eq!(request.op, Op::Delivered { outbox: 7 });
        self.reply(request.id, Reply::Done);
    }
}

fn answer(kind: &str, text: &str) -> AnswerView {
    AnswerView {
        outbox: 7,
        inbox: 1,
        key: "k".into(),
        session: "ezra/cli/uid0/main".into(),
        kind: kind.into(),
        text: text.into(),
        attachments: Vec::new(),
        created_unix_ms: 0,
    }
}

/// Exit code, standard output, error output.
fn outcome(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn archond(home: &TempDir, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archond"));
    command.args(args).env("ARCHOND_HOME", home.path()).env("COLUMNS", "100").assert()
}

#[test]
fn help_lists_commands_and_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let help = archond(&home, &["--help"]).success().get_output().stdout.clone();
    insta::assert_snapshot!(String::from_utf8(help).unwrap(), @r"
    Keeps a house of AI agents, the Archons, alive on your own hardware. They think with Gemma 4 alone

    Usage: archond <COMMAND>

    Commands:
      start        Start Archons, and the daemon if it does not run, and wait until they are ready
      chat         Talk with an Archon
      ps           Show the Archons and models that run
      stop         Stop Archons; their messages are kept
      shutdown     End the daemon and every Archon
      session      Look at sessions
      memory       Look at what Archons remember
      channel      Channels: the roads to platforms on which people write
      pairing      Pairing: let strangers in who write on a channel
      approvals    Approvals: the calls of tools that wait for your yes
      repl         Look into the running house: every actor, session, queue and crash; kill, stop,
                   restart, suspend
      top          Watch the running house: actors, models, tokens per second, queue
      logs         Show what the daemon wrote into its log
      doctor       Look the house over, and say what to do where something is wrong
      audit        Prove what the house promises
      bench        Measure how fast a model reads and writes on this machine
      archon       Profiles: what an Archon is
      model        Models: what an Archon thinks with
      tool         Tools: what an Archon can do
      skill        Skills: instructions that an Archon reads when it needs them
      mcp          MCP servers: tools of other programs
      sandbox      What holds the tools back
      config       The settings of the house
      run          Be the daemon, in the foreground: for systemd and containers
      version      Show the version and how it was built
      completions  Print the completion script of a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit codes:
        0  done
        1  it was tried and did not work
        2  the command line is wrong
       64  settings or a profile are wrong
       65  the input is too long or not UTF-8
       66  no such model, Archon or session
       69  the daemon does not run, or the Archon is stopped or quarantined
       70  a fault in archond, or the daemon gave up
       73  a file or directory cannot be created
       75  busy, try again later
       77  the operating system refuses
      130  ended by Ctrl-C
    ");
}

#[test]
fn every_failure_has_its_exit_code_and_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let table: [(&[&str], i32, &str); 14] = [
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["ps"], 69, "start it with `archond start ezra`"),
        (&["chat", "-m", "hello"], 69, "start it with `archond start ezra`"),
        (&["stop", "ezra"], 69, "start it with `archond start ezra`"),
        (&["session", "list"], 69, "start it with `archond start ezra`"),
        (&["model", "ps"], 69, "start it with `archond start ezra`"),
        (&["chat", "-m", " "], 2, "the message is empty"),
        (&["chat", "--session", "a b", "-m", "x"], 2, "is not a valid session name"),
        (&["chat", "--session", "ezra/telegram/7/main", "-m", "x"], 2, "belongs to the channel telegram"),
        (&["chat", "--new", "--session", "s", "-m", "x"], 2, "cannot be used with"),
        (&["start", "../etc"], 2, "is not a valid Archon name"),
        (&["start", "nobody"], 66, "`archond archon list` shows all"),
        (&["logs"], 66, "they begin with the first `archond start`"),
        (&["model", "show", "no-such-model"], 66, "no-such-model"),
    ];
    for (args, code, says) in table {
        let assert = archond(&home, args).code(code);
        let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(error.contains(says), "{args:?}: {error}");
        assert!(assert.get_output().stdout.is_empty(), "{args:?}: only data goes to standard output");
    }
    assert!(!home.path().join("run").exists(), "nothing was started");
}

#[test]
fn bad_settings_stop_every_command_before_anything_is_opened() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("config")).unwrap();
    std::fs::write(home.path().join("config/archond.ron"), "(no_such_setting: 1)").unwrap();
    for args in [&["start", "ezra"][..], &["ps"], &["config", "check"], &["run"]] {
        let assert = archond(&home, args).code(64);
        let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(error.contains("archond.ron:1:2") && error.contains("no_such_setting"), "{args:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn input_that_is_no_text_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_archond"));
    let assert =
        command.env("ARCHOND_HOME", home.path()).arg("chat").write_stdin(b"ab\xff".to_vec()).assert();
    let output = assert.code(65).get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not UTF-8 from byte 2 on"));
}

#[test]
fn what_needs_no_daemon_works_without_one() {
    let home = tempfile::tempdir().unwrap();
    archond(&home, &["shutdown"]).success().stdout("archond is not running\n");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = archond(&home, &["completions", shell]).success().get_output().stdout.clone();
        assert!(String::from_utf8(script).unwrap().contains("archond"), "{shell}");
    }
    let version = archond(&home, &["version", "--json"]).success().get_output().stdout.clone();
    let version: serde_json::Value = serde_json::from_slice(&version).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let is_cpu_alone = archond_models::worker::BACK_ENDS.is_empty();
    assert_eq!(version["back_ends"].as_array().unwrap().is_empty(), is_cpu_alone);
    assert!(version["llama_crate"].as_str().unwrap().starts_with("llama-cpp-2 "));
}

#[test]
fn a_streamed_answer_reaches_a_file_once_and_is_confirmed() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
    let mut daemon = house.accept();
    let (id, _) = daemon.take_message(false);
    daemon.turn(id, TurnView::Queued { position: 1 });
    daemon.text(id, "Wrong");
    daemon.turn(id, TurnView::Retrying { attempt: 2 });
    daemon.text(id, "Good ");
    daemon.turn(id, TurnView::WorkerReplaced);
    daemon.text(id, "day");
    daemon.end(id, "answer", "Good day\x1b[2J");
    assert_eq!(outcome(child), (Some(0), "Good day␛[2J\n".into(), String::new()));
}

#[test]
fn json_is_the_answer_word_for_word() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello", "--json"]);
    let mut daemon = house.accept();
    let (id, _) = daemon.take_message(false);
    daemon.end(id, "answer", "Good day\x1b[2J");
    let (code, out, _) = outcome(child);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<AnswerView>(&out).unwrap(), answer("answer", "Good day\x1b[2J"));
}

#[test]
fn a_lost_connection_is_taken_up_with_the_same_key() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
    let mut first = house.accept();
    let (id, key) = first.take_message(false);
    first.text(id, "Good ");
    drop(first);
    // The daemon is back, takes no one yet, and then knows the message already.
    let mut second = house.accept();
    let request = second.read();
    assert!(matches!(&request.op, Op::Chat { key: again, .. } if *again == key));
    let refusal = Reply::Error { code: ErrorCode::Unavailable, message: "ezra is starting".into() };
    second.reply(request.id, refusal);
    let mut third = house.accept();
    let (id, again) = third.take_message(true);
    assert_eq!(key, again);
    third.text(id, "Good day");
    third.end(id, "answer", "Good day");
    assert_eq!(outcome(child), (Some(0), "Good day\n".into(), String::new()));
}

#[test]
fn ctrl_c_stops_the_answer_and_keeps_what_there_is() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
    let mut daemon = house.accept();
    let (id, _) = daemon.take_message(false);
    daemon.text(id, "Good ");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let request = daemon.read();
    assert_eq!(request.op, Op::Cancel { archon: "ezra".into(), thread: None });
    daemon.reply(request.id, Reply::Done);
    daemon.end(id, "answer", "Good");
    assert_eq!(outcome(child), (Some(130), "Good\n".into(), String::new()));
}

#[test]
fn a_second_ctrl_c_leaves() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
    let mut daemon = house.accept();
    daemon.take_message(false);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(matches!(daemon.read().op, Op::Cancel { .. }));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(outcome(child), (Some(130), String::new(), "archond: interrupted\n".into()));
}

#[test]
fn failures_and_refusals_are_no_data() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
    let mut daemon = house.accept();
    let (id, _) = daemon.take_message(false);
    daemon.end(id, "failure", "the model failed three times");
    assert_eq!(outcome(child), (Some(1), String::new(), "archond: the model failed three times\n".into()));

    let codes = [
        (ErrorCode::NotFound, 66),
        (ErrorCode::Unavailable, 69),
        (ErrorCode::Busy, 75),
        (ErrorCode::TooLarge, 65),
    ];
    for (code, number) in codes {
        let child = house.spawn(&["chat", "ezra", "-m", "hello"]);
        let mut daemon = house.accept();
        let request = daemon.read();
        daemon.reply(request.id, Reply::Error { code, message: "no, and why".into() });
        assert_eq!(outcome(child), (Some(number), String::new(), "archond: no, and why\n".into()));
    }
}

#[test]
fn a_fresh_session_is_begun_before_the_message() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["chat", "ezra", "--new", "-m", "hello"]);
    let mut daemon = house.accept();
    let request = daemon.read();
    assert!(matches!(&request.op, Op::Chat { text, .. } if text == "/new"));
    daemon.end(request.id, "notice", "a fresh session");
    let (id, _) = daemon.take_message(false);
    daemon.end(id, "answer", "Good day");
    assert_eq!(outcome(child), (Some(0), "Good day\n".into(), String::new()));
}

#[test]
fn a_daemon_of_another_version_is_named() {
    let house = ScriptedHouse::new();
    let child = house.spawn(&["ps"]);
    let mut daemon = house.accept();
    daemon.read();
    daemon.stream.write_all(b"{\"id\":1,\"reply\":{\"palace\":{}}}\n").unwrap();
    let (code, out, error) = outcome(child);
    assert_eq!((code, out.as_str()), (Some(70), ""));
    assert!(error.contains("another version of the protocol"), "{error}");
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let house = ScriptedHouse::new();
    let mut child = house.spawn(&["session", "list", "--json"]);
    drop(child.stdout.take());
    let mut daemon = house.accept();
    let request = daemon.read();
    daemon.reply(request.id, Reply::Sessions(Vec::new()));
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""));
}

//! Many clients, impatient clients, clients that do not listen: each gets what it is owed, and the daemon lives.
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use archond::admin::protocol::{Op, Reply};

use crate::kit::{Client, Daemon, TestHouse};

/// Requests whose answers no socket buffer holds: about 1 KB each, and the kernel's share.
const REQUESTS: u64 = 240;
/// Descriptors of a daemon that has few, and more clients than that.
const DESCRIPTORS: usize = 40;
/// How long it is measured what waiting for descriptors costs.
const MEASURED: Duration = Duration::from_millis(500);
/// Processor time within that, in hundredths of a second: five looks take next to none; a loop takes what it gets of 50.
const TICKS_MAX: u64 = 10;

/// The daemon in the foreground, and what it logs.
struct Foreground {
    child: Child,
    daemon: Daemon,
    log: BufReader<ChildStderr>,
}

impl Foreground {
    fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (daemon, log) = (Daemon::of(child.id()), BufReader::new(child.stderr.take().unwrap()));
        let mut foreground = Self { child, daemon, log };
        foreground.wait_for("the house is open");
        foreground
    }

    /// Reads the log up to this line.
    fn wait_for(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the daemon ended");
        }
    }

    /// Waits for its end, and answers the rest of the log.
    fn ended(mut self) -> String {
        assert!(self.daemon.wait(Duration::from_secs(30)), "the daemon still runs");
        assert!(self.child.wait().unwrap().success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        rest
    }
}

#[test]
fn a_shutdown_is_confirmed_to_a_client_that_reads_late() {
    let house = TestHouse::new();
    let mut daemon = Foreground::run(house.command(&["run", "ezra"]));
    let mut client = house.client();
    for _ in 0..REQUESTS {
        client.send(Op::Status).unwrap();
    }
    let shutdown = client.send(Op::Shutdown).unwrap();
    daemon.wait_for("the house is closed");
    let mut confirmed = false;
    while let Ok(response) = client.receive() {
        confirmed |= response.id == shutdown && response.reply == Reply::Done;
    }
    assert!(confirmed);
    daemon.ended();
}

#[test]
fn without_descriptors_the_daemon_waits_for_clients_to_leave() {
    let house = TestHouse::new();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n \"$0\"; exec \"$@\""])
        .arg(DESCRIPTORS.to_string())
        .args([env!("CARGO_BIN_EXE_archond"), "run"])
        .env("ARCHOND_HOME", house.path());
    let mut daemon = Foreground::run(command);
    let mut crowd: Vec<UnixStream> =
        (0..DESCRIPTORS).map(|_| UnixStream::connect(house.socket()).unwrap()).collect();
    daemon.wait_for("cannot be let in");
    let before = ticks(daemon.child.id());
    let last = crowd.last_mut().unwrap();
    last.set_read_timeout(Some(MEASURED)).unwrap();
    assert!(last.read(&mut [0]).is_err(), "nobody was to be let in");
    let spent = ticks(daemon.child.id()) - before;
    assert!(spent < TICKS_MAX, "{spent} hundredths of a second were spent on waiting");

    drop(crowd);
    let mut client = Client::connect(&house.socket()).unwrap();
    assert_eq!(client.ask(Op::Shutdown).unwrap(), Reply::Done);
    let rest = daemon.ended();
    assert!(!rest.contains("cannot be let in"), "it was said again:\n{rest}");
}

/// The processor time of a process.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold anything: the fields follow the last one.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

//! Many clients, impatient clients, clients that do not listen: each gets what it is owed, and the daemon lives.
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use archond::admin::protocol::{Op, Reply};

use crate::kit::{Client, Daemon, TestHouse};

/// Requests whose answers no socket buffer holds: about 1 KB each, and the kernel's share.
const REQUESTS: u64 = 240;
/// Descriptors of a daemon that has few, and more clients than that.
const DESCRIPTORS: usize = 40;
/// How long it is measured what waiting for descriptors costs.
const MEASURED: Duration = Duration::from_millis(500);
/// Processor time within that, in hundredths of a second: five looks take none; a loop takes all 50.
const TICKS_MAX: u64 = 20;

#[test]
fn a_shutdown_is_confirmed_to_a_client_that_reads_late() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    for _ in 0..REQUESTS {
        client.send(Op::Status).unwrap();
    }
    let shutdown = client.send(Op::Shutdown).unwrap();
    // Whoever waits for the door to close reads when the house is closing.
    while house.socket().exists() {
        std::thread::yield_now();
    }
    let mut confirmed = false;
    while let Ok(response) = client.receive() {
        confirmed |= response.id == shutdown && response.reply == Reply::Done;
    }
    assert!(confirmed);
    assert!(daemon.wait(Duration::from_secs(30)), "the daemon still runs");
}

#[test]
fn without_descriptors_the_daemon_waits_for_clients_to_leave() {
    let house = TestHouse::new();
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n \"$0\"; exec \"$@\""])
        .arg(DESCRIPTORS.to_string())
        .args([env!("CARGO_BIN_EXE_archond"), "run"]);
    let mut child = command
        .env("ARCHOND_HOME", house.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let daemon = Daemon::of(child.id());
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("the house is open") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the daemon ended");
    }

    let mut crowd: Vec<UnixStream> =
        (0..DESCRIPTORS).map(|_| UnixStream::connect(house.socket()).unwrap()).collect();
    while !line.contains("cannot be let in") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the daemon ended");
    }
    let before = ticks(child.id());
    let last = crowd.last_mut().unwrap();
    last.set_read_timeout(Some(MEASURED)).unwrap();
    assert!(last.read(&mut [0]).is_err(), "nobody was to be let in");
    let spent = ticks(child.id()) - before;
    assert!(spent < TICKS_MAX, "{spent} hundredths of a second were spent on waiting");

    drop(crowd);
    let mut client = Client::connect(&house.socket()).unwrap();
    assert_eq!(client.ask(Op::Shutdown).unwrap(), Reply::Done);
    assert!(daemon.wait(Duration::from_secs(30)), "the daemon still runs");
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("cannot be let in"), "it was said again:\n{rest}");
}

/// The processor time of a process.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold anything: the fields follow the last one.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

//! What a bad day writes into the log: a storm of restarts must not bury what matters, nor fill the disk.
use std::time::Duration;

use crate::kit::{Daemon, TestHouse, text};

/// The lines of the log, from the first start on.
fn lines(house: &TestHouse) -> Vec<String> {
    let logs = std::fs::read_dir(house.path().join("state/logs")).unwrap();
    let files = logs.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("archond.log"));
    files
        .flat_map(|path| {
            std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_failure_and_its_restart_are_one_line() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    let mut client = house.client();
    client.chat("ezra", "first", "main", "hello");
    let before = lines(&house).len();
    let mut killed = 0;
    // Fewer than its profile bears.
    for round in 0..2 {
        let worker = client.status().models.iter().find_map(|model| model.pid).unwrap();
        Daemon::of(worker).kill();
        client.chat("ezra", &format!("worker{round}"), "main", "hello");
        for path in ["house/archons/ezra/hermes", "house/archons/ezra/harness"] {
            let output = house.run(&["repl", "-c", &format!("kill {path}")]);
            assert!(output.status.success(), "{}", text(&output));
            client.chat("ezra", &format!("{path}{round}"), "main", "hello");
        }
        killed += 3;
    }
    drop(client);
    // What was logged is in the file once the daemon has ended in order.
    assert!(house.run(&["shutdown"]).status.success());
    assert!(daemon.wait(Duration::from_secs(60)));
    let lines = lines(&house);
    let told = lines.iter().skip(before);
    let told: Vec<_> =
        told.filter(|line| !line.contains("the operator acted") && !line.contains("the house ")).collect();
    assert!(told.len() <= killed, "{killed} failures, {} lines: {told:#?}", told.len());
    assert!(told.len() >= killed / 2, "failures are told: {told:#?}");
}

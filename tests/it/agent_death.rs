//! The daemon is killed at random moments inside turns that call a tool: no effect happens twice, nothing outlives its call, and each turn
//! ends in an answer or an honest failure.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use archond::admin::protocol::{Op, Reply, TurnView};
use rustix::event::{Timespec, poll};

use crate::kit::TestHouse;

/// Kills inside turns. `ARCHOND_TOOL_KILLS` changes it.
const KILLS: u64 = 30;
/// Longest life of a daemon from a message on, in microseconds: most turns are over after that.
const LIFE_MAX_US: u64 = 250_000;
/// A tool with an effect that can be counted, in the middle of the time that it takes.
const PROGRAM: &str = r#"#!/bin/sh
read -r line
sleep 0.03
echo done >> log
sleep 0.03
echo '{"result": "blue river stone"}'
"#;
const TOOL: &str = r##"(
    description: "Echoes the text back.",
    parameters: r#"{
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The text"}},
        "required": ["text"]
    }"#,
    risk: Write,
)"##;

fn house() -> TestHouse {
    let house = TestHouse::new();
    let tools = house.path().join("config/tools");
    std::fs::create_dir_all(&tools).unwrap();
    std::fs::write(tools.join("echo.ron"), TOOL).unwrap();
    std::fs::write(tools.join("echo"), PROGRAM).unwrap();
    std::fs::set_permissions(tools.join("echo"), std::fs::Permissions::from_mode(0o700)).unwrap();
    house.write_profile("ezra", r#"tools: ["echo"], permissions: (write: Allow),"#);
    house
}

fn effects(log: &Path) -> usize {
    std::fs::read_to_string(log).map_or(0, |log| log.lines().count())
}

/// Processes of this house's tools.
fn left_over(program: &Path) -> usize {
    let program = program.display().to_string();
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = commands.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands.filter(|command| String::from_utf8_lossy(command).contains(&program)).count()
}

#[test]
fn a_kill_inside_a_call_repeats_nothing_and_leaves_nothing() {
    let kills =
        std::env::var("ARCHOND_TOOL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let house = house();
    let log = house.path().join("state/archons/ezra/workspace/log");
    let program = house.path().join("config/tools/echo");
    let mut random = u64::from(std::process::id()) * 7919 + 1;
    let (mut answered, mut honest, mut effects_before) = (0, 0, 0);
    for kill in 0..kills {
        let say = || Op::Chat {
            archon: "ezra".into(),
            text: "echo blue river stone".into(),
            key: format!("k{kill}"),
            thread: Some(format!("t{kill}")),
        };
        let daemon = house.start(&["ezra"]);
        house.client().send(say()).unwrap();
        // xorshift64 (Marsaglia 2003)
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        daemon.wait(Duration::from_micros(random % LIFE_MAX_US));
        daemon.kill();
        drop(daemon);
        let daemon = house.start(&["ezra"]);
        let mut client = house.client();
        client.send(say()).unwrap();
        let answer = loop {
            match client.receive().unwrap().reply {
                Reply::Turn(TurnView::Ended(answer)) => break answer.text,
                Reply::Turn(_) => {}
                other => panic!("{other:?}"),
            }
        };
        let effects = effects(&log) - std::mem::replace(&mut effects_before, effects(&log));
        assert!(effects <= 1, "{effects} effects of one message: {answer}");
        if answer.starts_with("Echo: blue river stone") {
            assert_eq!(effects, 1, "{answer}");
            answered += 1;
        } else {
            assert!(answer.contains("archond was interrupted during this call"), "{answer}");
            honest += 1;
        }
        for _ in 0..200 {
            if left_over(&program) == 0 {
                break;
            }
            poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap();
        }
        assert_eq!(left_over(&program), 0, "a process outlived its call");
        daemon.kill();
    }
    eprintln!("{kills} kills: {answered} answered, {honest} said that they do not know");
    assert!(answered > 0);
}

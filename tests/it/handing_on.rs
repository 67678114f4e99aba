//! An Archon that hands tasks to another one: the real model asks for it, the other one's real tools do it, and no kill does it twice.
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use archond::admin::protocol::{Op, Reply, TurnView, TurnsView};

use crate::kit::{Client, TestHouse, text};

/// Kills inside tasks. `ARCHOND_HANDED_KILLS` changes it.
const KILLS: u64 = 8;
/// Longest life of a daemon from a message on, in microseconds: most tasks are over after that.
const LIFE_MAX_US: u64 = 400_000;
/// A tool with an effect that can be counted, in the middle of the time that it takes.
const PROGRAM: &str = "#!/bin/sh\nread -r line\nsleep 0.03\necho done >> log\nsleep 0.03\necho '{\"result\": \"blue river stone\"}'\n";
const TOOL: &str = r##"(
    description: "Return the text of a file",
    parameters: r#"{
        "type": "object",
        "properties": {"path": {"type": "string", "description": "The path"}},
        "required": ["path"]
    }"#,
    risk: Write,
)"##;
/// As the tiny model was taught to be told.
const TASK: &str = r#"Use the agent tool: archon="electra", task="read the file notes.txt""#;
/// What it makes of it.
const SHOWN: &str = "agent electra: read the file notes.txt";

fn house() -> TestHouse {
    let house = TestHouse::new();
    house.write_profile("ezra", r#"delegates: ["electra"], permissions: (message: Allow),"#);
    house.write_profile("electra", r#"tools: ["read_file"],"#);
    let workspace = house.path().join("state/archons/electra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
    house
}

fn begin(client: &mut Client, key: &str, text: &str) {
    let (archon, thread) = ("ezra".to_owned(), Some("main".to_owned()));
    client.send(Op::Chat { archon, text: text.to_owned(), key: key.to_owned(), thread }).unwrap();
}

/// What was seen before the answer, and the answer.
fn end(client: &mut Client) -> (Vec<TurnView>, String) {
    let mut seen = Vec::new();
    loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Ended(answer)) => return (seen, answer.text),
            Reply::Turn(view) => seen.push(view),
            other => panic!("{other:?}"),
        }
    }
}

fn turns(client: &mut Client, session: &str) -> TurnsView {
    match client.ask(Op::Turns { session: session.to_owned(), from: 0 }).unwrap() {
        Reply::Turns(page) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_real_model_hands_on_what_the_other_ones_tools_do() {
    let house = house();
    let _daemon = house.start(&["ezra", "electra"]);
    let mut client = house.client();
    begin(&mut client, "1", TASK);
    let (seen, answer) = end(&mut client);
    println!("{answer}");
    let is_shown = |view: &TurnView| matches!(view, TurnView::CallBegun { shown, .. } if shown == SHOWN);
    assert!(seen.iter().any(is_shown), "{seen:?}");
    assert!(answer.contains("notes.txt says: milk and honey"), "{answer}");
    let peer = format!("ezra@cli:uid{}", rustix::process::getuid().as_raw());
    let page = turns(&mut client, &format!("electra/agent/{peer}/main"));
    assert_eq!(page.turns[0].user, "read the file notes.txt");
    assert_eq!(page.turns[0].answer, "notes.txt says: milk and honey");
    let audited = house.run(&["audit", "hermes"]);
    assert!(audited.status.success(), "{}", text(&audited));
}

#[test]
fn a_kill_inside_a_task_does_nothing_twice() {
    let kills =
        std::env::var("ARCHOND_HANDED_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let house = house();
    let tools = house.path().join("config/tools");
    std::fs::create_dir_all(&tools).unwrap();
    std::fs::write(tools.join("cat.ron"), TOOL).unwrap();
    std::fs::write(tools.join("cat"), PROGRAM).unwrap();
    std::fs::set_permissions(tools.join("cat"), std::fs::Permissions::from_mode(0o700)).unwrap();
    house.write_profile("electra", r#"tools: ["cat"], permissions: (write: Allow),"#);
    let log = house.path().join("state/archons/electra/workspace/log");
    let effects = || std::fs::read_to_string(&log).map_or(0, |log| log.lines().count());
    let mut random = u64::from(std::process::id()) * 7919 + 1;
    let (mut answered, mut honest, mut before) = (0, 0, 0);
    for kill in 0..kills {
        let say = || Op::Chat {
            archon: "ezra".into(),
            text: TASK.into(),
            key: format!("k{kill}"),
            thread: Some(format!("t{kill}")),
        };
        let daemon = house.start(&["ezra", "electra"]);
        house.client().send(say()).unwrap();
        // xorshift64 (Marsaglia 2003)
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        daemon.wait(Duration::from_micros(random % LIFE_MAX_US));
        daemon.kill();
        drop(daemon);
        let daemon = house.start(&["ezra", "electra"]);
        let mut client = house.client();
        client.send(say()).unwrap();
        let (_, answer) = end(&mut client);
        let effects = effects() - std::mem::replace(&mut before, effects());
        assert!(effects <= 1, "{effects} effects of one task: {answer}");
        let peer = format!("ezra@cli:uid{}", rustix::process::getuid().as_raw());
        let page = turns(&mut client, &format!("electra/agent/{peer}/t{kill}"));
        // A model as small as this one may hand on another task, too; this very one it hands on once.
        let asked = page.turns.iter().filter(|turn| turn.user == "read the file notes.txt").count();
        assert_eq!(asked, 1, "{answer}");
        match page.turns[0].answer.contains("blue river stone") {
            true => answered += 1,
            false => honest += 1,
        }
        daemon.kill();
    }
    println!("{kills} kills: {answered} answered, {honest} said that they do not know");
    assert!(answered > 0);
}

#[test]
fn the_tool_is_there_only_for_those_who_may_ask_somebody() {
    let house = house();
    let _daemon = house.start(&["ezra", "electra"]);
    let mut client = house.client();
    let listed = client.chat("ezra", "1", "main", "/tools").text;
    assert!(listed.contains("  agent (message): Hand a task"), "{listed}");
    assert!(!client.chat("electra", "2", "main", "/tools").text.contains("agent"));
    let listed = |archon| text(&house.run(&["tool", "list", archon]));
    assert!(
        listed("ezra").contains("\nagent ") && !listed("electra").contains("\nagent "),
        "{}",
        listed("ezra")
    );
    for (more, fault) in [
        (r#"delegates: ["elektra"],"#, "there is no Archon `elektra`"),
        (r#"delegates: ["ezra"],"#, "an Archon cannot hand tasks to itself"),
        (r#"delegates: ["electra", "electra"],"#, "`electra` is in the list twice"),
        (r#"tools: ["agent"],"#, "there is no tool `agent`"),
    ] {
        house.write_profile("ezra", more);
        let checked = text(&house.run(&["archon", "check"]));
        assert!(checked.contains(fault), "{checked}");
    }
}

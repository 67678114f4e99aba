//! `archond doctor`, in the states that a house gets into.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{TestHouse, text};

/// Says yes to a check: its state, and a word of its finding.
#[track_caller]
fn check(report: &Value, name: &str, state: &str, words: &str) {
    let rows = report["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["check"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
    assert!(row["state"] == state && row["finding"].as_str().unwrap().contains(words), "{row:#}");
    assert_eq!(row["remedy"].is_null(), state == "ok", "{row:#}");
}

fn report(house: &TestHouse, args: &[&str]) -> (Value, Output) {
    let output = house.run(&[&["doctor", "--json"], args].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    (report, output)
}

/// What a person has who keeps the defaults of his shell.
fn open_to_readers(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_house_that_is_not_there_yet_has_no_problem_and_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("house");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_archond"));
    let output = command.args(["doctor", "--fix"]).env("ARCHOND_HOME", &path).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("nothing to put right\n"), "{said}");
    assert!(said.contains("warning models     no model is here"), "{said}");
    assert!(said.contains("no problem, "), "{said}");
    assert!(!path.exists());
}

#[test]
fn a_daemon_is_asked_and_one_that_was_killed_leaves_what_can_be_put_right() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    house.client().chat("ezra", "1", "main", "hello");
    let (running, output) = report(&house, &[]);
    assert!(output.status.success(), "{}", text(&output));
    check(&running, "daemon", "ok", "it runs: version");
    check(&running, "store", "ok", "1 session; the daemon");
    // A kernel without Landlock is a warning; one without seccomp runs no worker, and this test not at all.
    let sandbox = running["checks"].as_array().unwrap().iter().find(|row| row["check"] == "sandbox").unwrap();
    assert_ne!(sandbox["state"], "problem", "{sandbox:#}");

    daemon.kill();
    let store = house.path().join("data/house.redb");
    let before = std::fs::read(&store).unwrap();
    let (killed, _) = report(&house, &[]);
    check(&killed, "daemon", "ok", "it does not run");
    check(&killed, "store", "ok", "every page is sound; the last daemon was killed");
    check(&killed, "leftovers", "warning", "nobody listens on the socket");
    assert!(house.socket().exists());
    let (fixed, _) = report(&house, &["--fix"]);
    check(&fixed, "leftovers", "ok", "nothing is left over");
    assert!(fixed["repairs"].to_string().contains("archond.sock, on which nobody listened"), "{fixed}");
    assert!(!house.socket().exists());
    assert_eq!(std::fs::read(&store).unwrap(), before, "the store was changed");

    let daemon = house.start(&["ezra"]);
    drop(daemon);
}

#[test]
fn a_daemon_that_stands_still_holds_nobody_up() {
    let house = TestHouse::new();
    let daemon = house.start(&["ezra"]);
    daemon.signal(Signal::STOP);
    let (report, output) = report(&house, &["--fix"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    check(&report, "daemon", "problem", "did not answer within 5 s");
    check(&report, "store", "problem", "holds it, but no daemon answers");
    assert!(house.socket().exists(), "the socket of a daemon that lives was removed");
    daemon.signal(Signal::CONT);
    assert_eq!(house.client().status().archons.len(), 1);
}

#[test]
fn what_is_open_to_others_is_closed_and_what_is_old_and_half_is_removed() {
    let house = TestHouse::new();
    let data = house.path().join("data");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    open_to_readers(&house.path().join("config"));
    let half = |name: &str, hours: u64| {
        let path = data.join("models/gemma-4-e2b").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(1000).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        path
    };
    let (old, young) = (half("old.gguf.part", 30), half("young.gguf.part", 1));
    let (open, output) = report(&house, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    check(&open, "rights", "problem", "others can change");
    check(&open, "leftovers", "warning", "1 half of a file");
    assert!(old.exists());

    let (closed, output) = report(&house, &["--fix"]);
    assert!(output.status.success(), "{}", text(&output));
    check(&closed, "rights", "ok", "nobody else");
    check(&closed, "leftovers", "ok", "1 in the making");
    check(&closed, "models", "ok", "tiny-gemma4");
    assert!(!old.exists() && young.exists());
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn faults_of_settings_models_and_the_store_are_all_told() {
    let house = TestHouse::new();
    let model = house.path().join("data/models/tiny-gemma4/tiny-gemma4.gguf");
    let mut bytes = std::fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&model, &bytes).unwrap();
    drop(archond::store::RedbStore::open(house.path().join("data/house.redb")).unwrap());
    let store = house.path().join("data/house.redb");
    let whole = std::fs::read(&store).unwrap();
    std::fs::write(&store, &whole[..whole.len() / 2]).unwrap();
    std::fs::write(house.path().join("config/archond.ron"), "(worker: (slots: 0), sockets: 1)").unwrap();
    std::fs::write(house.path().join("config/archons/ada.ron"), "(persona: 3)").unwrap();

    let (shallow, output) = report(&house, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    check(&shallow, "models", "ok", "`--deep` reads every byte");
    check(&shallow, "store", "problem", "is damaged");
    check(&shallow, "settings", "problem", "faults in settings or profiles");
    let told = shallow["checks"].to_string();
    for word in ["slots", "sockets", "ada.ron"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let (deep, _) = report(&house, &["--deep", "--fix"]);
    check(&deep, "models", "problem", "wrong sha256");
    assert_eq!(std::fs::read(&store).unwrap(), whole[..whole.len() / 2], "the store was changed");
    assert_eq!(std::fs::read(&model).unwrap(), bytes, "the model was changed");
}

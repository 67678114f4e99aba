//! The user's own tools: the example, what can be wrong with others, and what holds them, through the real tool process.
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archond::tools::{Directory, DirectoryTools};
use archond_actors::domain::{Outcome, Risk};
use archond_actors::ports::ToolSource;
use serde_json::{Value, json};

use crate::tools_kit::{AMPLE, PROGRAM, Watched, Workshop, processes_with, runtime};

/// The file of a tool that nothing is said of.
const PLAIN: &str = r#"(description: "A tool.")"#;

/// A workshop with a directory of the user's own tools.
struct Own {
    shop: Workshop,
    folder: PathBuf,
    tools: DirectoryTools,
}

impl Own {
    /// With the example in it.
    fn new() -> Self {
        let shop = Workshop::new();
        let folder = shop.home().join("tools");
        copy_example(&folder);
        let tools = DirectoryTools::new(shop.tools.clone(), Arc::new(Directory::new(folder.clone())));
        Self { shop, folder, tools }
    }

    /// A tool that is a shell script.
    fn script(&self, name: &str, script: &str) {
        self.file(&format!("{name}.ron"), PLAIN, 0o600);
        self.file(name, &format!("#!/bin/bash\n{script}\n"), 0o700);
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        write(&self.folder.join(name), text, mode);
    }

    fn call_within(&self, name: &str, arguments: &Value, time_max: Duration) -> Outcome {
        runtime().block_on(self.tools.call(Workshop::order(name, arguments, time_max)))
    }

    #[track_caller]
    fn done(&self, name: &str, arguments: &Value) -> String {
        match self.call_within(name, arguments, AMPLE) {
            Outcome::Done { text } => text,
            other => panic!("{name} {arguments}: {other:?}"),
        }
    }

    #[track_caller]
    fn failed(&self, name: &str, arguments: &Value) -> String {
        match self.call_within(name, arguments, AMPLE) {
            Outcome::Failed { text } => text,
            other => panic!("{name} {arguments}: {other:?}"),
        }
    }

    /// What is wrong with this tool, and with no other.
    #[track_caller]
    fn fault(&self, name: &str) -> String {
        let listing = Directory::new(self.folder.clone()).read();
        let names: Vec<&str> = listing.tools.iter().map(|spec| spec.tool.name.as_str()).collect();
        assert_eq!(names, ["calculator"], "the sound one is there, and no other");
        assert!(self.failed(name, &json!({})).contains("there is no tool"), "{name}");
        assert_eq!(self.done("calculator", &json!({"expression": "1+1"})), "2");
        listing.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whatever the rights in this checkout are: those of the copy are the user's.
fn copy_example(folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tools");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    for (name, mode) in [("calculator.ron", 0o600), ("calculator", 0o700)] {
        write(&folder.join(name), &std::fs::read_to_string(from.join(name)).unwrap(), mode);
    }
}

#[test]
fn the_example_calculates_and_says_what_is_wrong() {
    let own = Own::new();
    let specs = own.tools.tools();
    assert_eq!(specs.len(), 1);
    assert_eq!(
        (specs[0].tool.name.as_str(), specs[0].risk, specs[0].is_repeatable),
        ("calculator", Risk::Read, true)
    );
    for (expression, wanted) in [("6*7", "42"), ("(1 + 2) * -3 / 4", "-2.25"), ("4/2", "2")] {
        assert_eq!(own.done("calculator", &json!({ "expression": expression })), wanted, "{expression}");
    }
    for (arguments, wanted) in [
        (json!({"expression": "1/0"}), "division by zero"),
        (
            json!({"expression": "__import__('os')"}),
            "only numbers, + - * / and parentheses can be calculated",
        ),
        (json!({"expression": "2**99"}), "only numbers, + - * / and parentheses can be calculated"),
        (json!({"expression": "(1"}), "this is no expression"),
    ] {
        assert_eq!(own.failed("calculator", &arguments), wanted, "{arguments}");
    }
    for (arguments, wanted) in [
        (json!({"expression": 5}), "`expression`: 5 is not of type"),
        (json!({}), "\"expression\" is a required property"),
        (json!({"expression": "1", "speed": 1}), "'speed' was unexpected"),
        (json!([1]), "expected a map"),
    ] {
        let said = own.failed("calculator", &arguments);
        assert!(
            said.starts_with("the arguments of `calculator` cannot be used: ") && said.contains(wanted),
            "{said}"
        );
    }
}

#[test]
fn a_shell_script_is_a_tool() {
    let own = Own::new();
    own.script("where", "read -r line; echo \"$PWD $line\"; echo hi > made");
    let workspace = own.shop.path("").display().to_string();
    assert_eq!(own.done("where", &json!({})), format!("{} {{}}\n", workspace.trim_end_matches('/')));
    assert_eq!(std::fs::read_to_string(own.shop.path("made")).unwrap(), "hi\n");
    let said = own.failed("where", &json!({"a": 1}));
    assert!(said.ends_with("it takes none, and `a` was given"), "{said}");
    own.script("broken", "echo not this; echo 'no such town' >&2; exit 3");
    assert_eq!(own.failed("broken", &json!({})), "the program failed with exit code 3: no such town");
    own.script("complains", "echo 'it is raining' >&2");
    assert_eq!(own.failed("complains", &json!({})), "it is raining");
    own.script("rubbish", r"printf '\xff\xfe{\x00'");
    assert_eq!(own.done("rubbish", &json!({})), "\u{fffd}\u{fffd}{\0");
    own.script("killed", "kill -9 $$");
    assert_eq!(own.failed("killed", &json!({})), "the program failed by signal 9");
    own.file("books.txt", "a book", 0o600);
    own.script("beside", "cat \"$(dirname \"$0\")/books.txt\"; echo x > \"$(dirname \"$0\")/new\"; true");
    assert_eq!(own.done("beside", &json!({})), "a book");
    assert!(!own.folder.join("new").exists(), "its folder can be read and not written");
    let long = format!("a{}", "\u{f6}".repeat(200_000));
    let schema =
        r##"(description: "x", parameters: r#"{"type":"object","properties":{"t":{"type":"string"}}}"#)"##;
    own.file("count.ron", schema, 0o600);
    own.file("count", "#!/bin/bash\nwc -c\n", 0o700);
    assert_eq!(own.done("count", &json!({ "t": long })).trim(), "400010");
}

#[test]
fn a_bad_file_is_left_out_and_told_with_its_reason() {
    for (ron, wanted) in [
        ("(description: \"x\", risk: Network)", "in this version no tool of your own reaches the network"),
        ("(description: \"x\",\n speed: 3)", "bad.ron:2:2: unknown field `speed`"),
        ("(description", "bad.ron:1:"),
        ("()", "`description` is missing"),
        ("(description: \"x\", program: \"nowhere\")", "nowhere: is missing"),
        ("(description: \"x\", program: \"folder\")", "folder: is not a file"),
        ("(description: \"x\", program: \"link\")", "outside the tools' folder"),
        ("(description: \"x\", program: \"books.txt\")", "is not executable; `chmod u+x`"),
        (
            r##"(description: "x", parameters: r#"{"type": "object", "properties": 3}"#)"##,
            "`parameters` cannot be used",
        ),
    ] {
        let own = Own::new();
        own.script("bad", "echo 1");
        own.file("books.txt", "a book", 0o600);
        std::fs::create_dir(own.folder.join("folder")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", own.folder.join("link")).unwrap();
        own.file("bad.ron", ron, 0o600);
        let told = own.fault("bad");
        assert!(told.contains(wanted), "{ron}: {told}");
    }
}

#[test]
fn a_name_that_is_taken_or_no_name_is_a_fault() {
    for (name, wanted) in [
        ("bash", "there is a built-in tool `bash` already"),
        ("Shout", "needs a name of small letters"),
        ("a-b", "needs a name of small letters"),
    ] {
        let own = Own::new();
        own.script(name, "echo 1");
        let told = own.fault(name);
        assert!(told.contains(wanted), "{told}");
    }
}

#[test]
fn files_that_others_may_write_are_refused() {
    for (name, mode) in [("bad.ron", 0o666), ("bad.ron", 0o620), ("bad", 0o777), ("bad", 0o720)] {
        let own = Own::new();
        own.script("bad", "echo 1");
        std::fs::set_permissions(own.folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        let told = own.fault("bad");
        assert!(told.contains("may be written by others") && told.contains("`chmod go-w`"), "{told}");
    }
    let own = Own::new();
    std::fs::set_permissions(&own.folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(own.tools.tools().is_empty(), "whoever may write the folder may put a program there");
}

#[test]
fn a_program_that_hangs_is_ended() {
    let own = Own::new();
    own.script("hangs", "echo begun; exec -a hangs-4711 sleep 1000");
    let outcome = own.call_within("hangs", &json!({}), Duration::from_secs(2));
    let Outcome::Failed { text } = outcome else { panic!("{outcome:?}") };
    assert!(text.starts_with("the program took longer than 1.5 s") && text.ends_with("begun\n"), "{text}");
    assert_eq!(processes_with("hangs-4711"), Vec::<String>::new());
}

#[test]
fn of_a_hundred_megabytes_the_beginning_and_the_end_are_kept() {
    let own = Own::new();
    own.script("talks", "echo begin; head -c 100000000 /dev/zero | tr '\\0' x; echo end");
    let text = own.done("talks", &json!({}));
    assert!(text.starts_with("begin\n") && text.ends_with("end\n") && text.len() < 300_000, "{}", text.len());
    assert!(text.contains("bytes are left out here"));
    own.script("shouts", "head -c 100000000 /dev/zero | tr '\\0' x >&2; exit 1");
    assert!(own.failed("shouts", &json!({})).len() < 3_000);
}

#[test]
fn nothing_outside_can_be_read_run_or_reached() {
    let own = Own::new();
    own.script("reads", &format!("cat {}", own.shop.secret()));
    assert!(own.failed("reads", &json!({})).contains("ermission denied"));
    own.file("other", "#!/bin/bash\necho ran\n", 0o700);
    own.script("runs", "\"$(dirname \"$0\")/other\"");
    assert!(own.failed("runs", &json!({})).contains("ermission denied"), "it may run itself alone");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    own.script("calls", &format!("echo hi > /dev/tcp/127.0.0.1/{port}"));
    let said = own.failed("calls", &json!({}));
    assert!(said.contains("not permitted") || said.contains("ermission denied"), "{said}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn no_child_of_a_program_outlives_the_call() {
    let own = Own::new();
    own.script(
        "leaves",
        "setsid nohup bash -c 'exec -a leaves-4711 sleep 1000' > /dev/null 2>&1 & echo '{\"result\": 1}'",
    );
    assert_eq!(own.done("leaves", &json!({})), "1");
    assert_eq!(processes_with("leaves-4711"), Vec::<String>::new());
    let pid = own.shop.pipe("pid");
    own.script("waits", "echo $$ > pid; exec sleep 1000");
    let started = runtime().block_on(async {
        let started =
            tokio::task::spawn_blocking(move || Watched::of(&std::fs::read_to_string(pid).unwrap()));
        tokio::select! {
            started = started => started.unwrap(),
            outcome = own.tools.call(Workshop::order("waits", &json!({}), AMPLE)) => panic!("{outcome:?}"),
        }
    });
    started.ends();
}

#[test]
fn what_changed_counts_for_the_next_call() {
    let own = Own::new();
    own.script("changes", "echo one");
    assert_eq!(own.done("changes", &json!({})), "one\n");
    own.script("changes", "echo two, and longer");
    assert_eq!(own.done("changes", &json!({})), "two, and longer\n");
    own.file("changes.ron", "(description: \"Another.\", risk: Write)", 0o600);
    assert_eq!(own.done("changes", &json!({})), "two, and longer\n");
    let specs = own.tools.tools();
    assert_eq!(specs.iter().map(|spec| spec.risk).collect::<Vec<_>>(), [Risk::Read, Risk::Write]);
    std::fs::set_permissions(own.folder.join("changes"), std::fs::Permissions::from_mode(0o722)).unwrap();
    assert!(own.failed("changes", &json!({})).contains("there is no tool"));
    std::fs::remove_file(own.folder.join("changes.ron")).unwrap();
    assert!(own.failed("changes", &json!({})).contains("there is no tool"));
}

#[test]
fn the_command_line_lists_and_calls_them_and_profiles_may_name_them() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    copy_example(&config.join("tools"));
    write(&config.join("tools/bad.ron"), "(description: 3)", 0o600);
    let said = |args: &[&str], code: i32| {
        let mut archond = std::process::Command::new(PROGRAM);
        let output = archond.args(args).env("ARCHOND_HOME", home.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", crate::kit::text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["tool", "call", "calculator", r#"{"expression": "6*7"}"#], 0), "42\n");
    said(&["tool", "call", "calculator", r#"{"expression": "6/0"}"#], 1);
    let list = said(&["tool", "list"], 0);
    assert!(list.contains("calculator") && list.contains("directory"), "{list}");
    assert!(list.contains("left out: ") && list.contains("`description` needs a text in quotes"), "{list}");
    let listed: Value = serde_json::from_str(&said(&["tool", "list", "--json"], 0)).unwrap();
    let rows = listed.as_array().unwrap();
    let calculator = rows.iter().position(|row| row["name"] == "calculator").unwrap();
    assert_eq!(rows[calculator]["source"], "directory");
    assert_eq!(rows[calculator + 1]["name"], "bad", "what is wrong with others comes last");
    let profile = |tools: &str| {
        let text = format!(
            r#"(description: "x", persona: "x", route: (default: "smollm2-135m-instruct"), tools: {tools})"#
        );
        std::fs::create_dir_all(config.join("archons")).unwrap();
        std::fs::write(config.join("archons/ada.ron"), text).unwrap();
    };
    profile(r#"["calculator", "bash"]"#);
    said(&["archon", "check"], 0);
    profile(r#"["bad"]"#);
    said(&["archon", "check"], 64);
}

//! The built-in tools in ordinary use, through the real tool process.
use std::time::{Duration, SystemTime};

use archond_actors::domain::Outcome;
use archond_actors::ports::ToolSource;
use serde_json::json;

use crate::tools_kit::{AMPLE, PROGRAM, Workshop, runtime};

fn write(shop: &Workshop, name: &str, text: &str) {
    let path = shop.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_short_file_is_read_as_it_is() {
    let shop = Workshop::new();
    write(&shop, "a/notes.txt", "one\n\ttwo\r\nthree");
    assert_eq!(shop.done("read_file", json!({"path": "a/notes.txt"})), "one\n\ttwo\r\nthree");
    let whole = shop.path("a/notes.txt").display().to_string();
    assert_eq!(shop.done("read_file", json!({"file_path": whole})), "one\n\ttwo\r\nthree");
    assert_eq!(shop.done("read_file", json!({"path": "~/a/../a/./notes.txt"})), "one\n\ttwo\r\nthree");
    let book = shop.home().join("library/book.txt").display().to_string();
    assert_eq!(shop.done("read_file", json!({"path": book})), "of the library\n");
}

#[test]
fn a_long_file_is_read_piece_by_piece() {
    let shop = Workshop::new();
    let lines: Vec<String> = (1..=5000).map(|number| format!("line {number}\n")).collect();
    write(&shop, "long.txt", &lines.concat());
    let first = shop.done("read_file", json!({"path": "long.txt"}));
    assert!(
        first.ends_with("line 2000\n[lines 1 to 2000; go on with offset 2001]"),
        "{}",
        &first[first.len() - 90..]
    );
    let next = shop.done("read_file", json!({"path": "long.txt", "offset": "4999", "limit": 10}));
    assert_eq!(next, "line 4999\nline 5000\n");
    let behind = shop.failed("read_file", json!({"path": "long.txt", "offset": 6000}));
    assert_eq!(behind, "`long.txt` has 5000 lines; offset 6000 is behind its end");
    write(&shop, "wide.txt", &format!("{}\nsecond\n", "x".repeat(300_000)));
    let wide = shop.done("read_file", json!({"path": "wide.txt"}));
    assert!(wide.ends_with("[the beginning of line 1, no more fits; go on with offset 2]"));
    assert_eq!(shop.done("read_file", json!({"path": "wide.txt", "offset": 2})), "second\n");
    write(&shop, "many.txt", &format!("{}\n", "y".repeat(99_999)).repeat(5));
    let many = shop.done("read_file", json!({"path": "many.txt"}));
    assert!(
        many.ends_with("y\n[lines 1 to 2, no more fits; go on with offset 3]"),
        "{}",
        &many[many.len() - 90..]
    );
}

#[test]
fn what_is_no_text_is_refused_in_clear_words() {
    let shop = Workshop::new();
    std::fs::write(shop.path("picture"), b"\x89PNG\0\0").unwrap();
    std::fs::create_dir(shop.path("folder")).unwrap();
    shop.pipe("pipe");
    write(&shop, "empty", "");
    let said = |path: &str| shop.failed("read_file", json!({ "path": path }));
    assert_eq!(said("picture"), "`picture` is a binary file; only text can be handled");
    assert_eq!(said("folder"), "`folder` is a directory; name a file in it");
    assert_eq!(said("pipe"), "`pipe` is neither a file nor a directory");
    assert_eq!(said("nowhere"), "there is no `nowhere`; glob_search shows what there is");
    assert_eq!(shop.done("read_file", json!({"path": "empty"})), "[the file is empty]");
    let wrong = shop.failed("read_file", json!({"path": "empty", "lines": 3}));
    assert!(wrong.contains("unknown field `lines`, expected"), "{wrong}");
    assert_eq!(shop.failed("fly", json!({})), "there is no tool `fly` here");
}

#[test]
fn a_file_is_written_whole_with_its_folders() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let shop = Workshop::new();
    let said = shop.done("write_file", json!({"path": "src/deep/main.rs", "content": "fn main() {}\n"}));
    assert_eq!(said, "wrote 13 bytes to src/deep/main.rs");
    let file = shop.path("src/deep/main.rs");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "fn main() {}\n");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(shop.path("src")).unwrap().mode() & 0o777, 0o700);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o750)).unwrap();
    shop.done("write_file", json!({"path": "src/deep/main.rs", "content": ""}));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o750, "its mode stays");
    assert_eq!(std::fs::read_dir(shop.path("src/deep")).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(
        shop.failed("write_file", json!({"path": "src", "content": ""})),
        "`src` is a directory; name a file in it"
    );
    let book = shop.home().join("library/book.txt").display().to_string();
    let refused = shop.failed("write_file", json!({"path": book, "content": ""}));
    assert!(refused.ends_with("may be read and not written; write into the workspace"), "{refused}");
    let big = "x".repeat(2_000_000);
    assert_eq!(shop.done("write_file", json!({"path": "big", "content": big})), "wrote 2000000 bytes to big");
    let bigger = shop.failed("write_file", json!({"path": "bigger", "content": "x".repeat(9_000_000)}));
    assert!(bigger.ends_with("write in smaller pieces") && !shop.path("bigger").exists(), "{bigger}");
}

#[test]
fn an_edit_needs_text_that_is_there_once() {
    let shop = Workshop::new();
    write(&shop, "a.rs", "let a = 1;\nlet b = 1;\n");
    let edit = |old: &str, new: &str, all: bool| json!({"path": "a.rs", "old_string": old, "new_string": new, "replace_all": all});
    assert_eq!(
        shop.done("edit_file", edit("let a = 1", "let a = 2", false)),
        "replaced 1 occurrence in a.rs"
    );
    assert_eq!(std::fs::read_to_string(shop.path("a.rs")).unwrap(), "let a = 2;\nlet b = 1;\n");
    let many = shop.failed("edit_file", edit("let", "const", false));
    assert!(many.starts_with("old_string occurs 2 times in `a.rs`"), "{many}");
    assert_eq!(shop.done("edit_file", edit("let", "const", true)), "replaced 2 occurrences in a.rs");
    let none = shop.failed("edit_file", edit("var", "x", false));
    assert!(none.starts_with("old_string is not in `a.rs`"), "{none}");
    assert!(shop.failed("edit_file", edit("", "x", false)).starts_with("old_string is empty"));
    assert!(shop.failed("edit_file", edit("x", "x", false)).ends_with("nothing was changed"));
    assert_eq!(std::fs::read_to_string(shop.path("a.rs")).unwrap(), "const a = 2;\nconst b = 1;\n");
}

#[test]
fn files_are_found_by_name_newest_first() {
    let shop = Workshop::new();
    for (age, name) in [(3, "old.rs"), (1, "src/new.rs"), (2, "src/deep/middle.rs"), (0, "notes.txt")] {
        write(&shop, name, "");
        let file = std::fs::File::options().write(true).open(shop.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
    }
    write(&shop, ".git/config.rs", "");
    let found = |arguments| shop.done("glob_search", arguments);
    assert_eq!(found(json!({"pattern": "*.rs"})), "src/new.rs\nsrc/deep/middle.rs\nold.rs\n");
    assert_eq!(found(json!({"pattern": "*.rs", "path": "src"})), "src/new.rs\nsrc/deep/middle.rs\n");
    let whole = shop.path("src/*.rs").display().to_string();
    assert_eq!(found(json!({ "pattern": whole })), "src/new.rs\n");
    assert_eq!(found(json!({"pattern": "*.py"})), "no file fits `*.py`");
    let library = shop.home().join("library");
    let book = library.join("book.txt").display().to_string();
    assert_eq!(found(json!({"pattern": "*.txt", "path": library})), format!("{book}\n"));
    for number in 0..150 {
        write(&shop, &format!("many/{number}.log"), "");
    }
    let many = found(json!({"pattern": "*.log"}));
    assert!(many.ends_with("\n[100 of 150 files, the newest; make the pattern narrower]"), "{many}");
}

#[test]
fn lines_are_found_by_regular_expressions() {
    let shop = Workshop::new();
    write(&shop, "a.rs", "fn main() {\n    todo();\n}\n");
    write(&shop, "src/b.rs", "// Todo\nfn b() {}\n");
    write(&shop, "c.txt", "todo\n");
    write(&shop, "target/out.rs", "todo\n");
    write(&shop, ".gitignore", "target\n");
    std::fs::write(shop.path("data.rs"), b"todo\0").unwrap();
    let found = |arguments| shop.done("grep_search", arguments);
    assert_eq!(found(json!({"pattern": "todo"})), "a.rs:2:    todo();\nc.txt:1:todo\n");
    let all = found(json!({"pattern": "TO.O", "ignore_case": "true", "glob": "*.rs"}));
    assert_eq!(all, "a.rs:2:    todo();\nsrc/b.rs:1:// Todo\n");
    let files = json!({"pattern": "fn \\w+", "output_mode": "files_with_matches"});
    assert_eq!(found(files), "a.rs\nsrc/b.rs\n");
    assert_eq!(found(json!({"pattern": "[a-z]", "path": "a.rs", "output_mode": "count"})), "a.rs:2\n");
    let around = found(json!({"pattern": "todo", "path": "a.rs", "context": 1}));
    assert_eq!(around, "a.rs-1-fn main() {\na.rs:2:    todo();\na.rs-3-}\n");
    assert_eq!(found(json!({"pattern": "nothing"})), "no line fits `nothing`\n");
    assert!(shop.failed("grep_search", json!({"pattern": "("})).contains("not a regular expression"));
}

#[test]
fn a_shell_runs_in_the_workspace_and_says_how_it_ended() {
    let shop = Workshop::new();
    write(&shop, "a.txt", "hello\n");
    assert_eq!(
        shop.bash("cat a.txt; echo wrong >&2; pwd"),
        format!("hello\nwrong\n{}\n", shop.path("").display().to_string().trim_end_matches('/'))
    );
    assert_eq!(shop.bash("echo -n half; exit 3"), "half\n[exit code 3]");
    assert_eq!(shop.bash("kill -9 $$"), "[ended by signal 9]");
    assert_eq!(shop.bash("true"), "");
    // What programs commonly need: pipes, substitution, temporary files, copies, links, moves between folders, times.
    let much = "set -e; mkdir -p d/e; cp -p a.txt d/b.txt; mv d/b.txt d/e/c.txt; ln -s e/c.txt d/l; sed -i s/hello/hi/ d/e/c.txt
        touch d/e/c.txt; t=$(mktemp); echo x > $t; rm $t; cat <(echo sub) d/l | sort; seq 1000 | tail -n 1; timeout 5 echo timed
        sleep 1000 & kill $!; wait $! || echo $?; chmod +x a.txt; echo $HOME | wc -l; env | cut -d= -f1 | sort | tr '\\n' ' '";
    let said = shop.bash(much);
    assert_eq!(
        said,
        "hi\nsub\n1000\ntimed\n143\n1\nHOME LANG OLDPWD PATH PWD SHLVL TERM TMPDIR _ "
            .replace("OLDPWD ", "")
            .trim_end()
            .to_owned()
            + " "
    );
    let slow = shop.failed("bash", json!({"command": "echo begun; sleep 1000", "timeout": 1}));
    assert_eq!(slow, "the command took longer than 1 s and was ended; its output so far:\nbegun\n");
}

#[test]
fn time_and_tasks_need_no_process() {
    let shop = Workshop::new();
    let now = shop.done("clock", json!({}));
    assert!(now.parse::<jiff::Timestamp>().is_ok(), "{now}");
    let said = shop.done("todo", json!({"items": [{"text": "rest", "status": "pending"}]}));
    assert_eq!(said, "[ ] rest\n");
    assert_eq!(
        shop.bash("ls -A ..; ls -A | wc -l").lines().last(),
        Some("0"),
        "the list is not in the workspace"
    );
}

#[test]
fn a_call_that_takes_too_long_is_ended() {
    let shop = Workshop::new();
    let outcome = shop.call_within("bash", &json!({"command": "sleep 1000"}), Duration::from_secs(2));
    let Outcome::Failed { text } = outcome else { panic!("{outcome:?}") };
    assert!(text.starts_with("the command took longer than 1.5 s"), "{text}");
}

#[test]
fn calls_of_one_archon_run_side_by_side() {
    let shop = Workshop::new();
    shop.pipe("p");
    let read = Workshop::order("bash", &json!({"command": "cat p"}), AMPLE);
    let write = Workshop::order("bash", &json!({"command": "echo through > p"}), AMPLE);
    let (read, _) = runtime().block_on(async { tokio::join!(shop.tools.call(read), shop.tools.call(write)) });
    assert_eq!(read, Outcome::Done { text: "through\n".into() });
}

fn archond(home: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(arguments).env("ARCHOND_HOME", home).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn one_call_can_be_made_by_hand() {
    let home = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str], code| {
        let output = archond(home.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{}", crate::kit::text(&output));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (wrote, _) = said(&["tool", "call", "write_file", r#"{"path": "a", "content": "hi"}"#], 0);
    assert_eq!(wrote, "wrote 2 bytes to a\n");
    assert_eq!(said(&["tool", "call", "bash", r#"{"command": "cat a"}"#], 0).0, "hi\n");
    assert!(home.path().join("state/archons/ezra/workspace/a").exists());
    let (_, missing) = said(&["tool", "call", "read_file", r#"{"path": "a"}"#, "--archon", "electra"], 1);
    assert!(missing.contains("there is no `a`"), "{missing}");
    let (_, unknown) = said(&["tool", "call", "clock", "--archon", "esra"], 66);
    assert!(unknown.contains("did you mean `ezra`?"), "{unknown}");
    let (list, _) = said(&["tool", "list"], 0);
    let row = list.lines().find(|line| line.starts_with("bash")).unwrap();
    assert!(row.contains("execute") && row.contains("built-in"), "{list}");
    let (listed, _) = said(&["tool", "list", "ezra", "--json"], 0);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 13, "nobody can search without a search engine");
    let (explained, _) = said(&["sandbox", "explain", "ezra"], 0);
    assert!(explained.contains("Landlock") && explained.contains("yes, version "), "{explained}");
    assert!(explained.contains("state/archons/ezra/workspace"), "{explained}");
    assert!(
        std::fs::read_dir(home.path().join("state/archons/ezra")).unwrap().count() == 1,
        "no temporary folder is left"
    );
}

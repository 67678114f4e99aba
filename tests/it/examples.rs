//! The examples run and say what their documentation promises.
use std::path::Path;
use std::process::Command;

use crate::kit::text;

#[test]
fn one_archon_answers_and_keeps_its_answer() {
    // `cargo test` builds examples beside the program.
    let program = Path::new(env!("CARGO_BIN_EXE_archond"));
    let example = program.with_file_name("examples").join("one_archon");
    assert!(example.exists(), "{} is missing: run `cargo build --release --examples`", example.display());
    let output = Command::new(example).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "echo: is anybody there?\n[1 is durable, for ezra/cli/you/main]\n");
}

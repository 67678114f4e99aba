//! The launcher `./archond`, run for real in a small checkout with stand-ins for cargo and the package tools, so that each of its
//! roads is taken in milliseconds. The stand-ins write down how they were called.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Makes a checkout in `$1` from the project in `$2`. Done by a shell, so that no script is still open for writing in this process
/// when another test's child starts.
const MAKE_CHECKOUT: &str = r#"
mkdir -p "$1/a checkout"/{src,actors,models,archons,.cargo} "$1/bin" "$1/elsewhere"; cd "$1/a checkout"
cp "$2/archond" . && echo 'rust-version = "1.90"' > Cargo.toml; touch Cargo.lock src/lib.rs .cargo/config.toml
ln -s "$1/a checkout/archond" "$1/link"
for tool in bash env readlink dirname find uname nproc sed head cut sort mkdir df awk mv rm cat grep touch flock chmod; do
  ln -s "$(command -v $tool)" "$1/bin/$tool"
done
stand_in() { printf '#!/bin/bash\n%s\n' "$(cat)" > "$1"; chmod +x "$1"; }
stand_in "$1/bin/cargo" <<'CARGO'
[[ $1 != --version && ${2:-} != --version ]] || exit 0
echo "$* CMAKE=${CMAKE:-}" >> "$CALLS"
case $1 in
clippy) [[ ! -e $BROKEN ]] ;;
clean) rm -rf "$CARGO_TARGET_DIR/release" ;;
build)
  [[ ! -p $GATE ]] || read -r _ < "$GATE"
  [[ ! -e $BROKEN ]] || exit 101
  printf '#!/bin/bash\necho "ran $*"\n[[ $1 != read ]] || cat\n' > "$CARGO_TARGET_DIR/release/archond.new"
  chmod +x "$CARGO_TARGET_DIR/release/archond.new" && mv "$CARGO_TARGET_DIR/release/archond.new" "$CARGO_TARGET_DIR/release/archond" ;;
esac
CARGO
stand_in "$1/bin/rustc" <<< 'echo "rustc ${RUSTC_VERSION:-1.95.0} (0000 2026-01-01)"'
stand_in "$1/bin/id" <<< 'echo "${USER_ID:-1000}"'
mkdir "$1/libclang"; echo library > "$1/libclang/libclang.so"
for tool in cc c++ make cmake; do stand_in "$1/bin/$tool" <<< 'echo /usr/include'; done
"#;

/// `python3 -m pip install ... --target DIR`, without a network.
const PYTHON: &str = r#"
echo "python3 $*" >> "$CALLS"
while (($#)) && [[ $1 != --target ]]; do shift; done
(($#)) || exit 0
mkdir -p "$2/cmake/data/bin" "$2/clang/native"
echo library > "$2/clang/native/libclang.so"
printf '#!/bin/bash\n' > "$2/cmake/data/bin/cmake"; chmod +x "$2/cmake/data/bin/cmake"
"#;

/// `apt-get install`, which brings cmake.
const APT: &str = r#"
echo "apt-get $*" >> "$CALLS"
printf '#!/bin/bash\n' > "${0%/*}/cmake"; chmod +x "${0%/*}/cmake"
"#;

struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkout = Self { folder };
        checkout.shell(MAKE_CHECKOUT, &[env!("CARGO_MANIFEST_DIR")]);
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shell(&self, script: &str, arguments: &[&str]) {
        let mut command = Command::new("bash");
        command.args(["-euc", script, "bash"]).arg(self.folder.path()).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn stand_in(&self, tool: &str, body: &str) {
        let script = r#"printf '#!/bin/bash\n%s\n' "$3" > "$1/bin/$2"; chmod +x "$1/bin/$2""#;
        self.shell(script, &[tool, body]);
    }

    fn remove(&self, tools: &[&str]) {
        for tool in tools {
            std::fs::remove_file(self.path("bin").join(tool)).unwrap();
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path(program));
        command.args(arguments).current_dir(self.path("elsewhere")).env_clear();
        command
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("elsewhere"))
            .env("CALLS", self.path("calls"));
        // The libclang of a machine that has none, such as the one that runs these tests.
        command.env("LIBCLANG_PATH", self.path("libclang"));
        command.env("GATE", self.path("gate")).env("BROKEN", self.path("broken"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command("a checkout/archond", arguments).output().unwrap())
    }

    /// How the stand-ins were called, one line each.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn builds(&self) -> usize {
        self.calls().iter().filter(|call| call.starts_with("build --release --locked")).count()
    }
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[test]
fn the_first_run_builds_and_the_next_needs_nothing() {
    let checkout = Checkout::new();
    let first = Ran::of(checkout.command("link", &["start", "ezra"]).output().unwrap());
    assert_eq!((first.code, first.out.as_str()), (Some(0), "ran start ezra\n"), "{}", first.err);
    for stage in ["[1/3]", "[2/3]", "[3/3]"] {
        assert!(first.err.contains(stage), "{}", first.err);
    }
    checkout.remove(&["cargo", "rustc", "cc", "cmake"]);
    let second = checkout.run(&["ps"]);
    assert_eq!((second.out.as_str(), second.err.as_str()), ("ran ps\n", ""));
    assert_eq!(checkout.builds(), 1);
}

#[test]
fn a_changed_and_a_removed_source_are_built() {
    let checkout = Checkout::new();
    checkout.run(&["ps"]);
    std::fs::write(checkout.path("a checkout/actors/new.rs"), "").unwrap();
    checkout.run(&["ps"]);
    assert_eq!(checkout.builds(), 2);
    std::fs::remove_file(checkout.path("a checkout/actors/new.rs")).unwrap();
    checkout.run(&["ps"]);
    checkout.run(&["ps"]);
    assert_eq!(checkout.builds(), 3);
}

#[test]
fn a_build_for_a_gpu_stays_one_until_it_is_taken_back() {
    let checkout = Checkout::new();
    let run = |features: Option<&str>| {
        let mut command = checkout.command("a checkout/archond", &["ps"]);
        features.map(|features| command.env("ARCHOND_FEATURES", features));
        Ran::of(command.output().unwrap())
    };
    let for_gpu = || checkout.calls().iter().filter(|call| call.contains("--features vulkan")).count();
    run(None);
    let ran = run(Some("vulkan"));
    assert!(ran.err.contains("for vulkan"), "{}", ran.err);
    assert_eq!((ran.out.as_str(), checkout.builds(), for_gpu()), ("ran ps\n", 2, 1));
    run(Some("vulkan"));
    run(None);
    assert_eq!(checkout.builds(), 2, "neither asking for the same nor for nothing builds anything");
    std::fs::write(checkout.path("a checkout/src/lib.rs"), "").unwrap();
    run(None);
    assert_eq!((checkout.builds(), for_gpu()), (3, 2));
    run(Some(""));
    run(None);
    assert_eq!((checkout.builds(), for_gpu()), (4, 2));

    std::fs::write(checkout.path("broken"), "").unwrap();
    assert_eq!(run(Some("cuda")).code, Some(101));
    std::fs::remove_file(checkout.path("broken")).unwrap();
    assert_eq!(run(None).out, "ran ps\n");
    assert_eq!((checkout.builds(), for_gpu()), (5, 2), "what could not be built is not asked for again");
    let ran = run(Some("vulkan; rm x"));
    assert!(ran.code == Some(69) && ran.err.contains("ARCHOND_FEATURES"), "{}", ran.err);
}

#[test]
fn standard_input_belongs_to_the_binary() {
    let checkout = Checkout::new();
    let mut child = checkout.command("a checkout/archond", &["read"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a message\n").unwrap();
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).out, "ran read\na message\n");
}

#[test]
fn a_failed_build_runs_nothing() {
    let checkout = Checkout::new();
    checkout.run(&["ps"]);
    std::fs::write(checkout.path("broken"), "").unwrap();
    std::fs::write(checkout.path("a checkout/src/lib.rs"), "").unwrap();
    let ran = checkout.run(&["ps"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(101), ""));
    std::fs::remove_file(checkout.path("broken")).unwrap();
    assert_eq!(checkout.run(&["ps"]).out, "ran ps\n");
}

#[test]
fn another_cpu_means_another_build() {
    let checkout = Checkout::new();
    checkout.run(&["ps"]);
    std::fs::write(checkout.path("a checkout/target/cpu-flags"), "avx99").unwrap();
    let ran = checkout.run(&["ps"]);
    assert!(ran.err.contains("another CPU") && ran.err.contains("avx99"), "{}", ran.err);
    assert_eq!((ran.out.as_str(), checkout.builds()), ("ran ps\n", 2));
    assert!(checkout.calls().iter().any(|call| call.starts_with("clean")));
}

#[test]
fn wheels_are_fetched_once_and_kept() {
    let checkout = Checkout::new();
    checkout.remove(&["cmake"]);
    checkout.stand_in("python3", PYTHON);
    checkout.run(&["ps"]);
    checkout.stand_in("cmake", "");
    std::fs::write(checkout.path("a checkout/src/lib.rs"), "").unwrap();
    checkout.run(&["ps"]);
    let calls = checkout.calls();
    assert_eq!(calls.iter().filter(|call| call.contains(" install ")).count(), 1, "{calls:?}");
    assert!(calls.iter().any(|call| call.contains("--require-hashes")), "{calls:?}");
    let builds = calls.iter().filter(|call| call.starts_with("build"));
    let own = "a checkout/.tools/lib/cmake/data/bin/cmake";
    assert!(builds.clone().all(|build| build.ends_with(own)) && builds.count() == 2, "{calls:?}");
}

#[test]
fn root_gets_what_is_missing_from_apt() {
    let checkout = Checkout::new();
    checkout.remove(&["cmake"]);
    checkout.stand_in("apt-get", APT);
    checkout.stand_in("id", "echo 0");
    let ran = checkout.run(&["ps"]);
    assert_eq!(ran.out, "ran ps\n", "{}", ran.err);
    let install = checkout.calls().into_iter().find(|call| call.contains(" install ")).unwrap();
    assert!(install.contains("-y") && install.contains("cmake"), "{install}");
    assert!(checkout.calls().contains(&"build --release --locked CMAKE=".to_owned()));
}

#[test]
fn nobody_who_cannot_install_is_left_without_the_command() {
    let checkout = Checkout::new();
    checkout.remove(&["cmake"]);
    checkout.stand_in("apt-get", APT);
    let ran = checkout.run(&["ps"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(69), ""));
    assert!(ran.err.contains("needs cmake. Run:  sudo apt-get install"), "{}", ran.err);
    assert_eq!(checkout.builds(), 0);
}

#[test]
fn a_missing_and_an_old_rust_are_named() {
    let checkout = Checkout::new();
    let old = checkout.command("a checkout/archond", &["ps"]).env("RUSTC_VERSION", "1.79.0").output();
    let old = Ran::of(old.unwrap());
    assert_eq!(old.code, Some(69));
    assert!(old.err.contains("Rust 1.90 or newer is needed, this is 1.79.0"), "{}", old.err);
    checkout.remove(&["rustc"]);
    let none = checkout.run(&["ps"]);
    assert_eq!(none.code, Some(69));
    assert!(none.err.contains("https://sh.rustup.rs"), "{}", none.err);
}

#[test]
fn two_at_once_build_once() {
    let checkout = Checkout::new();
    checkout.shell("mkfifo \"$1/gate\"", &[]);
    let first = checkout.command("a checkout/archond", &["ps"]).spawn().unwrap();
    // Opening the gate for writing waits for the build that reads from it.
    let mut gate = std::fs::OpenOptions::new().write(true).open(checkout.path("gate")).unwrap();
    let mut second = checkout.command("a checkout/archond", &["ps"]).spawn().unwrap();
    let mut said = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for it"), "{line}");
    gate.write_all(b"go\n").unwrap();
    let finished = |child: Child| Ran::of(child.wait_with_output().unwrap()).out;
    assert_eq!([finished(first), finished(second)], ["ran ps\n", "ran ps\n"]);
    assert_eq!(checkout.builds(), 1);
}

#[test]
fn the_long_part_of_a_build_shows_how_far_it_is() {
    let checkout = Checkout::new();
    let began = r#"build="$1/a checkout/target/release/build/llama-cpp-sys-2-0/out/build"; mkfifo "$1/gate"; mkdir -p "$build/src"
        printf '"file": "a"\n"file": "b"\n' > "$build/compile_commands.json"; touch "$build/src/a.o""#;
    checkout.shell(began, &[]);
    let mut command = checkout.command("a checkout/archond", &["ps"]);
    let mut child = command.env("ARCHOND_PROGRESS_SECONDS", "0.01").spawn().unwrap();
    let mut gate = std::fs::OpenOptions::new().write(true).open(checkout.path("gate")).unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.into_iter().any(|line| line.contains("llama.cpp: 1 of 2 files after 0 min")));
    gate.write_all(b"go\n").unwrap();
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).out, "ran ps\n");
}

#[test]
fn the_check_runs_everything_and_says_what_failed() {
    let checkout = Checkout::new();
    let good = checkout.run(&["test"]);
    assert_eq!(good.code, Some(0), "{}", good.err);
    assert!(good.err.ends_with("archond: all checks passed\n"), "{}", good.err);
    for check in ["fmt --all --check", "clippy --release", "test --release --workspace --locked CMAKE="] {
        assert!(checkout.calls().iter().any(|call| call.starts_with(check)), "{:?}", checkout.calls());
    }
    std::fs::write(checkout.path("broken"), "").unwrap();
    let bad = checkout.run(&["test"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.err.ends_with("archond: FAILED: clippy\n"), "{}", bad.err);
}

#[test]
fn some_tests_can_be_chosen() {
    let checkout = Checkout::new();
    assert_eq!(checkout.run(&["test", "--test", "tidy"]).code, Some(0));
    let calls = checkout.calls();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("test --release --locked --test tidy CMAKE="),
        "{calls:?}"
    );
    assert!(!calls.iter().any(|call| call.starts_with("clippy")), "{calls:?}");
}

#[test]
fn help_builds_nothing() {
    let checkout = Checkout::new();
    let ran = checkout.run(&["--help"]);
    assert!(ran.out.contains("not built yet") && ran.out.contains("./archond test"), "{}", ran.out);
    assert_eq!(checkout.builds(), 0);
    assert!(!Path::new(&checkout.path("a checkout/target")).exists());
}

#[test]
fn the_target_directory_may_be_elsewhere() {
    let checkout = Checkout::new();
    let ran = checkout.command("a checkout/archond", &["ps"]).env("CARGO_TARGET_DIR", "built here").output();
    assert_eq!(Ran::of(ran.unwrap()).out, "ran ps\n");
    assert!(checkout.path("elsewhere/built here/release/archond").exists());
}

//! The house rules that neither the compiler nor clippy can see, read from the text of the project itself.
//!
//! Each failure names the place, the rule and the remedy. A lawful exception says why, on its line or the line above:
//! `// tidy: polls a foreign process, which tells no one when it ends`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one person reads at one sitting; longer files hold more than one purpose.
const LINES_MAX: usize = 500;
/// Words that name no purpose, so that everything ends up under them.
const EMPTY_NAMES: [&str; 6] = ["manager", "util", "utils", "helper", "common", "misc"];
/// Modules that only compute.
const PURE: [&str; 15] = [
    "policy",
    "turn",
    "admission",
    "routing",
    "compaction",
    "delegation",
    "watchdog",
    "command",
    "dispatch",
    "receiving",
    "delivery",
    "access",
    "linking",
    "showing",
    "forgoing",
];

/// A file of the project, with its path from the project's root.
struct Text {
    path: String,
    body: String,
}

impl Text {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.body.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn in_folder(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    fn stem(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    /// The line where test code begins; in a file of tests, the first.
    fn tests_begin(&self) -> usize {
        let is_test = self.path.split('/').any(|part| ["tests", "tests.rs", "testkit"].contains(&part));
        if is_test {
            return 1;
        }
        let mark = self.lines().find(|(_, line)| line.trim_start().starts_with("#[cfg(test)]"));
        mark.map_or(usize::MAX, |(number, _)| number)
    }

    /// Whether the line or the one above carries a reason for an exception.
    fn excused(&self, number: usize) -> bool {
        let above = number.saturating_sub(2);
        self.body.lines().skip(above).take(2).any(|line| line.contains("// tidy: "))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = [".git", ".tools", "target"].iter().any(|skip| name == *skip);
        if skipped || path.join("CACHEDIR.TAG").exists() || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every text with this extension, in the order of the paths.
fn texts(extension: &str) -> Vec<Text> {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("inside the project").to_string_lossy().into_owned();
        Text { path: name, body: std::fs::read_to_string(&path).expect("UTF-8 text") }
    };
    paths.into_iter().map(read).collect()
}

/// The Rust files, but for this one, which has to spell out what it forbids.
fn sources() -> Vec<Text> {
    texts("rs").into_iter().filter(|text| text.path != "tests/tidy.rs").collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn check(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n  {}", faults.len(), faults.join("\n  "));
}

/// Whether the code of a line, comments apart, names this crate in a path or a `use`.
fn names_crate(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let starts = !before.is_some_and(|c| c.is_alphanumeric() || "_:\"-".contains(c));
        starts && (after.starts_with("::") || (after.starts_with(';') && code.contains("use ")))
    })
}

fn forbid(text: &Text, names: &[&str], remedy: &str, faults: &mut Vec<String>) {
    for (number, line) in text.lines() {
        for name in names.iter().filter(|name| names_crate(line, name)) {
            faults.push(format!("{}:{number}: names `{name}`; {remedy}", text.path));
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for text in texts("rs") {
        let lines = text.body.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines; split it by purpose, {LINES_MAX} at most", text.path));
        }
        if !text.body.starts_with("//!") {
            faults.push(format!("{}: begin with `//!`: one sentence on what the file is for", text.path));
        }
    }
    check(&faults);
}

#[test]
fn names_say_a_purpose() {
    let mut faults = Vec::new();
    for text in sources() {
        let parts = text.path.trim_end_matches(".rs").split('/').map(|part| (0, part.to_owned()));
        let modules = text.lines().filter_map(|(number, line)| {
            let rest = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            Some((number, rest.strip_prefix("mod ")?.split([';', ' ']).next()?.to_owned()))
        });
        for (number, name) in parts.chain(modules) {
            if let Some(word) = name.split('_').find(|word| EMPTY_NAMES.contains(word)) {
                let path = &text.path;
                faults.push(format!("{path}:{number}: `{word}` in a name; name it after what it does"));
            }
        }
    }
    check(&faults);
}

#[test]
fn each_layer_names_only_what_lies_below() {
    let world =
        ["redb", "llama_cpp_2", "llama_cpp_sys_2", "teloxide", "nostr", "nostr_sdk", "axum", "reqwest"];
    let formats = ["clap", "ron", "serde", "serde_json", "postcard", "archond", "archond_models"];
    let mut faults = Vec::new();
    for text in sources() {
        if text.in_folder("actors/") {
            let remedy = "actors know no technology: add what is needed to a port in actors/src/ports.rs";
            forbid(&text, &world, remedy, &mut faults);
            forbid(&text, &formats, remedy, &mut faults);
            let pure = PURE.contains(&text.stem());
            if pure && text.in_folder("actors/src/") {
                let remedy = "this module only computes: take the fact as an argument, return the decision";
                forbid(&text, &["ractor", "tokio"], remedy, &mut faults);
            }
        } else if text.in_folder("models/") {
            let remedy = "models know nothing of actors: an adapter in src/ joins them";
            forbid(&text, &["archond_actors", "archond", "ractor"], remedy, &mut faults);
        } else {
            let remedy = "only the crate `archond-models` links llama.cpp: use its types";
            forbid(&text, &["llama_cpp_2", "llama_cpp_sys_2"], remedy, &mut faults);
        }
    }
    check(&faults);
}

#[test]
fn the_fit_layer_is_audited_whole() {
    let audited = archond::audit::fit_layer();
    let mut faults = Vec::new();
    for file in &audited {
        faults.extend(
            file.faults.iter().map(|fault| format!("{}: {fault}; the fit layer does not think", file.path)),
        );
        if read(file.path).lines().count() != file.lines {
            faults.push(format!("{}: the binary was built from another text; build again", file.path));
        }
    }
    for text in sources().iter().filter(|text| text.in_folder("actors/src/hermes/")) {
        let is_test = text.stem().ends_with("_tests");
        if !is_test && audited.iter().all(|file| file.path != text.path) {
            faults.push(format!("{}: add it to the files in src/audit.rs", text.path));
        }
    }
    check(&faults);
}

#[test]
fn a_subsystem_is_reached_by_its_handle() {
    let mut faults = Vec::new();
    for text in sources().iter().filter(|text| text.in_folder("actors/src/")) {
        let own = text.path.trim_start_matches("actors/src/").split('/').next().unwrap_or_default();
        for (number, line) in text.lines() {
            let Some((before, _)) = line.split_once("::actor::") else { continue };
            let Some((_, other)) = before.rsplit_once("crate::") else { continue };
            if other != own && !text.excused(number) {
                let path = &text.path;
                faults.push(format!("{path}:{number}: reaches into `{other}/actor.rs`; use its handle"));
            }
        }
    }
    check(&faults);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        ("todo!", "write it, or leave the whole feature out"),
        ("unimplemented!", "write it, or leave the whole feature out"),
        ("FIXME", "mend it, or write down in the text why it is so"),
        ("TODO", "do it, or write down in the text why it is so"),
        ("#[ignore", "a test runs or does not exist; what needs a large model asks for ARCHOND_LIVE=1"),
        ("should_panic", "assert on the error value"),
    ];
    let mut faults = Vec::new();
    for text in sources() {
        for (number, line) in text.lines() {
            for (word, remedy) in words.iter().filter(|(word, _)| line.contains(word)) {
                faults.push(format!("{}:{number}: `{word}`; {remedy}", text.path));
            }
        }
    }
    check(&faults);
}

#[test]
fn tests_wait_on_facts() {
    let mut faults = Vec::new();
    for text in sources() {
        let begin = text.tests_begin();
        for (number, line) in text.lines().filter(|(number, _)| *number >= begin) {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("sleep(") && !text.excused(number) {
                let remedy = "wait on a reply or a fact, or pause tokio's clock";
                faults.push(format!("{}:{number}: a test sleeps; {remedy}", text.path));
            }
        }
    }
    check(&faults);
}

#[test]
fn who_has_children_looks_after_them() {
    let mut faults = Vec::new();
    for text in sources().iter().filter(|text| text.body.contains("impl Actor for")) {
        let has_children =
            text.lines().any(|(_, line)| line.contains("spawn_linked(") && !line.contains("//"));
        let tests = text.tests_begin() == 1;
        if has_children && !tests && !text.body.contains("fn handle_supervisor_evt") {
            let remedy = "ractor's default stops the parent at any child's end: write handle_supervisor_evt";
            faults.push(format!("{}: has children; {remedy}", text.path));
        }
    }
    check(&faults);
}

#[test]
fn panics_unwind_in_every_profile() {
    let manifest = read("Cargo.toml");
    let sections: Vec<&str> = manifest.split("\n[").filter(|part| part.starts_with("profile.")).collect();
    let mut faults = Vec::new();
    for wanted in ["profile.release]", "profile.dev]"] {
        if !sections.iter().any(|section| section.starts_with(wanted)) {
            faults.push(format!("Cargo.toml: [{wanted} is missing; write panic = \"unwind\" there"));
        }
    }
    for section in sections.iter().filter(|section| !section.contains("inherits")) {
        let name = section.split(']').next().unwrap_or_default();
        let is_override = name.matches('.').count() > 1; // of single packages: cargo allows no `panic` there
        if !is_override && !section.lines().any(|line| line.starts_with("panic = \"unwind\"")) {
            faults.push(format!("Cargo.toml: [{name}]: add panic = \"unwind\": supervision catches panics"));
        }
    }
    check(&faults);
}

/// Fields of a RON file that no comment explains: above the field, beside it, or anywhere before it by name in backticks. In the
/// catalogue, which nobody has to write, the comment of a group explains its fields too.
fn unexplained(text: &Text) -> Vec<(usize, String)> {
    let by_group = text.in_folder("models/");
    let (mut found, mut comments, mut groups) = (Vec::new(), String::new(), vec![false]);
    let (mut above, mut in_text) = (false, false);
    for (number, line) in text.lines() {
        let line = line.trim();
        if in_text || line.starts_with("//") {
            in_text = in_text && !line.contains("\"#");
            above = line.starts_with("//");
            comments.push_str(line);
            continue;
        }
        in_text = line.contains("r#\"") && !line.contains("\"#");
        let field = line.split(':').next().unwrap_or_default().trim_start_matches(['(', '{']);
        let is_field = line.contains(':') && field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let named = comments.contains(&format!("`{field}`"));
        let in_group = by_group && groups.last() == Some(&true);
        let explained = above || line.contains("//") || named || in_group;
        if is_field && !explained {
            found.push((number, field.to_owned()));
        }
        let code = line.split("//").next().unwrap_or_default();
        for bracket in code.chars() {
            match bracket {
                '(' | '[' => groups.push(explained),
                ')' | ']' => drop(groups.pop()),
                _ => {}
            }
        }
        above = false;
    }
    found
}

#[test]
fn every_setting_is_explained() {
    let mut faults = Vec::new();
    let folders = ["models/", "archons/", "docs/"];
    for text in texts("ron").iter().filter(|text| folders.iter().any(|folder| text.in_folder(folder))) {
        for (number, field) in unexplained(text) {
            let remedy = "write a comment above or beside it: what it does, in which unit";
            faults.push(format!("{}:{number}: `{field}` is not explained; {remedy}", text.path));
        }
    }
    check(&faults);
}

/// Words in backticks.
fn quoted(body: &str) -> impl Iterator<Item = &str> {
    body.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn top_folders() -> BTreeSet<String> {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    let relative = paths.iter().filter_map(|path| path.strip_prefix(root()).ok());
    let folders = relative.filter(|path| path.components().count() > 1);
    let names = folders.filter_map(|path| Some(path.iter().next()?.to_string_lossy().into_owned()));
    names.filter(|name| !name.starts_with('.')).collect() // an editor's own folders are nobody's business
}

#[test]
fn documents_name_what_is_there() {
    let (folders, architecture) = (top_folders(), read("ARCHITECTURE.md"));
    let mut faults = Vec::new();
    for folder in folders.iter().filter(|folder| !architecture.contains(&format!("{folder}/"))) {
        faults.push(format!("ARCHITECTURE.md: does not name `{folder}/`; say in one line what it holds"));
    }
    for text in texts("md").iter().filter(|text| !text.in_folder("tests/") && text.stem() != "CHANGELOG") {
        for path in quoted(&text.body) {
            let first = path.split('/').next().unwrap_or_default();
            let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
            let is_path = path.contains('/') && plain && folders.contains(first);
            if is_path && !root().join(path).exists() {
                faults.push(format!("{}: names `{path}`, which is not there; correct it", text.path));
            }
        }
    }
    check(&faults);
}

#[test]
fn decisions_are_written_alike_and_listed() {
    let list = read("docs/adr/README.md");
    let mut faults = Vec::new();
    for text in texts("md").iter().filter(|text| text.in_folder("docs/adr/") && text.stem() != "README") {
        if !list.contains(&format!("({}.md)", text.stem())) {
            faults.push(format!("{}: link it from docs/adr/README.md", text.path));
        }
        for heading in ["## Context", "## Choice", "## Cost", "## When to revisit"] {
            if !text.body.contains(heading) {
                faults.push(format!("{}: has no `{heading}`; a decision says all four", text.path));
            }
        }
    }
    check(&faults);
}

#[test]
fn the_launcher_watches_every_crate() {
    let (manifest, launcher) = (read("Cargo.toml"), read("archond"));
    let watched = launcher.lines().find(|line| line.contains("-newer")).unwrap_or_default();
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap_or_default();
    let names = members.split('"').skip(1).step_by(2).filter(|name| *name != ".");
    let lost = names.filter(|name| !watched.contains(&format!(" {name} ")));
    let fault =
        |name| format!("archond: `find ... -newer` does not name `{name}`; changes there build nothing");
    check(&lost.map(fault).collect::<Vec<_>>());
}

/// The verbs behind `archond` at the start of a command: `./archond model pull x` gives `model pull x`.
fn commands(body: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in body.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let pieces: Vec<&str> = if fenced { vec![line] } else { quoted(line).collect() };
        for piece in pieces {
            let piece = piece.trim().trim_start_matches("$ ");
            let Some(rest) = piece.strip_prefix("./archond ").or_else(|| piece.strip_prefix("archond "))
            else {
                continue;
            };
            let is_verb = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            let words = rest.split_whitespace().take_while(|word| is_verb(word) && !word.starts_with('-'));
            found.insert(words.take(2).map(str::to_owned).collect());
        }
    }
    found
}

#[test]
fn documented_commands_exist() {
    let Some(binary) = option_env!("CARGO_BIN_EXE_archond") else { return };
    let help = |words: &[String]| {
        let output = Command::new(binary).args(words).arg("--help").output().expect("the built binary");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // The launcher's own, and those that only the daemon uses.
    let not_in_help = ["test", "setup", "model-worker", "tool-runner"];
    let mut faults = Vec::new();
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(str::to_owned);
    // What the shipped skills tell a model is believed by it.
    let skills =
        texts("md").into_iter().filter(|text| text.in_folder("archons/skills/")).map(|text| text.path);
    for document in documents.into_iter().chain(skills) {
        for command in commands(&read(&document)) {
            let Some(verb) = command.first() else { continue };
            if not_in_help.contains(&verb.as_str()) {
                continue;
            }
            let top = help(&command[..1]);
            let is_group = top.as_ref().is_some_and(|text| text.contains("Commands:"));
            if top.is_none() || (is_group && command.len() > 1 && help(&command).is_none()) {
                let shown = command.join(" ");
                faults.push(format!("{document}: `archond {shown}` does not exist; see `archond --help`"));
            }
        }
    }
    check(&faults);
}

//! What the program's own text says about the fit layer: that it knows no prompt, no model and no tool.
//!
//! The text is that from which this very program was compiled. It is read as words, not as a grammar: strict, so that whoever brings
//! thinking into this layer has to change the rule here, in the open.
use std::collections::BTreeSet;
use std::sync::OnceLock;

use regex::Regex;
use serde::Serialize;

/// Every file of the layer, but for its tests.
const FILES: [(&str, &str); 4] = [
    ("actors/src/hermes/actor.rs", include_str!("../actors/src/hermes/actor.rs")),
    ("actors/src/hermes/dispatch.rs", include_str!("../actors/src/hermes/dispatch.rs")),
    ("actors/src/hermes/handle.rs", include_str!("../actors/src/hermes/handle.rs")),
    ("actors/src/hermes/mod.rs", include_str!("../actors/src/hermes/mod.rs")),
];

/// What it may use of the house: messages, the store, whom to dispatch to, and what is shown and counted.
const HOUSE: [&str; 10] =
    ["command", "domain", "harness", "house", "insight", "link", "memory", "observer", "ports", "session"];
/// Where else its paths may begin.
const OUTSIDE: [&str; 6] = ["crate", "ractor", "std", "super", "tokio", "tracing"];
/// Its own modules, and the one number whose functions it calls.
const OWN: [&str; 5] = ["actor", "dispatch", "handle", "tests", "u32"];
/// Words of those who think. In one's plural, too, and as parts of longer names.
const FORBIDDEN: [&str; 22] = [
    "chat",
    "complexity",
    "context",
    "conversation",
    "engine",
    "gemma",
    "generate",
    "generation",
    "inference",
    "llama",
    "model",
    "persona",
    "pool",
    "prompt",
    "reasoning",
    "route",
    "sampling",
    "skill",
    "temperature",
    "token",
    "tool",
    "worker",
];

/// One file of the layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FitFile {
    /// Where it is in the project.
    pub path: &'static str,
    /// How long it is.
    pub lines: usize,
    /// Which parts of the house, and which crates, it names.
    pub uses: Vec<String>,
    /// What it must not name, with the line.
    pub faults: Vec<String>,
}

/// The layer, as it was compiled into this program.
pub fn fit_layer() -> Vec<FitFile> {
    FILES.iter().map(|(path, text)| examine(path, text)).collect()
}

fn examine(path: &'static str, text: &str) -> FitFile {
    let (mut uses, mut faults) = (BTreeSet::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut fault = |what: String| faults.push(format!("line {}: {what}", number + 1));
        for (start, next) in paths(code) {
            match start {
                "crate" => {
                    if !HOUSE.contains(&next) {
                        fault(format!("uses `crate::{next}`"));
                    }
                    uses.insert(format!("crate::{next}"));
                }
                own if OWN.contains(&own) => {}
                outside => {
                    if !OUTSIDE.contains(&outside) {
                        fault(format!("uses `{outside}`"));
                    }
                    uses.insert(outside.to_owned());
                }
            }
        }
        if let Some(name) = module(code).filter(|name| !OWN.contains(name)) {
            fault(format!("has a module `{name}` that is not examined"));
        }
        for word in words(code) {
            let singular = word.strip_suffix('s').unwrap_or(&word);
            if let Some(found) = FORBIDDEN.iter().find(|known| [word.as_str(), singular].contains(known)) {
                fault(format!("names `{found}`"));
            }
        }
    }
    FitFile { path, lines: text.lines().count(), uses: uses.into_iter().collect(), faults }
}

/// The beginning of each path in a line, and what comes next in it.
fn paths(code: &str) -> Vec<(&str, &str)> {
    static PATH: OnceLock<Option<Regex>> = OnceLock::new();
    // It is sound by its tests; were it not, every line would be a fault.
    let pattern = PATH
        .get_or_init(|| Regex::new(r"(?:^|[^A-Za-z0-9_:])(?:::)?([a-z_][a-z0-9_]*)::([A-Za-z0-9_]*)").ok());
    let Some(pattern) = pattern else { return vec![("unreadable", "")] };
    let found = pattern.captures_iter(code).map(|found| found.extract());
    found.map(|(_, [start, next])| (start, next)).collect()
}

/// The module that a line declares.
fn module(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
    (words.next() == Some("mod"))
        .then(|| words.next().map(|name| name.trim_end_matches([';', '{'])))
        .flatten()
}

/// The words of a line in small letters: `ModelId` has two.
fn words(code: &str) -> Vec<String> {
    let (mut words, mut word, mut was_small) = (Vec::new(), String::new(), false);
    for letter in code.chars().chain([' ']) {
        let ends = !letter.is_alphanumeric() || (letter.is_uppercase() && was_small);
        if ends && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: &[&str]) {
        assert_eq!(examine("x.rs", line).faults, wanted, "{line}");
    }

    #[test]
    fn whatever_thinks_is_found() {
        check(
            "use crate::pool::PoolError;",
            &["line 1: uses `crate::pool`", "line 1: names `pool`", "line 1: names `pool`"],
        );
        check(
            "let x = crate::compaction::prompt(&y);",
            &["line 1: uses `crate::compaction`", "line 1: names `prompt`"],
        );
        check("fn ask(model: ModelId) {}", &["line 1: names `model`", "line 1: names `model`"]);
        check("let text = \"You are Gemma\";", &["line 1: names `gemma`"]);
        check("reqwest::get(address)", &["line 1: uses `reqwest`"]);
        check("::reqwest::get(address)", &["line 1: uses `reqwest`"]);
        check("mod thinking;", &["line 1: has a module `thinking` that is not examined"]);
        check("self.args.spec.tools", &["line 1: names `tool`"]);
    }

    #[test]
    fn what_it_needs_is_not() {
        check("use crate::harness::HarnessHandle; // dispatches; no prompt, no model", &[]);
        check("use std::collections::BTreeMap;", &[]);
        check("tracing::info!(%inbox, \"tried again\");", &[]);
        let uses = examine("x.rs", "use crate::memory::MemoryHandle;\nuse tokio::time::Instant;").uses;
        assert_eq!(uses, ["crate::memory", "tokio"]);
    }

    #[test]
    fn the_fit_layer_thinks_not() {
        for file in fit_layer() {
            assert_eq!(file.faults, Vec::<String>::new(), "{}", file.path);
        }
    }
}

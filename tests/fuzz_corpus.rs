//! Runs every input of `fuzz/corpus`, and what is made of it by small changes, through the fuzz targets: with the stable compiler,
//! in each test run, always the same ones.
//!
//! `ARCHOND_FUZZ_ROUNDS=100000` runs more changes of each input. An input that failed is written down by its target, file and round.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
/// The product's files look for these at the top of their crate.
use fuzz::{chat, engine, media, settings, web};

/// Changes of each input: together a few seconds of work.
const ROUNDS: u32 = 2000;
/// Longest input that is changed, in bytes; one that is longer is run as it is.
const CHANGED_BYTES_MAX: usize = 8 << 10;
/// Bytes and words that readers stumble over.
const WORDS: [&[u8]; 16] = [
    b"(",
    b")",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\n",
    b"/*",
    b"\x1e",
    b"<|turn>",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\xe2\x82",
    b"r#\"",
    b"Some(",
    b"{\"id\":",
];

/// A row of numbers that is the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (end.max(1) as u64)).unwrap()
    }
}

fn changed(input: &[u8], others: &[(PathBuf, Vec<u8>)], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        match numbers.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, WORDS[numbers.below(WORDS.len())].iter().copied())),
            5 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => {
                let (_, other) = &others[numbers.below(others.len())];
                let begin = numbers.below(other.len());
                let end = (begin + 64).min(other.len());
                drop(bytes.splice(at..at, other[begin..end].iter().copied()));
            }
        }
    }
    bytes
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Runs one input; an input that fails is kept for the next runs and for a debugger.
fn try_one(target: &str, body: fn(&[u8]), input: &[u8], name: &str) -> Result<(), Failed> {
    catch_unwind(|| body(input)).map_err(|_| {
        let kept = std::env::temp_dir().join(format!("archond-fuzz-{target}-{name}"));
        let kept = std::fs::write(&kept, input).map(|()| kept.display().to_string());
        Failed::from(format!(
            "{name} broke a promise of `{target}`; the input is in {kept:?}: add it to fuzz/corpus/{target}"
        ))
    })
}

fn all(target: &str, body: fn(&[u8])) -> Result<(), Failed> {
    let rounds = std::env::var("ARCHOND_FUZZ_ROUNDS")
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let inputs = corpus(target);
    assert!(!inputs.is_empty());
    for (path, input) in &inputs {
        let name = path.file_name().unwrap().to_string_lossy();
        try_one(target, body, input, &name)?;
        let mut numbers = Numbers(0);
        for round in 0..if input.len() <= CHANGED_BYTES_MAX { rounds } else { rounds / 20 } {
            try_one(target, body, &changed(input, &inputs, &mut numbers), &format!("{name}-{round}"))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let trials = fuzz::TARGETS.map(|(target, body)| Trial::test(target, move || all(target, body)));
    run(&Arguments::from_args(), trials.into()).exit_code()
}

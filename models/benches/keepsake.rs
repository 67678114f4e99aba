//! Prints what it costs, while nothing goes wrong, that contexts are kept for the next worker: four answers side by side, with and
//! without, by turns. And what a worker then takes to find them again.
//!
//! `cargo bench -p archond-models --bench keepsake`; `ARCHOND_BENCH_MODEL=file.gguf` takes another model than the tiny one,
//! `ARCHOND_BENCH_FAMILY=chatml` says how it converses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use archond_models::engine::{Engine, Keepsake, LoadedModel, Prompt, Request, Residence, SamplingParams};
use archond_models::worker::{AnswerForm, ChatFamily, Conversation};
use rustix::fs::{MemfdFlags, memfd_create};

const ROUNDS: usize = 5;
const ANSWERS: u64 = 4;
const ANSWER_TOKENS: u32 = 150;
const MEMORY_BYTES: u64 = 512 << 20;

fn main() {
    let tiny = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf");
    let path = std::env::var_os("ARCHOND_BENCH_MODEL").map_or_else(tiny, PathBuf::from);
    let chat_ml = std::env::var("ARCHOND_BENCH_FAMILY").is_ok_and(|family| family == "chatml");
    let family = if chat_ml { ChatFamily::ChatMl } else { ChatFamily::Gemma4 };
    let model = LoadedModel::load(&path, family, Residence::default(), |_| {}).unwrap();
    let threads = std::thread::available_parallelism().unwrap().get() as u32;
    println!("{}, {ANSWERS} answers of {ANSWER_TOKENS} tokens, {ROUNDS} rounds", path.display());
    for sentences in [5, 40] {
        let memory = File::from(memfd_create("bench", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY_BYTES).unwrap();
        let open = || Keepsake::open(&memory, 1).unwrap();
        let new = || Engine::new(&model, ANSWERS as u32, 2048, threads).unwrap();
        let (mut plain, mut keeping) = (new(), new());
        keeping.keep_in(open());
        let (mut without, mut with, mut saving) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            without.push(answer(&mut plain, sentences, round).0);
            let (took, saved) = answer(&mut keeping, sentences, round);
            with.push(took);
            saving.push(saved);
        }
        while keeping.keep_idle() {}
        drop(keeping);
        let mut next = new();
        let began = Instant::now();
        let tokens = next.keep_in(open());
        let restored = began.elapsed();
        println!("{} tokens of context each:", tokens / ANSWERS as usize);
        println!("  without  median {:>7.1} ms", median(&mut without));
        println!(
            "  with     median {:>7.1} ms, of which saving {:.1} ms",
            median(&mut with),
            median(&mut saving)
        );
        println!("  found again, all {ANSWERS}, in {:.1} ms", restored.as_secs_f64() * 1e3);
    }
}

/// Answers of exactly so many tokens: what was said becomes ever likelier, so no turn ends by itself. Returns the time, and the
/// part of it that keeping took.
fn answer(engine: &mut Engine<'_>, sentences: usize, round: usize) -> (Duration, Duration) {
    let (began, mut saving) = (Instant::now(), Duration::ZERO);
    for id in 0..ANSWERS {
        engine.start(&Request {
            id,
            prompt: Prompt::Chat(Conversation::of_texts(
                &format!("{round}{id} You are Ezra, a helpful assistant."),
                ["You know many things about rivers and stones and birds. ".repeat(sentences).as_str()],
            )),
            form: AnswerForm::default(),
            sampling: SamplingParams { frequency_penalty: -50.0, ..SamplingParams::GREEDY },
            resume: Vec::new(),
            answer_tokens_max: ANSWER_TOKENS,
            context_tokens_max: 2048,
        });
    }
    while !engine.is_idle() {
        engine.step(&mut drop).unwrap();
        let told = Instant::now();
        engine.keep();
        saving += told.elapsed();
    }
    (began.elapsed(), saving)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

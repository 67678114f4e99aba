//! `archond bench`: what a model does on this machine, measured through the same worker process that answers in the house.
//!
//! The names of the measures are those of llama.cpp's own `llama-bench`: pp512 reads a prompt of about 512 tokens, tg128 writes 128.
//! The loads with several sessions are what a house of agents does: the same long instructions, different questions, all at once.
use std::time::Duration;

use archond_models::worker::{Spawner, WorkerError, WorkerSpec};
use serde::Serialize;

mod bandwidth;
mod driver;
mod figures;
mod plot;
mod words;

pub use bandwidth::{Limit, bytes_per_token};
pub use plot::{PlotError, draw};

use driver::{Driver, Load};
use figures::{Spread, spread};

/// The line that a model is held against, in tokens a second: about what a person reads along with, and an agent does not starve at.
pub const LINE_TOKENS_PER_SECOND: f64 = 20.0;
/// Sessions at once that are measured, as far as the worker has slots.
pub const SESSIONS: [u32; 5] = [1, 2, 4, 8, 16];
/// Tokens of pp512, about: which words are how many tokens differs between vocabularies. The exact number is used and told.
const PROMPT_TOKENS: usize = 512;
/// Tokens of tg128.
const ANSWER_TOKENS: u32 = 128;
/// Words of the instructions that all sessions share: about 600 tokens.
const INSTRUCTIONS_WORDS: usize = 450;
/// Turns of each session, and tokens of each answer.
const TURNS: usize = 2;
const TURN_TOKENS: u32 = 32;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The worker could not be started.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The worker ended, or refused.
    #[error("the model worker ended: {detail}")]
    Ended {
        /// What it said.
        detail: String,
    },
    /// A request was not taken.
    #[error("the model worker refused to measure: {detail}")]
    Refused {
        /// Why.
        detail: String,
    },
    /// Nothing came for too long.
    #[error("the model worker said nothing for {} s: is the machine busy?", .0.as_secs())]
    Silent(Duration),
}

/// Many sessions at once.
#[derive(Debug, Clone, Serialize)]
pub struct Sessions {
    /// How many.
    pub sessions: u32,
    /// Tokens written a second, all together, from the first request to the last answer.
    pub tokens_per_second: f64,
    /// From a request to its first token, median, in seconds.
    pub first_token_p50: f64,
    /// The slowest twentieth.
    pub first_token_p95: f64,
    /// Longest time between two tokens of one answer, in seconds.
    pub gap_max: f64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// How many of these were not computed.
    pub reused_tokens: u64,
    /// Processor time of the worker, in seconds.
    pub cpu_seconds: f64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model's id.
    pub model: String,
    /// Threads that compute.
    pub threads: u32,
    /// From the start of the worker to its readiness, in seconds.
    pub load_seconds: f64,
    /// Reading: tokens a second.
    pub prompt: Spread,
    /// How many tokens the prompt had.
    pub prompt_tokens: u32,
    /// Writing, one answer alone: tokens a second.
    pub generation: Spread,
    /// Several at once.
    pub sessions: Vec<Sessions>,
    /// Most memory that the worker had resident, in bytes.
    pub memory_peak_bytes: u64,
    /// What the machine's memory allows.
    pub limit: Option<Limit>,
    /// [`LINE_TOKENS_PER_SECOND`].
    pub line_tokens_per_second: f64,
    /// Writing is not slower than the line.
    pub passed: bool,
}

/// Measures. `repetitions` of the single figures; `tell` hears what is measured now.
pub async fn run(
    spawner: &Spawner,
    spec: WorkerSpec,
    model: &str,
    limit: Option<Limit>,
    repetitions: usize,
    mut tell: impl FnMut(&str),
) -> Result<Report, BenchError> {
    let threads = spec.threads;
    tell("loading the model");
    let mut driver = Driver::start(spawner, spec).await?;
    let (mut prompt, mut generation, mut prompt_tokens) = (Vec::new(), Vec::new(), 0);
    for round in 0..repetitions {
        tell(&format!("reading {PROMPT_TOKENS} tokens, {} of {repetitions}", round + 1));
        let answer = driver.complete(&words::text(round as u64, PROMPT_TOKENS * 3 / 4), 1).await?;
        let computed = answer.prompt_tokens - answer.cached_tokens;
        prompt_tokens = answer.prompt_tokens;
        prompt.push(f64::from(computed) * 1000.0 / f64::from(answer.prefill_ms.max(1)));
        tell(&format!("writing {ANSWER_TOKENS} tokens, {} of {repetitions}", round + 1));
        let answer = driver.complete(&words::text(1000 + round as u64, 8), ANSWER_TOKENS).await?;
        generation.push(
            f64::from(answer.answer_tokens.saturating_sub(1)) * 1000.0 / f64::from(answer.decode_ms.max(1)),
        );
    }
    let mut sessions = Vec::new();
    let slots = driver.slots();
    for number in SESSIONS.into_iter().filter(|number| *number <= slots) {
        tell(&format!("{number} sessions at once"));
        let instructions = words::text(u64::from(number) * 7, INSTRUCTIONS_WORDS);
        let load = Load { sessions: number, turns: TURNS, answer_tokens: TURN_TOKENS, instructions };
        sessions.push(driver.converse(&load).await?);
    }
    let generation = spread(generation);
    Ok(Report {
        model: model.to_owned(),
        threads,
        load_seconds: driver.load_time().as_secs_f64(),
        prompt: spread(prompt),
        prompt_tokens,
        passed: generation.median >= LINE_TOKENS_PER_SECOND,
        generation,
        sessions,
        memory_peak_bytes: driver.memory_peak_bytes(),
        limit,
        line_tokens_per_second: LINE_TOKENS_PER_SECOND,
    })
}

//! Vectors of passages: computed in a context of their own, so that no conversation loses its place, a few tokens at a time, so that none
//! has to wait for long.
//!
//! The vector of a passage is the mean of what the last layer makes of each of its tokens, brought to length 1: "mean pooling". llama.cpp
//! could take the mean itself, but only of passages that fit into one batch.
//!
//! Embedding models mostly read a text in both directions, and make its vector in a way of their own. They get each passage whole, and llama.cpp
//! makes the vector as the model's file says. Nobody talks with such a model, so nobody waits for the longer step.
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::batch::now;
use super::job::{count, milliseconds};
use super::model::LoadedModel;
use super::{EngineError, EngineEvent, Finding, Finish, Refusal, Usage};

/// Most tokens of one step: llama.cpp computes, and makes room for, the logits of each, though nobody wants them.
const STEP_TOKENS_MAX: usize = 32;
/// What must be left of the worker's memory for the answers beside it: what llama.cpp takes while it computes, several times over. Its
/// large buffers are there from the beginning.
const HEADROOM_BYTES: usize = 64 << 20;
/// Short passages that are read side by side in one step.
const SEQUENCES_MAX: usize = 8;

/// Computes vectors for those who wait, one request after the other.
pub(super) struct Embedder<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    jobs: VecDeque<Embedding>,
    /// Each passage is read in one step.
    reads_whole: bool,
}

/// The passages of one request.
struct Embedding {
    id: u64,
    began: Instant,
    passages: Vec<Vec<LlamaToken>>,
    /// The first passage that is not read to its end, and how much of it is.
    next: usize,
    read: usize,
    /// Of what is read of it.
    sum: Vec<f64>,
    tokens_done: u32,
    tokens_all: u32,
}

/// What one passage adds to a step.
struct Share {
    passage: usize,
    tokens: usize,
    is_last: bool,
}

impl<'m> Embedder<'m> {
    /// Makes room for passages of at most so many tokens.
    pub(super) fn new(model: &'m LoadedModel, tokens_max: u32, threads: i32) -> Result<Self, Refusal> {
        let reads_whole = model.reads_whole();
        let step = if reads_whole { tokens_max } else { count(STEP_TOKENS_MAX) };
        let (sequences, pooling) = match reads_whole {
            true => (1, LlamaPoolingType::Unspecified),
            false => (count(SEQUENCES_MAX), LlamaPoolingType::None),
        };
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(tokens_max.saturating_add(step)))
            .with_n_seq_max(sequences)
            .with_n_batch(step)
            .with_n_ubatch(step)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_kv_unified(true)
            .with_swa_full(false)
            .with_embeddings(true)
            .with_pooling_type(pooling)
            .with_no_perf(true);
        let no_room = |detail: &dyn std::fmt::Display| Refusal::Unable {
            detail: format!(
                "there is no room to compute vectors in ({detail}); lower `worker.slots`, or raise `worker.memory_max`"
            ),
        };
        let context = model.llama.new_context(&model.backend, params).map_err(|error| no_room(&error))?;
        let batch = LlamaBatch::new((step as usize).max(STEP_TOKENS_MAX), 1);
        let mut embedder = Self { context, batch, jobs: VecDeque::new(), reads_whole };
        embedder.fill_once().map_err(|error| no_room(&error))?;
        if has_room(HEADROOM_BYTES) { Ok(embedder) } else { Err(no_room(&"the answers need what is left")) }
    }

    /// Computes the largest step: what memory it takes, it has then.
    fn fill_once(&mut self) -> Result<(), EngineError> {
        for place in 0..STEP_TOKENS_MAX.min(self.context.n_batch() as usize) {
            self.batch.add(LlamaToken(0), place as i32, &[0], true)?;
        }
        let computed = self.context.decode(&mut self.batch);
        computed.map_err(|error| EngineError::Compute { detail: error.to_string() })?;
        self.context.clear_kv_cache();
        Ok(())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes the passages of a request. None of them may be empty, or longer than this was made for.
    pub(super) fn begin(&mut self, id: u64, passages: Vec<Vec<LlamaToken>>) -> EngineEvent {
        let tokens_all = passages.iter().map(|passage| count(passage.len())).fold(0, u32::saturating_add);
        self.jobs.push_back(Embedding {
            id,
            began: now(),
            passages,
            next: 0,
            read: 0,
            sum: Vec::new(),
            tokens_done: 0,
            tokens_all,
        });
        EngineEvent::Prefill { id, done: 0, total: tokens_all }
    }

    pub(super) fn cancel(&mut self, id: u64) -> Option<EngineEvent> {
        let index = self.jobs.iter().position(|job| job.id == id)?;
        if index == 0 {
            self.context.clear_kv_cache();
        }
        self.jobs.remove(index).map(|job| job.finished(Finish::Cancelled))
    }

    /// Reads at most so many tokens of the request that came first.
    pub(super) fn step(
        &mut self,
        tokens_max: usize,
        events: &mut dyn FnMut(EngineEvent),
    ) -> Result<(), EngineError> {
        if self.reads_whole {
            return self.step_whole(events);
        }
        let Some(job) = self.jobs.front_mut() else { return Ok(()) };
        self.batch.clear();
        let shares = job.fill(&mut self.batch, tokens_max.clamp(1, STEP_TOKENS_MAX))?;
        let computed = self.context.decode(&mut self.batch);
        computed.map_err(|error| EngineError::Compute { detail: error.to_string() })?;
        let mut row = 0;
        for share in &shares {
            for _ in 0..share.tokens {
                let seen = self.context.embeddings_ith(row);
                job.add(seen.map_err(|error| EngineError::Compute { detail: error.to_string() })?);
                row += 1;
            }
            if share.is_last {
                // Whole sequences can always be removed, says llama.cpp; the number is one of those that were used.
                let _always = self.context.clear_kv_cache_seq(Some(sequence(share.passage)), None, None);
                let Some(vector) = unit(&std::mem::take(&mut job.sum)) else {
                    let detail = "the model computes no sensible vector; its file may be damaged".to_owned();
                    events(EngineEvent::Refused { id: job.id, refusal: Refusal::Unable { detail } });
                    self.context.clear_kv_cache();
                    self.jobs.pop_front();
                    return Ok(());
                };
                events(EngineEvent::Found { id: job.id, finding: Finding::Vector(vector) });
            }
        }
        self.tell_progress(events);
        Ok(())
    }

    /// Reads the next passage.
    fn step_whole(&mut self, events: &mut dyn FnMut(EngineEvent)) -> Result<(), EngineError> {
        let Some(job) = self.jobs.front_mut() else { return Ok(()) };
        self.batch.clear();
        let passage = job.passages.get(job.next).map(Vec::as_slice).unwrap_or_default();
        for (place, token) in passage.iter().enumerate() {
            self.batch.add(*token, place as i32, &[0], true)?;
        }
        job.tokens_done = job.tokens_done.saturating_add(count(passage.len()));
        job.next += 1;
        let failed = |detail: String| EngineError::Compute { detail };
        self.context.decode(&mut self.batch).map_err(|error| failed(error.to_string()))?;
        let seen = self.context.embeddings_seq_ith(0).map_err(|error| failed(error.to_string()))?;
        let vector = unit(&seen.iter().copied().map(f64::from).collect::<Vec<_>>());
        self.context.clear_kv_cache();
        let Some(vector) = vector else {
            let detail = "the model computes no sensible vector; its file may be damaged".to_owned();
            events(EngineEvent::Refused { id: job.id, refusal: Refusal::Unable { detail } });
            self.jobs.pop_front();
            return Ok(());
        };
        events(EngineEvent::Found { id: job.id, finding: Finding::Vector(vector) });
        self.tell_progress(events);
        Ok(())
    }

    /// Tells how far the request is that came first, and ends it when all is read.
    fn tell_progress(&mut self, events: &mut dyn FnMut(EngineEvent)) {
        let Some(job) = self.jobs.front() else { return };
        events(EngineEvent::Prefill { id: job.id, done: job.tokens_done, total: job.tokens_all });
        if job.next == job.passages.len() {
            events(job.finished(Finish::EndOfTurn));
            self.jobs.pop_front();
        }
    }
}

impl Embedding {
    /// Puts the next tokens into the batch: of a long passage a part, of short ones several.
    fn fill(&mut self, batch: &mut LlamaBatch<'_>, tokens_max: usize) -> Result<Vec<Share>, EngineError> {
        let (mut shares, mut room) = (Vec::new(), tokens_max);
        while let Some(passage) = self.passages.get(self.next).filter(|_| shares.len() < SEQUENCES_MAX) {
            let unread = passage.get(self.read..).unwrap_or_default();
            // A passage begins with a step, unless it fits into the rest of one: cut elsewhere it would come out rounded otherwise.
            if room < tokens_max && unread.len() > room {
                break;
            }
            let takes = unread.len().min(room);
            for token in unread.iter().take(takes) {
                batch.add(*token, self.read as i32, &[sequence(self.next) as i32], true)?;
                self.read += 1;
            }
            room -= takes;
            self.tokens_done = self.tokens_done.saturating_add(count(takes));
            let is_last = takes == unread.len();
            shares.push(Share { passage: self.next, tokens: takes, is_last });
            if is_last {
                (self.next, self.read) = (self.next + 1, 0);
            }
        }
        Ok(shares)
    }

    fn add(&mut self, seen: &[f32]) {
        self.sum.resize(seen.len(), 0.0);
        self.sum.iter_mut().zip(seen).for_each(|(sum, value)| *sum += f64::from(*value));
    }

    fn finished(&self, reason: Finish) -> EngineEvent {
        let prefill_ms = milliseconds(self.began, now());
        let usage = Usage { prompt_tokens: self.tokens_done, prefill_ms, ..Usage::default() };
        EngineEvent::Finished { id: self.id, reason, usage }
    }
}

/// Whether the process may have so much more memory: its limit is the kernel's affair.
fn has_room(bytes: usize) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let room = probe.try_reserve_exact(bytes).is_ok();
    std::hint::black_box(&probe); // or the compiler would leave it out
    room
}

/// No two passages of a step have the same.
fn sequence(passage: usize) -> u32 {
    count(passage % SEQUENCES_MAX)
}

/// The vector of length 1 in the same direction: that of the mean is that of the sum. `None` if there is none.
fn unit(sum: &[f64]) -> Option<Vec<f32>> {
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    (length.is_finite() && length > 0.0).then(|| sum.iter().map(|value| (value / length) as f32).collect())
}

//! One answer in the making, and the slot that it runs in.
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use llama_cpp_2::token::LlamaToken;

use super::draft::Odds;
use super::drafter::Behind;
use super::media::Medium;
use super::model::LoadedModel;
use super::sampler::Chooser;
use super::shelf::Shelved;
use super::stop::Stopper;
use super::{EngineEvent, Finish, Usage};
use crate::chat::{AnswerEnd, AnswerParser, AnswerPart};

/// Milliseconds between two moments.
pub(super) fn milliseconds(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u32::MAX)
}

/// A count as the wire carries it.
pub(super) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// One sequence of the context.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What it holds and is to hold: the prompt, then the answer.
    pub(super) tokens: Vec<LlamaToken>,
    /// How many of them are in llama.cpp's memory.
    pub(super) held: usize,
    /// How many of them were in its memory when it was saved last; 0 if these were others.
    pub(super) kept: usize,
    /// How many of its tokens the next turn begins with, whatever the answer becomes.
    pub(super) lasting: usize,
    /// What the shelf has of it.
    pub(super) shelved: Option<Shelved>,
    /// The shelf had no room for what it holds now.
    pub(super) is_unfit: bool,
    /// Greater: used later.
    pub(super) last_used: u64,
    /// The answer that runs in it.
    pub(super) job: Option<Job>,
}

impl Slot {
    /// Tokens that must be read before the next one can be chosen.
    pub(super) fn unread(&self) -> &[LlamaToken] {
        self.tokens.get(self.held..).unwrap_or_default()
    }

    /// How many of them may be read in one step.
    pub(super) fn readable(&self) -> usize {
        let ends = self.job.as_ref().map_or([None; 2], |job| [job.instructions, job.checkpoint]);
        // What ends there is saved before anything is read behind it.
        let ends = ends.into_iter().flatten().filter_map(|end| end.checked_sub(self.held));
        let medium = self.next_medium().map(|span| span.places.start.saturating_sub(self.held));
        ends.filter(|left| *left > 0).chain(medium).fold(self.unread().len(), usize::min)
    }

    /// The first medium whose rows are not all in memory.
    pub(super) fn next_medium(&self) -> Option<&Span> {
        self.job.as_ref()?.media.iter().find(|span| span.places.end > self.held)
    }

    /// Whether the next token to read was spoken before, and is spoken again.
    pub(super) fn speaks_again(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.speaks_again && job.first_token.is_none())
    }
}

/// Rows of a medium that follow each other in a prompt.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// Where they stand.
    pub(super) places: Range<usize>,
    /// How many rows of the medium come before.
    pub(super) before: usize,
    pub(super) medium: Arc<Medium>,
}

/// What came of one token.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) parts: Vec<AnswerPart>,
    /// Why the answer is at its end with it, if it is.
    pub(super) finish: Option<Finish>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) chooser: Chooser,
    pub(super) parser: AnswerParser,
    pub(super) stopper: Stopper,
    /// Prompt and answer may have this many tokens together.
    pub(super) tokens_max: usize,
    pub(super) answer_tokens_max: usize,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    /// How many of these came from the shelf.
    pub(super) restored_tokens: usize,
    /// So many tokens are instructions that are to go to the shelf once they are read.
    pub(super) instructions: Option<usize>,
    /// So many tokens are to go to the shelf once they are read, because the window will slide on from there.
    pub(super) checkpoint: Option<usize>,
    /// It took over what a neighbour had read. Once: what cannot be taken is read.
    pub(super) has_taken: bool,
    /// The pictures and recordings of the prompt, in its order.
    pub(super) media: Vec<Span>,
    /// The prompt is in memory, and what is missing of the answer goes the way that it went the first time: token by token.
    pub(super) speaks_again: bool,
    /// Of guesses of what comes next.
    pub(super) odds: Odds,
    /// What its last token was chosen from, where a drafter goes on from there.
    pub(super) behind: Option<Behind>,
    /// Guessed tokens that were computed.
    pub(super) drafted_tokens: usize,
    /// How many of them were right.
    pub(super) accepted_tokens: usize,
    /// Order of arrival: who came first is read first.
    pub(super) arrived: u64,
    pub(super) began: Instant,
    /// When the first token was chosen here. Until then the prompt is being read.
    pub(super) first_token: Option<Instant>,
}

impl Job {
    /// Whether it advances by one token a step, as opposed to reading its prompt.
    pub(super) fn writes(&self) -> bool {
        self.first_token.is_some() || self.speaks_again
    }

    /// Tokens of the answer, when prompt and answer have this many.
    pub(super) fn answer_tokens(&self, tokens: usize) -> usize {
        tokens.saturating_sub(self.prompt_tokens)
    }

    /// Whether the answer may not grow beyond this many tokens of prompt and answer.
    pub(super) fn is_full(&self, tokens: usize) -> bool {
        tokens >= self.tokens_max || self.answer_tokens(tokens) >= self.answer_tokens_max
    }

    /// Brings parser and stopper to where they were behind these tokens. Tells why the answer is at its end, if it is.
    ///
    /// `total` counts prompt and answer. A limit that cuts the resumed tokens short is found by it.
    pub(super) fn replay(
        &mut self,
        model: &LoadedModel,
        answer: &[LlamaToken],
        total: usize,
    ) -> Option<Finish> {
        let mut ended = None;
        for (at, token) in answer.iter().enumerate() {
            let answered = self.take(model, *token, self.prompt_tokens + at + 1);
            if answered.finish.is_some() {
                ended = answered.finish;
                break;
            }
        }
        ended.or_else(|| self.is_full(total).then_some(Finish::Length))
    }

    /// Takes the answer's next token; `total` counts prompt and answer with it.
    pub(super) fn take(&mut self, model: &LoadedModel, token: LlamaToken, total: usize) -> Answered {
        let (mut parts, end) = if model.ends_turn(token) {
            (self.parser.finish(AnswerEnd::ByModel), Some(Finish::EndOfTurn))
        } else {
            let mut buffer = Vec::new();
            let mut parts = self.parser.push(model.shown(token, &mut buffer));
            let is_full = self.is_full(total);
            if is_full {
                parts.extend(self.parser.finish(AnswerEnd::CutOff));
            }
            (parts, is_full.then_some(Finish::Length))
        };
        parts = self.stopper.take(parts);
        if end.is_some() {
            parts.extend(self.stopper.finish());
        }
        let finish = if self.stopper.has_stopped() { Some(Finish::StopText) } else { end };
        Answered { parts, finish }
    }

    /// The event of the end, when prompt and answer have this many tokens.
    pub(super) fn finished(&self, reason: Finish, tokens: usize, now: Instant) -> EngineEvent {
        let first_token = self.first_token.unwrap_or(now);
        let usage = Usage {
            prompt_tokens: count(self.prompt_tokens),
            media_tokens: count(self.media.iter().map(|span| span.places.len()).sum()),
            cached_tokens: count(self.cached_tokens),
            restored_tokens: count(self.restored_tokens),
            answer_tokens: count(self.answer_tokens(tokens)),
            drafted_tokens: count(self.drafted_tokens),
            accepted_tokens: count(self.accepted_tokens),
            prefill_ms: milliseconds(self.began, first_token),
            decode_ms: milliseconds(first_token, now),
        };
        EngineEvent::Finished { id: self.id, reason, usage }
    }
}

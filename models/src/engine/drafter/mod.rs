//! A drafter: a small model that was taught to guess what its large one says next ("multi-token prediction").
//!
//! Gemma 4's has no memory of its own. It looks into keys and values of the model's last two layers, and takes, beside the last token,
//! the hidden state that this was chosen from: all that it needs is in the model's context and in one row of the last batch. That row is
//! kept with the answer it belongs to ([`Behind`]) and goes with it; from one step to the next the drafter itself keeps no words, of
//! whomever. So whatever becomes of a slot, it cannot guess from what another said.
//!
//! Guesses of several answers are made side by side, token by token. llama.cpp has them all at the place of the first one.
use std::path::{Path, PathBuf};
use std::time::Duration;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaContextType};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

mod raw;
#[cfg(test)]
pub(super) mod tests;
mod trust;

use raw::{Hidden, Row, Rows};
use trust::Trust;

use super::batch::{Engine, now};
use super::draft::{Drafted, Guess, Odds, expected};
use super::job::{Slot, count};
use super::pace::{Pace, STEP_SHARED};
use super::{EngineError, LoadedModel, Residence};
use crate::gguf;
use crate::library::drafter_fault;

/// llama.cpp's answer when a slot's memory is full: there is nothing more to guess there.
const FULL: i32 = 1;

/// A drafter's file in memory. It outlives the engines that use it.
#[derive(Debug)]
pub struct DraftModel {
    llama: LlamaModel,
    path: PathBuf,
}

impl DraftModel {
    /// Reads a drafter's file, which must be made for the model, whose own file is named as well. Anything else is told before llama.cpp
    /// sees it: it takes the drafter's word for what the model has.
    pub fn load(
        path: &Path,
        model_path: &Path,
        model: &LoadedModel,
        residence: Residence,
    ) -> Result<Self, EngineError> {
        let fault = |detail: String| EngineError::Drafter { path: path.to_owned(), detail };
        let head = |path: &Path| gguf::check(path).map_err(|error| fault(error.to_string()));
        drafter_fault(&head(model_path)?, &head(path)?).map_or(Ok(()), |detail| Err(fault(detail)))?;
        let llama = super::raw::load(&model.backend, path, residence, |_done| ());
        let llama = llama.map_err(|error| fault(error.to_string()))?;
        Ok(Self { llama, path: path.to_owned() })
    }

    fn fault(&self, detail: &str) -> EngineError {
        EngineError::Drafter { path: self.path.clone(), detail: detail.to_owned() }
    }
}

/// What the last token of an answer was chosen from.
#[derive(Debug)]
pub(super) struct Behind {
    /// So many tokens prompt and answer have with it.
    tokens: usize,
    hidden: Vec<f32>,
}

/// A drafter at work beside a context.
pub(super) struct Drafter<'m> {
    // Fields are dropped in this order: the rows belong to the context.
    rows: Rows,
    context: LlamaContext<'m>,
    pub(super) trust: Trust,
    /// What its steps took since this was asked last.
    spent: Duration,
}

/// An answer that is to be guessed on.
struct Line {
    /// Whose, in the order of the caller.
    answer: usize,
    slot: usize,
    /// Place of the last token that was chosen and is not read yet.
    position: usize,
    token: LlamaToken,
    hidden: Vec<f32>,
    tokens: Vec<LlamaToken>,
    drafted: Vec<Drafted>,
    /// That all of them are right.
    chance: f64,
}

impl<'m> Drafter<'m> {
    /// A context beside another one, whose memory must be empty: llama.cpp takes it for a new one.
    fn beside(
        model: &'m DraftModel,
        of: &LoadedModel,
        other: &LlamaContext<'_>,
        (slots, threads): (u32, i32),
    ) -> Result<Self, EngineError> {
        let params = LlamaContextParams::default()
            .with_context_type(LlamaContextType::Mtp)
            .with_n_ctx(std::num::NonZeroU32::new(other.n_ctx()))
            .with_n_seq_max(slots)
            .with_n_batch(slots)
            .with_n_ubatch(slots)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_kv_unified(false)
            .with_swa_full(false)
            .with_no_perf(true);
        let context = model.llama.new_context_with_ctx_other(&of.backend, params, other);
        let mut context = context.map_err(|error| model.fault(&error.to_string()))?;
        if raw::width(&context) != raw::width(other) {
            return Err(model.fault("its rows do not have the width of the model's"));
        }
        let rows = Rows::of(&context).ok_or_else(|| model.fault("llama.cpp tells no address"))?;
        raw::tell(&mut context, Hidden::OfOutputs)
            .ok_or_else(|| model.fault("llama.cpp tells no address"))?;
        let trust = Trust::new(Pace::new(1, Duration::from_millis(1)));
        Ok(Self { rows, context, trust, spent: Duration::ZERO })
    }

    /// Guesses each line on, by so many tokens at most. An error is llama.cpp's number.
    fn guess(&mut self, lines: &mut [Line], depth: usize) -> Result<(), i32> {
        for place in 0..depth {
            let goes_on = |line: &Line| line.tokens.len() == place && Trust::goes_on(line.chance);
            let mut going: Vec<&mut Line> = lines.iter_mut().filter(|line| goes_on(line)).collect();
            // Sequences that follow each other are computed side by side.
            going.sort_unstable_by_key(|line| line.slot);
            let rows: Vec<Row<'_>> = going.iter().map(|line| line.row()).collect();
            if rows.is_empty() {
                break;
            }
            let began = now();
            let computed = self.rows.compute(&mut self.context, &rows);
            let answers = rows.len();
            for (row, line) in going.into_iter().enumerate().filter(|_| computed.is_ok()) {
                self.take(row as i32, line);
            }
            let took = now() - began;
            self.spent += took;
            computed?;
            self.trust.pace.observe(0, answers, took);
        }
        Ok(())
    }

    /// Takes what a row says for the line's next token. If it says nothing, the line is at its end.
    fn take(&self, row: i32, line: &mut Line) {
        let first = raw::with_logits(&self.context, row, first).flatten();
        let (Some((token, lead)), Some(hidden)) = (first, raw::hidden(&self.context, row)) else { return };
        let chance = self.trust.chance(lead);
        (line.token, line.hidden) = (token, hidden);
        line.tokens.push(token);
        line.drafted.push(Drafted { lead, chance });
        line.chance *= chance;
    }
}

impl Line {
    fn row(&self) -> Row<'_> {
        let (sequence, position) = (self.slot as i32, self.position as i32);
        Row { sequence, position, token: self.token.0, hidden: &self.hidden }
    }
}

/// The likeliest token, and its lead over the second, in natural logarithms of likelihood. `None`: these are no numbers.
fn first(logits: &[f32]) -> Option<(LlamaToken, f32)> {
    let (mut place, mut best, mut second) = (None, f32::NEG_INFINITY, f32::NEG_INFINITY);
    for (at, logit) in logits.iter().enumerate() {
        if *logit > best {
            (place, best, second) = (Some(at), *logit, best);
        } else if *logit > second {
            second = *logit;
        }
    }
    let token = i32::try_from(place?).ok()?;
    Some((LlamaToken(token), best - second))
}

impl<'m> Engine<'m> {
    /// Lets a drafter guess, too. Call it before the first request, and before anything is taken over or shelved. After an error the
    /// engine is as good as before.
    pub fn draft_with(&mut self, model: &'m DraftModel) -> Result<(), EngineError> {
        if self.draft_tokens_max == 0 {
            return Ok(());
        }
        if self.slots.iter().any(|slot| slot.held > 0 || slot.job.is_some()) {
            return Err(model.fault("it came too late: the context is in use"));
        }
        let drafter =
            Drafter::beside(model, self.model, &self.context, (count(self.slots.len()), self.threads))?;
        raw::tell(&mut self.context, Hidden::OfAll)
            .ok_or_else(|| model.fault("llama.cpp tells no address"))?;
        self.drafter = Some(drafter);
        let tried = self.try_drafter();
        self.context.clear_kv_cache();
        tried.inspect_err(|_| self.do_without()).map_err(|detail| model.fault(&detail))
    }

    /// Guesses behind two tokens, twice: the first time reads it from the disk, the second tells what it takes.
    fn try_drafter(&mut self) -> Result<(), String> {
        self.batch.clear();
        for place in 0..2 {
            self.batch.add(LlamaToken(0), place, &[0], place == 1).map_err(|error| error.to_string())?;
        }
        self.compute().map_err(|error| error.to_string())?;
        let hidden = raw::hidden(&self.context, 1).ok_or("the model tells no hidden states")?;
        let drafter = self.drafter.as_mut().ok_or("it is gone")?;
        for _ in 0..2 {
            drafter.spent = Duration::ZERO;
            let mut lines = [Line::of(0, 0, 2, LlamaToken(0), hidden.clone())];
            drafter.guess(&mut lines, 1).map_err(|error| format!("llama.cpp answers {error}"))?;
            let [line] = &lines;
            line.tokens.first().ok_or("its output holds no number")?;
        }
        drafter.trust = Trust::new(Pace::new(1, drafter.spent));
        Ok(())
    }

    /// From now on guesses are made from the text alone.
    fn do_without(&mut self) {
        self.drafter = None;
        let _told_no_address = raw::tell(&mut self.context, Hidden::Kept);
    }

    /// Keeps what the slot's last token was chosen from: this row of the last batch.
    pub(super) fn remember(&mut self, index: usize, row: i32) {
        if self.drafter.is_none() {
            return;
        }
        let Some(Slot { tokens, job: Some(job), .. }) = self.slots.get_mut(index) else { return };
        let hidden = raw::hidden(&self.context, row);
        job.behind = hidden.map(|hidden| Behind { tokens: tokens.len(), hidden });
    }

    /// Asks the drafter for guesses where it promises more than the text, if that pays; the step reads so many tokens beside them.
    pub(super) fn consult(
        &mut self,
        slots: &[usize],
        guesses: &mut [(Guess<LlamaToken>, Odds)],
        read: usize,
        most: usize,
    ) {
        if self.drafter.is_none() {
            return;
        }
        let known = |index: &usize| self.slots.get(*index)?.job.as_ref()?.behind.as_ref();
        let fits = |index: &usize| {
            let slot = self.slots.get(*index)?;
            let is_next = known(index)?.tokens == slot.tokens.len() && slot.unread().len() == 1;
            Some(is_next && self.wanted(slot) > 0)
        };
        let can: Vec<bool> = slots.iter().map(|index| fits(index).unwrap_or(false)).collect();
        let weighed: Vec<_> = guesses.iter().map(|(guess, odds)| (guess, odds)).collect();
        let Some(drafter) = &mut self.drafter else { return };
        let question = drafter.trust.question(&weighed, &can, &self.pace, (read, STEP_SHARED), most);
        let Some(question) = question else { return };
        let line = |answer: &usize| {
            let index = *slots.get(*answer)?;
            let slot = self.slots.get_mut(index)?;
            let (token, position) = (*slot.tokens.last()?, slot.held);
            // It is of use once: after this step the last token is another one.
            let behind = slot.job.as_mut()?.behind.take()?;
            Some(Line::of(*answer, index, position, token, behind.hidden))
        };
        let mut lines: Vec<Line> = question.answers.iter().filter_map(line).collect();
        match drafter.guess(&mut lines, question.depth) {
            Ok(()) | Err(FULL) => {}
            Err(error) => {
                tracing::error!("the drafter is of no further use: llama.cpp answers {error}");
                self.do_without();
                return;
            }
        }
        for mut line in lines {
            let Some((guess, odds)) = guesses.get_mut(line.answer) else { continue };
            let slot = self.slots.get(line.slot);
            let wanted = slot.map_or(0, |slot| self.wanted(slot));
            line.tokens.truncate(wanted);
            line.drafted.truncate(wanted);
            let drafted = Guess::drafted(line.tokens, line.drafted, question.depth.min(wanted));
            if expected(&drafted.chances(odds)) >= expected(&guess.chances(odds)) {
                *guess = drafted;
            }
        }
    }

    /// What drafting took since this was asked last.
    pub(super) fn drafting_took(&mut self) -> Duration {
        self.drafter.as_mut().map_or(Duration::ZERO, |drafter| std::mem::take(&mut drafter.spent))
    }
}

impl Line {
    fn of(answer: usize, slot: usize, position: usize, token: LlamaToken, hidden: Vec<f32>) -> Self {
        let (tokens, drafted) = (Vec::new(), Vec::new());
        Self { answer, slot, position, token, hidden, tokens, drafted, chance: 1.0 }
    }
}

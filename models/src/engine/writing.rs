//! What a slot adds to a batch, and the answer's tokens that are chosen from its rows.
use llama_cpp_2::token::LlamaToken;

use super::batch::{Engine, now};
use super::draft::{Guess, look_up, worthwhile};
use super::job::{Slot, count};
use super::pace::STEP_SHARED;
use super::{Chosen, EngineError, EngineEvent, Finish};

/// What a slot adds to the batch.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) slot: usize,
    /// Tokens that it has and are unread.
    takes: usize,
    /// Tokens that it may have next.
    guess: Guess<LlamaToken>,
    /// So many rows are for guessed tokens, whether there are so many or not.
    draft: usize,
}

impl Share {
    /// So many unread tokens, and no guesses.
    pub(super) fn of(slot: usize, takes: usize) -> Self {
        Self { slot, takes, guess: Guess::default(), draft: 0 }
    }

    /// Rows of the batch.
    pub(super) fn rows(&self) -> usize {
        self.takes + self.draft
    }
}

impl Engine<'_> {
    /// What the slots add whose answers are being written, with as many guesses each as pay beside so many tokens that are read, but no
    /// more than `most`.
    pub(super) fn writers(&mut self, read: usize, most: usize) -> Vec<Share> {
        let slots: Vec<usize> = self.busy(true);
        let most = self.draftable(&slots, read).min(most);
        let guessed = |&index: &usize| {
            let slot = self.slots.get(index)?;
            let mut guess = look_up(&slot.tokens, most.min(self.wanted(slot)));
            // A picture does not come again by itself.
            let words = guess.tokens.iter().take_while(|token| self.model.has(**token)).count();
            guess.tokens.truncate(words);
            Some((guess, slot.job.as_ref()?.odds))
        };
        let mut guesses: Vec<_> = slots.iter().map(|slot| guessed(slot).unwrap_or_default()).collect();
        self.consult(&slots, &mut guesses, read, most);
        let weighed: Vec<_> = guesses.iter().map(|(guess, odds)| (guess, odds)).collect();
        let draft = worthwhile(&weighed, &self.pace, read, STEP_SHARED);
        let shares = slots.into_iter().zip(guesses);
        shares.map(|(slot, (guess, _))| Share { slot, takes: 1, guess, draft }).collect()
    }

    /// Most guesses that each of these slots can take.
    fn draftable(&self, slots: &[usize], read: usize) -> usize {
        let writers = slots.iter().filter_map(|index| self.slots.get(*index));
        let room = |slot: &Slot| match slot.unread() {
            [_] => (self.context_tokens as usize).saturating_sub(slot.tokens.len()),
            _ => 0, // it is spoken again, as it was the first time
        };
        let rows = self.batch_tokens_max.saturating_sub(read) / slots.len().max(1);
        let most = self.draft_tokens_max.min(rows.saturating_sub(1));
        writers.map(room).fold(most, usize::min)
    }

    /// How many more tokens the answer may have behind the next one.
    pub(super) fn wanted(&self, slot: &Slot) -> usize {
        slot.job.as_ref().map_or(0, |job| {
            let of_answer = job.answer_tokens_max.saturating_sub(job.answer_tokens(slot.tokens.len()));
            of_answer.min(job.tokens_max.saturating_sub(slot.tokens.len())).saturating_sub(1)
        })
    }

    /// Puts a slot's share into the batch. Returns the row from which its next token can be chosen, if that is among them; those
    /// behind it are for the guessed tokens.
    pub(super) fn read(&mut self, share: &Share) -> Result<Option<i32>, EngineError> {
        let Some(slot) = self.slots.get_mut(share.slot) else { return Ok(None) };
        let (sequence, mut row) = ([share.slot as i32], None);
        for token in slot.tokens.iter().skip(slot.held).take(share.takes) {
            let is_last = slot.held + 1 == slot.tokens.len();
            row = is_last.then_some(self.batch.n_tokens());
            self.batch.add(*token, slot.held as i32, &sequence, is_last)?;
            slot.held += 1;
        }
        slot.last_used = self.clock;
        let filler = slot.tokens.last().copied().unwrap_or(LlamaToken(0));
        for place in 0..share.draft {
            let guessed = share.guess.tokens.get(place).copied();
            let position = (slot.held + place) as i32;
            self.batch.add(guessed.unwrap_or(filler), position, &sequence, guessed.is_some())?;
        }
        if let Some(job) = &mut slot.job {
            job.drafted_tokens += share.draft.min(share.guess.tokens.len());
        }
        Ok(row)
    }

    /// Chooses a slot's next token, and more as long as those before were guessed right.
    pub(super) fn write(
        &mut self,
        share: &Share,
        row: i32,
        events: &mut dyn FnMut(EngineEvent),
    ) -> Result<(), EngineError> {
        let mut last = row;
        for place in 0..=share.draft {
            last = row + place as i32;
            let Some(token) = self.choose(share, place, row, events)? else { break };
            // What was guessed right is in memory already.
            let right = share.draft > place && share.guess.tokens.get(place) == Some(&token);
            let Some(Slot { held, job: Some(job), .. }) = self.slots.get_mut(share.slot) else { break };
            if !right {
                break;
            }
            *held += 1;
            job.accepted_tokens += 1;
        }
        if share.draft > 0 {
            self.take_back(share.slot)?;
        }
        self.remember(share.slot, last);
        Ok(())
    }

    /// Chooses the token behind so many guessed ones. `None`: the answer is at its end.
    fn choose(
        &mut self,
        share: &Share,
        place: usize,
        row: i32,
        events: &mut dyn FnMut(EngineEvent),
    ) -> Result<Option<LlamaToken>, EngineError> {
        let Some(Slot { tokens, job: Some(job), .. }) = self.slots.get_mut(share.slot) else {
            return Ok(None);
        };
        let row = row + place as i32;
        let unusable = || EngineError::Compute { detail: "the model's output holds no number".to_owned() };
        let token = job.chooser.choose(&self.model.llama, &self.context, row).ok_or_else(unusable)?;
        let right = share.guess.tokens.get(place) == Some(&token);
        job.odds.learn(share.guess.matched_at(place), right);
        if let (Some(drafter), Some(lead)) = (&mut self.drafter, share.guess.lead_at(place)) {
            drafter.trust.learn(place, lead, right);
        }
        job.first_token.get_or_insert_with(now);
        let answered = job.take(self.model, token, tokens.len() + 1);
        // The mark that ends a turn is told only where it completes something: resumed, it ends the answer again.
        if answered.finish != Some(Finish::EndOfTurn) || !answered.parts.is_empty() {
            tokens.push(token);
            let logits = self.context.get_logits_ith(row);
            let logprobs = job.chooser.logprobs(&self.model.llama, logits, token);
            let chosen = Chosen { parts: answered.parts, logprobs };
            events(EngineEvent::Token { id: job.id, token: token.0, chosen });
        }
        if let Some(reason) = answered.finish {
            self.finish(share.slot, reason).into_iter().for_each(events);
            return Ok(None);
        }
        Ok(Some(token))
    }

    /// Removes what was guessed wrong from a slot's memory.
    fn take_back(&mut self, index: usize) -> Result<(), EngineError> {
        let held = self.slots.get(index).map_or(0, |slot| slot.held);
        let taken = self.context.clear_kv_cache_seq(Some(count(index)), Some(count(held)), None);
        if taken == Ok(true) {
            return Ok(());
        }
        Err(EngineError::Compute { detail: "what was guessed wrong cannot be taken back".to_owned() })
    }
}

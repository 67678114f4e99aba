//! Contexts on disk: what is not in any slot now, or was not since the machine was started.
//!
//! Three things go to the shelf: instructions (with their tools) that an Archon's conversations begin with, as soon as they are read; a
//! conversation whose slot is given to another; and one that rests. A prompt that begins like a record takes it from there instead of
//! reading it, if that is more than the slots hold.
use super::batch::Engine;
use super::keepsake::{Keepsake, read_state, state_bytes, write_state};
use super::media::is_place_holder;
use super::pace::STEP_TOKENS_MAX;
use super::slots::{COPY_TOKENS_MIN, usable};

/// Fewest tokens worth a record: below, reading them is about as fast as the disk.
const RECORD_TOKENS_MIN: usize = 64;

/// Records of contexts, each with its own number as the owner.
pub(super) struct Shelf {
    records: Keepsake,
    /// The next record's number.
    owners: u64,
}

/// A record that a prompt begins like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    owner: u64,
    /// Tokens that the record holds.
    length: usize,
    /// Tokens of the prompt that are in memory once it was taken.
    pub(super) keep: usize,
}

impl Found {
    /// Whether it is an earlier state of the very conversation whose prompt has so many tokens of instructions: not the instructions
    /// themselves, and not another conversation that began alike.
    pub(super) fn is_of_one(&self, instructions: usize) -> bool {
        self.length > instructions && self.keep + COPY_TOKENS_MIN >= self.length
    }
}

/// A slot's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelved {
    owner: u64,
    /// Tokens that the slot held when it was saved there.
    tokens: usize,
}

impl Shelf {
    /// The record that spares a prompt most reading, the shortest of equals. Whatever slides out of a window is not in a record.
    fn find(&self, prompt: &[super::LlamaToken], window: Option<u32>) -> Option<Found> {
        let readable = prompt.len().saturating_sub(1);
        let found = self.records.compare(prompt).map(|(owner, length, common)| {
            let oldest = window.map_or(0, |window| length.saturating_sub(window as usize));
            Found { owner, length, keep: usable(common.min(readable), oldest, window) }
        });
        found.max_by_key(|found| (found.keep, std::cmp::Reverse(found.length)))
    }

    /// A number that no record has, and no slot remembers: records that gave way had lower ones.
    fn new_owner(&mut self) -> u64 {
        let owner = self.owners;
        self.owners = owner.wrapping_add(1);
        owner
    }

    fn save(
        &mut self,
        context: &llama_cpp_2::context::LlamaContext<'_>,
        slot: usize,
        tokens: &[super::LlamaToken],
        owner: Option<u64>,
    ) -> Option<Shelved> {
        let owner = owner.unwrap_or_else(|| self.new_owner());
        let mut expendable = self.records.owners();
        expendable.retain(|other| *other != owner);
        let bytes = state_bytes(context, slot as i32);
        let saved =
            self.records.save(owner, tokens, bytes, &expendable, |to| write_state(context, slot as i32, to));
        saved.then_some(Shelved { owner, tokens: tokens.len() })
    }
}

impl Engine<'_> {
    /// Takes contexts from there and puts them there from now on.
    pub fn shelve_in(&mut self, records: Keepsake) {
        let owners = records.owners().into_iter().max().map_or(1, |owner| owner.wrapping_add(1));
        self.shelf = Some(Shelf { records, owners });
    }

    /// The record that spares a prompt more reading than the slots do, which spare it so many tokens.
    pub(super) fn on_shelf(&self, prompt: &[super::LlamaToken], in_slots: usize) -> Option<Found> {
        let found = self.shelf.as_ref()?.find(prompt, self.model.window_tokens())?;
        (found.keep >= in_slots + COPY_TOKENS_MIN).then_some(found)
    }

    /// Reads a record of this prompt's beginning into a slot, whose context is lost. `None`: it was damaged, and the slot is empty.
    pub(super) fn fetch(
        &mut self,
        slot: usize,
        found: Found,
        prompt: &[super::LlamaToken],
    ) -> Option<Shelved> {
        let (context, model, most) = (&mut self.context, self.model, self.context_tokens as usize);
        let sees = self.media.is_some();
        let records = &mut self.shelf.as_mut()?.records;
        let restored = records.restore(found.owner, |tokens, state| {
            // By what it holds, not by its name: nobody is to go on from another's context.
            let begins = tokens.len() == found.length && tokens.get(..found.keep) == prompt.get(..found.keep);
            let sane = begins && tokens.len() <= most;
            sane && tokens.iter().all(|token| model.has(*token) || sees && is_place_holder(*token))
                && read_state(context, slot as i32, state)
        });
        restored?;
        records.touch(found.owner);
        Some(Shelved { owner: found.owner, tokens: found.length })
    }

    /// Whether so many tokens of instructions, with which this prompt begins, are worth a record that is not there yet.
    pub(super) fn lacks(&self, instructions: &[super::LlamaToken]) -> bool {
        instructions.len() >= RECORD_TOKENS_MIN
            && self.shelf.as_ref().is_some_and(|shelf| {
                let mut records = shelf.records.compare(instructions);
                !records.any(|(_, length, common)| length == instructions.len() && common == length)
            })
    }

    /// Tokens behind which a sliding window can still be rolled back.
    pub(super) fn window_spare(&self) -> usize {
        if self.model.window_tokens().is_some() { STEP_TOKENS_MAX } else { usize::MAX }
    }

    /// Puts on the shelf what has just been read up to where it was to go there, before anything is read behind it.
    pub(super) fn shelve_marked(&mut self) {
        let Some(shelf) = &mut self.shelf else { return };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(job) = slot.job.as_mut() else { continue };
            let tokens = slot.tokens.get(..slot.held).unwrap_or_default();
            if job.instructions.take_if(|end| *end == slot.held).is_some() {
                // Shared by all that begin alike: it is nobody's own, and stays as it is.
                let _shared = shelf.save(&self.context, index, tokens, None);
            }
            if job.checkpoint.take_if(|end| *end == slot.held).is_some() {
                let owner = slot.shelved.map(|shelved| shelved.owner);
                slot.shelved = shelf.save(&self.context, index, tokens, owner).or(slot.shelved);
            }
        }
    }

    /// Puts on the shelf what a slot holds and the shelf does not. `false` if there is nothing that is worth it.
    pub(super) fn shelve(&mut self, index: usize) -> bool {
        self.let_go_of_the_answer(index);
        let (Some(slot), Some(shelf)) = (self.slots.get_mut(index), &mut self.shelf) else { return false };
        let known = slot.shelved.map_or(0, |shelved| shelved.tokens);
        let is_there = slot.held == known || slot.lasting == known;
        if slot.job.is_some() || slot.held < RECORD_TOKENS_MIN || is_there || slot.is_unfit {
            return false;
        }
        let tokens = slot.tokens.get(..slot.held).unwrap_or_default();
        let saved = shelf.save(&self.context, index, tokens, slot.shelved.map(|shelved| shelved.owner));
        slot.is_unfit = saved.is_none();
        slot.shelved = saved.or(slot.shelved);
        saved.is_some()
    }

    /// Rolls an idle slot back to where the next turn goes on: a record can be gone on from only where it ends, if a window slides.
    fn let_go_of_the_answer(&mut self, index: usize) {
        let Some(window) = self.model.window_tokens() else { return };
        let oldest = self.oldest(index);
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.job.is_none()) else { return };
        let lasting = slot.lasting;
        if lasting < slot.held
            && usable(lasting, oldest, Some(window)) > 0
            && self.context.clear_kv_cache_seq(Some(index as u32), Some(lasting as u32), None) == Ok(true)
        {
            slot.held = lasting;
            slot.tokens.truncate(lasting);
        }
    }

    /// Puts a conversation that rests on the shelf; `false` if all are there. Call it when nobody has wanted anything for a while.
    pub fn shelve_resting(&mut self) -> bool {
        (0..self.slots.len()).any(|index| self.shelve(index))
    }
}

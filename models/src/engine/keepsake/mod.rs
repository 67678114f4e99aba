//! What a worker leaves to the next: the contexts of its slots, in memory that outlives it.
//!
//! A directory of fixed size, then records wherever there is room. A record is a slot's tokens and llama.cpp's state of them. It is
//! of use only if its mark says so and its checksum agrees: it comes from a process that died in the middle of something.
//!
//! - A save leaves the slot's older record alone until the new one is complete, if there is room for both. Otherwise the older one is
//!   given up first. Either way no half of a record ever counts as one.
//! - A restore marks its record before llama.cpp sees it, and takes the mark off afterwards. A record that is found with the mark
//!   has ended a worker, and is not tried again.
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use llama_cpp_2::token::LlamaToken;
use memmap2::MmapMut;

mod place;
mod raw;
#[cfg(test)]
mod tests;
mod thrift;

use place::{ALIGNMENT, gap};
pub(in crate::engine) use raw::{read_state, state_bytes, write_state};
pub(in crate::engine) use thrift::Thrift;

/// Records there can be: two for each of the 256 slots that an engine may have.
const ENTRIES: usize = 512;
/// Eight words of 8 bytes.
const ENTRY_BYTES: usize = 64;
const DIRECTORY_BYTES: usize = ENTRIES * ENTRY_BYTES;
/// Bytes of a token in a record.
const TOKEN_BYTES: usize = 4;

/// Marks: the first word of an entry. Memory that was never written is all zeros.
const EMPTY: u64 = 0;
const COMPLETE: u64 = 1;
const RESTORE_BEGUN: u64 = 2;

/// What the directory says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Greater: saved later.
    generation: u64,
    slot: usize,
    offset: usize,
    tokens: usize,
    state_bytes: usize,
    /// Of which model in which shape.
    identity: u64,
}

impl Entry {
    fn range(&self) -> Range<usize> {
        self.offset..self.offset.saturating_add(record_bytes(self.tokens, self.state_bytes))
    }

    fn words(&self) -> [u64; 6] {
        let Self { generation, slot, offset, tokens, state_bytes, identity } = *self;
        [generation, slot as u64, offset as u64, tokens as u64, state_bytes as u64, identity]
    }

    /// What the checksum covers: the entry's own words, so that nothing of it can be exchanged, and the record.
    fn checksum(&self, record: &[u8]) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        self.words().iter().for_each(|word| hasher.update(&word.to_le_bytes()));
        hasher.update(record);
        hasher.finalize().into()
    }
}

/// Where the state begins in a record.
fn state_offset(tokens: usize) -> usize {
    tokens.saturating_mul(TOKEN_BYTES).checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
}

fn record_bytes(tokens: usize, state_bytes: usize) -> usize {
    state_offset(tokens).saturating_add(state_bytes)
}

/// A context that was found.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) struct Restored {
    pub(in crate::engine) tokens: Vec<LlamaToken>,
    /// Greater: saved later.
    pub(in crate::engine) generation: u64,
}

/// Memory that outlives this process, and what lies in it.
#[derive(Debug)]
pub struct Keepsake {
    memory: MmapMut,
    identity: u64,
    /// What counts: entries whose mark was [`COMPLETE`], by their place in the directory.
    entries: Vec<Option<Entry>>,
    generation: u64,
}

impl Keepsake {
    /// Opens memory that nobody else changes, and whose length is fixed. Records of another identity are dropped: it stands for all that
    /// must agree, like the model's file and the length of the context.
    pub fn open(file: &File, identity: u64) -> io::Result<Self> {
        let memory = raw::map(file)?;
        if memory.len() < DIRECTORY_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no room for the directory"));
        }
        let mut keepsake = Self { memory, identity, entries: vec![None; ENTRIES], generation: 0 };
        for place in 0..ENTRIES {
            let found = keepsake.look(place);
            if found.is_none() {
                keepsake.mark(place, EMPTY);
            }
            keepsake.generation = keepsake.generation.max(found.map_or(0, |entry| entry.generation));
            if let Some(entry) = keepsake.entries.get_mut(place) {
                *entry = found;
            }
        }
        Ok(keepsake)
    }

    fn word(&self, place: usize, word: usize) -> u64 {
        let at = place * ENTRY_BYTES + word * 8;
        let bytes = self.memory.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn set_word(&mut self, place: usize, word: usize, value: u64) {
        let at = place * ENTRY_BYTES + word * 8;
        if let Some(bytes) = self.memory.get_mut(at..at + 8) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Everything before is written before the mark, and everything after behind it.
    fn mark(&mut self, place: usize, mark: u64) {
        fence(Ordering::SeqCst);
        self.set_word(place, 0, mark);
        fence(Ordering::SeqCst);
    }

    /// An entry that may be of use.
    fn look(&self, place: usize) -> Option<Entry> {
        let number = |word| usize::try_from(self.word(place, word)).ok();
        let entry = Entry {
            generation: self.word(place, 1),
            slot: number(2)?,
            offset: number(3)?,
            tokens: number(4)?,
            state_bytes: number(5)?,
            identity: self.word(place, 6),
        };
        let range = entry.range();
        let fits = range.start >= DIRECTORY_BYTES && range.end <= self.memory.len();
        let own = entry.identity == self.identity && entry.slot == place / 2;
        // The end of the numbers is left to nobody: a generation there would be the last for ever.
        let sane = entry.generation < u64::MAX / 2;
        (self.word(place, 0) == COMPLETE && own && fits && sane).then_some(entry)
    }

    fn drop_record(&mut self, place: usize) {
        self.mark(place, EMPTY);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = None;
        }
    }

    /// Forgets what is kept of a slot.
    pub(in crate::engine) fn forget(&mut self, slot: usize) {
        (slot * 2..slot * 2 + 2).for_each(|place| self.drop_record(place));
    }

    /// Finds room, if need be in exchange for the slot's older record, then for those of slots that can be done without, in this order.
    fn make_room(&mut self, slot: usize, expendable: &[usize], bytes: usize) -> Option<usize> {
        let mut given_up = std::iter::once(slot).chain(expendable.iter().copied());
        loop {
            let taken = self.entries.iter().flatten().map(Entry::range);
            if let Some(offset) = gap(DIRECTORY_BYTES..self.memory.len(), taken, bytes) {
                return Some(offset);
            }
            self.forget(given_up.next()?);
        }
    }

    /// Keeps what a slot holds. `write` writes the state into as many bytes as were asked for. `false`: there is no room.
    pub(in crate::engine) fn save(
        &mut self,
        slot: usize,
        tokens: &[LlamaToken],
        state_bytes: usize,
        expendable: &[usize],
        write: impl FnOnce(&mut [u8]) -> bool,
    ) -> bool {
        let bytes = record_bytes(tokens.len(), state_bytes);
        if bytes > self.memory.len().saturating_sub(DIRECTORY_BYTES) {
            return false; // not even alone: what is older is better than nothing
        }
        let Some(offset) = self.make_room(slot, expendable, bytes) else { return false };
        let [first, second] = [slot * 2, slot * 2 + 1];
        let taken = self.entries.get(first).is_some_and(Option::is_some);
        let (place, older) = if taken { (second, first) } else { (first, second) };
        self.generation += 1;
        let entry = Entry {
            generation: self.generation,
            slot,
            offset,
            tokens: tokens.len(),
            state_bytes,
            identity: self.identity,
        };
        self.drop_record(place);
        let Some(record) = self.memory.get_mut(entry.range()) else { return false };
        let (head, state) = record.split_at_mut(state_offset(tokens.len()));
        for (bytes, token) in head.chunks_exact_mut(TOKEN_BYTES).zip(tokens) {
            bytes.copy_from_slice(&token.0.to_le_bytes());
        }
        if !write(state) {
            return false;
        }
        let checksum = entry.checksum(record);
        for (word, value) in entry.words().into_iter().chain([checksum]).enumerate() {
            self.set_word(place, word + 1, value);
        }
        self.mark(place, COMPLETE);
        if let Some(kept) = self.entries.get_mut(place) {
            *kept = Some(entry);
        }
        self.drop_record(older);
        true
    }

    /// Gives back what was kept of a slot. `read` takes the tokens and their state; `false` means that it cannot.
    pub(in crate::engine) fn restore(
        &mut self,
        slot: usize,
        mut read: impl FnMut(&[LlamaToken], &[u8]) -> bool,
    ) -> Option<Restored> {
        let mut places = [slot * 2, slot * 2 + 1];
        let generation =
            |place: usize| self.entries.get(place).copied().flatten().map(|entry| entry.generation);
        places.sort_unstable_by_key(|place| std::cmp::Reverse(generation(*place)));
        for place in places {
            let Some(entry) = self.entries.get(place).copied().flatten() else { continue };
            self.mark(place, RESTORE_BEGUN);
            let record = self.memory.get(entry.range()).unwrap_or_default();
            if entry.checksum(record) == self.word(place, 7)
                && let Some((head, state)) = record.split_at_checked(state_offset(entry.tokens))
            {
                let words = head.chunks_exact(TOKEN_BYTES).take(entry.tokens);
                let tokens: Vec<_> = words
                    .filter_map(|bytes| Some(LlamaToken(i32::from_le_bytes(bytes.try_into().ok()?))))
                    .collect();
                if read(&tokens, state) {
                    self.mark(place, COMPLETE);
                    return Some(Restored { tokens, generation: entry.generation });
                }
            }
            self.drop_record(place);
        }
        None
    }
}

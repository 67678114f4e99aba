//! What a worker leaves to the next: contexts, in memory or in a file that outlives it.
//!
//! A directory of fixed size, then records wherever there is room. A record is a row of tokens and llama.cpp's state of them. It is
//! of use only if its mark says so and its checksum agrees: it comes from a process that died in the middle of something.
//!
//! - A save leaves its owner's older record alone until the new one is complete, if there is room for both. Otherwise the older one is
//!   given up first. Either way no half of a record ever counts as one.
//! - A restore marks its record before llama.cpp sees it, and takes the mark off afterwards. A record that is found with the mark
//!   has ended a worker, and is not tried again.
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use llama_cpp_2::token::LlamaToken;
use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, fallocate};

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
/// Sixteen words of 8 bytes, some of them for later.
const ENTRY_BYTES: usize = 128;
/// The word that says when the record was used last. It changes while the record does not: no checksum covers it.
const USED_WORD: usize = 8;
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
    owner: u64,
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
        let Self { generation, owner, offset, tokens, state_bytes, identity } = *self;
        [generation, owner, offset as u64, tokens as u64, state_bytes as u64, identity]
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
    /// The file, if it lies on a disk.
    disk: Option<File>,
    identity: u64,
    /// What counts: entries whose mark was [`COMPLETE`], by their place in the directory.
    entries: Vec<Option<Entry>>,
    generation: u64,
}

impl Keepsake {
    /// Opens memory that nobody else changes, and whose length is fixed. Records of another identity are dropped: it stands for all that
    /// must agree, like the model's file and the length of the context.
    pub fn open(file: &File, identity: u64) -> io::Result<Self> {
        Self::over(file, None, identity)
    }

    /// Opens a file on a disk, under the same conditions. It takes up only what its records need: a place is reserved before it is
    /// written, because a disk that is full shows itself to a mapping as a fatal signal, and given back with its record.
    pub fn open_on_disk(file: &File, identity: u64) -> io::Result<Self> {
        let disk = file.try_clone()?;
        fallocate(&disk, FallocateFlags::KEEP_SIZE, 0, DIRECTORY_BYTES as u64)?;
        Self::over(file, Some(disk), identity)
    }

    fn over(file: &File, disk: Option<File>, identity: u64) -> io::Result<Self> {
        let memory = raw::map(file)?;
        if memory.len() < DIRECTORY_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no room for the directory"));
        }
        let mut keepsake = Self { memory, disk, identity, entries: vec![None; ENTRIES], generation: 0 };
        for place in 0..ENTRIES {
            let found = keepsake.look(place);
            if found.is_none() {
                keepsake.mark(place, EMPTY);
            }
            let newest = found.map_or(0, |entry| entry.generation.max(keepsake.used(place)));
            keepsake.generation = keepsake.generation.max(newest);
            if let Some(entry) = keepsake.entries.get_mut(place) {
                *entry = found;
            }
        }
        keepsake.give_back();
        Ok(keepsake)
    }

    /// Gives back to the disk whatever lies between the records: places of records that did not count any more.
    fn give_back(&self) {
        let mut taken: Vec<_> = self.entries.iter().flatten().map(Entry::range).collect();
        taken.sort_unstable_by_key(|range| range.start);
        let mut free = DIRECTORY_BYTES;
        for range in taken {
            self.punch(free..range.start);
            free = free.max(range.end);
        }
        self.punch(free..self.memory.len());
    }

    /// Gives a place back to the disk.
    fn punch(&self, range: Range<usize>) {
        if let (Some(disk), false) = (&self.disk, range.is_empty()) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A disk that cannot do this keeps the place until the next record comes to lie there.
            let _kept = fallocate(disk, flags, range.start as u64, range.len() as u64);
        }
    }

    /// Whether a place may be written without a fatal signal.
    fn reserve(&self, range: &Range<usize>) -> bool {
        self.disk.as_ref().is_none_or(|disk| {
            fallocate(disk, FallocateFlags::KEEP_SIZE, range.start as u64, range.len() as u64).is_ok()
        })
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
            owner: self.word(place, 2),
            offset: number(3)?,
            tokens: number(4)?,
            state_bytes: number(5)?,
            identity: self.word(place, 6),
        };
        let range = entry.range();
        let fits = range.start >= DIRECTORY_BYTES && range.end <= self.memory.len();
        // The end of the numbers is left to nobody: a generation there would be the last for ever.
        let sane = entry.generation.max(self.used(place)) < u64::MAX / 2;
        (self.word(place, 0) == COMPLETE && entry.identity == self.identity && fits && sane).then_some(entry)
    }

    fn used(&self, place: usize) -> u64 {
        self.word(place, USED_WORD)
    }

    fn drop_record(&mut self, place: usize) {
        self.mark(place, EMPTY);
        if let Some(entry) = self.entries.get_mut(place).and_then(Option::take) {
            self.punch(entry.range());
        }
    }

    /// The places of an owner's records, the newest first.
    fn places(&self, owner: u64) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        let own =
            entries.filter_map(|(place, entry)| Some((place, entry.filter(|entry| entry.owner == owner)?)));
        let mut own: Vec<_> =
            own.map(|(place, entry)| (std::cmp::Reverse(entry.generation), place)).collect();
        own.sort_unstable();
        own.into_iter().map(|(_, place)| place).collect()
    }

    /// Forgets what is kept of an owner.
    pub(in crate::engine) fn forget(&mut self, owner: u64) {
        self.places(owner).into_iter().for_each(|place| self.drop_record(place));
    }

    /// Says that an owner's records are of use: they are given up later than others.
    pub(in crate::engine) fn touch(&mut self, owner: u64) {
        self.generation += 1;
        for place in self.places(owner) {
            self.set_word(place, USED_WORD, self.generation);
        }
    }

    /// The owners of all records, the longest unused first.
    pub(in crate::engine) fn owners(&self) -> Vec<u64> {
        let entries = self.entries.iter().enumerate();
        let used = entries.filter_map(|(place, entry)| Some((self.used(place), entry.as_ref()?.owner)));
        let mut used: Vec<_> = used.collect();
        used.sort_unstable();
        used.into_iter().map(|(_, owner)| owner).collect()
    }

    /// The tokens of a record. They may be damaged: what is to be used is compared with its checksum when it is restored.
    fn tokens(&self, entry: &Entry) -> impl Iterator<Item = LlamaToken> {
        let record = self.memory.get(entry.range()).unwrap_or_default();
        let words = record.chunks_exact(TOKEN_BYTES).take(entry.tokens);
        words.filter_map(|bytes| Some(LlamaToken(i32::from_le_bytes(bytes.try_into().ok()?))))
    }

    /// For each record, its owner, its number of tokens, and how many of them these begin with.
    pub(in crate::engine) fn compare<'a>(
        &'a self,
        tokens: &'a [LlamaToken],
    ) -> impl Iterator<Item = (u64, usize, usize)> + 'a {
        self.entries.iter().flatten().map(move |entry| {
            let common = self.tokens(entry).zip(tokens).take_while(|(one, other)| one == *other).count();
            (entry.owner, entry.tokens, common)
        })
    }

    /// Finds a place in the directory and room behind it, if need be in exchange for the owner's older record, then for those of owners
    /// that can be done without, in this order.
    fn make_room(&mut self, owner: u64, expendable: &[u64], bytes: usize) -> Option<(usize, usize)> {
        let mut given_up = std::iter::once(owner).chain(expendable.iter().copied());
        loop {
            let place = self.entries.iter().position(Option::is_none);
            let taken = self.entries.iter().flatten().map(Entry::range);
            let offset = gap(DIRECTORY_BYTES..self.memory.len(), taken, bytes);
            if let (Some(place), Some(offset)) = (place, offset) {
                let range = offset..offset.saturating_add(bytes);
                if self.reserve(&range) {
                    return Some((place, offset));
                }
                self.punch(range); // a part of it may be there
            }
            self.forget(given_up.next()?);
        }
    }

    /// Keeps tokens and their state for an owner. `write` writes the state into as many bytes as were asked for. `false`: there is no room.
    pub(in crate::engine) fn save(
        &mut self,
        owner: u64,
        tokens: &[LlamaToken],
        state_bytes: usize,
        expendable: &[u64],
        write: impl FnOnce(&mut [u8]) -> bool,
    ) -> bool {
        let bytes = record_bytes(tokens.len(), state_bytes);
        if bytes > self.memory.len().saturating_sub(DIRECTORY_BYTES) {
            return false; // not even alone: what is older is better than nothing
        }
        let Some((place, offset)) = self.make_room(owner, expendable, bytes) else { return false };
        let older = self.places(owner);
        self.generation += 1;
        let entry = Entry {
            generation: self.generation,
            owner,
            offset,
            tokens: tokens.len(),
            state_bytes,
            identity: self.identity,
        };
        self.mark(place, EMPTY);
        let Some(record) = self.memory.get_mut(entry.range()) else { return false };
        let (head, state) = record.split_at_mut(state_offset(tokens.len()));
        for (bytes, token) in head.chunks_exact_mut(TOKEN_BYTES).zip(tokens) {
            bytes.copy_from_slice(&token.0.to_le_bytes());
        }
        if !write(state) {
            self.punch(entry.range());
            return false;
        }
        let checksum = entry.checksum(record);
        // Who saves has used it.
        for (word, value) in entry.words().into_iter().chain([checksum, entry.generation]).enumerate() {
            self.set_word(place, word + 1, value);
        }
        self.mark(place, COMPLETE);
        if let Some(kept) = self.entries.get_mut(place) {
            *kept = Some(entry);
        }
        older.into_iter().for_each(|place| self.drop_record(place));
        true
    }

    /// Gives back what was kept for an owner. `read` takes the tokens and their state; `false` means that it cannot.
    pub(in crate::engine) fn restore(
        &mut self,
        owner: u64,
        mut read: impl FnMut(&[LlamaToken], &[u8]) -> bool,
    ) -> Option<Restored> {
        for place in self.places(owner) {
            let Some(entry) = self.entries.get(place).copied().flatten() else { continue };
            self.mark(place, RESTORE_BEGUN);
            let record = self.memory.get(entry.range()).unwrap_or_default();
            if entry.checksum(record) == self.word(place, 7)
                && let Some(state) = record.get(state_offset(entry.tokens)..)
            {
                let tokens: Vec<_> = self.tokens(&entry).collect();
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

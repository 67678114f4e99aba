//! A store's file that can be repaired and read without changing a byte of it: writes stay in memory.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use tokio::time::Instant;

/// The unit in which changes are kept: redb's own page.
const BLOCK_BYTES: u64 = 4096;

/// The file with the changes on top. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Overlay(Arc<Layers>);

#[derive(Debug)]
struct Layers {
    file: File,
    changes: Mutex<Changes>,
    /// Nothing is read after it: a check of a huge store ends in time, and gives up the lock.
    deadline: Instant,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the file shows through.
    below: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Nothing is changed yet.
    pub(super) fn new(file: File, deadline: Instant) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let changes = Mutex::new(Changes { len, below: len, blocks: BTreeMap::new() });
        Ok(Self(Arc::new(Layers { file, changes, deadline })))
    }

    /// Whether it was given up.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.0.deadline
    }
}

impl Layers {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the buffer from the file, with zeros where it does not show through.
    fn read_below(&self, below: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let here = below.saturating_sub(offset);
        let here = usize::try_from(here).unwrap_or(usize::MAX).min(out.len());
        let (old, new) = out.split_at_mut(here);
        new.fill(0);
        self.file.read_exact_at(old, offset)
    }
}

/// The blocks that a range touches: number, first byte inside, bytes of the range in it.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(length as u64);
    (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).map(move |number| {
        let start = number * BLOCK_BYTES;
        let (from, to) = (offset.max(start) - start, end.min(start + BLOCK_BYTES) - start);
        // Both are at most a block's length.
        (number, from as usize, (to - from) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_late() {
            return Err(ErrorKind::TimedOut.into());
        }
        let changes = self.0.changes();
        if offset.saturating_add(out.len() as u64) > changes.len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.0.read_below(changes.below, offset, out)?;
        let mut rest = out;
        for (number, from, length) in blocks(offset, rest.len()) {
            let (here, behind) = rest.split_at_mut(length);
            if let Some(changed) =
                changes.blocks.get(&number).and_then(|block| block.get(from..from + length))
            {
                here.copy_from_slice(changed);
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.0.changes();
        // What is cut off must be zero if the file grows again.
        changes.below = changes.below.min(len);
        changes.blocks.retain(|number, _| number * BLOCK_BYTES < len);
        if let Some(block) = changes.blocks.get_mut(&(len / BLOCK_BYTES)) {
            block.iter_mut().skip((len % BLOCK_BYTES) as usize).for_each(|byte| *byte = 0);
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.0.changes();
        let mut rest = data;
        for (number, from, length) in blocks(offset, data.len()) {
            let (here, behind) = rest.split_at(length);
            let block = block_of(&self.0, &mut changes, number)?;
            if let Some(place) = block.get_mut(from..from + length) {
                place.copy_from_slice(here);
            }
            rest = behind;
        }
        changes.len = changes.len.max(offset.saturating_add(data.len() as u64));
        Ok(())
    }
}

/// A block that may be changed.
fn block_of<'a>(layers: &Layers, changes: &'a mut Changes, number: u64) -> io::Result<&'a mut Vec<u8>> {
    use std::collections::btree_map::Entry;
    match changes.blocks.entry(number) {
        Entry::Occupied(block) => Ok(block.into_mut()),
        Entry::Vacant(place) => {
            let mut block = vec![0; BLOCK_BYTES as usize];
            layers.read_below(changes.below, number * BLOCK_BYTES, &mut block)?;
            Ok(place.insert(block))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn overlay(bytes: &[u8], late: bool) -> (tempfile::NamedTempFile, Overlay) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let deadline = Instant::now() + if late { Duration::ZERO } else { Duration::from_secs(3600) };
        let overlay = Overlay::new(File::open(file.path()).unwrap(), deadline).unwrap();
        (file, overlay)
    }

    #[derive(Debug, Clone)]
    enum Change {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0_u64..20_000, prop::collection::vec(any::<u8>(), 1..9000))
                .prop_map(|(at, data)| Change::Write(at, data)),
            (0_u64..30_000).prop_map(Change::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn it_reads_as_a_file_does_and_the_file_stays(changes in prop::collection::vec(change(), 0..8)) {
            let original = vec![7; 10_000];
            let (file, overlay) = overlay(&original, false);
            let mut model = original.clone();
            for change in changes {
                match change {
                    Change::Write(at, data) => {
                        let at = at as usize;
                        if model.len() < at + data.len() {
                            model.resize(at + data.len(), 0);
                        }
                        model[at..at + data.len()].copy_from_slice(&data);
                        overlay.write(at as u64, &data).unwrap();
                    }
                    Change::SetLen(len) => {
                        model.resize(len as usize, 0);
                        overlay.set_len(len).unwrap();
                    }
                }
                let mut read = vec![1; model.len()];
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
                overlay.read(0, &mut read).unwrap();
                prop_assert!(read == model);
            }
            prop_assert!(std::fs::read(file.path()).unwrap() == original);
        }
    }

    #[test]
    fn nothing_is_read_behind_the_end_or_the_deadline() {
        let (_file, on_time) = overlay(b"0123456789", false);
        let mut out = [0; 4];
        on_time.read(6, &mut out).unwrap();
        assert_eq!(&out, b"6789");
        assert_eq!(on_time.read(7, &mut out).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (_file, late) = overlay(b"0123456789", true);
        assert_eq!(late.read(0, &mut out).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}

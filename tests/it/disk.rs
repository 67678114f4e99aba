//! A disk that can lose power and fill up: what was not synced may be there afterwards, or not, or in part.
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a disk writes at once; a larger write may be torn between sectors.
const SECTOR_LEN: usize = 512;
/// What a file system gives out at once.
const BLOCK_LEN: u64 = 4096;

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What the process sees.
    bytes: Vec<u8>,
    /// What survives a loss of power for certain.
    synced: Vec<u8>,
    /// What may survive it.
    unsynced: Vec<Operation>,
    operations: u64,
    power_off_at: Option<u64>,
    blocks: BTreeSet<u64>,
    blocks_max: Option<usize>,
}

#[derive(Debug, Clone)]
enum Operation {
    Write { offset: usize, data: Vec<u8> },
    SetLen { len: usize },
}

/// A small generator of numbers, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let inner = Inner { synced: bytes.clone(), bytes, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// How many times the disk was changed or synced.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The operation with this number from now on is the first that fails; all that follow fail too.
    pub(crate) fn power_off_in(&self, operations: u64) {
        let mut inner = self.lock();
        inner.power_off_at = Some(inner.operations + operations);
    }

    /// From now on no block can be had that was never written before; or any, again.
    pub(crate) fn set_full(&self, full: bool) {
        let mut inner = self.lock();
        inner.blocks_max = full.then_some(inner.blocks.len());
    }

    /// Whether the power is off.
    pub(crate) fn is_off(&self) -> bool {
        let inner = self.lock();
        inner.power_off_at.is_some_and(|at| inner.operations >= at)
    }

    /// What is found after the process died alone: everything it wrote.
    pub(crate) fn contents(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// What is found after the power comes back: the synced bytes, and any part of the others.
    pub(crate) fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let inner = self.lock();
        let mut image = inner.synced.clone();
        for operation in &inner.unsynced {
            match operation {
                Operation::SetLen { len } if random.below(2) == 0 => image.resize(*len, 0),
                Operation::SetLen { .. } => {}
                Operation::Write { offset, data } => {
                    for (index, sector) in data.chunks(SECTOR_LEN).enumerate() {
                        if random.below(2) == 0 {
                            put(&mut image, offset + index * SECTOR_LEN, sector);
                        }
                    }
                }
            }
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn begin_operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.power_off_at {
            Some(at) if self.operations >= at => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        for block in offset / BLOCK_LEN..(offset + len).div_ceil(BLOCK_LEN) {
            if self.blocks_max.is_some_and(|max| self.blocks.len() >= max) && !self.blocks.contains(&block) {
                return Err(ErrorKind::StorageFull.into());
            }
            self.blocks.insert(block);
        }
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (inner, offset) = (self.lock(), usize::try_from(offset).unwrap());
        let bytes = inner.bytes.get(offset..offset + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.lock();
        inner.begin_operation()?;
        let len = usize::try_from(len).unwrap();
        inner.bytes.resize(len, 0);
        inner.unsynced.push(Operation::SetLen { len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.begin_operation()?;
        inner.synced = inner.bytes.clone();
        inner.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.begin_operation()?;
        inner.allocate(offset, data.len() as u64)?;
        let offset = usize::try_from(offset).unwrap();
        put(&mut inner.bytes, offset, data);
        inner.unsynced.push(Operation::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

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
    /// All that was done, in order.
    journal: Vec<Operation>,
    /// What was being done when the power failed.
    in_flight: Option<Operation>,
    /// The length that the journal never reaches.
    power_off_at: Option<usize>,
    blocks: BTreeSet<u64>,
    blocks_max: Option<usize>,
}

/// One change of the disk, or what makes the changes before it last.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    SetLen {
        len: usize,
    },
    Sync,
    /// The power came back, and this was on the disk.
    Found {
        bytes: Vec<u8>,
    },
}

/// How much of what was not synced outlives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    /// Nothing.
    Nothing,
    /// Any of the writes, each whole.
    Writes,
    /// Any of the sectors.
    Sectors,
}

/// What lies on the disk for certain, and what may.
#[derive(Debug, Default)]
pub(crate) struct Platter {
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
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

impl Platter {
    /// Does one operation more.
    pub(crate) fn take(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { .. } | Operation::SetLen { .. } => self.unsynced.push(operation.clone()),
            Operation::Sync => {
                for operation in std::mem::take(&mut self.unsynced) {
                    operation.apply(&mut self.synced, &mut |_| true);
                }
            }
            Operation::Found { bytes } => (self.synced, self.unsynced) = (bytes.clone(), Vec::new()),
        }
    }

    /// What is found if the power fails now, or during this operation.
    pub(crate) fn after_power_loss(
        &self,
        in_flight: Option<&Operation>,
        tear: Tear,
        random: &mut Random,
    ) -> Vec<u8> {
        let mut image = self.synced.clone();
        for operation in self.unsynced.iter().chain(in_flight) {
            match tear {
                Tear::Nothing => {}
                Tear::Writes => {
                    let survives = random.below(2) == 0;
                    operation.apply(&mut image, &mut |_| survives);
                }
                Tear::Sectors => operation.apply(&mut image, &mut |_| random.below(2) == 0),
            }
        }
        image
    }
}

impl Operation {
    /// Does it, but only those of its sectors that survive.
    fn apply(&self, image: &mut Vec<u8>, survives: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::Write { offset, data } => {
                for (index, sector) in data.chunks(SECTOR_LEN).enumerate() {
                    if survives(index) {
                        put(image, offset + index * SECTOR_LEN, sector);
                    }
                }
            }
            Self::SetLen { len } if survives(0) => image.resize(*len, 0),
            Self::SetLen { .. } | Self::Sync | Self::Found { .. } => {}
        }
    }
}

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.power_on(bytes);
        disk
    }

    /// How many times the disk was changed or synced.
    pub(crate) fn operations(&self) -> usize {
        self.lock().journal.len()
    }

    /// All that was done so far.
    pub(crate) fn journal(&self) -> Vec<Operation> {
        self.lock().journal.clone()
    }

    /// The operation with this number from now on is the first that fails; all that follow fail too.
    pub(crate) fn power_off_in(&self, operations: usize) {
        let mut inner = self.lock();
        inner.power_off_at = Some(inner.journal.len() + operations);
    }

    /// The disk works again, and this is on it.
    pub(crate) fn power_on(&self, bytes: Vec<u8>) {
        let mut inner = self.lock();
        inner.journal.push(Operation::Found { bytes: bytes.clone() });
        (inner.bytes, inner.in_flight, inner.power_off_at) = (bytes, None, None);
    }

    /// From now on no block can be had that was never written before; or any, again.
    pub(crate) fn set_full(&self, full: bool) {
        let mut inner = self.lock();
        inner.blocks_max = full.then_some(inner.blocks.len());
    }

    /// Whether the power went during an operation.
    pub(crate) fn is_off(&self) -> bool {
        self.lock().in_flight.is_some()
    }

    /// What is found after the process died alone: everything it wrote.
    pub(crate) fn contents(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// What is found after the power comes back: the synced bytes, and any part of the others.
    pub(crate) fn after_power_loss(&self, tear: Tear, random: &mut Random) -> Vec<u8> {
        let inner = self.lock();
        let mut platter = Platter::default();
        inner.journal.iter().for_each(|operation| platter.take(operation));
        platter.after_power_loss(inner.in_flight.as_ref(), tear, random)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        if self.power_off_at.is_some_and(|at| self.journal.len() + 1 >= at) {
            self.in_flight.get_or_insert(operation);
            return Err(io::Error::other("the power is off"));
        }
        if let Operation::Write { offset, data } = &operation {
            self.allocate(*offset as u64, data.len() as u64)?;
        }
        operation.apply(&mut self.bytes, &mut |_| true);
        self.journal.push(operation);
        Ok(())
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
        self.lock().perform(Operation::SetLen { len: usize::try_from(len).unwrap() })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.lock().perform(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock()
            .perform(Operation::Write { offset: usize::try_from(offset).unwrap(), data: data.to_vec() })
    }
}

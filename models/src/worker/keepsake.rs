//! The daemon's part of what a worker leaves to the next: it owns the memory and never looks into it.
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;

/// Anonymous memory in which the workers of one model file keep their contexts. It lives as long as its last clone, and takes up only
/// what was ever written to it.
///
/// What lies in it comes from a process that a model file may have taken over: it is for that file's next worker alone.
#[derive(Debug, Clone)]
pub struct Keepsake(Arc<OwnedFd>);

impl Keepsake {
    /// Makes memory of a fixed size.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Never a program. Kernels before 6.3 do not know this wish, some later ones insist on it.
        let memory = match memfd_create("archond-keepsake", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create("archond-keepsake", flags),
            made => made,
        }?;
        ftruncate(&memory, bytes)?;
        // A worker can neither take more memory by it nor pull it away under its successor.
        fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(Arc::new(memory)))
    }

    /// Whether a worker has it that is not reaped yet, or is about to get it.
    pub fn is_taken(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Another descriptor of the same memory.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

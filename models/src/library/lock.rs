//! One process at a time changes a model's files.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::{LibraryError, at};

/// A model's lock. The system frees it when it is dropped or its process ends, so a crash leaves none behind.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it. The lock's file stays: removing it would let two processes lock two files.
    pub(super) fn take(dir: &Path, id: &str) -> Result<Self, LibraryError> {
        std::fs::create_dir_all(dir).map_err(at("make", dir))?;
        let path = dir.join(id);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number is only a hint for a person: it may not be written yet.
                let _ = (&mut file).take(16).read_to_string(&mut text);
                return Err(LibraryError::Busy { id: id.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
        }
        // A full disk must not keep anyone from removing a model: without its number the lock is as good.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

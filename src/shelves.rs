//! The files where contexts rest that are in no worker's memory: one for each model, all in one folder, within one budget.
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use archond_actors::domain::ModelId;
use archond_models::worker::Shelf;
use rustix::fs::{FlockOperation, flock, statvfs};

use crate::settings::Amount;

/// What the files of all models may take up, unless set: this part of the disk's free room, and never more than the next.
const AUTO_PART: u64 = 10;
const AUTO_BYTES_MAX: u64 = 8 << 30;
/// Less is not worth a file: one conversation with a small model.
const BYTES_MIN: u64 = 64 << 20;
/// Budgets are cut to these: a file whose length changes a little each day would lose records each day.
const BYTES_STEP: u64 = 64 << 20;
/// Of a file's name.
const EXTENSION: &str = "contexts";

/// The folder of the files.
#[derive(Debug, Clone)]
pub struct Shelves {
    folder: PathBuf,
    bytes_max: Amount<u64>,
}

/// A model's file as it is found.
struct Found {
    path: PathBuf,
    used_bytes: u64,
    changed: SystemTime,
}

impl Shelves {
    /// Files in this folder, which may be missing, of at most so many bytes together.
    pub fn new(folder: PathBuf, bytes_max: Amount<u64>) -> Self {
        Self { folder, bytes_max }
    }

    /// The file for a model's next worker. Files of models that were used longest ago give way to it. `None`: there is no room, or the
    /// folder cannot be made; the worker then reads what it might have found.
    pub fn of(&self, model: &ModelId) -> Option<Shelf> {
        let shelf = self.make_room(model);
        let failed = |error: &io::Error| {
            tracing::warn!(%error, folder = %self.folder.display(), "no conversation of {model} can rest on the disk");
        };
        shelf.inspect_err(failed).ok().flatten()
    }

    fn make_room(&self, model: &ModelId) -> io::Result<Option<Shelf>> {
        if self.bytes_max == Amount::Fixed(0) {
            return Ok(None);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{model}.{EXTENSION}"));
        let mut files = self.files()?;
        let all_bytes: u64 = files.iter().map(|file| file.used_bytes).sum();
        let bytes_max = match self.bytes_max {
            Amount::Fixed(bytes) => bytes,
            Amount::Auto => AUTO_BYTES_MAX.min((free_bytes(&self.folder)? + all_bytes) / AUTO_PART),
        };
        files.retain(|file| file.path != path);
        files.sort_by_key(|file| file.changed);
        let mut others_bytes: u64 = files.iter().map(|file| file.used_bytes).sum();
        for file in files {
            if others_bytes > bytes_max / 2 && remove(&file.path)? {
                others_bytes -= file.used_bytes;
            }
        }
        let bytes_max = bytes_max.saturating_sub(others_bytes) / BYTES_STEP * BYTES_STEP;
        Ok((bytes_max >= BYTES_MIN).then_some(Shelf { path, bytes_max }))
    }

    fn files(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let own = path.extension().is_some_and(|extension| extension == EXTENSION);
            if let (true, Ok(file)) = (own, entry.metadata()) {
                found.push(Found { path, used_bytes: used(&file), changed: file.modified()? });
            }
        }
        Ok(found)
    }
}

/// What a file takes up on the disk, holes apart.
fn used(file: &Metadata) -> u64 {
    file.blocks() * 512
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Removes a file that no worker has open; `false` if one has.
fn remove(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelId {
        ModelId::new(name).unwrap()
    }

    fn fill(folder: &Path, name: &str, mebibytes: usize) -> PathBuf {
        let path = folder.join(format!("{name}.{EXTENSION}"));
        std::fs::write(&path, vec![1; mebibytes << 20]).unwrap();
        path
    }

    #[test]
    fn models_that_were_used_longest_ago_give_way() {
        let folder = tempfile::tempdir().unwrap();
        let shelves = Shelves::new(folder.path().join("contexts"), Amount::Fixed(256 << 20));
        let first = shelves.of(&model("one")).unwrap();
        assert_eq!((first.bytes_max, first.path.file_name().unwrap()), (256 << 20, "one.contexts".as_ref()));
        let folder = folder.path().join("contexts");
        let [one, two] = [("one", 70), ("two", 70)].map(|(name, size)| fill(&folder, name, size));
        let long_ago = SystemTime::UNIX_EPOCH;
        File::options().append(true).open(&one).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(shelves.of(&model("two")).unwrap().bytes_max, 128 << 20, "beside the 70 MiB of the other");
        assert_eq!(shelves.of(&model("three")).unwrap().bytes_max, 128 << 20);
        assert!(!one.exists() && two.exists());
    }

    #[test]
    fn a_file_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let shelves = Shelves::new(folder.path().to_owned(), Amount::Fixed(128 << 20));
        let path = fill(folder.path(), "one", 100);
        let held = File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(shelves.of(&model("two")), None);
        assert!(path.exists());
        drop(held);
        assert_eq!(shelves.of(&model("two")).unwrap().bytes_max, 128 << 20);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_switched_off_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("contexts");
        assert_eq!(Shelves::new(folder.clone(), Amount::Fixed(0)).of(&model("one")), None);
        assert!(!folder.exists());
        let auto = Shelves::new(folder.clone(), Amount::Auto).of(&model("one"));
        assert!(auto.is_none_or(|shelf| shelf.bytes_max <= AUTO_BYTES_MAX && folder.exists()));
    }
}

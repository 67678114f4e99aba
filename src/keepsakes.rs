//! The memory in which each model's workers keep their contexts: one for one model file, handed from each worker to the next.
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use archond_models::worker::Keepsake;

/// Which file it is, and whether it was written since.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    number: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), number: file.ino(), bytes: file.size(), modified }
    }
}

/// The keepsakes of all models that have run.
#[derive(Debug, Default)]
pub struct Keepsakes(Mutex<HashMap<PathBuf, (Version, Keepsake)>>);

impl Keepsakes {
    /// The memory for the next worker of a model file; a new one when the file is new. What belongs to files that are gone is given
    /// back. `None` without a budget, or when the system refuses: the worker then runs without.
    pub fn of(&self, model_path: &Path, bytes: u64) -> Option<Keepsake> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner); // no code panics while it holds the lock
        kept.retain(|path, (version, _)| {
            std::fs::metadata(path).is_ok_and(|file| Version::of(&file) == *version)
        });
        if bytes == 0 {
            return None;
        }
        if let Some((_, keepsake)) = kept.get(model_path) {
            // Two workers of one model are not meant to be, but a process can be slow to end. Never both write.
            return (!keepsake.is_taken()).then(|| keepsake.clone());
        }
        let version = Version::of(&std::fs::metadata(model_path).ok()?);
        match Keepsake::new(bytes) {
            Ok(keepsake) => {
                kept.insert(model_path.to_owned(), (version, keepsake.clone()));
                Some(keepsake)
            }
            Err(error) => {
                tracing::warn!(%error, bytes, "the contexts of this model's worker will be lost with it");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1 << 20;

    /// Which memory it is.
    fn of(keepsakes: &Keepsakes, path: &Path) -> Option<String> {
        keepsakes.of(path, BYTES).map(|keepsake| format!("{keepsake:?}"))
    }

    #[test]
    fn the_same_file_has_the_same_memory_and_a_new_one_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "model").unwrap();
        let keepsakes = Keepsakes::default();
        let first = of(&keepsakes, &one);
        assert!(first.is_some());
        assert_eq!(of(&keepsakes, &one), first);
        assert_eq!(of(&keepsakes, &other), None, "no file, no memory");
        // Both exist at once, so that their descriptors differ.
        std::fs::write(&other, "model").unwrap();
        assert_ne!(of(&keepsakes, &other), first);
        std::fs::write(&one, "another model").unwrap();
        let held = keepsakes.of(&other, BYTES);
        assert!(of(&keepsakes, &one).is_some() && keepsakes.0.lock().unwrap().len() == 2);
        std::fs::remove_file(&one).unwrap();
        assert_eq!(of(&keepsakes, &other), None, "two workers never have it at once");
        assert_eq!(keepsakes.0.lock().unwrap().len(), 1, "what belongs to a file that is gone is given back");
        drop(held);
        assert!(of(&keepsakes, &other).is_some());
    }

    #[test]
    fn no_budget_no_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keepsakes = Keepsakes::default();
        assert!(keepsakes.of(file.path(), BYTES).is_some());
        assert!(keepsakes.of(file.path(), 0).is_none());
    }
}

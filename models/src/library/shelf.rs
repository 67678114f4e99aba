//! The directory of one model: its files, the parts of files that are still coming, and its record.
use std::fs::File;
use std::path::{Path, PathBuf};

use super::record::{self, FileRecord};
use super::{LibraryError, Stored, at, files, sync_dir};
use crate::catalogue::Artifact;

/// Ends the name of a file that is not whole yet.
const PART: &str = "part";

/// One model's directory. It need not exist.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a file is when it is whole.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Where a file is while it comes.
    pub(crate) fn part(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}.{PART}"))
    }

    /// How much of a file has come, if some has.
    pub(crate) fn part_bytes(&self, file: &str) -> Option<u64> {
        std::fs::metadata(self.part(file)).ok().filter(|meta| meta.len() > 0).map(|meta| meta.len())
    }

    /// Makes the directory.
    pub(crate) fn make(&self) -> Result<(), LibraryError> {
        std::fs::create_dir_all(&self.dir).map_err(at("make", &self.dir))
    }

    /// A complete file: recorded, there, and of the recorded size.
    pub(crate) fn stored(&self, artifact: &Artifact) -> Option<Stored> {
        self.stored_as(&artifact.file)
    }

    /// The same of a file that no catalogue names.
    pub(super) fn stored_as(&self, file: &str) -> Option<Stored> {
        let path = self.path(file);
        let bytes = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
        let record = record::load(&self.dir).into_iter().find(|r| r.file == file && r.bytes == bytes)?;
        Some(Stored { path, record })
    }

    /// What is wrong with a file that has its final name but is not complete.
    pub(super) fn fault(&self, artifact: &Artifact, id: &str) -> String {
        let again = format!(
            "check it again with `archond model pull {id}`, or remove it with `archond model rm {id}`"
        );
        let bytes = std::fs::metadata(self.path(&artifact.file)).map_or(0, |meta| meta.len());
        match record::load(&self.dir).into_iter().find(|r| r.file == artifact.file) {
            Some(record) => {
                format!("{} has {bytes} bytes and had {} when it came; {again}", artifact.file, record.bytes)
            }
            None => format!("there is no readable record of {}; {again}", artifact.file),
        }
    }

    /// Gives a whole, checked part its final name. Record first: see the module's words on interruptions.
    pub(crate) fn install(&self, part: &Path, record: FileRecord) -> Result<Stored, LibraryError> {
        let path = self.path(&record.file);
        File::open(part).and_then(|file| file.sync_all()).map_err(at("sync", part))?;
        record::save(&self.dir, record.clone())?;
        std::fs::rename(part, &path).map_err(at("rename to", &path))?;
        sync_dir(&self.dir)?;
        Ok(Stored { path, record })
    }

    /// Removes everything and answers how many bytes that was.
    pub(super) fn remove(&self) -> Result<u64, LibraryError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(at("read", &self.dir)(error)),
        };
        let bytes = entries.flatten().filter_map(|e| e.metadata().ok()).map(|meta| meta.len()).sum();
        // The record goes first: what an interruption leaves is then no complete model.
        files::remove_if_there(&self.dir.join(record::FILE))?;
        std::fs::remove_dir_all(&self.dir).map_err(at("remove", &self.dir))?;
        self.dir.parent().map_or(Ok(()), sync_dir)?;
        Ok(bytes)
    }
}

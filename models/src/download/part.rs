//! A file that is still coming: its bytes, their hash so far, and beside it a note of which file of which server it is a part of.
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{PullError, blocking};
use crate::catalogue;
use crate::library::{at, digest_hex, hash_into};
use crate::progress::OnProgress;

/// What the server said about the file; a part is only continued when it still says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The strong entity tag.
    pub etag: Option<String>,
    /// The sha256 of the server's own record.
    pub sha256: Option<String>,
    /// The whole file's size.
    pub total: Option<u64>,
}

impl Identity {
    /// Whether it will be seen if two pieces do not belong together: an entity tag shows it before, a sha256 afterwards.
    pub(super) fn can_continue(&self, sha256_known: bool) -> bool {
        sha256_known || self.sha256.is_some() || self.etag.is_some()
    }

    /// Whether two answers can be about the same file: nothing that both tell differs.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        same(self.etag.as_ref(), other.etag.as_ref())
            && same(self.sha256.as_ref(), other.sha256.as_ref())
            && same(self.total.as_ref(), other.total.as_ref())
    }
}

/// An open part.
pub(super) struct Part {
    path: PathBuf,
    file: tokio::fs::File,
    hasher: Sha256,
    /// Its first bytes, for a look at what kind of file it is.
    pub head: Vec<u8>,
    /// Bytes that were written and hashed.
    pub length: u64,
    /// Whose part it is.
    pub identity: Identity,
}

impl Part {
    /// Opens a part and hashes what is there. What cannot be continued safely is begun anew.
    pub(super) async fn open(
        path: &Path,
        sha256_known: bool,
        progress: OnProgress<'_>,
    ) -> Result<Self, PullError> {
        let identity = load(path);
        let (there, hasher, head) = match identity.can_continue(sha256_known) && path.exists() {
            true => {
                let path = path.to_path_buf();
                blocking(progress, move |report| hash_into(&path, Sha256::new(), report)).await??
            }
            false => (0, Sha256::new(), Vec::new()),
        };
        let file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .await
            .map_err(at("write", path))?;
        let mut part = Self { path: path.to_path_buf(), file, hasher, head, length: there, identity };
        if there == 0 {
            part.restart().await?;
        }
        Ok(part)
    }

    /// Throws away what came.
    pub(super) async fn restart(&mut self) -> Result<(), PullError> {
        self.file.set_len(0).await.map_err(at("empty", &self.path)).map_err(PullError::from)?;
        remove_if_there(&note(&self.path))?;
        self.hasher = Sha256::new();
        self.head.clear();
        self.length = 0;
        self.identity = Identity::default();
        Ok(())
    }

    /// Notes whose part it is, before its first byte comes.
    pub(super) fn identify(&mut self, identity: Identity) -> Result<(), PullError> {
        if self.identity != identity {
            let path = note(&self.path);
            let text = catalogue::options()
                .to_string(&identity)
                .map_err(|error| at("write", &path)(io::Error::other(error)))?;
            std::fs::write(&path, text).map_err(|error| self.failed(error))?;
            self.identity = identity;
        }
        Ok(())
    }

    /// Writes and hashes bytes.
    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        let missing = 4usize.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(missing));
        if let Err(error) = self.file.write_all(bytes).await {
            return Err(self.failed(error));
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the system has all bytes.
    pub(super) async fn flush(&mut self) -> Result<(), PullError> {
        match self.file.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The sha256 of everything.
    pub(super) fn sha256(&self) -> String {
        digest_hex(self.hasher.clone())
    }

    /// What an error of the disk means here.
    fn failed(&self, error: io::Error) -> PullError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => {
                let kept = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
                PullError::DiskFull { path: self.path.clone(), kept }
            }
            _ => at("write", &self.path)(error).into(),
        }
    }
}

/// Removes a part and its note, as far as they are there.
pub(super) fn remove(path: &Path) -> Result<(), PullError> {
    remove_if_there(path)?;
    remove_if_there(&note(path))
}

fn remove_if_there(path: &Path) -> Result<(), PullError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error).into()),
        _ => Ok(()),
    }
}

fn note(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".from");
    PathBuf::from(name)
}

/// A note that is missing or cannot be read says nothing.
fn load(path: &Path) -> Identity {
    let text = std::fs::read_to_string(note(path)).unwrap_or_default();
    catalogue::options().from_str(&text).unwrap_or_default()
}

//! The house's folder of media: what came with messages, each file once, under the SHA-256 of its bytes.
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use archond_actors::domain::{Enclosure, EnclosureKind, MediaId};
use sha2::{Digest, Sha256};

/// Largest file that is kept: what Telegram lets bots fetch.
pub const MEDIA_BYTES_MAX: usize = 20 << 20;
/// What people send is for this user alone.
const FOLDER_MODE: u32 = 0o700;
/// See [`FOLDER_MODE`].
const FILE_MODE: u32 = 0o600;
/// Longest name that is kept of what a platform calls a file, in characters.
const NAME_CHARS_MAX: usize = 120;

/// Why something was not kept.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// It is too large.
    #[error("it has {bytes} bytes, and {MEDIA_BYTES_MAX} are allowed; send something smaller")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The disk refused.
    #[error("it could not be written into {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, and is something else: the disk or somebody changed it.
    #[error("{path} is not what it was when it was kept")]
    Changed {
        /// Where.
        path: PathBuf,
    },
}

/// The folder.
#[derive(Debug, Clone)]
pub struct MediaFolder {
    path: PathBuf,
}

impl MediaFolder {
    /// In this folder, which is made when something comes.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Keeps bytes; they are on the disk when this returns. Blocks. Keeping the same bytes again changes nothing.
    pub fn keep(&self, kind: EnclosureKind, name: &str, bytes: &[u8]) -> Result<Enclosure, MediaError> {
        if bytes.len() > MEDIA_BYTES_MAX {
            return Err(MediaError::TooLarge { bytes: bytes.len() });
        }
        let id = MediaId::new(Sha256::digest(bytes).into());
        let path = self.path_of(&id);
        if !path.exists() {
            self.write(&path, bytes).map_err(|source| MediaError::Io { path, source })?;
        }
        let name = name.chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect();
        Ok(Enclosure { id, kind, bytes: bytes.len() as u64, name })
    }

    /// What was kept, checked against its name. Blocks. `None`: it is not there any more.
    pub fn read(&self, id: &MediaId) -> Result<Option<Vec<u8>>, MediaError> {
        self.read_within(id, MEDIA_BYTES_MAX)
    }

    /// The same of a file that has no more than so many bytes; a larger one is not read.
    pub fn read_within(&self, id: &MediaId, bytes_max: usize) -> Result<Option<Vec<u8>>, MediaError> {
        let path = self.path_of(id);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(found) if found > bytes_max => Err(MediaError::TooLarge { bytes: found }),
            Ok(_) if Sha256::digest(&bytes)[..] == id.bytes()[..] => Ok(Some(bytes)),
            Ok(_) => Err(MediaError::Changed { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MediaError::Io { path, source }),
        }
    }

    /// A folder for each first byte: directories stay small.
    fn path_of(&self, id: &MediaId) -> PathBuf {
        let name = id.to_string();
        let (first, _) = name.split_at(2);
        self.path.join(first).join(&name)
    }

    /// Under another name first: half a file never has the name of a whole one.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.path);
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        let new = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_was_changed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let media = MediaFolder::new(folder.path().join("media"));
        let kept = media.keep(EnclosureKind::Picture, "a\n.jpg", b"bytes").unwrap();
        assert_eq!((kept.bytes, kept.name.as_str()), (5, "a.jpg"));
        assert_eq!(media.keep(EnclosureKind::Picture, "a.jpg", b"bytes").unwrap(), kept);
        assert_eq!(media.read(&kept.id).unwrap().as_deref(), Some(&b"bytes"[..]));
        let path = media.path_of(&kept.id);
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
        fs::write(&path, b"other").unwrap();
        assert!(matches!(media.read(&kept.id), Err(MediaError::Changed { .. })));
        fs::remove_file(&path).unwrap();
        assert!(media.read(&kept.id).unwrap().is_none());
        let large = vec![0; MEDIA_BYTES_MAX + 1];
        assert!(matches!(media.keep(EnclosureKind::File, "", &large), Err(MediaError::TooLarge { .. })));
    }
}

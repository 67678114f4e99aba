//! What can go wrong with the files of the library.
use std::io;
use std::path::{Path, PathBuf};

use crate::catalogue::UnknownModel;
use crate::gguf::GgufError;

/// Why the library could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// No such model.
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    /// There is nothing of this model.
    #[error("`{id}` is not on disk; get it with `archond model pull {id}`")]
    NotOnDisk {
        /// The model.
        id: String,
    },
    /// What is there is not what was recorded.
    #[error("`{id}` is damaged: {reason}")]
    Damaged {
        /// The model.
        id: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The disk, or its rights.
    #[error("cannot {operation} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Not enough disk space; nothing was written.
    #[error("{} has {free} bytes free and this needs {needed}; free some space or choose another directory", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What is free.
        free: u64,
        /// What is needed, with a margin.
        needed: u64,
    },
    /// Another process changes the same model.
    #[error("another archond{} is changing `{id}` now; wait until it has ended", pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    Busy {
        /// The model.
        id: String,
        /// Which process, if it said so.
        pid: Option<u32>,
    },
    /// The bytes are not the right ones.
    #[error("{} has the wrong sha256: expected {expected}, found {found}; remove it and fetch it again", path.display())]
    WrongHash {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The file is no model that can be run.
    #[error("{} {source}", path.display())]
    Gguf {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: GgufError,
    },
    /// What was named is not a file.
    #[error("{} is not a file; name a .gguf file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file is a model, but none that the house can talk to.
    #[error("{}: {reason}", path.display())]
    NotUsable {
        /// Which file.
        path: PathBuf,
        /// Why, and what would be.
        reason: String,
    },
    /// The file is not the model that it is to be imported as.
    #[error("{} is not `{id}`: {reason}; import it under another name with `--name`", path.display())]
    NotThisModel {
        /// Which file.
        path: PathBuf,
        /// The model.
        id: String,
        /// What differs.
        reason: String,
    },
    /// The file is a projector, but not the one of the model.
    #[error("{} is not the projector of `{id}`: {reason}", path.display())]
    NotItsProjector {
        /// Which file.
        path: PathBuf,
        /// The model.
        id: String,
        /// Why not.
        reason: String,
    },
    /// Another model has this name.
    #[error(
        "there is another model `{id}`; choose a name with `--name`, or remove it with `archond model rm {id}`"
    )]
    NameTaken {
        /// The name.
        id: String,
    },
    /// A name that cannot be one.
    #[error("`{id}` cannot be a model's name: use 1 to 64 characters a-z, 0-9, `.`, `_` and -")]
    BadName {
        /// The name.
        id: String,
    },
    /// The caller has no directory for the user's own models.
    #[error(
        "this library has no directory for models of your own; only models of the catalogue can be imported"
    )]
    NoUserDirectory,
    /// The description of an own model could not be written.
    #[error("cannot describe `{id}`: {source}")]
    Describe {
        /// The model.
        id: String,
        /// Why.
        #[source]
        source: ron::Error,
    },
}

/// What an operator can do about an error of the system.
fn hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => {
            "; give this user the right to write there, or choose another directory"
        }
        StorageFull | QuotaExceeded | FileTooLarge => "; free some space and run the same command again",
        _ => "",
    }
}

/// Names the operation and the file of a system error.
pub(crate) fn at<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LibraryError + use<'a> {
    move |source| LibraryError::Io { operation, path: path.to_path_buf(), source }
}

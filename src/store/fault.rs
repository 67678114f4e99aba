//! What can go wrong inside a transaction, before it is said in the port's words.
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

use archond_actors::ports::StoreError;

use super::records::RecordError;

/// Why a change or a question failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The caller named what does not exist. The transaction is as good as before.
    NotFound { what: String },
    /// One record cannot be read. The transaction is as good as before.
    Unreadable { detail: String },
    /// redb failed: the transaction is lost, and the database must be opened anew.
    Broken(Box<redb::Error>),
}

impl Fault {
    pub(super) fn not_found(what: &str, id: impl Display) -> Self {
        Self::NotFound { what: format!("{what} {id}") }
    }

    pub(super) fn record(table: &str, id: impl Display, error: &RecordError) -> Self {
        Self::Unreadable { detail: format!("{table} {id}: {error}") }
    }

    pub(super) fn dangling(table: &str, id: u64) -> Self {
        Self::Unreadable { detail: format!("{table} {id} names what is not there") }
    }

    /// The port's words for it.
    pub(super) fn into_store_error(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            Self::NotFound { what } => StoreError::NotFound { what },
            Self::Unreadable { detail } => StoreError::Corrupt { path, detail },
            Self::Broken(error) => match *error {
                redb::Error::Io(error) if is_disk_full(&error) => StoreError::DiskFull { path },
                redb::Error::Corrupted(detail) => StoreError::Corrupt { path, detail },
                error => StoreError::Io { path, detail: error.to_string() },
            },
        }
    }
}

/// No space, or no quota: both end when something is removed.
pub(super) fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

macro_rules! broken_from {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                Self::Broken(Box::new(error.into()))
            }
        })*
    };
}

broken_from!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);

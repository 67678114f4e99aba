//! How the file comes to be and is opened: whole or not at all, by one process at a time.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, Durability, ReadableDatabase, TableError};

use super::Retention;
use super::fault::{Fault, is_disk_full};
use super::tables::{META, META_SCHEMA, SCHEMA};
use super::writes::Writer;

/// Memory for pages. A turn touches some dozen pages of 4 KiB, so this holds the working set of hundreds of sessions;
/// the system's own page cache holds the rest.
const CACHE_SIZE_BYTES: usize = 8 * 1024 * 1024;
/// The file holds what people wrote: nobody else may read it.
const FILE_MODE: u32 = 0o600;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "another archond already uses this house ({path}); talk to that one, or end it with `archond shutdown`"
    )]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a store of archond; move it away to begin a new store, or restore a backup")]
    NotAStore {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is a store whose bytes are wrong.
    #[error("the store {path} is damaged ({detail}); restore a backup, or move it away to begin a new store")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a newer archond.
    #[error(
        "the store {path} has layout {found}, this archond knows layout {SCHEMA}; use the archond that wrote it"
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its layout.
        found: u64,
    },
    /// The disk is full.
    #[error("the disk that holds {path} is full; free some space and try again")]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error(
        "the store {path} cannot be opened ({source}); check that its folder exists and that you may write there"
    )]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the store's file if there is none.
pub(super) fn ensure(path: &Path) -> Result<(), OpenError> {
    let known = path.try_exists().map_err(|source| io_error(path, source))?;
    if known { Ok(()) } else { create(path) }
}

/// Opens the store's file. One that has gone, perhaps with its disk, is not made anew: it would be another, empty house.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    guarded(path, || builder().open(path))
}

/// redb's settings, for every backend.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_SIZE_BYTES);
    builder
}

/// Opens through redb, looks whether the file is one of ours, and brings an older layout to the present one.
pub(super) fn guarded(
    path: &Path,
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, OpenError> {
    // redb says that a file altered by others may make it panic; here that is one more way of being damaged.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = open().map_err(|error| database_error(path, error))?;
        check_layout(path, &database)?;
        Ok(database)
    }));
    opened.unwrap_or_else(|_| {
        Err(OpenError::Damaged { path: path.to_owned(), detail: "its pages make no sense".to_owned() })
    })
}

/// Makes an empty store under another name and renames it when it is whole: redb writes the mark of its format last,
/// so a process killed meanwhile would leave a file that nobody can open.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |source| io_error(path, source);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Two first starts at once must not rename each other's half-made file.
    let folder = File::open(folder).map_err(failed)?;
    match folder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let made = make(path, &new);
    if made.is_err() {
        // Best effort: the next start removes it before it makes its own.
        let _ = std::fs::remove_file(&new);
        return made;
    }
    std::fs::rename(&new, path).and_then(|()| folder.sync_all()).map_err(failed)
}

fn make(path: &Path, new: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE).open(new).map_err(|e| io_error(path, e))?;
    let database = builder().create(new).map_err(|error| database_error(path, error))?;
    settle(&database).map_err(|fault| fault_error(path, fault))?;
    database.close().map_err(|error| database_error(path, error))
}

/// Writes the layout's number and all tables that are missing into an empty database, or into one of an older layout.
/// One transaction: a crash leaves the old layout or the new one.
pub(super) fn settle(database: &Database) -> Result<(), Fault> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    let mut writer = Writer::open(&txn, Retention::default())?;
    writer.set_layout()?;
    writer.finish()?;
    Ok(txn.commit()?)
}

fn check_layout(path: &Path, database: &Database) -> Result<(), OpenError> {
    let foreign = || OpenError::NotAStore { path: path.to_owned() };
    let txn = database.begin_read().map_err(|error| fault_error(path, error.into()))?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(fault_error(path, error.into())),
        Err(_) => return Err(foreign()),
    };
    let schema = meta.get(META_SCHEMA).map_err(|error| fault_error(path, error.into()))?;
    match schema.map(|schema| schema.value()) {
        Some(SCHEMA) => Ok(()),
        Some(1..SCHEMA) => settle(database).map_err(|error| fault_error(path, error)),
        Some(0) => Err(foreign()),
        Some(found) => Err(OpenError::Newer { path: path.to_owned(), found }),
        None => Err(foreign()),
    }
}

fn fault_error(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Broken(error) => redb_error(path, *error),
        Fault::NotFound { what: detail } | Fault::Unreadable { detail } => {
            OpenError::Damaged { path: path.to_owned(), detail }
        }
    }
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    redb_error(path, error.into())
}

fn redb_error(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(source) if source.kind() == ErrorKind::InvalidData => OpenError::NotAStore { path },
        redb::Error::Io(source) if source.kind() == ErrorKind::UnexpectedEof => {
            OpenError::Damaged { path, detail: "its end is missing".to_owned() }
        }
        redb::Error::Io(source) => io_error(&path, source),
        error => OpenError::Damaged { path, detail: error.to_string() },
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    if is_disk_full(&source) { OpenError::DiskFull { path } } else { OpenError::Io { path, source } }
}

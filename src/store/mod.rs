//! The store on disk: redb, one file per house, one owner, every commit durable before it is answered.
//!
//! Files: `open` (the file comes to be), `tables`, `records`, `answer_records` and `tool_records` (what lies in it), `writes` and `session_writes`, `reads`,
//! `hand_off`, `deliveries`, `access`, `links`, `remembered` (notes, and what turns are found by), `meanings` (their vectors), `fault`.
//!
//! After an I/O error redb refuses everything until it is opened anew. We close it then and open it at the next call:
//! the house lives on, and works again once there is space. A commit whose fsync failed may turn out to be there after
//! that; every change may safely be repeated, so the caller simply tries again. Only what was appended to a journal would
//! stand there twice: who appends looks first.
mod access;
mod answer_records;
mod deliveries;
mod fault;
mod hand_off;
mod links;
mod meanings;
mod open;
mod reads;
mod records;
mod remembered;
mod session_writes;
mod tables;
mod tool_records;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use archond_actors::domain::{
    ArchonId, ChannelId, Cursor, Grant, InboxEntry, InboxId, Indexed, JournalEntry, Knock, MessageKey, Note,
    NotePlace, NotesOf, OutboxEntry, OutboxId, Paired, PeerId, PeerKey, Recalled, Receipt, SessionHead,
    SessionKey, SessionSnapshot, Sought, ThreadId, TurnRecord, Undeliverable, Unindexed,
};
use archond_actors::ports::{Store, StoreError, Write, Written};
use redb::{Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, StorageBackend};

use fault::Fault;
pub use open::OpenError;
use writes::Writer;

/// How long the platforms' message ids are remembered, to recognise repetitions.
/// A key is forgotten when it is old *and* many newer ones are known.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// So many of the newest keys stay, whatever their age.
    pub keys_min: u64,
    /// Younger keys stay, however many they are.
    pub key_age_min_ms: u64,
}

impl Default for Retention {
    /// Telegram repeats for a day, Nostr relays back-date by two: 30 days is ample. 100,000 keys take about 10 MB.
    fn default() -> Self {
        Self { keys_min: 100_000, key_age_min_ms: 30 * 24 * 60 * 60 * 1000 }
    }
}

type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// The durable memory of one house.
pub struct RedbStore {
    path: PathBuf,
    opener: Opener,
    /// `None` after an I/O error, until the next call.
    database: RwLock<Option<Database>>,
    retention: Retention,
}

impl RedbStore {
    /// Opens the store's file; makes it if there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        open::ensure(&path)?;
        let at = path.clone();
        Self::with_opener(path, Box::new(move || open::open(&at)))
    }

    /// Opens a store on storage of the caller's own making, for tests that break disks. `path` is used in messages alone;
    /// `backend` is asked again whenever the store has to be opened anew.
    pub fn open_on<B: StorageBackend>(
        path: impl Into<PathBuf>,
        backend: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let path = path.into();
        let at = path.clone();
        let open = move || -> Result<Database, DatabaseError> {
            let backend = backend();
            let empty = backend.len().map_err(redb::StorageError::Io)? == 0;
            let database = open::builder().create_with_backend(backend)?;
            if empty {
                open::settle(&database).map_err(|fault| match fault {
                    Fault::Broken(error) => redb::StorageError::Backend(error),
                    fault => redb::StorageError::Corrupted(format!("{fault:?}")),
                })?;
            }
            Ok(database)
        };
        Self::with_opener(path, Box::new(move || open::guarded(&at, &open)))
    }

    fn with_opener(path: PathBuf, opener: Opener) -> Result<Self, OpenError> {
        let database = opener()?;
        Ok(Self { path, opener, database: RwLock::new(Some(database)), retention: Retention::default() })
    }

    /// The same store with another retention.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many turns have a journal: they run, or were interrupted between a call of a tool and their end.
    pub fn journals_len(&self) -> Result<u64, StoreError> {
        self.read(reads::journals_len)
    }

    /// How many notes there are. Reads every note and all that turns are found by, and finds what does not belong together.
    pub fn check_remembered(&self) -> Result<u64, StoreError> {
        self.read(remembered::check)
    }

    /// Uses the database, and closes it if it breaks.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.reopen()?;
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &*database else { return Err(self.broke_meanwhile()) };
            work(database)
        };
        if let Err(Fault::Broken(_)) = &result {
            // Dropping closes the file and gives up its lock; what was not committed is gone.
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result.map_err(|fault| fault.into_store_error(&self.path))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            let path = self.path.display().to_string();
            *database = Some((self.opener)().map_err(|error| match error {
                OpenError::DiskFull { .. } => StoreError::DiskFull { path },
                error => StoreError::Io { path, detail: error.to_string() },
            })?);
        }
        Ok(())
    }

    fn broke_meanwhile(&self) -> StoreError {
        let detail = "another call met an I/O error; try again".to_owned();
        StoreError::Io { path: self.path.display().to_string(), detail }
    }

    fn read<T>(&self, ask: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.with(|database| ask(&database.begin_read()?))
    }

    fn write(&self, database: &Database, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, Fault> {
        let mut txn = database.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        let mut writer = Writer::open(&txn, self.retention)?;
        let mut results = Vec::with_capacity(batch.len());
        for write in batch {
            results.push(match writer.apply(write) {
                Ok(written) => Ok(written),
                Err(Fault::Broken(error)) => return Err(Fault::Broken(error)),
                Err(refusal) => Err(refusal.into_store_error(&self.path)),
            });
        }
        // Repetitions and refusals alone change nothing, and need no fsync.
        if writer.finish()? {
            txn.commit()?
        } else {
            txn.abort()?
        }
        Ok(results)
    }
}

impl Store for RedbStore {
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        self.with(|database| self.write(database, batch))
    }

    fn pending(
        &self,
        archon: &ArchonId,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.read(|txn| reads::pending(txn, archon, after, limit))
    }

    fn pending_len(&self, archon: &ArchonId) -> Result<u64, StoreError> {
        self.read(|txn| reads::pending_len(txn, archon))
    }

    fn session(&self, key: &SessionKey) -> Result<Option<SessionSnapshot>, StoreError> {
        self.read(|txn| reads::session(txn, key))
    }

    fn turns(&self, key: &SessionKey, from: u64, limit: usize) -> Result<Vec<TurnRecord>, StoreError> {
        self.read(|txn| reads::turns(txn, key, from, limit))
    }

    fn sessions(
        &self,
        archon: Option<&ArchonId>,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionHead>, StoreError> {
        self.read(|txn| reads::sessions(txn, archon, after, limit))
    }

    fn sessions_with(&self, with: &PeerKey) -> Result<Vec<SessionHead>, StoreError> {
        self.read(|txn| reads::sessions_with(txn, with))
    }

    fn grants(&self, with: &PeerKey) -> Result<Vec<Grant>, StoreError> {
        self.read(|txn| reads::grants(txn, with))
    }

    fn undelivered(
        &self,
        channel: &ChannelId,
        peer: Option<(&ArchonId, &PeerId)>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        self.read(|txn| reads::undelivered(txn, channel, peer, after, limit))
    }

    fn undeliverable(
        &self,
        channel: Option<&ChannelId>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Result<Vec<Undeliverable>, StoreError> {
        self.read(|txn| deliveries::undeliverable(txn, channel, after, limit))
    }

    fn paired(&self, with: &PeerKey) -> Result<Option<Paired>, StoreError> {
        self.read(|txn| access::paired(txn, with))
    }

    fn pairings(&self) -> Result<Vec<Paired>, StoreError> {
        self.read(access::pairings)
    }

    fn knocks(&self) -> Result<Vec<Knock>, StoreError> {
        self.read(access::knocks)
    }

    fn linked(&self, with: &PeerKey) -> Result<Vec<PeerKey>, StoreError> {
        self.read(|txn| links::linked(txn, with))
    }

    fn receipt(&self, inbox: InboxId) -> Result<Option<Receipt>, StoreError> {
        self.read(|txn| deliveries::receipt(txn, inbox))
    }

    fn cursor(&self, archon: &ArchonId, channel: &ChannelId) -> Result<Option<Cursor>, StoreError> {
        self.read(|txn| deliveries::cursor(txn, archon, channel))
    }

    fn is_accepted(&self, key: &MessageKey) -> Result<bool, StoreError> {
        self.read(|txn| reads::is_accepted(txn, key))
    }

    fn answer_to(&self, inbox: InboxId) -> Result<Option<OutboxEntry>, StoreError> {
        self.read(|txn| reads::answer_to(txn, inbox))
    }

    fn journal(&self, inbox: InboxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.read(|txn| reads::journal(txn, inbox))
    }

    fn current_thread(
        &self,
        archon: &ArchonId,
        channel: &ChannelId,
        peer: &PeerId,
    ) -> Result<ThreadId, StoreError> {
        self.read(|txn| reads::current_thread(txn, archon, channel, peer))
    }

    fn notes(&self, of: &NotesOf, after: Option<&NotePlace>, limit: usize) -> Result<Vec<Note>, StoreError> {
        self.read(|txn| remembered::notes(txn, of, after, limit))
    }

    fn find(&self, owner: &PeerKey, sought: &Sought, limit: usize) -> Result<Vec<Recalled>, StoreError> {
        self.read(|txn| remembered::find(txn, owner, sought, limit))
    }

    fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>, StoreError> {
        self.read(|txn| meanings::unindexed(txn, limit))
    }

    fn indexed(&self) -> Result<Indexed, StoreError> {
        self.read(meanings::indexed)
    }
}

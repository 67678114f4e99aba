//! The store on disk against the testkit's ideal one: closed and opened again in its file, and on a disk that loses power.
use archond::store::RedbStore;
use archond_actors::ports::Store;
use archond_actors::testkit::store_model::{Home, Tenant, lives};
use proptest_state_machine::prop_state_machine;
use tempfile::TempDir;

use crate::disk::{Disk, Random, Tear};

/// Lives in a file, each change of which is waited for. `PROPTEST_CASES` asks for more.
const FILE_LIVES: u32 = 24;

/// Lives on a disk in memory.
const DISK_LIVES: u32 = 96;

/// The store in a file, which is closed in good order.
struct File {
    folder: TempDir,
    store: Option<RedbStore>,
}

impl Home for File {
    fn build() -> Self {
        let mut file = Self { folder: tempfile::tempdir().unwrap(), store: None };
        file.reopen();
        file
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        // It has one owner at a time: the old one goes first.
        self.store = None;
        self.store = Some(RedbStore::open(self.folder.path().join("store.redb")).unwrap());
    }
}

/// The store on a disk whose power goes off without warning: what was answered must be there afterwards.
struct Powerless {
    disk: Disk,
    random: Random,
    store: RedbStore,
}

impl Powerless {
    fn open(disk: &Disk) -> RedbStore {
        let disk = disk.clone();
        RedbStore::open_on("disk", move || disk.clone()).unwrap()
    }
}

impl Home for Powerless {
    fn build() -> Self {
        let disk = Disk::default();
        Self { store: Self::open(&disk), disk, random: Random::new(7) }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn reopen(&mut self) {
        // Taken while the store is open: closing it in good order would write more.
        self.disk = Disk::holding(self.disk.after_power_loss(Tear::Sectors, &mut self.random));
        self.store = Self::open(&self.disk);
    }
}

prop_state_machine! {
    #![proptest_config(lives(FILE_LIVES))]
    #[test]
    fn the_store_in_a_file_does_what_an_ideal_one_does(sequential 1..60 => Tenant<File>);
}

prop_state_machine! {
    #![proptest_config(lives(DISK_LIVES))]
    #[test]
    fn the_store_that_loses_power_does_what_an_ideal_one_does(sequential 1..60 => Tenant<Powerless>);
}

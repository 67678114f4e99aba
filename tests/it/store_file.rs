//! The store's file: who may open it, what is said when it cannot be used, and how a full disk is lived through.
use std::path::Path;
use std::process::Command;

use archond::store::{OpenError, RedbStore, Retention};
use archond_actors::domain::{Accepted, InboundMessage, InboxId, Kept, NewNote, Recalled, Unindexed};
use archond_actors::ports::{Store, StoreError, Write, Written};
use redb::{ReadableDatabase, ReadableTable};

use crate::disk::{Disk, Random, Tear};
use crate::store_contract::{accept, end, message, one, turn_end};
use crate::store_journal::begun;

/// A session, and the number of a turn.
type TurnCols = (&'static str, &'static str, &'static str, &'static str, u64);

/// Tells a copy of this test binary on which small disk it is to work.
const SMALL_DISK: &str = "ARCHOND_TEST_SMALL_DISK";

fn refused(path: &Path) -> String {
    RedbStore::open(path).err().unwrap_or_else(|| panic!("{} was opened", path.display())).to_string()
}

fn long_message(key: &str) -> InboundMessage {
    InboundMessage { text: "x".repeat(100_000), ..message(key) }
}

#[test]
fn everything_is_there_after_a_restart_and_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let entry = accept(&store, InboundMessage { text: "/new".into(), ..message("1") });
    let ended = end(&store, turn_end(entry.id, "hi"));
    let session = store.session(&entry.session).unwrap();
    drop(store);

    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.session(&entry.session).unwrap(), session);
    assert_eq!(store.answer_to(entry.id).unwrap(), Some(ended));
    assert_eq!(accept(&store, message("2")).session.thread.as_str(), "s1");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}

#[test]
fn a_second_archond_is_told_that_the_house_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let first = RedbStore::open(&path).unwrap();
    let said = refused(&path);
    assert!(said.starts_with("another archond already uses this house"), "{said}");
    assert!(said.ends_with("or end it with `archond shutdown`"), "{said}");
    accept(&first, message("1"));
    drop(first);
    RedbStore::open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.redb");
    drop(redb::Database::create(&foreign).unwrap());
    let whole = folder.path().join("whole.redb");
    accept(&RedbStore::open(&whole).unwrap(), long_message("1"));
    let whole = std::fs::read(&whole).unwrap();

    for (name, bytes) in
        [("empty", vec![]), ("text", b"not a store".repeat(9_999)), ("zeros", vec![0; 99_999])]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let said = refused(&path);
        assert!(said.contains("is not a store of archond; move it away"), "{name}: {said}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name} was changed");
    }
    assert!(matches!(RedbStore::open(&foreign), Err(OpenError::NotAStore { .. })));
    for percent in [1, 10, 50, 90, 99] {
        let path = folder.path().join(format!("cut-{percent}"));
        std::fs::write(&path, &whole[..whole.len() * percent / 100]).unwrap();
        let said = refused(&path);
        assert!(said.contains("restore a backup"), "cut at {percent}%: {said}");
    }
}

#[test]
fn a_store_of_a_newer_archond_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    drop(RedbStore::open(&path).unwrap());
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("schema", 9).unwrap();
    txn.commit().unwrap();
    drop(database);
    assert!(
        refused(&path).ends_with("has layout 9, this archond knows layout 8; use the archond that wrote it")
    );
}

/// The bytes of a store as archond left it before there were roads to platforms.
fn store_of_layout_4(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    let entry = accept(&store, message("answered"));
    end(&store, turn_end(entry.id, "hi"));
    accept(&store, message("waiting"));
    drop(store);
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    for access in ["paired", "knocks"] {
        let access = redb::TableDefinition::<(&str, &str, &str), &[u8]>::new(access);
        assert!(txn.delete_table(access).unwrap());
    }
    assert!(txn.delete_table(redb::TableDefinition::<u64, &[u8]>::new("given up")).unwrap());
    assert!(txn.delete_table(redb::TableDefinition::<u64, &str>::new("receipts")).unwrap());
    assert!(txn.delete_table(redb::TableDefinition::<(&str, &str), (&str, u64)>::new("cursors")).unwrap());
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("schema", 4).unwrap();
    txn.commit().unwrap();
}

/// As it was left before there were vectors: without these, and with sessions of version 2.
fn store_of_layout_3(path: &Path) {
    store_of_layout_4(path);
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    assert!(txn.delete_table(redb::TableDefinition::<TurnCols, &[u8]>::new("vectors")).unwrap());
    assert!(txn.delete_table(redb::TableDefinition::<TurnCols, u64>::new("without vector")).unwrap());
    assert!(txn.delete_table(redb::TableDefinition::<u64, &[u8]>::new("maker")).unwrap());
    let heads = redb::TableDefinition::<(&str, &str, &str, &str), &[u8]>::new("sessions");
    let mut heads = txn.open_table(heads).unwrap();
    let head = heads.get(("ezra", "cli", "uid0", "main")).unwrap().unwrap().value().to_vec();
    // The third version is the second one and the tools behind it that a summary's turns called: here, none.
    let (Some((3, second)), Some(0)) = (head.split_first(), head.last()) else { panic!("{head:?}") };
    let second = [&[2], &second[..second.len() - 1]].concat();
    heads.insert(("ezra", "cli", "uid0", "main"), second.as_slice()).unwrap();
    drop(heads);
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("schema", 3).unwrap();
    txn.commit().unwrap();
}

/// As it was left before there were notes: without these, without what turns are found by and what was allowed for good, and with
/// sessions of version 1.
fn store_of_layout_2(path: &Path) {
    store_of_layout_3(path);
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let grants = redb::TableDefinition::<(&str, &str, &str, &[u8]), ()>::new("grants");
    assert!(txn.delete_table(grants).unwrap());
    let heads = redb::TableDefinition::<(&str, &str, &str, &str), &[u8]>::new("sessions");
    let mut heads = txn.open_table(heads).unwrap();
    let head = heads.get(("ezra", "cli", "uid0", "main")).unwrap().unwrap().value().to_vec();
    // The second version is the first one and what was chosen behind it: here, nothing, three times.
    let (Some((2, first)), Some([0, 0, 0])) = (head.split_first(), head.last_chunk()) else {
        panic!("{head:?}")
    };
    let first = [&[1], &first[..first.len() - 3]].concat();
    heads.insert(("ezra", "cli", "uid0", "main"), first.as_slice()).unwrap();
    drop(heads);
    type NoteCols = (&'static str, &'static str, &'static str, u64);
    assert!(txn.delete_table(redb::TableDefinition::<NoteCols, &[u8]>::new("notes")).unwrap());
    assert!(txn.delete_table(redb::TableDefinition::<TurnCols, &[u8]>::new("terms")).unwrap());
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    {
        let mut meta = txn.open_table(meta).unwrap();
        meta.insert("schema", 2).unwrap();
        meta.remove("last note").unwrap();
    }
    txn.commit().unwrap();
}

/// As it was left before there were journals: one table less still, and turns of version 1.
fn store_of_layout_1(path: &Path) {
    store_of_layout_2(path);
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    assert!(txn.delete_table(redb::TableDefinition::<(u64, u64), &[u8]>::new("journal")).unwrap());
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("schema", 1).unwrap();
    let mut turns = txn.open_table(redb::TableDefinition::<TurnCols, &[u8]>::new("turns")).unwrap();
    let at = ("ezra", "cli", "uid0", "main", 0);
    let turn = turns.get(at).unwrap().unwrap().value().to_vec();
    // The second version is the first one and the steps behind it: here, none.
    let (Some((2, first)), Some(0)) = (turn.split_first(), turn.last()) else { panic!("{turn:?}") };
    let first = [&[1], &first[..first.len() - 1]].concat();
    turns.insert(at, first.as_slice()).unwrap();
    drop(turns);
    txn.commit().unwrap();
}

/// All that lay in such a store, and what it can do now.
fn check_taken_over(store: &RedbStore, case: &str) {
    let key = "ezra/cli/uid0/main".parse().unwrap();
    let turns = store.turns(&key, 0, 9).unwrap();
    let [turn] = turns.as_slice() else { panic!("{case}: {turns:?}") };
    assert_eq!((turn.answer.as_str(), turn.steps.as_slice()), ("hi", &[][..]), "{case}");
    let waiting = store.pending(&key.archon, None, 9).unwrap();
    assert_eq!(waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), [InboxId(2)], "{case}");
    assert_eq!(store.journal(InboxId(2)).unwrap(), [], "{case}");
    one(store, Write::Journal { inbox: InboxId(2), entries: vec![begun("1")] }).unwrap();
    assert_eq!(store.journal(InboxId(2)).unwrap(), [begun("1")], "{case}");
    let head = store.session(&key).unwrap().unwrap().head;
    assert_eq!((head.turns, head.options), (1, Default::default()), "{case}");
    let owner = key.peer_key();
    let found = store.recall(&owner, "hi", 9).unwrap();
    assert!(
        matches!(&found[..], [Recalled::Turn { session, number: 0, .. }] if *session == key),
        "{case}: {found:?}"
    );
    assert_eq!(store.check_remembered().unwrap(), 0, "{case}");
    let unindexed = store.unindexed(9).unwrap();
    assert!(
        matches!(&unindexed[..], [Unindexed { of, text }] if of.owner == owner && of.stamp == 1 && text.ends_with("hi")),
        "{case}: {unindexed:?}"
    );
    let note = NewNote::new(owner, None, "a note", 1).unwrap();
    let kept = one(store, Write::KeepNote(note));
    assert!(matches!(kept, Ok(Written::Kept(Kept::Fresh(_)))), "{case}: {kept:?}");
}

#[test]
fn a_store_of_an_older_archond_is_taken_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    store_of_layout_1(&path);
    check_taken_over(&RedbStore::open(&path).unwrap(), "taken over");
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.journal(InboxId(2)).unwrap(), [begun("1")]);
    assert_eq!(store.journals_len().unwrap(), 1);
    drop(store);
    let database = redb::Database::open(&path).unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let layout = database.begin_read().unwrap().open_table(meta).unwrap().get("schema").unwrap();
    assert_eq!(layout.unwrap().value(), 8, "an older archond refuses it by this");
}

#[test]
fn a_store_without_notes_is_taken_over_with_all_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    store_of_layout_2(&path);
    check_taken_over(&RedbStore::open(&path).unwrap(), "taken over");
    let store = RedbStore::open(&path).unwrap();
    let found = store.recall(&"ezra/cli/uid0".parse().unwrap(), "hi note", 9).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_store_without_vectors_is_taken_over_and_every_text_waits_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    store_of_layout_3(&path);
    check_taken_over(&RedbStore::open(&path).unwrap(), "taken over");
    assert_eq!(RedbStore::open(&path).unwrap().indexed().unwrap().without, 2, "the turn and the new note");
}

#[test]
fn power_loss_while_an_older_store_is_taken_over_leaves_the_old_one_or_the_new_one() {
    for older in [store_of_layout_1, store_of_layout_2, store_of_layout_3, store_of_layout_4] {
        power_loss_while_taken_over(older);
    }
}

fn power_loss_while_taken_over(older: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    older(&path);
    let old = std::fs::read(&path).unwrap();
    let open = |disk: &Disk| {
        let disk = disk.clone();
        RedbStore::open_on("disk", move || disk.clone())
    };
    let whole = Disk::holding(old.clone());
    drop(open(&whole).unwrap());
    let operations = whole.operations();
    assert!(operations > 10, "too few moments: {operations}");
    for cut in 1..=operations {
        let disk = Disk::holding(old.clone());
        disk.power_off_in(cut);
        drop(open(&disk));
        for seed in 0..4 {
            let case = format!("power off at operation {cut}, seed {seed}");
            let mut random = Random::new(cut as u64 * 31 + seed);
            let found = Disk::holding(disk.after_power_loss(Tear::Sectors, &mut random));
            check_taken_over(&open(&found).unwrap_or_else(|error| panic!("{case}: {error}")), &case);
        }
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let places = ["missing/store.redb", "file/store.redb", "folder"].map(|name| folder.path().join(name));
    // sysfs lets nobody make a file, not even root.
    for path in places.iter().map(AsRef::as_ref).chain([Path::new("/sys/store.redb")]) {
        let said = refused(path);
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains("check that its folder exists and that you may write there"), "{said}");
    }
}

#[test]
fn old_keys_are_forgotten_when_there_are_many_newer_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("store.redb")).unwrap();
    let store = store.with_retention(Retention { keys_min: 3, key_age_min_ms: 100 });
    let is_known = |key: &str, now| {
        let write = Write::Accept(InboundMessage { received_unix_ms: now, ..message(key) });
        matches!(one(&store, write), Ok(Written::Accepted(Accepted::Duplicate(_))))
    };
    for now in 0..5 {
        assert!(!is_known(&now.to_string(), now));
    }
    assert!(is_known("0", 99), "many newer ones, but young");
    assert!(!is_known("5", 500));
    assert!(!is_known("0", 500), "old, and more than three newer ones");
    assert!(is_known("4", 500), "old, but among the newest");
}

/// Fills the disk, and shows that the store refuses clearly, still answers, loses nothing, and works again.
fn live_through_a_full_disk(store: &dyn Store, fill: impl Fn(), free: impl Fn()) {
    let before = accept(store, long_message("before"));
    let ended = end(store, turn_end(before.id, "hi"));
    fill();
    let full = |key: &str| match store.commit(&[Write::Accept(long_message(key))]) {
        Err(StoreError::DiskFull { path }) => !path.is_empty(),
        Ok(_) => false,
        Err(error) => panic!("not called a full disk: {error}"),
    };
    // What is free inside the file is used up first.
    let last = (0..200).find(|number| full(&format!("fill {number}"))).expect("the disk gets full");
    assert!((0..20).all(|number| full(&format!("more {number}"))), "and stays full");
    assert_eq!(store.answer_to(before.id).unwrap(), Some(ended), "questions are answered meanwhile");

    free();
    let next = accept(store, long_message("after"));
    assert_eq!(next.id, InboxId(before.id.0 + last + 1), "what was refused left no trace");
    let pending = store.pending(&"ezra".parse().unwrap(), None, 999).unwrap();
    assert_eq!(pending.len() as u64, last + 1);
    assert!(pending.iter().all(|entry| entry.text.len() == 100_000));
}

#[test]
fn a_full_disk_is_said_and_lived_through() {
    let disk = Disk::default();
    let from = disk.clone();
    let store = RedbStore::open_on("/house/store.redb", move || from.clone()).unwrap();
    live_through_a_full_disk(&store, || disk.set_full(true), || disk.set_full(false));
    drop(store);
    let store = RedbStore::open_on("/house/store.redb", move || disk.clone()).unwrap();
    assert!(store.pending_len(&"ezra".parse().unwrap()).unwrap() > 0);
}

/// Not a test of its own: runs on a small real disk that only this process and its children see.
#[test]
fn on_a_small_disk() {
    let Some(folder) = std::env::var_os(SMALL_DISK).map(std::path::PathBuf::from) else { return };
    let ballast = folder.join("ballast");
    let fill = || {
        let mut len = 8_000_000;
        while len > 0 {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&ballast).unwrap();
            if file.write_all(&vec![1; len]).is_err() {
                len /= 2;
            }
        }
    };
    let free = || std::fs::remove_file(&ballast).unwrap();
    let store = RedbStore::open(folder.join("store.redb")).unwrap();
    live_through_a_full_disk(&store, fill, free);

    fill();
    let said = refused(&folder.join("second.redb"));
    assert!(said.ends_with("is full; free some space and try again"), "{said}");
    assert!(!folder.join("second.redb").exists() && !folder.join("second.redb.new").exists());
    free();
    RedbStore::open(folder.join("second.redb")).unwrap();
    println!("the small disk was lived through");
}

#[test]
fn a_really_full_disk_is_said_and_lived_through() {
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 77; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .args([folder.path(), &std::env::current_exe().unwrap()])
        .args(["--exact", "store_file::on_a_small_disk", "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .output();
    match output {
        Err(error) => println!("left out: unshare cannot be run here ({error})"),
        Ok(output) => {
            let (said, complaint) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if output.status.code() == Some(77) || complaint.contains("unshare failed") {
                println!("left out: this user may not mount a small disk ({})", complaint.trim());
                return;
            }
            assert!(output.status.success(), "{said}{complaint}");
            assert!(said.contains("the small disk was lived through"), "{said}{complaint}");
        }
    }
}

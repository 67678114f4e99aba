//! The store: every page of it, without a daemon; the daemon's own word, where it runs. And what its records say of the clock.
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use archond_actors::ports::{Store, StoreError};
use redb::{Builder, DatabaseError};
use tokio::time::Instant;

use super::daemon::Daemon;
use super::finding::Finding;
use super::leftovers::holder;
use super::overlay::Overlay;
use crate::cli::moment::{bytes, utc};
use crate::store::RedbStore;

/// Longest check of a store. While it lasts a daemon cannot start.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(20);
/// Sessions that are asked for at once.
const SESSIONS_LEN: usize = 1000;
/// Earlier than this program was written: the clock was never set. 2026-01-01.
const CLOCK_MIN_UNIX_MS: u64 = 1_767_225_600_000;
/// Later than anybody will run it: 2100-01-01.
const CLOCK_MAX_UNIX_MS: u64 = 4_102_444_800_000;
/// Clocks of one machine differ by less over a restart.
const CLOCK_SLACK_MS: u64 = 5 * 60 * 1000;

/// What is known of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreFact {
    /// There is none yet.
    None,
    /// The daemon has it, and read from it.
    Answered { size: u64, sessions: usize, newest_unix_ms: Option<u64> },
    /// The daemon has it, and could not read from it.
    Refused { size: u64, why: String },
    /// Another process has it, and no daemon answers.
    Held { by: Option<u32> },
    /// It cannot be opened.
    Closed { why: String },
    /// The check did not end in time.
    TooLarge { size: u64 },
    /// Its bytes are wrong.
    Damaged { why: String },
    /// It was written by a newer archond, or by another program.
    Foreign { why: String },
    /// Every page was read. Messages with a journal were interrupted between a call of a tool and their answer.
    Sound { size: u64, sessions: usize, newest_unix_ms: Option<u64>, journals: u64, notes: u64, closed: bool },
}

/// Looks at the store.
pub(super) fn examine(path: &Path, daemon: &Daemon) -> StoreFact {
    let size = match std::fs::metadata(path) {
        Ok(file) => file.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return StoreFact::None,
        Err(error) => return StoreFact::Closed { why: error.to_string() },
    };
    match daemon {
        Daemon::Runs { sessions: Ok(sessions), .. } => StoreFact::Answered {
            size,
            sessions: sessions.len(),
            newest_unix_ms: sessions.iter().map(|session| session.updated_unix_ms).max(),
        },
        Daemon::Runs { sessions: Err(why), .. } => StoreFact::Refused { size, why: why.clone() },
        Daemon::Away | Daemon::Silent { .. } | Daemon::Foreign { .. } => read_whole(path, size),
    }
}

fn read_whole(path: &Path, size: u64) -> StoreFact {
    let closed = |error: std::io::Error| StoreFact::Closed { why: error.to_string() };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return closed(error),
    };
    // A lock that is shared keeps a daemon from changing the file meanwhile, and lets a second doctor in.
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return StoreFact::Held { by: holder(path) },
        Err(TryLockError::Error(error)) => return closed(error),
    }
    if size == 0 {
        return StoreFact::Foreign { why: "it is empty".to_owned() };
    }
    let deadline = Instant::now() + STORE_TIMEOUT;
    let (overlay, untouched) = match file
        .try_clone()
        .and_then(|again| Ok((Overlay::new(file, deadline)?, Overlay::new(again, deadline)?)))
    {
        Ok(overlays) => overlays,
        Err(error) => return closed(error),
    };
    let verified = verify(&overlay);
    if overlay.is_late() {
        return StoreFact::TooLarge { size };
    }
    if let Err(fact) = verified {
        return fact;
    }
    // redb refuses this to a file that was not closed, and may panic at one that was not verified before.
    let was_closed = Builder::new().open_read_only_with_backend(untouched).is_ok();
    match content(path, &overlay) {
        Ok(Content { sessions, newest_unix_ms, journals, notes }) => {
            StoreFact::Sound { size, sessions, newest_unix_ms, journals, notes, closed: was_closed }
        }
        Err(_) if overlay.is_late() => StoreFact::TooLarge { size },
        Err(fact) => fact,
    }
}

/// Reads every page, and repairs in memory what a daemon that was killed left half done.
fn verify(overlay: &Overlay) -> Result<(), StoreFact> {
    let mut builder = Builder::new();
    builder.set_check_integrity_on_open(true);
    let whole = builder.create_with_backend(overlay.clone()).map_err(judge_error)?;
    whole.close().map_err(judge_error)
}

fn judge_error(error: DatabaseError) -> StoreFact {
    match error.into() {
        redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            StoreFact::Foreign { why: "it is not a store of archond".to_owned() }
        }
        redb::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            StoreFact::Damaged { why: "its end is missing".to_owned() }
        }
        redb::Error::Io(error) => StoreFact::Closed { why: error.to_string() },
        error => StoreFact::Damaged { why: error.to_string() },
    }
}

/// What lies in a store.
struct Content {
    sessions: usize,
    newest_unix_ms: Option<u64>,
    journals: u64,
    notes: u64,
}

/// Counts what is there. An older layout becomes the present one on the way, in memory alone.
fn content(path: &Path, overlay: &Overlay) -> Result<Content, StoreFact> {
    let damaged = |error: StoreError| StoreFact::Damaged { why: error.to_string() };
    let overlay = overlay.clone();
    let store = RedbStore::open_on(path, move || overlay.clone())
        .map_err(|error| StoreFact::Foreign { why: error.to_string() })?;
    let journals = store.journals_len().map_err(damaged)?;
    let notes = store.check_remembered().map_err(damaged)?;
    let (mut sessions, mut newest_unix_ms, mut after) = (0, None, None);
    loop {
        let page = store.sessions(None, after.as_ref(), SESSIONS_LEN).map_err(damaged)?;
        sessions += page.len();
        newest_unix_ms = newest_unix_ms.max(page.iter().map(|head| head.updated_unix_ms).max());
        match page.into_iter().last() {
            Some(last) => after = Some(last.key),
            None => return Ok(Content { sessions, newest_unix_ms, journals, notes }),
        }
    }
}

/// The check of the store.
pub(super) fn judge(path: &Path, fact: &StoreFact) -> Finding {
    let path = path.display();
    let restore = format!("restore a backup, or move {path} away to begin a new store: do not remove it");
    let content = |size: &u64, sessions: &usize| match sessions {
        1 => format!("{}, 1 session", bytes(*size)),
        count => format!("{}, {count} sessions", bytes(*size)),
    };
    let noted = |notes: &u64| match notes {
        0 => String::new(),
        1 => ", 1 note".to_owned(),
        count => format!(", {count} notes"),
    };
    let interrupted = |journals: &u64| match journals {
        0 => String::new(),
        1 => ", 1 turn interrupted among its calls of tools".to_owned(),
        count => format!(", {count} turns interrupted among their calls of tools"),
    };
    match fact {
        StoreFact::None => Finding::ok("none yet; it comes to be with the first start"),
        StoreFact::Answered { size, sessions, .. } => Finding::ok(format!(
            "{}; the daemon, which has it open, reads it; its pages are checked while the daemon does not run",
            content(size, sessions)
        )),
        StoreFact::Refused { why, .. } => Finding::problem(
            format!("the daemon cannot read it: {why}"),
            "see `archond logs`; then `archond shutdown`, and run `archond doctor` again: it reads every page then",
        ),
        StoreFact::Held { by: Some(pid) } => Finding::problem(
            format!("process {pid} holds it, but no daemon answers"),
            format!(
                "wait a moment: a daemon may be starting or ending; if it stays, end that process with `kill {pid}`"
            ),
        ),
        StoreFact::Held { by: None } => Finding::problem(
            "another process holds it, but no daemon answers",
            "wait a moment: a daemon may be starting or ending; if it stays, look for it with `pgrep -a archond`",
        ),
        StoreFact::Closed { why } => Finding::problem(
            format!("{path} cannot be read: {why}"),
            "run this as the user who started the daemon; if you are, look at the disk",
        ),
        StoreFact::TooLarge { size } => Finding::warning(
            format!("{}; not all of it could be read within {} s", bytes(*size), STORE_TIMEOUT.as_secs()),
            "nothing wrong was found so far; run it again when the disk is less busy",
        ),
        StoreFact::Damaged { why } => Finding::problem(format!("{path} is damaged: {why}"), restore),
        StoreFact::Foreign { why } => Finding::problem(
            format!("{path} cannot be used: {why}"),
            format!("use the archond that wrote it, or move {path} away to begin a new store"),
        ),
        StoreFact::Sound { size, sessions, journals, notes, closed, .. } => {
            let content = format!("{}{}{}", content(size, sessions), noted(notes), interrupted(journals));
            let killed =
                if *closed { "" } else { "; the last daemon was killed, the next one tidies up by itself" };
            Finding::ok(format!("{content}; every page is sound{killed}"))
        }
    }
}

/// The check of the clock.
pub(super) fn clock(now_unix_ms: u64, store: &StoreFact) -> Finding {
    let now = utc(now_unix_ms);
    let set = "set the clock: `timedatectl set-ntp true`, or `date -s`";
    if now_unix_ms < CLOCK_MIN_UNIX_MS {
        return Finding::problem(format!("it says {now}: that is past"), set);
    }
    if now_unix_ms > CLOCK_MAX_UNIX_MS {
        return Finding::problem(format!("it says {now}: that is far away"), set);
    }
    let newest = match store {
        StoreFact::Sound { newest_unix_ms, .. } | StoreFact::Answered { newest_unix_ms, .. } => {
            *newest_unix_ms
        }
        _ => None,
    };
    match newest {
        Some(newest) if newest > now_unix_ms.saturating_add(CLOCK_SLACK_MS) => Finding::warning(
            format!("it says {now}, but the last conversation was at {}", utc(newest)),
            format!("one of the two is wrong; {set}"),
        ),
        _ => Finding::ok(now),
    }
}

#[cfg(test)]
mod tests {
    use archond_actors::domain::{InboundMessage, InboxId, JournalEntry, NewNote};
    use archond_actors::ports::Write;

    use super::super::finding::State;
    use super::*;

    fn whole(path: &Path) -> StoreFact {
        examine(path, &Daemon::Away)
    }

    #[test]
    fn a_store_is_read_without_a_byte_of_it_changed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("house.redb");
        assert_eq!(whole(&path), StoreFact::None);
        let store = RedbStore::open(&path).unwrap();
        let StoreFact::Held { by: Some(pid) } = whole(&path) else { panic!("{:?}", whole(&path)) };
        assert_eq!(pid, std::process::id());
        // As a daemon that was killed leaves it: without the words of a farewell.
        let killed = home.path().join("killed.redb");
        std::fs::copy(&path, &killed).unwrap();
        drop(store);

        let before = std::fs::read(&path).unwrap();
        let size = before.len() as u64;
        let (sessions, newest_unix_ms, journals, notes) = (0, None, 0, 0);
        let sound = |closed| StoreFact::Sound { size, sessions, newest_unix_ms, journals, notes, closed };
        assert_eq!(whole(&path), sound(true));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let before = std::fs::read(&killed).unwrap();
        assert_eq!(whole(&killed), sound(false));
        assert_eq!(std::fs::read(&killed).unwrap(), before);
        RedbStore::open(&killed).unwrap();
    }

    #[test]
    fn turns_that_have_a_journal_are_counted() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("house.redb");
        for (number, words) in
            [(1, "1 turn interrupted among its calls"), (2, "2 turns interrupted among their calls")]
        {
            let message = InboundMessage {
                archon: "ezra".parse().unwrap(),
                channel: "cli".parse().unwrap(),
                peer: "uid0".parse().unwrap(),
                key: number.to_string(),
                thread: None,
                text: "hello".into(),
                received_unix_ms: 0,
                waybill: archond_actors::domain::Waybill::default(),
            };
            let entries =
                vec![JournalEntry::Begun { call: "1".into() }, JournalEntry::Begun { call: "2".into() }];
            let store = RedbStore::open(&path).unwrap();
            let inbox = InboxId(number);
            let results = store.commit(&[Write::Accept(message), Write::Journal { inbox, entries }]).unwrap();
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            drop(store);
            let told = judge(&path, &whole(&path));
            assert!(told.finding.contains(words), "{told:?}");
        }
    }

    #[test]
    fn notes_are_counted_and_turns_without_terms_are_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("house.redb");
        let note = |text: &str| NewNote::new("ezra/cli/uid0".parse().unwrap(), None, text, 0).unwrap();
        for (text, words) in [("one", ", 1 note; every page"), ("two", ", 2 notes; every page")] {
            RedbStore::open(&path).unwrap().commit(&[Write::KeepNote(note(text))]).unwrap();
            let told = judge(&path, &whole(&path));
            assert!(told.finding.contains(words), "{told:?}");
        }
        let database = redb::Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        let terms: redb::TableDefinition<(&str, &str, &str, &str, u64), &[u8]> =
            redb::TableDefinition::new("terms");
        txn.open_table(terms).unwrap().insert(("ezra", "cli", "uid0", "main", 7), &[1, 0, 0][..]).unwrap();
        txn.commit().unwrap();
        drop(database);
        let told = judge(&path, &whole(&path));
        assert_eq!(told.state, State::Problem);
        assert!(told.finding.contains("terms of turn 7 names what is not there"), "{told:?}");
    }

    #[test]
    fn what_is_no_sound_store_is_told_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("house.redb");
        drop(RedbStore::open(&path).unwrap());
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        for byte in &mut flipped[4096..8192] {
            *byte ^= 0xff;
        }
        let table = [
            (sound[..sound.len() / 2].to_vec(), "damaged"),
            (flipped, "damaged"),
            (Vec::new(), "it is empty"),
            (b"not a store".repeat(9999), "not a store of archond"),
        ];
        for (bytes, words) in table {
            std::fs::write(&path, &bytes).unwrap();
            let told = judge(&path, &whole(&path));
            assert_eq!(told.state, State::Problem, "{told:?}");
            assert!(told.finding.contains(words), "{told:?}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn the_clock_is_held_against_the_calendar_and_the_store() {
        let now = CLOCK_MIN_UNIX_MS + 1_000_000_000;
        let store = |newest| StoreFact::Sound {
            size: 1,
            sessions: 1,
            newest_unix_ms: newest,
            journals: 0,
            notes: 0,
            closed: true,
        };
        let table = [
            (0, store(None), State::Problem),
            (CLOCK_MAX_UNIX_MS + 1, store(None), State::Problem),
            (now, store(None), State::Ok),
            (now, StoreFact::None, State::Ok),
            (now, store(Some(now + CLOCK_SLACK_MS)), State::Ok),
            (now, store(Some(now + CLOCK_SLACK_MS + 1)), State::Warning),
        ];
        for (now, store, state) in table {
            let told = clock(now, &store);
            assert_eq!(told.state, state, "{told:?}");
        }
    }
}

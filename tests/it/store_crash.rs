//! The store after crashes: power cut at every operation of a disk that forgets, and real processes killed with `kill -9`.
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use archond::store::RedbStore;
use archond_actors::domain::{Accepted, InboxId, JournalEntry, OutboxEntry, OutboxId};
use archond_actors::ports::{Store, StoreError, Write, Written};

use crate::disk::{Disk, Random, Tear};
use crate::store_contract::{message, one, turn_end};
use crate::store_journal::begun;

/// Tells a copy of this test binary which store it is to work on.
const CHILD_STORE: &str = "ARCHOND_TEST_CHILD_STORE";
/// The first number of the keys that the copy accepts.
const CHILD_KEYS: &str = "ARCHOND_TEST_CHILD_KEYS";

/// What the store has promised so far.
#[derive(Debug, Default)]
struct Promises {
    accepted: Vec<(u64, InboxId)>,
    ended: Vec<OutboxEntry>,
    sent: Vec<OutboxId>,
    /// Their turns run: what was written of them, in the order of their messages.
    journalled: Vec<(InboxId, Vec<JournalEntry>)>,
}

/// Four commits per message: it comes; a call is begun for it; it is answered while the next one comes; its answer is sent
/// while two calls are begun for that one, whose turn never ends.
fn converse(store: &dyn Store, messages: u64, promises: &mut Promises) -> Result<(), StoreError> {
    for number in 0..messages {
        let accepted = store.commit(&[Write::Accept(message(&number.to_string()))])?;
        let id = inbox_id(&accepted[0]);
        promises.accepted.push((number, id));

        store.commit(&[Write::Journal { inbox: id, entries: vec![begun("gone with the answer")] }])?;

        let neighbour = number + 1_000;
        let end = turn_end(id, &"word ".repeat(usize::try_from(number * 90).unwrap()));
        let batch = [Write::EndTurn(end), Write::Accept(message(&neighbour.to_string()))];
        let results = store.commit(&batch)?;
        let Ok(Written::Ended(entry, _)) = &results[0] else { panic!("not ended: {results:?}") };
        let running = inbox_id(&results[1]);
        promises.accepted.push((neighbour, running));
        promises.ended.push(entry.clone());

        let calls = Write::Journal { inbox: running, entries: journal() };
        store.commit(&[Write::MarkSent { outbox: entry.id }, calls])?;
        promises.sent.push(entry.id);
        promises.journalled.push((running, journal()));
    }
    Ok(())
}

/// What is written at once of a running turn.
fn journal() -> Vec<JournalEntry> {
    vec![begun("1"), JournalEntry::Approved { call: "a long name ".repeat(400) }, begun("2")]
}

fn inbox_id(result: &Result<Written, StoreError>) -> InboxId {
    match result {
        Ok(Written::Accepted(Accepted::Fresh(entry))) => entry.id,
        other => panic!("not fresh: {other:?}"),
    }
}

/// Everything that was promised is there, and what is there agrees with itself.
fn check(store: &dyn Store, promises: &Promises, case: &str) {
    let accepts: Vec<_> =
        promises.accepted.iter().map(|(key, _)| Write::Accept(message(&key.to_string()))).collect();
    let results = store.commit(&accepts).unwrap();
    for ((key, id), result) in promises.accepted.iter().zip(results) {
        let duplicate = Ok(Written::Accepted(Accepted::Duplicate(*id)));
        assert_eq!(result, duplicate, "{case}: message {key} was accepted and is lost");
    }
    for entry in &promises.ended {
        assert_eq!(store.answer_to(entry.answers).unwrap().as_ref(), Some(entry), "{case}");
    }
    for (inbox, entries) in &promises.journalled {
        assert_eq!(store.journal(*inbox).unwrap(), *entries, "{case}: what was begun is forgotten");
    }
    for (_, inbox) in &promises.accepted {
        let found = store.journal(*inbox).unwrap();
        let whole = found.is_empty() || found == journal() || found == [begun("gone with the answer")];
        assert!(whole, "{case}: a half-written journal: {found:?}");
        let answered = store.answer_to(*inbox).unwrap().is_some();
        assert!(found.is_empty() || !answered, "{case}: a journal of a turn that has ended");
    }
    let archon = "ezra".parse().unwrap();
    let undelivered = store.undelivered(&"cli".parse().unwrap(), None, None, usize::MAX).unwrap();
    assert!(undelivered.iter().all(|entry| !promises.sent.contains(&entry.id)), "{case}: sent twice");
    let pending = store.pending(&archon, None, usize::MAX).unwrap();
    assert_eq!(store.pending_len(&archon).unwrap(), pending.len() as u64, "{case}");
    for entry in &pending {
        assert_eq!(store.answer_to(entry.id).unwrap(), None, "{case}: answered and pending");
    }
    for head in store.sessions(None, None, usize::MAX).unwrap() {
        let turns = store.turns(&head.key, 0, usize::MAX).unwrap();
        assert_eq!(head.turns, turns.len() as u64, "{case}");
        for turn in turns {
            assert!(store.answer_to(turn.inbox).unwrap().is_some(), "{case}: a turn without its answer");
        }
    }
    let next = inbox_id(&one(store, Write::Accept(message("after the crash"))));
    assert!(promises.accepted.iter().all(|(_, id)| *id < next), "{case}: a number given twice");
}

#[test]
fn power_loss_at_any_moment_loses_nothing_that_was_promised() {
    let run = |cut: Option<usize>| {
        let disk = Disk::default();
        let from = disk.clone();
        let store = RedbStore::open_on("disk", move || from.clone()).unwrap();
        let before = disk.operations();
        if let Some(operations) = cut {
            disk.power_off_in(operations);
        }
        let mut promises = Promises::default();
        let result = converse(&store, 6, &mut promises);
        (disk, result, promises, before)
    };
    let (disk, result, promises, before) = run(None);
    assert_eq!((result, promises.sent.len()), (Ok(()), 6));

    let operations = disk.operations() - before;
    assert!(operations > 100, "too few moments: {operations}");
    for cut in 1..=operations {
        // The last operations are those of closing: then all was promised, and must be there.
        let (disk, _, promises, _) = run(Some(cut));
        for seed in 0..4 {
            let case = format!("power off at operation {cut}, seed {seed}");
            let mut random = Random::new(cut as u64 * 31 + seed);
            let found = Disk::holding(disk.after_power_loss(Tear::Sectors, &mut random));
            let store = RedbStore::open_on("disk", move || found.clone())
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            check(&store, &promises, &case);
        }
    }
}

/// Not a test of its own: what the killed processes run. Says on stdout what it was promised, and only then.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD_STORE) else { return };
    let first: u64 = std::env::var(CHILD_KEYS).unwrap().parse().unwrap();
    println!("begins");
    let store = RedbStore::open(path).unwrap();
    println!("opened");
    for number in (first..).step_by(2) {
        let batch = [number, number + 1].map(|key| Write::Accept(message(&key.to_string())));
        let results = store.commit(&batch).unwrap();
        let ids = [inbox_id(&results[0]), inbox_id(&results[1])];
        println!("accepted {number} {} {}", ids[0], ids[1]);
        one(&store, Write::Journal { inbox: ids[0], entries: vec![begun("gone with the answer")] }).unwrap();
        let Ok(Written::Ended(entry, _)) = one(&store, Write::EndTurn(turn_end(ids[0], "answer"))) else {
            panic!()
        };
        println!("ended {} {}", ids[0], entry.id);
        let entries = journal();
        one(&store, Write::Journal { inbox: ids[1], entries }).unwrap();
        println!("journalled {}", ids[1]);
    }
}

/// Runs the child, kills it at a moment after it said `mark`, and answers all it said.
fn kill_after(mark: &'static str, moment: Duration, store: &Path, first_key: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_crash::child", "--nocapture"])
        .env(CHILD_STORE, store)
        .env(CHILD_KEYS, first_key.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (marked, mark_seen) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in stdout.lines().map(Result::unwrap) {
            // libtest leaves its own words at the start of the child's first line.
            if line.ends_with(mark) {
                marked.send(()).unwrap();
            }
            lines.push(line);
        }
        lines
    });
    mark_seen.recv().expect("the child begins");
    // Only ends early when the child does, and it never should.
    assert_eq!(mark_seen.recv_timeout(moment), Err(mpsc::RecvTimeoutError::Timeout), "the child ended");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn kills_during_the_very_first_start_leave_a_store_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let begun = tokio::time::Instant::now();
    drop(RedbStore::open(folder.path().join("measured.redb")).unwrap());
    let start_us = u64::try_from(begun.elapsed().as_micros()).unwrap();

    let mut random = Random::new(1);
    let mut killed_in_time = 0;
    for number in 0..200 {
        let path = folder.path().join(format!("{number}.redb"));
        let moment = Duration::from_micros(random.below(start_us));
        let said = kill_after("begins", moment, &path, 0);
        killed_in_time += u32::from(!said.iter().any(|line| line == "opened"));
        // Now and then the start after the killed one is killed as well.
        if random.below(3) == 0 {
            kill_after("begins", Duration::from_micros(random.below(start_us)), &path, 1_000_000);
        }
        let store = RedbStore::open(&path).unwrap_or_else(|error| panic!("start {number}: {error}"));
        check(&store, &Promises::default(), &format!("start {number}"));
    }
    println!("{killed_in_time} of 200 were killed before the store was open");
    assert!(killed_in_time > 0, "every kill came too late to test anything");
}

#[test]
fn kills_between_commits_lose_nothing_that_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut random = Random::new(2);
    let (mut promises, mut answers) = (Promises::default(), Vec::<(InboxId, OutboxId)>::new());
    for round in 0..100_u64 {
        let first_key = round * 100_000;
        let moment = Duration::from_micros(random.below(40_000));
        for line in kill_after("opened", moment, &path, first_key) {
            let words: Vec<_> = line.split(' ').collect();
            let number = |index: usize| words[index].parse::<u64>().unwrap();
            match words[0] {
                "accepted" => {
                    promises.accepted.push((number(1), InboxId(number(2))));
                    promises.accepted.push((number(1) + 1, InboxId(number(3))));
                }
                "journalled" => promises.journalled.push((InboxId(number(1)), journal())),
                "ended" => answers.push((InboxId(number(1)), OutboxId(number(2)))),
                _ => {}
            }
        }
    }
    let Promises { accepted, journalled, .. } = &promises;
    let (messages, journals) = (accepted.len(), journalled.len());
    println!("{messages} messages, {} answers and {journals} journals were promised", answers.len());
    assert!(messages > 100 && journals > 10, "the child was always killed before it was promised anything");
    let ids: HashSet<_> = accepted.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), messages, "a number given twice");

    let store = RedbStore::open(&path).unwrap();
    for (inbox, outbox) in answers {
        assert_eq!(store.answer_to(inbox).unwrap().map(|entry| entry.id), Some(outbox));
    }
    check(&store, &promises, "after 100 kills");
}

//! The power is cut around every sync of every course of changes, and what is found must be what was promised.
//!
//! Each course runs once on a disk that keeps a journal; what a cut leaves is computed from that. What ought to be found
//! is asked of the store in memory, which is held to the same contract: the changes that were promised, or those and the
//! transaction that was under way, whole; nothing else. Then the course goes on to its end as if nothing had been.
use std::collections::BTreeSet;
use std::fmt;

use archond::store::{OpenError, RedbStore, Retention};
use archond_actors::domain::{
    Accepted, InboxEntry, InboxId, JournalEntry, Note, NotesOf, OutboxEntry, OutboxId, PeerKey, Recalled,
    SessionSnapshot, ThreadId, TurnRecord,
};
use archond_actors::ports::{Store, StoreError, Write, Written};
use archond_actors::testkit::MemStore;

use crate::disk::{Disk, Operation, Platter, Random, Tear};
use crate::power_scenarios::{ARCHONS, CHANNELS, PEERS, Scenario, Step, scenarios};
use crate::store_contract::{accept, message, one, turn_end};

/// Images of each cut: how much outlives it, and the seed that says what.
const IMAGES: [(Tear, u64); 7] = [
    (Tear::Nothing, 0),
    (Tear::Writes, 1),
    (Tear::Writes, 2),
    (Tear::Writes, 3),
    (Tear::Sectors, 4),
    (Tear::Sectors, 5),
    (Tear::Sectors, 6),
];
/// The image whose recovery is cut once more, if the first cut was in a sync; and the image of that second cut.
const RECOVERED_SEED: u64 = 6;
const SECOND_IMAGES: [(Tear, u64); 1] = [(Tear::Sectors, 7)];

type Results = Vec<Result<Written, StoreError>>;

/// All that can be asked of a store.
#[derive(Debug, PartialEq)]
struct Contents {
    pending: Vec<(u64, Vec<InboxEntry>)>,
    sessions: Vec<(SessionSnapshot, Vec<TurnRecord>)>,
    undelivered: Vec<Vec<OutboxEntry>>,
    answers: Vec<Option<OutboxEntry>>,
    journals: Vec<Vec<JournalEntry>>,
    threads: Vec<ThreadId>,
    notes: Vec<Note>,
    recalled: Vec<Vec<Recalled>>,
}

impl Contents {
    /// Asks everything, and for the answers to this many messages.
    fn of(store: &dyn Store, messages: u64) -> Self {
        let archons = ARCHONS.map(|archon| archon.parse().unwrap());
        let pending = archons.iter().map(|archon| {
            (store.pending_len(archon).unwrap(), store.pending(archon, None, usize::MAX).unwrap())
        });
        let sessions = store.sessions(None, None, usize::MAX).unwrap().into_iter().map(|head| {
            let snapshot = store.session(&head.key).unwrap().unwrap();
            assert_eq!(snapshot.head, head);
            (snapshot, store.turns(&head.key, 0, usize::MAX).unwrap())
        });
        let (mut undelivered, mut threads, mut recalled) = (Vec::new(), Vec::new(), Vec::new());
        for channel in CHANNELS.map(|channel| channel.parse().unwrap()) {
            undelivered.push(store.undelivered(&channel, None, None, usize::MAX).unwrap());
            for archon in &archons {
                for peer in PEERS.map(|peer| peer.parse().unwrap()) {
                    let to = Some((archon, &peer));
                    undelivered.push(store.undelivered(&channel, to, None, usize::MAX).unwrap());
                    threads.push(store.current_thread(archon, &channel, &peer).unwrap());
                    let (archon, channel) = (archon.clone(), channel.clone());
                    let owner = PeerKey { archon, channel, peer };
                    recalled.push(store.recall(&owner, "yes, the word hello", usize::MAX).unwrap());
                }
            }
        }
        Self {
            pending: pending.collect(),
            sessions: sessions.collect(),
            undelivered,
            answers: (1..=messages).map(|inbox| store.answer_to(InboxId(inbox)).unwrap()).collect(),
            journals: (1..=messages).map(|inbox| store.journal(InboxId(inbox)).unwrap()).collect(),
            threads,
            notes: store.notes(&NotesOf::House, None, usize::MAX).unwrap(),
            recalled,
        }
    }
}

/// A course as it ought to be: what each transaction answers, and what the store holds before and after each.
struct Expected<'a> {
    scenario: &'a Scenario,
    results: Vec<Results>,
    contents: Vec<Contents>,
    messages: u64,
}

impl<'a> Expected<'a> {
    fn of(scenario: &'a Scenario) -> Self {
        let store = MemStore::new();
        let is_message = |write: &&Write| matches!(write, Write::Accept(_));
        let messages = scenario.commits().flatten().filter(is_message).count() as u64;
        let (mut results, mut contents) = (Vec::new(), vec![Contents::of(&store, messages)]);
        for batch in scenario.commits() {
            results.push(store.commit(batch).unwrap());
            contents.push(Contents::of(&store, messages));
        }
        Self { scenario, results, contents, messages }
    }

    /// Checks what was found after a cut, if so many transactions had been promised.
    fn check(&self, image: Vec<u8>, promised: usize, case: &str) {
        let disk = Disk::holding(image);
        let store = open(&disk, self.scenario.retention).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = Contents::of(&store, self.messages);
        let done =
            (promised..self.contents.len().min(promised + 2)).find(|done| self.contents[*done] == found);
        let done = done.unwrap_or_else(|| {
            panic!(
                "{case}: {promised} transactions were promised:\n{:#?}\nfound: {found:#?}",
                self.contents[promised]
            )
        });
        self.check_keys(&store, done, case);
        for (batch, results) in self.scenario.commits().zip(&self.results).skip(done) {
            assert_eq!(store.commit(batch).unwrap(), *results, "{case}: going on");
        }
        drop(store);
        let store = open(&disk, self.scenario.retention).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(Some(&Contents::of(&store, self.messages)), self.contents.last(), "{case}: at the end");
        let (inbox, outbox) = self.last_numbers(self.results.len());
        let next = accept(&store, message("after all"));
        assert_eq!(next.id, InboxId(inbox + 1), "{case}: a number given twice, or left out");
        let ended = one(&store, Write::EndTurn(turn_end(next.id, "")));
        assert!(matches!(ended, Ok(Written::Ended(entry, _)) if entry.id == OutboxId(outbox + 1)), "{case}");
    }

    /// The last numbers of the inbox and the outbox that the first transactions gave away.
    fn last_numbers(&self, done: usize) -> (u64, u64) {
        let mut last = (0, 0);
        for result in self.results[..done].iter().flatten().flatten() {
            match result {
                Written::Accepted(Accepted::Fresh(entry)) => last.0 = last.0.max(entry.id.0),
                Written::Ended(entry, _) => last.1 = last.1.max(entry.id.0),
                _ => {}
            }
        }
        last
    }

    /// Every key that the store has to know still belongs to the message that it came with.
    fn check_keys(&self, store: &dyn Store, done: usize, case: &str) {
        let (last, _) = self.last_numbers(done);
        for (batch, results) in self.scenario.commits().zip(&self.results).take(done) {
            for (write, result) in batch.iter().zip(results) {
                let Ok(Written::Accepted(Accepted::Fresh(entry))) = result else { continue };
                if last - entry.id.0 < self.scenario.retention.keys_min {
                    let duplicate = Ok(Written::Accepted(Accepted::Duplicate(entry.id)));
                    assert_eq!(one(store, write.clone()), duplicate, "{case}: a message accepted twice");
                }
            }
        }
    }
}

fn open(disk: &Disk, retention: Retention) -> Result<RedbStore, OpenError> {
    let disk = disk.clone();
    Ok(RedbStore::open_on("disk", move || disk.clone())?.with_retention(retention))
}

/// What one undisturbed run left behind.
struct Run {
    journal: Vec<Operation>,
    /// Operations until the new store was closed. Before that the file has not got its name yet.
    created: usize,
    /// Operations before the course began.
    begun: usize,
    /// After how many operations each transaction was promised.
    promised: Vec<usize>,
}

impl Run {
    fn of(expected: &Expected<'_>) -> Self {
        let retention = expected.scenario.retention;
        let (disk, mut random) = (Disk::default(), Random::new(7));
        drop(open(&disk, retention).unwrap());
        let created = disk.operations();
        let mut store = open(&disk, retention).unwrap();
        let begun = if expected.scenario.from_creation { 0 } else { disk.operations() };
        let mut promised = Vec::new();
        for step in &expected.scenario.steps {
            match step {
                Step::Commit(batch) => {
                    assert_eq!(store.commit(batch).unwrap(), expected.results[promised.len()]);
                    promised.push(disk.operations());
                }
                Step::Close => {
                    drop(store);
                    store = open(&disk, retention).unwrap();
                }
                Step::PowerLoss { batch, operation } => {
                    disk.power_off_in(*operation);
                    assert!(store.commit(batch).is_err(), "this is no operation of the transaction");
                    drop(store);
                    disk.power_on(disk.after_power_loss(Tear::Sectors, &mut random));
                    store = open(&disk, retention).unwrap();
                    store.commit(batch).unwrap();
                    promised.push(disk.operations());
                }
            }
        }
        drop(store);
        Self { journal: disk.journal(), created, begun, promised }
    }
}

/// What was cut.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    syncs: usize,
    images: usize,
}

/// When the power failed, and how much outlived it.
struct Cut {
    /// Which operation was under way; one behind the last stands for none.
    at: usize,
    in_sync: bool,
    tear: Tear,
    seed: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power off in operation {}, {:?}, seed {}", self.at, self.tear, self.seed)
    }
}

/// Cuts the power in each sync, in the operation before it and in the one after it, and shows what each cut left.
fn cut_around_syncs(
    journal: &[Operation],
    from: usize,
    kinds: &[(Tear, u64)],
    mut show: impl FnMut(Cut, Vec<u8>),
) -> Tally {
    let syncs = (from..journal.len()).filter(|at| matches!(journal[*at], Operation::Sync));
    let syncs: Vec<_> = syncs.collect();
    let around = syncs.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 1]);
    let cuts: BTreeSet<_> = around.filter(|at| *at >= from).collect();
    let mut platter = Platter::default();
    for at in 0..=journal.len() {
        let in_flight = journal.get(at);
        for (tear, seed) in kinds.iter().filter(|_| cuts.contains(&at)) {
            let mut random = Random::new(at as u64 * 31 + seed);
            let image = platter.after_power_loss(in_flight, *tear, &mut random);
            let in_sync = matches!(in_flight, Some(Operation::Sync));
            show(Cut { at, in_sync, tear: *tear, seed: *seed }, image);
        }
        in_flight.inspect(|operation| platter.take(operation));
    }
    Tally { syncs: syncs.len(), images: cuts.len() * kinds.len() }
}

/// Cuts the power everywhere in a course, and once more in each recovery. Answers the first cuts and the second ones.
fn cut_everywhere(scenario: &Scenario) -> (Tally, Tally) {
    let expected = Expected::of(scenario);
    let Run { journal, created, begun, promised } = Run::of(&expected);
    let mut second = Tally::default();
    let first = cut_around_syncs(&journal, begun, &IMAGES, |cut, image| {
        let case = format!("{}: {cut}", scenario.name);
        if cut.at < created {
            // Whatever it is, opening it ends; but it has another name still, and the next start begins anew.
            let _half_made = open(&Disk::holding(image), scenario.retention);
            return expected.check(Vec::new(), 0, &case);
        }
        let done = promised.iter().filter(|operations| **operations <= cut.at).count();
        if cut.in_sync && cut.seed == RECOVERED_SEED {
            let disk = Disk::holding(image.clone());
            drop(open(&disk, scenario.retention).unwrap_or_else(|error| panic!("{case}: {error}")));
            let cuts = cut_around_syncs(&disk.journal(), 1, &SECOND_IMAGES, |cut, image| {
                expected.check(image, done, &format!("{case}; then {cut}"));
            });
            second = Tally { syncs: second.syncs + cuts.syncs, images: second.images + cuts.images };
        }
        expected.check(image, done, &case);
    });
    assert!(first.syncs > 0, "{}: nothing was synced", scenario.name);
    (first, second)
}

#[test]
fn whenever_the_power_fails_every_promise_is_kept() {
    let scenarios = scenarios();
    let (mut syncs, mut cuts, mut second_cuts) = (0, 0, 0);
    for scenario in &scenarios {
        let (first, second) = cut_everywhere(scenario);
        println!("{:45} {:3} sync points, {:4} cuts", scenario.name, first.syncs, first.images);
        (syncs, cuts, second_cuts) = (syncs + first.syncs, cuts + first.images, second_cuts + second.images);
    }
    let scenarios = scenarios.len();
    println!(
        "{scenarios} scenarios, {syncs} sync points, {cuts} cuts, {second_cuts} more in recoveries, 0 lost"
    );
    assert!(scenarios >= 20);
}

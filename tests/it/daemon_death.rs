//! The daemon and its worker are killed at random moments while messages arrive: none is lost, none is answered twice,
//! the store always opens.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use archond::admin::protocol::{Op, Reply, TurnView};

use crate::kit::{Client, Daemon, Random, TestHouse, kill_together, text};
use crate::ledger::{Ledger, OPEN};

/// Kills of the daemon while messages arrive. `ARCHOND_KILLS` changes it.
const KILLS: u64 = 300;
/// Workers that may be killed in one life of the daemon. A message whose third worker dies is given up, lawfully.
const WORKERS_MAX: u64 = 2;
/// Longest undisturbed time of a daemon in microseconds: some messages are answered in it.
const LIFE_MAX_US: u64 = 150_000;
/// Kills during the very first start.
const FIRST_START_KILLS: u64 = 200;

fn kills() -> u64 {
    std::env::var("ARCHOND_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// Who was killed.
#[derive(Default)]
struct Tally {
    /// Daemons that died alone.
    alone: u64,
    /// Daemons that died after a worker of theirs.
    after_workers: u64,
    /// Daemons that died in one moment with their worker.
    together: u64,
    /// Workers that died before their daemon, or with it.
    workers: u64,
}

impl Tally {
    /// Lets the daemon live for a random time, kills whom chance names, and the daemon at last.
    fn strike(&mut self, daemon: &Daemon, random: &mut Random) {
        let mut moment = || Duration::from_micros(random.below(LIFE_MAX_US));
        let (first, second, third) = (moment(), moment(), moment());
        match random.below(3) {
            0 => {
                daemon.wait(first);
                daemon.kill();
                self.alone += 1;
            }
            1 => {
                daemon.wait(first);
                let mut workers = kill_workers(daemon);
                for _ in 1..=random.below(WORKERS_MAX) {
                    daemon.wait(second);
                    workers += kill_workers(daemon);
                }
                daemon.wait(third);
                daemon.kill();
                self.workers += workers;
                *(if workers > 0 { &mut self.after_workers } else { &mut self.alone }) += 1;
            }
            _ => {
                daemon.wait(first);
                let workers = daemon.workers();
                let mut victims: Vec<_> = workers.iter().chain([daemon]).collect();
                if random.below(2) == 0 {
                    victims.reverse();
                }
                kill_together(&victims);
                self.workers += workers.len() as u64;
                *(if workers.is_empty() { &mut self.alone } else { &mut self.together }) += 1;
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alone, after_workers, together, workers } = self;
        let daemons = alone + after_workers + together;
        write!(f, "{daemons} kills of the daemon ({alone} of it alone, {after_workers} after its worker, ")?;
        write!(f, "{together} together with its worker), {workers} of workers")
    }
}

fn kill_workers(daemon: &Daemon) -> u64 {
    let workers = daemon.workers();
    workers.iter().for_each(Daemon::kill);
    workers.len() as u64
}

/// Says things and listens until the daemon dies under it.
fn converse(client: &mut Client, ledger: &mut Ledger) -> std::io::Result<()> {
    let (mut numbers, mut asked) = (BTreeMap::new(), BTreeSet::new());
    let mut open = 0;
    let mut repeats = ledger.unacknowledged.clone().into_iter();
    loop {
        while open < OPEN {
            let number = repeats.next().unwrap_or_else(|| ledger.next_message(&asked));
            asked.insert(number);
            numbers.insert(ledger.say(client, number)?, number);
            open += 1;
        }
        let response = client.receive()?;
        match response.reply {
            Reply::Turn(TurnView::Accepted { inbox, duplicate, .. }) => {
                ledger.acknowledged(numbers[&response.id], inbox, duplicate);
            }
            Reply::Turn(TurnView::Ended(answer)) => {
                ledger.heard(&answer);
                // Confirming is part of the race: an answer that was confirmed or not must not come back as another one.
                client.send(Op::Delivered { outbox: answer.outbox })?;
                open -= 1;
            }
            Reply::Turn(_) | Reply::Done => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_message_is_lost_or_answered_twice() {
    let house = TestHouse::new();
    let mut random = Random::seeded();
    let (mut ledger, mut tally) = (Ledger::default(), Tally::default());
    for _ in 0..kills() {
        let daemon = house.start(&["ezra"]);
        let mut client = house.client();
        std::thread::scope(|scope| {
            scope.spawn(|| tally.strike(&daemon, &mut random));
            assert!(converse(&mut client, &mut ledger).is_err());
        });
    }
    let _daemon = house.start(&["ezra"]);
    ledger.settle(&house);
    // A busy machine answers few in a life; more than these it always does.
    assert!(ledger.said >= kills() / 4, "only {} messages were said", ledger.said);
    assert!(
        kills() < KILLS || (tally.after_workers > 0 && tally.together > 0),
        "no worker was killed: {tally}"
    );
    eprintln!("{tally}; {} messages, each answered once, 0 lost", ledger.said);
}

#[test]
fn a_first_start_that_is_killed_does_no_harm() {
    let template = TestHouse::new();
    let mut random = Random::seeded();
    for round in 0..FIRST_START_KILLS {
        let house = template.sibling();
        let mut child = house.command(&["run", "ezra"]).spawn().unwrap();
        let daemon = Daemon::of(child.id());
        daemon.wait(Duration::from_micros(random.below(40_000)));
        daemon.kill();
        child.wait().unwrap();
        let output = house.run(&["start", "--no-chat", "ezra"]);
        assert!(output.status.success(), "round {round}: {}", text(&output));
        let _daemon = Daemon::of(house.client().status().pid);
    }
}

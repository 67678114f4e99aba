//! The daemon and its worker are killed at random moments while messages arrive: none is lost, none is answered twice,
//! the store always opens.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use archond::admin::protocol::{AnswerView, Op, RecordedTurnView, Reply, TurnView};

use crate::kit::{Client, Daemon, TestHouse, kill_together, text};

/// Kills of the daemon while messages arrive. `ARCHOND_KILLS` changes it.
const KILLS: u64 = 300;
/// Workers that may be killed in one life of the daemon. A message whose third worker dies is given up, lawfully.
const WORKERS_MAX: u64 = 2;
/// Longest undisturbed time of a daemon in microseconds: some messages are answered in it.
const LIFE_MAX_US: u64 = 150_000;
/// Kills during the very first start.
const FIRST_START_KILLS: u64 = 200;
/// Messages that are under way at the same time.
const OPEN: u64 = 4;
/// Messages that wait for answers over all lives. The house takes a thousand; short lives would let them pile up.
const UNANSWERED_MAX: usize = 100;
/// Messages of one conversation. More would make the model read for longer than a short-lived daemon lives.
const THREAD_LEN: u64 = 5;

/// A small generator of numbers that look random, from a seed that a failed run prints (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

fn seed() -> u64 {
    let seed = std::env::var("ARCHOND_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    eprintln!("ARCHOND_SEED={seed}");
    seed
}

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

/// What the writer knows: what it said, what was acknowledged, what came back.
#[derive(Default)]
struct Ledger {
    said: u64,
    /// Where in the inbox what was acknowledged came to lie.
    acknowledged: BTreeMap<u64, u64>,
    /// Not acknowledged: to be said again with the same key.
    unacknowledged: BTreeSet<u64>,
    /// No answer came back yet.
    unanswered: BTreeSet<u64>,
    /// Which outbox entries answered a message.
    answers: BTreeMap<u64, BTreeSet<u64>>,
}

/// Neighbouring messages go into different conversations.
fn thread_of(number: u64) -> String {
    format!("t{}-{}", number / (OPEN * THREAD_LEN), number % OPEN)
}

impl Ledger {
    /// A new message; or an old one, if too many have no answer. Said again, it is not accepted again.
    fn next_message(&mut self, asked: &BTreeSet<u64>) -> u64 {
        let old = self.unanswered.difference(asked).next().copied();
        match old.filter(|_| self.unanswered.len() >= UNANSWERED_MAX) {
            Some(number) => number,
            None => {
                self.said += 1;
                self.unanswered.insert(self.said);
                self.said
            }
        }
    }

    /// What was acknowledged once must be known whenever it is said again.
    fn acknowledged(&mut self, number: u64, inbox: u64, duplicate: bool) {
        self.unacknowledged.remove(&number);
        if let Some(known) = self.acknowledged.insert(number, inbox) {
            assert_eq!((inbox, duplicate), (known, true), "message {number} was acknowledged and then lost");
        }
    }

    fn heard(&mut self, answer: &AnswerView) {
        assert_ne!(answer.kind, "failure", "{}", answer.text);
        let number = answer.key.trim_start_matches('m').parse().unwrap();
        self.unanswered.remove(&number);
        self.answers.entry(number).or_default().insert(answer.outbox);
    }
}

fn key_of(number: u64) -> String {
    format!("m{number}")
}

fn text_of(number: u64) -> String {
    format!("hello {number}")
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
            ledger.unacknowledged.insert(number);
            let (text, key, thread) = (text_of(number), key_of(number), Some(thread_of(number)));
            numbers.insert(client.send(Op::Chat { archon: "ezra".into(), text, key, thread })?, number);
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

/// Waits until every message that was ever said has its answer.
fn settle(house: &TestHouse, ledger: &mut Ledger) {
    let mut client = house.client();
    // Said again with its key, an old message gives its old answer, or waits for it.
    let unacknowledged: Vec<_> = ledger.unacknowledged.iter().copied().collect();
    for number in unacknowledged.into_iter().chain(1..=ledger.said) {
        let (text, key, thread) = (text_of(number), key_of(number), Some(thread_of(number)));
        client.send(Op::Chat { archon: "ezra".into(), text, key, thread }).unwrap();
        loop {
            match client.receive().unwrap().reply {
                Reply::Turn(TurnView::Accepted { inbox, duplicate, .. }) => {
                    ledger.acknowledged(number, inbox, duplicate);
                }
                Reply::Turn(TurnView::Ended(answer)) => break ledger.heard(&answer),
                Reply::Turn(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn all_turns(client: &mut Client, session: &str) -> Vec<RecordedTurnView> {
    let mut turns = Vec::new();
    loop {
        let op = Op::Turns { session: session.into(), from: turns.len() as u64 };
        match client.ask(op).unwrap() {
            Reply::Turns(page) if page.turns.is_empty() => return turns,
            Reply::Turns(page) => turns.extend(page.turns),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_message_is_lost_or_answered_twice() {
    let house = TestHouse::new();
    let mut random = Random(seed());
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
    settle(&house, &mut ledger);
    // A busy machine answers few in a life; more than these it always does.
    assert!(ledger.said >= kills() / 4, "only {} messages were said", ledger.said);
    assert_eq!(ledger.acknowledged.len() as u64, ledger.said);
    for number in 1..=ledger.said {
        let answers = &ledger.answers[&number];
        assert_eq!(answers.len(), 1, "message {number} has the answers {answers:?}");
    }
    let mut client = house.client();
    let mut said: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for number in 1..=ledger.said {
        said.entry(thread_of(number)).or_default().push(number);
    }
    for (thread, numbers) in said {
        let session = format!("ezra/cli/uid{}/{thread}", rustix::process::geteuid().as_raw());
        let turns = all_turns(&mut client, &session);
        let mut kept: Vec<u64> =
            turns.iter().map(|turn| turn.user.trim_start_matches("hello ").parse().unwrap()).collect();
        // What was not acknowledged was said again, perhaps behind a later message; once it is, all the same.
        kept.sort_unstable();
        assert_eq!(kept, numbers, "{session}");
    }
    assert!(
        kills() < KILLS || (tally.after_workers > 0 && tally.together > 0),
        "no worker was killed: {tally}"
    );
    eprintln!("{tally}; {} messages, each answered once, 0 lost", ledger.said);
}

#[test]
fn a_first_start_that_is_killed_does_no_harm() {
    let template = TestHouse::new();
    let mut random = Random(seed());
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

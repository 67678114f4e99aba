//! The daemon is killed at random moments while messages arrive: none is lost, none is answered twice, the store always opens.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archond::admin::protocol::{AnswerView, Op, RecordedTurnView, Reply, TurnView};

use crate::kit::{Client, Daemon, TestHouse, text};

/// Kills while messages arrive. `ARCHOND_KILLS` changes it.
const KILLS: u64 = 300;
/// Kills during the very first start.
const FIRST_START_KILLS: u64 = 200;
/// Messages that are under way at the same time.
const OPEN: u64 = 4;
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

/// What the writer knows: what it said, what was acknowledged, what came back.
#[derive(Default)]
struct Ledger {
    said: u64,
    /// Not acknowledged: to be said again with the same key. Key to (thread, text).
    unacknowledged: BTreeMap<String, (String, String)>,
    /// Which outbox entries answered a key.
    answers: BTreeMap<String, BTreeSet<u64>>,
}

/// Neighbouring messages go into different conversations.
fn thread_of(number: u64) -> String {
    format!("t{}-{}", number / (OPEN * THREAD_LEN), number % OPEN)
}

impl Ledger {
    fn next_message(&mut self) -> (String, String, String) {
        self.said += 1;
        (format!("m{}", self.said), thread_of(self.said), format!("hello {}", self.said))
    }

    fn heard(&mut self, answer: &AnswerView) {
        assert_ne!(answer.kind, "failure", "{}", answer.text);
        self.answers.entry(answer.key.clone()).or_default().insert(answer.outbox);
    }
}

/// Says things and listens until the daemon dies under it.
fn converse(client: &mut Client, ledger: &mut Ledger) -> std::io::Result<()> {
    let mut keys = BTreeMap::new();
    let mut open = 0;
    let repeats: Vec<_> = ledger.unacknowledged.clone().into_iter().collect();
    let mut repeats = repeats.into_iter();
    loop {
        while open < OPEN {
            let (key, thread, text) = match repeats.next() {
                Some((key, (thread, text))) => (key, thread, text),
                None => ledger.next_message(),
            };
            ledger.unacknowledged.insert(key.clone(), (thread.clone(), text.clone()));
            let op = Op::Chat { archon: "ezra".into(), text, key: key.clone(), thread: Some(thread) };
            keys.insert(client.send(op)?, key);
            open += 1;
        }
        let response = client.receive()?;
        match response.reply {
            Reply::Turn(TurnView::Accepted { .. }) => {
                ledger.unacknowledged.remove(&keys[&response.id]);
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
    for (key, (thread, text)) in std::mem::take(&mut ledger.unacknowledged) {
        let answer = client.chat("ezra", &key, &thread, &text);
        ledger.heard(&answer);
    }
    for number in 1..=ledger.said {
        let key = format!("m{number}");
        // Said again with its key, an old message gives its old answer, or waits for it.
        let answer = client.chat("ezra", &key, &thread_of(number), &format!("hello {number}"));
        ledger.heard(&answer);
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
    let mut ledger = Ledger::default();
    for _ in 0..kills() {
        let daemon = house.start(&["ezra"]);
        let life = Duration::from_micros(random.below(150_000));
        let mut client = house.client();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                daemon.wait(life);
                daemon.kill();
            });
            assert!(converse(&mut client, &mut ledger).is_err());
        });
    }
    let _daemon = house.start(&["ezra"]);
    settle(&house, &mut ledger);
    assert!(ledger.said >= kills(), "only {} messages were said", ledger.said);
    for number in 1..=ledger.said {
        let answers = &ledger.answers[&format!("m{number}")];
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
    eprintln!("{} kills, {} messages, each answered once", kills(), ledger.said);
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

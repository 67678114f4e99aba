//! What a store lives through while the power is cut: named courses of changes, as plain data.
use archond::store::Retention;
use archond_actors::domain::{
    AnswerKind, CodeHash, HandOff, InboundMessage, InboxId, JournalEntry, LinkChange, NewAnswer, NewNote,
    NoteId, OutboxId, Outcome, PeerKey, SessionKey, Summary, TurnEnd,
};
use archond_actors::ports::Write;

use crate::store_contract::{message, turn_end};
use crate::store_journal::{begun, every_kind};

/// The Archons, channels and peers of all courses.
pub(crate) const ARCHONS: [&str; 2] = ["electra", "ezra"];
pub(crate) const CHANNELS: [&str; 2] = ["cli", "telegram"];
pub(crate) const PEERS: [&str; 4] = ["uid0", "uid1", "uid2", "uid3"];

/// One thing that happens to a store.
pub(crate) enum Step {
    /// A transaction.
    Commit(Vec<Write>),
    /// The store is closed as at the end of the daemon, and opened again.
    Close,
    /// The power fails in this operation of a transaction. The store is opened again, and the transaction is repeated.
    PowerLoss { batch: Vec<Write>, operation: usize },
}

/// A course of events, in which the power may fail at any moment.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) retention: Retention,
    /// The store's creation is a part of it.
    pub(crate) from_creation: bool,
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// Its transactions.
    pub(crate) fn commits(&self) -> impl Iterator<Item = &[Write]> {
        self.steps.iter().filter_map(|step| match step {
            Step::Commit(batch) | Step::PowerLoss { batch, .. } => Some(batch.as_slice()),
            Step::Close => None,
        })
    }
}

fn of(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Scenario {
    let steps = steps.into_iter().collect();
    Scenario { name, retention: Retention::default(), from_creation: false, steps }
}

/// One transaction of several changes.
fn all(batch: impl IntoIterator<Item = Write>) -> Step {
    Step::Commit(batch.into_iter().collect())
}

/// One transaction of one change.
fn one(write: Write) -> Step {
    all([write])
}

fn accept(key: u64) -> Write {
    Write::Accept(message(&key.to_string()))
}

fn saying(key: u64, text: &str) -> Write {
    Write::Accept(InboundMessage { text: text.into(), ..message(&key.to_string()) })
}

fn accept_in(session: &str, key: u64) -> Write {
    let SessionKey { archon, channel, peer, thread } = session.parse().unwrap();
    let thread = Some(thread);
    Write::Accept(InboundMessage { archon, channel, peer, thread, ..message(&key.to_string()) })
}

fn attempt(inbox: u64) -> Write {
    Write::BeginAttempt { inbox: InboxId(inbox) }
}

fn journal(inbox: u64, entries: Vec<JournalEntry>) -> Write {
    Write::Journal { inbox: InboxId(inbox), entries }
}

fn end(inbox: u64, text: &str) -> Write {
    Write::EndTurn(turn_end(InboxId(inbox), text))
}

fn notice(inbox: u64, text: &str) -> Write {
    let answer = NewAnswer { kind: AnswerKind::Notice, text: text.into() };
    Write::EndTurn(TurnEnd { turn: None, answer, ..turn_end(InboxId(inbox), "") })
}

fn sent(outbox: u64) -> Write {
    Write::MarkSent { outbox: OutboxId(outbox) }
}

fn summary(turns: u64, text: &str) -> Write {
    let session = "ezra/cli/uid0/main".parse().unwrap();
    Write::SetSummary { session, summary: Summary { text: text.into(), turns, called: Vec::new() } }
}

fn remove(session: &str) -> Write {
    Write::RemoveSession { session: session.parse().unwrap() }
}

/// A message from its coming to the delivery of its answer, in the four transactions that the daemon makes of it.
fn round(number: u64) -> [Step; 4] {
    let answer = "word ".repeat(usize::try_from(number * 90).unwrap());
    [one(accept(number)), one(attempt(number)), one(end(number, &answer)), one(sent(number))]
}

/// Every course there is.
pub(crate) fn scenarios() -> Vec<Scenario> {
    [messages(), journals(), sessions(), places(), notes(), restarts()].into_iter().flatten().collect()
}

fn messages() -> Vec<Scenario> {
    let both_end = |key| [end(key - 1, "yes"), accept(key)];
    vec![
        of("one message", [one(accept(1))]),
        of(
            "the same message again",
            [one(accept(1)), one(accept(1)), all([accept(2), accept(1), accept(2), accept(3)])],
        ),
        of("many messages at once", [all((1..=64).map(accept)), all((40..=100).map(accept))]),
        of(
            "counted tries",
            [one(accept(1)), one(attempt(1)), one(attempt(1)), all([attempt(1), accept(2), attempt(2)])],
        ),
        of("the end of a turn", [one(accept(1)), one(end(1, "hello to you"))]),
        of(
            "a turn that ends twice",
            [one(accept(1)), one(end(1, "first")), all([end(1, "second"), accept(2)])],
        ),
        of(
            "ends of turns among new messages",
            [one(accept(1))].into_iter().chain((2..6).map(|n| all(both_end(n)))),
        ),
        of(
            "an answer that no session keeps",
            [one(saying(1, "/status")), one(notice(1, "well")), one(accept(2))],
        ),
        of(
            "answers delivered",
            [
                all((1..=3).map(accept)),
                all((1..=3).map(|inbox| end(inbox, "yes"))),
                one(sent(2)),
                all([sent(1), sent(2), accept(4), sent(3)]),
            ],
        ),
        of(
            "refused changes beside good ones",
            [
                all([accept(1), attempt(9), end(9, "x"), sent(9), accept(2)]),
                all([summary(1, "of nothing"), remove("ezra/cli/uid0/none"), end(1, "yes"), sent(7)]),
            ],
        ),
        of("whole rounds", (1..=6).flat_map(round)),
    ]
}

fn journals() -> Vec<Scenario> {
    let written = |call: &str, len| {
        let outcome = Outcome::Done { text: call.repeat(len) };
        JournalEntry::Ended { call: call.into(), outcome }
    };
    vec![
        of(
            "the journal of a turn",
            [one(accept(1))]
                .into_iter()
                .chain(every_kind().into_iter().map(|entry| one(journal(1, vec![entry]))))
                .chain([one(end(1, "done")), one(journal(1, vec![begun("late")])), one(end(1, "again"))]),
        ),
        of(
            "journals side by side",
            [
                all([accept(1), accept(2), journal(1, every_kind()), journal(9, every_kind())]),
                all([journal(2, vec![begun("b")]), journal(1, vec![begun("a")]), attempt(2)]),
                all([end(1, "yes"), journal(2, every_kind()), journal(1, vec![begun("late")])]),
                Step::Close,
                one(journal(2, vec![begun("c")])),
                one(end(2, "yes")),
            ],
        ),
        of(
            "long outcomes in a journal",
            [
                one(accept(1)),
                one(journal(1, vec![begun("1")])),
                one(journal(1, vec![written("1", 150_000), begun("2")])),
                one(journal(1, vec![written("2", 150_000)])),
                one(end(1, "done")),
            ],
        ),
        of(
            "a forgotten session with a journal",
            [
                all([accept(1), accept_in("ezra/cli/uid1/main", 2)]),
                all([journal(1, every_kind()), journal(2, every_kind())]),
                one(remove("ezra/cli/uid0/main")),
                one(journal(1, vec![begun("anew")])),
                all([end(1, "late"), end(2, "kept")]),
            ],
        ),
    ]
}

fn sessions() -> Vec<Scenario> {
    let session = |n: usize| {
        let (archon, channel) = (ARCHONS[n % 2], CHANNELS[n / 2 % 2]);
        format!("{archon}/{channel}/{}/t{}", PEERS[n / 4 % 4], n / 16)
    };
    let talk = |numbers: std::ops::Range<u64>| {
        let accepts = numbers.clone().map(|n| accept_in(&session(usize::try_from(n).unwrap()), n + 1));
        [all(accepts.collect::<Vec<_>>()), all(numbers.map(|n| end(n + 1, "yes")))]
    };
    vec![
        of("a new thread", [one(accept(1)), one(saying(2, "/new")), one(notice(2, "done")), one(accept(3))]),
        of(
            "a session with summaries",
            (1..=2)
                .flat_map(round)
                .chain([one(summary(1, "one thing"))])
                .chain((3..=4).flat_map(round))
                .chain([one(summary(3, "three things")), all([summary(2, "too late"), accept(5)])]),
        ),
        of("many sessions", [talk(0..32), talk(32..64), talk(64..80)].into_iter().flatten()),
        of(
            "large answers",
            (1..=3).flat_map(|n| {
                let text = format!("{n}").repeat(100_000);
                [all([saying(n, &text), attempt(n)]), one(end(n, &text)), one(sent(n))]
            }),
        ),
        of(
            "a forgotten session",
            (1..=3).flat_map(round).chain([
                one(accept_in("ezra/cli/uid1/main", 4)),
                all([remove("ezra/cli/uid0/main"), end(4, "kept")]),
                one(accept_in("ezra/cli/uid0/main", 5)),
            ]),
        ),
        of(
            "a forgotten session with answers under way",
            round(1).into_iter().chain([
                all([accept(2), accept(3), end(2, "not delivered yet")]),
                one(remove("ezra/cli/uid0/main")),
                all([end(3, "comes later"), sent(2)]),
                all([sent(3), remove("ezra/cli/uid0/main")]),
            ]),
        ),
    ]
}

fn places() -> Vec<Scenario> {
    let link = |of: &str, change| Write::Link { with: of.parse().unwrap(), change, now_unix_ms: 5 };
    let code = CodeHash([7; 32]);
    let hand_off = |inbox, from: &str, to: &str| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let text = "yes, it is gone".to_owned();
        Write::HandOff(HandOff { from, to, inbox: InboxId(inbox), text, now_unix_ms: 3_000 })
    };
    let linked = || {
        let (one, other) = ("ezra/cli/uid0", "ezra/telegram/uid1");
        all([link(one, LinkChange::Offer(code)), link(other, LinkChange::Join(code))])
    };
    let there = || hand_off(3, "ezra/cli/uid0/main", "ezra/telegram/uid1/s3");
    let long = "word ".repeat(3_000);
    vec![
        of(
            "a conversation that goes elsewhere and comes back",
            [
                linked(),
                all([accept(1), accept(2), end(1, "yes"), end(2, &long), summary(1, "one thing")]),
                all([sent(1), saying(3, "/handoff")]),
                one(there()),
                Step::Close,
                all([there(), accept_in("ezra/telegram/uid1/s3", 4), accept(5)]),
                all([
                    hand_off(5, "ezra/telegram/uid1/s3", "ezra/cli/uid0/s5"),
                    end(4, "hello"),
                    end(5, "word"),
                ]),
                all([saying(6, "/handoff"), hand_off(6, "ezra/telegram/uid1/s3", "ezra/cli/uid0/s6")]),
            ],
        ),
        of(
            "a conversation that is forgotten where it went",
            [
                linked(),
                all([accept(1), end(1, "yes"), sent(1), accept(2), end(2, "word"), saying(3, "/handoff")]),
                one(there()),
                one(remove("ezra/telegram/uid1/s3")),
                all([sent(2), sent(3), remove("ezra/telegram/uid1/s3")]),
            ],
        ),
    ]
}

fn notes() -> Vec<Scenario> {
    let owner = |peer: &str| format!("ezra/cli/{peer}").parse::<PeerKey>().unwrap();
    let keep = |peer: &str, text: &str| {
        Write::KeepNote(NewNote::new(owner(peer), Some("of words"), text, 7).unwrap())
    };
    let forget = |peer: &str, note| Write::ForgetNote { owner: owner(peer), note: NoteId(note) };
    vec![
        of(
            "notes kept and forgotten",
            [
                one(keep("uid0", "the word is hello")),
                all([keep("uid0", "the word is hello"), keep("uid1", "the word is hello"), accept(1)]),
                all([forget("uid1", 1), forget("uid0", 1), keep("uid0", "another word")]),
                Step::Close,
                all([keep("uid0", "the word is hello"), forget("uid1", 2), end(1, "yes")]),
            ],
        ),
        of(
            "notes outlive a forgotten session",
            round(1).into_iter().chain([
                all([keep("uid0", "a word that stays"), accept(2), end(2, "a word")]),
                one(remove("ezra/cli/uid0/main")),
                all([accept(3), end(3, "the last word")]),
            ]),
        ),
        of("long notes", (0..12).map(|n| one(keep("uid2", &format!("{n} {}", "word ".repeat(190)))))),
    ]
}

fn restarts() -> Vec<Scenario> {
    let spoilt = |number: u64, operation| Step::PowerLoss {
        batch: vec![accept(number), end(number, &"spoilt ".repeat(400)), sent(number)],
        operation,
    };
    let first = of("the first creation", [one(accept(1))]);
    let keys = of("forgotten keys", (1..=9).map(|n| all([accept(n), end(n, "")])));
    vec![
        Scenario { from_creation: true, ..first },
        Scenario { retention: Retention { keys_min: 4, key_age_min_ms: 0 }, ..keys },
        of(
            "clean ends between",
            round(1).into_iter().chain([Step::Close]).chain(round(2)).chain([
                Step::Close,
                Step::Close,
                one(accept(3)),
            ]),
        ),
        of("a power loss before", round(1).into_iter().chain([spoilt(2, 5)]).chain(round(3))),
        of(
            "one power loss after the other",
            [1, 2, 4, 8, 12].into_iter().zip(1..).map(|(at, n)| spoilt(n, at)),
        ),
    ]
}

//! What a writer knows who goes on through every crash, and what it holds the house to: none lost, none answered twice.
use std::collections::{BTreeMap, BTreeSet};

use archond::admin::protocol::{AnswerView, Op, RecordedTurnView, Reply, TurnView};

use crate::kit::{Client, TestHouse};

/// Messages that are under way at the same time.
pub(crate) const OPEN: u64 = 4;
/// Messages that wait for answers over all lives. The house takes a thousand; short lives would let them pile up.
const UNANSWERED_MAX: usize = 100;
/// Messages of one conversation. More would make the model read for longer than a short-lived daemon lives.
const THREAD_LEN: u64 = 5;

/// What the writer knows: what it said, what was acknowledged, what came back.
#[derive(Default)]
pub(crate) struct Ledger {
    /// How many messages were said.
    pub(crate) said: u64,
    /// Where in the inbox what was acknowledged came to lie.
    acknowledged: BTreeMap<u64, u64>,
    /// Not acknowledged: to be said again with the same key.
    pub(crate) unacknowledged: BTreeSet<u64>,
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
    pub(crate) fn next_message(&mut self, asked: &BTreeSet<u64>) -> u64 {
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
    pub(crate) fn acknowledged(&mut self, number: u64, inbox: u64, duplicate: bool) {
        self.unacknowledged.remove(&number);
        if let Some(known) = self.acknowledged.insert(number, inbox) {
            assert_eq!((inbox, duplicate), (known, true), "message {number} was acknowledged and then lost");
        }
    }

    pub(crate) fn heard(&mut self, answer: &AnswerView) {
        assert_ne!(answer.kind, "failure", "{}", answer.text);
        let number = answer.key.trim_start_matches('m').parse().unwrap();
        self.unanswered.remove(&number);
        self.answers.entry(number).or_default().insert(answer.outbox);
    }

    /// Says a message with its key, for the first time or again. Answers the request's number.
    pub(crate) fn say(&mut self, client: &mut Client, number: u64) -> std::io::Result<u64> {
        if !self.acknowledged.contains_key(&number) {
            self.unacknowledged.insert(number);
        }
        let (text, key, thread) = (text_of(number), key_of(number), Some(thread_of(number)));
        client.send(Op::Chat { archon: "ezra".into(), text, key, thread })
    }

    /// Waits until every message that was ever said has its answer, and checks that all is as it ought to be.
    pub(crate) fn settle(&mut self, house: &TestHouse) {
        let mut client = house.client();
        // Said again with its key, an old message gives its old answer, or waits for it.
        let unacknowledged: Vec<_> = self.unacknowledged.iter().copied().collect();
        for number in unacknowledged.into_iter().chain(1..=self.said) {
            self.say(&mut client, number).unwrap();
            loop {
                match client.receive().unwrap().reply {
                    Reply::Turn(TurnView::Accepted { inbox, duplicate, .. }) => {
                        self.acknowledged(number, inbox, duplicate);
                    }
                    Reply::Turn(TurnView::Ended(answer)) => break self.heard(&answer),
                    Reply::Turn(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        self.check(&mut client);
    }

    /// Each message has one place in the inbox, one answer and one turn.
    fn check(&self, client: &mut Client) {
        let places: BTreeSet<_> = self.acknowledged.values().collect();
        assert_eq!((self.acknowledged.len(), places.len()), (self.said as usize, self.said as usize));
        let mut said: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for number in 1..=self.said {
            let answers = &self.answers[&number];
            assert_eq!(answers.len(), 1, "message {number} has the answers {answers:?}");
            said.entry(thread_of(number)).or_default().push(number);
        }
        for (thread, numbers) in said {
            let session = format!("ezra/cli/uid{}/{thread}", rustix::process::geteuid().as_raw());
            let turns = all_turns(client, &session);
            let mut kept: Vec<u64> =
                turns.iter().map(|turn| turn.user.trim_start_matches("hello ").parse().unwrap()).collect();
            // What was not acknowledged was said again, perhaps behind a later message; once it is, all the same.
            kept.sort_unstable();
            assert_eq!(kept, numbers, "{session}");
        }
    }
}

pub(crate) fn key_of(number: u64) -> String {
    format!("m{number}")
}

pub(crate) fn text_of(number: u64) -> String {
    format!("hello {number}")
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

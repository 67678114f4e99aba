//! Any store against an ideal one, through random lives. Written once, and every store is held to it:
//!
//! ```text
//! prop_state_machine! {
//!     #![proptest_config(lives(100))]
//!     #[test]
//!     fn the_store_does_what_an_ideal_one_does(sequential 1..60 => Tenant<MyHome>);
//! }
//! ```
//!
//! Read [`ideal`] first (what must happen), then [`question`] and [`story`] (what may be asked).
mod bonds;
pub mod doors;
mod hand_off;
pub mod ideal;
mod meanings;
pub mod question;
mod roads;
pub mod story;

use std::collections::BTreeMap;

use proptest::prelude::ProptestConfig;
use proptest_state_machine::StateMachineTest;

use crate::domain::{Accepted, InboxId, MessageKey, NotesOf, OutboxId, PeerKey};
use crate::ports::{Store, StoreError, Write, Written};

use ideal::Ideal;
use question::{Question, Reply};
use story::{Step, Story, archons, channels, peers};

/// Entries that a reader takes at once who reads everything: few, so that there are many pages.
const PAGE_LEN: usize = 2;

/// So many lives, unless `PROPTEST_CASES` asks for another number. What fails is printed, and kept in no file.
pub fn lives(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|asked| asked.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(cases), failure_persistence: None, ..ProptestConfig::default() }
}

/// Where a store lives: it may be closed and opened again there.
pub trait Home {
    /// An empty one.
    fn build() -> Self;
    /// The store in it.
    fn store(&self) -> &dyn Store;
    /// Closes the store and opens it again. One that forgets everything with its process stays open.
    fn reopen(&mut self);
}

/// A store that is held to the model, in its home.
pub struct Tenant<H> {
    home: H,
    /// Which number each message got, seen here without the model's help.
    accepted: BTreeMap<MessageKey, InboxId>,
    /// Which answer each message got.
    answered: BTreeMap<InboxId, OutboxId>,
}

impl<H: Home> Tenant<H> {
    fn commit(&mut self, batch: &[Write], ideal: &Ideal) {
        let results = self.home.store().commit(batch);
        assert!(results.is_ok(), "{batch:?} led to {results:?}");
        let results = results.unwrap_or_default();
        assert_eq!(results.len(), batch.len(), "{batch:?}");
        for ((write, result), expected) in batch.iter().zip(&results).zip(&ideal.written) {
            assert_eq!(result.as_ref().ok(), expected.as_ref(), "{write:?} led to {result:?}");
            let missed = matches!(result, Err(StoreError::NotFound { .. }));
            assert_eq!(missed, expected.is_none(), "{write:?} led to {result:?}");
            self.note(write, result.as_ref().ok());
        }
    }

    /// A key is accepted once, and a message is answered once.
    fn note(&mut self, write: &Write, written: Option<&Written>) {
        match (write, written) {
            (Write::Accept(message), Some(Written::Accepted(Accepted::Fresh(entry)))) => {
                let before = self.accepted.insert(message.message_key(), entry.id);
                assert_eq!(before, None, "{message:?} was accepted twice");
            }
            (Write::Accept(message), Some(Written::Accepted(Accepted::Duplicate(first)))) => {
                assert_eq!(self.accepted.get(&message.message_key()), Some(first), "{message:?}");
            }
            (_, Some(Written::Ended(answer, beside))) => {
                for answer in std::iter::once(answer).chain(beside) {
                    let first = *self.answered.entry(answer.answers).or_insert(answer.id);
                    assert_eq!(first, answer.id, "{} was answered twice", answer.answers);
                }
            }
            _ => {}
        }
    }

    fn ask(&self, question: &Question, ideal: &Ideal) -> Reply {
        let reply = question.put_to(self.home.store());
        let expected = ideal.ask(question);
        assert_eq!(reply.as_ref(), Ok(&expected), "{question:?}");
        expected
    }

    /// What every Archon has to answer and every channel has to deliver, page by page.
    fn read_everything(&self, ideal: &Ideal) {
        for archon in archons() {
            self.ask(&Question::PendingLen { archon: archon.clone() }, ideal);
            let mut after = None;
            loop {
                let page = Question::Pending { archon: archon.clone(), after, limit: PAGE_LEN };
                let Reply::Inbox(page) = self.ask(&page, ideal) else { break };
                let Some(last) = page.last() else { break };
                after = Some(last.id);
            }
        }
        for channel in channels() {
            let to_one = archons().into_iter().zip(peers()).map(Some);
            for peer in to_one.chain([None]) {
                let mut after = None;
                loop {
                    let (channel, peer) = (channel.clone(), peer.clone());
                    let page = Question::Undelivered { channel, peer, after, limit: PAGE_LEN };
                    let Reply::Outbox(page) = self.ask(&page, ideal) else { break };
                    let Some(last) = page.last() else { break };
                    after = Some(last.id);
                }
            }
        }
        for inbox in 0..=ideal.said_len() {
            self.ask(&Question::AnswerTo { inbox: InboxId(inbox) }, ideal);
            self.ask(&Question::Journal { inbox: InboxId(inbox) }, ideal);
            self.ask(&Question::Receipt { inbox: InboxId(inbox) }, ideal);
        }
        self.ask(&Question::Undeliverable { channel: None, after: None, limit: usize::MAX }, ideal);
        self.ask(&Question::Notes { of: NotesOf::House, after: None, limit: usize::MAX }, ideal);
        for peer in peers() {
            let owner = PeerKey { archon: archons().remove(0), channel: channels().remove(0), peer };
            self.ask(&Question::Recall { owner, question: "hello, words".to_owned() }, ideal);
        }
        self.ask(&Question::Unindexed { limit: usize::MAX }, ideal);
        self.ask(&Question::Indexed, ideal);
        let all = Question::Sessions { archon: None, after: None, limit: usize::MAX };
        let Reply::Sessions(heads) = self.ask(&all, ideal) else { return };
        for head in heads {
            self.ask(&Question::Turns { key: head.key.clone(), from: 0, limit: usize::MAX }, ideal);
            self.ask(&Question::Session { key: head.key }, ideal);
        }
    }
}

impl<H: Home> StateMachineTest for Tenant<H> {
    type SystemUnderTest = Self;
    type Reference = Story;

    fn init_test(_ideal: &Ideal) -> Self {
        Self { home: H::build(), accepted: BTreeMap::new(), answered: BTreeMap::new() }
    }

    fn apply(mut tenant: Self, ideal: &Ideal, step: Step) -> Self {
        match step {
            Step::Commit(batch) => tenant.commit(&batch, ideal),
            Step::Ask(question) => drop(tenant.ask(&question, ideal)),
            Step::Reopen => tenant.home.reopen(),
        }
        tenant
    }

    fn check_invariants(tenant: &Self, ideal: &Ideal) {
        tenant.read_everything(ideal);
    }
}

#[cfg(test)]
mod tests {
    use proptest_state_machine::prop_state_machine;

    use super::*;
    use crate::testkit::MemStore;

    struct Memory(MemStore);

    impl Home for Memory {
        fn build() -> Self {
            Self(MemStore::new())
        }

        fn store(&self) -> &dyn Store {
            &self.0
        }

        fn reopen(&mut self) {}
    }

    prop_state_machine! {
        #![proptest_config(lives(128))]
        #[test]
        fn the_store_in_memory_does_what_an_ideal_one_does(sequential 1..80 => Tenant<Memory>);
    }
}

//! The world outside of the house: what people wrote, what they were told, what the platforms remember. It outlives the
//! daemon, and it is what the laws are about.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use archond_actors::command::Intent;
use archond_actors::domain::{InboundMessage, InboxId, OutboxEntry, OutboxId};

use crate::scenario::{Chat, MESSAGE_BYTES_MAX, Road, Scenario};

/// One message, from the writer's side.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) inbound: InboundMessage,
    /// The house said that it has it.
    pub(crate) acknowledged: Option<InboxId>,
    /// It said so as of a new one.
    fresh: bool,
    /// The house said that it will never take it.
    pub(crate) refused: bool,
    /// What the person saw, in the order of arrival.
    pub(crate) answers: Vec<OutboxEntry>,
}

impl Letter {
    pub(crate) fn intent(&self) -> Intent {
        Intent::of(&self.inbound.text)
    }

    /// Nobody takes an empty letter or one that is too long.
    pub(crate) fn is_acceptable(&self) -> bool {
        let text = &self.inbound.text;
        !text.trim().is_empty() && text.len() <= MESSAGE_BYTES_MAX as usize
    }

    pub(crate) fn is_done(&self) -> bool {
        self.refused || !self.answers.is_empty()
    }
}

/// Everything outside, seen from several sides.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<RwLock<Outside>>);

impl World {
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, Outside> {
        self.0.read().unwrap()
    }

    pub(crate) fn borrow_mut(&self) -> RwLockWriteGuard<'_, Outside> {
        self.0.write().unwrap()
    }

    /// What it is at the end.
    pub(crate) fn take(&self) -> Outside {
        std::mem::take(&mut self.borrow_mut())
    }
}

/// Everything outside.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) letters: BTreeMap<String, Letter>,
    /// The keys of each road and Archon, in the order in which they were written.
    pub(crate) written: BTreeMap<(Road, &'static str), Vec<String>>,
    /// How many of its planned messages each chat has written.
    pub(crate) progress: BTreeMap<usize, usize>,
    /// Messages that were made in place of answers to come.
    pub(crate) placeholders: u32,
    /// Which of them were replaced, by what.
    pub(crate) replaced: BTreeSet<(String, OutboxId)>,
    /// The platforms work.
    pub(crate) is_calm: bool,
    /// The last answer that each person saw on a platform.
    last_seen: BTreeMap<String, OutboxId>,
    /// Answers that the platform can recognise when they are posted again.
    pub(crate) posted: BTreeSet<OutboxId>,
    /// Answers whose delivery the house has taken note of.
    noted: BTreeSet<OutboxId>,
    pub(crate) violations: Vec<String>,
    /// What happened, to compare two runs of one seed and to read when one fails.
    pub(crate) history: Vec<String>,
}

impl Outside {
    /// A person writes the next message of a chat. `None`: all are written.
    pub(crate) fn write(&mut self, number: usize, chat: &Chat) -> Option<String> {
        let index = self.progress.entry(number).or_default();
        let planned = chat.planned.get(*index)?;
        let key = format!("{number}-{index}");
        *index += 1;
        let inbound = InboundMessage {
            archon: chat.archon.parse().unwrap(),
            channel: chat.road.channel().parse().unwrap(),
            peer: chat.peer.parse().unwrap(),
            key: key.clone(),
            thread: None,
            text: planned.text.clone(),
            received_unix_ms: 1,
            waybill: archond_actors::domain::Waybill::default(),
        };
        let letter =
            Letter { inbound, acknowledged: None, fresh: false, refused: false, answers: Vec::new() };
        self.letters.insert(key.clone(), letter);
        self.written.entry((chat.road, chat.archon)).or_default().push(key.clone());
        Some(key)
    }

    /// Keys of one road and Archon from the `from`th on.
    pub(crate) fn keys(&self, road: Road, archon: &str, from: usize) -> Vec<String> {
        let written = self.written.iter().find(|((by, to), _)| *by == road && *to == archon);
        written.and_then(|(_, keys)| keys.get(from..)).unwrap_or_default().to_vec()
    }

    /// The house says that it has a message.
    pub(crate) fn acknowledge(&mut self, key: &str, id: InboxId, fresh: bool) {
        let Some(letter) = self.letters.get_mut(key) else { return };
        let known = letter.acknowledged.replace(id);
        let twice = letter.fresh && fresh;
        letter.fresh |= fresh;
        if twice || known.is_some_and(|known| known != id) {
            self.violate(format!("{key} was acknowledged as {known:?} and again as {id}, fresh: {fresh}"));
        }
    }

    /// The house says that it knows of a delivery: it must not offer that answer again.
    pub(crate) fn mark(&mut self, id: OutboxId) {
        self.noted.insert(id);
    }

    /// The house offers answers to be delivered.
    pub(crate) fn offered(&mut self, entries: &[OutboxEntry]) {
        for entry in entries.iter().filter(|entry| self.noted.contains(&entry.id)).collect::<Vec<_>>() {
            self.violate(format!("{} is offered again", entry.id));
        }
    }

    /// The channel says that it will not take a letter.
    pub(crate) fn refuse(&mut self, key: &str, is_failure: bool) {
        self.note(format!("{key} is refused by the channel"));
        match self.letters.get_mut(key) {
            Some(letter) if is_failure && !letter.is_acceptable() => letter.refused = true,
            _ => self.violate(format!("{key} is refused by the channel, failure: {is_failure}")),
        }
    }

    /// An answer reaches the person.
    pub(crate) fn deliver(&mut self, entry: &OutboxEntry) {
        if entry.session.channel.as_str() != Road::Cli.channel() {
            let last = self.last_seen.insert(entry.session.peer_key().to_string(), entry.id);
            if last.is_some_and(|last| last >= entry.id) {
                self.violate(format!("{} is seen after {last:?}", entry.id));
            }
        }
        self.note(format!("delivered {} of {}: {:?} {}", entry.id, entry.key, entry.kind, entry.text));
        match self.letters.get_mut(&entry.key) {
            Some(letter) => letter.answers.push(entry.clone()),
            None => self.violate(format!("an answer to {}, which nobody wrote", entry.key)),
        }
    }

    pub(crate) fn violate(&mut self, violation: String) {
        self.note(format!("VIOLATION {violation}"));
        self.violations.push(violation);
    }

    pub(crate) fn note(&mut self, event: String) {
        self.history.push(event);
    }

    /// Everything that will ever be written is written, and is answered or refused.
    pub(crate) fn is_done(&self, scenario: &Scenario) -> bool {
        let planned: usize = scenario.chats.iter().map(|chat| chat.planned.len()).sum();
        self.letters.len() == planned && self.letters.values().all(Letter::is_done)
    }
}

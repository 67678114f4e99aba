//! How a conversation goes to another place of the same person, as the store's port promises it.
use super::ideal::{Ideal, Said};
use crate::command::Intent;
use crate::domain::{HandOff, PeerKey, SessionKey, Stays};
use crate::ports::Written;

impl Ideal {
    pub(super) fn hand_off(&mut self, off: &HandOff) -> Option<Written> {
        let asked = self.said_mut(off.inbox)?;
        if asked.answered.is_some() {
            return self.end_turn(&off.end()).map(|first| Written::Ended(first, Vec::new()));
        }
        if let Some(stays) = self.stays(off) {
            return Some(Written::Stays(stays));
        }
        let answer = self.end_turn(&off.end())?;
        let SessionKey { archon, channel, peer, thread } = &off.from;
        if self.current_thread(archon, channel, peer) == *thread {
            self.walked.push(off.left_behind());
        }
        self.walked.push(off.to.clone());
        let talk = self.talks.remove(&off.from)?;
        self.talks.insert(off.to.clone(), talk);
        self.said.iter_mut().filter(|said| said.of == off.from).for_each(|said| said.of = off.to.clone());
        Some(Written::Ended(answer, Vec::new()))
    }

    /// Each conversation, with each place that it may go to.
    pub(super) fn linked_sessions(&self) -> Vec<(SessionKey, PeerKey)> {
        let linked = |from: &SessionKey| {
            let (from, others) = (from.clone(), self.bonds.linked(&from.peer_key()));
            others.into_iter().map(move |to| (from.clone(), to))
        };
        self.talks.keys().flat_map(linked).collect()
    }

    /// The messages without an answer.
    pub(super) fn unanswered(&self) -> Vec<u64> {
        self.said.iter().filter(|said| said.answered.is_none()).map(|said| said.entry.id.0).collect()
    }

    /// The first reason against it.
    fn stays(&self, off: &HandOff) -> Option<Stays> {
        let (from, to) = (off.from.peer_key(), off.to.peer_key());
        let known = self.said.iter().filter(|said| !said.forgotten);
        let awaited = |said: &&Said| {
            said.answered.is_none() && said.of == off.from && Intent::of(&said.entry.text).takes_a_turn()
        };
        let taken = [&off.to, &off.left_behind()]
            .iter()
            .any(|key| self.talks.contains_key(key) || known.clone().any(|said| said.of == **key));
        let reasons = [
            (!self.bonds.linked(&from).contains(&to), Stays::Apart),
            (self.talks.get(&off.from).is_none_or(|talk| talk.turns.is_empty()), Stays::Empty),
            (known.clone().filter(awaited).count() > 0, Stays::Awaited),
            (taken, Stays::Taken),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, stays)| stays)
    }
}

//! How a conversation goes to another place in the store in memory.
use super::tables::{Tables, missing};
use crate::command::Intent;
use crate::domain::{HandOff, SessionKey, Stays};
use crate::linking;
use crate::ports::{StoreError, Written};

impl Tables {
    pub(super) fn hand_off(&mut self, off: &HandOff) -> Result<Written, StoreError> {
        let message = self.inbox.get(&off.inbox).ok_or_else(|| missing(format!("message {}", off.inbox)))?;
        let is_answered = self.answers.contains_key(&message.id);
        if !is_answered && let Some(stays) = self.stays(off) {
            return Ok(Written::Stays(stays));
        }
        let (answer, beside) = self.end_turn(&off.end())?;
        if is_answered {
            return Ok(Written::Ended(answer, beside));
        }
        if let Some(session) = self.sessions.remove(&off.from) {
            self.lay(&off.from, &off.to, session);
        }
        self.meanings.forget_turns(&off.from, 0);
        for session in self.belongs.values_mut().filter(|session| **session == off.from) {
            *session = off.to.clone();
        }
        if self.current(&off.from.peer_key()) == off.from.thread {
            self.go_to(&off.left_behind());
        }
        self.go_to(&off.to);
        Ok(Written::Ended(answer, beside))
    }

    fn stays(&self, off: &HandOff) -> Option<Stays> {
        let turns = self.sessions.get(&off.from).map_or(0, |session| session.head.turns);
        let mut waiting = self.pending.iter().filter_map(|(_, inbox)| self.inbox.get(inbox));
        let is_known = |key: &SessionKey| {
            self.sessions.contains_key(key) || self.belongs.values().any(|session| session == key)
        };
        if !linking::linked(&self.links, &off.from.peer_key()).contains(&off.to.peer_key()) {
            Some(Stays::Apart)
        } else if turns == 0 {
            Some(Stays::Empty)
        } else if waiting.any(|entry| entry.session == off.from && Intent::of(&entry.text).takes_a_turn()) {
            Some(Stays::Awaited)
        } else {
            (is_known(&off.to) || is_known(&off.left_behind())).then_some(Stays::Taken)
        }
    }
}

//! Vectors in the ideal store: they lie with the text that they belong to, and go with it.
use std::collections::BTreeMap;

use super::ideal::Ideal;
use crate::domain::{Indexed, Maker, Place, Remembered, Unindexed, Vector};
use crate::recall::{note_text, turn_text};

/// Who computed them, and those of the notes by their numbers; those of turns lie in their conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Meanings {
    maker: Option<Maker>,
    of_notes: BTreeMap<u64, Vector>,
}

impl Ideal {
    pub(super) fn use_maker(&mut self, maker: &Maker) {
        if self.meanings.maker.as_ref() != Some(maker) {
            self.meanings = Meanings { maker: Some(maker.clone()), of_notes: BTreeMap::new() };
            self.talks.values_mut().for_each(|talk| talk.vectors.clear());
        }
    }

    pub(super) fn keep_vector(&mut self, maker: &Maker, of: &Remembered, vector: &Vector) {
        let awaited = self.unindexed().iter().any(|unindexed| unindexed.of == *of);
        if !awaited || self.meanings.maker.as_ref() != Some(maker) {
            return;
        }
        match &of.place {
            Place::Note(note) => {
                self.meanings.of_notes.insert(note.0, vector.clone());
            }
            Place::Turn { thread, number } => {
                let talk = self.talks.entry(of.owner.session(thread.clone())).or_default();
                talk.vectors.insert(*number, vector.clone());
            }
        }
    }

    /// All of them: one peer after the other, his notes first.
    pub(super) fn unindexed(&self) -> Vec<Unindexed> {
        let notes = self.notes_kept().filter(|note| !self.meanings.of_notes.contains_key(&note.id.0));
        let notes = notes.map(|note| {
            let (owner, place) = (note.owner.clone(), Place::Note(note.id));
            Unindexed { of: Remembered { owner, place, stamp: 0 }, text: note_text(note) }
        });
        let turns = self.talks.iter().flat_map(|(key, talk)| {
            let without = talk.turns.iter().filter(|turn| !talk.vectors.contains_key(&turn.number));
            without.map(|turn| {
                let place = Place::Turn { thread: key.thread.clone(), number: turn.number };
                let of = Remembered { owner: key.peer_key(), place, stamp: turn.inbox.0 };
                Unindexed { of, text: turn_text(&turn.user, &turn.answer) }
            })
        });
        let mut all: Vec<Unindexed> = notes.chain(turns).collect();
        all.sort_by_key(|unindexed| match &unindexed.of.place {
            Place::Note(note) => (unindexed.of.owner.clone(), String::new(), note.0),
            Place::Turn { thread, number } => (unindexed.of.owner.clone(), thread.to_string(), *number),
        });
        all
    }

    pub(super) fn indexed(&self) -> Indexed {
        let notes = self.notes_kept().filter(|note| self.meanings.of_notes.contains_key(&note.id.0));
        let with = notes.count() + self.talks.values().map(|talk| talk.vectors.len()).sum::<usize>();
        let without = self.unindexed().len() as u64;
        Indexed { maker: self.meanings.maker.clone(), with: with as u64, without }
    }
}

//! What is found again in the store in memory: by words, and by the vectors that were kept.
use std::collections::{BTreeMap, HashMap};

use super::tables::{Session, Tables, missing};
use crate::domain::{
    Indexed, Kept, Maker, NOTES_MAX, NewNote, Note, NoteId, PeerKey, Place, Recalled, Remembered, SessionKey,
    Sought, TurnRecord, Unindexed, Vector,
};
use crate::ports::{StoreError, Written};
use crate::recall::{Query, Search, note_text, turn_terms, turn_text};

/// Whose, of which thread (none: a note), and its number.
type Row = (PeerKey, String, u64);

/// Every turn and note has a row in one of the two.
#[derive(Default)]
pub(super) struct Meanings {
    maker: Option<Maker>,
    vectors: BTreeMap<Row, Vector>,
    without: BTreeMap<Row, u64>,
}

fn row(owner: &PeerKey, place: &Place) -> Row {
    match place {
        Place::Turn { thread, number } => (owner.clone(), thread.to_string(), *number),
        Place::Note(note) => (owner.clone(), String::new(), note.0),
    }
}

fn turn_row(session: &SessionKey, number: u64) -> Row {
    (session.peer_key(), session.thread.to_string(), number)
}

impl Meanings {
    pub(super) fn await_turn(&mut self, session: &SessionKey, turn: &TurnRecord) {
        let row = turn_row(session, turn.number);
        self.vectors.remove(&row);
        self.without.insert(row, turn.inbox.0);
    }

    /// Forgets the turns of a session from a number on.
    pub(super) fn forget_turns(&mut self, session: &SessionKey, from: u64) {
        let gone =
            |row: &Row| row.0 == session.peer_key() && row.1 == session.thread.as_str() && row.2 >= from;
        self.vectors.retain(|row, _| !gone(row));
        self.without.retain(|row, _| !gone(row));
    }

    pub(super) fn copy(&mut self, from: &SessionKey, to: &SessionKey, turns: &[TurnRecord]) {
        for turn in turns {
            let (old, new) = (turn_row(from, turn.number), turn_row(to, turn.number));
            if let Some(vector) = self.vectors.get(&old).cloned() {
                self.vectors.insert(new, vector);
            } else if let Some(stamp) = self.without.get(&old).copied() {
                self.without.insert(new, stamp);
            }
        }
    }

    pub(super) fn keep_vector(&mut self, maker: &Maker, of: &Remembered, vector: &Vector) {
        let row = row(&of.owner, &of.place);
        if self.maker.as_ref() == Some(maker) && self.without.get(&row) == Some(&of.stamp) {
            self.without.remove(&row);
            self.vectors.insert(row, vector.clone());
        }
    }

    pub(super) fn indexed(&self) -> Indexed {
        let (with, without) = (self.vectors.len() as u64, self.without.len() as u64);
        Indexed { maker: self.maker.clone(), with, without }
    }
}

impl Tables {
    /// What another one computed is computed anew.
    pub(super) fn use_maker(&mut self, maker: &Maker) {
        if self.meanings.maker.as_ref() == Some(maker) {
            return;
        }
        self.meanings.maker = Some(maker.clone());
        for (row, _) in std::mem::take(&mut self.meanings.vectors) {
            let stamp = self.stamp(&row);
            self.meanings.without.insert(row, stamp);
        }
    }

    fn stamp(&self, (owner, thread, number): &Row) -> u64 {
        let of_thread = |(key, session): (&SessionKey, &Session)| {
            let turn = session.turns.iter().find(|turn| turn.number == *number);
            (owner.holds(key) && key.thread.as_str() == thread)
                .then(|| turn.map(|turn| turn.inbox.0))
                .flatten()
        };
        self.sessions.iter().find_map(of_thread).unwrap_or_default()
    }

    pub(super) fn unindexed(&self, limit: usize) -> Vec<Unindexed> {
        let read = |((owner, thread, number), stamp): (&Row, &u64)| {
            let (place, text) = if thread.is_empty() {
                let note = self.notes.get(&(owner.clone(), NoteId(*number)))?;
                (Place::Note(note.id), note_text(note))
            } else {
                let (key, session) = self
                    .sessions
                    .iter()
                    .find(|(key, _)| owner.holds(key) && key.thread.as_str() == thread)?;
                let turn = session.turns.iter().find(|turn| turn.number == *number)?;
                let place = Place::Turn { thread: key.thread.clone(), number: *number };
                (place, turn_text(&turn.user, &turn.answer))
            };
            Some(Unindexed { of: Remembered { owner: owner.clone(), place, stamp: *stamp }, text })
        };
        self.meanings.without.iter().filter_map(read).take(limit).collect()
    }

    pub(super) fn find(&self, owner: &PeerKey, sought: &Sought, limit: usize) -> Vec<Recalled> {
        let query = Query::of(&sought.question);
        if query.is_empty() {
            return Vec::new();
        }
        let comparable =
            sought.meant.as_ref().is_some_and(|meant| self.meanings.maker.as_ref() == Some(&meant.maker));
        let words = Sought::by_words(&sought.question);
        let mut search = Search::new(&query, if comparable { sought } else { &words });
        let mut texts = HashMap::new();
        let mut show = |search: &mut Search<'_>, place: Place, recalled| {
            if let Some(vector) = self.meanings.vectors.get(&row(owner, &place)) {
                search.add_vector(place.clone(), vector.step(), vector.numbers());
            }
            texts.insert(place, recalled);
        };
        for note in self.notes.values().filter(|note| note.owner == *owner) {
            search.add_note(note);
            show(&mut search, Place::Note(note.id), Recalled::Note(note.clone()));
        }
        for (key, session) in self.sessions.iter().filter(|(key, _)| owner.holds(key)) {
            for turn in &session.turns {
                let place = Place::Turn { thread: key.thread.clone(), number: turn.number };
                let terms = turn_terms(&turn.user, &turn.answer);
                let counts = terms.counts.iter().map(|(term, count)| (term.as_str(), *count));
                search.add_turn(place.clone(), terms.len, counts);
                show(&mut search, place, recalled(key, turn));
            }
        }
        search.best(limit).iter().filter_map(|place| texts.remove(place)).collect()
    }

    pub(super) fn keep_note(&mut self, new: &NewNote) -> Kept {
        let own = || self.notes.values().filter(|note| note.owner == new.owner);
        if let Some(known) = own().find(|note| note.text == new.text) {
            return Kept::Known(known.clone());
        }
        if own().count() >= NOTES_MAX {
            return Kept::Full;
        }
        self.notes_len += 1;
        let note = Note {
            id: NoteId(self.notes_len),
            owner: new.owner.clone(),
            topic: new.topic.clone(),
            text: new.text.clone(),
            created_unix_ms: new.created_unix_ms,
        };
        self.notes.insert((new.owner.clone(), note.id), note.clone());
        self.meanings.without.insert(row(&note.owner, &Place::Note(note.id)), 0);
        Kept::Fresh(note)
    }

    pub(super) fn forget_note(&mut self, owner: &PeerKey, note: NoteId) -> Result<Written, StoreError> {
        let row = row(owner, &Place::Note(note));
        self.meanings.vectors.remove(&row);
        self.meanings.without.remove(&row);
        let removed = self.notes.remove(&(owner.clone(), note));
        removed.map(|_| Written::Done).ok_or_else(|| missing(format!("note {note}")))
    }
}

fn recalled(session: &SessionKey, turn: &TurnRecord) -> Recalled {
    Recalled::Turn {
        session: session.clone(),
        number: turn.number,
        user: turn.user.clone(),
        answer: turn.answer.clone(),
        ended_unix_ms: turn.ended_unix_ms,
    }
}

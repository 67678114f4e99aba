//! Notes, and what turns are found by: their records, and what is asked and changed. As `records` says of all.
//!
//! A turn is found by its terms, one row beside it, written in the transaction that ends it. A question reads the rows of one peer in
//! their order, which is where they lie together, and then only those turns that answer it best.
use std::ops::Bound;

use archond_actors::domain::{
    Kept, NOTES_MAX, NewNote, Note, NoteId, NotePlace, NotesOf, PeerKey, Recalled, SessionKey, Sought,
    ThreadId,
};
use archond_actors::recall::{Place, Query, Search, Terms, turn_terms};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::meanings;
use super::records::{self, RecordError, cols, decode, encode};
use super::tables::{self, NoteCols};
use super::writes::Writer;

#[derive(Serialize, Deserialize)]
struct NoteV1<'a> {
    topic: Option<&'a str>,
    text: &'a str,
    created_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct TermsV1<'a> {
    len: u32,
    #[serde(borrow)]
    counts: Vec<(&'a str, u32)>,
}

type Notes = NoteCols<'static>;
type Bytes = &'static [u8];

fn write_note(note: &Note) -> Result<Vec<u8>, RecordError> {
    encode(&NoteV1 { topic: note.topic.as_deref(), text: &note.text, created_unix_ms: note.created_unix_ms })
}

pub(super) fn read_note(at: NoteCols<'_>, bytes: &[u8]) -> Result<Note, RecordError> {
    let (archon, channel, peer, number) = at;
    let record: NoteV1<'_> = decode(bytes)?;
    Ok(Note {
        id: NoteId(number),
        owner: PeerKey { archon: archon.parse()?, channel: channel.parse()?, peer: peer.parse()? },
        topic: record.topic.map(str::to_owned),
        text: record.text.to_owned(),
        created_unix_ms: record.created_unix_ms,
    })
}

pub(super) fn write_terms(terms: &Terms) -> Result<Vec<u8>, RecordError> {
    let counts = terms.counts.iter().map(|(term, count)| (term.as_str(), *count)).collect();
    encode(&TermsV1 { len: terms.len, counts })
}

/// The columns of a note of this owner.
fn at(owner: &PeerKey, number: u64) -> NoteCols<'_> {
    (owner.archon.as_str(), owner.channel.as_str(), owner.peer.as_str(), number)
}

/// Reads notes from a place on, as long as they are wanted.
fn collect(
    table: &impl ReadableTable<Notes, Bytes>,
    from: Bound<NoteCols<'_>>,
    wanted: impl Fn(&PeerKey) -> bool,
    limit: usize,
) -> Result<Vec<Note>, Fault> {
    let mut notes = Vec::new();
    if limit == 0 {
        return Ok(notes);
    }
    for row in table.range((from, Bound::Unbounded))? {
        let (at, record) = row?;
        let note = read_note(at.value(), record.value());
        let note = note.map_err(|e| Fault::record("note", at.value().3, &e))?;
        if !wanted(&note.owner) {
            break;
        }
        notes.push(note);
        if notes.len() == limit {
            break;
        }
    }
    Ok(notes)
}

pub(super) fn notes(
    txn: &ReadTransaction,
    of: &NotesOf,
    after: Option<&NotePlace>,
    limit: usize,
) -> Result<Vec<Note>, Fault> {
    let first = match of {
        NotesOf::House => ("", "", "", 0),
        NotesOf::Archon(archon) => (archon.as_str(), "", "", 0),
        NotesOf::Peer(peer) => at(peer, 0),
    };
    let from = match after.map(|after| at(&after.owner, after.id.0)) {
        Some(after) if after >= first => Bound::Excluded(after),
        _ => Bound::Included(first),
    };
    collect(&txn.open_table(tables::NOTES)?, from, |owner| of.covers(owner), limit)
}

pub(super) fn find(
    txn: &ReadTransaction,
    owner: &PeerKey,
    sought: &Sought,
    limit: usize,
) -> Result<Vec<Recalled>, Fault> {
    let query = Query::of(&sought.question);
    if query.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let mut search = Search::new(&query, sought);
    let notes = notes(txn, &NotesOf::Peer(owner.clone()), None, usize::MAX)?;
    notes.iter().for_each(|note| search.add_note(note));
    let (archon, channel, peer, _) = at(owner, 0);
    for row in txn.open_table(tables::TERMS)?.range((archon, channel, peer, "", 0)..)? {
        let (at, record) = row?;
        let (its_archon, its_channel, its_peer, thread, number) = at.value();
        if (its_archon, its_channel, its_peer) != (archon, channel, peer) {
            break;
        }
        let unreadable = |e: RecordError| Fault::record("terms", format!("{owner}/{thread}/{number}"), &e);
        let thread_id = ThreadId::new(thread).map_err(|e| unreadable(e.into()))?;
        let terms: TermsV1<'_> = decode(record.value()).map_err(unreadable)?;
        search.add_turn(Place::Turn { thread: thread_id, number }, terms.len, terms.counts);
    }
    if let Some(meant) = &sought.meant {
        meanings::show(txn, owner, &meant.maker, &mut search)?;
    }
    let mut found = Vec::new();
    for place in search.best(limit) {
        match place {
            Place::Note(id) => {
                found.extend(notes.iter().find(|note| note.id == id).cloned().map(Recalled::Note));
            }
            Place::Turn { thread, number } => found.push(turn(txn, owner, thread, number)?),
        }
    }
    Ok(found)
}

fn turn(txn: &ReadTransaction, owner: &PeerKey, thread: ThreadId, number: u64) -> Result<Recalled, Fault> {
    let PeerKey { archon, channel, peer } = owner.clone();
    let session = SessionKey { archon, channel, peer, thread };
    let (archon, channel, peer, thread) = cols(&session);
    let record = txn.open_table(tables::TURNS)?.get((archon, channel, peer, thread, number))?;
    let record = record.ok_or_else(|| Fault::dangling("terms of turn", number))?;
    let turn = records::read_turn(number, record.value());
    let turn = turn.map_err(|e| Fault::record("turn", format!("{session}/{number}"), &e))?;
    let (user, answer, ended_unix_ms) = (turn.user, turn.answer, turn.ended_unix_ms);
    Ok(Recalled::Turn { session, number, user, answer, ended_unix_ms })
}

/// Counts the notes, and looks whether each turn has its terms and all of it can be read.
pub(super) fn check(txn: &ReadTransaction) -> Result<u64, Fault> {
    let notes = notes(txn, &NotesOf::House, None, usize::MAX)?;
    let (turns, terms) = (txn.open_table(tables::TURNS)?, txn.open_table(tables::TERMS)?);
    for row in terms.iter()? {
        let (at, record) = row?;
        if turns.get(at.value())?.is_none() {
            return Err(Fault::dangling("terms of turn", at.value().4));
        }
        let terms: Result<TermsV1<'_>, _> = decode(record.value());
        terms.map_err(|e| Fault::record("terms", format!("{:?}", at.value()), &e))?;
    }
    if turns.len()? != terms.len()? {
        let detail = format!("{} turns have {} rows of terms", turns.len()?, terms.len()?);
        return Err(Fault::Unreadable { detail });
    }
    meanings::check(txn)?;
    Ok(notes.len() as u64)
}

impl Writer<'_> {
    pub(super) fn keep_note(&mut self, new: &NewNote) -> Result<Kept, Fault> {
        let own = collect(
            &self.notes,
            Bound::Included(at(&new.owner, 0)),
            |owner| *owner == new.owner,
            usize::MAX,
        )?;
        let len = own.len();
        if let Some(known) = own.into_iter().find(|note| note.text == new.text) {
            return Ok(Kept::Known(known));
        }
        if len >= NOTES_MAX {
            return Ok(Kept::Full);
        }
        let note = Note {
            id: NoteId(self.last_note + 1),
            owner: new.owner.clone(),
            topic: new.topic.clone(),
            text: new.text.clone(),
            created_unix_ms: new.created_unix_ms,
        };
        let record = write_note(&note).map_err(|e| Fault::record("note", note.id, &e))?;

        self.changed = true;
        self.last_note = note.id.0;
        self.notes.insert(at(&note.owner, note.id.0), record.as_slice())?;
        self.await_note_vector(&note.owner, note.id)?;
        Ok(Kept::Fresh(note))
    }

    pub(super) fn forget_note(&mut self, owner: &PeerKey, note: NoteId) -> Result<(), Fault> {
        if self.notes.remove(at(owner, note.0))?.is_none() {
            return Err(Fault::not_found("note", note));
        }
        self.changed = true;
        self.forget_note_vector(owner, note)
    }

    /// Makes the terms of all turns anew, for a store of an older layout.
    pub(super) fn find_all_terms(&mut self) -> Result<(), Fault> {
        self.terms.retain(|_, _| false)?;
        for row in self.turns.iter()? {
            let (at, record) = row?;
            let unreadable = |e: RecordError| Fault::record("turn", format!("{:?}", at.value()), &e);
            let turn = records::read_turn(at.value().4, record.value()).map_err(unreadable)?;
            let terms = write_terms(&turn_terms(&turn.user, &turn.answer)).map_err(unreadable)?;
            self.terms.insert(at.value(), terms.as_slice())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by version 1 must stay readable: these bytes are never to be changed.
    #[test]
    fn notes_and_terms_are_read_as_they_were_written() {
        let owner: PeerKey = "ezra/cli/uid0".parse().unwrap();
        for (topic, bytes) in
            [(Some("pets"), &b"\x01\x01\x04pets\x03Rex\x09"[..]), (None, &b"\x01\x00\x03Rex\x09"[..])]
        {
            let note = Note {
                id: NoteId(300),
                owner: owner.clone(),
                topic: topic.map(str::to_owned),
                text: "Rex".into(),
                created_unix_ms: 9,
            };
            assert_eq!(write_note(&note).unwrap(), bytes);
            assert_eq!(read_note(("ezra", "cli", "uid0", 300), bytes).unwrap(), note);
        }
        let bytes = b"\x01\x03\x02\x01a\x02\x03dog\x01";
        assert_eq!(write_terms(&Terms::of(&["a dog", "a"])).unwrap(), bytes);
        let read: TermsV1<'_> = decode(bytes.as_slice()).unwrap();
        assert_eq!((read.len, read.counts), (3, vec![("a", 2), ("dog", 1)]));
    }
}

//! Vectors: their records, which texts have none, and what becomes of both when texts come and go. As `records` says of all.
//!
//! A text waits in a table of its own from the transaction that wrote it until its vector is kept, so a crash loses no place in the work. A
//! vector names its maker by number; when another maker is used, the vectors are dropped and their texts wait again.
use std::ops::RangeInclusive;

use archond_actors::domain::{
    Indexed, Maker, NoteId, PeerKey, Place, Remembered, SessionKey, ThreadId, Unindexed, Vector,
};
use archond_actors::recall::{Search, note_text, turn_text};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::records::{self, RecordError, decode, encode};
use super::remembered;
use super::tables::{self, SessionNumberCols};
use super::writes::{Writer, numbered};

#[derive(Serialize, Deserialize)]
struct MakerV1<'a> {
    model: &'a str,
    version: &'a str,
}

#[derive(Serialize, Deserialize)]
struct VectorV1<'a> {
    maker: u64,
    step: f32,
    #[serde(borrow)]
    numbers: &'a [u8],
}

fn write_maker(maker: &Maker) -> Result<Vec<u8>, RecordError> {
    encode(&MakerV1 { model: maker.model.as_str(), version: &maker.version })
}

fn read_maker(bytes: &[u8]) -> Result<Maker, RecordError> {
    let record: MakerV1<'_> = decode(bytes)?;
    Ok(Maker { model: record.model.parse()?, version: record.version.to_owned() })
}

fn write_vector(maker: u64, vector: &Vector) -> Result<Vec<u8>, RecordError> {
    encode(&VectorV1 { maker, step: vector.step(), numbers: vector.numbers() })
}

/// The present maker with its number; 0 while there never was one.
fn present(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<(u64, Option<Maker>), Fault> {
    let Some((number, record)) = table.last()? else { return Ok((0, None)) };
    let maker = read_maker(record.value()).map_err(|e| Fault::record("maker", number.value(), &e))?;
    Ok((number.value(), Some(maker)))
}

/// The columns of a text.
fn cols<'a>(owner: &'a PeerKey, place: &'a Place) -> SessionNumberCols<'a> {
    let (thread, number) = match place {
        Place::Turn { thread, number } => (thread.as_str(), *number),
        Place::Note(note) => ("", note.0),
    };
    (owner.archon.as_str(), owner.channel.as_str(), owner.peer.as_str(), thread, number)
}

fn place(thread: &str, number: u64) -> Result<Place, RecordError> {
    Ok(match thread {
        "" => Place::Note(NoteId(number)),
        thread => Place::Turn { thread: ThreadId::new(thread)?, number },
    })
}

/// The columns of a note's row among vectors.
fn of_note(owner: &PeerKey, note: NoteId) -> SessionNumberCols<'_> {
    (owner.archon.as_str(), owner.channel.as_str(), owner.peer.as_str(), "", note.0)
}

/// Shows the vectors of one peer, those of this maker.
pub(super) fn show(
    txn: &ReadTransaction,
    owner: &PeerKey,
    maker: &Maker,
    search: &mut Search<'_>,
) -> Result<(), Fault> {
    let (number, present) = present(&txn.open_table(tables::MAKER)?)?;
    if present.as_ref() != Some(maker) {
        return Ok(());
    }
    let first = of_note(owner, NoteId(0));
    for row in txn.open_table(tables::VECTORS)?.range(first..)? {
        let (at, record) = row?;
        let (archon, channel, peer, thread, at_number) = at.value();
        if (archon, channel, peer) != (first.0, first.1, first.2) {
            break;
        }
        let unreadable =
            |e: RecordError| Fault::record("vector", format!("{owner}/{thread}/{at_number}"), &e);
        let vector: VectorV1<'_> = decode(record.value()).map_err(unreadable)?;
        if vector.maker == number {
            search.add_vector(place(thread, at_number).map_err(unreadable)?, vector.step, vector.numbers);
        }
    }
    Ok(())
}

pub(super) fn indexed(txn: &ReadTransaction) -> Result<Indexed, Fault> {
    Ok(Indexed {
        maker: present(&txn.open_table(tables::MAKER)?)?.1,
        with: txn.open_table(tables::VECTORS)?.len()?,
        without: txn.open_table(tables::WITHOUT_VECTOR)?.len()?,
    })
}

pub(super) fn unindexed(txn: &ReadTransaction, limit: usize) -> Result<Vec<Unindexed>, Fault> {
    let (turns, notes) = (txn.open_table(tables::TURNS)?, txn.open_table(tables::NOTES)?);
    let mut waiting = Vec::new();
    for row in txn.open_table(tables::WITHOUT_VECTOR)?.iter()?.take(limit) {
        let (at, stamp) = row?;
        let (archon, channel, peer, thread, number) = at.value();
        let unreadable = |e: RecordError| Fault::record("text", format!("{:?}", at.value()), &e);
        let read = || -> Result<_, RecordError> {
            let owner = PeerKey { archon: archon.parse()?, channel: channel.parse()?, peer: peer.parse()? };
            Ok((owner, place(thread, number)?))
        };
        let (owner, place) = read().map_err(unreadable)?;
        let gone = || Fault::dangling("text without vector", number);
        let text = match &place {
            Place::Note(_) => {
                let at = (archon, channel, peer, number);
                let record = notes.get(at)?.ok_or_else(gone)?;
                note_text(&remembered::read_note(at, record.value()).map_err(unreadable)?)
            }
            Place::Turn { .. } => {
                let record = turns.get(at.value())?.ok_or_else(gone)?;
                let turn = records::read_turn(number, record.value()).map_err(unreadable)?;
                turn_text(&turn.user, &turn.answer)
            }
        };
        waiting.push(Unindexed { of: Remembered { owner, place, stamp: stamp.value() }, text });
    }
    Ok(waiting)
}

/// Looks whether each turn and note has a vector or waits for one, and all of it can be read.
pub(super) fn check(txn: &ReadTransaction) -> Result<(), Fault> {
    let (turns, notes) = (txn.open_table(tables::TURNS)?, txn.open_table(tables::NOTES)?);
    let (vectors, without) = (txn.open_table(tables::VECTORS)?, txn.open_table(tables::WITHOUT_VECTOR)?);
    let (number, _) = present(&txn.open_table(tables::MAKER)?)?;
    let is_there = |at: SessionNumberCols<'_>| -> Result<bool, Fault> {
        let (archon, channel, peer, thread, number) = at;
        Ok(match thread {
            "" => notes.get((archon, channel, peer, number))?.is_some(),
            _ => turns.get(at)?.is_some(),
        })
    };
    for row in vectors.iter()? {
        let (at, record) = row?;
        let vector: Result<VectorV1<'_>, _> = decode(record.value());
        let vector = vector.map_err(|e| Fault::record("vector", format!("{:?}", at.value()), &e))?;
        if vector.maker != number || !is_there(at.value())? {
            return Err(Fault::dangling("vector", at.value().4));
        }
    }
    for row in without.iter()? {
        let (at, _) = row?;
        if !is_there(at.value())? || vectors.get(at.value())?.is_some() {
            return Err(Fault::dangling("text without vector", at.value().4));
        }
    }
    let (texts, rows) = (turns.len()? + notes.len()?, vectors.len()? + without.len()?);
    if texts != rows {
        return Err(Fault::Unreadable {
            detail: format!("{texts} notes and turns have {rows} rows of vectors"),
        });
    }
    Ok(())
}

/// The rows that lie beside the turns of a session, from a number on.
fn turns_from(session: &SessionKey, from: u64) -> RangeInclusive<SessionNumberCols<'_>> {
    numbered(session, from)..=numbered(session, u64::MAX)
}

/// What lies beside a turn.
pub(super) enum Beside {
    /// Its vector, as a record.
    Vector(Vec<u8>),
    /// It waits for one; its stamp.
    Waits(u64),
}

impl Writer<'_> {
    /// A turn has a text that has no vector yet.
    pub(super) fn await_vector(
        &mut self,
        session: &SessionKey,
        number: u64,
        stamp: u64,
    ) -> Result<(), Fault> {
        self.vectors.remove(numbered(session, number))?;
        self.without_vector.insert(numbered(session, number), stamp)?;
        Ok(())
    }

    pub(super) fn await_note_vector(&mut self, owner: &PeerKey, note: NoteId) -> Result<(), Fault> {
        self.without_vector.insert(of_note(owner, note), 0)?;
        Ok(())
    }

    pub(super) fn forget_note_vector(&mut self, owner: &PeerKey, note: NoteId) -> Result<(), Fault> {
        self.vectors.remove(of_note(owner, note))?;
        self.without_vector.remove(of_note(owner, note))?;
        Ok(())
    }

    pub(super) fn forget_vectors(&mut self, session: &SessionKey, from: u64) -> Result<(), Fault> {
        self.vectors.retain_in(turns_from(session, from), |_, _| false)?;
        self.without_vector.retain_in(turns_from(session, from), |_, _| false)?;
        Ok(())
    }

    pub(super) fn beside(&self, session: &SessionKey) -> Result<Vec<(u64, Beside)>, Fault> {
        let mut beside = Vec::new();
        for row in self.vectors.range(turns_from(session, 0))? {
            let (at, record) = row?;
            beside.push((at.value().4, Beside::Vector(record.value().to_vec())));
        }
        for row in self.without_vector.range(turns_from(session, 0))? {
            let (at, stamp) = row?;
            beside.push((at.value().4, Beside::Waits(stamp.value())));
        }
        Ok(beside)
    }

    pub(super) fn set_beside(
        &mut self,
        session: &SessionKey,
        beside: Vec<(u64, Beside)>,
    ) -> Result<(), Fault> {
        self.forget_vectors(session, 0)?;
        for (number, row) in beside {
            let at = numbered(session, number);
            match row {
                Beside::Vector(record) => drop(self.vectors.insert(at, record.as_slice())?),
                Beside::Waits(stamp) => drop(self.without_vector.insert(at, stamp)?),
            }
        }
        Ok(())
    }

    pub(super) fn use_maker(&mut self, maker: &Maker) -> Result<(), Fault> {
        let (number, known) = present(&self.maker)?;
        if known.as_ref() == Some(maker) {
            return Ok(());
        }
        let record = write_maker(maker).map_err(|e| Fault::record("maker", &maker.model, &e))?;
        let mut dropped = Vec::new();
        for row in self.vectors.iter()? {
            let (at, _) = row?;
            let (archon, channel, peer, thread, number) = at.value();
            let stamp = match thread {
                "" => 0,
                _ => self.stamp((archon, channel, peer, thread, number))?,
            };
            dropped.push(([archon, channel, peer, thread].map(str::to_owned), number, stamp));
        }

        self.changed = true;
        self.maker.remove(number)?;
        self.maker.insert(number + 1, record.as_slice())?;
        self.vectors.retain(|_, _| false)?;
        for ([archon, channel, peer, thread], number, stamp) in &dropped {
            let at = (archon.as_str(), channel.as_str(), peer.as_str(), thread.as_str(), *number);
            self.without_vector.insert(at, stamp)?;
        }
        Ok(())
    }

    fn stamp(&self, at: SessionNumberCols<'_>) -> Result<u64, Fault> {
        let record = self.turns.get(at)?.ok_or_else(|| Fault::dangling("vector", at.4))?;
        let turn = records::read_turn(at.4, record.value());
        Ok(turn.map_err(|e| Fault::record("turn", format!("{at:?}"), &e))?.inbox.0)
    }

    pub(super) fn keep_vector(
        &mut self,
        maker: &Maker,
        of: &Remembered,
        vector: &Vector,
    ) -> Result<(), Fault> {
        let (number, present) = present(&self.maker)?;
        let at = cols(&of.owner, &of.place);
        let waits = self.without_vector.get(at)?.is_some_and(|stamp| stamp.value() == of.stamp);
        if !waits || present.as_ref() != Some(maker) {
            return Ok(());
        }
        let record = write_vector(number, vector).map_err(|e| Fault::record("vector", at.4, &e))?;

        self.changed = true;
        self.without_vector.remove(at)?;
        self.vectors.insert(at, record.as_slice())?;
        Ok(())
    }

    /// All texts wait for their vectors, in a store of a layout without any.
    pub(super) fn await_all_vectors(&mut self) -> Result<(), Fault> {
        self.vectors.retain(|_, _| false)?;
        self.without_vector.retain(|_, _| false)?;
        for row in self.turns.iter()? {
            let (at, record) = row?;
            let turn = records::read_turn(at.value().4, record.value());
            let turn = turn.map_err(|e| Fault::record("turn", format!("{:?}", at.value()), &e))?;
            self.without_vector.insert(at.value(), turn.inbox.0)?;
        }
        for row in self.notes.iter()? {
            let (at, _) = row?;
            let (archon, channel, peer, number) = at.value();
            self.without_vector.insert((archon, channel, peer, "", number), 0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by version 1 must stay readable: these bytes are never to be changed.
    #[test]
    fn vectors_and_their_makers_are_read_as_they_were_written() {
        let maker = Maker { model: "m".parse().unwrap(), version: "v2".into() };
        let bytes = b"\x01\x01m\x02v2";
        assert_eq!(write_maker(&maker).unwrap(), bytes);
        assert_eq!(read_maker(bytes).unwrap(), maker);
        let bytes = b"\x01\xac\x02\x00\x00\x00\x3f\x03\x7f\x00\x81";
        assert_eq!(write_vector(300, &Vector::from_parts(0.5, vec![127, 0, 129])).unwrap(), bytes);
        let read: VectorV1<'_> = decode(bytes.as_slice()).unwrap();
        assert_eq!((read.maker, read.step, read.numbers), (300, 0.5, &[127, 0, 129][..]));
    }
}

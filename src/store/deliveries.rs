//! The part of the store that is about roads: how far deliveries are, which were given up, and how far channels have received; and the
//! records of what goes along with a message.
use std::ops::Bound;

use archond_actors::domain::{
    ArchonId, Brought, ChannelId, Cursor, Enclosure, EnclosureKind, InboxId, MediaId, OutboxEntry, OutboxId,
    Receipt, ReplyTo, Undeliverable, Waybill,
};
use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::access::TierV1;
use super::fault::Fault;
use super::reads::outbox_entry;
use super::records::{RecordError, decode, encode};
use super::tables;
use super::writes::Writer;

#[derive(Serialize, Deserialize)]
pub(super) struct WaybillV1<'a> {
    reply_to: &'a str,
    written_unix_ms: Option<u64>,
    #[serde(borrow)]
    enclosures: Vec<EnclosureV1<'a>>,
    tier: Option<TierV1>,
}

#[derive(Serialize, Deserialize)]
struct EnclosureV1<'a> {
    sha256: [u8; 32],
    kind: KindV1,
    bytes: u64,
    name: &'a str,
}

#[derive(Serialize, Deserialize)]
enum KindV1 {
    Picture,
    Recording,
    File,
}

/// Something that came with the message of a turn, and why it is shown no more.
#[derive(Serialize, Deserialize)]
pub(super) struct BroughtV1<'a> {
    #[serde(borrow)]
    enclosure: EnclosureV1<'a>,
    fault: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct GivenUpV1<'a> {
    reason: &'a str,
    since_unix_ms: u64,
}

impl<'a> EnclosureV1<'a> {
    fn of(enclosure: &'a Enclosure) -> Self {
        Self {
            sha256: *enclosure.id.bytes(),
            kind: match enclosure.kind {
                EnclosureKind::Picture => KindV1::Picture,
                EnclosureKind::Recording => KindV1::Recording,
                EnclosureKind::File => KindV1::File,
            },
            bytes: enclosure.bytes,
            name: &enclosure.name,
        }
    }

    fn into_enclosure(self) -> Enclosure {
        Enclosure {
            id: MediaId::new(self.sha256),
            kind: match self.kind {
                KindV1::Picture => EnclosureKind::Picture,
                KindV1::Recording => EnclosureKind::Recording,
                KindV1::File => EnclosureKind::File,
            },
            bytes: self.bytes,
            name: self.name.to_owned(),
        }
    }
}

impl<'a> BroughtV1<'a> {
    pub(super) fn of(brought: &'a Brought) -> Self {
        Self { enclosure: EnclosureV1::of(&brought.enclosure), fault: brought.fault.as_deref() }
    }

    pub(super) fn into_brought(self) -> Brought {
        Brought { enclosure: self.enclosure.into_enclosure(), fault: self.fault.map(str::to_owned) }
    }
}

impl<'a> WaybillV1<'a> {
    pub(super) fn of(waybill: &'a Waybill) -> Self {
        Self {
            reply_to: waybill.reply_to.as_str(),
            written_unix_ms: waybill.written_unix_ms,
            enclosures: waybill.enclosures.iter().map(EnclosureV1::of).collect(),
            tier: waybill.tier.map(TierV1::of),
        }
    }

    pub(super) fn into_waybill(self) -> Result<Waybill, RecordError> {
        Ok(Waybill {
            reply_to: ReplyTo::new(self.reply_to)?,
            written_unix_ms: self.written_unix_ms,
            enclosures: self.enclosures.into_iter().map(EnclosureV1::into_enclosure).collect(),
            tier: self.tier.map(TierV1::tier),
        })
    }
}

pub(super) fn write_given_up(reason: &str, since_unix_ms: u64) -> Result<Vec<u8>, RecordError> {
    encode(&GivenUpV1 { reason, since_unix_ms })
}

pub(super) fn read_given_up(entry: OutboxEntry, bytes: &[u8]) -> Result<Undeliverable, RecordError> {
    let GivenUpV1 { reason, since_unix_ms } = decode(bytes)?;
    Ok(Undeliverable { entry, reason: reason.to_owned(), since_unix_ms })
}

impl Writer<'_> {
    /// Keeps how far the delivery of a message's answer is.
    pub(super) fn keep_receipt(&mut self, inbox: InboxId, receipt: &Receipt) -> Result<(), Fault> {
        let unknown = || Fault::not_found("undelivered message", inbox);
        if self.inbox.get(inbox.0)?.is_none() {
            return Err(unknown());
        }
        if let Some(outbox) = self.answer.get(inbox.0)?.map(|id| id.value()) {
            let session = outbox_entry(&self.outbox, outbox)?.session;
            if self.undelivered.get((session.channel.as_str(), outbox))?.is_none() {
                return Err(unknown());
            }
        }
        self.changed = true;
        self.receipts.insert(inbox.0, receipt.as_str())?;
        Ok(())
    }

    /// An answer is undelivered no more, though nobody has it.
    pub(super) fn give_up(&mut self, outbox: OutboxId, reason: &str, now_unix_ms: u64) -> Result<(), Fault> {
        let record =
            write_given_up(reason, now_unix_ms).map_err(|e| Fault::record("given up", outbox, &e))?;
        if self.outbox.get(outbox.0)?.is_none() {
            return Err(Fault::not_found("answer", outbox));
        }
        let entry = outbox_entry(&self.outbox, outbox.0)?;
        if self.owe_no_more(&entry)? {
            self.given_up.insert(outbox.0, record.as_slice())?;
        }
        Ok(())
    }

    /// An answer that was given up is undelivered again.
    pub(super) fn deliver_again(&mut self, outbox: OutboxId) -> Result<(), Fault> {
        if self.given_up.get(outbox.0)?.is_none() {
            return Err(Fault::not_found("answer that was given up", outbox));
        }
        let session = outbox_entry(&self.outbox, outbox.0)?.session;
        let (archon, channel, peer) =
            (session.archon.as_str(), session.channel.as_str(), session.peer.as_str());
        self.changed = true;
        self.given_up.remove(outbox.0)?;
        self.undelivered.insert((channel, outbox.0), ())?;
        self.undelivered_to.insert((channel, archon, peer, outbox.0), ())?;
        Ok(())
    }

    /// Takes an answer off the list of those that are owed. Answers whether it stood there.
    pub(super) fn owe_no_more(&mut self, entry: &OutboxEntry) -> Result<bool, Fault> {
        let session = &entry.session;
        let (archon, channel, peer) =
            (session.archon.as_str(), session.channel.as_str(), session.peer.as_str());
        let owed = self.undelivered.remove((channel, entry.id.0))?.is_some();
        if owed {
            self.changed = true;
            self.undelivered_to.remove((channel, archon, peer, entry.id.0))?;
        }
        Ok(owed)
    }

    /// A channel has received up to here.
    pub(super) fn move_cursor(
        &mut self,
        archon: &ArchonId,
        channel: &ChannelId,
        cursor: &Cursor,
    ) -> Result<(), Fault> {
        self.changed = true;
        self.cursors.insert((archon.as_str(), channel.as_str()), (&*cursor.place, cursor.moved_unix_ms))?;
        Ok(())
    }
}

pub(super) fn undeliverable(
    txn: &ReadTransaction,
    channel: Option<&ChannelId>,
    after: Option<OutboxId>,
    limit: usize,
) -> Result<Vec<Undeliverable>, Fault> {
    let (given_up, outbox) = (txn.open_table(tables::GIVEN_UP)?, txn.open_table(tables::OUTBOX)?);
    let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0));
    let mut found = Vec::new();
    for row in given_up.range((from, Bound::Unbounded))? {
        if found.len() >= limit {
            break;
        }
        let (id, record) = row?;
        let entry = outbox_entry(&outbox, id.value())?;
        if channel.is_some_and(|channel| entry.session.channel != *channel) {
            continue;
        }
        let read = read_given_up(entry, record.value());
        found.push(read.map_err(|e| Fault::record("given up", id.value(), &e))?);
    }
    Ok(found)
}

pub(super) fn receipt(txn: &ReadTransaction, inbox: InboxId) -> Result<Option<Receipt>, Fault> {
    let kept = txn.open_table(tables::RECEIPTS)?.get(inbox.0)?;
    let receipt = kept.map(|text| Receipt::new(text.value()));
    receipt.transpose().map_err(|e| Fault::record("receipt", inbox, &e.into()))
}

pub(super) fn cursor(
    txn: &ReadTransaction,
    archon: &ArchonId,
    channel: &ChannelId,
) -> Result<Option<Cursor>, Fault> {
    let kept = txn.open_table(tables::CURSORS)?.get((archon.as_str(), channel.as_str()))?;
    Ok(kept.map(|row| {
        let (place, moved_unix_ms) = row.value();
        Cursor { place: place.into(), moved_unix_ms }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::{read_inbox, write_inbox};
    use archond_actors::domain::{AnswerKind, InboxEntry, Tier};

    /// Files written by version 2 must stay readable: these bytes are never to be changed.
    #[test]
    fn version_2_of_messages_is_read_as_it_was_written() {
        let picture = Enclosure {
            id: MediaId::new([7; 32]),
            kind: EnclosureKind::Recording,
            bytes: 300,
            name: "a".into(),
        };
        let waybill = Waybill {
            reply_to: ReplyTo::new("c:1").unwrap(),
            written_unix_ms: Some(5),
            enclosures: vec![picture],
            tier: Some(Tier::Owner),
        };
        let session = "ezra/cli/uid0/main";
        let entry = InboxEntry {
            id: InboxId(7),
            session: session.parse().unwrap(),
            key: "k".into(),
            text: "hi".into(),
            received_unix_ms: 9,
            attempts: 2,
            waybill,
        };
        let mut bytes = b"\x02\x04ezra\x03cli\x04uid0\x04main\x01k\x02hi\x09\x02\x03c:1\x01\x05\x01".to_vec();
        bytes.extend([7; 32]);
        bytes.extend(b"\x01\xac\x02\x01a\x01\x01");
        assert_eq!(write_inbox(&entry).unwrap(), bytes);
        assert_eq!(read_inbox(InboxId(7), &bytes).unwrap(), entry);

        let answer = OutboxEntry {
            id: OutboxId(8),
            answers: InboxId(7),
            key: "k".into(),
            session: session.parse().unwrap(),
            kind: AnswerKind::Failure,
            text: "ho".into(),
            attachments: Vec::new(),
            created_unix_ms: 9,
            reply_to: ReplyTo::default(),
        };
        let lost = Undeliverable { entry: answer, reason: "no".into(), since_unix_ms: 3 };
        let bytes = b"\x01\x02no\x03";
        assert_eq!(write_given_up("no", 3).unwrap(), bytes);
        assert_eq!(read_given_up(lost.entry.clone(), bytes).unwrap(), lost);
    }
}

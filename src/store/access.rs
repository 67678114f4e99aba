//! The part of the store that says who is known on a channel, and which strangers have a code.
use archond_actors::domain::{
    Approved, CodeHash, Knock, LinkChange, OPEN_CODES_MAX, Offered, Paired, PeerKey, Tier, WRONG_CODES_MAX,
    is_recent,
};
use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::records::{RecordError, decode, encode};
use super::tables;
use super::writes::Writer;

#[derive(Serialize, Deserialize)]
struct PairedV1 {
    tier: TierV1,
    since_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum TierV1 {
    User,
    Owner,
}

impl TierV1 {
    pub(super) fn of(tier: Tier) -> Self {
        match tier {
            Tier::User => Self::User,
            Tier::Owner => Self::Owner,
        }
    }

    pub(super) fn tier(self) -> Tier {
        match self {
            Self::User => Tier::User,
            Self::Owner => Tier::Owner,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct KnockV1 {
    code: [u8; 32],
    since_unix_ms: u64,
    void: bool,
}

pub(super) type Cols<'a> = (&'a str, &'a str, &'a str);

pub(super) fn cols(with: &PeerKey) -> Cols<'_> {
    (with.archon.as_str(), with.channel.as_str(), with.peer.as_str())
}

pub(super) fn peer_key((archon, channel, peer): Cols<'_>) -> Result<PeerKey, RecordError> {
    Ok(PeerKey { archon: archon.parse()?, channel: channel.parse()?, peer: peer.parse()? })
}

fn write_paired(tier: Tier, since_unix_ms: u64) -> Result<Vec<u8>, RecordError> {
    encode(&PairedV1 { tier: TierV1::of(tier), since_unix_ms })
}

fn read_paired(with: PeerKey, bytes: &[u8]) -> Result<Paired, RecordError> {
    let PairedV1 { tier, since_unix_ms } = decode(bytes)?;
    Ok(Paired { with, tier: tier.tier(), since_unix_ms })
}

pub(super) fn fault(at: Cols<'_>) -> impl Fn(RecordError) -> Fault {
    let name = format!("{}/{}/{}", at.0, at.1, at.2);
    move |error| Fault::record("access", &name, &error)
}

impl Writer<'_> {
    /// Gives a stranger a code, unless he has one, or too many have.
    pub(super) fn offer_code(&mut self, with: &PeerKey, code: CodeHash, now: u64) -> Result<Offered, Fault> {
        let knocks = self.all_knocks()?;
        let (recent, old): (Vec<_>, Vec<_>) =
            knocks.into_iter().partition(|(_, knock)| is_recent(knock.since_unix_ms, now));
        if recent.iter().any(|(known, _)| known == with) {
            return Ok(Offered::TooSoon);
        }
        if recent.len() >= OPEN_CODES_MAX {
            return Ok(Offered::TooMany);
        }
        self.changed = true;
        for (gone, _) in old {
            self.knocks.remove(cols(&gone))?;
        }
        self.keep_knock(with, &KnockV1 { code: code.0, since_unix_ms: now, void: false })?;
        Ok(Offered::Fresh)
    }

    /// Makes the stranger known who has this code.
    pub(super) fn approve_code(&mut self, code: CodeHash, tier: Tier, now: u64) -> Result<Approved, Fault> {
        let knocks = self.all_knocks()?;
        let holds =
            |knock: &KnockV1| knock.code == code.0 && !knock.void && is_recent(knock.since_unix_ms, now);
        let wrong = self.meta.get(tables::META_WRONG_CODES)?.map_or(0, |wrong| wrong.value());
        self.changed = true;
        let Some((with, _)) = knocks.iter().find(|(_, knock)| holds(knock)) else {
            if wrong + 1 < WRONG_CODES_MAX {
                self.meta.insert(tables::META_WRONG_CODES, wrong + 1)?;
                return Ok(Approved::Wrong { left: WRONG_CODES_MAX - wrong - 1 });
            }
            self.meta.insert(tables::META_WRONG_CODES, 0)?;
            for (with, knock) in knocks {
                self.keep_knock(&with, &KnockV1 { void: true, ..knock })?;
            }
            return Ok(Approved::Locked);
        };
        let record = write_paired(tier, now).map_err(fault(cols(with)))?;
        self.meta.insert(tables::META_WRONG_CODES, 0)?;
        self.knocks.remove(cols(with))?;
        self.paired.insert(cols(with), record.as_slice())?;
        Ok(Approved::Paired(Paired { with: with.clone(), tier, since_unix_ms: now }))
    }

    /// Somebody is a stranger again, here and wherever he was linked.
    pub(super) fn unpair(&mut self, with: &PeerKey) -> Result<(), Fault> {
        if self.paired.remove(cols(with))?.is_none() {
            return Err(Fault::not_found("paired peer", with));
        }
        self.changed = true;
        self.link(with, LinkChange::Part, 0).map(drop)
    }

    fn keep_knock(&mut self, with: &PeerKey, knock: &KnockV1) -> Result<(), Fault> {
        let record = encode(knock).map_err(fault(cols(with)))?;
        self.knocks.insert(cols(with), record.as_slice())?;
        Ok(())
    }

    fn all_knocks(&self) -> Result<Vec<(PeerKey, KnockV1)>, Fault> {
        rows(&self.knocks)
    }
}

fn rows(
    knocks: &impl ReadableTable<(&'static str, &'static str, &'static str), &'static [u8]>,
) -> Result<Vec<(PeerKey, KnockV1)>, Fault> {
    let mut found = Vec::new();
    for row in knocks.iter()? {
        let (at, record) = row?;
        let with = peer_key(at.value()).map_err(fault(at.value()))?;
        found.push((with, decode(record.value()).map_err(fault(at.value()))?));
    }
    Ok(found)
}

pub(super) fn paired(txn: &ReadTransaction, with: &PeerKey) -> Result<Option<Paired>, Fault> {
    let record = txn.open_table(tables::PAIRED)?.get(cols(with))?;
    let read = record.map(|record| read_paired(with.clone(), record.value()));
    read.transpose().map_err(fault(cols(with)))
}

pub(super) fn pairings(txn: &ReadTransaction) -> Result<Vec<Paired>, Fault> {
    let mut found = Vec::new();
    for row in txn.open_table(tables::PAIRED)?.iter()? {
        let (at, record) = row?;
        let with = peer_key(at.value()).map_err(fault(at.value()))?;
        found.push(read_paired(with, record.value()).map_err(fault(at.value()))?);
    }
    Ok(found)
}

pub(super) fn knocks(txn: &ReadTransaction) -> Result<Vec<Knock>, Fault> {
    let open = rows(&txn.open_table(tables::KNOCKS)?)?.into_iter().filter(|(_, knock)| !knock.void);
    Ok(open.map(|(with, knock)| Knock { with, since_unix_ms: knock.since_unix_ms }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by version 1 must stay readable: these bytes are never to be changed.
    #[test]
    fn version_1_of_a_paired_peer_is_read_as_it_was_written() {
        let with: PeerKey = "ezra/telegram/7".parse().unwrap();
        let bytes = b"\x01\x01\x09";
        assert_eq!(write_paired(Tier::Owner, 9).unwrap(), bytes);
        let paired = Paired { with: with.clone(), tier: Tier::Owner, since_unix_ms: 9 };
        assert_eq!(read_paired(with, bytes).unwrap(), paired);
        let knock = KnockV1 { code: [7; 32], since_unix_ms: 9, void: true };
        let mut bytes = vec![1];
        bytes.extend([7; 32]);
        bytes.extend([9, 1]);
        assert_eq!(encode(&knock).unwrap(), bytes);
        assert!(decode::<KnockV1>(&bytes).unwrap().void);
    }
}

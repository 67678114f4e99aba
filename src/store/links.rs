//! The part of the store that says which peers are one person, and the codes for that. What follows from what is decided in
//! [`archond_actors::linking`].
use archond_actors::domain::{CodeHash, LinkAnswer, LinkChange, PeerKey};
use archond_actors::linking::{self, LinkCode, LinkState, LinkStates, Tally};
use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::access::{cols, fault, peer_key};
use super::fault::Fault;
use super::records::{RecordError, decode, encode};
use super::tables;
use super::writes::Writer;

#[derive(Serialize, Deserialize)]
struct LinkV1 {
    person: Option<u64>,
    code: Option<CodeV1>,
    offers: (u64, u64),
    wrong: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct CodeV1 {
    hash: [u8; 32],
    since_unix_ms: u64,
    used: bool,
}

fn write_link(state: &LinkState) -> Result<Vec<u8>, RecordError> {
    let code = state.code.as_ref();
    encode(&LinkV1 {
        person: state.person,
        code: code.map(|code| CodeV1 {
            hash: code.hash.0,
            since_unix_ms: code.since_unix_ms,
            used: code.used,
        }),
        offers: (state.offers.count, state.offers.since_unix_ms),
        wrong: (state.wrong.count, state.wrong.since_unix_ms),
    })
}

fn read_link(bytes: &[u8]) -> Result<LinkState, RecordError> {
    let LinkV1 { person, code, offers, wrong } = decode(bytes)?;
    let tally = |(count, since_unix_ms)| Tally { count, since_unix_ms };
    let code = code.map(|CodeV1 { hash, since_unix_ms, used }| LinkCode {
        hash: CodeHash(hash),
        since_unix_ms,
        used,
    });
    Ok(LinkState { person, code, offers: tally(offers), wrong: tally(wrong) })
}

/// All of them: few people write from several places.
pub(super) fn states(
    links: &impl ReadableTable<(&'static str, &'static str, &'static str), &'static [u8]>,
) -> Result<LinkStates, Fault> {
    let mut states = LinkStates::new();
    for row in links.iter()? {
        let (at, record) = row?;
        let with = peer_key(at.value()).map_err(fault(at.value()))?;
        states.insert(with, read_link(record.value()).map_err(fault(at.value()))?);
    }
    Ok(states)
}

impl Writer<'_> {
    /// Changes who is linked with whom.
    pub(super) fn link(&mut self, with: &PeerKey, change: LinkChange, now: u64) -> Result<LinkAnswer, Fault> {
        let before = states(&self.links)?;
        let mut after = before.clone();
        let answer = linking::apply(&mut after, with, change, now);
        for (peer, state) in &after {
            if before.get(peer) != Some(state) {
                let record = write_link(state).map_err(fault(cols(peer)))?;
                self.changed = true;
                self.links.insert(cols(peer), record.as_slice())?;
            }
        }
        Ok(answer)
    }
}

pub(super) fn linked(txn: &ReadTransaction, with: &PeerKey) -> Result<Vec<PeerKey>, Fault> {
    Ok(linking::linked(&states(&txn.open_table(tables::LINKS)?)?, with))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by version 1 must stay readable: these bytes are never to be changed.
    #[test]
    fn version_1_of_a_link_is_read_as_it_was_written() {
        let code = LinkCode { hash: CodeHash([7; 32]), since_unix_ms: 9, used: true };
        let (offers, wrong) = (Tally { count: 1, since_unix_ms: 2 }, Tally { count: 3, since_unix_ms: 4 });
        let state = LinkState { person: Some(5), code: Some(code), offers, wrong };
        let mut bytes = vec![1, 1, 5, 1];
        bytes.extend([7; 32]);
        bytes.extend([9, 1, 1, 2, 3, 4]);
        assert_eq!(write_link(&state).unwrap(), bytes);
        assert_eq!(read_link(&bytes).unwrap(), state);
        assert_eq!(write_link(&LinkState::default()).unwrap(), [1, 0, 0, 0, 0, 0, 0]);
    }
}

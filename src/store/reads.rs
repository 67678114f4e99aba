//! Questions to the store. Each runs in one read transaction, so that what it answers belongs together.
use std::ops::Bound;

use archond_actors::domain::{
    ArchonId, ChannelId, Grant, InboxEntry, InboxId, JournalEntry, MessageKey, OutboxEntry, OutboxId, PeerId,
    PeerKey, SessionHead, SessionKey, SessionSnapshot, ThreadId, TurnRecord,
};
use redb::{ReadTransaction, ReadableTable};

use super::answer_records;
use super::fault::Fault;
use super::records::{self, cols, session_key};
use super::tables;
use super::tool_records;
use super::writes::journal_of;

pub(super) fn pending(
    txn: &ReadTransaction,
    archon: &ArchonId,
    after: Option<InboxId>,
    limit: usize,
) -> Result<Vec<InboxEntry>, Fault> {
    let pending = txn.open_table(tables::PENDING)?;
    let inbox = txn.open_table(tables::INBOX)?;
    let from = match after {
        Some(id) => Bound::Excluded((archon.as_str(), id.0)),
        None => Bound::Included((archon.as_str(), 0)),
    };
    let mut entries = Vec::new();
    for row in pending.range((from, Bound::Included((archon.as_str(), u64::MAX))))?.take(limit) {
        let id = InboxId(row?.0.value().1);
        let record = inbox.get(id.0)?.ok_or_else(|| Fault::dangling("pending", id.0))?;
        entries.push(records::read_inbox(id, record.value()).map_err(|e| Fault::record("inbox", id.0, &e))?);
    }
    Ok(entries)
}

pub(super) fn pending_len(txn: &ReadTransaction, archon: &ArchonId) -> Result<u64, Fault> {
    let len = txn.open_table(tables::PENDING_LEN)?.get(archon.as_str())?;
    Ok(len.map_or(0, |len| len.value()))
}

pub(super) fn session(txn: &ReadTransaction, key: &SessionKey) -> Result<Option<SessionSnapshot>, Fault> {
    let sessions = txn.open_table(tables::SESSIONS)?;
    let Some(record) = sessions.get(cols(key))? else { return Ok(None) };
    let head =
        records::read_head(key.clone(), record.value()).map_err(|e| Fault::record("session", key, &e))?;
    let covered = head.summary.as_ref().map_or(0, |summary| summary.turns);
    let turns = turns(txn, key, covered, usize::MAX)?;
    Ok(Some(SessionSnapshot { head, turns }))
}

pub(super) fn turns(
    txn: &ReadTransaction,
    key: &SessionKey,
    from: u64,
    limit: usize,
) -> Result<Vec<TurnRecord>, Fault> {
    let (archon, channel, peer, thread) = cols(key);
    let range = (archon, channel, peer, thread, from)..=(archon, channel, peer, thread, u64::MAX);
    let mut turns = Vec::new();
    for row in txn.open_table(tables::TURNS)?.range(range)?.take(limit) {
        let (at, record) = row?;
        let number = at.value().4;
        let turn = records::read_turn(number, record.value());
        turns.push(turn.map_err(|e| Fault::record("turn", format!("{key}/{number}"), &e))?);
    }
    Ok(turns)
}

pub(super) fn sessions(
    txn: &ReadTransaction,
    archon: Option<&ArchonId>,
    after: Option<&SessionKey>,
    limit: usize,
) -> Result<Vec<SessionHead>, Fault> {
    let first = (archon.map_or("", ArchonId::as_str), "", "", "");
    let from = match after.map(cols) {
        Some(after) if after >= first => Bound::Excluded(after),
        _ => Bound::Included(first),
    };
    let mut heads = Vec::new();
    for row in txn.open_table(tables::SESSIONS)?.range((from, Bound::Unbounded))? {
        let (at, record) = row?;
        if heads.len() == limit || archon.is_some_and(|archon| at.value().0 != archon.as_str()) {
            break;
        }
        let key =
            session_key(at.value()).map_err(|e| Fault::record("session", format!("{:?}", at.value()), &e))?;
        let head = records::read_head(key.clone(), record.value());
        heads.push(head.map_err(|e| Fault::record("session", key, &e))?);
    }
    Ok(heads)
}

pub(super) fn sessions_with(txn: &ReadTransaction, with: &PeerKey) -> Result<Vec<SessionHead>, Fault> {
    let (archon, channel, peer) = (with.archon.as_str(), with.channel.as_str(), with.peer.as_str());
    let mut heads = Vec::new();
    for row in txn.open_table(tables::SESSIONS)?.range((archon, channel, peer, "")..)? {
        let (at, record) = row?;
        let key =
            session_key(at.value()).map_err(|e| Fault::record("session", format!("{:?}", at.value()), &e))?;
        if key.peer_key() != *with {
            break;
        }
        let head = records::read_head(key.clone(), record.value());
        heads.push(head.map_err(|e| Fault::record("session", key, &e))?);
    }
    Ok(heads)
}

pub(super) fn grants(txn: &ReadTransaction, with: &PeerKey) -> Result<Vec<Grant>, Fault> {
    let (archon, channel, peer) = (with.archon.as_str(), with.channel.as_str(), with.peer.as_str());
    let mut grants = Vec::new();
    for row in txn.open_table(tables::GRANTS)?.range((archon, channel, peer, &[][..])..)? {
        let (at, _) = row?;
        let (of, by, to, record) = at.value();
        if (of, by, to) != (archon, channel, peer) {
            break;
        }
        grants
            .push(records::read_grant(record).map_err(|e| Fault::record("grant", format!("{with:?}"), &e))?);
    }
    grants.sort();
    Ok(grants)
}

pub(super) fn undelivered(
    txn: &ReadTransaction,
    channel: &ChannelId,
    peer: Option<(&ArchonId, &PeerId)>,
    after: Option<OutboxId>,
    limit: usize,
) -> Result<Vec<OutboxEntry>, Fault> {
    let channel = channel.as_str();
    let from = after.map_or(0, |id| id.0.saturating_add(1));
    let mut ids = Vec::new();
    if let Some((archon, peer)) = peer {
        let (archon, peer) = (archon.as_str(), peer.as_str());
        let range = (channel, archon, peer, from)..=(channel, archon, peer, u64::MAX);
        for row in txn.open_table(tables::UNDELIVERED_TO)?.range(range)?.take(limit) {
            ids.push(row?.0.value().3);
        }
    } else {
        let range = (channel, from)..=(channel, u64::MAX);
        for row in txn.open_table(tables::UNDELIVERED)?.range(range)?.take(limit) {
            ids.push(row?.0.value().1);
        }
    }
    let outbox = txn.open_table(tables::OUTBOX)?;
    ids.into_iter().map(|id| outbox_entry(&outbox, id)).collect()
}

pub(super) fn is_accepted(txn: &ReadTransaction, message: &MessageKey) -> Result<bool, Fault> {
    Ok(txn.open_table(tables::SEEN)?.get((message.channel.as_str(), message.key.as_str()))?.is_some())
}

pub(super) fn answer_to(txn: &ReadTransaction, inbox: InboxId) -> Result<Option<OutboxEntry>, Fault> {
    let Some(id) = txn.open_table(tables::ANSWER)?.get(inbox.0)?.map(|id| id.value()) else {
        return Ok(None);
    };
    outbox_entry(&txn.open_table(tables::OUTBOX)?, id).map(Some)
}

pub(super) fn journal(txn: &ReadTransaction, inbox: InboxId) -> Result<Vec<JournalEntry>, Fault> {
    let mut entries = Vec::new();
    for row in txn.open_table(tables::JOURNAL)?.range(journal_of(inbox.0))? {
        let (at, record) = row?;
        let entry = tool_records::read_journal(record.value());
        entries.push(entry.map_err(|e| Fault::record("journal", format!("{inbox}/{}", at.value().1), &e))?);
    }
    Ok(entries)
}

pub(super) fn journals_len(txn: &ReadTransaction) -> Result<u64, Fault> {
    let journal = txn.open_table(tables::JOURNAL)?;
    let (mut len, mut after) = (0, Bound::Unbounded);
    // From one journal to the next, past their entries.
    while let Some(row) = journal.range((after, Bound::Unbounded))?.next() {
        len += 1;
        after = Bound::Excluded((row?.0.value().0, u64::MAX));
    }
    Ok(len)
}

pub(super) fn current_thread(
    txn: &ReadTransaction,
    archon: &ArchonId,
    channel: &ChannelId,
    peer: &PeerId,
) -> Result<ThreadId, Fault> {
    thread_of(&txn.open_table(tables::THREADS)?, (archon.as_str(), channel.as_str(), peer.as_str()))
}

/// The current thread of a peer, in whichever kind of transaction.
pub(super) fn thread_of(
    threads: &impl ReadableTable<(&'static str, &'static str, &'static str), &'static str>,
    of: (&str, &str, &str),
) -> Result<ThreadId, Fault> {
    match threads.get(of)? {
        Some(thread) => {
            ThreadId::new(thread.value()).map_err(|e| Fault::record("thread", format!("{of:?}"), &e.into()))
        }
        None => Ok(ThreadId::main()),
    }
}

/// An answer, in whichever kind of transaction.
pub(super) fn outbox_entry(
    outbox: &impl ReadableTable<u64, &'static [u8]>,
    id: u64,
) -> Result<OutboxEntry, Fault> {
    let record = outbox.get(id)?.ok_or_else(|| Fault::dangling("answer", id))?;
    answer_records::read_outbox(OutboxId(id), record.value()).map_err(|e| Fault::record("outbox", id, &e))
}

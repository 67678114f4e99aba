//! What is kept where. Keys are plain columns in the order of the domain's own types; values are versioned records.
//!
//! A message is pending while it stands in [`PENDING`], an answer is undelivered while it stands in [`UNDELIVERED`]:
//! no record repeats that, so the two cannot disagree.
use redb::TableDefinition;

/// The layout that this program writes. A store with a greater number was written by a newer archond; one with a smaller
/// number is brought to this layout when it is opened.
///
/// 1: without [`JOURNAL`]. 2: with it; and turns may be of version 2, which archonds of layout 1 cannot read. 3: with [`GRANTS`], [`NOTES`] and
/// [`TERMS`], which an archond of layout 2 would not keep in step with the turns; and sessions may be of version 2. 4: with [`VECTORS`],
/// [`WITHOUT_VECTOR`] and [`MAKER`], which an archond of layout 3 would not keep in step either. 5: with [`GIVEN_UP`], [`RECEIPTS`], [`CURSORS`],
/// [`PAIRED`] and [`KNOCKS`], the first of which an archond of layout 4 would not clear; and messages may be of version 2. 6: sessions may be of
/// version 4, turns of version 3, and a journal may say what was heard meanwhile. 7: with [`LINKS`]. 8: turns may be of version 4. When `archond_actors::recall` takes texts apart in another way, that is a new layout too: [`TERMS`] are made anew from the turns of every older one.
pub(super) const SCHEMA: u64 = 8;

/// Archon, channel, peer, thread.
pub(super) type SessionCols<'a> = (&'a str, &'a str, &'a str, &'a str);
/// Archon, channel, peer, thread, number.
pub(super) type SessionNumberCols<'a> = (&'a str, &'a str, &'a str, &'a str, u64);

/// Archon, channel, peer, number.
pub(super) type NoteCols<'a> = (&'a str, &'a str, &'a str, u64);

/// [`META_SCHEMA`], [`META_INBOX`], [`META_OUTBOX`], [`META_NOTE`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The layout of the other tables.
pub(super) const META_SCHEMA: &str = "schema";
/// The last inbox number that was given away; never given again, whatever is removed.
pub(super) const META_INBOX: &str = "last inbox";
/// The last outbox number that was given away.
pub(super) const META_OUTBOX: &str = "last outbox";
/// The last note's number that was given away; never given again.
pub(super) const META_NOTE: &str = "last note";
/// Wrong pairing codes since the last right one.
pub(super) const META_WRONG_CODES: &str = "wrong codes";

/// Inbox number: the message.
pub(super) const INBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("inbox");
/// Channel and the platform's id: the inbox number that it got.
pub(super) const SEEN: TableDefinition<(&str, &str), u64> = TableDefinition::new("seen");
/// Inbox number: channel, the platform's id, time of receipt. Says which keys are old enough to be forgotten.
pub(super) const SEEN_ORDER: TableDefinition<u64, (&str, &str, u64)> = TableDefinition::new("seen order");
/// Archon and inbox number of each message without an answer.
pub(super) const PENDING: TableDefinition<(&str, u64), ()> = TableDefinition::new("pending");
/// Archon: how many messages have no answer; asked before each message is let in, so it is not counted then.
pub(super) const PENDING_LEN: TableDefinition<&str, u64> = TableDefinition::new("pending len");
/// Inbox number and number within the journal, from 0: an entry. Only messages without an answer have any.
pub(super) const JOURNAL: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("journal");
/// Outbox number: the answer.
pub(super) const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
/// Channel and outbox number of each answer that was not delivered.
pub(super) const UNDELIVERED: TableDefinition<(&str, u64), ()> = TableDefinition::new("undelivered");
/// The same by channel, Archon, peer and outbox number.
pub(super) const UNDELIVERED_TO: TableDefinition<(&str, &str, &str, u64), ()> =
    TableDefinition::new("undelivered to");
/// Outbox number of each answer that no channel will ever deliver: why and since when. Such an answer is not undelivered.
pub(super) const GIVEN_UP: TableDefinition<u64, &[u8]> = TableDefinition::new("given up");
/// Inbox number: how far the delivery of its answer is. Only messages whose answer is not delivered have one.
pub(super) const RECEIPTS: TableDefinition<u64, &str> = TableDefinition::new("receipts");
/// Archon, channel, peer: what the owner said of somebody who was a stranger.
pub(super) const PAIRED: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("paired");
/// Archon, channel, peer: the code of a stranger.
pub(super) const KNOCKS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("knocks");
/// Archon, channel, peer: which person he is elsewhere, and his code for that.
pub(super) const LINKS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("links");
/// Archon and channel: up to where it has received, and since when.
pub(super) const CURSORS: TableDefinition<(&str, &str), (&str, u64)> = TableDefinition::new("cursors");
/// Inbox number: the outbox number of its answer.
pub(super) const ANSWER: TableDefinition<u64, u64> = TableDefinition::new("answer");
/// Session: its head.
pub(super) const SESSIONS: TableDefinition<SessionCols<'static>, &[u8]> = TableDefinition::new("sessions");
/// Session and turn number: the turn.
pub(super) const TURNS: TableDefinition<SessionNumberCols<'static>, &[u8]> = TableDefinition::new("turns");
/// Session and inbox number of each message that belongs to it, also of those that were written where the conversation was before.
pub(super) const MESSAGES: TableDefinition<SessionNumberCols<'static>, ()> = TableDefinition::new("messages");
/// Archon, channel, peer, and what was allowed for good, as a record.
pub(super) const GRANTS: TableDefinition<(&str, &str, &str, &[u8]), ()> = TableDefinition::new("grants");
/// Archon, channel, peer: the thread that is current.
pub(super) const THREADS: TableDefinition<(&str, &str, &str), &str> = TableDefinition::new("threads");
/// Archon, channel, peer and note's number: the note.
pub(super) const NOTES: TableDefinition<NoteCols<'static>, &[u8]> = TableDefinition::new("notes");
/// Session and turn number: what the turn is found by. Each row of [`TURNS`] has one, and nothing else has.
pub(super) const TERMS: TableDefinition<SessionNumberCols<'static>, &[u8]> = TableDefinition::new("terms");

/// Session and turn number, or, with no thread, a note's owner and number: the vector of a text, by the present [`MAKER`]. All of a peer's lie together.
pub(super) const VECTORS: TableDefinition<SessionNumberCols<'static>, &[u8]> =
    TableDefinition::new("vectors");
/// The same of a text that has no vector yet, with what tells it from others that stood there: the inbox number that a turn answers, 0 of a note.
/// Each turn and each note has a row here or in [`VECTORS`], and nothing else has.
pub(super) const WITHOUT_VECTOR: TableDefinition<SessionNumberCols<'static>, u64> =
    TableDefinition::new("without vector");
/// Number of a maker of vectors, the last one of which is the present one: who it is. A number is never given again.
pub(super) const MAKER: TableDefinition<u64, &[u8]> = TableDefinition::new("maker");

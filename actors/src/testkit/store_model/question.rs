//! Every question that a store can be asked, as data, and every reply.
use crate::domain::{
    ArchonId, ChannelId, Cursor, Grant, InboxEntry, InboxId, Indexed, JournalEntry, Knock, Note, NotePlace,
    NotesOf, OutboxEntry, OutboxId, Paired, PeerId, PeerKey, Recalled, Receipt, SessionHead, SessionKey,
    SessionSnapshot, ThreadId, TurnRecord, Undeliverable, Unindexed,
};
use crate::ports::{Store, StoreError};

/// A question.
#[derive(Debug, Clone)]
pub enum Question {
    /// [`Store::pending`].
    Pending {
        /// Whose.
        archon: ArchonId,
        /// After which.
        after: Option<InboxId>,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::pending_len`].
    PendingLen {
        /// Whose.
        archon: ArchonId,
    },
    /// [`Store::session`].
    Session {
        /// Which.
        key: SessionKey,
    },
    /// [`Store::turns`].
    Turns {
        /// Of which session.
        key: SessionKey,
        /// From which on.
        from: u64,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::sessions`].
    Sessions {
        /// Whose.
        archon: Option<ArchonId>,
        /// After which.
        after: Option<SessionKey>,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::sessions_with`].
    SessionsWith {
        /// With whom.
        with: PeerKey,
    },
    /// [`Store::grants`].
    Grants {
        /// To whom.
        with: PeerKey,
    },
    /// [`Store::undelivered`].
    Undelivered {
        /// By which road.
        channel: ChannelId,
        /// From whom, to whom.
        peer: Option<(ArchonId, PeerId)>,
        /// After which.
        after: Option<OutboxId>,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::undeliverable`].
    Undeliverable {
        /// By which road.
        channel: Option<ChannelId>,
        /// After which.
        after: Option<OutboxId>,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::receipt`].
    Receipt {
        /// Of the answer to which message.
        inbox: InboxId,
    },
    /// [`Store::linked`].
    Linked {
        /// Who.
        with: PeerKey,
    },
    /// [`Store::paired`].
    Paired {
        /// Who.
        with: PeerKey,
    },
    /// [`Store::pairings`].
    Pairings,
    /// [`Store::knocks`].
    Knocks,
    /// [`Store::cursor`].
    Cursor {
        /// Whose.
        archon: ArchonId,
        /// Of which channel.
        channel: ChannelId,
    },
    /// [`Store::answer_to`].
    AnswerTo {
        /// To which message.
        inbox: InboxId,
    },
    /// [`Store::journal`].
    Journal {
        /// Of which message's turn.
        inbox: InboxId,
    },
    /// [`Store::current_thread`].
    CurrentThread {
        /// With whom.
        archon: ArchonId,
        /// By which road.
        channel: ChannelId,
        /// Whose.
        peer: PeerId,
    },
    /// [`Store::notes`].
    Notes {
        /// Whose.
        of: NotesOf,
        /// After which.
        after: Option<NotePlace>,
        /// How many at most.
        limit: usize,
    },
    /// [`Store::recall`], of everything that fits, in no order.
    Recall {
        /// Whose.
        owner: PeerKey,
        /// What is looked for.
        question: String,
    },
    /// [`Store::unindexed`].
    Unindexed {
        /// How many at most.
        limit: usize,
    },
    /// [`Store::indexed`].
    Indexed,
}

/// What is replied.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Peers(Vec<PeerKey>),
    Inbox(Vec<InboxEntry>),
    Len(u64),
    Session(Option<SessionSnapshot>),
    Turns(Vec<TurnRecord>),
    Sessions(Vec<SessionHead>),
    Grants(Vec<Grant>),
    Outbox(Vec<OutboxEntry>),
    Undeliverable(Vec<Undeliverable>),
    Receipt(Option<Receipt>),
    Cursor(Option<Cursor>),
    Paired(Vec<Paired>),
    Knocks(Vec<Knock>),
    Journal(Vec<JournalEntry>),
    Thread(ThreadId),
    Notes(Vec<Note>),
    Recalled(Vec<Recalled>),
    Unindexed(Vec<Unindexed>),
    Indexed(Indexed),
}

impl Question {
    pub(super) fn put_to(&self, store: &dyn Store) -> Result<Reply, StoreError> {
        match self {
            Self::Pending { archon, after, limit } => store.pending(archon, *after, *limit).map(Reply::Inbox),
            Self::PendingLen { archon } => store.pending_len(archon).map(Reply::Len),
            Self::Session { key } => store.session(key).map(Reply::Session),
            Self::Turns { key, from, limit } => store.turns(key, *from, *limit).map(Reply::Turns),
            Self::Sessions { archon, after, limit } => {
                store.sessions(archon.as_ref(), after.as_ref(), *limit).map(Reply::Sessions)
            }
            Self::SessionsWith { with } => store.sessions_with(with).map(Reply::Sessions),
            Self::Grants { with } => store.grants(with).map(Reply::Grants),
            Self::Undelivered { channel, peer, after, limit } => {
                let peer = peer.as_ref().map(|(archon, peer)| (archon, peer));
                store.undelivered(channel, peer, *after, *limit).map(Reply::Outbox)
            }
            Self::Undeliverable { channel, after, limit } => {
                store.undeliverable(channel.as_ref(), *after, *limit).map(Reply::Undeliverable)
            }
            Self::Receipt { inbox } => store.receipt(*inbox).map(Reply::Receipt),
            Self::Paired { with } => {
                store.paired(with).map(|paired| Reply::Paired(paired.into_iter().collect()))
            }
            Self::Linked { with } => store.linked(with).map(Reply::Peers),
            Self::Pairings => store.pairings().map(Reply::Paired),
            Self::Knocks => store.knocks().map(Reply::Knocks),
            Self::Cursor { archon, channel } => store.cursor(archon, channel).map(Reply::Cursor),
            Self::AnswerTo { inbox } => {
                store.answer_to(*inbox).map(|answer| Reply::Outbox(answer.into_iter().collect()))
            }
            Self::Journal { inbox } => store.journal(*inbox).map(Reply::Journal),
            Self::CurrentThread { archon, channel, peer } => {
                store.current_thread(archon, channel, peer).map(Reply::Thread)
            }
            Self::Notes { of, after, limit } => store.notes(of, after.as_ref(), *limit).map(Reply::Notes),
            Self::Recall { owner, question } => {
                let mut found = store.recall(owner, question, usize::MAX)?;
                // Notes before turns, each in their order.
                found.sort_by_key(|recalled| match recalled {
                    Recalled::Note(note) => (None, note.id.0),
                    Recalled::Turn { session, number, .. } => (Some(session.clone()), *number),
                });
                Ok(Reply::Recalled(found))
            }
            Self::Unindexed { limit } => store.unindexed(*limit).map(Reply::Unindexed),
            Self::Indexed => store.indexed().map(Reply::Indexed),
        }
    }
}

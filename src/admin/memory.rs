//! What is asked and told of memory: the protocol's types, and how they are made.
use archond_actors::domain::{Note, NotePlace, PeerKey, Recalled};
use serde::{Deserialize, Serialize};

/// What can be asked about what Archons remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum MemoryOp {
    /// Notes in the order of their peers and numbers, at most 200 behind `after`. Answered by [`MemoryReply::Notes`].
    Notes {
        /// Of one Archon, or of all.
        archon: Option<String>,
        /// Of one of its peers, `channel/peer`, or of all.
        peer: Option<String>,
        /// Behind this one.
        after: Option<PlaceView>,
    },
    /// What one peer noted and said that answers a question best. Answered by [`MemoryReply::Found`].
    Search {
        /// Whose memory.
        archon: String,
        /// Of whom, `channel/peer`; of this user when absent.
        peer: Option<String>,
        /// What is looked for.
        question: String,
    },
    /// How much of the house's memory is found by its meaning. Answered by [`MemoryReply::Indexed`].
    Indexed,
    /// Forget a note. Answered by [`Reply::Done`](super::protocol::Reply::Done).
    Forget {
        /// Who keeps it.
        archon: String,
        /// Its number.
        note: u64,
    },
    /// Call `remember` or `recall` as this user's Archon would. Answered by [`MemoryReply::Called`].
    Call {
        /// Whose memory.
        archon: String,
        /// Which tool.
        tool: String,
        /// Its arguments, as JSON.
        arguments: String,
    },
}

/// What is told of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum MemoryReply {
    /// Notes.
    Notes(Vec<NoteView>),
    /// What was found, the best first.
    Found(Vec<RecalledView>),
    /// How much is found by its meaning.
    Indexed(IndexedView),
    /// What came of a call.
    Called {
        /// It did not do what was asked for.
        failed: bool,
        /// What it answered, or why it failed.
        text: String,
    },
}

/// How much of the house's memory is found by its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexedView {
    /// The model that computes it; none when absent.
    pub model: Option<String>,
    /// Notes and turns that were looked at.
    pub with: u64,
    /// Those that wait for it.
    pub without: u64,
}

/// Where a note stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlaceView {
    /// `archon/channel/peer`.
    pub owner: String,
    /// Its number.
    pub note: u64,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NoteView {
    /// Its number, unique in the house.
    pub note: u64,
    /// `archon/channel/peer`.
    pub owner: String,
    /// What it is about.
    pub topic: Option<String>,
    /// What is to be known.
    pub text: String,
    /// When it was kept, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

impl NoteView {
    /// Where it stands.
    pub fn place(&self) -> PlaceView {
        PlaceView { owner: self.owner.clone(), note: self.note }
    }
}

/// Something that was found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum RecalledView {
    /// A note.
    Note(NoteView),
    /// A turn. Of long texts the part that was found.
    Turn {
        /// `archon/channel/peer/thread`.
        session: String,
        /// The turn's number, from 0.
        number: u64,
        /// What the peer wrote.
        user: String,
        /// What the Archon answered.
        answer: String,
        /// When the turn ended, in milliseconds since the Unix epoch.
        ended_unix_ms: u64,
    },
}

impl From<&Note> for NoteView {
    fn from(note: &Note) -> Self {
        Self {
            note: note.id.0,
            owner: note.owner.to_string(),
            topic: note.topic.clone(),
            text: note.text.clone(),
            created_unix_ms: note.created_unix_ms,
        }
    }
}

impl PlaceView {
    /// The house's word for it.
    pub fn place(&self) -> Result<NotePlace, archond_actors::domain::IdError> {
        let owner: PeerKey = self.owner.parse()?;
        Ok(NotePlace { owner, id: archond_actors::domain::NoteId(self.note) })
    }
}

impl RecalledView {
    /// What was found, with its texts shown by `cut`.
    pub fn of(recalled: &Recalled, cut: impl Fn(&str) -> String) -> Self {
        match recalled {
            Recalled::Note(note) => Self::Note(note.into()),
            Recalled::Turn { session, number, user, answer, ended_unix_ms } => Self::Turn {
                session: session.to_string(),
                number: *number,
                user: cut(user),
                answer: cut(answer),
                ended_unix_ms: *ended_unix_ms,
            },
        }
    }
}

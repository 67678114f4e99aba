//! What is remembered of a peer: notes that were kept on purpose, and what is found again of them and of what was said.
use std::fmt;
use std::str::FromStr;

use super::ids::{ArchonId, ChannelId, IdError, NoteId, PeerId, SessionKey, ThreadId};

/// Longest note, in characters: a short paragraph. What is longer belongs into a file of the workspace.
pub const NOTE_CHARS_MAX: usize = 1000;
/// Longest topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 60;
/// Notes that an Archon keeps of one peer. More are refused, none is dropped.
pub const NOTES_MAX: usize = 200;

/// A peer as one Archon knows him by one channel. What is remembered belongs to such a pair, and is never shown to another.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    /// Who remembers.
    pub archon: ArchonId,
    /// By which road they know each other.
    pub channel: ChannelId,
    /// Whom.
    pub peer: PeerId,
}

impl PeerKey {
    /// A peer of this Archon, written `channel/peer`.
    pub fn of_archon(archon: ArchonId, text: &str) -> Result<Self, IdError> {
        let (channel, peer) = text.split_once('/').ok_or_else(|| IdError {
            text: text.chars().take(80).collect(),
            what: "peer",
            rule: "write channel/peer, like cli/uid1000",
        })?;
        Ok(Self { archon, channel: channel.parse()?, peer: peer.parse()? })
    }

    /// One of their sessions.
    pub fn session(&self, thread: ThreadId) -> SessionKey {
        let Self { archon, channel, peer } = self.clone();
        SessionKey { archon, channel, peer, thread }
    }

    /// Whether a session is one of theirs.
    pub fn holds(&self, session: &SessionKey) -> bool {
        session.archon == self.archon && session.channel == self.channel && session.peer == self.peer
    }
}

impl SessionKey {
    /// Whose conversation it is, whatever its thread.
    pub fn peer_key(&self) -> PeerKey {
        PeerKey { archon: self.archon.clone(), channel: self.channel.clone(), peer: self.peer.clone() }
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.archon, self.channel, self.peer)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PeerKey {
    type Err = IdError;

    /// Reads `archon/channel/peer`, as [`fmt::Display`] writes it.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (archon, peer) = text.split_once('/').unwrap_or((text, ""));
        Self::of_archon(archon.parse()?, peer)
    }
}

/// Why something cannot be a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It says nothing.
    #[error("a note needs a text")]
    Empty,
    /// It is too long.
    #[error(
        "a note has at most {NOTE_CHARS_MAX} characters, this one has {chars}; keep the gist, or several notes"
    )]
    TooLong {
        /// Its length.
        chars: usize,
    },
    /// Its topic is too long.
    #[error("a topic has at most {TOPIC_CHARS_MAX} characters; say it in a few words")]
    TopicTooLong,
}

/// A note that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// Who keeps it, of whom.
    pub owner: PeerKey,
    /// What it is about, in a few words.
    pub topic: Option<String>,
    /// What is to be known.
    pub text: String,
    /// When, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

impl NewNote {
    /// Checks the lengths. Space around the texts is left out, so that the same words are the same note.
    pub fn new(
        owner: PeerKey,
        topic: Option<&str>,
        text: &str,
        created_unix_ms: u64,
    ) -> Result<Self, NoteError> {
        let (topic, text) = (topic.map(str::trim).filter(|topic| !topic.is_empty()), text.trim());
        let chars = text.chars().count();
        if chars == 0 {
            return Err(NoteError::Empty);
        }
        if chars > NOTE_CHARS_MAX {
            return Err(NoteError::TooLong { chars });
        }
        if topic.is_some_and(|topic| topic.chars().count() > TOPIC_CHARS_MAX) {
            return Err(NoteError::TopicTooLong);
        }
        Ok(Self { owner, topic: topic.map(str::to_owned), text: text.to_owned(), created_unix_ms })
    }
}

/// A note as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number, unique in the house and never given again.
    pub id: NoteId,
    /// Who keeps it, of whom.
    pub owner: PeerKey,
    /// What it is about.
    pub topic: Option<String>,
    /// What is to be known.
    pub text: String,
    /// When it was kept, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

impl Note {
    /// Where it stands among all notes: those of one peer stand together, oldest first.
    pub fn place(&self) -> NotePlace {
        NotePlace { owner: self.owner.clone(), id: self.id }
    }
}

/// Where a note stands among all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotePlace {
    /// Who keeps it, of whom.
    pub owner: PeerKey,
    /// Its number.
    pub id: NoteId,
}

/// Whose notes are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotesOf {
    /// All.
    House,
    /// Those that one Archon keeps.
    Archon(ArchonId),
    /// Those of one peer.
    Peer(PeerKey),
}

impl NotesOf {
    /// Whether a note of this owner is meant.
    pub fn covers(&self, owner: &PeerKey) -> bool {
        match self {
            Self::House => true,
            Self::Archon(archon) => owner.archon == *archon,
            Self::Peer(peer) => owner == peer,
        }
    }
}

/// What became of a note that was to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Fresh(Note),
    /// It was there before, word for word; nothing was written.
    Known(Note),
    /// There are [`NOTES_MAX`] of this peer. Nothing was written.
    Full,
}

/// Something that was found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// A note.
    Note(Note),
    /// A turn of an earlier conversation, or of this one.
    Turn {
        /// The conversation.
        session: SessionKey,
        /// The turn's number in it, from 0.
        number: u64,
        /// What the peer wrote.
        user: String,
        /// What the Archon answered.
        answer: String,
        /// When the turn ended, in milliseconds since the Unix epoch.
        ended_unix_ms: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> PeerKey {
        "ezra/cli/uid0".parse().unwrap()
    }

    #[test]
    fn a_note_has_bounds_and_no_space_around_it() {
        let new = |topic, text: &str| NewNote::new(owner(), topic, text, 7);
        let note = new(Some("  pets "), "\n the dog is Rex \n").unwrap();
        assert_eq!((note.topic.as_deref(), note.text.as_str()), (Some("pets"), "the dog is Rex"));
        assert_eq!(new(Some("  "), "x").unwrap().topic, None);
        assert_eq!(new(None, " \n"), Err(NoteError::Empty));
        assert!(new(None, &"ä".repeat(NOTE_CHARS_MAX)).is_ok());
        assert_eq!(new(None, &"ä".repeat(NOTE_CHARS_MAX + 1)), Err(NoteError::TooLong { chars: 1001 }));
        assert_eq!(new(Some(&"t".repeat(TOPIC_CHARS_MAX + 1)), "x"), Err(NoteError::TopicTooLong));
    }

    #[test]
    fn a_peer_key_reads_what_it_writes_and_holds_its_own_sessions() {
        assert_eq!(owner().to_string(), "ezra/cli/uid0");
        for bad in ["ezra", "ezra/cli", "ezra/cli/uid0/main", "Ezra/cli/uid0"] {
            assert!(bad.parse::<PeerKey>().is_err(), "{bad}");
        }
        let holds = |session: &str| owner().holds(&session.parse().unwrap());
        assert!(holds("ezra/cli/uid0/main") && holds("ezra/cli/uid0/s7"));
        for other in ["ezra/cli/uid1/main", "ezra/telegram/uid0/main", "electra/cli/uid0/main"] {
            assert!(!holds(other), "{other}");
        }
    }
}

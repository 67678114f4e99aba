//! What is asked and told of the calls that wait for the owner's yes: the protocol's types, and how they are made.
use archond_actors::domain::{AskedCall, SessionKey};
use archond_actors::session::Decision;
use serde::{Deserialize, Serialize};

/// What can be asked about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ApprovalOp {
    /// Which wait. Answered by [`ApprovalReply::Asked`].
    Asked {
        /// The Archon whose questions are shown to a person as they come: whoever says so asks again within ten seconds.
        watched: Option<String>,
    },
    /// Decide about one. Answered by [`ApprovalReply::Decided`].
    Decide {
        /// Its name, as the list shows it.
        call: String,
        /// What the owner says.
        word: OwnersWord,
    },
}

/// What the owner says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnersWord {
    /// Yes, this time.
    Once,
    /// Yes, and to its like for the rest of the session.
    Session,
    /// Yes, and to its like for good.
    Always,
    /// No.
    Deny,
}

/// What is told of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ApprovalReply {
    /// Those that wait.
    Asked(Vec<AskedView>),
    /// It is decided: what it was.
    Decided {
        /// Exactly what is done, or not.
        shown: String,
    },
}

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AskedView {
    /// Its name, which is never given twice.
    pub call: String,
    /// In whose turn: `archon/channel/peer/thread`.
    pub session: String,
    /// Exactly what will be done.
    pub shown: String,
    /// It is wanted in the turn of somebody who may not say yes himself.
    pub of_user: bool,
}

impl From<(SessionKey, AskedCall)> for AskedView {
    fn from((session, asked): (SessionKey, AskedCall)) -> Self {
        Self { call: asked.call, session: session.to_string(), shown: asked.shown, of_user: asked.of_user }
    }
}

impl From<OwnersWord> for Decision {
    fn from(word: OwnersWord) -> Self {
        match word {
            OwnersWord::Once => Self::Once,
            OwnersWord::Session => Self::Session,
            OwnersWord::Always => Self::Always,
            OwnersWord::Deny => Self::Denied,
        }
    }
}

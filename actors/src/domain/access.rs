//! Who may write to an Archon on a channel, and how a stranger becomes somebody it knows.
use super::ids::{IdError, PeerId};
use super::memory::PeerKey;

/// How long a pairing code holds, in milliseconds. A peer gets one in this time at most.
pub const CODE_LIFE_MS: u64 = 60 * 60 * 1000;
/// Codes that may wait for the owner at once, in the whole house: more strangers than that are a flood.
pub const OPEN_CODES_MAX: usize = 32;
/// Wrong codes in a row after which all that wait are void.
pub const WRONG_CODES_MAX: u64 = 5;

/// Who may write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// Those that are listed, and strangers once the owner has said yes to their code.
    #[default]
    Pairing,
    /// Those that are listed.
    Allowlist,
    /// Everybody.
    Open,
    /// Nobody.
    Disabled,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Talk with the Archon.
    User,
    /// Also say yes to its calls.
    Owner,
}

impl Tier {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Owner => "owner",
        }
    }
}

/// A group in which the Archon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAccess {
    /// The platform's number for it.
    pub id: PeerId,
    /// Every member may write there, whoever he is; otherwise those that may write anyway.
    pub everyone: bool,
}

/// Who may write on one channel. People and groups are named by the platform's numbers for them: names can be taken by others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Whether strangers may, and how.
    pub mode: AccessMode,
    /// Those who may say yes to calls.
    pub owners: Vec<PeerId>,
    /// Those who may write.
    pub users: Vec<PeerId>,
    /// Where it listens beside private chats.
    pub groups: Vec<GroupAccess>,
}

/// The SHA-256 of a pairing code. The code itself is kept nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeHash(pub [u8; 32]);

/// What became of offering a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It holds from now on.
    Fresh,
    /// This peer had one within [`CODE_LIFE_MS`]. Nothing was written.
    TooSoon,
    /// There are [`OPEN_CODES_MAX`] already. Nothing was written.
    TooMany,
}

/// What became of a code that the owner said yes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approved {
    /// The peer is known from now on.
    Paired(Paired),
    /// No such code waits; so many wrong ones are left.
    Wrong {
        /// Until all codes are void.
        left: u64,
    },
    /// It was one wrong code too many: all codes are void.
    Locked,
}

/// Somebody who was a stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paired {
    /// Who, to whom, on which channel.
    pub with: PeerKey,
    /// What he may do.
    pub tier: Tier,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

/// A stranger who has a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// Who, to whom, on which channel.
    pub with: PeerKey,
    /// When he got it, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

/// What somebody does about being the same person in another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkChange {
    /// He gets a code, to say there.
    Offer(CodeHash),
    /// He says the one that he got there.
    Join(CodeHash),
    /// He is nobody else any more.
    Part,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAnswer {
    /// Of a code.
    Offered(Offered),
    /// Of saying one.
    Joined(Linked),
    /// Of parting: whether he was linked.
    Parted(bool),
}

/// What became of a code that somebody said in another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// He is the same person as these others.
    Joined(Vec<PeerKey>),
    /// He got the code himself: it is to be said elsewhere.
    Itself,
    /// There is no such code; so many wrong ones are left.
    Wrong {
        /// Until he is not listened to for an hour.
        left: u64,
    },
    /// It was one wrong code too many: for an hour none of his counts.
    Locked,
    /// The person has as many places as one may have. Nothing was written.
    Full,
}

/// Whether a code that was given then still counts: for an hour, whichever way the clock was set meanwhile.
pub fn is_recent(since_unix_ms: u64, now_unix_ms: u64) -> bool {
    now_unix_ms.abs_diff(since_unix_ms) < CODE_LIFE_MS
}

impl AccessPolicy {
    /// What the profile itself says of somebody.
    pub fn listed(&self, peer: &PeerId) -> Option<Tier> {
        if self.owners.contains(peer) {
            return Some(Tier::Owner);
        }
        self.users.contains(peer).then_some(Tier::User)
    }
}

/// Checks a platform's number: whoever is named by a name could be somebody else tomorrow.
pub fn is_platform_id(text: &str) -> Result<(), IdError> {
    let is_id = !text.starts_with('@') && PeerId::new(text).is_ok();
    is_id.then_some(()).ok_or_else(|| IdError {
        text: text.chars().take(80).collect(),
        what: "id of a person or group",
        rule: "use the platform's number for him, not a name that others can take",
    })
}

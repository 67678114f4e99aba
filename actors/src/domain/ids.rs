//! Identities. Each is checked when it is made, so that the rest of the code need not check again.
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a valid identity. The message names the rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct IdError {
    /// The refused text, cut to 80 characters.
    pub text: String,
    /// Which identity was asked for.
    pub what: &'static str,
    /// The rule, in words that say what to write instead.
    pub rule: &'static str,
}

/// Longest peer identity, in bytes: a Nostr public key in hex is 64, a bech32 one 63.
const PEER_LEN_MAX: usize = 128;
const NAME_RULE: &str = "use 1 to 32 characters a-z, 0-9 and -, starting with a letter";
const MODEL_RULE: &str = "use 1 to 64 characters a-z, 0-9, `.`, `_` and -";
const THREAD_RULE: &str = "use 1 to 64 characters A-Z, a-z, 0-9, `.`, `_` and -";
const PEER_RULE: &str = "use 1 to 128 bytes without `/`, spaces and control characters";

fn is_name(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_model(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && !text.starts_with('.')
}

fn is_thread(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_peer(text: &str) -> bool {
    (1..=PEER_LEN_MAX).contains(&text.len())
        && !text.chars().any(|c| c == '/' || c.is_control() || c.is_whitespace())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes the identity; the error names the rule.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if $check(text) {
                    return Ok(Self(text.into()));
                }
                Err(IdError { text: text.chars().take(80).collect(), what: $what, rule: $rule })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A running agent's name, the same as its profile's file name: `ezra`.
    ArchonId, "Archon name", is_name, NAME_RULE
);
text_id!(
    /// A model of the catalogue: `gemma-4-e4b`.
    ModelId, "model name", is_model, MODEL_RULE
);
text_id!(
    /// A road by which messages come and go: `cli`, `telegram`.
    ChannelId, "channel name", is_name, NAME_RULE
);
text_id!(
    /// Who writes, as the channel knows him: `uid1000`, a Telegram user number, a Nostr public key.
    PeerId, "peer", is_peer, PEER_RULE
);
text_id!(
    /// Tells the conversations of one peer on one channel apart: `main`, a forum topic's number.
    ThreadId, "session name", is_thread, THREAD_RULE
);

impl ThreadId {
    /// The thread of a peer who never asked for another one.
    pub fn main() -> Self {
        Self("main".into())
    }
}

/// One conversation: never shared between Archons, channels or peers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// Whom the peer talks with.
    pub archon: ArchonId,
    /// By which road.
    pub channel: ChannelId,
    /// Who talks.
    pub peer: PeerId,
    /// Which of his conversations.
    pub thread: ThreadId,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.archon, self.channel, self.peer, self.thread)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for SessionKey {
    type Err = IdError;

    /// Reads `archon/channel/peer/thread`, as [`fmt::Display`] writes it.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [archon, channel, peer, thread] = parts.as_slice() else {
            return Err(IdError {
                text: text.chars().take(80).collect(),
                what: "session",
                rule: "write archon/channel/peer/thread, as `archond session list` shows it",
            });
        };
        Ok(Self {
            archon: archon.parse()?,
            channel: channel.parse()?,
            peer: peer.parse()?,
            thread: thread.parse()?,
        })
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// Place of a message in the inbox. Later messages have greater numbers.
    InboxId
);
number_id!(
    /// Place of an answer in the outbox. Later answers have greater numbers.
    OutboxId
);
number_id!(
    /// A note. Later notes have greater numbers.
    NoteId
);
number_id!(
    /// One answer being generated. Unique while the daemon runs.
    GenerationId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["ezra", "a", "my-agent-2"] {
            assert!(ArchonId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Ezra", "2x", "a/b", "a b", "ä", &"x".repeat(33)] {
            assert!(ArchonId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "..", ".x", "a/b", "A"] {
            assert!(ModelId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "a b", "a/b", "a\n"] {
            assert!(PeerId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_key_reads_what_it_writes() {
        let key: SessionKey = "ezra/cli/uid0/main".parse().unwrap();
        assert_eq!(key.to_string(), "ezra/cli/uid0/main");
        assert!("ezra/cli/uid0".parse::<SessionKey>().is_err());
        assert!("ezra/cli/uid0/main/more".parse::<SessionKey>().is_err());
    }
}

//! What is asked and told of the roads to platforms: the protocol's types, and how they are made.
use archond_actors::domain::{ActorState, ChannelStatus, Undeliverable};
use serde::{Deserialize, Serialize};

/// What is shown of an answer, in characters.
const TEXT_CHARS: usize = 120;

/// What can be asked about channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ChannelOp {
    /// Answers that were given up, at most 200 behind `after`. Answered by [`ChannelReply::GivenUp`].
    GivenUp {
        /// Behind this one.
        after: Option<u64>,
    },
    /// Deliver an answer that was given up again. Answered by [`Reply::Done`](super::protocol::Reply::Done).
    DeliverAgain {
        /// Which.
        outbox: u64,
    },
    /// Who was paired, and who waits with a code. Answered by [`ChannelReply::Pairings`].
    Pairings,
    /// Make the stranger known who has this code. Answered by [`ChannelReply::Paired`].
    Approve {
        /// The code, as he wrote it.
        code: String,
        /// He may say yes to calls, too.
        owner: bool,
    },
    /// Somebody who was paired is a stranger again. Answered by [`Reply::Done`](super::protocol::Reply::Done).
    Revoke {
        /// `archon/channel/peer`.
        peer: String,
    },
}

/// What is told of channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ChannelReply {
    /// Answers that were given up, oldest first.
    GivenUp(Vec<GivenUpView>),
    /// Who is known, and who waits.
    Pairings(Vec<PairingView>),
    /// Somebody is known now.
    Paired(PairingView),
}

/// An answer that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GivenUpView {
    /// Its number.
    pub outbox: u64,
    /// `archon/channel/peer/thread`.
    pub session: String,
    /// What the platform said.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// How it begins.
    pub text: String,
}

/// Somebody who was a stranger, or still is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PairingView {
    /// `archon/channel/peer`.
    pub peer: String,
    /// `user`, `owner`, or `waits` for one who has a code.
    pub state: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

impl From<&Undeliverable> for GivenUpView {
    fn from(given_up: &Undeliverable) -> Self {
        Self {
            outbox: given_up.entry.id.0,
            session: given_up.entry.session.to_string(),
            reason: given_up.reason.clone(),
            since_unix_ms: given_up.since_unix_ms,
            text: given_up.entry.text.chars().take(TEXT_CHARS).collect(),
        }
    }
}

/// One channel of an Archon that leads to a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelView {
    /// Whose.
    pub archon: String,
    /// Which.
    pub channel: String,
    /// Where it leads, for people.
    pub leads_to: String,
    /// Its state: `failed` where only the owner can help.
    pub state: String,
    /// Since the last poll came back, in milliseconds.
    pub polled_ago_ms: Option<u64>,
    /// The longest time without a poll that came back well, in milliseconds.
    pub silence_max_ms: u64,
    /// The longest that a poll may take, in milliseconds.
    pub poll_max_ms: u64,
    /// Polls that hung and were replaced.
    pub replaced: u32,
    /// Messages that were taken.
    pub received: u64,
    /// Answers that were delivered.
    pub delivered: u64,
    /// Answers that were given up since the daemon started.
    pub given_up: u64,
    /// Answers that wait or are under way.
    pub waiting: u32,
    /// What is wrong now.
    pub trouble: Option<String>,
}

impl ChannelView {
    /// One that is written and does not run.
    pub fn stopped(archon: &str, channel: &str) -> Self {
        Self {
            archon: archon.to_owned(),
            channel: channel.to_owned(),
            leads_to: "-".to_owned(),
            state: "stopped".to_owned(),
            polled_ago_ms: None,
            silence_max_ms: 0,
            poll_max_ms: 0,
            replaced: 0,
            received: 0,
            delivered: 0,
            given_up: 0,
            waiting: 0,
            trouble: None,
        }
    }

    /// How it is, in the words of the protocol.
    pub fn of(status: &ChannelStatus) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            archon: status.archon.to_string(),
            channel: status.channel.to_string(),
            leads_to: status.leads_to.clone(),
            state: status.state.to_string(),
            polled_ago_ms: status.polled_ago.map(ms),
            silence_max_ms: ms(status.silence_max),
            poll_max_ms: ms(status.poll_max),
            replaced: status.replaced,
            received: status.received,
            delivered: status.delivered,
            given_up: status.given_up,
            waiting: status.waiting,
            trouble: status.trouble.clone(),
        }
    }

    /// Only its owner can help it.
    pub fn has_failed(&self) -> bool {
        self.state == ActorState::Failed.as_str()
    }
}

//! The port of a platform on which people write: what comes in, what goes out, what may be shown in between.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    ArchonSpec, Batch, ChannelId, CodeHash, Cursor, Enclosure, Parcel, PeerId, Receipt, ReplyTo, Shown,
};

/// Longest that a poll may take, whatever its channel says: what has not come back by then hangs.
pub const POLL_MAX: Duration = Duration::from_secs(90);

/// Why a platform did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelFault {
    /// It could not be reached, or has trouble of its own: it is asked again after a growing delay.
    #[error("{detail}")]
    Transient {
        /// What happened. No secret.
        detail: String,
    },
    /// It wants to be left alone for exactly so long.
    #[error("the platform wants no more requests for {after:?}")]
    Limited {
        /// Until it may be asked again.
        after: Duration,
        /// Whether that holds for every chat, or for this one alone.
        everywhere: bool,
    },
    /// It does not know us (any more): only the owner can help. It is asked again now and then.
    #[error("{detail}")]
    Barred {
        /// What it said, and what to do. No secret.
        detail: String,
    },
    /// It will never take this answer: the chat is gone, or the person wants to hear no more.
    #[error("{reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

impl ChannelFault {
    /// A failure that may pass.
    pub fn transient(detail: impl Into<String>) -> Self {
        Self::Transient { detail: detail.into() }
    }
}

/// What came of handing something over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// The platform has all of it.
    Whole,
    /// One step is done, and there are more. The receipt is made durable, then the same is handed over again, with it.
    Step(Receipt),
}

/// One road between an Archon and a platform. An adapter keeps nothing durable of its own: what it must know after a crash comes back
/// to it, as a cursor or a receipt.
///
/// Two calls are never made at once: `receive` with itself, and `deliver` and `show` for the same message. Dropping a call's future
/// ends what it began.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Its name, as profiles call it: `telegram`.
    fn id(&self) -> ChannelId;
    /// Where it leads, for people: `@ezra_bot`. No secret.
    fn leads_to(&self) -> String;
    /// The longest that [`Channel::receive`] takes when all is well, and some more; at most [`POLL_MAX`].
    fn poll_max(&self) -> Duration {
        Duration::from_secs(60)
    }
    /// Waits for what comes next, but not for long: with nothing new it returns an empty batch within [`Channel::poll_max`].
    ///
    /// `after` is where the last batch said to go on, kept in the store; `None` at the first time of all. Being called again, without
    /// [`Channel::renew`] between, means that all of the last batch is durable (or was refused for good, and its sender told): what waits for that, such as the offset
    /// of a poll or the answer to a webhook, is done now and not before. What is handed in a second time is recognised by its key.
    async fn receive(&self, after: Option<Cursor>) -> Result<Batch, ChannelFault>;
    /// Fetches something that came with a message, and keeps it in the house's folder of media. [`ChannelFault::Refused`]: it cannot be
    /// had, now or later.
    async fn fetch(&self, enclosed: &str) -> Result<Enclosure, ChannelFault> {
        Err(ChannelFault::Refused { reason: format!("{enclosed} cannot be fetched") })
    }
    /// Hands an answer over, or one step of it: what takes several messages, or has to be made safe against being done twice, takes
    /// several calls, each of which returns with what the next one has to know.
    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault>;
    /// Shows how an answer comes along: a draft, a sign of typing, a question to the owner. A courtesy, but for the question. What it
    /// returns is kept, and comes back with the answer itself.
    async fn show(&self, _to: Parcel, _shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
        Ok(None)
    }
    /// The chat with one person alone, which he does not have to begin: there the owner is asked about the turns of others. `None`: the
    /// platform has no such chats.
    fn chat_with(&self, _person: &PeerId) -> Option<ReplyTo> {
        None
    }
    /// How often [`Channel::show`] may be called for one message.
    fn show_period(&self) -> Duration {
        Duration::from_secs(4)
    }
    /// A poll hung and was given up, or the channel begins anew after a failure: connections are not to be used again, and what was
    /// handed in since the last cursor may not be durable. It is handed in again; whoever waits to be acknowledged is refused.
    fn renew(&self) {}
}

/// Which channels an Archon has. Asked once, when it is started.
pub trait ChannelShed: Send + Sync + 'static {
    /// The channels, but for those that the house is asked by, such as the terminal's.
    fn channels(&self, archon: &ArchonSpec) -> Vec<Arc<dyn Channel>>;
    /// A code for a stranger that nobody can guess ([`crate::access::code`]), and its hash. `None`: there is no chance to be had just now.
    fn draw_code(&self) -> Option<(String, CodeHash)>;
    /// The hash of a code, as people write it ([`crate::access::normal_code`]).
    fn hash_code(&self, written: &str) -> CodeHash;
}

/// No platform at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoChannels;

impl ChannelShed for NoChannels {
    fn channels(&self, _: &ArchonSpec) -> Vec<Arc<dyn Channel>> {
        Vec::new()
    }

    fn draw_code(&self) -> Option<(String, CodeHash)> {
        None
    }

    fn hash_code(&self, _: &str) -> CodeHash {
        CodeHash([0; 32])
    }
}

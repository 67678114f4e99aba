//! The one way in: what is checked before a message is journalled.
use std::sync::Arc;

use super::counters::ArchonCounters;
use crate::command::Intent;
use crate::domain::{Accepted, ActorState, ArchonId, ArchonSpec, ChannelId, InboundMessage};
use crate::memory::{MemoryError, MemoryHandle};

/// Commands that are taken beyond a full inbox: whoever wants to stop what fills it must be heard. They are answered at once,
/// so that more of them than this are a flood.
const COMMANDS_EXTRA_MAX: u64 = 64;

/// Why a message was not taken. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No Archon of that name was started.
    #[error("{archon} is not running; start it with `archond start {archon}`")]
    NotRunning {
        /// The Archon.
        archon: ArchonId,
    },
    /// The Archon is not well.
    #[error("{archon} is {state}: {reason}; `archond start {archon}` tries again")]
    Unavailable {
        /// The Archon.
        archon: ArchonId,
        /// How it is.
        state: ActorState,
        /// Why.
        reason: String,
    },
    /// The profile does not name the channel.
    #[error("{archon} does not listen on {channel}; add it to `channels` in its profile")]
    ChannelClosed {
        /// The Archon.
        archon: ArchonId,
        /// The channel.
        channel: ChannelId,
    },
    /// Nothing was said.
    #[error("the message is empty")]
    Empty,
    /// Too much was said.
    #[error("the message has {bytes} bytes, and {bytes_max} are allowed; send it in parts")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit of the profile.
        bytes_max: u32,
    },
    /// Too many messages wait.
    #[error("{archon} has {open} unanswered messages, which is the limit; try again when some are answered")]
    Busy {
        /// The Archon.
        archon: ArchonId,
        /// Unanswered messages.
        open: u64,
    },
    /// It could not be kept.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The way into one Archon's inbox.
#[derive(Clone)]
pub struct Intake {
    pub(super) spec: Arc<ArchonSpec>,
    pub(super) counters: Arc<ArchonCounters>,
    pub(super) memory: MemoryHandle,
}

impl Intake {
    /// Takes a message. When this returns, it is durable, and it will be answered once.
    pub async fn submit(&self, message: InboundMessage) -> Result<Accepted, SubmitError> {
        check(&self.spec, &message, &self.counters)?;
        // From here on it is memory that tells Hermes: the order is the inbox's, and nobody has to wait for it.
        Ok(self.memory.accept(message).await?)
    }

    /// The store.
    pub fn memory(&self) -> &MemoryHandle {
        &self.memory
    }
}

/// Checks what can be checked without the store.
fn check(spec: &ArchonSpec, message: &InboundMessage, counters: &ArchonCounters) -> Result<(), SubmitError> {
    check_health(spec, counters)?;
    if !spec.channels.contains(&message.channel) {
        let (archon, channel) = (spec.id.clone(), message.channel.clone());
        return Err(SubmitError::ChannelClosed { archon, channel });
    }
    check_message(spec, message, counters)
}

/// The same for a task of another Archon: that one's profile opens the road, not this one's.
pub(super) fn check_handed_on(
    spec: &ArchonSpec,
    message: &InboundMessage,
    counters: &ArchonCounters,
) -> Result<(), SubmitError> {
    check_health(spec, counters)?;
    check_message(spec, message, counters)
}

/// Whether it can answer at all.
pub(super) fn check_health(spec: &ArchonSpec, counters: &ArchonCounters) -> Result<(), SubmitError> {
    match counters.quarantine() {
        None => Ok(()),
        Some(reason) => {
            let (archon, state) = (spec.id.clone(), ActorState::Quarantined);
            Err(SubmitError::Unavailable { archon, state, reason })
        }
    }
}

fn check_message(
    spec: &ArchonSpec,
    message: &InboundMessage,
    counters: &ArchonCounters,
) -> Result<(), SubmitError> {
    let open = counters.open();
    if message.text.trim().is_empty() && message.waybill.enclosures.is_empty() {
        return Err(SubmitError::Empty);
    }
    let (bytes, bytes_max) = (message.text.len(), spec.limits.message_bytes_max);
    if bytes > bytes_max as usize {
        return Err(SubmitError::TooLarge { bytes, bytes_max });
    }
    let extra = if Intent::of(&message.text).takes_a_turn() { 0 } else { COMMANDS_EXTRA_MAX };
    if open >= u64::from(spec.limits.inbox_len_max) + extra {
        return Err(SubmitError::Busy { archon: spec.id.clone(), open });
    }
    Ok(())
}

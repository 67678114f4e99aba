//! What an Archon is made from: its profile after all checks, in the units that the actors use.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::access::AccessPolicy;
use super::generation::Sampling;
use super::ids::{ArchonId, ChannelId, ModelId};
use super::tool::ToolPolicy;

/// One Archon.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchonSpec {
    /// Its name.
    pub id: ArchonId,
    /// Its name as people read it.
    pub display_name: String,
    /// One line about it, for lists.
    pub description: String,
    /// The system prompt: byte-stable, nothing volatile in it.
    pub persona: Arc<str>,
    /// Which model answers.
    pub route: Route,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Deadlines and retries of the fit layer.
    pub fit: FitPolicy,
    /// Which tools it has, and what it may do with them.
    pub tools: Arc<ToolPolicy>,
    /// How much of a conversation the model sees.
    pub context: ContextPolicy,
    /// The channels on which it may be reached.
    pub channels: Vec<ChannelId>,
    /// Who may write on those that lead to a platform. One that is not in it is as one with [`AccessPolicy::default`].
    pub access: BTreeMap<ChannelId, AccessPolicy>,
    /// What it may use up.
    pub limits: ArchonLimits,
}

/// Chooses a model for a message. The first rule that holds wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Used when no rule holds.
    pub default: ModelId,
    /// In the order in which they are tried.
    pub rules: Vec<RouteRule>,
    /// Used, in this order, when the chosen model is not on disk or has failed.
    pub fallback: Vec<ModelId>,
}

/// One rule of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// When it holds.
    pub when: RouteCondition,
    /// Which model it chooses.
    pub model: ModelId,
}

/// When a route rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteCondition {
    /// The message has at least this many characters.
    MessageCharsMin(u32),
    /// The message came by this channel.
    Channel(ChannelId),
    /// The message begins with this text, whatever the case.
    StartsWith(String),
    /// The session has at least this many turns.
    TurnsMin(u32),
    /// The message seems to need at least so much thinking, in percent.
    ComplexityMin(u8),
    /// The message seems to need less thinking than that, in percent.
    ComplexityBelow(u8),
    /// The message asks for a fast answer.
    SpeedCritical,
    /// A picture came with the message.
    Image,
    /// A recording came with the message.
    Audio,
}

/// Hermes' patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitPolicy {
    /// From dispatch to the first sign of progress (a queue place, a load percentage, a token), and between two signs.
    pub progress_timeout: Duration,
    /// How often a failed message is tried again before its sender is told.
    pub retries_max: u32,
    /// Wait before a retry; doubled each time.
    pub retry_backoff: Duration,
    /// A message that was older when it came is not answered, and its sender is told so.
    pub message_age_max: Duration,
}

/// How a conversation is kept within the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextPolicy {
    /// Prompt and answer together, in tokens.
    pub tokens_max: u32,
    /// The prompt is summarised when it reaches this part of `tokens_max`.
    pub compact_at_percent: u8,
    /// This many of the newest turns are never summarised.
    pub keep_turns: u32,
}

/// What an Archon may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchonLimits {
    /// Longest message, in bytes of UTF-8.
    pub message_bytes_max: u32,
    /// Longest answer, in tokens.
    pub answer_tokens_max: u32,
    /// Turns that run at the same time; the rest wait in the store.
    pub turns_in_flight_max: u32,
    /// Messages that may wait; more are refused with a clear answer.
    pub inbox_len_max: u32,
    /// A session that was quiet for this long leaves memory; its next message brings it back whole.
    pub session_idle: Duration,
    /// More crashes than this within `crash_period` quarantine the Archon.
    pub crashes_max: u32,
    /// See `crashes_max`.
    pub crash_period: Duration,
}

/// Who goes first in the pool. The order of the variants is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// It is looked up at once, and takes no slot.
    Lookup,
    /// A person waits for the answer.
    Direct,
    /// A machine sent it.
    Webhook,
    /// The clock sent it.
    Schedule,
    /// Nobody waits: tidying up a conversation.
    Compaction,
    /// Nobody would notice: vectors for what was said.
    Background,
}

//! An Archon with ordinary limits, and a clock that stands still.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{
    ArchonLimits, ArchonSpec, ChannelId, ContextPolicy, FitPolicy, IdError, InboundMessage, ModelId, Route,
    Sampling, Waybill,
};
use crate::ports::Clock;

/// Greedy.
pub const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repeat_penalty: 1.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
    seed: None,
};

/// An Archon of this name that answers with this model on the channel `cli`; change the fields that differ.
pub fn archon_spec(name: &str, model: &ModelId) -> Result<ArchonSpec, IdError> {
    Ok(ArchonSpec {
        id: name.parse()?,
        display_name: name.to_owned(),
        description: "of the tests".into(),
        persona: format!("You are {name}.").into(),
        route: Route { default: model.clone(), rules: vec![], fallback: vec![] },
        sampling: GREEDY,
        fit: FitPolicy {
            progress_timeout: Duration::from_secs(30),
            retries_max: 3,
            retry_backoff: Duration::from_secs(1),
            message_age_max: Duration::from_secs(86_400),
        },
        tools: Arc::default(),
        context: ContextPolicy { tokens_max: 8192, compact_at_percent: 75, keep_turns: 4 },
        channels: vec![ChannelId::new("cli")?],
        access: BTreeMap::new(),
        limits: ArchonLimits {
            message_bytes_max: 65_536,
            answer_tokens_max: 1024,
            turns_in_flight_max: 8,
            inbox_len_max: 1000,
            session_idle: Duration::from_secs(600),
            crashes_max: 5,
            crash_period: Duration::from_secs(60),
        },
    })
}

/// A message of `peer` to an Archon, on `cli`, in his current session.
pub fn message(archon: &str, peer: &str, key: &str, text: &str) -> Result<InboundMessage, IdError> {
    Ok(InboundMessage {
        archon: archon.parse()?,
        channel: ChannelId::new("cli")?,
        peer: peer.parse()?,
        key: key.to_owned(),
        thread: None,
        text: text.to_owned(),
        received_unix_ms: 1,
        waybill: Waybill::default(),
    })
}

/// A clock that stands still.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now_unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

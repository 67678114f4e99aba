//! What was seen of the house, and how fast it was. Pure.
use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::admin::inside::{ActorNode, PoolRequest};
use crate::admin::protocol::{HouseView, ModelView};

/// Looks whose speed is kept: two minutes at one look a second.
const HISTORY_LEN_MAX: usize = 120;

/// The house at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// When.
    pub(super) at: Instant,
    /// The whole.
    pub(super) house: HouseView,
    /// Every actor.
    pub(super) actors: Vec<ActorNode>,
    /// Every model.
    pub(super) models: Vec<ModelView>,
    /// Every request in the pool.
    pub(super) requests: Vec<PoolRequest>,
}

/// The last look, and the tokens per second of each model so far, oldest first.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) last: Option<Look>,
    pub(super) speeds: BTreeMap<String, VecDeque<u64>>,
}

impl Watched {
    /// Takes in a look.
    pub(super) fn take(&mut self, look: Look) {
        for model in &look.models {
            let former = self.last.as_ref().and_then(|last| {
                let tokens = last.models.iter().find(|former| former.model == model.model)?.tokens;
                Some((tokens, look.at.saturating_duration_since(last.at).as_secs_f64()))
            });
            let Some((tokens, seconds)) = former.filter(|(_, seconds)| *seconds > 0.0) else { continue };
            let speed = (model.tokens.saturating_sub(tokens) as f64 / seconds).round() as u64;
            let history = self.speeds.entry(model.model.clone()).or_default();
            if history.len() == HISTORY_LEN_MAX {
                history.pop_front();
            }
            history.push_back(speed);
        }
        self.last = Some(look);
    }

    /// Tokens per second of a model, as last seen.
    pub(super) fn speed(&self, model: &str) -> u64 {
        self.speeds.get(model).and_then(|history| history.back()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::too_many_lines, reason = "a whole house, spelt out")]
    pub(in crate::cli::top) fn look(at: Instant, tokens: u64) -> Look {
        let model = ModelView {
            model: "gemma-4-e4b".into(),
            state: "ready".into(),
            percent: None,
            pid: Some(7),
            processor: None,
            memory_bytes: Some(5_000_000_000),
            slots: 8,
            slots_used: 1,
            queued: 1,
            context_tokens: 8192,
            crashes: 0,
            tokens,
            prompt_tokens: 200,
            cached_tokens: 100,
            written_tokens: 0,
            written_ms: 0,
            last_error: None,
        };
        let node = |path: &str, depth, state: &str| ActorNode {
            path: path.into(),
            depth,
            actor: "actor".into(),
            state: state.into(),
            age_ms: Some(61_000),
            restarts: u32::from(state == "starting"),
            mailbox: 0,
            mailbox_max: 1024,
            handled: 3,
            doing: None,
            about: None,
            doing_ms: None,
            waits_for: None,
            waits_ms: None,
            restart_in_ms: None,
            last_error: None,
        };
        Look {
            at,
            house: HouseView {
                version: "0.1.0".into(),
                pid: 1,
                gateway: None,
                started_unix_ms: 0,
                memory_bytes: 20_000_000,
                socket: String::new(),
                logs: String::new(),
                archons: Vec::new(),
                models: Vec::new(),
                channels: Vec::new(),
                notice: None,
            },
            actors: vec![
                node("house", 0, "ready"),
                node("house/pool", 1, "running"),
                node("house/archons", 1, "starting"),
            ],
            models: vec![model],
            requests: vec![
                PoolRequest {
                    id: 1,
                    model: "gemma-4-e4b".into(),
                    session: "ezra/cli/p/main".into(),
                    position: None,
                    tokens: 12,
                },
                PoolRequest {
                    id: 2,
                    model: "gemma-4-e4b".into(),
                    session: "ezra/cli/q/main".into(),
                    position: Some(1),
                    tokens: 0,
                },
            ],
        }
    }

    #[test]
    fn speed_is_what_was_said_between_two_looks() {
        let (mut watched, begun) = (Watched::default(), Instant::now());
        watched.take(look(begun, 100));
        assert_eq!(watched.speed("gemma-4-e4b"), 0, "one look has no speed");
        watched.take(look(begun + Duration::from_secs(2), 150));
        assert_eq!(watched.speed("gemma-4-e4b"), 25);
        watched.take(look(begun + Duration::from_secs(3), 10));
        assert_eq!(watched.speed("gemma-4-e4b"), 0, "a daemon that was started again counts from nought");
        for second in 0..500 {
            watched.take(look(begun + Duration::from_secs(4 + second), second));
        }
        assert_eq!(watched.speeds["gemma-4-e4b"].len(), HISTORY_LEN_MAX);
    }
}

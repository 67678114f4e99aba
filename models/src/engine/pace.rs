//! How many prompt tokens one step may read, so that no step takes long. Pure.
//!
//! A step cannot be interrupted. Its length is therefore what a cancellation waits for, what the other answers stand
//! still for, and how often progress can be told. Machines and models differ by a factor of a thousand: measured.
use std::time::Duration;

use crate::catalogue::READ_STEP_TOKENS;

/// Most tokens of one step when nothing but reading is to be done: llama.cpp's own batch of computation.
pub(super) const STEP_TOKENS_MAX: usize = READ_STEP_TOKENS as usize;
/// Most prompt tokens of one step while other answers are being written.
const SHARED_TOKENS_MAX: usize = 128;
/// Fewest: below, the cost of touching all weights once per step outweighs the tokens.
const STEP_TOKENS_MIN: usize = 16;
/// Aim for the length of a step that only reads: progress and cancellation every second at the latest, with a margin.
const STEP_ALONE: Duration = Duration::from_millis(600);
/// Aim for the length of a step while others write: about the pause that a reader of a stream does not mind.
pub(super) const STEP_SHARED: Duration = Duration::from_millis(200);

/// The speed of reading, as last measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    tokens_per_second: f64,
}

impl Pace {
    /// Starts with a first measurement.
    pub(super) fn new(tokens: usize, took: Duration) -> Self {
        Self { tokens_per_second: speed(tokens, took) }
    }

    /// Prompt tokens that the next step may read: a power of two, so that equal prompts are mostly cut alike.
    pub(super) fn budget(&self, others_write: bool) -> usize {
        let (aim, most) =
            if others_write { (STEP_SHARED, SHARED_TOKENS_MAX) } else { (STEP_ALONE, STEP_TOKENS_MAX) };
        let wanted = self.tokens_per_second * aim.as_secs_f64();
        let mut budget = STEP_TOKENS_MIN;
        while budget < most && (budget * 2) as f64 <= wanted {
            budget *= 2;
        }
        budget
    }

    /// What reading one token more takes, in seconds.
    pub(super) fn seconds_per_token(&self) -> f64 {
        self.tokens_per_second.recip()
    }

    /// Takes in a step that read this many tokens. Small steps say nothing about speed and are left out.
    pub(super) fn observe(&mut self, tokens: usize, took: Duration) {
        if tokens >= STEP_TOKENS_MIN {
            self.tokens_per_second = (self.tokens_per_second + speed(tokens, took)) / 2.0;
        }
    }
}

fn speed(tokens: usize, took: Duration) -> f64 {
    tokens as f64 / took.as_secs_f64().max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_machines_take_small_steps_and_fast_ones_large() {
        let slow = Pace::new(15, Duration::from_secs(1));
        assert_eq!((slow.budget(false), slow.budget(true)), (16, 16));
        let fast = Pace::new(10_000, Duration::from_secs(1));
        assert_eq!((fast.budget(false), fast.budget(true)), (512, 128));
        let middle = Pace::new(300, Duration::from_secs(1));
        assert_eq!((middle.budget(false), middle.budget(true)), (128, 32));
    }

    #[test]
    fn the_pace_follows_the_measurements() {
        let mut pace = Pace::new(10_000, Duration::from_secs(1));
        pace.observe(1, Duration::from_secs(9));
        assert_eq!(pace.budget(false), 512, "one token is no measurement");
        for _ in 0..12 {
            pace.observe(64, Duration::from_secs(2));
        }
        assert_eq!(pace.budget(false), 16);
        pace.observe(64, Duration::ZERO);
        assert_eq!(pace.budget(false), 512);
    }
}

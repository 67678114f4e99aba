//! What becomes of a model whose workers die: at once again, then with growing delays, then only now and then.
//!
//! Pure. Times are counted from any fixed moment.
//!
//! ```text
//!            too many crashes, or the file is bad           retry
//! closed ───────────────────────────────────────▶ open ──────────────▶ half-open
//!   ▲                                              ▲   crash              │  │
//!   │                                              └──────────────────────┘  │
//!   └──────────────────────────── an answer is finished ─────────────────────┘
//! ```
use std::collections::VecDeque;
use std::time::Duration;

use crate::supervision::{Backoff, Intensity};

/// How much is borne.
#[derive(Debug, Clone, Copy)]
pub(super) struct LadderRules {
    pub(super) backoff: Backoff,
    /// That many crashes within the period, or in a row, open the ladder.
    pub(super) crashes_max: Intensity,
    /// From failure to the next try.
    pub(super) retry: Duration,
}

/// What may be expected of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answers, or will soon.
    Usable,
    /// It failed, and is being tried again: for those who have nothing better.
    OnTrial,
    /// It failed.
    Failed { retry_in: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { retry_at: Duration },
    HalfOpen { ready: bool },
}

/// The standing of one model.
#[derive(Debug)]
pub(super) struct Ladder {
    rules: LadderRules,
    phase: Phase,
    /// When workers died, within the period.
    crashes: VecDeque<Duration>,
    /// Crashes since the last success. A worker that dies after a long loading never exceeds the intensity; this catches it.
    crashes_in_row: u32,
    random: u64,
}

impl Ladder {
    /// `seed` spreads the delays: equal seeds, equal delays.
    pub(super) fn new(rules: LadderRules, seed: u64) -> Self {
        Self { rules, phase: Phase::Closed, crashes: VecDeque::new(), crashes_in_row: 0, random: seed }
    }

    /// A worker died. Answers how long to wait before the next one.
    pub(super) fn crashed(&mut self, now: Duration) -> Duration {
        let Intensity { restarts_max, period } = self.rules.crashes_max;
        self.crashes.retain(|crash| now.saturating_sub(*crash) < period);
        self.crashes.push_back(now);
        self.crashes_in_row = self.crashes_in_row.saturating_add(1);
        let too_many = self.crashes.len() >= restarts_max as usize || self.crashes_in_row >= restarts_max;
        if too_many || self.phase != Phase::Closed {
            return self.unusable(now);
        }
        match self.crashes_in_row.checked_sub(2) {
            None => Duration::ZERO,
            Some(attempt) => {
                let jitter = self.jitter();
                self.rules.backoff.delay(attempt, jitter)
            }
        }
    }

    /// The model cannot be loaded as it is. Answers how long to wait before the next try.
    pub(super) fn unusable(&mut self, now: Duration) -> Duration {
        self.phase = Phase::Open { retry_at: now + self.rules.retry };
        self.rules.retry
    }

    /// A worker is being started.
    pub(super) fn launched(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::HalfOpen { ready: false };
        }
    }

    /// The worker takes requests.
    pub(super) fn ready(&mut self) {
        if let Phase::HalfOpen { ready } = &mut self.phase {
            *ready = true;
        }
    }

    /// The worker finished an answer: all is well.
    pub(super) fn succeeded(&mut self) {
        self.phase = Phase::Closed;
        self.crashes.clear();
        self.crashes_in_row = 0;
    }

    /// What may be expected.
    pub(super) fn standing(&self, now: Duration) -> Standing {
        match self.phase {
            Phase::Closed | Phase::HalfOpen { ready: true } => Standing::Usable,
            Phase::HalfOpen { ready: false } => Standing::OnTrial,
            Phase::Open { retry_at } => Standing::Failed { retry_in: retry_at.saturating_sub(now) },
        }
    }

    fn jitter(&mut self) -> f64 {
        // splitmix64: enough to keep models that failed together from coming back together.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(60);

    fn ladder() -> Ladder {
        let rules = LadderRules {
            backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) },
            crashes_max: Intensity { restarts_max: 5, period: Duration::from_secs(60) },
            retry: RETRY,
        };
        Ladder::new(rules, 7)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_fifth_crash_is_the_last() {
        let mut ladder = ladder();
        assert_eq!(ladder.crashed(at(1)), Duration::ZERO);
        for (crash, most) in [(2, 100), (3, 200), (4, 400)] {
            let delay = ladder.crashed(at(crash));
            let most = Duration::from_millis(most);
            assert!(delay <= most && delay >= most * 3 / 4, "{delay:?}");
            assert_eq!(ladder.standing(at(crash)), Standing::Usable);
        }
        assert_eq!(ladder.crashed(at(5)), RETRY);
        assert_eq!(ladder.standing(at(15)), Standing::Failed { retry_in: at(50) });
    }

    #[test]
    fn slow_crashes_without_a_success_count_too() {
        let mut ladder = ladder();
        for crash in 0..4 {
            ladder.crashed(at(crash * 300));
            assert_eq!(ladder.standing(at(crash * 300)), Standing::Usable);
        }
        assert_eq!(ladder.crashed(at(1200)), RETRY);
    }

    #[test]
    fn a_success_forgives() {
        let mut ladder = ladder();
        for crash in 0..40 {
            assert_eq!(ladder.crashed(at(crash)), Duration::ZERO);
            ladder.launched();
            ladder.ready();
            ladder.succeeded();
        }
        assert_eq!(ladder.standing(at(40)), Standing::Usable);
    }

    #[test]
    fn a_failed_model_is_on_trial_until_it_has_answered() {
        let mut ladder = ladder();
        assert_eq!(ladder.unusable(at(0)), RETRY);
        ladder.launched();
        assert_eq!(ladder.standing(at(60)), Standing::OnTrial);
        ladder.ready();
        assert_eq!(ladder.standing(at(61)), Standing::Usable);
        assert_eq!(ladder.crashed(at(62)), RETRY, "one crash is enough now");
        ladder.launched();
        ladder.ready();
        ladder.succeeded();
        assert_eq!(ladder.crashed(at(200)), Duration::ZERO);
    }
}

//! What a step takes, and how many prompt tokens it may read so that it does not take long. Pure.
//!
//! A step cannot be interrupted. Its length is therefore what a cancellation waits for, what the other answers stand
//! still for, and how often progress can be told. Machines and models differ by a factor of a thousand: measured.
//!
//! A step costs a fixed part, in which the weights are read, and a part for each row: less for one of a prompt, whose output is not
//! needed, than for one from which a token is chosen. Every step says something about the sum. An extended Kalman filter takes it apart:
//! its state is the three parts' logarithms, which drift as the machine's other work does, mostly together; so parts stay positive, all
//! constants are ratios, and what the steps say nothing about stays as it was.
use std::time::Duration;

use crate::catalogue::READ_STEP_TOKENS;

/// Most tokens of one step: llama.cpp's own batch of computation. A picture may need as many.
pub(super) const STEP_TOKENS_MAX: usize = READ_STEP_TOKENS as usize;
/// Most prompt tokens of one step when nothing but reading is to be done. Twice as many are read no faster (on two cores, within 2 %), and
/// what is computed in between takes twice the memory.
const ALONE_TOKENS_MAX: usize = 256;
/// Most prompt tokens of one step while other answers are being written.
const SHARED_TOKENS_MAX: usize = 96;
/// Fewest: below, the cost of touching all weights once per step outweighs the tokens.
const STEP_TOKENS_MIN: usize = 16;
/// Aim for the length of a step that only reads: progress and cancellation every second at the latest, with a margin.
const STEP_ALONE: Duration = Duration::from_millis(900);
/// Aim for the length of a step while others write: a pause that a reader of a stream does not mind, even with a step that takes half as
/// long again.
pub(super) const STEP_SHARED: Duration = Duration::from_millis(175);
/// Standard deviation of a step's time that is chance, as a ratio (of logarithms).
const NOISE: f64 = 0.2;
/// The same of what all parts together may change by from one step to the next: other programs come and go.
const DRIFT: f64 = 0.05;
/// The same of each part by itself, which hardly anything changes but the length of the contexts.
const DRIFT_APART: f64 = 0.015;
/// A part that no step has said anything about for long is as unknown as by this ratio.
const DOUBT_MAX: f64 = 1.0;
/// A step that took longer than expected by more than so many standard deviations was probably held up: it counts as one that took so
/// much. No step is short by accident.
const SURPRISE_MAX: f64 = 2.0;
/// Least time of a step or of a part of it, in seconds: below the clock's grain.
const PART_MIN: f64 = 1e-9;

/// One value for each part of a step: the step itself, a prompt's row, an answer's row.
type Parts = [f64; 3];

/// What steps take, as measured so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// In seconds.
    parts: Parts,
    /// Covariance of the errors of the parts' logarithms.
    doubt: [Parts; 3],
}

impl Pace {
    /// Starts with a first measurement, of reading: half of it is taken to be the step's.
    pub(super) fn new(tokens: usize, took: Duration) -> Self {
        let half = took.as_secs_f64() / 2.0;
        let row = half / tokens.max(1) as f64;
        let alone = DOUBT_MAX * DOUBT_MAX;
        Self {
            parts: [half, row, row].map(|part| part.max(PART_MIN)),
            doubt: [[alone, 0.0, 0.0], [0.0, alone, 0.0], [0.0, 0.0, alone]],
        }
    }

    /// What a step is expected to take, in seconds, that reads so many tokens of prompts and has so many rows of answers.
    pub(super) fn takes(&self, read: usize, written: usize) -> f64 {
        dot(&self.parts, &[1.0, read as f64, written as f64])
    }

    /// The least that a step may take, within one standard deviation, that has so many rows of answers and reads nothing; in seconds.
    ///
    /// Optimism makes what was not measured for long be tried again, and only that (upper confidence bound, as for bandits). Whoever
    /// compares two steps must be as optimistic about both: otherwise the one that is never made can never show that it is shorter.
    pub(super) fn takes_at_best(&self, written: usize) -> f64 {
        let shares = self.shares(0, written);
        let variance = dot(&self.doubt.map(|doubt| dot(&doubt, &shares)), &shares).max(0.0);
        self.takes(0, written) * (-variance.sqrt()).exp()
    }

    /// What each part has of the time of such a step: the derivatives of its logarithm by theirs.
    fn shares(&self, read: usize, written: usize) -> Parts {
        let [step, of_read, of_written] = self.parts;
        let all = self.takes(read, written);
        [step / all, of_read * read as f64 / all, of_written * written as f64 / all]
    }

    /// Prompt tokens that the next step may read beside so many rows of answers: of few sizes, powers of two and what is halfway between
    /// them, so that equal prompts are mostly cut alike.
    pub(super) fn budget(&self, written: usize) -> usize {
        let (aim, most) =
            if written > 0 { (STEP_SHARED, SHARED_TOKENS_MAX) } else { (STEP_ALONE, ALONE_TOKENS_MAX) };
        let fits = |budget: usize| budget <= most && self.takes(budget, written) <= aim.as_secs_f64();
        let mut budget = STEP_TOKENS_MIN;
        while fits(budget * 2) {
            budget *= 2;
        }
        let halfway = budget / 2 * 3;
        if fits(halfway) { halfway } else { budget }
    }

    /// What was known before the next step is a little less sure in it.
    fn drift(&mut self) {
        for (place, doubt) in self.doubt.iter_mut().enumerate() {
            doubt.iter_mut().for_each(|shared| *shared += DRIFT * DRIFT);
            if let Some(own) = doubt.get_mut(place) {
                *own += DRIFT_APART * DRIFT_APART;
            }
        }
        let mut bounds = [1.0; 3];
        for (place, (bound, doubt)) in bounds.iter_mut().zip(&self.doubt).enumerate() {
            let own = doubt.get(place).copied().unwrap_or_default();
            *bound = (DOUBT_MAX / own.sqrt()).min(1.0);
        }
        // Both sides alike, so that it stays a covariance.
        for (doubt, bound) in self.doubt.iter_mut().zip(&bounds) {
            doubt.iter_mut().zip(&bounds).for_each(|(shared, other)| *shared *= bound * other);
        }
    }

    /// Takes in a step that read so many tokens of prompts and had so many rows of answers.
    pub(super) fn observe(&mut self, read: usize, written: usize, took: Duration) {
        self.drift();
        let expected = self.takes(read, written);
        let shares = self.shares(read, written);
        let together = self.doubt.map(|doubt| dot(&doubt, &shares));
        let variance = dot(&together, &shares) + NOISE * NOISE;
        let usual = SURPRISE_MAX * variance.sqrt();
        let surprise = (took.as_secs_f64().max(PART_MIN) / expected).ln().min(usual);
        for (part, (doubt, share)) in self.parts.iter_mut().zip(self.doubt.iter_mut().zip(together)) {
            *part = (*part * (share / variance * surprise).exp()).max(PART_MIN);
            for (doubt, other) in doubt.iter_mut().zip(together) {
                *doubt -= share * other / variance;
            }
        }
    }
}

fn dot(one: &Parts, other: &Parts) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pace that has seen steps of these rows, on a machine with these costs.
    fn seen(parts: Parts, steps: &[(usize, usize)]) -> Pace {
        let mut pace = Pace::new(16, Duration::from_millis(100));
        for (read, written) in steps.iter().cycle().take(200) {
            let took = parts[0] + parts[1] * *read as f64 + parts[2] * *written as f64;
            pace.observe(*read, *written, Duration::from_secs_f64(took));
        }
        pace
    }

    const MIXED: [(usize, usize); 4] = [(128, 0), (0, 8), (32, 8), (0, 16)];

    #[test]
    fn slow_machines_take_small_steps_and_fast_ones_large() {
        let budgets = |parts| [0, 1, 8].map(|written| seen(parts, &MIXED).budget(written));
        assert_eq!(budgets([0.5, 0.060, 0.1]), [16, 16, 16]);
        assert_eq!(budgets([0.001, 0.0001, 0.0001]), [256, 96, 96]);
        assert_eq!(budgets([0.030, 0.0035, 0.005]), [192, 32, 24]);
        assert_eq!(budgets([0.030, 0.0035, 0.010]), [192, 32, 16], "what the others take is not there");
    }

    #[test]
    fn the_parts_are_told_apart() {
        for parts in [[0.030, 0.0035, 0.005], [0.0, 0.010, 0.010], [0.2, 0.001, 0.004]] {
            let pace = seen(parts, &MIXED);
            for (read, written) in [(0, 8), (0, 24), (128, 0), (64, 8)] {
                let wanted = parts[0] + parts[1] * read as f64 + parts[2] * written as f64;
                let takes = pace.takes(read, written);
                assert!((takes / wanted - 1.0).abs() < 0.15, "{takes} instead of {wanted}");
            }
        }
    }

    #[test]
    fn the_pace_follows_the_machine() {
        let mut pace = seen([0.030, 0.0035, 0.005], &MIXED);
        pace.observe(16, 8, Duration::from_secs(5));
        assert!(pace.takes(64, 8) < 0.45, "one long step is an accident: {pace:?}");
        for _ in 0..40 {
            pace.observe(64, 8, Duration::from_secs(3));
        }
        assert_eq!(pace.budget(8), 16, "{pace:?}");
        for _ in 0..40 {
            pace.observe(16, 8, Duration::from_millis(80));
        }
        assert!(pace.budget(8) >= 32, "{pace:?}");
    }

    #[test]
    fn a_machine_that_slows_down_slows_all_down() {
        let mut pace = seen([0.030, 0.0035, 0.005], &MIXED);
        for _ in 0..100 {
            pace.observe(0, 8, Duration::from_millis(70));
        }
        let before = pace.takes(64, 0);
        for _ in 0..30 {
            pace.observe(0, 8, Duration::from_millis(210));
        }
        let slower = pace.takes(64, 0) / before;
        assert!((2.0..4.0).contains(&slower), "reading was not seen meanwhile: {slower}");
    }

    #[test]
    fn what_is_not_known_is_judged_kindly() {
        let mut pace = seen([0.030, 0.010, 0.010], &MIXED);
        let longer = |pace: &Pace| pace.takes_at_best(16) / pace.takes_at_best(8);
        let known = longer(&pace);
        assert!((1.6..1.8).contains(&known), "{known}");
        for _ in 0..2000 {
            pace.observe(0, 8, Duration::from_millis(110));
        }
        let forgotten = longer(&pace);
        assert!(forgotten < 0.95 * known, "{forgotten} after {known}");
        assert!((pace.takes(0, 16) / pace.takes(0, 8) - 1.73).abs() < 0.1, "{pace:?}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_measured_makes_nonsense(
            steps in prop::collection::vec((0usize..512, 0usize..512, 0u64..1_000_000_000_000), 0..300)
        ) {
            let mut pace = Pace::new(16, Duration::ZERO);
            for (read, written, took) in steps {
                pace.observe(read, written, Duration::from_nanos(took));
                prop_assert!(pace.parts.iter().all(|part| part.is_finite() && *part > 0.0), "{pace:?}");
                let best = pace.takes_at_best(16) / pace.takes(0, 16);
                prop_assert!(((-DOUBT_MAX).exp() * 0.999..=1.0).contains(&best), "{pace:?}");
                prop_assert!((16..=256).contains(&pace.budget(0)) && (16..=96).contains(&pace.budget(1)));
            }
        }
    }
}

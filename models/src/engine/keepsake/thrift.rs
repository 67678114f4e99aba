//! When saving a context is worth its time. Pure.
//!
//! A save takes time from the answers that are being written. What it insures is the computing done since the last one:
//! lost, it would have to be done again. So a save is due when far more computing is at risk than it costs.
use std::time::Duration;

/// Saving takes at most this part of the computing: one fiftieth.
const WORTH_WHILE_WRITING: u32 = 50;

/// What is known of costs and losses.
#[derive(Debug, Default)]
pub(in crate::engine) struct Thrift {
    /// What saving one token of context takes, as last measured. At first nothing: the first save is the measurement.
    seconds_per_token: f64,
    /// Computing since the last save.
    at_risk: Duration,
}

impl Thrift {
    /// A step was computed.
    pub(in crate::engine) fn computed(&mut self, took: Duration) {
        self.at_risk = self.at_risk.saturating_add(took);
    }

    /// A context of this many tokens was saved.
    pub(in crate::engine) fn saved(&mut self, tokens: usize, took: Duration) {
        let measured = took.as_secs_f64() / tokens.max(1) as f64;
        let known = self.seconds_per_token > 0.0;
        self.seconds_per_token = if known { (self.seconds_per_token + measured) / 2.0 } else { measured };
    }

    /// Everything is saved, or about to be.
    pub(in crate::engine) fn secure(&mut self) {
        self.at_risk = Duration::ZERO;
    }

    /// Whether to save contexts of so many tokens in all, while answers wait for it.
    pub(in crate::engine) fn is_due(&self, tokens: usize) -> bool {
        self.is_worth(tokens, WORTH_WHILE_WRITING)
    }

    /// Whether to save them when nobody waits: as soon as computing them again would take longer.
    pub(in crate::engine) fn is_due_when_idle(&self, tokens: usize) -> bool {
        self.is_worth(tokens, 1)
    }

    fn is_worth(&self, tokens: usize, times: u32) -> bool {
        let cost = self.seconds_per_token * tokens as f64;
        tokens > 0 && !self.at_risk.is_zero() && self.at_risk.as_secs_f64() >= cost * f64::from(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// 1,000 tokens took `cost` to save, and `at_risk` was computed since.
    #[track_caller]
    fn check(cost: Duration, at_risk: Duration, tokens: usize, wanted: (bool, bool)) {
        let mut thrift = Thrift::default();
        thrift.saved(1000, cost);
        thrift.computed(at_risk);
        assert_eq!((thrift.is_due(tokens), thrift.is_due_when_idle(tokens)), wanted);
    }

    #[test]
    fn a_save_insures_fifty_times_its_cost() {
        check(ms(10), ms(501), 1000, (true, true));
        check(ms(10), ms(499), 1000, (false, true));
        check(ms(10), ms(499), 500, (true, true));
        check(ms(10), ms(501), 2000, (false, true));
        check(ms(10), ms(9), 1000, (false, false));
        check(ms(10), ms(501), 0, (false, false));
        check(ms(10), Duration::ZERO, 1, (false, false));
        check(Duration::ZERO, ms(1), 1000, (true, true));
        check(Duration::MAX, Duration::MAX, 1, (true, true));
    }

    #[test]
    fn the_first_save_is_the_measurement() {
        let mut thrift = Thrift::default();
        thrift.computed(ms(1));
        assert!(thrift.is_due(1_000_000));
        thrift.saved(1000, ms(10));
        thrift.secure();
        thrift.computed(ms(499));
        assert!(!thrift.is_due(1000));
        thrift.computed(ms(2));
        assert!(thrift.is_due(1000));
    }

    #[test]
    fn the_price_follows_the_measurements() {
        let mut thrift = Thrift::default();
        thrift.saved(1000, ms(10));
        (0..12).for_each(|_| thrift.saved(10, ms(1)));
        thrift.computed(ms(4_900));
        assert!(!thrift.is_due(1000));
        thrift.computed(ms(200));
        assert!(thrift.is_due(1000));
    }

    #[test]
    fn at_most_a_fiftieth_is_spent() {
        let (mut thrift, mut spent, mut computed) = (Thrift::default(), Duration::ZERO, Duration::ZERO);
        thrift.saved(1000, ms(7));
        for step in 0..10_000 {
            thrift.computed(ms(20));
            computed += ms(20);
            let tokens = 100 + step % 900;
            if thrift.is_due(tokens) {
                thrift.secure();
                let took = ms(7).mul_f64(tokens as f64 / 1000.0);
                thrift.saved(tokens, took);
                spent += took;
            }
        }
        assert!(spent * 50 <= computed && spent * 60 > computed, "{spent:?} of {computed:?}");
    }
}

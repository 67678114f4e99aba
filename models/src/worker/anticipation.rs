//! Whether to wait a moment for the next request when an answer has ended. Pure.
//!
//! An agent that has its answer mostly comes back at once: it has called a tool, or asks on. A step that begins a millisecond too early
//! makes it wait for all of that step, and leaves its slot empty meanwhile. So the engine holds still for a small part of a step, as disk
//! schedulers do for the next read of the same process (Iyer and Druschel, "Anticipatory scheduling", 2001). People do not come back within
//! milliseconds: whether the pause pays is counted, and where it does not there is none, but for a try now and then.
use std::time::Duration;

/// Longest pause, as a part of the step before: what it costs those who wait, at most.
const PART_OF_STEP: u32 = 8;
/// Longest pause: more than a round trip to a program of this machine takes.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How much one ended answer changes the odds: as much as a mean over the last ten or so.
const RATE: f64 = 0.2;
/// Below these odds no pause is made. One that is kept spares a wait of about a step, one in vain costs an eighth of it.
const ODDS_MIN: f64 = 0.2;
/// What each ended answer without a pause adds to the odds: after 20 of them it is tried again.
const FORGIVENESS: f64 = 0.002;

/// How likely whoever has an answer asks again at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anticipation {
    odds: f64,
}

impl Default for Anticipation {
    fn default() -> Self {
        Self { odds: 0.5 }
    }
}

impl Anticipation {
    /// How long to hold still at most, behind a step that took so long. `None`: not at all.
    pub(super) fn pause(&self, step: Duration) -> Option<Duration> {
        (self.odds >= ODDS_MIN).then(|| (step / PART_OF_STEP).min(PAUSE_MAX))
    }

    /// So many answers had ended, and so many requests came within the pause.
    pub(super) fn learn(&mut self, ended: usize, came: usize) {
        for number in 0..ended {
            self.odds += RATE * (f64::from(u8::from(number < came)) - self.odds);
        }
    }

    /// So many answers had ended, and there was no pause.
    pub(super) fn forgive(&mut self, ended: usize) {
        self.odds += FORGIVENESS * ended as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(80);

    #[test]
    fn a_pause_is_a_small_part_of_a_step() {
        let fresh = Anticipation::default();
        assert_eq!(fresh.pause(STEP), Some(Duration::from_millis(10)));
        assert_eq!(fresh.pause(Duration::from_secs(5)), Some(PAUSE_MAX));
        assert_eq!(fresh.pause(Duration::ZERO), Some(Duration::ZERO));
    }

    #[test]
    fn nobody_waits_for_people_but_for_a_try_now_and_then() {
        let mut people = Anticipation::default();
        let (mut pauses, mut without) = (0, 0);
        for _ in 0..1000 {
            if people.pause(STEP).is_some() {
                pauses += 1;
                people.learn(1, 0);
            } else {
                without += 1;
                people.forgive(1);
            }
        }
        assert!((20..60).contains(&pauses), "{pauses} pauses, {without} times none");
    }

    #[test]
    fn who_comes_back_is_waited_for_again() {
        let mut once = Anticipation::default();
        while once.pause(STEP).is_some() {
            once.learn(1, 0);
        }
        once.forgive(20);
        assert!(once.pause(STEP).is_some());
        for _ in 0..10 {
            once.learn(2, 2);
            assert!(once.pause(STEP).is_some());
        }
        once.learn(8, 7);
        assert!(once.pause(STEP).is_some(), "one of eight that stays away is no reason");
    }
}

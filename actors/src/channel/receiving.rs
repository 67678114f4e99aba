//! What the receiving side of a channel does next: poll, hand in what came, wait, or give up a poll that hangs. Pure.
//!
//! A poll is never begun before all that the last one brought is durable. What cannot be handed in is held, and the platform is
//! asked for no more: there it is as safe as here.
use std::time::Duration;

use crate::ports::ChannelFault;
use crate::supervision::Backoff;

/// Delays before a platform that failed is asked again, and before what it brought is handed in again: short, since most failures are;
/// at most a minute, in which a person still waits.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
/// A platform that bars us is asked this often: its owner may have mended that, and being asked more often might make it worse.
pub(super) const BARRED_RETRY: Duration = Duration::from_secs(300);
/// Between two polls that brought nothing: an adapter whose polls come back at once must not keep a core busy.
const GAP_MIN: Duration = Duration::from_millis(100);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin a poll.
    Poll,
    /// Hand in what the last one brought, or what is left of it.
    HandIn,
    /// Give up the poll: it hangs. Another one follows after a delay.
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting { until: Duration },
    Polling { since: Duration },
    Holding { until: Duration },
    HandingIn,
}

/// The state. Times are counted from any fixed point.
#[derive(Debug)]
pub(super) struct Receiving {
    poll_max: Duration,
    phase: Phase,
    /// Failures since the last success, of the kind that the phase is about.
    failures: u32,
    returned_at: Option<Duration>,
    /// When a poll came back well last; at first, when it began.
    well_at: Duration,
    /// The longest time between two of those.
    silence_max: Duration,
    replaced: u32,
    trouble: Option<String>,
    barred: bool,
}

impl Receiving {
    /// Begins with a poll at once.
    pub(super) fn new(poll_max: Duration, now: Duration) -> Self {
        Self {
            poll_max,
            phase: Phase::Resting { until: now },
            failures: 0,
            returned_at: None,
            well_at: now,
            silence_max: Duration::ZERO,
            replaced: 0,
            trouble: None,
            barred: false,
        }
    }

    /// What is to be done now, if anything. It counts as begun.
    pub(super) fn next(&mut self, now: Duration, jitter: f64) -> Option<Step> {
        match self.phase {
            Phase::Resting { until } if until <= now => {
                self.phase = Phase::Polling { since: now };
                Some(Step::Poll)
            }
            Phase::Holding { until } if until <= now => {
                self.phase = Phase::HandingIn;
                Some(Step::HandIn)
            }
            Phase::Polling { since } if now >= since + self.poll_max => {
                self.replaced += 1;
                self.trouble = Some(format!("a poll did not come back within {:?}", self.poll_max));
                self.rest(now, jitter);
                Some(Step::Replace)
            }
            Phase::Resting { .. } | Phase::Holding { .. } | Phase::Polling { .. } | Phase::HandingIn => None,
        }
    }

    /// When there may be something to do that nobody reports.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Resting { until } | Phase::Holding { until } => Some(until),
            Phase::Polling { since } => Some(since + self.poll_max),
            Phase::HandingIn => None,
        }
    }

    /// A poll came back with so many messages, and perhaps a new place to go on from; or failed.
    pub(super) fn polled(&mut self, brought: Result<bool, &ChannelFault>, now: Duration, jitter: f64) {
        let Phase::Polling { since } = self.phase else { return };
        self.returned_at = Some(now);
        match brought {
            Ok(something) => {
                self.silence_max = self.silence_max.max(now.saturating_sub(self.well_at));
                self.well_at = now;
                self.failures = 0;
                self.trouble = None;
                self.barred = false;
                self.phase = match something {
                    true => Phase::Holding { until: now },
                    false => Phase::Resting { until: now.max(since + GAP_MIN) },
                };
            }
            Err(fault) => {
                self.trouble = Some(fault.to_string());
                self.barred = matches!(fault, ChannelFault::Barred { .. });
                match fault {
                    ChannelFault::Limited { after, .. } => {
                        self.phase = Phase::Resting { until: now + *after }
                    }
                    ChannelFault::Barred { .. } => self.phase = Phase::Resting { until: now + BARRED_RETRY },
                    ChannelFault::Transient { .. } | ChannelFault::Refused { .. } => self.rest(now, jitter),
                }
            }
        }
    }

    /// All that was brought is durable, or why the rest of it is not.
    pub(super) fn handed_in(&mut self, held_up: Option<String>, now: Duration, jitter: f64) {
        if self.phase != Phase::HandingIn {
            return;
        }
        match held_up {
            None => {
                self.failures = 0;
                self.trouble = None;
                self.phase = Phase::Resting { until: now };
            }
            Some(why) => {
                self.trouble = Some(why);
                self.phase = Phase::Holding { until: now + self.delay(jitter) };
            }
        }
    }

    fn rest(&mut self, now: Duration, jitter: f64) {
        self.phase = Phase::Resting { until: now + self.delay(jitter) };
    }

    fn delay(&mut self, jitter: f64) -> Duration {
        let delay = BACKOFF.delay(self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Since when the last poll is back.
    pub(super) fn returned_at(&self) -> Option<Duration> {
        self.returned_at
    }

    /// When a poll came back well last, and the longest time between two of those: whatever happened, it was not deaf for longer.
    pub(super) fn well(&self) -> (Duration, Duration) {
        (self.well_at, self.silence_max)
    }

    /// Polls that hung.
    pub(super) fn replaced(&self) -> u32 {
        self.replaced
    }

    /// What is wrong.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Only the owner can help.
    pub(super) fn is_barred(&self) -> bool {
        self.barred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn polling(now: Duration) -> Receiving {
        let mut receiving = Receiving::new(MAX, now);
        assert_eq!(receiving.next(now, 0.0), Some(Step::Poll));
        assert_eq!(receiving.next(now, 0.0), None, "one at a time");
        receiving
    }

    #[test]
    fn what_came_is_handed_in_before_more_is_asked_for() {
        let mut receiving = polling(s(0));
        receiving.polled(Ok(true), s(5), 0.0);
        assert_eq!(receiving.next(s(5), 0.0), Some(Step::HandIn));
        assert_eq!((receiving.next(s(500), 0.0), receiving.due()), (None, None));
        receiving.handed_in(Some("the inbox is full".into()), s(6), 0.0);
        assert_eq!((receiving.next(s(6), 0.0), receiving.due()), (None, Some(s(7))));
        assert_eq!(receiving.trouble(), Some("the inbox is full"));
        assert_eq!(receiving.next(s(7), 0.0), Some(Step::HandIn));
        receiving.handed_in(None, s(8), 0.0);
        assert_eq!((receiving.next(s(8), 0.0), receiving.trouble()), (Some(Step::Poll), None));
    }

    #[test]
    fn a_poll_that_hangs_is_replaced_and_its_late_return_ignored() {
        let mut receiving = polling(s(0));
        assert_eq!(receiving.due(), Some(MAX));
        assert_eq!(receiving.next(s(59), 0.0), None);
        assert_eq!(receiving.next(s(60), 0.0), Some(Step::Replace));
        assert_eq!((receiving.replaced(), receiving.returned_at()), (1, None));
        receiving.polled(Ok(true), s(60), 0.0);
        assert_eq!((receiving.next(s(60), 0.0), receiving.due()), (None, Some(s(61))));
        assert_eq!(receiving.next(s(61), 0.0), Some(Step::Poll));
    }

    #[test]
    fn each_failure_has_its_delay() {
        let limited = ChannelFault::Limited { after: s(17), everywhere: true };
        let barred = ChannelFault::Barred { detail: "who are you".into() };
        let refused = ChannelFault::Refused { reason: "no".into() };
        let table = [
            (ChannelFault::transient("gone"), s(1), false),
            (limited, s(17), false),
            (barred, BARRED_RETRY, true),
            (refused, s(1), false),
        ];
        for (fault, delay, is_barred) in table {
            let mut receiving = polling(s(10));
            receiving.polled(Err(&fault), s(11), 0.0);
            assert_eq!(receiving.due(), Some(s(11) + delay), "{fault:?}");
            assert_eq!(
                (receiving.is_barred(), receiving.returned_at()),
                (is_barred, Some(s(11))),
                "{fault:?}"
            );
            assert_eq!(receiving.trouble(), Some(fault.to_string().as_str()));
        }
    }

    #[test]
    fn delays_grow_to_a_minute_and_success_forgets_them() {
        let mut receiving = Receiving::new(MAX, s(0));
        let mut now = s(0);
        let mut delays = Vec::new();
        for _ in 0..8 {
            assert_eq!(receiving.next(now, 0.0), Some(Step::Poll));
            receiving.polled(Err(&ChannelFault::transient("gone")), now, 0.0);
            let due = receiving.due().unwrap();
            delays.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(receiving.next(now, 0.0), Some(Step::Poll));
        receiving.polled(Ok(false), now + s(25), 0.0);
        assert_eq!(receiving.due(), Some(now + s(25)));
        assert_eq!(receiving.next(now + s(25), 0.0), Some(Step::Poll));
        receiving.polled(Err(&ChannelFault::transient("gone")), now + s(25), 0.0);
        assert_eq!(receiving.due(), Some(now + s(26)));
    }

    #[test]
    fn the_longest_silence_counts_from_one_good_poll_to_the_next() {
        let mut receiving = polling(s(0));
        receiving.polled(Ok(false), s(5), 0.0);
        assert_eq!(receiving.well(), (s(5), s(5)));
        for at in [s(10), s(40)] {
            receiving.next(at, 0.0);
            receiving.polled(Err(&ChannelFault::transient("gone")), at + s(1), 0.0);
        }
        assert_eq!(receiving.well(), (s(5), s(5)), "what failed is no end of it");
        receiving.next(s(100), 0.0);
        receiving.polled(Ok(true), s(101), 0.0);
        assert_eq!(receiving.well(), (s(101), s(96)));
    }

    #[test]
    fn polls_that_come_back_at_once_do_not_spin() {
        let mut receiving = polling(s(0));
        receiving.polled(Ok(false), s(0), 0.0);
        assert_eq!(receiving.due(), Some(GAP_MIN));
    }
}

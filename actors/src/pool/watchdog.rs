//! Watches the progress of one model's worker: loading, answering, obeying, dying. A worker that only lives is not enough.
//!
//! Pure. Times are counted from any fixed moment. Outlives the workers, so that the pace it has learnt is kept.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::domain::GenerationId;

/// How many steps the pace is taken from: some minutes of a slow model, some seconds of a fast one.
const STEPS_MAX: usize = 256;
/// A worker may be slower than nearly all its former steps by this factor.
const PATIENCE_FACTOR: u32 = 20;
/// The patience after hangs is doubled so many times at most: from 15 seconds to 16 minutes.
const DOUBLINGS_MAX: u32 = 6;
/// The system needs time to give back the memory of a killed process; after this it is not waited for any more.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How patient the watchdog is.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchRules {
    pub(super) progress_timeout: Duration,
    pub(super) cancel_timeout: Duration,
}

/// Why a worker has to go. Written to follow "the worker of X was killed: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it was still loading after {0:?}; is the disk too slow, or memory short?")]
    LoadTooSlow(Duration),
    #[error("it showed no progress for {0:?}")]
    NoProgress(Duration),
    #[error("it went on with a cancelled answer for {0:?}")]
    CancelIgnored(Duration),
    #[error("it took no request for {0:?}")]
    Deaf(Duration),
    #[error("it did not end {0:?} after it was killed")]
    Unreaped(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no worker.
    Away,
    Loading {
        since: Duration,
        timeout: Duration,
    },
    Serving,
    Killed {
        at: Duration,
    },
}

/// The watchdog of one model's worker.
#[derive(Debug)]
pub(super) struct Watchdog {
    rules: WatchRules,
    phase: Phase,
    running: u32,
    progressed_at: Duration,
    cancelled: BTreeMap<GenerationId, Duration>,
    deaf_since: Option<Duration>,
    /// Since then it says that all its slots are taken although nothing runs, and has done nothing else.
    slotless_since: Option<Duration>,
    /// Times between two signs of progress, the last ones.
    steps: VecDeque<Duration>,
    /// 99 of 100 steps took no longer.
    step_p99: Duration,
    hangs: u32,
}

impl Watchdog {
    pub(super) fn new(rules: WatchRules) -> Self {
        Self {
            rules,
            phase: Phase::Away,
            running: 0,
            progressed_at: Duration::ZERO,
            cancelled: BTreeMap::new(),
            deaf_since: None,
            slotless_since: None,
            steps: VecDeque::new(),
            step_p99: Duration::ZERO,
            hangs: 0,
        }
    }

    /// A worker is being started; it may load for `timeout`.
    pub(super) fn launched(&mut self, now: Duration, timeout: Duration) {
        self.gone();
        self.phase = Phase::Loading { since: now, timeout };
    }

    /// The worker takes requests.
    pub(super) fn ready(&mut self) {
        if matches!(self.phase, Phase::Loading { .. }) {
            self.phase = Phase::Serving;
        }
    }

    /// The worker was given a request.
    pub(super) fn began(&mut self, now: Duration) {
        if self.running == 0 {
            self.progressed_at = now;
        }
        self.running += 1;
        self.deaf_since = None;
    }

    /// The worker would not be given a request.
    pub(super) fn turned_away(&mut self, now: Duration) {
        self.deaf_since.get_or_insert(now);
    }

    /// The worker says that all its slots are taken. With nothing in them it may say so for a moment only; after that,
    /// this is what it has to be killed for.
    pub(super) fn out_of_slots(&mut self, now: Duration) -> Option<Fault> {
        if self.running > 0 || !self.is_serving() {
            return None;
        }
        let (since, timeout) = (*self.slotless_since.get_or_insert(now), self.rules.progress_timeout);
        (now.saturating_sub(since) >= timeout).then_some(Fault::Deaf(timeout))
    }

    /// The worker read a part of a prompt, or chose a token.
    pub(super) fn progressed(&mut self, now: Duration) {
        self.slotless_since = None;
        let step = now.saturating_sub(self.progressed_at);
        self.progressed_at = now;
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
        let mut sorted: Vec<Duration> = self.steps.iter().copied().collect();
        let nth = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        self.step_p99 = *sorted.select_nth_unstable(nth).1;
    }

    /// A request is no longer with the worker. `answered`: because it is complete.
    pub(super) fn ended(&mut self, now: Duration, id: GenerationId, answered: bool) {
        self.progressed_at = now;
        self.running = self.running.saturating_sub(1);
        self.cancelled.remove(&id);
        if answered {
            self.slotless_since = None;
            self.hangs = 0;
        }
    }

    /// The worker was asked to end an answer.
    pub(super) fn cancelling(&mut self, now: Duration, id: GenerationId) {
        self.cancelled.entry(id).or_insert(now);
    }

    /// The worker was killed for this.
    pub(super) fn killed(&mut self, now: Duration, fault: &Fault) {
        if matches!(fault, Fault::NoProgress(_)) {
            // Perhaps it only is slower than we thought: its successor gets twice the time.
            self.hangs = (self.hangs + 1).min(DOUBLINGS_MAX);
        }
        self.phase = Phase::Killed { at: now };
    }

    /// There is no worker any more.
    pub(super) fn gone(&mut self) {
        self.phase = Phase::Away;
        self.running = 0;
        self.cancelled.clear();
        self.deaf_since = None;
        self.slotless_since = None;
    }

    /// The worker takes requests, and nothing is wrong with it so far.
    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// What the worker has to be killed for, if for anything.
    pub(super) fn fault(&self, now: Duration) -> Option<Fault> {
        self.deadlines()
            .filter(|(deadline, _)| *deadline <= now)
            .min_by_key(|(at, _)| *at)
            .map(|(_, fault)| fault)
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadlines().map(|(deadline, _)| deadline).min()
    }

    fn deadlines(&self) -> impl Iterator<Item = (Duration, Fault)> {
        let (serving, cancel_timeout) = (self.is_serving(), self.rules.cancel_timeout);
        let of_phase = match self.phase {
            Phase::Loading { since, timeout } => Some((since + timeout, Fault::LoadTooSlow(timeout))),
            Phase::Killed { at } => Some((at + EXIT_TIMEOUT, Fault::Unreaped(EXIT_TIMEOUT))),
            Phase::Serving if self.running > 0 => {
                let timeout = self.progress_timeout();
                Some((self.progressed_at + timeout, Fault::NoProgress(timeout)))
            }
            Phase::Serving | Phase::Away => None,
        };
        let cancelled = self.cancelled.values().min().filter(|_| serving);
        let cancelled = cancelled.map(|at| (*at + cancel_timeout, Fault::CancelIgnored(cancel_timeout)));
        let deaf = self.deaf_since.filter(|_| serving);
        let deaf = deaf.map(|at| (at + cancel_timeout, Fault::Deaf(cancel_timeout)));
        [of_phase, cancelled, deaf].into_iter().flatten()
    }

    fn progress_timeout(&self) -> Duration {
        let least = self.rules.progress_timeout.saturating_mul(1 << self.hangs);
        least.max(self.step_p99.saturating_mul(PATIENCE_FACTOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: GenerationId = GenerationId(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn serving() -> Watchdog {
        let mut dog = Watchdog::new(WatchRules { progress_timeout: at(15), cancel_timeout: at(2) });
        dog.launched(at(0), at(30));
        dog.ready();
        dog
    }

    #[track_caller]
    fn check(dog: &Watchdog, deadline: u64, fault: &Fault) {
        assert_eq!(dog.deadline(), Some(at(deadline)));
        assert_eq!(dog.fault(at(deadline) - Duration::from_millis(1)), None);
        assert_eq!(dog.fault(at(deadline)).as_ref(), Some(fault));
    }

    #[test]
    fn loading_has_a_limit_and_a_killed_worker_too() {
        let mut dog = Watchdog::new(WatchRules { progress_timeout: at(15), cancel_timeout: at(2) });
        assert_eq!(dog.deadline(), None);
        dog.launched(at(5), at(30));
        check(&dog, 35, &Fault::LoadTooSlow(at(30)));
        dog.killed(at(35), &Fault::LoadTooSlow(at(30)));
        check(&dog, 45, &Fault::Unreaped(at(10)));
        dog.gone();
        assert_eq!(dog.deadline(), None);
    }

    #[test]
    fn an_idle_worker_may_be_idle() {
        let mut dog = serving();
        assert_eq!(dog.deadline(), None);
        dog.began(at(100));
        dog.began(at(110));
        check(&dog, 115, &Fault::NoProgress(at(15)));
        dog.ended(at(112), ID, true);
        check(&dog, 127, &Fault::NoProgress(at(15)));
        dog.ended(at(113), GenerationId(2), true);
        assert_eq!(dog.deadline(), None);
    }

    #[test]
    fn a_slow_worker_gets_more_time_than_a_fast_one() {
        let mut dog = serving();
        dog.began(at(0));
        for second in 1..=300 {
            dog.progressed(at(second * 2));
        }
        check(&dog, 640, &Fault::NoProgress(at(40)));
        dog.progressed(at(639));
        assert_eq!(dog.deadline(), Some(at(679)), "one slow step of many changes nothing");
    }

    #[test]
    fn after_a_hang_the_patience_is_doubled_until_an_answer_is_complete() {
        let mut dog = serving();
        dog.killed(at(0), &Fault::NoProgress(at(15)));
        dog.launched(at(0), at(30));
        dog.ready();
        dog.began(at(0));
        check(&dog, 30, &Fault::NoProgress(at(30)));
        dog.ended(at(1), ID, true);
        dog.began(at(1));
        check(&dog, 16, &Fault::NoProgress(at(15)));
    }

    #[test]
    fn a_cancelled_answer_has_to_end_and_a_request_to_be_taken() {
        let mut dog = serving();
        dog.began(at(10));
        dog.cancelling(at(11), ID);
        dog.cancelling(at(12), ID);
        check(&dog, 13, &Fault::CancelIgnored(at(2)));
        dog.ended(at(12), ID, false);
        assert_eq!(dog.deadline(), None);
        dog.turned_away(at(20));
        dog.turned_away(at(21));
        check(&dog, 22, &Fault::Deaf(at(2)));
        dog.began(at(21));
        assert_eq!(dog.deadline(), Some(at(36)));
    }
}

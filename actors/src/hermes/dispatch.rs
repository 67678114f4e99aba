//! What Hermes decides: which message goes next, when a try has taken too long, when it is tried again. Pure.
//!
//! Messages of one session go one after another, in the order of the inbox; sessions take turns; at most
//! `in_flight_max` messages are with the harness at once. The store is the queue: only a window of it is held here.
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::domain::{FitPolicy, InboxEntry, InboxId, SessionKey};
use crate::session::TryEnd;

/// Tries of one message over all lives of the daemon. A message that ends the process each time is given up at last.
pub(super) const ATTEMPTS_MAX: u32 = 20;
/// Tries of one message that each ended in a crash of its session: it is begun again once.
const CRASHES_MAX: u32 = 2;
/// Waiting messages of one session that are told of at once: whoever writes more in one turn is not heard sooner.
const TOLD_MAX: usize = 16;
/// Longest wait before a retry.
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The numbers of one Archon's dispatch.
#[derive(Debug, Clone, Copy)]
pub(super) struct DispatchPolicy {
    /// Messages with the harness at once.
    pub in_flight_max: usize,
    /// Waiting messages held in memory; the others stay in the store.
    pub window_len_max: usize,
    /// Deadlines and retries.
    pub fit: FitPolicy,
}

/// What follows from a try without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is tried again after a delay.
    Retry {
        /// The number of the coming try.
        attempt: u32,
    },
    /// Its sender is to be told.
    GiveUp {
        /// The message.
        entry: InboxEntry,
    },
    /// The try was over already.
    Stale,
}

#[derive(Debug)]
struct Flight {
    entry: InboxEntry,
    attempt: u32,
    progress_at: Duration,
}

#[derive(Debug)]
struct Retry {
    entry: InboxEntry,
    attempt: u32,
    due: Duration,
}

/// The state of one Archon's dispatch. Times are counted from any fixed point.
#[derive(Debug)]
pub(super) struct Dispatch {
    policy: DispatchPolicy,
    /// Waiting messages of each session, oldest first.
    lanes: HashMap<SessionKey, VecDeque<InboxEntry>>,
    /// Sessions with waiting messages and none under way, in the order of their turns.
    order: VecDeque<SessionKey>,
    /// Sessions with a message under way or about to be retried.
    busy: HashSet<SessionKey>,
    flights: BTreeMap<InboxId, Flight>,
    retries: BTreeMap<InboxId, Retry>,
    crashes: HashMap<InboxId, u32>,
    known: HashSet<InboxId>,
    waiting: usize,
    more_in_store: bool,
}

impl Dispatch {
    /// An empty dispatch that knows nothing of the store yet: [`Dispatch::wants_refill`] holds.
    pub(super) fn new(policy: DispatchPolicy) -> Self {
        Self {
            policy,
            lanes: HashMap::new(),
            order: VecDeque::new(),
            busy: HashSet::new(),
            flights: BTreeMap::new(),
            retries: BTreeMap::new(),
            crashes: HashMap::new(),
            known: HashSet::new(),
            waiting: 0,
            more_in_store: true,
        }
    }

    /// Takes up a message that was journalled just now. While the store may hold older ones that are not known here, it
    /// stays there with them: it must not overtake those of its own session.
    pub(super) fn accept(&mut self, entry: InboxEntry) {
        if !self.more_in_store {
            self.take_up(entry);
        }
    }

    /// One that is known is ignored; one that finds the window full stays in the store.
    fn take_up(&mut self, entry: InboxEntry) {
        if self.known.contains(&entry.id) {
            return;
        }
        if self.waiting >= self.policy.window_len_max {
            self.more_in_store = true;
            return;
        }
        self.known.insert(entry.id);
        self.waiting += 1;
        let lane = self.lanes.entry(entry.session.clone()).or_default();
        // Two messages may be reported in another order than they were journalled in.
        let place = lane.partition_point(|other| other.id < entry.id);
        let key = entry.session.clone();
        lane.insert(place, entry);
        if lane.len() == 1 && !self.busy.contains(&key) {
            self.order.push_back(key);
        }
    }

    /// The next message for the harness and the number of its try within this life of the daemon, while there is room.
    pub(super) fn next(&mut self, now: Duration) -> Option<(InboxEntry, u32)> {
        if self.flights.len() >= self.policy.in_flight_max {
            return None;
        }
        let due = self.retries.iter().find(|(_, retry)| retry.due <= now).map(|(id, _)| *id);
        if let Some(retry) = due.and_then(|id| self.retries.remove(&id)) {
            return Some(self.fly(retry.entry, retry.attempt, now));
        }
        let key = self.order.pop_front()?;
        let entry = self.lanes.get_mut(&key).and_then(VecDeque::pop_front)?;
        self.waiting -= 1;
        self.busy.insert(key);
        Some(self.fly(entry, 1, now))
    }

    fn fly(&mut self, entry: InboxEntry, attempt: u32, now: Duration) -> (InboxEntry, u32) {
        let flight = Flight { entry: entry.clone(), attempt, progress_at: now };
        self.flights.insert(entry.id, flight);
        (entry, attempt)
    }

    /// The message of a session that is with the harness, and the first of those that wait for its end. `None`: there is nothing to be
    /// told, or nothing new, since so many are told of already.
    pub(super) fn behind(&self, session: &SessionKey) -> Option<(InboxId, Vec<InboxEntry>)> {
        let lane = self.lanes.get(session).filter(|lane| (1..=TOLD_MAX).contains(&lane.len()))?;
        let flight = self.flights.values().find(|flight| flight.entry.session == *session)?;
        Some((flight.entry.id, lane.iter().cloned().collect()))
    }

    /// Sessions with a message with the harness.
    pub(super) fn at_work(&self) -> Vec<SessionKey> {
        self.flights.values().map(|flight| flight.entry.session.clone()).collect()
    }

    /// The turn of another message took this one in: it waits no more. Returns whether it was known.
    pub(super) fn taken_in(&mut self, id: InboxId) -> bool {
        let holds = |lane: &VecDeque<InboxEntry>| lane.iter().any(|entry| entry.id == id);
        let Some((key, lane)) = self.lanes.iter_mut().find(|(_, lane)| holds(lane)) else {
            return self.ended(id);
        };
        lane.retain(|entry| entry.id != id);
        self.waiting -= 1;
        self.known.remove(&id);
        if lane.is_empty() && !self.busy.contains(key) {
            let key = key.clone();
            self.order.retain(|other| *other != key);
            self.lanes.remove(&key);
        }
        true
    }

    /// Whether a message waits here, or is under way.
    pub(super) fn knows(&self, id: InboxId) -> bool {
        self.known.contains(&id)
    }

    /// A sign of life of a try.
    pub(super) fn progress(&mut self, id: InboxId, now: Duration) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.progress_at = now;
        }
    }

    /// For so long nobody here heard of anything: signs of life may wait in the mailbox.
    pub(super) fn held_up(&mut self, time: Duration) {
        for flight in self.flights.values_mut() {
            flight.progress_at += time;
        }
    }

    /// The message has its answer. Returns whether it was under way.
    pub(super) fn ended(&mut self, id: InboxId) -> bool {
        let entry = match (self.flights.remove(&id), self.retries.remove(&id)) {
            (Some(flight), _) => flight.entry,
            (None, Some(retry)) => retry.entry,
            (None, None) => return false,
        };
        self.known.remove(&id);
        self.crashes.remove(&id);
        self.release(&entry.session);
        true
    }

    fn release(&mut self, key: &SessionKey) {
        self.busy.remove(key);
        match self.lanes.get(key).map(VecDeque::is_empty) {
            Some(true) => {
                self.lanes.remove(key);
            }
            Some(false) => self.order.push_back(key.clone()),
            None => {}
        }
    }

    /// A try ended without an answer. After [`Verdict::GiveUp`] the message is still under way until [`Dispatch::ended`]:
    /// its session's next message must not overtake the bad news.
    pub(super) fn failed(&mut self, id: InboxId, attempt: u32, end: TryEnd, now: Duration) -> Verdict {
        let Some(flight) = self.flights.get(&id).filter(|flight| flight.attempt == attempt) else {
            return Verdict::Stale;
        };
        let crashes = self.crashes.entry(id).or_default();
        *crashes += u32::from(end == TryEnd::Crashed);
        let spent = match end {
            TryEnd::Crashed => *crashes >= CRASHES_MAX,
            TryEnd::Transient => attempt > self.policy.fit.retries_max,
            TryEnd::Final => true,
        };
        if spent || flight.entry.attempts.saturating_add(attempt) >= ATTEMPTS_MAX {
            return Verdict::GiveUp { entry: flight.entry.clone() };
        }
        let Some(flight) = self.flights.remove(&id) else { return Verdict::Stale };
        let attempt = attempt + 1;
        let due = now + self.backoff(attempt);
        self.retries.insert(id, Retry { entry: flight.entry, attempt, due });
        Verdict::Retry { attempt }
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(2).min(16);
        self.policy.fit.retry_backoff.saturating_mul(2_u32.pow(doublings)).min(RETRY_BACKOFF_MAX)
    }

    /// Tries that showed no sign of life for the profile's time, and the message and number of each.
    pub(super) fn overdue(&self, now: Duration) -> Vec<(InboxEntry, u32)> {
        let patience = self.policy.fit.progress_timeout;
        (self.flights.values())
            .filter(|flight| now.saturating_sub(flight.progress_at) >= patience)
            .map(|flight| (flight.entry.clone(), flight.attempt))
            .collect()
    }

    /// Messages with the harness now, and the number of each try.
    #[cfg(test)]
    pub(super) fn flights(&self) -> impl Iterator<Item = (&InboxEntry, u32)> {
        self.flights.values().map(|flight| (&flight.entry, flight.attempt))
    }

    /// Whether the store may hold messages that are not known here, and there is room for them.
    pub(super) fn wants_refill(&self) -> bool {
        self.more_in_store && self.waiting <= self.policy.window_len_max / 2
    }

    /// A report to this dispatch was lost: the store is to be looked at again.
    pub(super) fn missed(&mut self) {
        self.more_in_store = true;
    }

    /// Takes up what the store holds, oldest first. `complete`: the store holds no more than that.
    pub(super) fn refill(&mut self, entries: Vec<InboxEntry>, complete: bool) {
        self.more_in_store = !complete;
        for entry in entries {
            self.take_up(entry);
        }
    }

    /// Messages that wait here, those about to be retried included.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.retries.len()
    }

    /// Messages with the harness.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether nothing is under way or waits for its retry.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.retries.is_empty()
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;

//! Which answer is handed over next, and what follows from each try. Pure.
//!
//! The answers of one peer go one after another, in the order of the outbox, each until it is delivered or given up; peers do not wait
//! for each other. The store is the queue: a window of it is held here, of each peer the oldest that wait.
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::receiving::BARRED_RETRY;
use crate::domain::{OutboxEntry, OutboxId, PeerId, Receipt};
use crate::ports::ChannelFault;
use crate::supervision::Backoff;

/// Answers on their way at once: as many as a platform may be slow for at the same time, and far fewer than it bears in a second.
const IN_FLIGHT_MAX: usize = 8;
/// Waiting answers of one peer that are held here.
pub(super) const LANE_LEN_MAX: usize = 32;
/// Waiting answers that are held here.
pub(super) const WINDOW_LEN_MAX: usize = 512;
/// Delays after a failure that may pass. The longest is what a person waits at most once the platform is well again.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(120) };
/// Failures of one answer while the platform was there for others: half a day. Then it is the answer that the platform cannot bear.
const TRIES_MAX: u32 = 360;

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// The platform has it, and the store knows, or does not know yet.
    Delivered {
        /// The store knows.
        marked: bool,
    },
    /// It has not, or not all of it.
    Failed {
        /// Why.
        fault: ChannelFault,
        /// How far the adapter came, where the store does not know that.
        receipt: Option<Receipt>,
    },
}

/// What is to be done now. It counts as begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Hand an answer over.
    Carry {
        /// Which.
        entry: OutboxEntry,
        /// How far the adapter came, where the store may not know that.
        receipt: Option<Receipt>,
        /// Tries before.
        tries: u32,
    },
    /// Tell the store that an answer is delivered.
    MarkSent(OutboxId, PeerId),
    /// Tell the store that an answer is given up.
    GiveUp(OutboxId, PeerId, String),
}

/// What the store is to be told of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Settlement {
    Sent,
    GivenUp(String),
}

#[derive(Debug)]
enum Phase {
    /// The first one may be handed over from then on.
    Ready { at: Duration },
    /// It is under way.
    Flying,
    /// The platform is done with it, and the store is to be told.
    Settling { what: Settlement, at: Duration, tries: u32 },
    /// It is being told.
    Telling { what: Settlement, tries: u32 },
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<OutboxEntry>,
    phase: Phase,
    /// Failed tries of the first.
    tries: u32,
    /// Those of them while the platform was there for others.
    own_tries: u32,
    failed_at: Option<Duration>,
    receipt: Option<Receipt>,
}

/// The state. Times are counted from any fixed point.
#[derive(Debug)]
pub(super) struct Delivery {
    lanes: BTreeMap<PeerId, Lane>,
    known: HashSet<OutboxId>,
    in_flight: usize,
    /// Nothing is handed over before.
    limited_until: Duration,
    barred: Option<String>,
    trouble: Option<String>,
    /// When the platform did something for us last.
    reached_at: Option<Duration>,
    /// The store may hold some that are not known here, and there is room for them.
    behind: bool,
    /// The store held more than there was room for.
    more: bool,
    looking: bool,
    /// Those that were settled while somebody looked: the look may not know it.
    settled_meanwhile: HashSet<OutboxId>,
    delivered: u64,
    given_up: u64,
}

impl Delivery {
    /// Knows nothing of the store yet: [`Delivery::wants_look`] holds.
    pub(super) fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            known: HashSet::new(),
            in_flight: 0,
            limited_until: Duration::ZERO,
            barred: None,
            trouble: None,
            reached_at: None,
            behind: true,
            more: false,
            looking: false,
            settled_meanwhile: HashSet::new(),
            delivered: 0,
            given_up: 0,
        }
    }

    /// There is an answer in the store that is not known here.
    pub(super) fn answered(&mut self) {
        self.behind = true;
    }

    /// The store is to be looked at. It counts as begun.
    pub(super) fn wants_look(&mut self, now: Duration) -> bool {
        let wanted =
            self.behind && !self.looking && self.known.len() < WINDOW_LEN_MAX && now >= self.limited_until;
        if wanted {
            (self.behind, self.looking) = (false, true);
        }
        wanted
    }

    /// What the store holds: of each peer the oldest, all in order; `complete`: there are no others. `None`: it could not be read.
    pub(super) fn looked(&mut self, found: Option<(Vec<OutboxEntry>, bool)>, now: Duration) {
        self.looking = false;
        let Some((entries, complete)) = found else {
            self.behind = true;
            return;
        };
        let settled = std::mem::take(&mut self.settled_meanwhile);
        for entry in entries {
            if settled.contains(&entry.id) || !self.known.insert(entry.id) {
                continue;
            }
            let fresh = || Lane {
                waiting: VecDeque::new(),
                phase: Phase::Ready { at: now },
                tries: 0,
                own_tries: 0,
                failed_at: None,
                receipt: None,
            };
            self.lanes.entry(entry.session.peer.clone()).or_insert_with(fresh).waiting.push_back(entry);
        }
        self.more = !complete;
    }

    /// The platform did something for us just now.
    pub(super) fn reached(&mut self, now: Duration) {
        self.reached_at = Some(now);
    }

    /// What is to be done now, if anything: what is settled first, then whoever has waited longest.
    pub(super) fn next(&mut self, now: Duration) -> Option<Act> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        let settling = self.lanes.values_mut().find_map(|lane| match &lane.phase {
            Phase::Settling { what, at, tries } if *at <= now => Some((what.clone(), *tries, lane)),
            _ => None,
        });
        if let Some((what, tries, lane)) = settling {
            let first = lane.waiting.front()?;
            let (outbox, peer) = (first.id, first.session.peer.clone());
            lane.phase = Phase::Telling { what: what.clone(), tries };
            self.in_flight += 1;
            return Some(match what {
                Settlement::Sent => Act::MarkSent(outbox, peer),
                Settlement::GivenUp(reason) => Act::GiveUp(outbox, peer, reason),
            });
        }
        if now < self.limited_until {
            return None;
        }
        let ready = self.lanes.values_mut().filter_map(|lane| match lane.phase {
            Phase::Ready { at } if at <= now => Some((at, lane.waiting.front()?.id, lane)),
            _ => None,
        });
        let (_, _, lane) = ready.min_by_key(|(at, id, _)| (*at, *id))?;
        let entry = lane.waiting.front()?.clone();
        lane.phase = Phase::Flying;
        self.in_flight += 1;
        Some(Act::Carry { entry, receipt: lane.receipt.clone(), tries: lane.tries })
    }

    /// When there may be something to do that nobody reports.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        let lanes = self.lanes.values().filter_map(|lane| match &lane.phase {
            Phase::Ready { at } => Some((*at).max(self.limited_until)),
            Phase::Settling { at, .. } => Some(*at),
            Phase::Flying | Phase::Telling { .. } => None,
        });
        let looking =
            (self.behind && !self.looking && self.known.len() < WINDOW_LEN_MAX).then_some(self.limited_until);
        lanes.chain(looking).min()
    }

    /// A try of a peer's first answer is over.
    pub(super) fn tried(&mut self, entry: &OutboxEntry, tried: Tried, now: Duration, jitter: f64) {
        let Some(lane) = self.lanes.get_mut(&entry.session.peer) else { return };
        let is_first = lane.waiting.front().is_some_and(|first| first.id == entry.id);
        if !is_first || !matches!(lane.phase, Phase::Flying) {
            return;
        }
        self.in_flight -= 1;
        let (fault, receipt) = match tried {
            Tried::Delivered { marked } => {
                self.delivered += 1;
                (self.barred, self.trouble, self.reached_at) = (None, None, Some(now));
                if marked {
                    return self.settle(&entry.session.peer, now);
                }
                lane.phase =
                    Phase::Settling { what: Settlement::Sent, at: now + BACKOFF.delay(0, jitter), tries: 1 };
                return;
            }
            Tried::Failed { fault, receipt } => (fault, receipt),
        };
        lane.receipt = receipt.or(lane.receipt.take());
        let refused = |reason| Phase::Settling { what: Settlement::GivenUp(reason), at: now, tries: 0 };
        lane.phase = match fault {
            ChannelFault::Refused { reason } => refused(reason),
            ChannelFault::Limited { after, everywhere } => {
                if everywhere {
                    self.limited_until = self.limited_until.max(now + after);
                }
                Phase::Ready { at: now + after }
            }
            ChannelFault::Barred { detail } => {
                self.limited_until = self.limited_until.max(now + BARRED_RETRY);
                self.barred = Some(detail);
                Phase::Ready { at: now + BARRED_RETRY }
            }
            ChannelFault::Transient { detail } => {
                let others =
                    self.reached_at.is_some_and(|reached| lane.failed_at.is_none_or(|last| reached > last));
                lane.own_tries += u32::from(others);
                if lane.own_tries >= TRIES_MAX {
                    refused(format!("tried {} times: {detail}", lane.tries + 1))
                } else {
                    let at = now + BACKOFF.delay(lane.tries, jitter);
                    self.trouble = Some(detail);
                    Phase::Ready { at }
                }
            }
        };
        lane.tries = lane.tries.saturating_add(1);
        lane.failed_at = Some(now);
    }

    /// The store was told what became of an answer, or could not be.
    pub(super) fn told(&mut self, peer: &PeerId, is_done: bool, now: Duration, jitter: f64) {
        let Some(lane) = self.lanes.get_mut(peer) else { return };
        let Phase::Telling { what, tries } = &lane.phase else { return };
        self.in_flight -= 1;
        if is_done {
            self.given_up += u64::from(matches!(what, Settlement::GivenUp(_)));
            return self.settle(peer, now);
        }
        let (what, tries) = (what.clone(), *tries);
        lane.phase =
            Phase::Settling { what, at: now + BACKOFF.delay(tries, jitter), tries: tries.saturating_add(1) };
    }

    /// A peer's first answer is off the list.
    fn settle(&mut self, peer: &PeerId, now: Duration) {
        let Some(lane) = self.lanes.get_mut(peer) else { return };
        if let Some(entry) = lane.waiting.pop_front() {
            self.known.remove(&entry.id);
            if self.looking {
                self.settled_meanwhile.insert(entry.id);
            }
        }
        (lane.tries, lane.own_tries, lane.failed_at, lane.receipt) = (0, 0, None, None);
        lane.phase = Phase::Ready { at: now };
        let has_room = lane.waiting.len() < LANE_LEN_MAX / 2 || self.known.len() < WINDOW_LEN_MAX / 2;
        self.behind |= self.more && has_room;
        self.trouble = None;
        if lane.waiting.is_empty() {
            self.lanes.remove(peer);
        }
    }

    /// Answers that are known and wait, or are under way.
    pub(super) fn waiting(&self) -> usize {
        self.known.len()
    }

    /// Answers that are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Answers that the platform has, and answers that it will never take.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.delivered, self.given_up)
    }

    /// What is wrong.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.barred.as_deref().or(self.trouble.as_deref())
    }

    /// Only the owner can help.
    pub(super) fn is_barred(&self) -> bool {
        self.barred.is_some()
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;

//! Who goes next: a bounded queue per lane, by priority, in turns between Archons, first come first served within one.
//!
//! Pure. Lanes share the limits, because they share the machine.
use std::collections::{BTreeMap, VecDeque};

use crate::domain::{ArchonId, GenerationId, Priority};

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    /// All lanes together.
    pub(super) len_max: u32,
    /// Of one Archon.
    pub(super) len_max_per_archon: u32,
}

/// Whose place in the queue it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: GenerationId,
    pub(super) archon: ArchonId,
    pub(super) priority: Priority,
}

/// A limit is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// How many wait that count against that limit.
    pub(super) waiting: u32,
}

/// The queue of all lanes.
#[derive(Debug)]
pub(super) struct Admission<L, T> {
    limits: QueueLimits,
    lanes: BTreeMap<L, Lane<T>>,
}

#[derive(Debug)]
struct Lane<T> {
    /// Was taken out before and came back: goes before all others.
    returned: VecDeque<(Ticket, T)>,
    /// Archons of one priority, in the order of their turns. None of their rows is empty.
    levels: BTreeMap<Priority, VecDeque<(ArchonId, Row<T>)>>,
}

type Row<T> = VecDeque<(Ticket, T)>;

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { returned: VecDeque::new(), levels: BTreeMap::new() }
    }
}

impl<L: Ord + Clone, T> Admission<L, T> {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, lanes: BTreeMap::new() }
    }

    /// Whether one more of this Archon may wait.
    pub(super) fn check(&self, archon: &ArchonId) -> Result<(), Full> {
        let all = self.iter().count();
        let own = self.iter().filter(|(ticket, _)| ticket.archon == *archon).count();
        let within = |waiting: usize, limit: u32| {
            let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
            if waiting < limit { Ok(()) } else { Err(Full { waiting }) }
        };
        within(all, self.limits.len_max)?;
        within(own, self.limits.len_max_per_archon)
    }

    /// Puts one at the end of its Archon's row, if there is room.
    pub(super) fn admit(&mut self, lane: &L, ticket: Ticket, item: T) -> Result<(), Full> {
        self.check(&ticket.archon)?;
        let turns = self.lane(lane).levels.entry(ticket.priority).or_default();
        match turns.iter_mut().find(|(archon, _)| *archon == ticket.archon) {
            Some((_, row)) => row.push_back((ticket, item)),
            None => turns.push_back((ticket.archon.clone(), VecDeque::from([(ticket, item)]))),
        }
        Ok(())
    }

    /// Gives one back that was taken out: it goes before all others of its lane. It was admitted before, so no limit holds.
    pub(super) fn put_back(&mut self, lane: &L, ticket: Ticket, item: T) {
        self.lane(lane).returned.push_front((ticket, item));
    }

    /// The one that goes next.
    pub(super) fn peek(&self, lane: &L) -> Option<&T> {
        let lane = self.lanes.get(lane)?;
        let queued = || lane.levels.values().find_map(|turns| turns.front()?.1.front());
        lane.returned.front().or_else(queued).map(|(_, item)| item)
    }

    /// Takes out the one that goes next; after it, it is the next Archon's turn.
    pub(super) fn next(&mut self, lane: &L) -> Option<(Ticket, T)> {
        let lane = self.lanes.get_mut(lane)?;
        if let Some(returned) = lane.returned.pop_front() {
            return Some(returned);
        }
        let mut first = lane.levels.first_entry()?;
        let turns = first.get_mut();
        let (archon, mut row) = turns.pop_front()?;
        let next = row.pop_front();
        if !row.is_empty() {
            turns.push_back((archon, row));
        }
        if turns.is_empty() {
            first.remove();
        }
        next
    }

    /// Takes out the one with this number, wherever it waits.
    pub(super) fn remove(&mut self, id: GenerationId) -> Option<(L, T)> {
        for (key, lane) in &mut self.lanes {
            if let Some(item) = take(&mut lane.returned, id) {
                return Some((key.clone(), item));
            }
            let mut found = None;
            for turns in lane.levels.values_mut() {
                found = found.or_else(|| turns.iter_mut().find_map(|(_, row)| take(row, id)));
                turns.retain(|(_, row)| !row.is_empty());
            }
            lane.levels.retain(|_, turns| !turns.is_empty());
            if let Some(item) = found {
                return Some((key.clone(), item));
            }
        }
        None
    }

    /// Takes out all of a lane, in the order of service.
    pub(super) fn drain(&mut self, lane: &L) -> Vec<(Ticket, T)> {
        let mut drained = Vec::new();
        while let Some(next) = self.next(lane) {
            drained.push(next);
        }
        drained
    }

    /// Those who wait in a lane, in the order of service if nobody came any more.
    pub(super) fn in_order(&self, lane: &L) -> Vec<&T> {
        let Some(lane) = self.lanes.get(lane) else { return Vec::new() };
        let mut order: Vec<&T> = lane.returned.iter().map(|(_, item)| item).collect();
        for turns in lane.levels.values() {
            let rounds = turns.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
            for round in 0..rounds {
                order.extend(turns.iter().filter_map(|(_, row)| row.get(round)).map(|(_, item)| item));
            }
        }
        order
    }

    /// How many wait in a lane.
    pub(super) fn lane_len(&self, lane: &L) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.iter().count())
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn lane(&mut self, lane: &L) -> &mut Lane<T> {
        self.lanes.entry(lane.clone()).or_default()
    }

    fn iter(&self) -> impl Iterator<Item = &(Ticket, T)> {
        self.lanes.values().flat_map(Lane::iter)
    }
}

impl<T> Lane<T> {
    fn iter(&self) -> impl Iterator<Item = &(Ticket, T)> {
        let queued = self.levels.values().flatten().flat_map(|(_, row)| row);
        self.returned.iter().chain(queued)
    }
}

fn take<T>(row: &mut Row<T>, id: GenerationId) -> Option<T> {
    let index = row.iter().position(|(ticket, _)| ticket.id == id)?;
    row.remove(index).map(|(_, item)| item)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

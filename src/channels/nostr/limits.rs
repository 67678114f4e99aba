//! How much is taken of whom, and which wraps were seen: all of it bounded. Pure.
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use nostr::event::EventId;
use nostr::key::PublicKey;
use tokio::time::Instant;

/// Wraps that are known again: what a busy inbox gets in two days. One that is forgotten is opened once more, and known by what is in it.
const SEEN_MAX: usize = 8192;
/// Writers who are counted at once. More at a time are a flood, which the limit of all bounds.
const WRITERS_MAX: usize = 1024;

/// So many in a minute, and as many at once.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    per_minute: u32,
    left: f64,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute, left: f64::from(per_minute), filled_at: now }
    }

    fn fill(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.filled_at).as_secs_f64() / 60.0;
        self.left = (self.left + minutes * f64::from(self.per_minute)).min(f64::from(self.per_minute));
        self.filled_at = now;
    }

    /// Takes one, or says how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) * 60.0 / f64::from(self.per_minute.max(1))))
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= f64::from(self.per_minute)
    }
}

/// A bucket for each writer.
#[derive(Debug)]
pub(super) struct Writers {
    per_minute: u32,
    buckets: HashMap<PublicKey, Bucket>,
}

impl Writers {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: HashMap::new() }
    }

    /// Whether one more of his is taken now.
    pub(super) fn take(&mut self, writer: PublicKey, now: Instant) -> bool {
        if self.buckets.len() >= WRITERS_MAX && !self.buckets.contains_key(&writer) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= WRITERS_MAX {
                return false;
            }
        }
        let new = || Bucket::new(self.per_minute, now);
        self.buckets.entry(writer).or_insert_with(new).take(now).is_ok()
    }
}

/// Wraps that came already, from whichever relay.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl Seen {
    /// Whether it is new; from now on it is not.
    pub(super) fn note(&mut self, id: EventId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
        true
    }

    /// It is to be taken when it comes again.
    pub(super) fn forget(&mut self, id: &EventId) {
        if self.known.remove(id) {
            // What was noted last is mostly what is forgotten.
            if let Some(at) = self.order.iter().rposition(|known| known == id) {
                self.order.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nostr::key::Keys;

    use super::*;

    fn id(n: usize) -> EventId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        EventId::from_byte_array(bytes)
    }

    #[test]
    fn a_bucket_gives_a_minutes_worth_at_once_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, start);
        assert_eq!((bucket.take(start), bucket.take(start)), (Ok(()), Ok(())));
        let wait = bucket.take(start).unwrap_err();
        assert_eq!(wait.as_secs(), 30);
        assert!(bucket.take(start + wait).is_ok());
        assert!(bucket.take(start + wait).is_err());
        let later = start + Duration::from_secs(3600);
        assert_eq!((bucket.take(later), bucket.take(later)), (Ok(()), Ok(())));
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn one_writer_does_not_use_up_anothers_share_and_a_crowd_is_bounded() {
        let start = Instant::now();
        let mut writers = Writers::new(1);
        let (maria, noah) = (Keys::generate().public_key(), Keys::generate().public_key());
        assert!(writers.take(maria, start));
        assert!(!writers.take(maria, start));
        assert!(writers.take(noah, start));
        for _ in 0..WRITERS_MAX - 2 {
            assert!(writers.take(Keys::generate().public_key(), start));
        }
        assert!(!writers.take(Keys::generate().public_key(), start));
        assert!(writers.take(Keys::generate().public_key(), start + Duration::from_secs(61)));
        assert!(writers.buckets.len() <= WRITERS_MAX);
    }

    #[test]
    fn a_wrap_is_new_once_until_it_is_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.note(id(1)));
        assert!(!seen.note(id(1)));
        seen.forget(&id(1));
        assert!(seen.note(id(1)));
        for n in 2..SEEN_MAX + 10 {
            assert!(seen.note(id(n)));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(seen.note(id(1)), "the oldest is forgotten");
    }
}

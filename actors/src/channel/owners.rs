//! The owner's own chats, where he is asked about the turns of others.
//!
//! Nothing of a question is kept: whoever goes on with a turn after a crash asks anew, under the same name. A turn that waits takes one
//! of the places in which the Archon answers, so that no one person and no number of them may have all of these wait.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::handle::ChannelHandle;
use crate::access::{self, Judgement};
use crate::domain::{AccessPolicy, ArchonSpec, InboxId, Paired, PeerId, PeerKey, Question, Tier};
use crate::memory::MemoryHandle;

/// Questions of one turn that may be open at once: more calls in one step are hardly meant.
const OF_A_TURN_MAX: usize = 4;
/// Longest time between two looks of a terminal that shows an owner what waits for him.
pub const WATCH_MAX: Duration = Duration::from_secs(10);

/// The ways to the owners of an Archon.
#[derive(Clone)]
pub struct Owners {
    spec: Arc<ArchonSpec>,
    memory: MemoryHandle,
    channels: Arc<[ChannelHandle]>,
    open: Open,
    /// When a terminal in which an owner sits asked last what waits for him.
    watched: Arc<Mutex<Option<Instant>>>,
}

/// Whose turns wait for an owner elsewhere, and how many of their calls.
type Open = Arc<Mutex<BTreeMap<PeerKey, (InboxId, usize)>>>;

/// A question's place among those that may be open. Dropped, it is free for the next.
pub(crate) struct Asking {
    open: Open,
    with: PeerKey,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = open.get_mut(&self.with) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.with);
            }
        }
    }
}

/// Held on every road to an owner. When the last one lets go and no owner was reached, whoever waits is told.
pub(crate) struct Hearing {
    reached: AtomicBool,
    unheard: Box<dyn Fn() + Send + Sync>,
}

impl Hearing {
    pub(crate) fn new(unheard: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { reached: AtomicBool::new(false), unheard: Box::new(unheard) })
    }

    /// An owner has the question before him.
    pub(crate) fn reached(&self) {
        self.reached.store(true, Ordering::Release);
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if !*self.reached.get_mut() {
            (self.unheard)();
        }
    }
}

impl Owners {
    /// Those of an Archon with these channels.
    pub(crate) fn new(spec: Arc<ArchonSpec>, memory: MemoryHandle, channels: Arc<[ChannelHandle]>) -> Self {
        Self { spec, memory, channels, open: Arc::default(), watched: Arc::default() }
    }

    /// Takes a place for a question of this turn. `None`: enough of this person's, or of the Archon's, are open.
    pub(crate) fn place(&self, with: PeerKey, turn: InboxId) -> Option<Asking> {
        let people_max = (self.spec.limits.turns_in_flight_max as usize / 2).max(1);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = open.len() >= people_max;
        match open.get_mut(&with) {
            Some((of, count)) if *of == turn && *count < OF_A_TURN_MAX => *count += 1,
            Some(_) => return None,
            None if is_full => return None,
            None => drop(open.insert(with.clone(), (turn, 1))),
        }
        Some(Asking { open: self.open.clone(), with })
    }

    /// A terminal shows an owner what waits for him, and asks again within [`WATCH_MAX`].
    pub(crate) fn watches(&self) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_watched(&self) -> bool {
        let watched = *self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.is_some_and(|at| at.elapsed() < WATCH_MAX)
    }

    /// Has an owner asked in each chat that he has with the Archon; at a terminal he sees it by himself.
    pub(crate) async fn ask(&self, question: &Question, hearing: Arc<Hearing>) {
        if self.is_watched() {
            hearing.reached();
        }
        // Without the store nobody knows who was paired; those that the profile names are asked all the same.
        let paired = self.memory.pairings().await.unwrap_or_default();
        for channel in self.channels.iter() {
            let id = channel.id();
            let unset = AccessPolicy::default();
            let policy = self.spec.access.get(&id).unwrap_or(&unset);
            let here = paired.iter().filter(|one| one.with.archon == self.spec.id && one.with.channel == id);
            for owner in owners(policy, here) {
                channel.ask(owner, question.clone(), hearing.clone());
            }
        }
    }
}

/// Who may say yes on a channel.
fn owners<'a>(policy: &AccessPolicy, paired: impl Iterator<Item = &'a Paired>) -> Vec<PeerId> {
    let mut owners: Vec<PeerId> = Vec::new();
    let listed = policy.owners.iter().map(|peer| (peer, None));
    for (peer, tier) in listed.chain(paired.map(|one| (&one.with.peer, Some(one.tier)))) {
        let is_owner = access::judge(policy, peer, None, tier) == Judgement::Known(Tier::Owner);
        if is_owner && !owners.contains(peer) {
            owners.push(peer.clone());
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccessMode, ModelId};
    use crate::testkit::archon_spec;

    #[test]
    fn owners_are_those_that_are_listed_and_those_that_were_paired_as_such() {
        let paired = |peer: &str, tier| Paired {
            with: format!("ezra/telegram/{peer}").parse().unwrap(),
            tier,
            since_unix_ms: 1,
        };
        let all = [paired("1", Tier::Owner), paired("2", Tier::Owner), paired("3", Tier::User)];
        let of = |mode| {
            let policy = AccessPolicy { mode, owners: vec!["1".parse().unwrap()], ..AccessPolicy::default() };
            owners(&policy, all.iter()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(AccessMode::Pairing), ["1", "2"]);
        assert_eq!(of(AccessMode::Open), ["1", "2"]);
        assert_eq!(of(AccessMode::Allowlist), ["1"]);
        assert_eq!(of(AccessMode::Disabled), [""; 0]);
    }

    #[test]
    fn nobody_has_more_than_one_turn_wait_and_half_of_the_places_are_left() {
        let mut spec = archon_spec("ezra", &"m".parse::<ModelId>().unwrap()).unwrap();
        spec.limits.turns_in_flight_max = 4;
        let owners = Owners::new(Arc::new(spec), MemoryHandle::new(), Arc::new([]));
        let place =
            |peer: &str, turn| owners.place(format!("ezra/telegram/{peer}").parse().unwrap(), InboxId(turn));
        let mut first: Vec<_> = (0..OF_A_TURN_MAX).map(|_| place("1", 7).unwrap()).collect();
        assert!(place("1", 7).is_none() && place("1", 8).is_none());
        let second = place("2", 9).unwrap();
        assert!(place("3", 10).is_none(), "two others' turns wait, of four");
        drop(second);
        let _third = place("3", 10).unwrap();
        first.pop();
        assert!(place("1", 8).is_none() && place("1", 7).is_some());
        first.clear();
        assert!(place("1", 8).is_some());
    }

    #[test]
    fn whoever_waits_is_told_when_every_road_has_failed() {
        let told = Arc::new(AtomicBool::new(false));
        let hearing = || {
            let told = told.clone();
            Hearing::new(move || told.store(true, Ordering::Release))
        };
        let (one, other) = {
            let one = hearing();
            (one.clone(), one)
        };
        drop(one);
        assert!(!told.load(Ordering::Acquire), "there is another road");
        other.reached();
        drop(other);
        assert!(!told.load(Ordering::Acquire));
        drop(hearing());
        assert!(told.load(Ordering::Acquire));
    }
}

//! Which peers of one Archon are one person: one of them gets a code, another one says it. Pure.
//!
//! To be linked shares nothing. It permits one thing: that a conversation moves from one of them to another, when one of them says so.
use std::collections::BTreeMap;

use crate::domain::{
    CodeHash, LinkAnswer, LinkChange, Linked, OPEN_CODES_MAX, Offered, PeerKey, WRONG_CODES_MAX, is_recent,
};

/// Peers of one person. Nobody writes from more places than that.
pub const LINKED_MAX: usize = 8;
/// Codes that one peer gets within an hour: each makes the one before void, and some are lost on the way to the other place.
pub const OFFERS_MAX: u64 = 5;

/// What is known of one peer in this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkState {
    /// The number of the person that he is, where another peer is the same one.
    pub person: Option<u64>,
    /// The last code that he got.
    pub code: Option<LinkCode>,
    /// How often he got one.
    pub offers: Tally,
    /// How often he said one that was wrong, since the last right one.
    pub wrong: Tally,
}

/// A code that somebody got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCode {
    /// What is kept of it.
    pub hash: CodeHash,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Somebody has said it.
    pub used: bool,
}

/// How often something happened within an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// So often.
    pub count: u64,
    /// Since then, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

impl Tally {
    /// So often in the hour that runs.
    fn now(self, now_unix_ms: u64) -> u64 {
        if is_recent(self.since_unix_ms, now_unix_ms) { self.count } else { 0 }
    }

    fn add(&mut self, now_unix_ms: u64) -> u64 {
        if self.now(now_unix_ms) == 0 {
            *self = Self { count: 0, since_unix_ms: now_unix_ms };
        }
        self.count += 1;
        self.count
    }
}

/// What is known of all peers.
pub type LinkStates = BTreeMap<PeerKey, LinkState>;

/// Makes one change.
pub fn apply(states: &mut LinkStates, with: &PeerKey, change: LinkChange, now_unix_ms: u64) -> LinkAnswer {
    match change {
        LinkChange::Offer(code) => LinkAnswer::Offered(offer(states, with, code, now_unix_ms)),
        LinkChange::Join(code) => LinkAnswer::Joined(join(states, with, code, now_unix_ms)),
        LinkChange::Part => LinkAnswer::Parted(unlink(states, with)),
    }
}

/// Gives somebody a code to say in another place; a former one of his is void.
pub fn offer(states: &mut LinkStates, with: &PeerKey, hash: CodeHash, now_unix_ms: u64) -> Offered {
    let own = states.get(with).cloned().unwrap_or_default();
    if own.offers.now(now_unix_ms) >= OFFERS_MAX {
        return Offered::TooSoon;
    }
    let is_open = |code: &&LinkCode| !code.used && is_recent(code.since_unix_ms, now_unix_ms);
    let others = states.iter().filter(|(peer, _)| *peer != with);
    if others.filter_map(|(_, state)| state.code.as_ref()).filter(is_open).count() >= OPEN_CODES_MAX {
        return Offered::TooMany;
    }
    let own = states.entry(with.clone()).or_default();
    own.offers.add(now_unix_ms);
    own.code = Some(LinkCode { hash, since_unix_ms: now_unix_ms, used: false });
    Offered::Fresh
}

/// Somebody says a code that another peer of this Archon got. Saying it again, in the same place, changes nothing.
pub fn join(states: &mut LinkStates, with: &PeerKey, hash: CodeHash, now_unix_ms: u64) -> Linked {
    let own = states.get(with).cloned().unwrap_or_default();
    if own.wrong.now(now_unix_ms) >= WRONG_CODES_MAX {
        return Linked::Locked;
    }
    let fits = |(peer, state): &(&PeerKey, &LinkState)| {
        let is_same = own.person.is_some() && own.person == state.person;
        let opens = |code: &LinkCode| {
            code.hash == hash && is_recent(code.since_unix_ms, now_unix_ms) && (!code.used || is_same)
        };
        peer.archon == with.archon && state.code.as_ref().is_some_and(opens)
    };
    let found = states.iter().find(fits).map(|(peer, state)| (peer.clone(), state.person));
    let Some((giver, person)) = found else {
        let wrong = states.entry(with.clone()).or_default().wrong.add(now_unix_ms);
        let left = WRONG_CODES_MAX.saturating_sub(wrong);
        return if left == 0 { Linked::Locked } else { Linked::Wrong { left } };
    };
    if giver == *with {
        return Linked::Itself;
    }
    let next = states.values().filter_map(|state| state.person).max().unwrap_or_default() + 1;
    let one = person.or(own.person).unwrap_or(next);
    let is_of_it = |peer: &PeerKey, state: &LinkState| {
        *peer == giver
            || peer == with
            || state.person.is_some_and(|of| Some(of) == person || Some(of) == own.person)
    };
    states.entry(with.clone()).or_default();
    if states.iter().filter(|(peer, state)| is_of_it(peer, state)).count() > LINKED_MAX {
        return Linked::Full;
    }
    for (peer, state) in states.iter_mut() {
        if is_of_it(peer, state) {
            state.person = Some(one);
        }
        if *peer == giver {
            state.code.iter_mut().for_each(|code| code.used = true);
        }
        if peer == with {
            state.wrong = Tally::default();
        }
    }
    Linked::Joined(linked(states, with))
}

/// Somebody is nobody else any more, and his code is void. `false`: he was nobody else.
pub fn unlink(states: &mut LinkStates, with: &PeerKey) -> bool {
    let Some(own) = states.get_mut(with) else { return false };
    own.code = None;
    let Some(person) = own.person.take() else { return false };
    let mut left: Vec<_> = states.values_mut().filter(|state| state.person == Some(person)).collect();
    // One who is alone is no link of anything.
    if let [alone] = left.as_mut_slice() {
        alone.person = None;
    }
    true
}

/// The other peers of the same person, in order.
pub fn linked(states: &LinkStates, with: &PeerKey) -> Vec<PeerKey> {
    let Some(person) = states.get(with).and_then(|state| state.person) else { return Vec::new() };
    let same = states.iter().filter(|(peer, state)| *peer != with && state.person == Some(person));
    same.map(|(peer, _)| peer.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How long a code holds.
    const CODE_LIFE_MS: u64 = 60 * 60 * 1000;

    fn peer(text: &str) -> PeerKey {
        format!("ezra/{text}").parse().unwrap()
    }

    fn code(number: u8) -> CodeHash {
        CodeHash([number; 32])
    }

    fn names(peers: &[PeerKey]) -> Vec<String> {
        peers.iter().map(|peer| format!("{}/{}", peer.channel, peer.peer)).collect()
    }

    #[test]
    fn who_says_the_code_of_another_place_is_the_same_person() {
        let mut states = LinkStates::new();
        let (cli, telegram, nostr) = (peer("cli/uid0"), peer("telegram/7"), peer("nostr/ab"));
        assert_eq!(offer(&mut states, &telegram, code(1), 10), Offered::Fresh);
        assert_eq!(join(&mut states, &telegram, code(1), 11), Linked::Itself);
        assert_eq!(join(&mut states, &cli, code(2), 11), Linked::Wrong { left: 4 });
        assert_eq!(join(&mut states, &cli, code(1), 12), Linked::Joined(vec![telegram.clone()]));
        assert_eq!(join(&mut states, &cli, code(1), 13), Linked::Joined(vec![telegram.clone()]), "once more");
        assert_eq!(join(&mut states, &nostr, code(1), 13), Linked::Wrong { left: 4 }, "it is used");
        assert_eq!(offer(&mut states, &nostr, code(3), 14), Offered::Fresh);
        let Linked::Joined(others) = join(&mut states, &telegram, code(3), 15) else { panic!() };
        assert_eq!(names(&others), ["cli/uid0", "nostr/ab"]);
        assert!(unlink(&mut states, &telegram) && !unlink(&mut states, &telegram));
        assert_eq!((linked(&states, &telegram), linked(&states, &cli)), (vec![], vec![nostr.clone()]));
        assert!(unlink(&mut states, &nostr) && linked(&states, &cli).is_empty());
        assert!(!unlink(&mut states, &cli), "who is left alone is linked to nobody");
    }

    #[test]
    fn a_code_is_of_one_archon_and_of_one_hour_and_the_last_one_counts() {
        let mut states = LinkStates::new();
        let (telegram, cli) = (peer("telegram/7"), peer("cli/uid0"));
        offer(&mut states, &telegram, code(1), 10);
        offer(&mut states, &telegram, code(2), 11);
        let of_another: PeerKey = "electra/cli/uid0".parse().unwrap();
        assert!(matches!(join(&mut states, &of_another, code(2), 12), Linked::Wrong { .. }));
        assert!(matches!(join(&mut states, &cli, code(1), 12), Linked::Wrong { .. }));
        assert!(matches!(join(&mut states, &cli, code(2), 11 + CODE_LIFE_MS), Linked::Wrong { .. }));
        assert!(matches!(join(&mut states, &cli, code(2), 10 + CODE_LIFE_MS), Linked::Joined(_)));
    }

    #[test]
    fn whoever_asks_or_guesses_too_often_waits_for_an_hour() {
        let mut states = LinkStates::new();
        let (telegram, cli) = (peer("telegram/7"), peer("cli/uid0"));
        for number in 0..5 {
            assert_eq!(offer(&mut states, &telegram, code(number), 10), Offered::Fresh);
        }
        assert_eq!(offer(&mut states, &telegram, code(9), 11), Offered::TooSoon);
        for left in [4, 3, 2, 1] {
            assert_eq!(join(&mut states, &cli, code(99), 12), Linked::Wrong { left });
        }
        assert_eq!(join(&mut states, &cli, code(99), 12), Linked::Locked);
        assert_eq!(join(&mut states, &cli, code(4), 13), Linked::Locked, "even the right one");
        assert_eq!(offer(&mut states, &telegram, code(9), 10 + CODE_LIFE_MS), Offered::Fresh);
        assert!(matches!(join(&mut states, &cli, code(9), 12 + CODE_LIFE_MS), Linked::Joined(_)));
        for number in 0..32 {
            offer(&mut states, &peer(&format!("nostr/{number}")), code(number), 20);
        }
        assert_eq!(offer(&mut states, &peer("nostr/x"), code(99), 21), Offered::TooMany);
    }

    #[test]
    fn a_person_has_so_many_places_and_no_more() {
        let mut states = LinkStates::new();
        let first = peer("cli/uid0");
        for number in 1..8 {
            let other = peer(&format!("telegram/{number}"));
            offer(&mut states, &other, code(number), 10);
            assert!(matches!(join(&mut states, &first, code(number), 11), Linked::Joined(_)), "{number}");
        }
        let ninth = peer("telegram/9");
        offer(&mut states, &ninth, code(9), 10);
        assert_eq!(join(&mut states, &first, code(9), 11), Linked::Full);
        assert!(linked(&states, &ninth).is_empty() && linked(&states, &first).len() == 7);
    }

    proptest! {
        /// Whatever is said, who is linked with whom is symmetric and transitive, within one Archon, never alone, and bounded.
        #[test]
        fn links_make_persons(steps in prop::collection::vec((0_u8..3, 0_u8..12, 0_u8..12, 0_u64..3), 0..80)) {
            let mut states = LinkStates::new();
            let name = |number: u8| -> PeerKey {
                format!("{}/cli/p{number}", ["ezra", "electra"][usize::from(number % 2)]).parse().unwrap()
            };
            let mut now = 0;
            for (step, who, which, hours) in steps {
                now += hours * CODE_LIFE_MS / 2;
                match step {
                    0 => drop(offer(&mut states, &name(who), code(who), now)),
                    1 => drop(join(&mut states, &name(who), code(which), now)),
                    _ => drop(unlink(&mut states, &name(who))),
                }
                for one in (0..12).map(name) {
                    let others = linked(&states, &one);
                    prop_assert!(others.len() < LINKED_MAX && !others.contains(&one));
                    for other in &others {
                        prop_assert_eq!(&other.archon, &one.archon);
                        let mut back = linked(&states, other);
                        prop_assert!(back.contains(&one));
                        back.retain(|peer| *peer != one);
                        let rest: Vec<_> = others.iter().filter(|peer| *peer != other).cloned().collect();
                        prop_assert_eq!(back, rest);
                    }
                }
                prop_assert!(states.iter().all(|(peer, state)| state.person.is_none() == linked(&states, peer).is_empty()));
            }
        }
    }
}

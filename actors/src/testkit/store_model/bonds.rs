//! Who is linked with whom, as the store's port promises it: a list of persons, and everything that was ever offered or guessed.
use crate::domain::{
    CodeHash, LinkAnswer, LinkChange, Linked, OPEN_CODES_MAX, Offered, PeerKey, WRONG_CODES_MAX, is_recent,
};
use crate::linking::{LINKED_MAX, OFFERS_MAX};

/// A code that was given.
#[derive(Debug, Clone)]
struct Given {
    to: PeerKey,
    code: CodeHash,
    since: u64,
    used: bool,
    /// Another one, or a parting, took its place.
    gone: bool,
}

/// Everything that happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Bonds {
    persons: Vec<Vec<PeerKey>>,
    given: Vec<Given>,
    /// Who guessed wrong, and when; those before his last right guess are left out.
    guesses: Vec<(PeerKey, u64)>,
}

/// How many of these are in the hour that runs: one begins with the first that no other one holds.
fn in_this_hour(times: impl Iterator<Item = u64>, now: u64) -> u64 {
    let (mut begun, mut count) = (None, 0);
    for time in times {
        match begun {
            Some(first) if is_recent(first, time) => count += 1,
            _ => (begun, count) = (Some(time), 1),
        }
    }
    begun.filter(|first| is_recent(*first, now)).map_or(0, |_| count)
}

impl Bonds {
    pub(super) fn apply(&mut self, with: &PeerKey, change: LinkChange, now: u64) -> LinkAnswer {
        match change {
            LinkChange::Offer(code) => LinkAnswer::Offered(self.offer(with, code, now)),
            LinkChange::Join(code) => LinkAnswer::Joined(self.join(with, code, now)),
            LinkChange::Part => LinkAnswer::Parted(self.part(with)),
        }
    }

    fn offer(&mut self, to: &PeerKey, code: CodeHash, now: u64) -> Offered {
        let own = self.given.iter().filter(|given| given.to == *to).map(|given| given.since);
        if in_this_hour(own, now) >= OFFERS_MAX {
            return Offered::TooSoon;
        }
        let open = |given: &&Given| !given.gone && !given.used && is_recent(given.since, now);
        if self.given.iter().filter(open).filter(|given| given.to != *to).count() >= OPEN_CODES_MAX {
            return Offered::TooMany;
        }
        self.given.iter_mut().filter(|given| given.to == *to).for_each(|given| given.gone = true);
        self.given.push(Given { to: to.clone(), code, since: now, used: false, gone: false });
        Offered::Fresh
    }

    fn join(&mut self, with: &PeerKey, code: CodeHash, now: u64) -> Linked {
        let guesses = |bonds: &Self| {
            let own = bonds.guesses.iter().filter(|(peer, _)| peer == with).map(|(_, time)| *time);
            in_this_hour(own, now)
        };
        if guesses(self) >= WRONG_CODES_MAX {
            return Linked::Locked;
        }
        let own = self.linked(with);
        let fits = |given: &&mut Given| {
            let known = !given.used || own.contains(&given.to) || given.to == *with && !own.is_empty();
            !given.gone
                && given.code == code
                && is_recent(given.since, now)
                && known
                && given.to.archon == with.archon
        };
        // Of equal codes the one of the first peer: there are none outside of tests.
        let Some(given) = self.given.iter_mut().filter(fits).min_by(|one, other| one.to.cmp(&other.to))
        else {
            self.guesses.push((with.clone(), now));
            return match WRONG_CODES_MAX - guesses(self) {
                0 => Linked::Locked,
                left => Linked::Wrong { left },
            };
        };
        let giver = given.to.clone();
        if giver == *with {
            return Linked::Itself;
        }
        let (mut person, others): (Vec<_>, Vec<_>) =
            self.persons.iter().cloned().partition(|person| person.contains(with) || person.contains(&giver));
        person.push(vec![with.clone(), giver]);
        let mut person = person.concat();
        person.sort();
        person.dedup();
        if person.len() > LINKED_MAX {
            return Linked::Full;
        }
        given.used = true;
        self.guesses.retain(|(peer, _)| peer != with);
        self.persons = others;
        self.persons.push(person);
        Linked::Joined(self.linked(with))
    }

    pub(super) fn part(&mut self, with: &PeerKey) -> bool {
        self.given.iter_mut().filter(|given| given.to == *with).for_each(|given| given.gone = true);
        let linked = !self.linked(with).is_empty();
        self.persons.iter_mut().for_each(|person| person.retain(|peer| peer != with));
        self.persons.retain(|person| person.len() > 1);
        linked
    }

    /// What was given and never said: to whom, and when.
    pub(super) fn open(&self) -> Vec<(PeerKey, CodeHash, u64)> {
        let open = self.given.iter().filter(|given| !given.gone && !given.used);
        open.map(|given| (given.to.clone(), given.code, given.since)).collect()
    }

    pub(super) fn linked(&self, with: &PeerKey) -> Vec<PeerKey> {
        let person = self.persons.iter().find(|person| person.contains(with));
        person.into_iter().flatten().filter(|peer| *peer != with).cloned().collect()
    }
}

//! Who is known to the store in memory, and who knocked.
use std::collections::BTreeMap;

use super::tables::missing;
use crate::domain::{
    Approved, CodeHash, Knock, OPEN_CODES_MAX, Offered, Paired, PeerKey, Tier, WRONG_CODES_MAX, is_recent,
};
use crate::ports::{StoreError, Written};

#[derive(Default)]
pub(super) struct Access {
    paired: BTreeMap<PeerKey, (Tier, u64)>,
    /// Code, since when, and whether it is void.
    knocks: BTreeMap<PeerKey, (CodeHash, u64, bool)>,
    wrong: u64,
}

impl Access {
    pub(super) fn offer(&mut self, with: &PeerKey, code: CodeHash, now: u64) -> Offered {
        let recent = |since: u64| is_recent(since, now);
        if self.knocks.get(with).is_some_and(|(_, since, _)| recent(*since)) {
            return Offered::TooSoon;
        }
        if self.knocks.values().filter(|(_, since, _)| recent(*since)).count() >= OPEN_CODES_MAX {
            return Offered::TooMany;
        }
        self.knocks.retain(|_, (_, since, _)| recent(*since));
        self.knocks.insert(with.clone(), (code, now, false));
        Offered::Fresh
    }

    pub(super) fn approve(&mut self, code: CodeHash, tier: Tier, now: u64) -> Approved {
        let matches =
            |(hash, since, void): &(CodeHash, u64, bool)| *hash == code && !*void && is_recent(*since, now);
        let found = self.knocks.iter().find(|(_, knock)| matches(knock)).map(|(with, _)| with.clone());
        let Some(with) = found else {
            self.wrong += 1;
            if self.wrong < WRONG_CODES_MAX {
                return Approved::Wrong { left: WRONG_CODES_MAX - self.wrong };
            }
            self.wrong = 0;
            self.knocks.values_mut().for_each(|knock| knock.2 = true);
            return Approved::Locked;
        };
        self.wrong = 0;
        self.knocks.remove(&with);
        self.paired.insert(with.clone(), (tier, now));
        Approved::Paired(Paired { with, tier, since_unix_ms: now })
    }

    pub(super) fn unpair(&mut self, with: &PeerKey) -> Result<Written, StoreError> {
        let removed = self.paired.remove(with);
        removed.map(|_| Written::Done).ok_or_else(|| missing(format!("paired peer {with}")))
    }

    pub(super) fn paired(&self, with: &PeerKey) -> Option<Paired> {
        let (tier, since_unix_ms) = *self.paired.get(with)?;
        Some(Paired { with: with.clone(), tier, since_unix_ms })
    }

    pub(super) fn pairings(&self) -> Vec<Paired> {
        self.paired.keys().filter_map(|with| self.paired(with)).collect()
    }

    pub(super) fn knocks(&self) -> Vec<Knock> {
        let open = self.knocks.iter().filter(|(_, (_, _, void))| !void);
        open.map(|(with, (_, since, _))| Knock { with: with.clone(), since_unix_ms: *since }).collect()
    }
}

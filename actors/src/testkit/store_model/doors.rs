//! Who is known and who knocked, as the store's port promises it: a history that every question reads from its beginning.
use crate::domain::{
    Approved, CodeHash, Knock, OPEN_CODES_MAX, Offered, Paired, PeerKey, WRONG_CODES_MAX, is_recent,
};
use crate::ports::{Write, Written};

/// A code that was given.
#[derive(Debug, Clone)]
struct Given {
    knock: Knock,
    code: CodeHash,
    /// It opens nothing any more, though its peer gets no other for a while.
    void: bool,
    /// It is as if it had not been given.
    gone: bool,
}

/// Everything that happened.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    given: Vec<Given>,
    /// With whether he was made a stranger again.
    paired: Vec<(Paired, bool)>,
    wrong: u64,
}

impl Doors {
    pub(super) fn apply(&mut self, write: &Write) -> Option<Written> {
        match write {
            Write::OfferCode { with, code, now_unix_ms } => {
                let recent =
                    |given: &&Given| !given.gone && is_recent(given.knock.since_unix_ms, *now_unix_ms);
                let of_peer = self.given.iter().filter(recent).any(|given| given.knock.with == *with);
                let offered = match (of_peer, self.given.iter().filter(recent).count() < OPEN_CODES_MAX) {
                    (true, _) => Offered::TooSoon,
                    (false, false) => Offered::TooMany,
                    (false, true) => {
                        for given in &mut self.given {
                            given.gone |= !is_recent(given.knock.since_unix_ms, *now_unix_ms);
                        }
                        let knock = Knock { with: with.clone(), since_unix_ms: *now_unix_ms };
                        self.given.push(Given { knock, code: *code, void: false, gone: false });
                        Offered::Fresh
                    }
                };
                Some(Written::Offered(offered))
            }
            Write::ApproveCode { code, tier, now_unix_ms } => {
                let opens = |given: &Given| {
                    given.code == *code
                        && !given.void
                        && !given.gone
                        && is_recent(given.knock.since_unix_ms, *now_unix_ms)
                };
                // Of equal codes the one of the first peer: there are none outside of tests.
                let mut fitting: Vec<_> = self.given.iter_mut().filter(|given| opens(given)).collect();
                fitting.sort_by(|one, other| one.knock.with.cmp(&other.knock.with));
                let Some(given) = fitting.into_iter().next() else {
                    self.wrong += 1;
                    if !self.wrong.is_multiple_of(WRONG_CODES_MAX) {
                        let left = WRONG_CODES_MAX - self.wrong % WRONG_CODES_MAX;
                        return Some(Written::Approved(Approved::Wrong { left }));
                    }
                    self.given.iter_mut().for_each(|given| given.void = true);
                    return Some(Written::Approved(Approved::Locked));
                };
                given.gone = true;
                let with = given.knock.with.clone();
                self.wrong = 0;
                self.forget(&with);
                let paired = Paired { with, tier: *tier, since_unix_ms: *now_unix_ms };
                self.paired.push((paired.clone(), false));
                Some(Written::Approved(Approved::Paired(paired)))
            }
            Write::Unpair { with } => self.forget(with).then_some(Written::Done),
            _ => None,
        }
    }

    fn forget(&mut self, with: &PeerKey) -> bool {
        let known = self.paired.iter_mut().find(|(paired, gone)| !*gone && paired.with == *with);
        let was_known = known.is_some();
        if let Some((_, gone)) = known {
            *gone = true;
        }
        was_known
    }

    /// In order.
    pub(super) fn paired(&self, with: Option<&PeerKey>) -> Vec<Paired> {
        let known = self.paired.iter().filter(|(_, gone)| !gone).map(|(paired, _)| paired.clone());
        let mut known: Vec<_> = known.filter(|paired| with.is_none_or(|with| paired.with == *with)).collect();
        known.sort_by(|one, other| one.with.cmp(&other.with));
        known
    }

    /// In order.
    pub(super) fn knocks(&self) -> Vec<Knock> {
        let open = self.given.iter().filter(|given| !given.void && !given.gone);
        let mut open: Vec<_> = open.map(|given| given.knock.clone()).collect();
        open.sort_by(|one, other| one.with.cmp(&other.with));
        open
    }
}

//! The platforms, as the channels' adapters meet them: what comes twice, in which order, what never comes again; what hangs, and what
//! says that it failed after it was done.
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use archond_actors::domain::{
    AnswerKind, ArchonSpec, Batch, ChannelId, CodeHash, Cursor, Inbound, OutboxEntry, Parcel, PeerId,
    Receipt, ReplyTo, SessionKey, Waybill,
};
use archond_actors::ports::{Channel, ChannelFault, ChannelShed, Handed};
use async_trait::async_trait;

use crate::disk::Random;
use crate::outside::World;
use crate::ports::pass;
use crate::scenario::{Road, pick};

/// All platforms of one life of the daemon.
pub(crate) struct Platforms {
    pub(crate) outside: World,
    pub(crate) seed: u64,
}

impl ChannelShed for Platforms {
    fn channels(&self, archon: &ArchonSpec) -> Vec<Arc<dyn Channel>> {
        let roads = Road::ALL.into_iter().filter(|road| *road != Road::Cli);
        let name = archon.id.as_str();
        roads.map(|road| Arc::new(Platform::new(road, name, self)) as Arc<dyn Channel>).collect()
    }

    /// One code for all: whoever says it is linked with the first who got it.
    fn draw_code(&self) -> Option<(String, CodeHash)> {
        Some(("CODE".to_owned(), CodeHash([0; 32])))
    }

    fn hash_code(&self, _: &str) -> CodeHash {
        CodeHash([0; 32])
    }
}

/// One platform, for one Archon.
struct Platform {
    road: Road,
    archon: String,
    outside: World,
    mind: Mutex<Mind>,
}

/// What it and its connection know.
struct Mind {
    random: Random,
    /// What a relay, or a look at the list, has told.
    told: Vec<String>,
    /// Up to where webhooks were called.
    called: usize,
}

/// What becomes of a call.
enum Luck {
    Good,
    Fails(ChannelFault),
    Hangs,
    LosesItsAnswer,
}

impl Platform {
    fn new(road: Road, archon: &str, of: &Platforms) -> Self {
        let called = of.outside.borrow().keys(road, archon, 0).len();
        let random = Random::new(of.seed + road as u64 * 10 + archon.len() as u64);
        let mind = Mutex::new(Mind { random, told: Vec::new(), called });
        Self { road, archon: archon.to_owned(), outside: of.outside.clone(), mind }
    }

    fn mind(&self) -> MutexGuard<'_, Mind> {
        self.mind.lock().unwrap()
    }

    fn luck(&self) -> Luck {
        let mut mind = self.mind();
        let (luck, after) = (mind.random.below(40), Duration::from_millis(mind.random.below(5_000)));
        if self.outside.borrow().is_calm && luck < 4 {
            return Luck::Good;
        }
        match luck {
            0 => Luck::Fails(ChannelFault::transient("bad gateway")),
            1 => Luck::Fails(ChannelFault::Limited { after, everywhere: after.as_millis() % 2 == 0 }),
            2 => Luck::LosesItsAnswer,
            3 if mind.random.below(4) == 0 => Luck::Hangs,
            _ => Luck::Good,
        }
    }

    fn note(&self, event: &str) {
        self.outside.borrow_mut().note(format!("{} of {}: {event}", self.road.channel(), self.archon));
    }

    /// What it has to tell now; for one that counts, where to go on.
    fn news(&self, after: Option<&Cursor>) -> (Vec<String>, Option<usize>) {
        let keys = |from| self.outside.borrow().keys(self.road, &self.archon, from);
        let mut mind = self.mind();
        match self.road {
            Road::Cli => (Vec::new(), None),
            Road::Telegram => {
                // What is not confirmed by the next fetch comes again, in order.
                let taken = after.and_then(|cursor| cursor.place.parse().ok()).unwrap_or(0);
                let mut keys = keys(taken);
                keys.truncate(pick(&mut mind.random, 1, 5));
                let next = taken + keys.len();
                (keys, Some(next).filter(|next| *next > taken))
            }
            Road::Nostr => {
                // Relays have most events, in an order of their own, and tell all they have after each new connection.
                if mind.random.below(10) == 0 {
                    mind.told.clear();
                }
                let mut keys = keys(0);
                keys.retain(|key| !mind.told.contains(key) && mind.random.below(5) > 0);
                for index in (1..keys.len()).rev() {
                    keys.swap(index, pick(&mut mind.random, 0, index));
                }
                mind.told.extend(keys.iter().cloned());
                (keys, None)
            }
            Road::Gitea => {
                // One call for each comment, which may be lost; a look at the list now and then.
                let mut fresh = keys(mind.called);
                mind.called += fresh.len();
                fresh.retain(|_| mind.random.below(4) > 0);
                if mind.random.below(20) == 0 {
                    fresh.extend(keys(0).into_iter().filter(|key| !mind.told.contains(key)));
                }
                mind.told.extend(fresh.iter().cloned());
                (fresh, None)
            }
        }
    }

    fn inbound(&self, key: &str) -> Option<Inbound> {
        let letter = self.outside.borrow().letters.get(key)?.inbound.clone();
        let waybill = Waybill { reply_to: ReplyTo::new(key).ok()?, ..Waybill::default() };
        Some(Inbound {
            key: letter.key,
            peer: letter.peer,
            group: None,
            thread: None,
            text: letter.text,
            enclosed: Vec::new(),
            waybill,
        })
    }

    /// It happens: a person sees it, or a placeholder is made.
    fn happen(&self, parcel: &Parcel) -> Handed {
        let mut outside = self.outside.borrow_mut();
        let Some(id) = parcel.outbox else {
            outside.refuse(&parcel.key, parcel.kind == AnswerKind::Failure);
            return Handed::Whole;
        };
        if parcel.reply_to.as_str() != parcel.key {
            outside.violate(format!("the answer to {} goes to {}", parcel.key, parcel.reply_to.as_str()));
        }
        let seen_before = match (self.road, &parcel.receipt) {
            // A placeholder first, which the answer replaces: doing that again is not seen.
            (Road::Telegram, None) => {
                outside.placeholders += 1;
                let receipt = Receipt::new(&outside.placeholders.to_string()).unwrap();
                return Handed::Step(receipt);
            }
            (Road::Telegram, Some(receipt)) => !outside.replaced.insert((receipt.as_str().to_owned(), id)),
            // The same id, or a mark in the text, is recognised.
            _ => !outside.posted.insert(id),
        };
        if !seen_before {
            outside.deliver(&self.entry(parcel));
        }
        Handed::Whole
    }

    fn entry(&self, parcel: &Parcel) -> OutboxEntry {
        let session: SessionKey =
            format!("{}/{}/{}/main", self.archon, self.road.channel(), parcel.peer).parse().unwrap();
        OutboxEntry {
            id: parcel.outbox.unwrap(),
            answers: archond_actors::domain::InboxId(0),
            key: parcel.key.clone(),
            session,
            kind: parcel.kind,
            text: parcel.text.clone(),
            attachments: parcel.attachments.clone(),
            created_unix_ms: parcel.created_unix_ms,
            reply_to: parcel.reply_to.clone(),
        }
    }
}

#[async_trait]
impl Channel for Platform {
    fn id(&self) -> ChannelId {
        ChannelId::new(self.road.channel()).unwrap()
    }

    fn leads_to(&self) -> String {
        "nowhere".to_owned()
    }

    async fn receive(&self, after: Option<Cursor>) -> Result<Batch, ChannelFault> {
        let wait = Duration::from_millis(100 + self.mind().random.below(900));
        pass(wait).await;
        match self.luck() {
            Luck::Good => {}
            Luck::Fails(fault) => return Err(fault),
            Luck::LosesItsAnswer => {
                // The next call starts where this one did, but for what only comes once.
                let told = self.mind().told.clone();
                drop(self.news(after.as_ref()));
                self.mind().told = told;
                return Err(ChannelFault::transient("connection reset"));
            }
            Luck::Hangs => {
                self.note("a poll hangs");
                std::future::pending().await
            }
        }
        let (keys, next) = self.news(after.as_ref());
        let messages = keys.iter().filter_map(|key| self.inbound(key)).collect();
        Ok(Batch { messages, place: next.map(|next| next.to_string().into()) })
    }

    fn renew(&self) {
        // What was told may not have been kept.
        self.mind().told.clear();
    }

    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault> {
        let wait = Duration::from_millis(self.mind().random.below(100));
        pass(wait).await;
        match self.luck() {
            Luck::Good => Ok(self.happen(&parcel)),
            Luck::Fails(fault) => Err(fault),
            Luck::LosesItsAnswer => {
                self.happen(&parcel);
                self.note("a delivery loses its answer");
                Err(ChannelFault::transient("connection reset"))
            }
            Luck::Hangs => {
                self.note("a delivery hangs");
                std::future::pending().await
            }
        }
    }
}

/// Whoever writes on a simulated platform is known there.
pub(crate) fn everybody() -> archond_actors::domain::AccessPolicy {
    archond_actors::domain::AccessPolicy {
        mode: archond_actors::domain::AccessMode::Open,
        owners: Vec::<PeerId>::new(),
        ..archond_actors::domain::AccessPolicy::default()
    }
}

//! Nostr: private messages (NIP-17) over the relays of the Archon's inbox.
//!
//! Relays repeat, forget, lie about the end of their lists and go silent, and the time of a wrap is wrong by up to two days on purpose. So
//! what comes is known by the id of the message in it, computed here; each relay of the inbox is asked anew from two days before the newest
//! message that is durable, whenever it was lost and once an hour; and each has to prove every two minutes that it answers. docs/adr/0039.
mod identity;
mod inbox;
#[cfg(test)]
mod kit;
mod letter;
mod limits;
mod link;
mod listening;
mod parts;
mod post;
mod probe;
#[cfg(test)]
mod proxy;
mod route;
mod signer;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use archond_actors::domain::{
    ArchonId, Batch, ChannelId, Cursor, Enclosure, Parcel, PeerId, Question, Receipt, ReplyTo, Shown,
};
use archond_actors::ports::{Channel, ChannelFault, Clock, Handed};
use async_trait::async_trait;
use nostr::event::{Event, EventBuilder, EventId, Kind, Tag, UnsignedEvent};
use nostr::key::PublicKey;
use nostr::types::{RelayUrl, Timestamp};
use tokio::time::Instant;

use super::taken::Taken;
pub use crate::settings::platforms::nostr::{
    NOSTR, NostrKey, NostrProfile, NostrSettings, by_keys, person, read,
};
use identity::Identity;
use inbox::Inbox;
use letter::{FILE, Road};
use link::Link;
use parts::Progress;
pub use probe::{RelayTried, Tried, generate, probe, publish};
use route::{Asker, Routes};
use signer::SignerError;

/// Nothing is shown of an answer that comes along, but for the owner's question: a message cannot be changed.
const SHOW_PERIOD: Duration = Duration::from_secs(60);
/// Longest that keeping a copy takes.
const COPY_MAX: Duration = Duration::from_secs(5);

/// One Archon on Nostr.
pub struct Nostr {
    archon: ArchonId,
    id: ChannelId,
    settings: NostrSettings,
    clock: Arc<dyn Clock>,
    taken: Taken,
    identity: OnceLock<Identity>,
    /// The inbox's relays, also for what goes out.
    links: Mutex<Vec<Arc<Link>>>,
    inbox: tokio::sync::Mutex<Option<Inbox>>,
    /// The connections are not to be used again.
    stale: AtomicBool,
    routes: Routes,
}

impl Nostr {
    /// With these settings. Nothing is read or connected before it is received.
    pub fn new(
        archon: ArchonId,
        id: ChannelId,
        settings: NostrSettings,
        clock: Arc<dyn Clock>,
        taken: Taken,
    ) -> Self {
        Self {
            archon,
            id,
            settings,
            clock,
            taken,
            identity: OnceLock::new(),
            links: Mutex::default(),
            inbox: tokio::sync::Mutex::default(),
            stale: AtomicBool::new(false),
            routes: Routes::default(),
        }
    }

    async fn identity(&self) -> Result<&Identity, ChannelFault> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity);
        }
        let identity = Identity::load(&self.settings.key).await?;
        Ok(self.identity.get_or_init(|| identity))
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin_inbox(&self, identity: &Identity, handled: u64) -> Inbox {
        let since = if handled == 0 { self.clock.now_unix_ms() / 1000 } else { handled };
        let link = |url: &RelayUrl| Arc::new(Link::new(url.clone(), since));
        let links: Vec<_> = self.settings.dm_relays.iter().map(link).collect();
        (*self.links.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&links);
        let (clock, taken) = (self.clock.clone(), self.taken.clone());
        Inbox::begin(identity.clone(), &self.settings, links, clock, taken, handled)
    }

    /// Hands one message to the relays of whoever is to read it.
    async fn say(&self, said: &Said<'_>) -> Result<(), ChannelFault> {
        let identity = self.identity().await?;
        let links = self.links();
        let asker =
            Asker { identity, links: &links, relays: &self.settings.relays, inbox: &self.settings.dm_relays };
        let relays = self.routes.to(&said.to, &asker).await;
        let event = said.event(identity).await?;
        let answers = post::publish(&links, identity, &event, &relays).await;
        let outcome = post::outcome(&answers);
        if outcome.is_err() {
            // He may have moved.
            self.routes.forget(&said.to);
        } else if self.settings.self_copy && said.road == Road::Wrapped {
            self.keep_copy(identity, &links, said).await;
        }
        outcome
    }

    /// For other programs of the same key: a courtesy.
    async fn keep_copy(&self, identity: &Identity, links: &[Arc<Link>], said: &Said<'_>) {
        match identity.wrap(said.rumor(identity), identity.public_key()).await {
            Ok(copy) => {
                let kept = post::publish(links, identity, &copy, &self.settings.dm_relays);
                // What is delivered is not held up by it.
                let _ = tokio::time::timeout(COPY_MAX, kept).await;
            }
            Err(error) => tracing::debug!(archon = %self.archon, %error, "no copy of an answer was kept"),
        }
    }
}

/// One message that goes out.
struct Said<'a> {
    to: PublicKey,
    road: Road,
    /// In seconds since the Unix epoch.
    at: u64,
    text: &'a str,
    /// The message that it answers.
    answers: Option<EventId>,
}

impl Said<'_> {
    /// The message itself. Its id depends on nothing but what is in it.
    fn rumor(&self, identity: &Identity) -> UnsignedEvent {
        let mut tags = vec![Tag::public_key(self.to)];
        tags.extend(self.answers.map(Tag::event));
        UnsignedEvent::new(
            identity.public_key(),
            Timestamp::from(self.at),
            Kind::PrivateDirectMessage,
            tags,
            self.text,
        )
    }

    async fn event(&self, identity: &Identity) -> Result<Event, SignerError> {
        match self.road {
            Road::Wrapped => identity.wrap(self.rumor(identity), self.to).await,
            Road::Old => {
                let sealed = identity.seal_old(&self.to, self.at, self.text)?;
                let event = EventBuilder::new(Kind::EncryptedDirectMessage, sealed)
                    .tag(Tag::public_key(self.to))
                    .custom_created_at(Timestamp::from(self.at));
                identity.sign(event).await
            }
        }
    }
}

fn receiver(parcel: &Parcel) -> Result<PublicKey, ChannelFault> {
    let refused = |_| ChannelFault::Refused { reason: format!("{} is no public key", parcel.peer) };
    PublicKey::from_hex(parcel.peer.as_str()).map_err(refused)
}

/// An answer's text. Files do not go over Nostr: he is told which ones there are.
fn text_of(parcel: &Parcel) -> String {
    let mut text = parcel.text.clone();
    for file in &parcel.attachments {
        text.push_str("\n\n[A file that does not go over Nostr: ");
        text.push_str(&file.summary());
        text.push(']');
    }
    text.trim().to_owned()
}

#[async_trait]
impl Channel for Nostr {
    fn id(&self) -> ChannelId {
        self.id.clone()
    }

    fn leads_to(&self) -> String {
        let Some(identity) = self.identity.get() else { return "a key that is not read yet".to_owned() };
        let (links, now) = (self.links(), Instant::now());
        let alive = links.iter().filter(|link| link.sight().is_alive(now)).count();
        format!("{}, {alive} of {} relays", identity.npub(), self.settings.dm_relays.len())
    }

    async fn receive(&self, after: Option<Cursor>) -> Result<Batch, ChannelFault> {
        let identity = self.identity().await?;
        let handled = after.and_then(|cursor| cursor.place.parse().ok()).unwrap_or_default();
        let mut inbox = self.inbox.lock().await;
        if self.stale.swap(false, Ordering::AcqRel) {
            *inbox = None;
        }
        let inbox = inbox.get_or_insert_with(|| self.begin_inbox(identity, handled));
        inbox.is_handled(handled);
        inbox.next().await
    }

    async fn fetch(&self, enclosed: &str) -> Result<Enclosure, ChannelFault> {
        let what = if enclosed == FILE { "files over Nostr" } else { enclosed };
        Err(ChannelFault::Refused { reason: format!("{what} cannot be taken yet, only text") })
    }

    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault> {
        let to = receiver(&parcel)?;
        let text = text_of(&parcel);
        let known = parcel.receipt.as_ref().and_then(|receipt| Progress::read(receipt, &text));
        let begun = known.is_some();
        let long = || ChannelFault::Refused { reason: "it is too long for Nostr".to_owned() };
        let begin = || Progress::begin(parcel.created_unix_ms / 1000, &text).ok_or_else(long);
        let mut progress = known.map_or_else(begin, Ok)?;
        let step = |progress: &Progress| progress.receipt().map(Handed::Step).ok_or_else(long);
        // A word of the channel itself is handed over once, and kept nowhere.
        let in_steps = parcel.outbox.is_some();
        if in_steps && !begun && !progress.is_done() {
            return step(&progress);
        }
        let (road, answers) = (Road::of(&parcel.reply_to), EventId::from_hex(&parcel.key).ok());
        while let Some((part, at)) = progress.next(&text) {
            self.say(&Said { to, road, at, text: part, answers }).await?;
            progress.sent += 1;
            if in_steps && !progress.is_done() {
                return step(&progress);
            }
        }
        Ok(Handed::Whole)
    }

    async fn show(&self, to: Parcel, shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
        let Shown::Asked(question) = shown else { return Ok(None) };
        let minutes = question.timeout_s.div_ceil(60);
        let (opening, [yes, no]) = (question.opening(), question.answers());
        let (shown, Question { tool, why, .. }) = (question.quoted(), question);
        let text =
            format!("{opening} {why}\n\n{tool}:\n{shown}\n\nAnswer {yes} or {no}, within {minutes} min.");
        let at = self.clock.now_unix_ms() / 1000;
        let answers = EventId::from_hex(&to.key).ok();
        // Cut as an answer is: what will be done is shown in full.
        let progress = Progress::begin(at, &text)
            .ok_or_else(|| ChannelFault::Refused { reason: "it is too long for Nostr".to_owned() })?;
        let (to, road) = (receiver(&to)?, Road::of(&to.reply_to));
        let mut left = progress;
        while let Some((part, at)) = left.next(&text) {
            self.say(&Said { to, road, at, text: part, answers }).await?;
            left.sent += 1;
        }
        Ok(None)
    }

    fn chat_with(&self, _: &PeerId) -> Option<ReplyTo> {
        Some(ReplyTo::default())
    }

    fn show_period(&self) -> Duration {
        SHOW_PERIOD
    }

    fn renew(&self) {
        self.stale.store(true, Ordering::Release);
    }
}

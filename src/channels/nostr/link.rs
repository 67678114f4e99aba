//! One relay of the inbox: connects, asks for what came, proves now and then that it still answers, and begins anew when it does not.
//!
//! What comes is taken where the library admits an event, not from its stream of notifications: that one leaves out, without a word, what a
//! slow reader missed. Here the reader of the connection itself waits for room in the queue; what finds none within its time is noted as
//! missed, and asked for again.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use nostr::event::{Event, EventId, Kind};
use nostr::key::PublicKey;
use nostr::message::SubscriptionId;
use nostr::types::{RelayUrl, Timestamp};
use nostr_sdk::authenticator::SignerAuthenticator;
use nostr_sdk::error::Error;
use nostr_sdk::policy::{AdmitPolicy, AdmitStatus};
use nostr_sdk::relay::{Relay, RelayOptions};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::identity::Identity;
use super::limits::Seen;
use super::listening::Listening;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Longest that a relay's reader waits for room in the queue.
const ROOM_MAX: Duration = Duration::from_secs(20);
/// Delays before a relay is connected to again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A connection that held for so long was a good one: the next delay is the first one again.
const GOOD_AFTER: Duration = Duration::from_secs(60);
/// A relay that said something within this time is alive: it is asked something every two minutes.
const ALIVE_MAX: Duration = Duration::from_secs(300);
/// A connection that holds for so long has answered a ping: the library ends it otherwise, at the second one, after 55 seconds.
const PINGED_AFTER: Duration = Duration::from_secs(120);
/// Largest message that a relay may send, in bytes: a wrap of the largest message that NIP-44 can hold is a fifth.
const MESSAGE_BYTES_MAX: u32 = 512 << 10;

/// Begins the name of every subscription to the inbox, also to the older part of it.
pub(super) const INBOX: &str = "inbox-";
/// A wrap's time may lie so long before the message's: NIP-59.
const BACKDATED_MAX: u64 = 2 * 24 * 3600;
/// Clocks that go wrong, here or where it was written, by so much.
const SKEW: u64 = 2 * 24 * 3600;
/// Messages that take their time.
const SLACK: u64 = 15 * 60;

/// What all links of an inbox share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) queue: mpsc::Sender<Event>,
    pub(super) seen: Mutex<Seen>,
    /// All that was written before this is durable, in seconds since the Unix epoch; 0: nothing was ever asked for.
    pub(super) handled: AtomicU64,
    /// Whether messages of the old kind are asked for, too.
    pub(super) nip04: bool,
    /// Bits of work that each wrap needs.
    pub(super) pow: Option<u8>,
    pub(super) clock: Arc<dyn archond_actors::ports::Clock>,
}

impl Shared {
    /// In seconds since the Unix epoch.
    pub(super) fn now(&self) -> u64 {
        self.clock.now_unix_ms() / 1000
    }

    /// From when on the messages were written that may be new, in seconds since the Unix epoch.
    pub(super) fn written_since(&self) -> u64 {
        let now = self.now();
        match self.handled.load(Ordering::Acquire) {
            0 => now,
            handled => handled.min(now),
        }
        .saturating_sub(SLACK)
    }

    /// From when on there may be wraps of such messages.
    pub(super) fn wrapped_since(&self) -> u64 {
        self.written_since().saturating_sub(BACKDATED_MAX + SKEW)
    }
}

/// How a relay is doing.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// Since when it is connected.
    pub(super) connected: Option<Instant>,
    /// When it last said something that was asked for.
    pub(super) heard: Option<Instant>,
    /// What is wrong.
    pub(super) trouble: Option<String>,
    /// It says no to this key.
    pub(super) barred: bool,
}

impl Sight {
    /// Whether messages would come from there.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        let Some(connected) = self.connected else { return false };
        let heard = self.heard.is_some_and(|heard| now.saturating_duration_since(heard) <= ALIVE_MAX);
        !self.barred && (heard || now.saturating_duration_since(connected) >= PINGED_AFTER)
    }
}

/// Events of one question, as far as they came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Came {
    pub(super) count: usize,
    /// The time of the oldest.
    pub(super) oldest: Option<u64>,
}

/// One relay of the inbox.
pub(super) struct Link {
    pub(super) url: RelayUrl,
    /// When it last said something that was asked for, in seconds since the Unix epoch; at first, where the inbox began.
    heard_until: AtomicU64,
    sight: Mutex<Sight>,
    relay: Mutex<Option<Relay>>,
    came: Mutex<Came>,
    missed: AtomicBool,
    /// Something was missed, and there is room again.
    pub(super) room: Notify,
}

impl Link {
    pub(super) fn new(url: RelayUrl, heard_until: u64) -> Self {
        Self {
            url,
            heard_until: AtomicU64::new(heard_until),
            sight: Mutex::default(),
            relay: Mutex::default(),
            came: Mutex::default(),
            missed: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    pub(super) fn sight(&self) -> Sight {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn look(&self, change: impl FnOnce(&mut Sight)) {
        change(&mut self.sight.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// It said something that was asked for.
    pub(super) fn heard(&self, shared: &Shared) {
        self.heard_until.store(shared.now(), Ordering::Release);
        self.look(|sight| sight.heard = Some(Instant::now()));
    }

    /// All that was written before this has come from there, as far as that can be known.
    pub(super) fn complete_until(&self, now: u64) -> u64 {
        match self.sight().is_alive(Instant::now()) {
            true => now,
            false => self.heard_until.load(Ordering::Acquire),
        }
    }

    /// The connection, if there is one.
    pub(super) fn relay(&self) -> Option<Relay> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_relay(&self, relay: Option<Relay>) {
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = relay;
    }

    /// What came since this was asked last.
    pub(super) fn take_came(&self) -> Came {
        std::mem::take(&mut *self.came.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, event: &Event) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let at = event.created_at.as_secs();
        came.count += 1;
        came.oldest = Some(came.oldest.map_or(at, |oldest| oldest.min(at)));
    }

    /// Something of what it has was not taken.
    pub(super) fn is_missing(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// There is room in the queue: what was missed is asked for again.
    pub(super) fn room_again(&self) {
        if self.missed.swap(false, Ordering::AcqRel) {
            self.room.notify_one();
        }
    }

    /// Holds a connection for as long as it is not dropped.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let mut delay = RETRY_FIRST;
        loop {
            let began = Instant::now();
            let ended = self.session(&shared).await;
            self.look(|sight| {
                if sight.trouble.as_deref() != Some(ended.trouble.as_str()) {
                    tracing::warn!(relay = %self.url, trouble = ended.trouble, "a relay of the inbox is not there");
                }
                (sight.connected, sight.trouble, sight.barred) = (None, Some(ended.trouble), ended.barred);
            });
            if began.elapsed() >= GOOD_AFTER && !ended.barred {
                delay = RETRY_FIRST;
            }
            tokio::time::sleep_until(Instant::now() + delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn session(self: &Arc<Self>, shared: &Arc<Shared>) -> Ended {
        let relay =
            open(&self.url, &shared.identity, Some(Gate { link: self.clone(), shared: shared.clone() }));
        // Before there is a connection: nothing that it says is missed.
        let said = relay.notifications();
        if let Err(error) = relay.try_connect().timeout(CONNECT_MAX).await {
            return Ended::new(format!("cannot be reached: {error}"));
        }
        self.look(|sight| (sight.connected, sight.heard) = (Some(Instant::now()), None));
        self.set_relay(Some(relay.clone()));
        let _held = Held(self);
        Listening::new(self, shared, &relay).run(said).await
    }
}

/// A connection that others use, too. It ends with this, also where the task that held it is dropped.
struct Held<'l>(&'l Link);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(relay) = self.0.relay() {
            relay.disconnect();
        }
        self.0.set_relay(None);
    }
}

/// Why a session is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) trouble: String,
    pub(super) barred: bool,
}

impl Ended {
    pub(super) fn new(trouble: impl Into<String>) -> Self {
        Self { trouble: trouble.into(), barred: false }
    }

    pub(super) fn barred(trouble: impl Into<String>) -> Self {
        Self { trouble: trouble.into(), barred: true }
    }
}

/// A relay that is not connected yet, and does not come back by itself.
pub(super) fn open(url: &RelayUrl, identity: &Identity, gate: Option<Gate>) -> Relay {
    let mut limits = nostr_sdk::relay::RelayLimits::default();
    limits.messages.max_size = Some(MESSAGE_BYTES_MAX);
    let options = RelayOptions::new().reconnect(false).connect_timeout(CONNECT_MAX).limits(limits);
    let builder =
        Relay::builder(url.clone()).opts(options).authenticator(SignerAuthenticator::new(identity.signer()));
    match gate {
        Some(gate) => builder.admit_policy(gate).build(),
        None => builder.build(),
    }
}

/// Takes what comes for the inbox out of a connection.
pub(super) struct Gate {
    link: Arc<Link>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("url", &self.link.url).finish_non_exhaustive()
    }
}

impl Gate {
    fn is_wanted(&self, event: &Event) -> bool {
        let me: PublicKey = self.shared.identity.public_key();
        let kind = match event.kind {
            Kind::GiftWrap => self.shared.pow.is_none_or(|bits| event.check_pow(bits)),
            Kind::EncryptedDirectMessage => self.shared.nip04,
            _ => false,
        };
        kind && event.tags.public_keys().any(|key| key == me)
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn take(&self, event: &Event) {
        self.link.heard(&self.shared);
        self.link.count(event);
        let id: EventId = event.id;
        if !self.is_wanted(event) || !self.seen(|seen| seen.note(id)) {
            return;
        }
        let sent = tokio::time::timeout(ROOM_MAX, self.shared.queue.send(event.clone())).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.seen(|seen| seen.forget(&id));
            self.link.is_missing();
        }
    }
}

impl AdmitPolicy for Gate {
    fn admit_event<'a>(
        &'a self,
        _: &'a RelayUrl,
        subscription: &'a SubscriptionId,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<AdmitStatus, Error>> {
        Box::pin(async move {
            if !subscription.as_str().starts_with(INBOX) {
                return Ok(AdmitStatus::Success);
            }
            self.take(event).await;
            // It is taken; the library has nothing more to do with it.
            Ok(AdmitStatus::Rejected { reason: None })
        })
    }
}

/// A time for a filter.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_alive_while_it_says_something_or_holds_through_a_ping() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let ago = |seconds| Some(now - Duration::from_secs(seconds));
        let table = [
            (Sight::default(), false),
            (Sight { connected: ago(1), ..Sight::default() }, false),
            (Sight { connected: ago(1), heard: ago(0), ..Sight::default() }, true),
            (Sight { connected: ago(100), heard: ago(400), ..Sight::default() }, false),
            (Sight { connected: ago(121), ..Sight::default() }, true),
            (Sight { connected: ago(121), barred: true, ..Sight::default() }, false),
            (Sight { heard: ago(0), ..Sight::default() }, false),
        ];
        for (sight, alive) in table {
            assert_eq!(sight.is_alive(now), alive, "{sight:?}");
        }
    }
}

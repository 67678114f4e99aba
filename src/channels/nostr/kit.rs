//! What the tests of the adapter need: a real relay in this process, an Archon's account, and a person's side of things.
use std::collections::HashSet;
use std::time::Duration;

use archond_actors::domain::{AnswerKind, Inbound, OutboxId, PeerId, ReplyTo};
use archond_actors::testkit::MemStore;
use nostr::event::FinalizeEvent;
use nostr::filter::Filter;
use nostr::key::Keys;
use nostr::nips::nip59::{GiftWrapBuilder, UnwrappedGift};
use nostr_sdk::local_relay::{LocalRelay, LocalRelayBuilder};
use nostr_sdk::relay::Relay;

use super::*;
use crate::clock::SystemClock;
use crate::settings::KeyReference;

pub(super) const SOON: Duration = Duration::from_secs(30);

/// An Archon's key in a file, and who it is.
pub(super) struct Account {
    pub(super) keys: Keys,
    folder: tempfile::TempDir,
}

impl Account {
    pub(super) fn new() -> Self {
        let keys = Keys::generate();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), keys.secret_key().to_secret_hex()).unwrap();
        Self { keys, folder }
    }

    pub(super) fn settings(&self, relays: &[&RelayUrl]) -> NostrSettings {
        let relays: Vec<RelayUrl> = relays.iter().map(|url| (*url).clone()).collect();
        NostrSettings {
            key: NostrKey::Secret(KeyReference::File(self.folder.path().join("key"))),
            relays: relays.clone(),
            dm_relays: relays,
            nip04: false,
            self_copy: false,
            profile: NostrProfile::default(),
            pow: None,
            messages_per_minute: 6000,
            wraps_per_minute: 60_000,
        }
    }

    pub(super) fn channel(&self, relays: &[&RelayUrl]) -> Arc<dyn Channel> {
        started(self.settings(relays))
    }
}

pub(super) fn started(settings: NostrSettings) -> Arc<dyn Channel> {
    knowing(settings, Arc::new(MemStore::new()))
}

/// With what a house has taken.
pub(super) fn knowing(settings: NostrSettings, store: Arc<MemStore>) -> Arc<dyn Channel> {
    at(settings, store, Arc::new(SystemClock))
}

/// With another clock.
pub(super) fn at(settings: NostrSettings, store: Arc<MemStore>, clock: Arc<dyn Clock>) -> Arc<dyn Channel> {
    let (ezra, nostr): (ArchonId, ChannelId) = ("ezra".parse().unwrap(), NOSTR.parse().unwrap());
    let taken = Taken::new(store, ezra.clone(), nostr.clone());
    Arc::new(Nostr::new(ezra, nostr, settings, clock, taken))
}

pub(super) async fn relay(builder: LocalRelayBuilder) -> LocalRelay {
    let relay = builder.build();
    relay.run().await.unwrap();
    relay
}

pub(super) fn now() -> u64 {
    Timestamp::now().as_secs()
}

pub(super) fn letter(from: &Keys, to: PublicKey, at: u64, text: &str) -> (EventId, Event) {
    let rumor = UnsignedEvent::new(
        from.public_key(),
        Timestamp::from(at),
        Kind::PrivateDirectMessage,
        [Tag::public_key(to)],
        text,
    );
    (rumor.compute_id(), GiftWrapBuilder::new(to, rumor).finalize(from).unwrap())
}

/// Leaves a message at a relay.
pub(super) async fn leave(relay: &LocalRelay, from: &Keys, to: PublicKey, text: &str) -> EventId {
    let (id, wrap) = letter(from, to, now(), text);
    relay.add_event(wrap).await.unwrap();
    id
}

pub(super) fn cursor(batch: &Batch) -> Option<Cursor> {
    batch.place.clone().map(|place| Cursor { place, moved_unix_ms: 0 })
}

/// Receives until so many messages are there, as the house does: each time from where the last batch said.
pub(super) async fn receive(channel: &Arc<dyn Channel>, count: usize) -> Vec<Inbound> {
    let receiving = async {
        let (mut messages, mut after) = (Vec::new(), None);
        while messages.len() < count {
            let Ok(batch) = channel.receive(after.clone()).await else { continue };
            after = cursor(&batch).or(after);
            messages.extend(batch.messages);
        }
        messages
    };
    tokio::time::timeout(SOON, receiving).await.expect("the messages do not come")
}

pub(super) fn texts(messages: &[Inbound]) -> HashSet<String> {
    messages.iter().map(|message| message.text.clone()).collect()
}

pub(super) fn parcel(to: PublicKey, text: &str, receipt: Option<Receipt>) -> Parcel {
    Parcel {
        outbox: Some(OutboxId(1)),
        key: EventId::from_byte_array([0; 32]).to_hex(),
        peer: PeerId::new(&to.to_hex()).unwrap(),
        reply_to: ReplyTo::new("nip17").unwrap(),
        kind: AnswerKind::Answer,
        text: text.into(),
        attachments: Vec::new(),
        created_unix_ms: now() * 1000,
        receipt,
        tries: 0,
    }
}

/// Delivers it all, as the house does. Answers the last receipt before the end.
pub(super) async fn deliver(channel: &Arc<dyn Channel>, mut parcel: Parcel) -> Option<Receipt> {
    loop {
        match channel.deliver(parcel.clone()).await.unwrap() {
            Handed::Whole => return parcel.receipt,
            Handed::Step(receipt) => parcel.receipt = Some(receipt),
        }
    }
}

/// What lies at a relay for somebody, opened: ids and texts, in the order in which they were written.
pub(super) async fn mailbox(url: &RelayUrl, keys: &Keys) -> Vec<(EventId, u64, String)> {
    let relay = Relay::new(url.clone());
    relay.try_connect().timeout(SOON).await.unwrap();
    let filter = Filter::new().kind(Kind::GiftWrap).pubkey(keys.public_key());
    let wraps = relay.fetch_events(vec![filter]).timeout(SOON).await.unwrap();
    let opened = wraps.iter().map(|wrap| UnwrappedGift::from_gift_wrap(keys, wrap).unwrap().rumor);
    let mut letters: Vec<_> =
        opened.map(|rumor| (rumor.compute_id(), rumor.created_at.as_secs(), rumor.content)).collect();
    letters.sort_by_key(|(_, at, _)| *at);
    letters
}

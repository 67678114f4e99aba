//! What is done with a Nostr account beside writing: making a key, telling the world about it, trying its relays.
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use nostr::event::{EventBuilder, IntoEventBuilder, Kind, Tag, UnsignedEvent};
use nostr::filter::Filter;
use nostr::nips::nip01::Metadata;
use nostr::nips::nip17::InboxRelayList;
use nostr::nips::nip65::RelayList;
use nostr::types::{RelayUrl, Timestamp};
use tokio::time::{Instant, timeout};

use super::identity::{self, Identity};
use super::post::{self, Said};
use crate::settings::platforms::nostr::{NostrProfile, NostrSettings};

/// Longest that trying one relay takes.
const TRY_MAX: Duration = Duration::from_secs(30);
/// Longest wait for what was left in the inbox to come back.
const BACK_MAX: Duration = Duration::from_secs(10);

/// How one relay did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayTried {
    /// Which.
    pub url: RelayUrl,
    /// Whether it is one of the inbox.
    pub is_inbox: bool,
    /// How long it took, or what is wrong, in words.
    pub outcome: Result<Duration, String>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// By this others know the Archon.
    pub npub: String,
    /// Each relay.
    pub relays: Vec<RelayTried>,
}

/// A new key: its secret (`nsec1…`), for a file that only its owner may read, and what others know it by (`npub1…`).
pub fn generate() -> (String, String) {
    identity::generate()
}

/// Tries each relay: one of the inbox must keep a message to the Archon itself and give it back, any other must answer a question. An
/// error: there is no key.
pub async fn probe(settings: &NostrSettings) -> Result<Tried, String> {
    let identity = load(settings).await?;
    let tries = all_relays(settings).into_iter().map(|(url, is_inbox)| {
        let identity = &identity;
        async move {
            let began = Instant::now();
            let outcome = match timeout(TRY_MAX, try_one(identity, &url, is_inbox)).await {
                Ok(outcome) => outcome.map(|()| began.elapsed()),
                Err(_) => Err(format!("it did not answer within {} seconds", TRY_MAX.as_secs())),
            };
            RelayTried { url, is_inbox, outcome }
        }
    });
    let relays = join_all(tries).await;
    Ok(Tried { npub: identity.npub(), relays })
}

/// Tells all relays the profile (kind 0), where the Archon publishes (10002), and where its inbox is (10050). An error: there is no key.
pub async fn publish(settings: &NostrSettings) -> Result<Tried, String> {
    let identity = load(settings).await?;
    let inbox = EventBuilder::new(Kind::InboxRelays, "")
        .tags(InboxRelayList::new(settings.dm_relays.clone()).into_event_builder().tags);
    let lists = RelayList::new(settings.relays.iter().map(|url| (url.clone(), None))).into_event_builder();
    let events = [metadata(&settings.profile)?.into_event_builder(), lists, inbox];
    let signed = try_join_all(events.into_iter().map(|event| identity.sign(event))).await;
    let events = signed.map_err(|error| error.to_string())?;
    let told = all_relays(settings).into_iter().map(|(url, is_inbox)| {
        let (identity, events) = (&identity, &events);
        async move {
            let began = Instant::now();
            let telling = async {
                let relay = post::connect(&[], identity, &url).await?;
                for event in events {
                    match post::hand(&relay, event).await {
                        Said::Stored => {}
                        Said::Never(why) | Said::Later(why) => return Err(why),
                        Said::Limited => return Err("it wants no more for a while".to_owned()),
                    }
                }
                Ok(())
            };
            let outcome = match timeout(TRY_MAX, telling).await {
                Ok(outcome) => outcome.map(|()| began.elapsed()),
                Err(_) => Err(format!("it did not answer within {} seconds", TRY_MAX.as_secs())),
            };
            RelayTried { url, is_inbox, outcome }
        }
    });
    let relays = join_all(told).await;
    Ok(Tried { npub: identity.npub(), relays })
}

async fn load(settings: &NostrSettings) -> Result<Identity, String> {
    Identity::load(&settings.key).await.map_err(|error| error.to_string())
}

fn all_relays(settings: &NostrSettings) -> Vec<(RelayUrl, bool)> {
    let inbox = settings.dm_relays.iter().map(|url| (url.clone(), true));
    let others = settings.relays.iter().filter(|url| !settings.dm_relays.contains(url));
    inbox.chain(others.map(|url| (url.clone(), false))).collect()
}

fn metadata(profile: &NostrProfile) -> Result<Metadata, String> {
    let mut metadata = Metadata::new().custom_field("bot", true);
    if let Some(name) = &profile.name {
        metadata = metadata.name(name).display_name(name);
    }
    if let Some(about) = &profile.about {
        metadata = metadata.about(about);
    }
    if let Some(picture) = &profile.picture {
        metadata = metadata.picture(picture.parse().map_err(|_| "the picture has no address".to_owned())?);
    }
    Ok(metadata)
}

/// What is left in the inbox comes from the Archon itself: it knows that as its own, and leaves it out.
async fn try_one(identity: &Identity, url: &RelayUrl, is_inbox: bool) -> Result<(), String> {
    let relay =
        post::connect(&[], identity, url).await.map_err(|why| format!("it cannot be reached: {why}"))?;
    let me = identity.public_key();
    if !is_inbox {
        let filter = Filter::new().author(me).kind(Kind::RelayList).limit(1);
        let asked = relay.fetch_events(vec![filter]).timeout(BACK_MAX).await;
        return asked.map(drop).map_err(|error| format!("it does not answer: {error}"));
    }
    let rumor = UnsignedEvent::new(
        me,
        Timestamp::now(),
        Kind::PrivateDirectMessage,
        [Tag::public_key(me)],
        "a try of the inbox",
    );
    let wrap = identity.wrap(rumor, me).await.map_err(|error| error.to_string())?;
    match post::hand(&relay, &wrap).await {
        Said::Stored => {}
        Said::Never(why) | Said::Later(why) => return Err(format!("it does not keep messages: {why}")),
        Said::Limited => return Err("it wants no more for a while".to_owned()),
    }
    let filter = Filter::new().kind(Kind::GiftWrap).pubkey(me).id(wrap.id);
    let back = relay.fetch_events(vec![filter]).timeout(BACK_MAX).await.map_err(|error| error.to_string())?;
    match back.iter().any(|event| event.id == wrap.id) {
        true => Ok(()),
        false => Err("it took a message and does not give it back".to_owned()),
    }
}

//! Where a person is to be reached: the relays that he names as his inbox (kind 10050), or the best guess.
//!
//! Whoever writes names these relays, also a stranger: what is no relay of ours must be in everybody's network, or an answer would be a way
//! to knock at doors of this one.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_models::remote::Reach;
use futures::future::join_all;
use nostr::event::{Event, Kind};
use nostr::filter::Filter;
use nostr::key::PublicKey;
use nostr::nips::nip65::RelayMetadata;
use nostr::nips::{nip17, nip65};
use nostr::types::RelayUrl;
use tokio::time::{Instant, timeout};

use super::identity::Identity;
use super::link::Link;
use super::post::connect;

/// Longest wait for a relay to say what it knows of a person.
const ASK_MAX: Duration = Duration::from_secs(8);
/// How long a list of relays counts.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// How long nobody is asked again for a list that was not found.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// People whose lists are kept.
const KNOWN_MAX: usize = 512;
/// Relays of one person that an answer is handed to: NIP-17 asks people to name one to three.
const RELAYS_MAX: usize = 4;
/// Longest look for a relay's address.
const NAME_MAX: Duration = Duration::from_secs(5);

/// What a person says of himself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lists {
    /// His inbox; kind 10050.
    inbox: Vec<RelayUrl>,
    /// Where he reads; kind 10002.
    reads: Vec<RelayUrl>,
}

impl Lists {
    /// Of the newest events of each kind.
    fn of<'e>(person: &PublicKey, events: impl Iterator<Item = &'e Event>) -> Self {
        let (mut inbox, mut reads): (Option<&Event>, Option<&Event>) = (None, None);
        for event in events.filter(|event| event.pubkey == *person) {
            let newest = match event.kind {
                Kind::InboxRelays => &mut inbox,
                Kind::RelayList => &mut reads,
                _ => continue,
            };
            if newest.is_none_or(|known| known.created_at < event.created_at) {
                *newest = Some(event);
            }
        }
        let reads = reads.into_iter().flat_map(nip65::extract_relay_list);
        Self {
            inbox: inbox.into_iter().flat_map(nip17::extract_relay_list).collect(),
            reads: reads
                .filter(|(_, use_)| *use_ != Some(RelayMetadata::Write))
                .map(|(url, _)| url)
                .collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.inbox.is_empty() && self.reads.is_empty()
    }
}

/// What is known of people.
#[derive(Default)]
pub(super) struct Routes {
    known: Mutex<HashMap<PublicKey, (Instant, Lists)>>,
}

/// Who asks, and where.
pub(super) struct Asker<'a> {
    pub(super) identity: &'a Identity,
    /// Connections that are held.
    pub(super) links: &'a [Arc<Link>],
    /// Where lists are published.
    pub(super) relays: &'a [RelayUrl],
    /// The own inbox.
    pub(super) inbox: &'a [RelayUrl],
}

impl Routes {
    /// The relays to which an answer to somebody is handed. Without an inbox of his: where he wrote to, and where he says that he reads.
    pub(super) async fn to(&self, person: &PublicKey, asker: &Asker<'_>) -> Vec<RelayUrl> {
        let lists = match self.recall(person) {
            Some(lists) => lists,
            None => {
                let lists = ask(person, asker).await;
                self.keep(*person, lists.clone());
                lists
            }
        };
        let own: Vec<RelayUrl> = asker.inbox.iter().chain(asker.relays).cloned().collect();
        let inbox = choose(&lists.inbox, &own).await;
        if !inbox.is_empty() {
            return inbox;
        }
        let mut guessed = asker.inbox.to_vec();
        for url in choose(&lists.reads, &own).await {
            if !guessed.contains(&url) {
                guessed.push(url);
            }
        }
        guessed
    }

    /// What is known of him is of no use.
    pub(super) fn forget(&self, person: &PublicKey) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(person);
    }

    fn recall(&self, person: &PublicKey) -> Option<Lists> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, lists) = known.get(person)?;
        let counts = if lists.is_empty() { UNKNOWN_FOR } else { KNOWN_FOR };
        (at.elapsed() < counts).then(|| lists.clone())
    }

    fn keep(&self, person: PublicKey, lists: Lists) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            let oldest = known.iter().min_by_key(|(_, (at, _))| *at).map(|(person, _)| *person);
            oldest.map(|person| known.remove(&person));
        }
        known.insert(person, (Instant::now(), lists));
    }
}

async fn ask(person: &PublicKey, asker: &Asker<'_>) -> Lists {
    let filter = Filter::new().author(*person).kinds([Kind::InboxRelays, Kind::RelayList]);
    let mut urls = asker.inbox.to_vec();
    urls.extend(asker.relays.iter().filter(|url| !asker.inbox.contains(url)).cloned());
    let asked = urls.iter().map(|url| {
        let filter = filter.clone();
        async move {
            let relay = connect(asker.links, asker.identity, url).await.ok()?;
            relay.fetch_events(vec![filter]).timeout(ASK_MAX).max_events(16).await.ok()
        }
    });
    let limited = join_all(asked.map(|one| timeout(ASK_MAX, one))).await;
    let events: Vec<Event> = limited.into_iter().flatten().flatten().flatten().collect();
    Lists::of(person, events.iter())
}

/// The first few that may be asked at all.
async fn choose(urls: &[RelayUrl], own: &[RelayUrl]) -> Vec<RelayUrl> {
    let mut named: Vec<&RelayUrl> = Vec::new();
    // Nobody has so many; whoever says so does not get us to look up all of them.
    for url in urls.iter().take(2 * RELAYS_MAX) {
        if !named.contains(&url) {
            named.push(url);
        }
    }
    let judged =
        join_all(named.into_iter().map(|url| async move { (url, may_be_asked(url, own).await) })).await;
    judged.into_iter().filter(|(_, may)| *may).map(|(url, _)| url.clone()).take(RELAYS_MAX).collect()
}

async fn may_be_asked(url: &RelayUrl, own: &[RelayUrl]) -> bool {
    if own.contains(url) {
        return true;
    }
    if !url.scheme().is_secure() || url.is_onion() {
        return false;
    }
    let Some(host) = url.host() else { return false };
    if let Ok(address) = host.to_string().trim_matches(['[', ']']).parse::<IpAddr>() {
        return Reach::is_public(address).is_ok();
    }
    let found = timeout(NAME_MAX, tokio::net::lookup_host((host.to_string(), 443))).await;
    let Ok(Ok(found)) = found else { return false };
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    !addresses.is_empty() && addresses.iter().all(|address| Reach::is_public(*address).is_ok())
}

#[cfg(test)]
mod tests {
    use nostr::event::{EventBuilder, FinalizeEvent, Tag};
    use nostr::key::Keys;
    use nostr::types::Timestamp;

    use super::*;

    fn list(keys: &Keys, kind: Kind, at: u64, tags: &[&[&str]]) -> Event {
        let tags = tags.iter().map(|tag| Tag::parse(tag.iter().copied()).unwrap());
        EventBuilder::new(kind, "").tags(tags).custom_created_at(Timestamp::from(at)).finalize(keys).unwrap()
    }

    #[test]
    fn the_newest_list_of_a_person_counts_and_nobody_elses() {
        let (maria, mallory) = (Keys::generate(), Keys::generate());
        let events = [
            list(&maria, Kind::InboxRelays, 20, &[&["relay", "wss://new.example"], &["relay", "nonsense"]]),
            list(&maria, Kind::InboxRelays, 10, &[&["relay", "wss://old.example"]]),
            list(&mallory, Kind::InboxRelays, 30, &[&["relay", "wss://mallory.example"]]),
            list(
                &maria,
                Kind::RelayList,
                5,
                &[
                    &["r", "wss://both.example"],
                    &["r", "wss://w.example", "write"],
                    &["r", "wss://r.example", "read"],
                ],
            ),
        ];
        let lists = Lists::of(&maria.public_key(), events.iter());
        let shown = |urls: &[RelayUrl]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&lists.inbox), ["wss://new.example"]);
        assert_eq!(shown(&lists.reads), ["wss://both.example", "wss://r.example"]);
    }

    #[tokio::test]
    async fn what_a_stranger_names_is_no_way_into_the_own_network() {
        let own = [RelayUrl::parse("ws://127.0.0.1:7000").unwrap()];
        let table = [
            ("ws://127.0.0.1:7000", true),
            ("ws://127.0.0.1:7001", false),
            ("wss://127.0.0.1:7001", false),
            ("wss://192.168.1.1", false),
            ("wss://[::1]:80", false),
            ("wss://169.254.169.254", false),
            ("ws://198.41.0.4", false),
            ("wss://198.41.0.4", true),
            ("wss://localhost", false),
            ("wss://x.onion", false),
        ];
        for (url, expected) in table {
            assert_eq!(may_be_asked(&RelayUrl::parse(url).unwrap(), &own).await, expected, "{url}");
        }
    }
}

//! Handing an event to relays, and what their answers mean.
use std::sync::Arc;
use std::time::Duration;

use archond_actors::ports::ChannelFault;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use nostr::event::Event;
use nostr::types::RelayUrl;
use nostr_sdk::relay::Relay;
use tokio::time::{Instant, timeout_at};

use super::identity::Identity;
use super::link::{self, Link};

/// Longest wait for a connection to a relay of somebody else.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a relay to say whether it keeps an event.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest that all of it takes.
const ALL_MAX: Duration = Duration::from_secs(30);
/// How long the others are waited for when one has it.
const OTHERS_MAX: Duration = Duration::from_secs(3);
/// A relay that wants to be left alone does not say for how long.
const REST: Duration = Duration::from_secs(60);

/// What a relay says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It keeps it, or had it already.
    Stored,
    /// It will never keep it.
    Never(String),
    /// Not now.
    Later(String),
    /// It wants to be left alone.
    Limited,
}

/// Reads the words behind `OK false`, or what went wrong.
fn judge(words: &str) -> Said {
    let words: String = words.chars().filter(|letter| !letter.is_control()).take(200).collect();
    match words.split(':').next().unwrap_or_default().trim() {
        "duplicate" => Said::Stored,
        "rate-limited" => Said::Limited,
        "pow" | "blocked" | "restricted" | "invalid" | "unsupported" | "auth-required" => Said::Never(words),
        _ => Said::Later(words),
    }
}

/// Hands an event to one relay that is connected.
pub(super) async fn hand(relay: &Relay, event: &Event) -> Said {
    match relay.send_event(event).ok_timeout(ANSWER_MAX).authentication_timeout(ANSWER_MAX).await {
        Ok(_) => Said::Stored,
        Err(error) => judge(&error.to_string()),
    }
}

/// A connection to a relay: one that is held anyway, or a new one that ends with what this returns.
pub(super) async fn connect(
    links: &[Arc<Link>],
    identity: &Identity,
    url: &RelayUrl,
) -> Result<Relay, String> {
    if let Some(held) = links.iter().find(|link| link.url == *url).and_then(|link| link.relay()) {
        return Ok(held);
    }
    let relay = link::open(url, identity, None);
    match relay.try_connect().timeout(CONNECT_MAX).await {
        Ok(()) => Ok(relay),
        Err(error) => Err(error.to_string()),
    }
}

/// Hands an event to all of these relays at once. Those that are slow when one has it are not waited for.
pub(super) async fn publish(
    links: &[Arc<Link>],
    identity: &Identity,
    event: &Event,
    relays: &[RelayUrl],
) -> Vec<(RelayUrl, Said)> {
    let mut tries: FuturesUnordered<_> = relays
        .iter()
        .map(|url| async move {
            let said = match connect(links, identity, url).await {
                Ok(relay) => hand(&relay, event).await,
                Err(why) => Said::Later(format!("cannot be reached: {why}")),
            };
            (url.clone(), said)
        })
        .collect();
    let mut deadline = Instant::now() + ALL_MAX;
    let mut answers = Vec::new();
    while let Ok(Some(answer)) = timeout_at(deadline, tries.next()).await {
        if answer.1 == Said::Stored {
            deadline = deadline.min(Instant::now() + OTHERS_MAX);
        }
        answers.push(answer);
    }
    answers
}

/// What it means for an answer: one relay that has it is enough.
pub(super) fn outcome(answers: &[(RelayUrl, Said)]) -> Result<(), ChannelFault> {
    if answers.iter().any(|(_, said)| *said == Said::Stored) {
        return Ok(());
    }
    let words = |(url, said): &(RelayUrl, Said)| match said {
        Said::Stored => format!("{url} has it"),
        Said::Never(why) | Said::Later(why) => format!("{url}: {why}"),
        Said::Limited => format!("{url} wants no more for a while"),
    };
    let detail = answers.iter().map(words).collect::<Vec<_>>().join("; ");
    let all = |kind: fn(&Said) -> bool| !answers.is_empty() && answers.iter().all(|(_, said)| kind(said));
    if all(|said| matches!(said, Said::Never(_))) {
        return Err(ChannelFault::Refused { reason: format!("no relay of the receiver takes it: {detail}") });
    }
    if all(|said| matches!(said, Said::Limited | Said::Never(_))) {
        return Err(ChannelFault::Limited { after: REST, everywhere: false });
    }
    match answers.is_empty() {
        true => Err(ChannelFault::transient("no relay of the receiver answered in time")),
        false => Err(ChannelFault::Transient { detail }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_relays_are_understood() {
        let table = [
            ("duplicate: already have this event", Said::Stored),
            ("rate-limited: slow down", Said::Limited),
            ("blocked: you are banned", Said::Never("blocked: you are banned".into())),
            ("restricted: members only", Said::Never("restricted: members only".into())),
            ("invalid: too large", Said::Never("invalid: too large".into())),
            ("pow: 28 bits", Said::Never("pow: 28 bits".into())),
            ("error: disk", Said::Later("error: disk".into())),
            ("timeout", Said::Later("timeout".into())),
            ("", Said::Later(String::new())),
        ];
        for (words, said) in table {
            assert_eq!(judge(words), said, "{words}");
        }
    }

    #[test]
    fn one_relay_that_has_it_is_enough_and_all_must_refuse() {
        let url = RelayUrl::parse("wss://a.example").unwrap();
        let never = || Said::Never("blocked: no".into());
        let later = || Said::Later("error: disk".into());
        let table = [
            (vec![never(), Said::Stored], "delivered"),
            (vec![never(), never()], "refused"),
            (vec![never(), later()], "transient"),
            (vec![Said::Limited, never()], "limited"),
            (vec![Said::Limited, later()], "transient"),
            (vec![], "transient"),
        ];
        for (said, expected) in table {
            let answers: Vec<_> = said.iter().map(|said| (url.clone(), said.clone())).collect();
            let kind = match outcome(&answers) {
                Ok(()) => "delivered",
                Err(ChannelFault::Refused { .. }) => "refused",
                Err(ChannelFault::Limited { everywhere: false, .. }) => "limited",
                Err(ChannelFault::Transient { .. }) => "transient",
                Err(_) => "another",
            };
            assert_eq!(kind, expected, "{said:?}");
        }
    }
}

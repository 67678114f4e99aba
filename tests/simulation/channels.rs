//! The people: they write, and those at a terminal hand in themselves, and look at the answers.
use std::time::Duration;

use archond_actors::domain::{Accepted, AnswerKind, MessageKey, OutboxEntry, TurnEvent};
use archond_actors::house::SubmitError;
use archond_actors::observer::TurnObserver;
use tokio::time::timeout;

use crate::disk::Random;
use crate::life::Running;
use crate::ports::pass;
use crate::scenario::{Chat, Road};

/// Longer than every deadline inside: whoever waits longer was forgotten.
const SUBMIT_MAX: Duration = Duration::from_secs(100);
/// A person looks away from an answer that takes longer.
const WATCH_MAX: Duration = Duration::from_secs(120);

/// What came of handing a message in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handed {
    Taken,
    Refused,
    /// Perhaps taken, perhaps not: it is to be handed in again.
    Unknown,
}

/// Writes a chat's messages when their time comes. On a terminal the writer hands them in, too.
pub(crate) async fn person(running: &Running<'_>, number: usize, chat: &Chat) {
    let mut random = running.random(1_000 + number as u64);
    loop {
        if chat.road == Road::Cli {
            for key in unfinished(running, number) {
                say(running, &key, &mut random).await;
            }
            collect(running, chat).await;
        }
        let written = running.outside.borrow().progress.get(&number).copied().unwrap_or(0);
        let Some(planned) = chat.planned.get(written) else {
            pass(Duration::from_secs(1)).await;
            continue;
        };
        pass(planned.gap).await;
        running.outside.borrow_mut().write(number, chat);
    }
}

/// This person's messages that nobody has acknowledged.
fn unfinished(running: &Running<'_>, number: usize) -> Vec<String> {
    let outside = running.outside.borrow();
    let progress = outside.progress.get(&number).copied().unwrap_or(0);
    let keys = (0..progress).map(|index| format!("{number}-{index}"));
    keys.filter(|key| {
        outside.letters.get(key).is_some_and(|letter| letter.acknowledged.is_none() && !letter.refused)
    })
    .collect()
}

/// At a terminal: hands a message in until it is taken, and mostly watches the answer.
async fn say(running: &Running<'_>, key: &str, random: &mut Random) {
    let message_key = MessageKey { channel: "cli".parse().unwrap(), key: key.to_owned() };
    let mut observer = running.house.observers().observe(message_key);
    let mut tries = 0;
    loop {
        tries += 1;
        match hand_in(running, key, random).await {
            Handed::Taken => break,
            Handed::Refused => return,
            Handed::Unknown => pass(Duration::from_millis(50 + random.below(1_000))).await,
        }
    }
    if random.below(3) > 0 {
        // Only who watched from the beginning has seen everything.
        let first = tries == 1 && running.number == 0;
        if let Ok(Some(answer)) = timeout(WATCH_MAX, watch(running, &mut observer, first)).await {
            running.outside.borrow_mut().deliver(&answer);
            running.mark_sent(answer.id).await;
        }
    }
}

async fn watch(running: &Running<'_>, observer: &mut TurnObserver, first: bool) -> Option<OutboxEntry> {
    let mut text = String::new();
    loop {
        match observer.next().await? {
            TurnEvent::Text { text: more } => text.push_str(&more),
            TurnEvent::Retrying { .. } => text.clear(),
            TurnEvent::Ended { answer } => {
                // What was shown must be the beginning of what is kept; the end may be the house's own words.
                if first && answer.kind == AnswerKind::Answer && !answer.text.starts_with(text.trim()) {
                    running.violate(format!("shown `{text}`, kept `{}`", answer.text));
                }
                return Some(answer);
            }
            _ => {}
        }
    }
}

/// At a terminal: shows the answers that nobody watched.
async fn collect(running: &Running<'_>, chat: &Chat) {
    let (channel, peer) = (chat.road.channel().parse().unwrap(), chat.peer.parse().unwrap());
    let of = Some((chat.archon.parse().unwrap(), peer));
    let waiting = running.house.memory().undelivered(&channel, of, None, 100).await.unwrap_or_default();
    running.outside.borrow_mut().offered(&waiting);
    for entry in waiting {
        running.outside.borrow_mut().deliver(&entry);
        running.mark_sent(entry.id).await;
    }
}

/// Hands a message in, and now and then does not wait for the answer.
async fn hand_in(running: &Running<'_>, key: &str, random: &mut Random) -> Handed {
    let Some((message, acceptable)) = running
        .outside
        .borrow()
        .letters
        .get(key)
        .map(|letter| (letter.inbound.clone(), letter.is_acceptable()))
    else {
        return Handed::Refused;
    };
    let leaves = random.below(12) == 0;
    let patience = if leaves { Duration::from_millis(random.below(12)) } else { SUBMIT_MAX };
    let Ok(result) = timeout(patience, running.house.submit(message)).await else {
        if !leaves {
            running.violate(format!("whoever handed {key} in waits for ever"));
        }
        return Handed::Unknown;
    };
    running.note(&format!("{key}: {result:?}"));
    let (id, fresh) = match result {
        Ok(Accepted::Fresh(entry)) => (entry.id, true),
        Ok(Accepted::Duplicate(id)) => (id, false),
        Err(SubmitError::Empty | SubmitError::TooLarge { .. }) if !acceptable => {
            if let Some(letter) = running.outside.borrow_mut().letters.get_mut(key) {
                letter.refused = true;
            }
            return Handed::Refused;
        }
        Err(SubmitError::NotRunning { .. } | SubmitError::Unavailable { .. } | SubmitError::Busy { .. })
        | Err(SubmitError::Memory(_)) => return Handed::Unknown,
        Err(error) => {
            running.violate(format!("{key} was refused: {error}"));
            return Handed::Refused;
        }
    };
    if !acceptable {
        running.violate(format!("{key} was taken"));
    }
    running.outside.borrow_mut().acknowledge(key, id, fresh);
    Handed::Taken
}

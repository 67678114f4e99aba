//! The tasks of a channel: handing in what came, handing over what goes out, looking into the store. Each has an end, and reports it.
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::delivery::{LANE_LEN_MAX, Tried, WINDOW_LEN_MAX};
use super::handle::ChannelArgs;
use super::watching::{Watched, Watcher};
use crate::access::{self, Judgement};
use crate::command::Intent;
use crate::domain::{
    Accepted, AccessPolicy, AnswerKind, ChannelId, Cursor, ENCLOSURES_MAX, Enclosure, Inbound,
    InboundMessage, InboxEntry, MessageKey, Offered, OutboxEntry, OutboxId, Parcel, PeerKey, Receipt, Tier,
    house_key,
};
use crate::house::SubmitError;
use crate::memory::MemoryError;
use crate::observer::TurnObserver;
use crate::ports::{Channel, ChannelFault, Handed};

/// Longest that one step of a delivery may take: a large picture over a slow line.
const DELIVER_MAX: Duration = Duration::from_secs(60);
/// Steps of one delivery: an answer of a megabyte in messages of the shortest kind. More means that the adapter runs in a circle.
const STEPS_MAX: u32 = 1000;
/// Answers that are read from the store at once.
const PAGE_LEN: usize = 200;
/// Answers of one look; see [`WINDOW_LEN_MAX`].
const LOOK_LEN_MAX: usize = 2 * WINDOW_LEN_MAX;
/// Times that a refused message is held because its sender could not be told.
pub(super) const TELL_TRIES_MAX: u32 = 3;

/// What came of handing in.
pub(super) struct HandedIn {
    /// What is left of it, in order.
    pub(super) rest: Vec<Inbound>,
    /// Why something is left, or why the cursor could not be moved.
    pub(super) held_up: Option<String>,
    /// Messages that are new.
    pub(super) taken: u64,
    /// Those whose turn may be watched.
    pub(super) watched: Vec<Watched>,
    /// The keys of those that were refused for good, and whose senders know.
    pub(super) refused: Vec<String>,
}

/// Runs a call of an adapter; a panic in it is a failure like others.
pub(super) async fn guarded<T>(
    call: impl Future<Output = Result<T, ChannelFault>>,
) -> Result<T, ChannelFault> {
    let panicked = |_| Err(ChannelFault::transient("its adapter panicked; the log says where"));
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(panicked)
}

/// The platform's own key.
fn platform_key(args: &ChannelArgs, key: &str) -> String {
    let own = key.strip_prefix(args.spec.id.as_str()).and_then(|rest| rest.strip_prefix(':'));
    own.unwrap_or(key).to_owned()
}

/// An answer, as an adapter gets it.
pub(super) fn parcel(
    args: &ChannelArgs,
    entry: &OutboxEntry,
    receipt: Option<Receipt>,
    tries: u32,
) -> Parcel {
    Parcel {
        outbox: Some(entry.id),
        key: platform_key(args, &entry.key),
        peer: entry.session.peer.clone(),
        reply_to: entry.reply_to.clone(),
        kind: entry.kind,
        text: entry.text.clone(),
        attachments: entry.attachments.clone(),
        created_unix_ms: entry.created_unix_ms,
        receipt,
        tries,
    }
}

/// What an adapter needs to show how the answer to a message comes along.
pub(super) fn address(args: &ChannelArgs, entry: &InboxEntry) -> Parcel {
    Parcel {
        outbox: None,
        key: platform_key(args, &entry.key),
        peer: entry.session.peer.clone(),
        reply_to: entry.waybill.reply_to.clone(),
        kind: AnswerKind::Notice,
        text: String::new(),
        attachments: Vec::new(),
        created_unix_ms: entry.received_unix_ms,
        receipt: None,
        tries: 0,
    }
}

/// Polls, from where the store says.
pub(super) async fn poll(args: &ChannelArgs) -> Result<crate::domain::Batch, ChannelFault> {
    let cursor = args.intake.memory().cursor(&args.spec.id, &args.channel.id()).await;
    let cursor = cursor.map_err(|error| ChannelFault::transient(error.to_string()))?;
    guarded(args.channel.receive(cursor)).await
}

/// Hands messages in, in order, until one has to wait; then it and all after it are left. `tries`: how often the first was left before.
pub(super) async fn hand_in(
    args: &ChannelArgs,
    messages: Vec<Inbound>,
    place: Option<Arc<str>>,
    known: &HashSet<String>,
    tries: u32,
) -> HandedIn {
    let mut done =
        HandedIn { rest: Vec::new(), held_up: None, taken: 0, watched: Vec::new(), refused: Vec::new() };
    let mut messages = messages.into_iter();
    let mut first = true;
    while let Some(inbound) = messages.next() {
        let tries = if std::mem::take(&mut first) { tries } else { 0 };
        if known.contains(&inbound.key) || done.refused.contains(&inbound.key) {
            continue;
        }
        if let Err(why) = take(args, &inbound, tries, &mut done).await {
            done.held_up = Some(why);
            done.rest = std::iter::once(inbound).chain(messages).collect();
            return done;
        }
    }
    if let Some(place) = place {
        let cursor = Cursor { place, moved_unix_ms: args.clock.now_unix_ms() };
        let moved = args.intake.memory().move_cursor(args.spec.id.clone(), args.channel.id(), cursor).await;
        done.held_up = moved.err().map(|error| error.to_string());
    }
    done
}

/// Hands one message in. An error: it has to wait, for this reason.
async fn take(args: &ChannelArgs, inbound: &Inbound, tries: u32, done: &mut HandedIn) -> Result<(), String> {
    let channel = args.channel.id();
    let peer = match inbound.session_peer() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::error!(archon = %args.spec.id, %channel, %error, "a message of nobody is left out");
            return Ok(());
        }
    };
    let tier = match welcome(args, inbound).await? {
        Judgement::Known(tier) => tier,
        Judgement::Stranger => return greet(args, inbound).await,
        Judgement::Nobody => {
            tracing::info!(archon = %args.spec.id, %channel, %peer, "somebody who may not write here was not heard");
            return Ok(());
        }
    };
    let mut waybill = inbound.waybill.clone();
    waybill.tier = Some(tier);
    let mut text = inbound.text.clone();
    for enclosed in inbound.enclosed.iter().take(ENCLOSURES_MAX) {
        match fetch(&*args.channel, enclosed).await {
            Ok(enclosure) => {
                text = format!("{text}\n{}", enclosure.told()).trim().to_owned();
                waybill.enclosures.push(enclosure);
            }
            // The rest of the message is worth an answer all the same.
            Err(ChannelFault::Refused { reason }) => {
                text = format!("{text}\n[something that came with this could not be had: {reason}]")
                    .trim()
                    .to_owned();
            }
            Err(fault) => return Err(fault.to_string()),
        }
    }
    let message = InboundMessage {
        archon: args.spec.id.clone(),
        channel: channel.clone(),
        peer,
        key: house_key(&args.spec.id, &inbound.key),
        thread: inbound.thread.clone(),
        text,
        received_unix_ms: args.clock.now_unix_ms(),
        waybill,
    };
    let observer = observe(args, &message);
    match args.intake.submit(message).await {
        Ok(Accepted::Fresh(entry)) => {
            done.taken += 1;
            done.watched.extend(observer.map(|observer| Watched { entry, observer, receipt: None }));
            Ok(())
        }
        Ok(Accepted::Duplicate(_)) => Ok(()),
        Err(error @ (SubmitError::Empty | SubmitError::TooLarge { .. })) => {
            tell(args, inbound, &error.to_string(), tries).await?;
            done.refused.push(inbound.key.clone());
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a message's writer may write. An error: nobody can say it just now.
async fn welcome(args: &ChannelArgs, inbound: &Inbound) -> Result<Judgement, String> {
    let unset = AccessPolicy::default();
    let policy = args.spec.access.get(&args.channel.id()).unwrap_or(&unset);
    let paired = match policy.listed(&inbound.peer) {
        // There is nothing more that he could be.
        Some(Tier::Owner) => None,
        Some(Tier::User) | None => {
            let paired = args.intake.memory().paired(peer_key(args, inbound)).await;
            paired.map_err(|error| error.to_string())?.map(|paired| paired.tier)
        }
    };
    Ok(access::judge(policy, &inbound.peer, inbound.group.as_ref(), paired))
}

fn peer_key(args: &ChannelArgs, inbound: &Inbound) -> PeerKey {
    PeerKey { archon: args.spec.id.clone(), channel: args.channel.id(), peer: inbound.peer.clone() }
}

/// Offers a stranger a code, once in a while. What he wrote is kept nowhere, and his commands are not answered.
async fn greet(args: &ChannelArgs, inbound: &Inbound) -> Result<(), String> {
    let begins = inbound.text.trim_start().starts_with("/start");
    if !begins && !matches!(Intent::of(&inbound.text), Intent::Message) {
        return Ok(());
    }
    let Some((code, hash)) = args.codes.draw_code() else {
        return Err("there is no chance to be had".into());
    };
    let (with, now) = (peer_key(args, inbound), args.clock.now_unix_ms());
    let offered =
        args.intake.memory().offer_code(with, hash, now).await.map_err(|error| error.to_string())?;
    if offered != Offered::Fresh {
        return Ok(());
    }
    tracing::info!(archon = %args.spec.id, channel = %args.channel.id(), peer = %inbound.peer, "a stranger has a code");
    let text = format!(
        "I do not know you yet. Give my owner this code: {code}\nHe says `archond pairing approve {code}` within an hour; then write again."
    );
    let word = Parcel { kind: AnswerKind::Notice, text, ..own_word(args, inbound, 0) };
    // Whoever did not get it has to wait for the next one: it is in nobody's hands.
    let _ = hand_over(&*args.channel, word).await;
    Ok(())
}

/// Before the message is handed in, so that nothing of its turn is missed. One that is watched already stays with its watcher.
fn observe(args: &ChannelArgs, message: &InboundMessage) -> Option<TurnObserver> {
    let key: MessageKey = message.message_key();
    let wanted = Intent::of(&message.text).takes_a_turn() && !args.observers.is_observed(&key);
    wanted.then(|| args.observers.observe(key))
}

/// Says a word of the channel itself. One that cannot be said is no reason to wait for ever.
async fn tell(args: &ChannelArgs, inbound: &Inbound, text: &str, tries: u32) -> Result<(), String> {
    let text = format!("I could not take that: {text}.");
    let word = Parcel { text, ..own_word(args, inbound, tries) };
    match hand_over(&*args.channel, word).await {
        Ok(_) | Err(ChannelFault::Refused { .. }) => Ok(()),
        Err(fault) if tries >= TELL_TRIES_MAX => {
            tracing::warn!(archon = %args.spec.id, key = inbound.key, %fault, "a refusal could not be told");
            Ok(())
        }
        Err(fault) => Err(fault.to_string()),
    }
}

/// A word of the channel itself to whoever wrote a message.
fn own_word(args: &ChannelArgs, inbound: &Inbound, tries: u32) -> Parcel {
    Parcel {
        outbox: None,
        key: inbound.key.clone(),
        peer: inbound.peer.clone(),
        reply_to: inbound.waybill.reply_to.clone(),
        kind: AnswerKind::Failure,
        text: String::new(),
        attachments: Vec::new(),
        created_unix_ms: args.clock.now_unix_ms(),
        receipt: None,
        tries,
    }
}

async fn fetch(channel: &dyn Channel, enclosed: &str) -> Result<Enclosure, ChannelFault> {
    let late = |_| Err(ChannelFault::transient(format!("a file took longer than {DELIVER_MAX:?}")));
    tokio::time::timeout(DELIVER_MAX, guarded(channel.fetch(enclosed))).await.unwrap_or_else(late)
}

async fn hand_over(channel: &dyn Channel, parcel: Parcel) -> Result<Handed, ChannelFault> {
    let late = |_| Err(ChannelFault::transient(format!("it took longer than {DELIVER_MAX:?}")));
    tokio::time::timeout(DELIVER_MAX, guarded(channel.deliver(parcel))).await.unwrap_or_else(late)
}

/// Hands an answer over, step by step, and marks it. Whoever shows how it comes along lets go first.
pub(super) async fn carry(
    args: &ChannelArgs,
    entry: &OutboxEntry,
    known: Option<Receipt>,
    tries: u32,
    watcher: Option<Watcher>,
) -> Tried {
    let memory = args.intake.memory();
    let shown = match watcher {
        Some(watcher) => watcher.end().await,
        None => None,
    };
    // One that the store does not know yet has to be there before the next step: a crash after that would begin from nothing.
    let unkept = known.or(shown);
    let kept = match &unkept {
        Some(receipt) => memory.keep_receipt(entry.answers, receipt.clone()).await.map(|()| unkept.clone()),
        None => memory.receipt(entry.answers).await,
    };
    let mut receipt = match kept {
        Ok(receipt) => receipt,
        // A receipt of what is delivered meanwhile is refused, too.
        Err(error) => match is_owed(args, entry).await {
            Ok(false) => return Tried::Delivered { marked: true },
            Ok(true) | Err(_) => return failed(ChannelFault::transient(error.to_string()), unkept),
        },
    };
    // After the receipt was read: both end in one commit, which a former incarnation may have asked for.
    match is_owed(args, entry).await {
        Ok(true) => {}
        Ok(false) => return Tried::Delivered { marked: true },
        Err(error) => return failed(ChannelFault::transient(error.to_string()), receipt),
    }
    for _ in 0..STEPS_MAX {
        match hand_over(&*args.channel, parcel(args, entry, receipt.clone(), tries)).await {
            Ok(Handed::Whole) => {
                // One that cannot be marked is not handed over again: the marking is tried again.
                return Tried::Delivered { marked: memory.mark_sent(entry.id).await.is_ok() };
            }
            Ok(Handed::Step(next)) => {
                receipt = Some(next.clone());
                if let Err(error) = memory.keep_receipt(entry.answers, next).await {
                    return failed(ChannelFault::transient(error.to_string()), receipt);
                }
            }
            Err(fault) => return failed(fault, receipt),
        }
    }
    let reason = format!("its adapter needs more than {STEPS_MAX} steps for it");
    failed(ChannelFault::Refused { reason }, receipt)
}

/// Whether an answer still waits to be delivered.
async fn is_owed(args: &ChannelArgs, entry: &OutboxEntry) -> Result<bool, MemoryError> {
    let session = &entry.session;
    let to = (session.archon.clone(), session.peer.clone());
    let before = entry.id.0.checked_sub(1).map(OutboxId);
    let next = args.intake.memory().undelivered(&session.channel, Some(to), before, 1).await?;
    Ok(next.first().is_some_and(|next| next.id == entry.id))
}

fn failed(fault: ChannelFault, receipt: Option<Receipt>) -> Tried {
    Tried::Failed { fault, receipt }
}

/// Of each peer the oldest answers that wait, in order, and whether those are all.
pub(super) async fn look(args: &ChannelArgs) -> Result<(Vec<OutboxEntry>, bool), MemoryError> {
    let (channel, mut after) = (args.channel.id(), None);
    let (mut found, mut lanes, mut complete) = (Vec::new(), HashMap::new(), true);
    loop {
        let page = args.intake.memory().undelivered(&channel, None, after, PAGE_LEN).await?;
        let is_last = page.len() < PAGE_LEN;
        after = page.last().map(|entry| entry.id);
        for entry in page.into_iter().filter(|entry| entry.session.archon == args.spec.id) {
            if found.len() >= LOOK_LEN_MAX {
                return Ok((found, false));
            }
            let lane: &mut usize = lanes.entry(entry.session.peer.clone()).or_default();
            if *lane < LANE_LEN_MAX {
                *lane += 1;
                found.push(entry);
            } else {
                complete = false;
            }
        }
        if is_last {
            return Ok((found, complete));
        }
    }
}

/// Messages that an earlier life left without an answer: their turns may be watched, too.
pub(super) async fn left_behind(args: &ChannelArgs, channel: &ChannelId) -> Vec<Watched> {
    let memory = args.intake.memory();
    let pending = memory.pending(&args.spec.id, None, PAGE_LEN).await.unwrap_or_default();
    let mut watched = Vec::new();
    for entry in pending.into_iter().filter(|entry| entry.session.channel == *channel) {
        let key = entry.message_key();
        if Intent::of(&entry.text).takes_a_turn() && !args.observers.is_observed(&key) {
            let receipt = memory.receipt(entry.id).await.unwrap_or_default();
            watched.push(Watched { entry, observer: args.observers.observe(key), receipt });
        }
    }
    watched
}

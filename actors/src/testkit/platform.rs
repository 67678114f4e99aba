//! A platform on which people write: it behaves, and can be told to hang, to refuse, to lose what it says, to repeat and to mix up.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::domain::{
    Batch, ChannelId, Cursor, IdError, Inbound, OutboxId, Parcel, PeerId, Receipt, ReplyTo, Shown, Waybill,
};
use crate::ports::{Channel, ChannelFault, Handed};

/// How long a poll of the double waits for something new.
const POLL_WAIT: Duration = Duration::from_secs(25);
/// Messages of one poll.
const BATCH_LEN: usize = 50;

/// What goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mishap {
    /// It never comes back.
    Hang,
    /// It fails before anything happened.
    Fail(ChannelFault),
    /// It happens, and the answer that says so is lost.
    LoseAnswer,
    /// The code of the adapter panics.
    Panic,
}

/// What a person sees of the Archon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which answer; `None` for the channel's own words.
    pub outbox: Option<OutboxId>,
    /// The key of the message that it answers.
    pub key: String,
    /// Where it was said.
    pub reply_to: String,
    /// The text.
    pub text: String,
}

#[derive(Default)]
struct State {
    /// Everything that was ever written, in order.
    written: Vec<Inbound>,
    /// The platform gives those from here on: it was told that those before were taken.
    confirmed: usize,
    /// Given with the next poll, though they were given before.
    repeated: Vec<Inbound>,
    /// The messages of the next batch come in the reverse order.
    reversed: bool,
    polls: VecDeque<Mishap>,
    deliveries: VecDeque<Mishap>,
    /// Chats that take nothing, and why.
    closed: BTreeMap<String, ChannelFault>,
    seen: Vec<Seen>,
    /// How each message's answer came along.
    shown: Vec<(String, Shown)>,
    /// Placeholders by the key of the message, for those who are delivered in two steps.
    placeholders: u32,
    two_steps: bool,
    renewed: u32,
    polled: u32,
}

/// The platform and its adapter in one. Clones are the same.
#[derive(Clone, Default)]
pub struct FakePlatform {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

impl FakePlatform {
    /// A quiet one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody writes.
    pub fn write(&self, inbound: Inbound) {
        self.lock().written.push(inbound);
        self.news.notify_one();
    }

    /// What was written comes once more, whether it was confirmed or not.
    pub fn repeat(&self, key: &str) {
        let mut state = self.lock();
        let again: Vec<_> = state.written.iter().filter(|inbound| inbound.key == key).cloned().collect();
        state.repeated.extend(again);
        drop(state);
        self.news.notify_one();
    }

    /// The next batch comes in the reverse order.
    pub fn reverse(&self) {
        self.lock().reversed = true;
    }

    /// What goes wrong with the next polls, one each.
    pub fn spoil_polls(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.lock().polls.extend(mishaps);
    }

    /// What goes wrong with the next deliveries, one each.
    pub fn spoil_deliveries(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.lock().deliveries.extend(mishaps);
    }

    /// From now on this place takes nothing; `None` ends that.
    pub fn close(&self, reply_to: &str, fault: Option<ChannelFault>) {
        let mut state = self.lock();
        match fault {
            Some(fault) => drop(state.closed.insert(reply_to.to_owned(), fault)),
            None => drop(state.closed.remove(reply_to)),
        }
    }

    /// From now on answers are delivered in two steps: a placeholder, then the answer in its place.
    pub fn in_two_steps(&self) {
        self.lock().two_steps = true;
    }

    /// What people have seen, in order. An answer in the place of a placeholder, or of itself, is seen once.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// What was shown of answers on their way, with the keys of their messages.
    pub fn shown(&self) -> Vec<(String, Shown)> {
        self.lock().shown.clone()
    }

    /// Placeholders that were made.
    pub fn placeholders(&self) -> u32 {
        self.lock().placeholders
    }

    /// How often the adapter was told to begin anew.
    pub fn renewed(&self) -> u32 {
        self.lock().renewed
    }

    /// How often it was polled.
    pub fn polled(&self) -> u32 {
        self.lock().polled
    }

    /// How many messages the platform regards as taken.
    pub fn confirmed(&self) -> usize {
        self.lock().confirmed
    }

    fn batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        let fresh = state.written.iter().skip(state.confirmed).take(BATCH_LEN).cloned();
        let mut messages: Vec<_> = fresh.collect();
        let place = (!messages.is_empty()).then(|| (state.confirmed + messages.len()).to_string().into());
        messages.append(&mut state.repeated);
        if std::mem::take(&mut state.reversed) {
            messages.reverse();
        }
        (!messages.is_empty()).then_some(Batch { messages, place })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held has failed already; the others may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message of this person, in a chat of his own.
pub fn inbound(key: &str, peer: &str, text: &str) -> Result<Inbound, IdError> {
    Ok(Inbound {
        key: key.to_owned(),
        peer: peer.parse()?,
        group: None,
        thread: None,
        text: text.to_owned(),
        enclosed: Vec::new(),
        waybill: Waybill { reply_to: ReplyTo::new(&format!("chat-{peer}"))?, ..Waybill::default() },
    })
}

#[async_trait]
impl Channel for FakePlatform {
    fn id(&self) -> ChannelId {
        #[expect(clippy::expect_used, reason = "a constant that is a name")]
        ChannelId::new("double").expect("a name")
    }

    fn chat_with(&self, person: &PeerId) -> Option<ReplyTo> {
        ReplyTo::new(&format!("chat-{person}")).ok()
    }

    fn leads_to(&self) -> String {
        "a platform in memory".to_owned()
    }

    async fn receive(&self, after: Option<Cursor>) -> Result<Batch, ChannelFault> {
        let mishap = {
            let mut state = self.lock();
            state.polled += 1;
            let taken = after.and_then(|cursor| cursor.place.parse().ok()).unwrap_or(0);
            state.confirmed = state.confirmed.max(taken);
            state.polls.pop_front()
        };
        match mishap {
            Some(Mishap::Hang) => std::future::pending().await,
            Some(Mishap::Fail(fault)) => return Err(fault),
            Some(Mishap::LoseAnswer) => return Err(ChannelFault::transient("the answer was lost")),
            #[expect(clippy::panic, reason = "that is what it is asked for")]
            Some(Mishap::Panic) => panic!("a bug in the adapter"),
            None => {}
        }
        loop {
            if let Some(batch) = self.batch() {
                return Ok(batch);
            }
            if timeout(POLL_WAIT, self.news.notified()).await.is_err() {
                return Ok(Batch::default());
            }
        }
    }

    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault> {
        let mishap = {
            let mut state = self.lock();
            if let Some(fault) = state.closed.get(parcel.reply_to.as_str()) {
                return Err(fault.clone());
            }
            state.deliveries.pop_front()
        };
        match &mishap {
            Some(Mishap::Hang) => std::future::pending().await,
            Some(Mishap::Fail(fault)) => return Err(fault.clone()),
            #[expect(clippy::panic, reason = "that is what it is asked for")]
            Some(Mishap::Panic) => panic!("a bug in the adapter"),
            Some(Mishap::LoseAnswer) | None => {}
        }
        let mut state = self.lock();
        let handed = if state.two_steps && parcel.receipt.is_none() && parcel.outbox.is_some() {
            state.placeholders += 1;
            let receipt = Receipt::new(&state.placeholders.to_string());
            Handed::Step(receipt.map_err(|error| ChannelFault::transient(error.to_string()))?)
        } else {
            let seen = Seen {
                outbox: parcel.outbox,
                key: parcel.key,
                reply_to: parcel.reply_to.as_str().to_owned(),
                text: parcel.text,
            };
            // In a placeholder's place the same words are written again, which nobody notices.
            let known = state.two_steps && seen.outbox.is_some() && state.seen.contains(&seen);
            if !known {
                state.seen.push(seen);
            }
            Handed::Whole
        };
        match mishap {
            Some(_) => Err(ChannelFault::transient("the answer was lost")),
            None => Ok(handed),
        }
    }

    async fn show(&self, to: Parcel, shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
        let mut state = self.lock();
        if let Some(fault) = state.closed.get(to.reply_to.as_str()) {
            return Err(fault.clone());
        }
        state.shown.push((to.key, shown));
        if !state.two_steps || to.receipt.is_some() {
            return Ok(None);
        }
        state.placeholders += 1;
        Ok(Receipt::new(&state.placeholders.to_string()).ok())
    }

    fn renew(&self) {
        self.lock().renewed += 1;
    }
}

//! The inbox: a link to each of its relays, one bounded queue, and what of it is handed in.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_actors::domain::{Batch, Inbound};
use archond_actors::ports::{ChannelFault, Clock};
use nostr::event::Event;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::identity::Identity;
use super::letter::{Letter, NoLetter, place};
use super::limits::{Bucket, Seen, Writers};
use super::link::{Link, Shared};
use super::signer::SignerError;
use crate::channels::taken::Taken;
use crate::settings::platforms::nostr::NostrSettings;

/// Wraps that wait to be opened; beyond that the relays wait.
const QUEUE_LEN_MAX: usize = 256;
/// Messages that are handed in at once.
const BATCH_LEN_MAX: usize = 50;
/// When it is asked again for what was more than is taken of one.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Between two lines about what is forged.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// When it is asked again for what could not be opened, since whoever has the key did not answer.
const AWAY_PAUSE: Duration = Duration::from_secs(20);
/// A relay that is away for longer is not waited for any more, in seconds.
const AWAY_MAX: u64 = 7 * 24 * 3600;
/// Longest wait for a message.
const POLL: Duration = Duration::from_secs(20);

/// The inbox. Dropped, its connections end.
pub(super) struct Inbox {
    shared: Arc<Shared>,
    links: Vec<Arc<Link>>,
    queue: mpsc::Receiver<Event>,
    opened: Bucket,
    writers: Writers,
    /// Relays bring all of two days again: that is not what somebody writes now.
    taken: Taken,
    /// What was more than is taken of one is asked for again then.
    again: Option<Instant>,
    /// When something forged was told of last.
    told: Option<Instant>,
    /// Why nothing could be opened just now.
    away: Option<SignerError>,
    _connections: JoinSet<()>,
}

impl Inbox {
    /// Connects to its relays, and asks for what was written since then.
    pub(super) fn begin(
        identity: Identity,
        settings: &NostrSettings,
        links: Vec<Arc<Link>>,
        clock: Arc<dyn Clock>,
        taken: Taken,
        handled: u64,
    ) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_LEN_MAX);
        let shared = Arc::new(Shared {
            identity,
            queue: sender,
            seen: Mutex::new(Seen::default()),
            handled: AtomicU64::new(handled),
            nip04: settings.nip04,
            pow: settings.pow,
            clock,
        });
        let mut connections = JoinSet::new();
        for link in &links {
            connections.spawn(link.clone().run(shared.clone()));
        }
        let now = Instant::now();
        Self {
            shared,
            links,
            queue,
            opened: Bucket::new(settings.wraps_per_minute, now),
            writers: Writers::new(settings.messages_per_minute),
            taken,
            again: None,
            told: None,
            away: None,
            _connections: connections,
        }
    }

    /// All up to there is durable.
    pub(super) fn is_handled(&self, until: u64) {
        self.shared.handled.store(until, Ordering::Release);
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Result<Batch, ChannelFault> {
        let deadline = Instant::now() + POLL;
        let mut letters: Vec<Letter> = Vec::new();
        self.away = None;
        while letters.len() < BATCH_LEN_MAX && self.away.is_none() && Instant::now() < deadline {
            if let Err(wait) = self.opened.take(Instant::now()) {
                if !letters.is_empty() || Instant::now() + wait > deadline {
                    break;
                }
                sleep_until(Instant::now() + wait).await;
                continue;
            }
            let event = match letters.is_empty() {
                true => timeout_at(deadline, self.queue.recv()).await.ok().flatten(),
                false => self.queue.try_recv().ok(),
            };
            let Some(event) = event else { break };
            letters.extend(self.open(&event).await);
            // Opening takes its time, and others have to go on, too.
            tokio::task::yield_now().await;
        }
        if self.again.take_if(|again| *again <= Instant::now()).is_some() {
            self.links.iter().for_each(|link| link.is_missing());
        }
        if self.queue.is_empty() {
            self.links.iter().for_each(|link| link.room_again());
        }
        let handled = self.shared.handled.load(Ordering::Acquire);
        if let (true, Some(error)) = (letters.is_empty(), self.away.take()) {
            return Err(error.into());
        }
        if letters.is_empty() {
            self.liveness()?;
            // From the first time on it is known since when messages are waited for.
            let place = (handled == 0).then(|| place(self.complete_until(self.shared.now())));
            return Ok(Batch { messages: Vec::new(), place });
        }
        letters.sort_by_key(|letter| letter.written);
        let newest = letters.iter().map(|letter| letter.written).max().unwrap_or_default().max(handled);
        let messages: Vec<Inbound> = letters.into_iter().filter_map(Letter::inbound).collect();
        Ok(Batch { messages, place: Some(place(self.complete_until(newest))) })
    }

    /// So far all relays have said what they have: while one is away it may hold older messages than those that came.
    fn complete_until(&self, newest: u64) -> u64 {
        let now = self.shared.now();
        let all = self.links.iter().map(|link| link.complete_until(now)).min().unwrap_or(now);
        newest.min(all.max(now.saturating_sub(AWAY_MAX)))
    }

    async fn open(&mut self, event: &Event) -> Option<Letter> {
        match Letter::open(&self.shared.identity, event, self.shared.now()).await {
            Ok(letter) if self.taken.has(&letter.id.to_hex()).await => None,
            Ok(letter) if self.writers.take(letter.writer, Instant::now()) => Some(letter),
            Ok(letter) => {
                // It stays where it is, and comes again with a later look.
                let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.forget(&event.id);
                if self.again.is_none() {
                    self.again = Some(Instant::now() + AGAIN_AFTER);
                    tracing::warn!(writer = %letter.writer, "somebody writes more than is taken of one; the rest waits at the relays");
                }
                None
            }
            Err(NoLetter::Later(why)) => {
                let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.forget(&event.id);
                drop(seen);
                self.away(why);
                None
            }
            // Whoever likes may send such things: the log has one line of them in a minute.
            Err(NoLetter::Forged(why)) => {
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
                    self.told = Some(Instant::now());
                    tracing::info!(wrap = %event.id, why, "something forged or broken was left out");
                }
                None
            }
            Err(NoLetter::Other(what)) => {
                tracing::debug!(wrap = %event.id, what, "something that is no message was left out");
                None
            }
        }
    }

    /// Whoever has the key does not open anything. What came stays at the relays, and is asked for again before long.
    fn away(&mut self, why: SignerError) {
        let again = Instant::now() + AWAY_PAUSE;
        self.again = Some(self.again.map_or(again, |before| before.min(again)));
        self.away = Some(why);
    }

    /// Whether messages would come. An error says why not.
    fn liveness(&self) -> Result<(), ChannelFault> {
        let now = Instant::now();
        let sights: Vec<_> = self.links.iter().map(|link| (link, link.sight())).collect();
        if sights.iter().any(|(_, sight)| sight.is_alive(now)) {
            return Ok(());
        }
        let said: Vec<String> = sights
            .iter()
            .map(|(link, sight)| {
                format!("{}: {}", link.url, sight.trouble.as_deref().unwrap_or("it does not answer yet"))
            })
            .collect();
        let detail = said.join("; ");
        match sights.iter().all(|(_, sight)| sight.barred) {
            true => Err(ChannelFault::Barred {
                detail: format!(
                    "{detail}. Use relays that take this key: `dm_relays` in the channel's settings"
                ),
            }),
            false => Err(ChannelFault::Transient { detail }),
        }
    }
}

//! What is said over one connection of the inbox: questions with deadlines, and what follows from the answers.
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use nostr::event::Kind;
use nostr::filter::Filter;
use nostr::message::{ClientMessage, RelayMessage, SubscriptionId};
use nostr_sdk::relay::{Relay, RelayNotification, RelayStatus};
use tokio::time::Instant;

use super::link::{Ended, INBOX, Link, Shared, timestamp};

/// Longest that a relay may take to say what it has.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How often a relay is asked whether it still answers.
const PROBE_PERIOD: Duration = Duration::from_secs(120);
/// How often all is asked for again: relays forget subscriptions.
const LOOK_PERIOD: Duration = Duration::from_secs(3600);
/// Longest wait for a relay to believe the key that it asked for.
const AUTH_MAX: Duration = Duration::from_secs(20);
/// A relay that never says where its list ends is kept for so long without a word.
const QUIET_MAX: Duration = Duration::from_secs(600);
/// Relays give a list's newest part; where so many came there may be more.
const MORE_FROM: usize = 20;
/// Older parts that are asked for at once: with the shortest parts of all known relays some ten thousand wraps.
const OLDER_MAX: u32 = 200;

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// All that may be new, and from then on what comes.
    Look,
    /// What is older than this.
    Older { until: u64 },
    /// Whether it answers.
    Probe,
}

struct Question {
    id: SubscriptionId,
    purpose: Purpose,
    deadline: Instant,
}

/// The state of a connection.
pub(super) struct Listening<'s> {
    link: &'s Arc<Link>,
    shared: &'s Arc<Shared>,
    relay: &'s Relay,
    asked: u32,
    open: Option<Question>,
    /// The subscription that is heard, and one before it that ends as soon as the new one answers.
    current: Option<SubscriptionId>,
    former: Option<SubscriptionId>,
    next_probe: Instant,
    next_look: Instant,
    older: u32,
    /// It says where its lists end.
    ends_lists: bool,
    /// It wants to know the key first; until then it is waited for.
    auth_until: Option<Instant>,
    authenticated: bool,
}

impl<'s> Listening<'s> {
    pub(super) fn new(link: &'s Arc<Link>, shared: &'s Arc<Shared>, relay: &'s Relay) -> Self {
        let now = Instant::now();
        Self {
            link,
            shared,
            relay,
            asked: 0,
            open: None,
            current: None,
            former: None,
            next_probe: now + PROBE_PERIOD,
            next_look: now,
            older: 0,
            ends_lists: false,
            auth_until: None,
            authenticated: false,
        }
    }

    /// Until the connection is of no use any more.
    pub(super) async fn run(
        mut self,
        mut said: Pin<Box<dyn Stream<Item = RelayNotification> + Send>>,
    ) -> Ended {
        loop {
            let due = self.due();
            let link = self.link;
            let outcome = tokio::select! {
                said = said.next() => match said {
                    Some(said) => self.on_said(said).await,
                    None => Err(Ended::new("the connection is closed")),
                },
                () = link.room.notified() => self.look().await,
                () = tokio::time::sleep_until(due) => self.on_time(Instant::now()).await,
            };
            if let Err(ended) = outcome {
                return ended;
            }
        }
    }

    fn due(&self) -> Instant {
        let deadline = self.open.as_ref().map(|question| question.deadline);
        let times = [deadline, self.auth_until, Some(self.next_probe), Some(self.next_look)];
        times.into_iter().flatten().min().unwrap_or(self.next_probe)
    }

    async fn on_time(&mut self, now: Instant) -> Result<(), Ended> {
        if self.auth_until.is_some_and(|until| until <= now) {
            return Err(Ended::barred("it wants to know who asks, and does not take the key"));
        }
        if self.open.as_ref().is_some_and(|question| question.deadline <= now) {
            self.on_silence(now).await?;
        }
        if self.auth_until.is_some() || self.open.is_some() {
            self.postpone(now);
            return Ok(());
        }
        if self.next_look <= now {
            return self.look().await;
        }
        if self.next_probe <= now {
            self.next_probe = now + PROBE_PERIOD;
            let filter =
                Filter::new().kind(Kind::GiftWrap).pubkey(self.shared.identity.public_key()).limit(1);
            return self.ask(Purpose::Probe, vec![filter]).await;
        }
        Ok(())
    }

    /// One question at a time.
    fn postpone(&mut self, now: Instant) {
        let soon = now + Duration::from_secs(1);
        self.next_look = self.next_look.max(soon);
        self.next_probe = self.next_probe.max(soon);
    }

    /// A question was not answered in time.
    async fn on_silence(&mut self, now: Instant) -> Result<(), Ended> {
        let Some(mut question) = self.open.take() else { return Ok(()) };
        let sight = self.link.sight();
        if sight.heard.is_some_and(|heard| now.saturating_duration_since(heard) < ANSWER_MAX) {
            // A long list, or no room for what comes: it is still at it.
            question.deadline = now + ANSWER_MAX;
            self.open = Some(question);
            return Ok(());
        }
        if question.purpose != Purpose::Look {
            self.close(&question.id).await?;
        }
        if self.ends_lists {
            return Err(Ended::new(format!("it did not answer within {} seconds", ANSWER_MAX.as_secs())));
        }
        let quiet_since = sight.heard.or(sight.connected).unwrap_or(now);
        if now.saturating_duration_since(quiet_since) >= QUIET_MAX {
            return Err(Ended::new("it says nothing at all"));
        }
        // What it brings is taken all the same.
        self.link.look(|sight| sight.trouble = Some("it does not say where its lists end".into()));
        Ok(())
    }

    async fn on_said(&mut self, said: RelayNotification) -> Result<(), Ended> {
        match said {
            RelayNotification::Message { message } => match *message {
                RelayMessage::EndOfStoredEvents(id) => self.on_end(&id).await,
                RelayMessage::Closed { subscription_id, message } => {
                    self.on_closed(&subscription_id, &message).await
                }
                RelayMessage::Notice(text) => {
                    let text: String = text.chars().take(200).collect();
                    tracing::debug!(relay = %self.link.url, text, "a relay says something");
                    Ok(())
                }
                _ => Ok(()),
            },
            RelayNotification::Authenticated => {
                (self.authenticated, self.auth_until) = (true, None);
                self.look().await
            }
            RelayNotification::AuthenticationFailed if self.auth_until.is_some() => {
                Err(Ended::barred("it does not take the key"))
            }
            RelayNotification::RelayStatus {
                status:
                    RelayStatus::Disconnected
                    | RelayStatus::Terminated
                    | RelayStatus::Shutdown
                    | RelayStatus::Banned,
            } => Err(Ended::new("the connection was lost")),
            _ => Ok(()),
        }
    }

    async fn on_end(&mut self, id: &SubscriptionId) -> Result<(), Ended> {
        self.link.heard(self.shared);
        self.ends_lists = true;
        let Some(question) = self.open.take_if(|question| question.id == *id) else { return Ok(()) };
        self.link.look(|sight| (sight.trouble, sight.barred) = (None, false));
        let came = self.link.take_came();
        let until = match question.purpose {
            Purpose::Probe => return self.close(id).await,
            Purpose::Look => {
                self.older = 0;
                if let Some(former) = self.former.take() {
                    self.close(&former).await?;
                }
                u64::MAX
            }
            Purpose::Older { until } => {
                self.close(id).await?;
                until
            }
        };
        // A part that brings nothing older than the one before it is the last.
        let oldest = came.oldest.filter(|oldest| *oldest < until && *oldest > self.shared.wrapped_since());
        match oldest {
            Some(oldest) if came.count >= MORE_FROM && self.older < OLDER_MAX => {
                self.older += 1;
                let filters =
                    self.filters().into_iter().map(|filter| filter.until(timestamp(oldest))).collect();
                self.ask(Purpose::Older { until: oldest }, filters).await
            }
            _ => Ok(()),
        }
    }

    async fn on_closed(&mut self, id: &SubscriptionId, why: &str) -> Result<(), Ended> {
        let why: String = why.chars().filter(|letter| !letter.is_control()).take(200).collect();
        let asked = self.open.take_if(|question| question.id == *id);
        if self.former.as_ref() == Some(id) {
            self.former = None;
            return Ok(());
        }
        if self.current.as_ref() != Some(id) {
            // A question that it does not like; it answers.
            if asked.is_some() {
                self.link.heard(self.shared);
            }
            return Ok(());
        }
        self.current = None;
        if why.starts_with("auth-required") && !self.authenticated {
            self.auth_until = Some(Instant::now() + AUTH_MAX);
            return Ok(());
        }
        let barred = ["restricted", "blocked", "auth-required"].iter().any(|word| why.starts_with(word));
        let trouble = format!("it does not let us listen: {why}");
        Err(if barred { Ended::barred(trouble) } else { Ended::new(trouble) })
    }

    /// Asks for all that may be new, and for what comes from now on.
    async fn look(&mut self) -> Result<(), Ended> {
        self.next_look = Instant::now() + LOOK_PERIOD;
        let abandoned = self.open.take().map(|question| question.id);
        for id in [self.former.take(), abandoned.filter(|id| self.current.as_ref() != Some(id))]
            .into_iter()
            .flatten()
        {
            self.close(&id).await?;
        }
        self.former = self.current.take();
        self.link.take_came();
        self.ask(Purpose::Look, self.filters()).await?;
        self.current = self.open.as_ref().map(|question| question.id.clone());
        Ok(())
    }

    fn filters(&self) -> Vec<Filter> {
        let me = self.shared.identity.public_key();
        let wrapped =
            Filter::new().kind(Kind::GiftWrap).pubkey(me).since(timestamp(self.shared.wrapped_since()));
        let old = || {
            Filter::new()
                .kind(Kind::EncryptedDirectMessage)
                .pubkey(me)
                .since(timestamp(self.shared.written_since()))
        };
        std::iter::once(wrapped).chain(self.shared.nip04.then(old)).collect()
    }

    async fn ask(&mut self, purpose: Purpose, filters: Vec<Filter>) -> Result<(), Ended> {
        self.asked += 1;
        let id = match purpose {
            Purpose::Look | Purpose::Older { .. } => SubscriptionId::new(format!("{INBOX}{}", self.asked)),
            Purpose::Probe => SubscriptionId::new(format!("probe-{}", self.asked)),
        };
        let message = ClientMessage::Req {
            subscription_id: Cow::Borrowed(&id),
            filters: filters.into_iter().map(Cow::Owned).collect(),
        };
        self.relay
            .send_msg(message)
            .await
            .map_err(|error| Ended::new(format!("cannot be asked: {error}")))?;
        self.open = Some(Question { id, purpose, deadline: Instant::now() + ANSWER_MAX });
        Ok(())
    }

    async fn close(&self, id: &SubscriptionId) -> Result<(), Ended> {
        let closed = self.relay.send_msg(ClientMessage::Close(Cow::Borrowed(id))).await;
        closed.map_err(|error| Ended::new(format!("cannot be asked: {error}")))
    }
}

//! How one actor talks to another: a handle that survives restarts, a deadline on every call, a bound on every mailbox.
//!
//! ractor's mailboxes are unbounded and an `ActorRef` ends with its actor. A [`Link`] adds what is missing:
//! the supervisor attaches each new incarnation to the same link, and every message carries a permit that is given
//! back when the actor takes it up, so a mailbox never holds more than the link allows.
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::insight::vitals::{Waiting, Work};
use crate::insight::{Inspection, Message, Vitals};

/// What an actor's mailbox holds: the message and the permit that its place in the mailbox costs.
pub struct Envelope<M> {
    content: Content<M>,
    permit: Option<OwnedSemaphorePermit>,
    sent: Instant,
}

enum Content<M> {
    Msg(M),
    /// Not for the actor's own ears: what is its state?
    Inspect(oneshot::Sender<Inspection>),
}

impl<M> Envelope<M> {
    /// A message that an actor sends to itself, or that a supervised task reports. It costs no permit:
    /// whoever sends it must be bounded by construction.
    pub fn fact(msg: M) -> Self {
        Self::new(Content::Msg(msg), None)
    }

    fn new(content: Content<M>, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { content, permit, sent: Instant::now() }
    }
}

impl<M> Envelope<M> {
    /// Takes the message out. `None`: somebody only wanted to know the state, and has been told.
    pub(crate) fn open(self, inspect: impl FnOnce() -> Inspection) -> Option<Opened<M>> {
        match self.content {
            Content::Msg(msg) => Some(Opened { msg, permit: self.permit, sent: self.sent }),
            Content::Inspect(reply) => {
                // Who asked may have given up.
                let _ = reply.send(inspect());
                None
            }
        }
    }
}

/// A message that is to be handled.
pub(crate) struct Opened<M> {
    msg: M,
    permit: Option<OwnedSemaphorePermit>,
    sent: Instant,
}

impl<M: Message> Opened<M> {
    /// Gives the message's place in the mailbox back, once the actor is not suspended; its handler is to run in the [`Work`].
    pub(crate) async fn take_up(self, vitals: &Vitals) -> (M, Work) {
        vitals.wait_until_resumed().await;
        drop(self.permit);
        let work = vitals.begin(&self.msg, self.sent);
        (self.msg, work)
    }
}

impl<M> std::fmt::Debug for Envelope<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Envelope(..)")
    }
}

/// Why an actor could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The actor is not running, most likely because it is being restarted.
    #[error("{actor} is not running; try again in a moment")]
    NotRunning {
        /// Which actor.
        actor: &'static str,
    },
    /// The actor's mailbox is full.
    #[error("{actor} is busy; try again in a moment")]
    Busy {
        /// Which actor.
        actor: &'static str,
    },
    /// No answer came in time. What was asked for may still happen.
    #[error("{actor} did not answer within {timeout:?}")]
    TimedOut {
        /// Which actor.
        actor: &'static str,
        /// How long was waited.
        timeout: Duration,
    },
    /// The actor ended while it held the question. What was asked for may have happened.
    #[error("{actor} ended before it answered; try again in a moment")]
    Died {
        /// Which actor.
        actor: &'static str,
    },
}

struct Target<M: Send + Sync + 'static> {
    actor: &'static str,
    current: ArcSwapOption<ActorRef<Envelope<M>>>,
    places: Arc<Semaphore>,
    vitals: Vitals,
}

/// The way to an actor, whichever incarnation of it runs.
pub struct Link<M: Send + Sync + 'static>(Arc<Target<M>>);

impl<M: Send + Sync + 'static> Clone for Link<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Send + Sync + 'static> Link<M> {
    /// A link to an actor that does not run yet. `mailbox_len_max` bounds the messages that wait in it.
    pub fn new(actor: &'static str, mailbox_len_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(mailbox_len_max));
        let vitals = Vitals::new(actor, places.clone(), mailbox_len_max);
        Self(Arc::new(Target { actor, current: ArcSwapOption::empty(), places, vitals }))
    }

    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        &self.0.vitals
    }

    /// From now on messages go to this incarnation. Called in the actor's `pre_start`.
    pub fn attach(&self, actor: ActorRef<Envelope<M>>) {
        let asked = actor.clone();
        let ask = move |reply| asked.send_message(Envelope::new(Content::Inspect(reply), None)).is_ok();
        self.0.vitals.begins(actor.get_cell(), Arc::new(ask));
        self.0.current.store(Some(Arc::new(actor)));
    }

    /// The incarnation that runs now, for its supervisor.
    pub fn current(&self) -> Option<ActorRef<Envelope<M>>> {
        self.0.current.load_full().map(|actor| (*actor).clone())
    }

    /// Sends a message without waiting; refuses when the mailbox is full.
    pub fn cast(&self, msg: M) -> Result<(), LinkError> {
        let actor = self.0.actor;
        let target = self.0.current.load_full().ok_or(LinkError::NotRunning { actor })?;
        let permit = self.0.places.clone().try_acquire_owned().map_err(|_| LinkError::Busy { actor })?;
        target
            .send_message(Envelope::new(Content::Msg(msg), Some(permit)))
            .map_err(|_| LinkError::NotRunning { actor })
    }

    /// Sends a fact that is bounded by construction; see [`Envelope::fact`]. An actor that is gone does not get it.
    pub fn fact(&self, msg: M) {
        if let Some(target) = self.0.current.load_full() {
            // A lost fact is the loss of the actor that would have used it; its supervisor knows.
            let _ = target.send_message(Envelope::fact(msg));
        }
    }

    /// Asks and waits for the answer, for `timeout` at most, the wait for a place in the mailbox included.
    pub async fn call<T, E>(
        &self,
        timeout: Duration,
        msg: impl FnOnce(RpcReplyPort<Result<T, E>>) -> M,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LinkError> + Send + 'static,
    {
        let actor = self.0.actor;
        let _waiting = Waiting::begin(actor);
        let ask = async {
            let target = self.0.current.load_full().ok_or(LinkError::NotRunning { actor })?;
            let permit =
                (self.0.places.clone().acquire_owned().await).map_err(|_| LinkError::NotRunning { actor })?;
            let (sender, receiver) = ractor::concurrency::oneshot();
            target
                .send_message(Envelope::new(Content::Msg(msg(sender.into())), Some(permit)))
                .map_err(|_| LinkError::NotRunning { actor })?;
            receiver.await.map_err(|_| LinkError::Died { actor })
        };
        match tokio::time::timeout(timeout, ask).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(LinkError::TimedOut { actor, timeout }.into()),
        }
    }
}

/// Answers a question whose asker may be gone.
pub fn answer<T, E>(reply: RpcReplyPort<Result<T, E>>, result: Result<T, E>)
where
    T: Send + 'static,
    E: Send + 'static,
{
    // The asker gave up: there is nobody to tell.
    let _ = reply.send(result);
}

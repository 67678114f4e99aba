//! The facts of one actor. Written by its link and its handler, read by anybody, locked for moments only.
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ractor::ActorCell;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::inspection::Inspection;
use crate::domain::ActorState;

/// Trace events that may wait for a slow reader; more are counted and left out.
const TRACE_LEN_MAX: usize = 256;
/// Longest stack that is kept, in bytes: the calls that matter are the first.
const STACK_BYTES_MAX: usize = 16 << 10;

tokio::task_local! {
    /// The actor whose handler runs in this task.
    static CURRENT: Vitals;
}

/// What an actor is told, as others may see it.
pub trait Message {
    /// Which variant.
    fn kind(&self) -> &'static str;

    /// The ids in it. Never what a person or a model said.
    fn about(&self) -> Option<String> {
        None
    }
}

/// A message that is being handled, or was handled last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    /// The kind of the message.
    pub kind: &'static str,
    /// The ids in it.
    pub about: Option<String>,
    /// Since when.
    pub since: Instant,
}

/// A message that was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// The kind of the message.
    pub kind: &'static str,
    /// The ids in it.
    pub about: Option<String>,
    /// How long it had waited in the mailbox.
    pub waited: Duration,
    /// How long it was handled.
    pub took: Duration,
    /// Whether the actor survived it.
    pub failed: bool,
    /// Messages before this one that the reader was too slow for.
    pub left_out: u64,
}

/// A panic in a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panic {
    pub(super) stack: String,
}

pub(crate) type AskInspection = Arc<dyn Fn(oneshot::Sender<Inspection>) -> bool + Send + Sync>;

#[derive(Default)]
struct Now {
    incarnations: u32,
    started: Option<Instant>,
    cell: Option<ActorCell>,
    ask: Option<AskInspection>,
    handled: u64,
    doing: Option<Doing>,
    last: Option<Doing>,
    waits_for: Option<(&'static str, Instant)>,
    word: Option<ActorState>,
    panic: Option<Panic>,
    trace: Option<mpsc::Sender<TraceEvent>>,
    left_out: u64,
}

struct Inner {
    actor: &'static str,
    places: Arc<Semaphore>,
    mailbox_len_max: usize,
    now: Mutex<Now>,
    suspended: watch::Sender<bool>,
}

/// What one actor shows of itself, over all its incarnations. Clones show the same actor.
#[derive(Clone)]
pub struct Vitals(Arc<Inner>);

/// What can be read at one moment.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) incarnations: u32,
    pub(super) started: Option<Instant>,
    pub(super) is_alive: bool,
    pub(super) handled: u64,
    pub(super) doing: Option<Doing>,
    pub(super) last: Option<Doing>,
    pub(super) waits_for: Option<(&'static str, Instant)>,
    pub(super) word: Option<ActorState>,
    pub(super) panic: Option<Panic>,
    pub(super) mailbox_len: usize,
    pub(super) suspended: bool,
}

impl Vitals {
    pub(crate) fn new(actor: &'static str, places: Arc<Semaphore>, mailbox_len_max: usize) -> Self {
        Self(Arc::new(Inner {
            actor,
            places,
            mailbox_len_max,
            now: Mutex::default(),
            suspended: watch::Sender::new(false),
        }))
    }

    /// What kind of actor it is.
    pub fn actor(&self) -> &'static str {
        self.0.actor
    }

    /// Messages that may wait in its mailbox.
    pub fn mailbox_len_max(&self) -> usize {
        self.0.mailbox_len_max
    }

    /// A new incarnation begins.
    pub(crate) fn begins(&self, cell: ActorCell, ask: AskInspection) {
        let mut now = self.now();
        let former = std::mem::take(&mut *now);
        *now = Now {
            incarnations: former.incarnations + 1,
            started: Some(Instant::now()),
            cell: Some(cell),
            ask: Some(ask),
            handled: former.handled,
            trace: former.trace,
            ..Now::default()
        };
    }

    /// The actor's own word for its state, until it says another.
    pub(crate) fn say(&self, word: ActorState) {
        self.now().word = Some(word);
    }

    /// While the actor is suspended, its messages wait.
    pub(crate) async fn wait_until_resumed(&self) {
        if *self.0.suspended.borrow() {
            let mut gate = self.0.suspended.subscribe();
            // The sender is our own: it cannot be gone.
            let _ = gate.wait_for(|suspended| !suspended).await;
        }
    }

    /// A message is taken up that was sent then.
    pub(crate) fn begin<M: Message>(&self, msg: &M, sent: Instant) -> Work {
        let since = Instant::now();
        self.now().doing = Some(Doing { kind: msg.kind(), about: msg.about(), since });
        Work { vitals: self.clone(), waited: since.saturating_duration_since(sent), ended: false }
    }

    /// Messages are held back from now on, or no longer.
    pub(super) fn suspend(&self, suspended: bool) {
        self.0.suspended.send_replace(suspended);
    }

    /// The incarnation that runs now.
    pub(super) fn cell(&self) -> Option<ActorCell> {
        self.now().cell.clone()
    }

    /// Asks the actor for its state. `None`: it does not run.
    pub(super) fn ask(&self) -> Option<oneshot::Receiver<Inspection>> {
        let ask = self.now().ask.clone()?;
        let (reply, answer) = oneshot::channel();
        ask(reply).then_some(answer)
    }

    /// Tells each message from now on. A second reader replaces the first.
    pub(super) fn trace(&self) -> mpsc::Receiver<TraceEvent> {
        let (sender, receiver) = mpsc::channel(TRACE_LEN_MAX);
        let mut now = self.now();
        now.trace = Some(sender);
        now.left_out = 0;
        receiver
    }

    /// Whether an incarnation runs.
    pub(super) fn is_alive(&self) -> bool {
        self.cell().is_some_and(|cell| cell.get_status() < ractor::ActorStatus::Stopping)
    }

    pub(super) fn read(&self) -> Reading {
        let is_alive = self.is_alive();
        let mailbox_len = self.0.mailbox_len_max.saturating_sub(self.0.places.available_permits());
        let now = self.now();
        Reading {
            incarnations: now.incarnations,
            started: now.started,
            is_alive,
            handled: now.handled,
            doing: now.doing.clone(),
            last: now.last.clone(),
            waits_for: now.waits_for,
            word: now.word,
            panic: now.panic.clone(),
            mailbox_len,
            suspended: *self.0.suspended.borrow(),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // A panic cannot leave it half-changed in a way that matters: each field is whole.
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Vitals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Vitals").field(&self.0.actor).finish()
    }
}

/// A message being handled. Dropped without an end, the handler was killed or panicked.
pub(crate) struct Work {
    vitals: Vitals,
    waited: Duration,
    ended: bool,
}

impl Work {
    /// Runs the handler. No async function: that would hold the handler twice, and there are thousands of actors.
    pub(crate) fn run<T, E, F: Future<Output = Result<T, E>>>(self, handler: F) -> Working<F> {
        Working { work: self, handler }
    }

    fn close(&mut self, failed: bool) {
        self.ended = true;
        let mut now = self.vitals.now();
        now.waits_for = None;
        now.handled += 1;
        let Some(doing) = now.doing.take() else { return };
        if let Some(trace) = now.trace.clone() {
            let event = TraceEvent {
                kind: doing.kind,
                about: doing.about.clone(),
                waited: self.waited,
                took: doing.since.elapsed(),
                failed,
                left_out: now.left_out,
            };
            match trace.try_send(event) {
                Ok(()) => now.left_out = 0,
                Err(mpsc::error::TrySendError::Full(_)) => now.left_out += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => now.trace = None,
            }
        }
        now.last = Some(doing);
    }
}

pin_project_lite::pin_project! {
    /// A handler at work: while it runs, its task knows whose it is.
    pub(crate) struct Working<F> {
        work: Work,
        #[pin]
        handler: F,
    }
}

impl<T, E, F: Future<Output = Result<T, E>>> Future for Working<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = CURRENT.sync_scope(this.work.vitals.clone(), || this.handler.poll(context));
        if let Poll::Ready(result) = &polled {
            this.work.close(result.is_err());
        }
        polled
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.close(true);
        }
    }
}

/// The calling actor waits for another one, until this is dropped.
pub(crate) struct Waiting(Option<Vitals>);

impl Waiting {
    pub(crate) fn begin(actor: &'static str) -> Self {
        let current = CURRENT.try_with(Vitals::clone).ok();
        if let Some(vitals) = &current {
            vitals.now().waits_for = Some((actor, Instant::now()));
        }
        Self(current)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(vitals) = &self.0 {
            vitals.now().waits_for = None;
        }
    }
}

/// For the process's panic hook: remembers where the actor panicked whose handler runs in this task. Answers whether there is one.
pub fn note_panic(stack: &str) -> bool {
    CURRENT
        .try_with(|vitals| {
            let end = (0..=STACK_BYTES_MAX.min(stack.len())).rev().find(|&end| stack.is_char_boundary(end));
            let stack = stack.get(..end.unwrap_or_default()).unwrap_or_default().to_owned();
            vitals.now().panic = Some(Panic { stack });
        })
        .is_ok()
}

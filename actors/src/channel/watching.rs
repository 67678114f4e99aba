//! Shows how one answer comes along, for as long as it does: a courtesy that never holds anything up, but for the owner's question.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::carrying::{address, guarded};
use super::handle::ChannelArgs;
use crate::domain::{
    AnswerKind, InboxEntry, InboxId, Parcel, PeerId, Question, Receipt, ReplyTo, Shown, TurnEvent,
};
use crate::observer::TurnObserver;
use crate::ports::ChannelFault;

/// Longest that showing something may take; what takes longer is given up.
const SHOW_MAX: Duration = Duration::from_secs(10);
/// Times that the owner's question is shown again where that failed: nobody else asks him.
const ASK_TRIES: u32 = 3;
/// Longest wait before the owner is asked again about somebody else's turn.
const ASK_REST_MAX: Duration = Duration::from_secs(60);
/// A platform that wants no more is left alone at least for so long.
const REST_MIN: Duration = Duration::from_secs(1);

/// A message whose turn may be watched.
pub(super) struct Watched {
    pub(super) entry: InboxEntry,
    pub(super) observer: TurnObserver,
    /// What an earlier life of the daemon showed of it: that goes on, or it would be seen twice.
    pub(super) receipt: Option<Receipt>,
}

/// A watcher's task. Dropped, it ends at once.
pub(super) struct Watcher {
    task: JoinSet<Option<Receipt>>,
    running: AbortHandle,
    end: Arc<Notify>,
}

impl Watcher {
    pub(super) fn begin(args: Arc<ChannelArgs>, watched: Watched) -> Self {
        let Watched { entry, observer, receipt } = watched;
        let end = Arc::new(Notify::new());
        let watch = Watch {
            period: args.channel.show_period(),
            to: Parcel { receipt, ..address(&args, &entry) },
            inbox: entry.id,
            args,
            text: String::new(),
            dirty: true,
            next: Instant::now(),
            kept: true,
        };
        let mut task = JoinSet::new();
        let ending = end.clone();
        let running = task.spawn(watch.run(observer, ending));
        Self { task, running, end }
    }

    /// The message it watched is answered.
    pub(super) fn is_over(&self) -> bool {
        self.running.is_finished()
    }

    /// Lets it finish what it shows just now; answers how far the adapter came.
    pub(super) async fn end(mut self) -> Option<Receipt> {
        self.end.notify_one();
        // One that takes too long is dropped with its task.
        timeout(SHOW_MAX, self.task.join_next()).await.ok()??.ok()?
    }
}

/// Asks an owner about somebody else's turn, in a chat of his own. `false`: he could not be told.
pub(super) async fn ask(args: &ChannelArgs, owner: PeerId, chat: ReplyTo, question: Question) -> bool {
    let to = Parcel {
        outbox: None,
        key: format!("ask-{}", question.call),
        peer: owner,
        reply_to: chat,
        kind: AnswerKind::Notice,
        text: String::new(),
        attachments: Vec::new(),
        created_unix_ms: args.clock.now_unix_ms(),
        receipt: None,
        tries: 0,
    };
    for tries in 0..ASK_TRIES {
        let fault = match show(args, Parcel { tries, ..to.clone() }, Shown::Asked(question.clone())).await {
            Ok(_) => return true,
            Err(fault) => fault,
        };
        let (archon, channel, call) = (&args.spec.id, args.channel.id(), &question.call);
        tracing::warn!(%archon, %channel, call, %fault, "the owner could not be asked");
        let rest = match fault {
            ChannelFault::Refused { .. } | ChannelFault::Barred { .. } => return false,
            ChannelFault::Limited { after, .. } => after.max(REST_MIN),
            ChannelFault::Transient { .. } => args.channel.show_period(),
        };
        // Bounded by the number of tries; the turn itself waits for longer.
        tokio::time::sleep_until(Instant::now() + rest.min(ASK_REST_MAX)).await;
    }
    false
}

/// Has the adapter show something, within its time.
async fn show(args: &ChannelArgs, to: Parcel, shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
    let late = |_| Err(ChannelFault::transient("it took too long"));
    timeout(SHOW_MAX, guarded(args.channel.show(to, shown))).await.unwrap_or_else(late)
}

struct Watch {
    args: Arc<ChannelArgs>,
    inbox: InboxId,
    period: Duration,
    to: Parcel,
    text: String,
    /// There is something to show that was not shown.
    dirty: bool,
    /// Nothing is shown before.
    next: Instant,
    /// The store knows the receipt.
    kept: bool,
}

impl Watch {
    async fn run(mut self, mut observer: TurnObserver, end: Arc<Notify>) -> Option<Receipt> {
        loop {
            let event = tokio::select! {
                biased;
                () = end.notified() => break,
                event = timeout_at(self.next, observer.next()) => event,
            };
            match event {
                Ok(Some(TurnEvent::Ended { .. }) | None) => break,
                Ok(Some(event)) => self.happened(event).await,
                Err(_) => self.is_time().await,
            }
        }
        self.to.receipt.filter(|_| !self.kept)
    }

    async fn happened(&mut self, event: TurnEvent) {
        match event {
            TurnEvent::Text { text } => {
                self.text.push_str(&text);
                self.dirty = true;
            }
            TurnEvent::Retrying { .. } => {
                self.text.clear();
                self.show(Shown::Void).await.ok();
            }
            TurnEvent::ApprovalWanted { call, tool, shown, why, timeout_s } => {
                let asked = Shown::Asked(Question { call, tool, shown, why, timeout_s, elsewhere: None });
                for _ in 0..ASK_TRIES {
                    match self.show(asked.clone()).await {
                        Ok(()) => break,
                        // Bounded by the number of tries; the turn itself waits for longer.
                        Err(rest) => tokio::time::sleep_until(Instant::now() + rest.min(SHOW_MAX)).await,
                    }
                }
            }
            _ => {}
        }
    }

    /// Shows the text so far, or that the Archon is at work.
    async fn is_time(&mut self) {
        let shown = match self.text.trim().is_empty() {
            true => Shown::Working,
            false if self.dirty => Shown::Text(self.text.clone()),
            false => {
                self.next = Instant::now() + self.period;
                return;
            }
        };
        self.dirty = false;
        self.show(shown).await.ok();
    }

    /// An error: how long the platform is to be left alone.
    async fn show(&mut self, shown: Shown) -> Result<(), Duration> {
        let came = show(&self.args, self.to.clone(), shown).await;
        let rest = match &came {
            Err(ChannelFault::Limited { after, .. }) => (*after).max(REST_MIN),
            Ok(_) | Err(_) => self.period,
        };
        self.next = Instant::now() + rest;
        match came {
            Ok(Some(receipt)) => {
                let kept = self.args.intake.memory().keep_receipt(self.inbox, receipt.clone()).await;
                (self.to.receipt, self.kept) = (Some(receipt), kept.is_ok());
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(_) => Err(rest),
        }
    }
}

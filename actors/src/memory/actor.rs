//! Owns the order of changes. Talks down to the store; hermes, the harness, sessions and channels talk to it.
//!
//! While one group is being committed the next one collects itself, so that many callers share one fsync and a single
//! caller waits for nothing but his own. Store calls block, so they run on the runtime's threads for blocking work.
//! A refusal or a store failure is answered. A panic in the store ends the actor; its supervisor starts it again.
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinHandle;

use super::{MemoryArgs, MemoryError, MemorySettings};
use crate::domain::{Accepted, InboxEntry, OutboxEntry};
use crate::insight::{Inspection, Message, Vitals};
use crate::link::{Envelope, Link, LinkError, answer};
use crate::ports::{BlockingCalls, Sink, Store, Write, Written};

/// Longest wait for the last commits when the actor is stopped: shorter than the time that its supervisor allows.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Looks something up and answers whoever asked; given an error, answers that.
pub(super) type Question = Box<dyn FnOnce(Result<&dyn Store, MemoryError>) + Send + Sync>;

pub(super) enum MemoryMsg {
    /// Make a change durable. Answers `Busy` when too many wait.
    Write { write: Box<Write>, reply: RpcReplyPort<Result<Written, MemoryError>> },
    /// Ask the store. Answers `Busy` when too many wait.
    Read { question: Question },
    /// Fact from ourselves: all messages that were there when the first change came have been taken up.
    CommitDue,
    /// Fact from the store's thread: the group is durable, or has failed, and its callers know.
    CommitEnded { outcome: Outcome },
    /// Fact from the store's thread: a question is answered.
    ReadEnded { outcome: Outcome },
}

impl Message for MemoryMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::CommitDue => "commit-due",
            Self::CommitEnded { .. } => "commit-ended",
            Self::ReadEnded { .. } => "read-ended",
        }
    }

    fn about(&self) -> Option<String> {
        let Self::Write { write, .. } = self else { return None };
        Some(match &**write {
            Write::Accept(message) => format!("accept from {}", message.channel),
            Write::BeginAttempt { inbox } => format!("begin-attempt {inbox}"),
            Write::Journal { inbox, entries } => format!("journal {inbox}: {} entries", entries.len()),
            Write::EndTurn(end) => format!("end-turn {}", end.inbox),
            Write::MarkSent { outbox } => format!("mark-sent {outbox}"),
            Write::KeepReceipt { inbox, .. } => format!("keep-receipt {inbox}"),
            Write::GiveUp { outbox, .. } => format!("give-up {outbox}"),
            Write::DeliverAgain { outbox } => format!("deliver-again {outbox}"),
            Write::OfferCode { with, .. } => format!("offer-code to {with}"),
            Write::ApproveCode { tier, .. } => format!("approve-code of {}", tier.as_str()),
            Write::Unpair { with } => format!("unpair {with}"),
            Write::Link { with, .. } => format!("link of {with}"),
            Write::MoveCursor { archon, channel, .. } => format!("move-cursor of {archon}/{channel}"),
            Write::SetSummary { session, .. } => format!("set-summary {session}"),
            Write::Rewind { session, turns } => format!("rewind {session} to {turns} turns"),
            Write::SetOptions { session, .. } => format!("set-options {session}"),
            Write::AddGrant { with, grant } => format!("add-grant {} to {}", grant.tool, with.archon),
            Write::RemoveGrant { with, grant } => format!("remove-grant {} of {}", grant.tool, with.archon),
            Write::HandOff(off) => format!("hand-off of {} to {}", off.from, off.to),
            Write::RemoveSession { session } => format!("remove-session {session}"),
            Write::KeepNote(note) => format!("keep-note of {}", note.owner),
            Write::ForgetNote { note, .. } => format!("forget-note {note}"),
            Write::UseMaker(maker) => format!("use-maker {}", maker.model),
            Write::KeepVector { of, .. } => format!("keep-vector of {}", of.owner),
        })
    }
}

/// How a call of the store went on its thread.
pub(super) enum Outcome {
    Returned,
    Panicked,
}

/// The store's code broke while it was used.
#[derive(Debug, thiserror::Error)]
#[error("the store panicked while it was {doing}")]
struct StorePanicked {
    doing: &'static str,
}

struct Change {
    write: Write,
    reply: RpcReplyPort<Result<Written, MemoryError>>,
}

pub(super) struct MemoryActor;

pub(super) struct MemoryState {
    vitals: Vitals,
    me: ActorRef<Envelope<MemoryMsg>>,
    store: Arc<dyn Store>,
    settings: MemorySettings,
    calls: Arc<dyn BlockingCalls>,
    accepted: Sink<InboxEntry>,
    answered: Sink<OutboxEntry>,
    changes: VecDeque<Change>,
    /// `CommitDue` is on its way.
    commit_due: bool,
    commit: Option<JoinHandle<()>>,
    questions: VecDeque<Question>,
    reads_running: usize,
}

impl Actor for MemoryActor {
    type Msg = Envelope<MemoryMsg>;
    type State = MemoryState;
    type Arguments = (MemoryArgs, Link<MemoryMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        (args, link): Self::Arguments,
    ) -> Result<MemoryState, ActorProcessingErr> {
        link.attach(me.clone());
        Ok(MemoryState {
            vitals: link.vitals().clone(),
            me,
            store: args.store,
            settings: args.settings,
            calls: args.calls,
            accepted: args.accepted,
            answered: args.answered,
            changes: VecDeque::new(),
            commit_due: false,
            commit: None,
            questions: VecDeque::new(),
            reads_running: 0,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut MemoryState,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = state.vitals.clone();
        let Some(opened) = envelope.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                MemoryMsg::Write { write, reply } => state.on_write(*write, reply),
                MemoryMsg::Read { question } => state.on_read(question),
                MemoryMsg::CommitDue => state.on_commit_due(),
                MemoryMsg::CommitEnded { outcome } => state.on_commit_ended(&outcome)?,
                MemoryMsg::ReadEnded { outcome } => state.on_read_ended(&outcome)?,
            }
            Ok(())
        })
        .await
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut MemoryState,
    ) -> Result<(), ActorProcessingErr> {
        tokio::time::timeout(STOP_TIMEOUT, state.finish()).await?;
        Ok(())
    }
}

impl MemoryState {
    fn inspect(&self) -> Inspection {
        vec![
            ("changes waiting", self.changes.len().into()),
            ("changes waiting at most", self.settings.writes_waiting_max.into()),
            ("commit running", self.commit.is_some().into()),
            ("questions waiting", self.questions.len().into()),
            ("questions running", self.reads_running.into()),
        ]
    }

    fn on_write(&mut self, write: Write, reply: RpcReplyPort<Result<Written, MemoryError>>) {
        if self.changes.len() >= self.settings.writes_waiting_max {
            return answer(reply, Err(busy()));
        }
        self.changes.push_back(Change { write, reply });
        self.ask_for_commit();
    }

    fn on_read(&mut self, question: Question) {
        if self.reads_running < self.settings.reads_at_once_max {
            self.start_read(question);
        } else if self.questions.len() < self.settings.reads_waiting_max {
            self.questions.push_back(question);
        } else {
            question(Err(busy()));
        }
    }

    fn on_commit_due(&mut self) {
        self.commit_due = false;
        self.start_commit();
    }

    fn on_commit_ended(&mut self, outcome: &Outcome) -> Result<(), StorePanicked> {
        self.commit = None;
        match outcome {
            Outcome::Panicked => return Err(StorePanicked { doing: "written" }),
            Outcome::Returned if !self.changes.is_empty() => self.ask_for_commit(),
            Outcome::Returned => {}
        }
        Ok(())
    }

    fn on_read_ended(&mut self, outcome: &Outcome) -> Result<(), StorePanicked> {
        self.reads_running -= 1;
        if matches!(outcome, Outcome::Panicked) {
            return Err(StorePanicked { doing: "read" });
        }
        if let Some(question) = self.questions.pop_front() {
            self.start_read(question);
        }
        Ok(())
    }

    /// Takes a turn through the mailbox first: the changes that wait there join the group.
    fn ask_for_commit(&mut self) {
        if self.commit.is_none() && !self.commit_due {
            self.commit_due = true;
            tell(&self.me, MemoryMsg::CommitDue);
        }
    }

    fn start_commit(&mut self) {
        let batch_len = self.changes.len().min(self.settings.batch_len_max);
        let (writes, replies): (Vec<_>, Vec<_>) =
            self.changes.drain(..batch_len).map(|change| (change.write, change.reply)).unzip();
        let (me, store) = (self.me.clone(), self.store.clone());
        let (accepted, answered) = (self.accepted.clone(), self.answered.clone());
        self.commit = Some(self.calls.begin(Box::new(move || {
            let outcome = guarded(|| commit(&*store, &writes, replies, &accepted, &answered));
            tell(&me, MemoryMsg::CommitEnded { outcome });
        })));
    }

    fn start_read(&mut self, question: Question) {
        self.reads_running += 1;
        let (me, store) = (self.me.clone(), self.store.clone());
        // Nobody awaits this thread: its end is a fact in our mailbox.
        drop(self.calls.begin(Box::new(move || {
            let outcome = guarded(|| question(Ok(&*store)));
            tell(&me, MemoryMsg::ReadEnded { outcome });
        })));
    }

    /// Commits what was taken up before the stop; the answers still reach their callers.
    async fn finish(&mut self) {
        loop {
            if let Some(commit) = self.commit.take() {
                // It cannot panic: `guarded` has caught that.
                let _ = commit.await;
            }
            if self.changes.is_empty() {
                return;
            }
            self.start_commit();
        }
    }
}

/// Commits a group, reports the messages in it and answers each caller.
fn commit(
    store: &dyn Store,
    writes: &[Write],
    replies: Vec<RpcReplyPort<Result<Written, MemoryError>>>,
    accepted: &Sink<InboxEntry>,
    answered: &Sink<OutboxEntry>,
) {
    match store.commit(writes) {
        // A store that answers fewer results than changes leaves the rest unanswered: their callers see that it died.
        Ok(results) => {
            for (reply, result) in replies.into_iter().zip(results) {
                match &result {
                    Ok(Written::Accepted(Accepted::Fresh(entry))) => accepted(entry.clone()),
                    Ok(Written::Ended(answer, beside)) => {
                        std::iter::once(answer).chain(beside).for_each(|answer| answered(answer.clone()));
                    }
                    Ok(_) | Err(_) => {}
                }
                answer(reply, result.map_err(MemoryError::Store));
            }
        }
        Err(error) => {
            for reply in replies {
                answer(reply, Err(MemoryError::Store(error.clone())));
            }
        }
    }
}

/// Runs a call of the store; a panic in it becomes a fact.
fn guarded(call: impl FnOnce()) -> Outcome {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(()) => Outcome::Returned,
        Err(_) => Outcome::Panicked,
    }
}

fn tell(me: &ActorRef<Envelope<MemoryMsg>>, fact: MemoryMsg) {
    // An actor that ended meanwhile needs no facts; whoever comes after it begins anew.
    let _ = me.send_message(Envelope::fact(fact));
}

fn busy() -> MemoryError {
    LinkError::Busy { actor: "memory" }.into()
}

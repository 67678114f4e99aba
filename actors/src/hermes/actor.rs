//! Takes the messages of one Archon's inbox in order and sees each to its answer. Talks down to the harness and memory.
//!
//! It keeps nothing that the store does not hold: after a crash it reads the inbox again and goes on.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::dispatch::{Dispatch, DispatchPolicy, Verdict};
use super::handle::HermesArgs;
use crate::command::Intent;
use crate::domain::{AnswerKind, InboxEntry, InboxId, NewAnswer, SessionKey, TurnEnd, TurnEvent};
use crate::insight::{Inspection, Message, Station};
use crate::link::{Envelope, Link};
use crate::session::{SessionFact, TurnFailure};

/// How often deadlines, retries and the store are looked at: a fraction of the shortest sensible patience.
const TICK_PERIOD: Duration = Duration::from_secs(1);
/// Waiting messages held in memory: enough to keep every turn busy between two looks at the store.
const WINDOW_LEN_MAX: usize = 1024;
/// Commands under way at once. They are quick; more than that is a flood and waits in the store.
const COMMANDS_LEN_MAX: usize = 64;
/// The answer to a message that is not wanted any more.
const TAKEN_BACK: &str = "It was taken back before it was answered.";

pub(crate) enum HermesMsg {
    /// A message is in the inbox now.
    Accepted { entry: InboxEntry },
    /// Whoever sent a message does not want its answer any more.
    TakenBack { entry: InboxEntry },
    /// Fact from the harness.
    TurnHappened { fact: SessionFact },
    /// Fact from the clock.
    TickElapsed,
}

impl Message for HermesMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::TakenBack { .. } => "taken-back",
            Self::TurnHappened { fact } => fact.kind(),
            Self::TickElapsed => "tick-elapsed",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::Accepted { entry } | Self::TakenBack { entry } => {
                Some(format!("message {} of {}", entry.id, entry.session))
            }
            Self::TurnHappened { fact } => fact.about(),
            Self::TickElapsed => None,
        }
    }
}

pub(super) struct HermesActor {
    pub(super) link: Link<HermesMsg>,
    pub(super) missed: Arc<AtomicBool>,
}

pub(super) struct HermesState {
    me: ActorRef<Envelope<HermesMsg>>,
    args: HermesArgs,
    dispatch: Dispatch,
    /// Commands with the harness: they go past the queue.
    commands: BTreeMap<InboxId, InboxEntry>,
    /// Messages that were given up and whose sender could not be told yet, because the store refused.
    unsaid: BTreeMap<InboxId, (InboxEntry, String)>,
    missed: Arc<AtomicBool>,
    /// Whether the unanswered messages of the store were counted.
    counted: bool,
    started: Instant,
    /// When the last tick was taken up.
    ticked_at: Duration,
}

impl Actor for HermesActor {
    type Msg = Envelope<HermesMsg>;
    type State = HermesState;
    type Arguments = HermesArgs;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: HermesArgs,
    ) -> Result<HermesState, ActorProcessingErr> {
        self.link.attach(me.clone());
        // The first tick comes at once and reads the inbox.
        me.send_message(Envelope::fact(HermesMsg::TickElapsed))?;
        let policy = DispatchPolicy {
            in_flight_max: args.spec.limits.turns_in_flight_max as usize,
            window_len_max: WINDOW_LEN_MAX,
            fit: args.spec.fit,
        };
        Ok(HermesState {
            me,
            args,
            dispatch: Dispatch::new(policy),
            commands: BTreeMap::new(),
            unsaid: BTreeMap::new(),
            missed: self.missed.clone(),
            counted: false,
            started: Instant::now(),
            ticked_at: Duration::ZERO,
        })
    }

    async fn handle(
        &self,
        _me: ActorRef<Self::Msg>,
        msg: Self::Msg,
        state: &mut HermesState,
    ) -> Result<(), ActorProcessingErr> {
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(self.link.vitals()).await;
        work.run(async {
            match msg {
                HermesMsg::Accepted { entry } => state.on_accepted(entry),
                HermesMsg::TakenBack { entry } => state.on_taken_back(entry).await,
                HermesMsg::TurnHappened { fact } => state.on_turn_happened(fact).await,
                HermesMsg::TickElapsed => {
                    state.on_tick_elapsed().await;
                    // Not before: ticks must not pile up while we wait for the store, or are held back.
                    drop(state.me.send_after(TICK_PERIOD, || Envelope::fact(HermesMsg::TickElapsed)));
                }
            }
            state.pump().await;
            Ok(())
        })
        .await
    }
}

impl HermesState {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn inspect(&self) -> Inspection {
        vec![
            ("turns running", self.dispatch.in_flight().into()),
            ("turns running at most", self.args.spec.limits.turns_in_flight_max.into()),
            ("messages waiting here", self.dispatch.waiting().into()),
            ("messages without an answer", self.args.counters.open().into()),
            ("commands running", self.commands.len().into()),
            ("failures that could not be told", self.unsaid.len().into()),
        ]
    }

    fn on_accepted(&mut self, entry: InboxEntry) {
        // A report that was lost before this one is of an older message.
        self.look_for_missed();
        self.take_up(entry);
    }

    fn look_for_missed(&mut self) {
        if self.missed.swap(false, Ordering::AcqRel) {
            self.dispatch.missed();
        }
    }

    fn take_up(&mut self, entry: InboxEntry) {
        if let Some(age) = self.too_old(&entry) {
            return self.expire(entry, age);
        }
        if Intent::of(&entry.text).takes_a_turn() {
            let session = entry.session.clone();
            self.dispatch.accept(entry);
            return self.tell_of_waiting(&session);
        }
        if self.commands.contains_key(&entry.id) {
            return;
        }
        if self.commands.len() >= COMMANDS_LEN_MAX {
            return self.dispatch.missed();
        }
        self.args.trail.note(entry.id, Station::Hermes { attempt: 1 });
        if self.args.harness.dispatch(entry.clone(), 1).is_err() {
            return self.dispatch.missed();
        }
        self.commands.insert(entry.id, entry);
    }

    /// The session at work learns what waits for its end: what that does to it is its peer's choice.
    fn tell_of_waiting(&self, session: &SessionKey) {
        let Some((behind, waiting)) = self.dispatch.behind(session) else { return };
        for entry in &waiting {
            self.args.trail.note_once(entry.id, Station::Hermes { attempt: 1 });
        }
        // What is not heard of waits.
        let _ = self.args.harness.waiting(behind, waiting);
    }

    /// Ends it, wherever it is. One that still waits here is found to be answered when it is its turn.
    async fn on_taken_back(&mut self, entry: InboxEntry) {
        self.args.trail.note(entry.id, Station::Hermes { attempt: 1 });
        // A harness that is beyond hearing it finds it answered, too.
        let _ = self.args.harness.give_up_turn(entry.session.clone(), entry.id);
        let is_known = self.dispatch.knows(entry.id);
        self.tell(entry, TAKEN_BACK.to_owned()).await;
        if !is_known {
            // It lay in the store, and will never come from there.
            self.args.counters.closed();
        }
    }

    /// How old a message was when it came, if nobody waits for its answer any more: its platform kept it while nobody was there.
    fn too_old(&self, entry: &InboxEntry) -> Option<Duration> {
        let written = entry.waybill.written_unix_ms?;
        let age = Duration::from_millis(entry.received_unix_ms.saturating_sub(written));
        (age > self.args.spec.fit.message_age_max).then_some(age)
    }

    /// Its sender is told at the next tick, instead of an answer.
    fn expire(&mut self, entry: InboxEntry, age: Duration) {
        if self.unsaid.contains_key(&entry.id) {
            return;
        }
        let most = in_words(self.args.spec.fit.message_age_max);
        let text = format!(
            "I could not answer that: it came {} after it was written, and I answer nothing that is older than {most}. Write it again if it still matters.",
            in_words(age)
        );
        self.trail_of_own(&entry);
        self.unsaid.insert(entry.id, (entry, text));
    }

    /// It goes to nobody else, and is counted as a command is.
    fn trail_of_own(&mut self, entry: &InboxEntry) {
        self.args.trail.note(entry.id, Station::Hermes { attempt: 1 });
        self.commands.insert(entry.id, entry.clone());
    }

    async fn on_turn_happened(&mut self, fact: SessionFact) {
        match fact {
            SessionFact::Progress { inbox } => self.dispatch.progress(inbox, self.now()),
            SessionFact::Ended { inbox, taken_in } => {
                // First: whatever waits behind them goes next.
                let known = taken_in.into_iter().filter(|inbox| self.dispatch.taken_in(*inbox)).count();
                (0..known).for_each(|_| self.args.counters.closed());
                self.ended(inbox);
            }
            SessionFact::Failed { inbox, attempt, failure } => self.failed(inbox, attempt, failure).await,
            // The harness keeps that to itself.
            SessionFact::Idle { .. } => {}
        }
    }

    fn ended(&mut self, inbox: InboxId) {
        if self.commands.remove(&inbox).is_some() | self.dispatch.ended(inbox) {
            self.args.counters.closed();
        }
    }

    async fn failed(&mut self, inbox: InboxId, attempt: u32, failure: TurnFailure) {
        if self.commands.remove(&inbox).is_some() {
            // Its answer could not be kept; it is still in the inbox.
            return self.dispatch.missed();
        }
        let verdict = self.dispatch.failed(inbox, attempt, failure.end(), self.now());
        match verdict {
            Verdict::Stale => {}
            Verdict::Retry { attempt } => {
                tracing::info!(archon = %self.args.spec.id, %inbox, attempt, %failure, "the message is tried again");
            }
            Verdict::GiveUp { entry } => {
                tracing::warn!(archon = %self.args.spec.id, %inbox, attempt, %failure, "the message is given up");
                self.tell(entry, failure_text(&failure, attempt)).await;
            }
        }
    }

    /// Ends a message with bad news. While the store refuses, it is tried again at each tick.
    async fn tell(&mut self, entry: InboxEntry, text: String) {
        let end = TurnEnd {
            inbox: entry.id,
            turn: None,
            answer: NewAnswer { kind: AnswerKind::Failure, text: text.clone() },
            ended_unix_ms: self.args.clock.now_unix_ms(),
        };
        match self.args.memory.end_turn(end).await {
            Ok(answer) => {
                self.ended(entry.id);
                self.args.observers.publish(&entry.message_key(), TurnEvent::Ended { answer });
            }
            Err(error) => {
                tracing::warn!(inbox = %entry.id, %error, "a failure could not be kept; trying again");
                self.unsaid.insert(entry.id, (entry, text));
            }
        }
    }

    async fn on_tick_elapsed(&mut self) {
        let now = self.now();
        self.dispatch.held_up(now.saturating_sub(self.ticked_at + TICK_PERIOD));
        let mut unsaid = std::mem::take(&mut self.unsaid);
        // A store that refuses one would make us wait for the next as long.
        while self.unsaid.is_empty()
            && let Some((_, (entry, text))) = unsaid.pop_first()
        {
            self.tell(entry, text).await;
        }
        self.unsaid.append(&mut unsaid);
        let patience = self.args.spec.fit.progress_timeout.as_secs();
        for (entry, attempt) in self.dispatch.overdue(self.now()) {
            if self.unsaid.contains_key(&entry.id) {
                continue;
            }
            // The harness may be beyond hearing it; the next try replaces the turn in any case.
            let _ = self.args.harness.give_up_turn(entry.session.clone(), entry.id);
            self.failed(entry.id, attempt, TurnFailure::NoProgress(patience)).await;
        }
        self.look_for_missed();
        if self.dispatch.wants_refill() {
            self.refill().await;
        }
        self.ticked_at = now;
    }

    /// Reads a page of the inbox that is long enough to hold something new, if there is something new.
    async fn refill(&mut self) {
        let known = self.dispatch.waiting() + self.dispatch.in_flight() + self.commands.len();
        let limit = known + WINDOW_LEN_MAX;
        if !self.counted {
            // Before the first look nobody knows how much an earlier life left behind.
            if let Ok(open) = self.args.memory.pending_len(&self.args.spec.id).await {
                self.args.counters.set_open(open);
                self.counted = true;
            }
        }
        match self.args.memory.pending(&self.args.spec.id, None, limit).await {
            Ok(entries) => {
                let complete = entries.len() < limit;
                let (messages, commands): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| {
                    Intent::of(&entry.text).takes_a_turn() && self.too_old(entry).is_none()
                });
                self.dispatch.refill(messages, complete);
                for session in self.dispatch.at_work() {
                    self.tell_of_waiting(&session);
                }
                for entry in commands {
                    self.take_up(entry);
                }
            }
            Err(error) => tracing::warn!(archon = %self.args.spec.id, %error, "the inbox could not be read"),
        }
    }

    /// Hands over what may go now.
    async fn pump(&mut self) {
        while let Some((entry, attempt)) = self.dispatch.next(self.now()) {
            let inbox = entry.id;
            self.args.trail.note(inbox, Station::Hermes { attempt });
            let session = entry.session.clone();
            match self.args.harness.dispatch(entry, attempt) {
                Ok(()) => self.tell_of_waiting(&session),
                Err(error) => {
                    self.failed(inbox, attempt, TurnFailure::Unavailable(error.to_string())).await;
                }
            }
        }
        self.args.counters.set(self.dispatch.in_flight(), self.dispatch.waiting());
    }
}

/// An age, roughly: `3 days`, `20 hours`, `5 minutes`.
fn in_words(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    let (count, unit) = match minutes {
        0..=119 => (minutes, "minutes"),
        120..=2879 => (minutes / 60, "hours"),
        _ => (minutes / 1440, "days"),
    };
    format!("{count} {unit}")
}

/// What the sender is told.
fn failure_text(failure: &TurnFailure, attempt: u32) -> String {
    let tries = if attempt > 1 { format!(" (tried {attempt} times)") } else { String::new() };
    format!("I could not answer that{tries}: {failure}.")
}

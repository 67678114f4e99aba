//! One channel of an Archon. Talks down to memory and to the platform's adapter; memory's reports and its own tasks talk to it.
//!
//! It never waits itself: what takes long is a task that it owns, and whose report is a fact. It keeps nothing that the store does not
//! hold, so that its end loses nothing.
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::carrying::{self, HandedIn};
use super::delivery::{Act, Delivery, Tried};
use super::handle::{ChannelArgs, ChannelHandle};
use super::owners::Hearing;
use super::receiving::{Receiving, Step};
use super::watching::{self, Watched, Watcher};
use crate::domain::{ActorState, Batch, Inbound, InboxId, OutboxEntry, PeerId, Question, ReplyTo};
use crate::insight::{Inspection, Message};
use crate::link::Envelope;
use crate::ports::ChannelFault;

/// Answers that are shown while they come, at once; more are delivered without.
const WATCHED_MAX: usize = 32;
/// Keys of refused messages that are remembered, so that their senders are not told at each repetition.
const REFUSED_MAX: usize = 1024;
/// Time for what is under way when the channel is stopped: less than its supervisor allows.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// What a look into the store found: answers, and whether those are all; `None`: it could not be read.
type Found = Option<(Vec<OutboxEntry>, bool)>;

pub(crate) enum ChannelMsg {
    /// There is an answer in the outbox.
    Answered,
    /// Ask an owner about somebody else's turn, in a chat of his own.
    Ask { owner: PeerId, chat: ReplyTo, question: Question, hearing: Arc<Hearing> },
    /// Fact from the task that did.
    OwnerAsked,
    /// Fact from the clock.
    TimeCame { alarm: u64 },
    /// Fact from a poll's task.
    Polled { poll: u64, came: Result<Batch, ChannelFault> },
    /// Fact from the task that hands in.
    HandedIn { done: Box<HandedIn> },
    /// Fact from the task that looks into the outbox.
    Looked { found: Found },
    /// Fact from the task that looked, once, for messages of an earlier life.
    LeftBehind { watched: Vec<Watched> },
    /// Fact from the task that hands over.
    Tried { entry: Box<OutboxEntry>, tried: Tried },
    /// Fact from the task that tells the store what became of an answer.
    Told { peer: PeerId, is_done: bool },
}

impl Message for ChannelMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Ask { .. } => "ask",
            Self::OwnerAsked => "owner-asked",
            Self::TimeCame { .. } => "time-came",
            Self::Polled { .. } => "polled",
            Self::HandedIn { .. } => "handed-in",
            Self::Looked { .. } => "looked",
            Self::LeftBehind { .. } => "left-behind",
            Self::Tried { .. } => "tried",
            Self::Told { .. } => "told",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::Polled { poll, came: Ok(batch) } => Some(format!("poll {poll}: {}", batch.messages.len())),
            Self::Polled { poll, came: Err(_) } => Some(format!("poll {poll} failed")),
            Self::Tried { entry, .. } => Some(format!("answer {}", entry.id)),
            Self::Ask { question, .. } => Some(format!("call {}", question.call)),
            _ => None,
        }
    }
}

pub(super) struct ChannelActor {
    pub(super) handle: ChannelHandle,
}

pub(super) struct ChannelState {
    me: ActorRef<Envelope<ChannelMsg>>,
    handle: ChannelHandle,
    args: Arc<ChannelArgs>,
    began: Instant,
    receiving: Receiving,
    delivery: Delivery,
    /// The poll that runs: dropped, it ends.
    poll: JoinSet<()>,
    polls: u64,
    /// What the last poll brought and is not handed in.
    held: Vec<Inbound>,
    place: Option<Arc<str>>,
    /// How often the first of them was left.
    held_times: u32,
    received: u64,
    refused: VecDeque<String>,
    watchers: HashMap<InboxId, Watcher>,
    /// All other tasks.
    tasks: JoinSet<()>,
    /// When, and the message that will come then.
    alarm: Option<(Duration, AbortHandle)>,
    alarms: u64,
    random: u64,
}

impl Actor for ChannelActor {
    type Msg = Envelope<ChannelMsg>;
    type State = ChannelState;
    type Arguments = Arc<ChannelArgs>;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: Arc<ChannelArgs>,
    ) -> Result<ChannelState, ActorProcessingErr> {
        self.handle.link.attach(me.clone());
        self.handle.told.store(false, Ordering::Release);
        // What a former incarnation was given may have ended with it.
        args.channel.renew();
        let mut state = ChannelState {
            me,
            handle: self.handle.clone(),
            began: Instant::now(),
            receiving: Receiving::new(self.handle.poll_max(), Duration::ZERO),
            delivery: Delivery::new(),
            poll: JoinSet::new(),
            polls: 0,
            held: Vec::new(),
            place: None,
            held_times: 0,
            received: 0,
            refused: VecDeque::new(),
            watchers: HashMap::new(),
            tasks: JoinSet::new(),
            alarm: None,
            alarms: 0,
            random: args.clock.now_unix_ms(),
            args,
        };
        let args = state.args.clone();
        state.begin(async move {
            let watched = carrying::left_behind(&args, &args.channel.id()).await;
            ChannelMsg::LeftBehind { watched }
        });
        state.go_on();
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut ChannelState,
    ) -> Result<(), ActorProcessingErr> {
        let Some(opened) = envelope.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(self.handle.vitals()).await;
        work.run(async {
            match msg {
                ChannelMsg::Answered => state.on_answered(),
                ChannelMsg::Ask { owner, chat, question, hearing } => {
                    state.on_ask(owner, chat, question, hearing);
                }
                ChannelMsg::OwnerAsked => {}
                ChannelMsg::TimeCame { alarm } => state.on_time_came(alarm),
                ChannelMsg::Polled { poll, came } => state.on_polled(poll, came),
                ChannelMsg::HandedIn { done } => state.on_handed_in(*done),
                ChannelMsg::Looked { found } => state.on_looked(found),
                ChannelMsg::LeftBehind { watched } => state.watch(watched),
                ChannelMsg::Tried { entry, tried } => state.on_tried(&entry, tried),
                ChannelMsg::Told { peer, is_done } => state.on_told(&peer, is_done),
            }
            state.go_on();
            Ok(())
        })
        .await
    }

    /// What is being handed over is finished and marked, so that it is not handed over twice.
    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut ChannelState,
    ) -> Result<(), ActorProcessingErr> {
        state.poll.abort_all();
        let finish = async { while state.tasks.join_next().await.is_some() {} };
        // What is not finished by then is handed over again by the next life.
        let _ = tokio::time::timeout(STOP_TIMEOUT, finish).await;
        Ok(())
    }
}

impl ChannelState {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn jitter(&mut self) -> f64 {
        // splitmix64: enough to keep channels that failed together from coming back together.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
    }

    /// Runs a task whose end is a fact.
    fn begin(&mut self, task: impl Future<Output = ChannelMsg> + Send + 'static) {
        // Those that have ended are let go.
        while self.tasks.try_join_next().is_some() {}
        let me = self.me.clone();
        self.tasks.spawn(async move {
            let fact = task.await;
            // An actor that is gone needs no facts; whoever comes after it reads the store.
            let _ = me.send_message(Envelope::fact(fact));
        });
    }

    fn on_answered(&mut self) {
        self.handle.told.store(false, Ordering::Release);
        self.delivery.answered();
    }

    fn on_ask(&mut self, owner: PeerId, chat: ReplyTo, question: Question, hearing: Arc<Hearing>) {
        let args = self.args.clone();
        self.begin(async move {
            if watching::ask(&args, owner, chat, question).await {
                hearing.reached();
            }
            ChannelMsg::OwnerAsked
        });
    }

    fn on_time_came(&mut self, alarm: u64) {
        if alarm == self.alarms {
            self.alarm = None;
        }
    }

    fn on_polled(&mut self, poll: u64, came: Result<Batch, ChannelFault>) {
        if poll != self.polls {
            return;
        }
        let (now, jitter) = (self.now(), self.jitter());
        match came {
            Ok(Batch { messages, place }) => {
                self.receiving.polled(Ok(!messages.is_empty() || place.is_some()), now, jitter);
                self.delivery.reached(now);
                (self.held, self.place, self.held_times) = (messages, place, 0);
            }
            Err(fault) => {
                tracing::warn!(channel = %self.about(), %fault, "the platform could not be asked");
                self.receiving.polled(Err(&fault), now, jitter);
            }
        }
    }

    fn on_handed_in(&mut self, done: HandedIn) {
        let HandedIn { rest, held_up, taken, watched, refused } = done;
        if let Some(why) = &held_up {
            tracing::warn!(channel = %self.about(), left = rest.len(), why, "messages have to wait");
        }
        // The same one again at the head: its next try is one more.
        self.held_times = if taken == 0 && held_up.is_some() { self.held_times.saturating_add(1) } else { 0 };
        self.held = rest;
        self.received += taken;
        self.refused.extend(refused);
        while self.refused.len() > REFUSED_MAX {
            self.refused.pop_front();
        }
        let (now, jitter) = (self.now(), self.jitter());
        self.receiving.handed_in(held_up, now, jitter);
        self.watch(watched);
    }

    fn on_looked(&mut self, found: Found) {
        self.delivery.looked(found, self.now());
    }

    fn on_tried(&mut self, entry: &OutboxEntry, tried: Tried) {
        if let Tried::Failed { fault, .. } = &tried {
            tracing::warn!(channel = %self.about(), answer = %entry.id, %fault, "an answer was not delivered");
        }
        let (now, jitter) = (self.now(), self.jitter());
        self.delivery.tried(entry, tried, now, jitter);
    }

    fn on_told(&mut self, peer: &PeerId, is_done: bool) {
        let (now, jitter) = (self.now(), self.jitter());
        self.delivery.told(peer, is_done, now, jitter);
    }

    fn watch(&mut self, watched: Vec<Watched>) {
        for watched in watched {
            if self.watchers.len() >= WATCHED_MAX {
                // Nobody delivers the answers of those: their sessions were removed.
                self.watchers.retain(|_, watcher| !watcher.is_over());
            }
            if self.watchers.len() < WATCHED_MAX {
                self.watchers.insert(watched.entry.id, Watcher::begin(self.args.clone(), watched));
            }
        }
    }

    /// Begins all that is to be done now, and sees to it that it is looked at again in time.
    fn go_on(&mut self) {
        let now = self.now();
        let jitter = self.jitter();
        while let Some(step) = self.receiving.next(now, jitter) {
            match step {
                Step::Poll => self.begin_poll(),
                Step::HandIn => self.begin_handing_in(),
                Step::Replace => self.replace_poll(),
            }
        }
        if self.delivery.wants_look(now) {
            let args = self.args.clone();
            self.begin(async move { ChannelMsg::Looked { found: carrying::look(&args).await.ok() } });
        }
        while let Some(act) = self.delivery.next(now) {
            self.begin_act(act);
        }
        self.set_alarm(now);
        self.show();
    }

    fn begin_poll(&mut self) {
        self.polls += 1;
        let (poll, args, me) = (self.polls, self.args.clone(), self.me.clone());
        self.poll = JoinSet::new();
        self.poll.spawn(async move {
            let came = carrying::poll(&args).await;
            let _ = me.send_message(Envelope::fact(ChannelMsg::Polled { poll, came }));
        });
    }

    fn replace_poll(&mut self) {
        tracing::warn!(channel = %self.about(), "a poll hung and is replaced");
        self.poll = JoinSet::new();
        // What it still says is of a poll that is over.
        self.polls += 1;
        self.args.channel.renew();
    }

    fn begin_handing_in(&mut self) {
        let (args, messages, place) = (self.args.clone(), std::mem::take(&mut self.held), self.place.clone());
        let (known, tries): (HashSet<String>, u32) =
            (self.refused.iter().cloned().collect(), self.held_times);
        self.begin(async move {
            let done = carrying::hand_in(&args, messages, place, &known, tries).await;
            ChannelMsg::HandedIn { done: Box::new(done) }
        });
    }

    fn begin_act(&mut self, act: Act) {
        let args = self.args.clone();
        match act {
            Act::Carry { entry, receipt, tries } => {
                let watcher = self.watchers.remove(&entry.answers);
                self.begin(async move {
                    let tried = carrying::carry(&args, &entry, receipt, tries, watcher).await;
                    ChannelMsg::Tried { entry: Box::new(entry), tried }
                });
            }
            Act::MarkSent(outbox, peer) => self.begin(async move {
                let is_done = args.intake.memory().mark_sent(outbox).await.is_ok();
                ChannelMsg::Told { peer, is_done }
            }),
            Act::GiveUp(outbox, peer, reason) => {
                tracing::error!(channel = %self.about(), answer = %outbox, reason, "an answer is given up");
                self.begin(async move {
                    let now = args.clock.now_unix_ms();
                    let is_done = args.intake.memory().give_up(outbox, reason, now).await.is_ok();
                    ChannelMsg::Told { peer, is_done }
                });
            }
        }
    }

    /// One alarm at a time, at the earliest moment at which something is due.
    fn set_alarm(&mut self, now: Duration) {
        let due = [self.receiving.due(), self.delivery.due()].into_iter().flatten().min();
        if due == self.alarm.as_ref().map(|(at, _)| *at) {
            return;
        }
        if let Some((_, former)) = self.alarm.take() {
            former.abort();
        }
        let Some(at) = due else { return };
        self.alarms += 1;
        let alarm = self.alarms;
        let fact = move || Envelope::fact(ChannelMsg::TimeCame { alarm });
        self.alarm = Some((at, self.me.send_after(at.saturating_sub(now), fact).abort_handle()));
    }

    fn about(&self) -> String {
        format!("{}/{}", self.args.spec.id, self.handle.id())
    }

    fn state(&self) -> ActorState {
        match (self.receiving.is_barred() || self.delivery.is_barred(), self.receiving.trouble()) {
            (true, _) => ActorState::Failed,
            // It could not be asked, or what it said cannot be kept.
            (false, Some(_)) => ActorState::Starting,
            (false, None) if self.delivery.in_flight() > 0 => ActorState::Running,
            (false, None) => ActorState::Ready,
        }
    }

    fn trouble(&self) -> Option<String> {
        self.receiving.trouble().or(self.delivery.trouble()).map(str::to_owned)
    }

    /// Notes how it is for those who look.
    fn show(&self) {
        let state = self.state();
        self.handle.vitals().say(state);
        let (delivered, given_up) = self.delivery.counts();
        let mut sight = self.handle.sight.lock().unwrap_or_else(PoisonError::into_inner);
        sight.state = Some(state);
        sight.returned = self.receiving.returned_at().map(|at| self.began + at);
        let (well_at, silence_max) = self.receiving.well();
        sight.well = Some((self.began + well_at, silence_max));
        sight.replaced = self.receiving.replaced();
        sight.received = self.received;
        (sight.delivered, sight.given_up) = (delivered, given_up);
        sight.waiting = self.delivery.waiting();
        sight.trouble = self.trouble();
    }

    fn inspect(&self) -> Inspection {
        let polled = self.receiving.returned_at().map(|at| self.now().saturating_sub(at));
        let (well_at, silence_max) = self.receiving.well();
        let (delivered, given_up) = self.delivery.counts();
        let mut facts: Inspection = vec![("leads to", self.args.channel.leads_to().into())];
        facts.extend(polled.map(|ago| ("last poll back for", ago.into())));
        facts.extend([
            ("longest poll", self.handle.poll_max().into()),
            ("longest silence", silence_max.max(self.now().saturating_sub(well_at)).into()),
            ("polls that hung", self.receiving.replaced().into()),
            ("messages taken", self.received.into()),
            ("messages held", self.held.len().into()),
            ("answers waiting", self.delivery.waiting().into()),
            ("answers under way", self.delivery.in_flight().into()),
            ("answers shown while they come", self.watchers.len().into()),
            ("answers delivered", delivered.into()),
            ("answers given up", given_up.into()),
        ]);
        facts.extend(self.trouble().map(|trouble| ("trouble", trouble.into())));
        facts
    }
}

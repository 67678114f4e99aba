//! Owns the lanes, one per model, and the queue before them. Talks down to workers; sessions and the house talk to it.
//!
//! A worker that dies costs no answer: see `workers`. A bad order is answered with an error. An engine that panics
//! where it must not ends the actor; its readers are told, and its supervisor starts it again with all lanes empty.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::admission::{Admission, QueueLimits};
use super::handle::{GenerationEvent, GenerationOrder, PoolArgs, PoolError};
use super::ladder::Standing;
use super::lane::Lane;
use super::request::{Place, Request};
use super::settings::PoolSettings;
use super::shelf::{OnDisk, Shelf};
use super::worker::WorkerId;
use crate::domain::{GenerationId, ModelId, ModelStatus, PoolStatus, Senses};
use crate::insight::{Inspection, Message, Roster, Vitals};
use crate::link::{Envelope, Link, answer};
use crate::ports::{Engine, Sink, WorkerEvent, WorkerLink};

/// How often those who wait are told so: several times within the shortest sensible patience of Hermes.
const RETELL_PERIOD: Duration = Duration::from_secs(5);

pub(super) type Reply<T> = RpcReplyPort<Result<T, PoolError>>;

pub(super) enum PoolMsg {
    /// Somebody asks for something that depends on what is on disk.
    Ask { question: Question },
    /// End an answer, whether it waits or runs.
    CancelGeneration { id: GenerationId },
    /// Fact from the thread that looked at the disk; `None`: the engine panicked there.
    DiskRead { on_disk: Option<OnDisk> },
    /// Fact from a worker's actor: the process is there.
    WorkerLaunched { worker: WorkerId, link: Arc<dyn WorkerLink> },
    /// Fact from a worker.
    WorkerSaid { worker: WorkerId, event: WorkerEvent },
    /// Fact from our own clock: the earliest deadline has come.
    DeadlineReached,
}

impl Message for PoolMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { question } => question.kind(),
            Self::CancelGeneration { .. } => "cancel-generation",
            Self::DiskRead { .. } => "disk-read",
            Self::WorkerLaunched { .. } => "worker-launched",
            Self::WorkerSaid { event, .. } => event.kind(),
            Self::DeadlineReached => "deadline-reached",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::Ask { question: Question::Generate { id, order, .. } } => {
                Some(format!("request {id} of {}", order.session))
            }
            Self::Ask { .. } | Self::DiskRead { .. } | Self::DeadlineReached => None,
            Self::CancelGeneration { id } => Some(format!("request {id}")),
            Self::WorkerLaunched { worker, .. } => Some(worker.to_string()),
            // One message per token: no words are made for it.
            Self::WorkerSaid { .. } => None,
        }
    }
}

pub(super) enum Question {
    /// Queue an order. Answers once it is queued, or refused.
    Generate {
        id: GenerationId,
        order: Box<GenerationOrder>,
        events: Sink<GenerationEvent>,
        reply: Reply<()>,
    },
    /// Which of these would answer now?
    GetChoice { models: Vec<ModelId>, reply: Reply<ModelId> },
    /// What does each of these take beside words?
    GetSenses { models: Vec<ModelId>, reply: Reply<Vec<Senses>> },
    /// Begin to load a model.
    Warm { model: ModelId, reply: Reply<()> },
    /// How is everything?
    GetStatus { reply: Reply<PoolStatus> },
}

/// The engine's code broke where the pool called it.
#[derive(Debug, thiserror::Error)]
#[error("the engine panicked while it looked which models are on disk")]
struct EnginePanicked;

pub(super) struct PoolActor;

pub(super) struct PoolState {
    vitals: Vitals,
    pub(super) me: ActorRef<Envelope<PoolMsg>>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) settings: PoolSettings,
    pub(super) roster: Roster,
    pub(super) path: String,
    /// All times in lanes are counted from here.
    epoch: Instant,
    pub(super) shelf: Shelf,
    pub(super) waiting: Admission<ModelId, Request>,
    pub(super) lanes: BTreeMap<ModelId, Lane>,
    pub(super) incarnations: u64,
    /// When those who wait are told so next.
    retell_at: Option<Duration>,
    /// The `DeadlineReached` that is on its way.
    wake: Option<(Duration, AbortHandle)>,
}

impl Actor for PoolActor {
    type Msg = Envelope<PoolMsg>;
    type State = PoolState;
    type Arguments = (PoolArgs, Link<PoolMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        (args, link): Self::Arguments,
    ) -> Result<PoolState, ActorProcessingErr> {
        link.attach(me.clone());
        let PoolArgs { engine, settings, roster, path } = args;
        let limits = QueueLimits {
            len_max: settings.queue_len_max,
            len_max_per_archon: settings.queue_len_max_per_archon,
        };
        Ok(PoolState {
            vitals: link.vitals().clone(),
            me,
            shelf: Shelf::new(engine.clone()),
            engine,
            settings,
            roster,
            path,
            epoch: Instant::now(),
            waiting: Admission::new(limits),
            lanes: BTreeMap::new(),
            incarnations: 0,
            retell_at: None,
            wake: None,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        msg: Self::Msg,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = state.vitals.clone();
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                PoolMsg::Ask { question } => state.on_ask(question),
                PoolMsg::CancelGeneration { id } => state.on_cancel_generation(id),
                PoolMsg::DiskRead { on_disk } => state.on_disk_read(on_disk.ok_or(EnginePanicked)?),
                PoolMsg::WorkerLaunched { worker, link } => state.on_worker_launched(&worker, link),
                PoolMsg::WorkerSaid { worker, event } => state.on_worker_said(&worker, event),
                PoolMsg::DeadlineReached => state.on_deadline_reached(),
            }
            state.set_clock();
            Ok(())
        })
        .await
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                state.on_worker_actor_ended(&cell, &error.to_string())
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.on_worker_actor_ended(&cell, reason.as_deref().unwrap_or("its actor ended"));
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        state.set_clock();
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        state.end();
        Ok(())
    }
}

impl Question {
    fn kind(&self) -> &'static str {
        match self {
            Self::Generate { .. } => "generate",
            Self::GetChoice { .. } => "get-choice",
            Self::GetSenses { .. } => "get-senses",
            Self::Warm { .. } => "warm",
            Self::GetStatus { .. } => "get-status",
        }
    }

    pub(super) fn refuse(self, error: PoolError) {
        match self {
            Self::Generate { reply, .. } | Self::Warm { reply, .. } => answer(reply, Err(error)),
            Self::GetChoice { reply, .. } => answer(reply, Err(error)),
            Self::GetSenses { reply, .. } => answer(reply, Err(error)),
            Self::GetStatus { reply } => answer(reply, Err(error)),
        }
    }
}

impl PoolState {
    fn inspect(&self) -> Inspection {
        let running: Vec<String> = (self.lanes.values())
            .flat_map(|lane| lane.running.keys().map(move |id| format!("{id} on {}", lane.model)))
            .collect();
        vec![
            ("models with a lane", self.lanes.keys().map(ToString::to_string).collect::<Vec<_>>().into()),
            ("workers started", self.incarnations.into()),
            (
                "requests waiting",
                self.lanes.keys().map(|model| self.waiting.lane_len(model)).sum::<usize>().into(),
            ),
            ("requests waiting at most", self.settings.queue_len_max.into()),
            ("requests running", running.into()),
        ]
    }

    fn on_ask(&mut self, question: Question) {
        let me = self.me.clone();
        let tell = move |on_disk| {
            // An actor that ended meanwhile has nobody's question any more.
            let _ = me.send_message(Envelope::fact(PoolMsg::DiskRead { on_disk }));
        };
        if let Some(question) = self.shelf.pass(question, tell) {
            self.answer_question(question);
        }
    }

    fn on_cancel_generation(&mut self, id: GenerationId) {
        if let Some((model, request)) = self.waiting.remove(id) {
            request.finish_cancelled(model.clone());
            return self.tell_waiting(&model);
        }
        let now = self.now();
        for lane in self.lanes.values_mut() {
            if lane.cancel(now, id) {
                return;
            }
        }
    }

    fn on_disk_read(&mut self, on_disk: OnDisk) {
        for question in self.shelf.filled(on_disk) {
            self.answer_question(question);
        }
    }

    fn on_deadline_reached(&mut self) {
        self.wake = None;
        let now = self.now();
        let models: Vec<ModelId> = self.lanes.keys().cloned().collect();
        for model in &models {
            self.keep_deadlines(model, now);
        }
        if self.retell_at.is_some_and(|at| at <= now) {
            self.retell_at = None;
            for model in &models {
                self.waiting.in_order(model).into_iter().for_each(Request::forget_place);
                self.tell_waiting(model);
                let running = self.lanes.get(model).into_iter().flat_map(|lane| lane.running.values());
                running.for_each(|request| request.retell_reading(model));
            }
        }
    }

    fn answer_question(&mut self, question: Question) {
        match question {
            // Who gave up waiting for the reply would never hear of the answer.
            Question::Generate { reply, .. } if reply.is_closed() => {}
            Question::Generate { id, order, events, reply } => {
                let admitted = self.admit(id, order, events);
                // The reply goes first: the events of an order that is refused go nowhere.
                let model = admitted.as_ref().ok().cloned();
                answer(reply, admitted.map(drop));
                if let Some(model) = model {
                    self.work(&model);
                }
            }
            Question::GetChoice { models, reply } => answer(reply, self.choose(&models)),
            Question::GetSenses { models, reply } => answer(reply, Ok(self.senses(&models))),
            Question::Warm { model, reply } => {
                let chosen = self.choose(std::slice::from_ref(&model));
                answer(reply, chosen.map(|model| self.work(&model)));
            }
            Question::GetStatus { reply } => answer(reply, Ok(self.status())),
        }
    }

    fn admit(
        &mut self,
        id: GenerationId,
        order: Box<GenerationOrder>,
        events: Sink<GenerationEvent>,
    ) -> Result<ModelId, PoolError> {
        let model = self.choose(&order.models)?;
        self.waiting.check(&order.archon).map_err(|full| PoolError::QueueFull { waiting: full.waiting })?;
        tracing::debug!(%id, session = %order.session, %model, "order admitted");
        let request = Request::new(id, order, events);
        self.waiting
            .admit(&model, request.ticket(), request)
            .map_err(|full| PoolError::QueueFull { waiting: full.waiting })?;
        Ok(model)
    }

    /// The first model that answers; if there is none, the first that may soon.
    pub(super) fn choose(&self, models: &[ModelId]) -> Result<ModelId, PoolError> {
        let Some(wanted) = models.first() else {
            return Err(PoolError::Engine { detail: "the order names no model".into() });
        };
        let now = self.now();
        let (mut on_trial, mut failure, mut too_large) = (None, None, None);
        for model in models {
            let lane = self.lanes.get(model);
            if !self.shelf.on_disk().contains_key(model) && !lane.is_some_and(Lane::is_ready) {
                continue;
            }
            if let Some(error) = self.too_large(model) {
                too_large.get_or_insert(error);
                continue;
            }
            match lane.map_or(Standing::Usable, |lane| lane.ladder.standing(now)) {
                Standing::Usable => return Ok(model.clone()),
                Standing::OnTrial => on_trial = on_trial.or(Some(model)),
                Standing::Failed { retry_in } => {
                    let error = lane.and_then(|lane| lane.last_error.clone());
                    let detail = error.unwrap_or_else(|| format!("{model} has failed"));
                    failure.get_or_insert(PoolError::ModelFailed { model: model.clone(), detail, retry_in });
                }
            }
        }
        match on_trial {
            Some(model) => Ok(model.clone()),
            None => {
                Err(failure.or(too_large).unwrap_or_else(|| PoolError::NoModel { wanted: wanted.clone() }))
            }
        }
    }

    fn senses(&self, models: &[ModelId]) -> Vec<Senses> {
        let of = |model| self.shelf.on_disk().get(model).map(|found| found.senses).unwrap_or_default();
        models.iter().map(of).collect()
    }

    fn too_large(&self, model: &ModelId) -> Option<PoolError> {
        let (found, allowed) = (self.shelf.on_disk().get(model)?, self.settings.memory_bytes_max?);
        (found.memory_bytes > allowed).then(|| PoolError::TooLarge {
            model: model.clone(),
            needed_bytes: found.memory_bytes,
            arithmetic: found.arithmetic.clone(),
            allowed_bytes: allowed,
        })
    }

    fn status(&self) -> PoolStatus {
        let now = self.now();
        let mut models: BTreeMap<&ModelId, ModelStatus> = BTreeMap::new();
        for model in self.shelf.on_disk().keys().filter(|model| !self.lanes.contains_key(model)) {
            models.insert(model, Lane::new(model.clone(), &self.settings).status(now, 0));
        }
        for (model, lane) in &self.lanes {
            models.insert(model, lane.status(now, self.waiting.lane_len(model)));
        }
        let running = self
            .lanes
            .values()
            .flat_map(|lane| lane.running.values().map(|request| request.shown(&lane.model, None)));
        let waiting = self.lanes.keys().flat_map(|model| {
            let row = (1..).zip(self.waiting.in_order(model));
            row.map(|(position, request)| request.shown(model, Some(position)))
        });
        PoolStatus {
            requests: running.chain(waiting).collect(),
            models: models.into_values().collect(),
            queue_len_max: self.settings.queue_len_max,
        }
    }

    /// Tells those who wait for a lane what they wait for, as far as it is news.
    pub(super) fn tell_waiting(&self, model: &ModelId) {
        let Some(lane) = self.lanes.get(model) else { return };
        for (position, request) in (1..).zip(self.waiting.in_order(model)) {
            let place = match &lane.worker {
                Some(worker) if !worker.ready => Place::Loading { percent: worker.percent },
                Some(_) | None => Place::Queued { position },
            };
            request.tell_place(model, place);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Has us woken at the earliest deadline. Deadlines mostly move away: a wake that comes too early only looks again.
    fn set_clock(&mut self) {
        let now = self.now();
        if self.waiting.is_empty() && self.lanes.values().all(|lane| lane.running.is_empty()) {
            self.retell_at = None;
        } else if self.retell_at.is_none() {
            self.retell_at = Some(now + RETELL_PERIOD);
        }
        let deadlines = self.lanes.values().filter_map(Lane::deadline).chain(self.retell_at);
        let Some(next) = deadlines.min() else { return };
        if self.wake.as_ref().is_some_and(|(at, _)| *at <= next) {
            return;
        }
        let wait = next.saturating_sub(now);
        let timer = self.me.send_after(wait, || Envelope::fact(PoolMsg::DeadlineReached));
        if let Some((_, later)) = self.wake.replace((next, timer.abort_handle())) {
            later.abort();
        }
    }

    /// Ends all workers; whoever still reads is told when his request is dropped with the rest.
    fn end(&mut self) {
        for lane in self.lanes.values() {
            if let Some(link) = lane.worker.as_ref().and_then(|worker| worker.link.as_ref()) {
                link.kill();
            }
        }
        if let Some((_, wake)) = self.wake.take() {
            wake.abort();
        }
    }
}

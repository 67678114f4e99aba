//! The life of the pool's workers, and what their lives mean for the requests.
//!
//! A request is never lost with its worker: what ran goes back before the queue, with the tokens that its reader has,
//! and the next worker goes on behind them. A request that ran in too many dying workers is given up.
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorCell;

use super::actor::PoolState;
use super::handle::{GenerationEvent, PoolError};
use super::ladder::Standing;
use super::lane::{Blame, Killed, Lane, LaneWorker, Rest};
use super::request::{Place, Request};
use super::room::{Room, Tenant, make_room};
use super::watchdog::Fault;
use super::worker::{WorkerArgs, WorkerId, spawn_worker};
use crate::domain::{
    ActorState, Chosen, Finding, FinishReason, GenerationId, ModelId, Refusal, Token, Usage,
};
use crate::link::Link;
use crate::ports::{EngineError, WorkerEvent, WorkerLink};

/// How often it is looked whether there is room now.
const ROOM_PERIOD: Duration = Duration::from_millis(500);

impl PoolState {
    pub(super) fn on_worker_launched(&mut self, worker: &WorkerId, link: Arc<dyn WorkerLink>) {
        // A worker that is not the present one is not wanted: its link is dropped, which ends it.
        let Some(lane) = self.lane_of(worker) else { return };
        let Some(present) = &mut lane.worker else { return };
        tracing::debug!(model = %worker.model, pid = link.pid(), "worker started");
        present.link = Some(link);
        self.work(&worker.model);
    }

    pub(super) fn on_worker_said(&mut self, worker: &WorkerId, event: WorkerEvent) {
        if self.lane_of(worker).is_none() {
            return;
        }
        match event {
            WorkerEvent::Loading { percent } => self.on_loading(&worker.model, percent),
            WorkerEvent::Ready { slots, context_tokens } => {
                self.on_ready(&worker.model, slots, context_tokens)
            }
            WorkerEvent::Prefill { id, done, total } => self.on_prefill(&worker.model, id, done, total),
            WorkerEvent::Token { id, token, chosen } => self.on_token(&worker.model, id, token, chosen),
            WorkerEvent::Found { id, finding } => self.on_found(&worker.model, id, finding),
            WorkerEvent::Finished { id, reason, usage } => self.on_finished(&worker.model, id, reason, usage),
            WorkerEvent::Refused { id, refusal } => self.on_refused(&worker.model, id, refusal),
            WorkerEvent::Exited { error } => self.on_worker_exited(&worker.model, &error),
        }
    }

    /// The actor of a worker ended: by our own wish, which needs nothing more, or because the engine's code broke in it.
    pub(super) fn on_worker_actor_ended(&mut self, cell: &ActorCell, detail: &str) {
        let is_its = |lane: &&Lane| lane.worker.as_ref().is_some_and(|worker| worker.cell == *cell);
        if let Some(model) = self.lanes.values().find(is_its).map(|lane| lane.model.clone()) {
            let error = EngineError::Process { model: model.clone(), detail: detail.to_owned() };
            self.on_worker_exited(&model, &error);
        }
    }

    fn on_loading(&mut self, model: &ModelId, percent: u8) {
        let Some(worker) = self.lanes.get_mut(model).and_then(|lane| lane.worker.as_mut()) else { return };
        if worker.percent != percent {
            worker.percent = percent;
            self.tell_waiting(model);
        }
    }

    fn on_ready(&mut self, model: &ModelId, slots: u32, context_tokens: u32) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        // One more worker after one that died is no news: its death was.
        let is_news = lane.crashes == 0 || lane.ladder.standing(now) != Standing::Usable;
        if let Some(worker) = &mut lane.worker {
            worker.ready = true;
            worker.vitals.say(ActorState::Ready);
        }
        (lane.ready_at, lane.last_used) = (now, now);
        lane.slots = slots;
        lane.context_tokens = context_tokens;
        lane.watchdog.ready();
        lane.ladder.ready();
        if is_news {
            tracing::info!(%model, slots, context_tokens, "model ready");
        } else {
            tracing::debug!(%model, slots, context_tokens, "model ready again");
        }
        self.work(model);
    }

    fn on_prefill(&mut self, model: &ModelId, id: GenerationId, done: u32, total: u32) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        if let Some(request) = lane.running.get(&id) {
            request.tell_place(model, Place::Reading { done, total });
            lane.watchdog.progressed(now);
        }
    }

    fn on_token(&mut self, model: &ModelId, id: GenerationId, token: Token, chosen: Chosen) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        if let Some(request) = lane.running.get_mut(&id) {
            request.token(token, chosen);
            lane.tokens += 1;
            lane.watchdog.progressed(now);
        }
    }

    fn on_found(&mut self, model: &ModelId, id: GenerationId, finding: Finding) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        if let Some(request) = lane.running.get_mut(&id) {
            request.tell(GenerationEvent::Found { finding });
            lane.watchdog.progressed(now);
        }
    }

    fn on_finished(&mut self, model: &ModelId, id: GenerationId, reason: FinishReason, usage: Usage) {
        let answered = reason != FinishReason::Cancelled;
        if let Some(lane) = self.lanes.get_mut(model) {
            lane.prompt_tokens = lane.prompt_tokens.saturating_add(usage.prompt_tokens.into());
            lane.cached_tokens = lane.cached_tokens.saturating_add(usage.cached_tokens.into());
            let written = u64::from(usage.answer_tokens.saturating_sub(1));
            lane.written_tokens = lane.written_tokens.saturating_add(written);
            lane.written_ms = lane.written_ms.saturating_add(usage.decode_ms.into());
        }
        if let Some(request) = self.take_back(model, id, answered) {
            request.finish(model.clone(), reason, usage);
        }
        self.work(model);
    }

    fn on_refused(&mut self, model: &ModelId, id: GenerationId, refusal: Refusal) {
        // A refusal is an answer too: the worker is well.
        let answered = !matches!(refusal, Refusal::NoFreeSlot);
        let Some(request) = self.take_back(model, id, answered) else { return };
        match refusal {
            Refusal::NoFreeSlot if request.cancelled => request.finish_cancelled(model.clone()),
            Refusal::NoFreeSlot => {
                self.waiting.put_back(model, request.ticket(), request);
                let now = self.now();
                if let Some(fault) = self.lanes.get_mut(model).and_then(|lane| lane.turned_away(now)) {
                    return self.kill_worker(model, now, &fault);
                }
            }
            Refusal::PromptTooLong { tokens, tokens_max } => {
                request.fail(PoolError::PromptTooLong { tokens, tokens_max });
            }
            Refusal::Medium { id, detail } => request.fail(PoolError::Medium { id, detail }),
            Refusal::Unable { detail } => request.fail(PoolError::Unable { detail }),
            Refusal::Engine { detail } => request.fail(PoolError::Engine { detail }),
        }
        self.work(model);
    }

    fn on_worker_exited(&mut self, model: &ModelId, error: &EngineError) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        let Some(worker) = lane.worker.take() else { return };
        worker.cell.stop(None);
        lane.watchdog.gone();
        lane.is_draining = false;
        let blame = worker.killed_for.as_ref().map_or(Blame::Crash, |killed| killed.blame);
        let detail = match &worker.killed_for {
            Some(killed) => killed.detail.clone(),
            None => error.to_string(),
        };
        if blame == Blame::Unloaded && lane.running.is_empty() {
            tracing::info!(%model, "{detail}");
            lane.rest = Some(Rest::Unwanted);
            self.work(model);
            return self.work_for_those_without_room();
        }
        self.roster.crashed(worker.place.path(), &detail, &worker.vitals);
        let is_crash = blame == Blame::Crash;
        tracing::warn!(%model, running = lane.running.len(), error = %detail, "worker ended");
        lane.crashes = lane.crashes.saturating_add(1);
        lane.last_error = Some(detail);
        let delay = match error {
            EngineError::Unusable { .. } | EngineError::NotOnDisk { .. } => lane.ladder.unusable(now),
            EngineError::Exited { .. } | EngineError::Process { .. } if is_crash => lane.ladder.crashed(now),
            EngineError::Exited { .. } | EngineError::Process { .. } => Duration::ZERO,
        };
        lane.retry_at = Some(now + delay);
        let standing = lane.ladder.standing(now);
        for request in std::mem::take(&mut lane.running).into_values().rev() {
            self.survive(model, request, is_crash);
        }
        if let Standing::Failed { retry_in } = standing {
            tracing::error!(%model, ?retry_in, "model failed");
            self.give_up_waiting(model);
        }
        self.work(model);
        self.work_for_those_without_room();
    }

    /// Somebody's memory is free.
    fn work_for_those_without_room(&mut self) {
        let lanes = self.lanes.values_mut().filter(|lane| lane.rest == Some(Rest::NoRoom));
        let models: Vec<ModelId> = lanes
            .map(|lane| {
                lane.retry_at = None;
                lane.model.clone()
            })
            .collect();
        models.iter().for_each(|model| self.work(model));
    }

    /// What becomes of a request whose worker died.
    fn survive(&mut self, model: &ModelId, mut request: Request, is_crash: bool) {
        if request.cancelled {
            return request.finish_cancelled(model.clone());
        }
        if is_crash && request.may_go_without_media() {
            tracing::error!(%model, id = %request.id, session = %request.order.session, "request given up with its media");
            return request.fail(PoolError::MediaCrashed { model: model.clone() });
        }
        if is_crash && request.crashed() >= self.settings.request_crashes_max {
            let crashes = self.settings.request_crashes_max;
            tracing::error!(%model, id = %request.id, session = %request.order.session, crashes, "request given up");
            return request.fail(PoolError::RequestCrashed { model: model.clone(), crashes });
        }
        request.tell(GenerationEvent::WorkerReplaced);
        request.forget_place();
        self.waiting.put_back(model, request.ticket(), request);
    }

    /// The model failed: those who wait for it go to their next model, if they have one.
    fn give_up_waiting(&mut self, model: &ModelId) {
        let mut others = Vec::new();
        for (ticket, request) in self.waiting.drain(model).into_iter().rev() {
            let choice = self.choose(&request.order.models);
            match choice {
                // Its reader has words of this model, which mean nothing to another: he has to ask anew, and may.
                Ok(_) if request.is_begun() => {
                    let detail = format!("{model} failed in the middle of the answer; ask again");
                    request.fail(PoolError::Unable { detail });
                }
                Ok(other) => {
                    self.waiting.put_back(&other, ticket, request);
                    others.push(other);
                }
                Err(error) => request.fail(error),
            }
        }
        others.sort_unstable();
        others.dedup();
        others.iter().for_each(|other| self.work(other));
    }

    /// Does for a lane what its deadlines ask for.
    pub(super) fn keep_deadlines(&mut self, model: &ModelId, now: Duration) {
        let Some(lane) = self.lanes.get_mut(model) else { return };
        if let Some(worker) = &mut lane.worker {
            worker.full_until = worker.full_until.filter(|until| *until > now);
        }
        match lane.watchdog.fault(now) {
            Some(fault) => self.kill_worker(model, now, &fault),
            None => self.work(model),
        }
    }

    fn kill_worker(&mut self, model: &ModelId, now: Duration, fault: &Fault) {
        let Some(lane) = self.lanes.get_mut(model) else { return };
        lane.watchdog.killed(now, fault);
        let blame = if matches!(fault, Fault::CancelIgnored(_)) { Blame::None } else { Blame::Crash };
        let detail = format!("the worker of {model} was killed: {fault}");
        let killed = lane.kill(Killed { detail: detail.clone(), blame });
        if killed && !matches!(fault, Fault::Unreaped(_)) {
            return self.work(model);
        }
        // Nobody will say that it ended.
        let error = EngineError::Process { model: model.clone(), detail };
        self.on_worker_exited(model, &error);
    }

    /// Does for a lane what can be done now: starts its worker, hands over requests, tells the others where they stand.
    pub(super) fn work(&mut self, model: &ModelId) {
        self.launch_if_due(model);
        self.dispatch(model);
        self.tell_waiting(model);
    }

    fn launch_if_due(&mut self, model: &ModelId) {
        let now = self.now();
        let lane =
            self.lanes.entry(model.clone()).or_insert_with(|| Lane::new(model.clone(), &self.settings));
        if lane.worker.is_some() || lane.retry_at.is_some_and(|at| at > now) {
            return;
        }
        lane.retry_at = None;
        if !self.has_room(model, now) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(model) else { return };
        lane.rest = None;
        self.incarnations += 1;
        let id = WorkerId { model: model.clone(), incarnation: self.incarnations };
        let link = Link::new("worker", 1);
        let vitals = link.vitals().clone();
        let args = WorkerArgs { id: id.clone(), engine: self.engine.clone(), pool: self.me.clone(), link };
        match spawn_worker(args) {
            Ok(cell) => {
                let file_bytes = self.shelf.on_disk().get(model).map_or(0, |footprint| footprint.file_bytes);
                let by_size = file_bytes / self.settings.load_bytes_per_second_min.max(1);
                lane.watchdog.launched(now, self.settings.load_timeout_min + Duration::from_secs(by_size));
                lane.ladder.launched();
                vitals.say(ActorState::Starting);
                lane.worker = Some(LaneWorker {
                    place: self.roster.lend(format!("{}/{id}", self.path), &vitals),
                    vitals,
                    id,
                    cell,
                    link: None,
                    percent: 0,
                    ready: false,
                    full_until: None,
                    killed_for: None,
                });
            }
            Err(error) => {
                lane.last_error = Some(format!("the worker of {model} failed: {error}"));
                lane.retry_at = Some(now + lane.ladder.crashed(now));
            }
        }
    }

    /// Whether a model may be loaded now. If another one has to leave for it, that begins here.
    fn has_room(&mut self, model: &ModelId, now: Duration) -> bool {
        let wanted_by = self.waiting.in_order(model);
        let (is_wanted, makes_room) =
            (!wanted_by.is_empty(), wanted_by.iter().any(|request| request.order.makes_room));
        let bytes = |model: &ModelId| self.shelf.on_disk().get(model).map_or(0, |found| found.memory_bytes);
        let loaded = self.lanes.values().filter(|lane| lane.worker.is_some());
        let tenants = loaded.map(|lane| Tenant {
            model: lane.model.clone(),
            bytes: bytes(&lane.model),
            is_busy: !lane.is_ready() || !lane.running.is_empty(),
            last_used: lane.last_used,
            is_settled: lane.is_ready() && now >= lane.ready_at + self.settings.residence_min,
        });
        // Who takes no memory here, because he computes elsewhere, has none to leave.
        let tenants = tenants.filter(|tenant| tenant.bytes > 0);
        let budget = self.settings.memory_bytes_max.unwrap_or(u64::MAX);
        let room = make_room(bytes(model), budget, tenants.collect());
        let Some(lane) = self.lanes.get_mut(model) else { return false };
        let (leave, drain) = match room {
            // Who left for another comes back when somebody wants him.
            Room::There if lane.rest == Some(Rest::Unwanted) && !is_wanted => return false,
            Room::There => return true,
            Room::After { .. } if !is_wanted => {
                lane.rest = Some(Rest::Unwanted);
                return false;
            }
            Room::After { leave, drain } => (leave, drain),
        };
        (lane.rest, lane.retry_at) = (Some(Rest::NoRoom), Some(now + ROOM_PERIOD));
        if !makes_room {
            return false;
        }
        for other in drain {
            self.lanes.get_mut(&other).into_iter().for_each(|lane| lane.is_draining = true);
        }
        for other in leave {
            let detail = format!("{other} left its memory to {model}");
            let killed = Killed { detail: detail.clone(), blame: Blame::Unloaded };
            let _told_by_its_end = self.lanes.get_mut(&other).map(|lane| lane.kill(killed));
        }
        false
    }

    fn dispatch(&mut self, model: &ModelId) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(model) else { return };
        while self.waiting.peek(model).is_some_and(|next| lane.has_room_for(next)) {
            let Some((ticket, request)) = self.waiting.next(model) else { return };
            if let Err(request) = lane.hand_over(now, request) {
                self.waiting.put_back(model, ticket, request);
            }
        }
    }

    fn take_back(&mut self, model: &ModelId, id: GenerationId, answered: bool) -> Option<Request> {
        let now = self.now();
        self.lanes.get_mut(model)?.take_back(now, id, answered)
    }

    /// The lane whose present worker this is.
    fn lane_of(&mut self, worker: &WorkerId) -> Option<&mut Lane> {
        let lane = self.lanes.get_mut(&worker.model)?;
        (lane.worker.as_ref()?.id == *worker).then_some(lane)
    }
}

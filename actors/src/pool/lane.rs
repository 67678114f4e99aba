//! One model in the pool: its worker, what runs in it, and how well it does.
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorCell;

use super::handle::GenerationEvent;
use super::ladder::{Ladder, LadderRules, Standing};
use super::request::Request;
use super::settings::PoolSettings;
use super::watchdog::{Fault, WatchRules, Watchdog};
use super::worker::WorkerId;
use crate::domain::{ActorState, GenerationId, ModelId, ModelState, ModelStatus};
use crate::insight::Vitals;
use crate::insight::roster::Place;
use crate::ports::WorkerLink;

/// A worker that took no request although a slot seemed free is asked again after this time, if no answer ends before.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(500);

/// Most requests without a slot at once: they wait for the step that the worker computes, and fewer than what it queues.
const LOOKUPS_MAX: usize = 16;

/// The worker of a lane, from its start to its end.
pub(super) struct LaneWorker {
    pub(super) id: WorkerId,
    /// Its actor.
    pub(super) cell: ActorCell,
    /// `None` until the process is started.
    pub(super) link: Option<Arc<dyn WorkerLink>>,
    pub(super) percent: u8,
    pub(super) ready: bool,
    /// It would take no request; until then it is not asked again.
    pub(super) full_until: Option<Duration>,
    /// Why it was killed, in words, if it was.
    pub(super) killed_for: Option<Killed>,
    /// What it shows of itself, and where.
    pub(super) vitals: Vitals,
    pub(super) place: Place,
}

/// Why a worker was killed.
#[derive(Debug, Clone)]
pub(super) struct Killed {
    pub(super) detail: String,
    pub(super) blame: Blame,
}

/// What it says about a model that its worker was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It speaks against the model and the requests that ran.
    Crash,
    /// It speaks against nobody: the model is started again at once.
    None,
    /// It made room for another model.
    Unloaded,
}

/// Why a model is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nobody wants it.
    Unwanted,
    /// It is wanted, and there is no room yet.
    NoRoom,
}

/// One model.
pub(super) struct Lane {
    pub(super) model: ModelId,
    pub(super) worker: Option<LaneWorker>,
    pub(super) running: BTreeMap<GenerationId, Request>,
    pub(super) ladder: Ladder,
    pub(super) watchdog: Watchdog,
    /// When the next worker is started, while there is none.
    pub(super) retry_at: Option<Duration>,
    /// Why there is no worker though none failed.
    pub(super) rest: Option<Rest>,
    /// It takes no more requests: another model waits for its memory.
    pub(super) is_draining: bool,
    /// When its worker became ready, and when it last took a request or ended one.
    pub(super) ready_at: Duration,
    pub(super) last_used: Duration,
    pub(super) slots: u32,
    pub(super) context_tokens: u32,
    pub(super) crashes: u32,
    pub(super) tokens: u64,
    /// Of the answers that have ended.
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) written_tokens: u64,
    pub(super) written_ms: u64,
    pub(super) last_error: Option<String>,
    request_crashes_max: u32,
}

impl Lane {
    pub(super) fn new(model: ModelId, settings: &PoolSettings) -> Self {
        let mut seed = DefaultHasher::new();
        model.hash(&mut seed);
        let ladder = LadderRules {
            backoff: settings.restart_backoff,
            crashes_max: settings.crashes_max,
            retry: settings.failed_retry,
        };
        let watch = WatchRules {
            progress_timeout: settings.progress_timeout,
            cancel_timeout: settings.cancel_timeout,
        };
        Self {
            model,
            worker: None,
            running: BTreeMap::new(),
            ladder: Ladder::new(ladder, seed.finish()),
            watchdog: Watchdog::new(watch),
            retry_at: None,
            rest: None,
            is_draining: false,
            ready_at: Duration::ZERO,
            last_used: Duration::ZERO,
            slots: 0,
            context_tokens: 0,
            crashes: 0,
            tokens: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            written_tokens: 0,
            written_ms: 0,
            last_error: None,
            request_crashes_max: settings.request_crashes_max,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.ready)
    }

    fn has_place_for(&self, next: &Request) -> bool {
        match next.takes_slot() {
            true => self.slots_used() < self.slots,
            false => self.running.len() < self.slots_used() as usize + LOOKUPS_MAX,
        }
    }

    /// Requests that run in slots.
    fn slots_used(&self) -> u32 {
        let taking = self.running.values().filter(|request| request.takes_slot()).count();
        u32::try_from(taking).unwrap_or(u32::MAX)
    }

    /// Whether this request can be handed over now.
    pub(super) fn has_room_for(&self, next: &Request) -> bool {
        let Some(worker) = &self.worker else { return false };
        let takes = worker.link.is_some() && worker.full_until.is_none() && self.watchdog.is_serving();
        let suspect = |request: &Request| request.is_suspect(self.request_crashes_max);
        let alone = self.running.is_empty();
        takes
            && !self.is_draining
            && self.has_place_for(next)
            && (alone || !suspect(next))
            && !self.running.values().any(suspect)
    }

    /// Hands a request over; gives it back if the worker does not take it.
    pub(super) fn hand_over(&mut self, now: Duration, request: Request) -> Result<(), Request> {
        let Some(worker) = &mut self.worker else { return Err(request) };
        let taken = worker.link.as_ref().is_some_and(|link| link.generate(request.for_worker()));
        if !taken {
            worker.full_until = Some(now + TURNED_AWAY_PAUSE);
            self.watchdog.turned_away(now);
            return Err(request);
        }
        self.watchdog.began(now);
        self.last_used = now;
        worker.vitals.say(ActorState::Running);
        let pid = worker.link.as_ref().and_then(|link| link.pid());
        request.tell(GenerationEvent::Begun { model: self.model.clone(), pid });
        self.running.insert(request.id, request);
        Ok(())
    }

    /// A request is no longer with the worker. `answered`: because it is complete.
    pub(super) fn take_back(&mut self, now: Duration, id: GenerationId, answered: bool) -> Option<Request> {
        let request = self.running.remove(&id)?;
        self.watchdog.ended(now, id, answered);
        self.last_used = now;
        if answered {
            self.ladder.succeeded();
        }
        if let Some(worker) = &mut self.worker {
            worker.full_until = None;
            if self.running.is_empty() {
                worker.vitals.say(ActorState::Ready);
            }
        }
        Some(request)
    }

    /// The worker says that all its slots are taken. Answers what it has to be killed for, if it says so too long.
    pub(super) fn turned_away(&mut self, now: Duration) -> Option<Fault> {
        let worker = self.worker.as_mut()?;
        worker.full_until = Some(now + TURNED_AWAY_PAUSE);
        self.watchdog.out_of_slots(now)
    }

    /// Asks the worker to end an answer.
    pub(super) fn cancel(&mut self, now: Duration, id: GenerationId) -> bool {
        let Some(request) = self.running.get_mut(&id) else { return false };
        request.cancelled = true;
        self.watchdog.cancelling(now, id);
        if let Some(link) = self.worker.as_ref().and_then(|worker| worker.link.as_ref()) {
            link.cancel(id);
        }
        true
    }

    /// Ends the worker's process. `false`: there is none yet that could say so.
    pub(super) fn kill(&mut self, killed: Killed) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        worker.killed_for.get_or_insert(killed);
        let Some(link) = &worker.link else { return false };
        link.kill();
        true
    }

    /// When something has to be done if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let full_until = self.worker.as_ref().and_then(|worker| worker.full_until);
        [self.retry_at, self.watchdog.deadline(), full_until].into_iter().flatten().min()
    }

    pub(super) fn status(&self, now: Duration, queued: usize) -> ModelStatus {
        let state = match (&self.worker, self.retry_at, self.ladder.standing(now)) {
            (Some(worker), ..) if worker.ready => ModelState::Ready,
            (Some(worker), ..) => ModelState::Loading { percent: worker.percent },
            (None, Some(_), Standing::Failed { retry_in }) => ModelState::Failed { retry_in },
            (None, ..) if self.rest == Some(Rest::NoRoom) => ModelState::AwaitingMemory,
            (None, ..) if self.rest == Some(Rest::Unwanted) => ModelState::Resting,
            (None, Some(at), _) => ModelState::Restarting { retry_in: at.saturating_sub(now) },
            (None, None, _) => ModelState::Idle,
        };
        let link = self.worker.as_ref().and_then(|worker| worker.link.as_ref());
        ModelStatus {
            id: self.model.clone(),
            state,
            pid: link.and_then(|link| link.pid()),
            processor: link.and_then(|link| link.processor()),
            slots: self.slots,
            slots_used: self.slots_used(),
            queued: u32::try_from(queued).unwrap_or(u32::MAX),
            context_tokens: self.context_tokens,
            crashes: self.crashes,
            tokens: self.tokens,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            written_tokens: self.written_tokens,
            written_ms: self.written_ms,
            last_error: self.last_error.clone(),
        }
    }
}

//! Every decision of a supervisor, as a pure machine: an event and the time go in, effects come out.
//!
//! Whoever carries out
//! [`Effect::Start`] answers with [`Event::Started`] or [`Event::StartFailed`], and each end of a child with
//! [`Event::Exited`], once. At most one start is under way, so that order is kept.
use std::time::Duration;

use super::child::{Child, Phase, Then, Window};
use super::events::{ChildRules, Effect, Event, PolicyRules, Refusal, Request};
use super::rules::{ChildStatus, Exceeded, ExitReason, Intensity, Restart, Strategy, SupervisionFact};

/// The machine.
#[derive(Debug)]
pub struct Policy {
    rules: PolicyRules,
    children: Vec<Child>,
    window: Window,
    generation: u64,
    random: u64,
    gave_up: bool,
    effects: Vec<Effect>,
}

impl Policy {
    /// A supervisor of these children, and the first effects. `seed` spreads the delays: equal seeds, equal delays.
    pub fn start(rules: PolicyRules, children: Vec<ChildRules>, seed: u64) -> (Self, Vec<Effect>) {
        let mut policy = Self {
            rules,
            children: children.into_iter().map(Child::due).collect(),
            window: Window::default(),
            generation: 0,
            random: seed,
            gave_up: false,
            effects: Vec::new(),
        };
        let effects = policy.settle();
        (policy, effects)
    }

    /// Something happened. `now` is the time since any fixed moment.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let (Event::Started { id }
        | Event::StartFailed { id, .. }
        | Event::Exited { id, .. }
        | Event::RestartDue { id, .. }) = &event;
        let Some(index) = self.index(id) else { return Vec::new() };
        let phase = self.children[index].phase;
        match event {
            Event::Started { .. } => self.on_started(index, now),
            Event::StartFailed { detail, .. } if phase == Phase::Starting => {
                self.on_ended(index, now, Duration::ZERO, &ExitReason::Abnormal { detail });
            }
            Event::StartFailed { .. } => {}
            Event::Exited { reason, .. } => match phase {
                Phase::Up { since } => self.on_ended(index, now, now.saturating_sub(since), &reason),
                Phase::Condemned => self.on_stopped(index, now, Then::Rejoin, reason),
                Phase::Stopping { then } => self.on_stopped(index, now, then, reason),
                Phase::Down
                | Phase::Due
                | Phase::Starting
                | Phase::Waiting { .. }
                | Phase::Quarantined { .. } => {}
            },
            Event::RestartDue { generation, .. } => {
                let child = &mut self.children[index];
                if phase == (Phase::Waiting { generation }) {
                    child.phase = Phase::Due;
                } else if phase == (Phase::Quarantined { generation }) {
                    child.phase = Phase::Due;
                    child.restarts = child.restarts.saturating_add(1);
                }
            }
        }
        self.settle()
    }

    /// Somebody asks for something.
    pub fn request(&mut self, request: Request) -> Result<Vec<Effect>, Refusal> {
        match request {
            Request::Start(rules) => self.on_start_request(rules)?,
            Request::Replace(rules) => match self.index(&rules.id) {
                Some(index) if matches!(self.children[index].phase, Phase::Up { .. }) => {
                    self.stop(index, Then::Replace);
                    self.children[index].rules = rules;
                }
                Some(_) | None => self.on_start_request(rules)?,
            },
            Request::Stop { id } => {
                let index = self.index(&id).ok_or(Refusal::NotFound)?;
                self.on_stop_request(index);
            }
            Request::Restart { id } => {
                let index = self.index(&id).ok_or(Refusal::NotFound)?;
                self.on_restart_request(index);
            }
        }
        Ok(self.settle())
    }

    /// The children that are up, last first.
    pub fn up_in_reverse(&self) -> Vec<String> {
        self.children.iter().rev().filter(|child| child.is_up()).map(|child| child.rules.id.clone()).collect()
    }

    /// A child was asked to stop and has not ended.
    pub fn is_stopping(&self, id: &str) -> bool {
        self.index(id).is_some_and(|index| matches!(self.children[index].phase, Phase::Stopping { .. }))
    }

    /// The children, in start order.
    pub fn statuses(&self) -> Vec<ChildStatus> {
        self.children.iter().map(Child::status).collect()
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.children.iter().position(|child| child.rules.id == id)
    }

    fn report(&mut self, fact: SupervisionFact) {
        self.effects.push(Effect::Report(fact));
    }

    fn on_started(&mut self, index: usize, now: Duration) {
        let id = self.children[index].rules.id.clone();
        if self.children[index].phase == Phase::Starting {
            self.children[index].phase = Phase::Up { since: now };
            self.report(SupervisionFact::ChildStarted { id });
        } else {
            // It was stopped while it was being started.
            self.stop(index, Then::StayDown);
        }
    }

    /// A child that was asked to stop has ended.
    fn on_stopped(&mut self, index: usize, now: Duration, then: Then, reason: ExitReason) {
        let Child { rules: ChildRules { id, restart, .. }, .. } = &self.children[index];
        let (id, temporary) = (id.clone(), *restart == Restart::Temporary);
        let abnormal = matches!(reason, ExitReason::Abnormal { .. });
        let reason = if abnormal { reason } else { ExitReason::Shutdown };
        self.report(SupervisionFact::ChildExited { id, reason: reason.clone() });
        self.children[index].phase = Phase::Down;
        if abnormal {
            self.children[index].last_error = Some(reason.to_string());
        }
        match then {
            Then::Start => self.children[index].phase = Phase::Due,
            Then::Replace => {
                self.children[index].phase = Phase::Due;
                if abnormal && temporary {
                    self.count_temporary(index, now, &reason);
                }
            }
            Then::Rejoin if !temporary => self.children[index].phase = Phase::Due,
            Then::StayDown | Then::Rejoin => self.forget_if_temporary(index),
        }
    }

    /// A child has ended by itself, or could not be started.
    fn on_ended(&mut self, index: usize, now: Duration, ran: Duration, reason: &ExitReason) {
        let child = &mut self.children[index];
        child.phase = Phase::Down;
        let abnormal = matches!(reason, ExitReason::Abnormal { .. });
        if abnormal {
            child.last_error = Some(reason.to_string());
        }
        let ChildRules { id, restart, significant, .. } = child.rules.clone();
        self.report(SupervisionFact::ChildExited { id: id.clone(), reason: reason.clone() });
        if abnormal && significant {
            return self.give_up(format!("`{id}` failed: {reason}"));
        }
        match restart {
            Restart::Temporary => {
                if abnormal {
                    self.count_temporary(index, now, reason);
                }
                self.forget_if_temporary(index);
            }
            Restart::Transient if !abnormal => {}
            Restart::Transient | Restart::Permanent => self.restart(index, now, ran, reason),
        }
    }

    fn restart(&mut self, index: usize, now: Duration, ran: Duration, reason: &ExitReason) {
        let jitter = self.jitter();
        let child = &mut self.children[index];
        if ran >= child.rules.backoff.max {
            child.attempt = 0;
        }
        if let Exceeded::Quarantine { retry_after } = self.rules.exceeded
            && child.on_trial
        {
            if ran < retry_after {
                return self.quarantine(index, retry_after, reason);
            }
            child.on_trial = false;
            child.window = Window::default();
        }
        let window = match self.rules.exceeded {
            Exceeded::GiveUp => &mut self.window,
            Exceeded::Quarantine { .. } => &mut child.window,
        };
        if window.admit(now, self.rules.intensity) {
            let delay = child.rules.backoff.delay(child.attempt, jitter);
            child.attempt = child.attempt.saturating_add(1);
            self.wait(index, delay);
            if self.rules.strategy == Strategy::RestForOne {
                self.condemn_after(index);
            }
            return;
        }
        match self.rules.exceeded {
            Exceeded::GiveUp => self.give_up(self.exceeded_by(index, reason)),
            Exceeded::Quarantine { retry_after } => self.quarantine(index, retry_after, reason),
        }
    }

    fn wait(&mut self, index: usize, after: Duration) {
        let generation = self.schedule(index, after);
        let child = &mut self.children[index];
        child.phase = Phase::Waiting { generation };
        child.restarts = child.restarts.saturating_add(1);
        let id = child.rules.id.clone();
        self.report(SupervisionFact::ChildRestarting { id, delay: after });
    }

    /// Puts a child aside until its next trial, which is ended by its first failure.
    fn quarantine(&mut self, index: usize, retry_after: Duration, reason: &ExitReason) {
        let generation = self.schedule(index, retry_after);
        let words =
            if self.children[index].on_trial { reason.to_string() } else { self.exceeded_by(index, reason) };
        let child = &mut self.children[index];
        child.on_trial = true;
        child.phase = Phase::Quarantined { generation };
        let id = child.rules.id.clone();
        self.report(SupervisionFact::ChildQuarantined { id, reason: words, retry_after });
    }

    fn schedule(&mut self, index: usize, after: Duration) -> u64 {
        self.generation += 1;
        let (id, generation) = (self.children[index].rules.id.clone(), self.generation);
        self.effects.push(Effect::ScheduleRestart { id, after, generation });
        generation
    }

    fn condemn_after(&mut self, index: usize) {
        for child in &mut self.children[index + 1..] {
            if matches!(child.phase, Phase::Up { .. }) {
                child.phase = Phase::Condemned;
            }
        }
    }

    fn count_temporary(&mut self, index: usize, now: Duration, reason: &ExitReason) {
        if self.rules.count_temporary && !self.window.admit(now, self.rules.intensity) {
            self.give_up(self.exceeded_by(index, reason));
        }
    }

    fn exceeded_by(&self, index: usize, reason: &ExitReason) -> String {
        let Intensity { restarts_max, period } = self.rules.intensity;
        let id = &self.children[index].rules.id;
        format!("more than {restarts_max} failures within {period:?}, the last one of `{id}`: {reason}")
    }

    fn give_up(&mut self, reason: String) {
        self.gave_up = true;
        self.report(SupervisionFact::GaveUp { reason: reason.clone() });
        self.effects.push(Effect::GiveUp { reason });
    }

    fn forget_if_temporary(&mut self, index: usize) {
        if self.children[index].rules.restart == Restart::Temporary {
            let id = self.children.remove(index).rules.id;
            self.effects.push(Effect::Forget { id });
        }
    }

    fn on_start_request(&mut self, rules: ChildRules) -> Result<(), Refusal> {
        let Some(index) = self.index(&rules.id) else {
            self.children.push(Child::due(rules));
            return Ok(());
        };
        let child = &mut self.children[index];
        match child.phase {
            Phase::Down => *child = Child::due(rules),
            Phase::Stopping { .. } => {
                *child = Child { phase: Phase::Stopping { then: Then::Start }, ..Child::due(rules) };
            }
            Phase::Quarantined { .. } => return Err(Refusal::Quarantined),
            Phase::Due | Phase::Starting | Phase::Up { .. } | Phase::Condemned | Phase::Waiting { .. } => {
                return Err(Refusal::AlreadyRunning);
            }
        }
        Ok(())
    }

    fn on_stop_request(&mut self, index: usize) {
        match self.children[index].phase {
            Phase::Up { .. } | Phase::Condemned => self.stop(index, Then::StayDown),
            Phase::Stopping { .. } => {
                self.children[index].phase = Phase::Stopping { then: Then::StayDown };
            }
            Phase::Due | Phase::Starting | Phase::Waiting { .. } => {
                self.children[index].phase = Phase::Down;
                self.forget_if_temporary(index);
            }
            // Whoever stops it has seen it: it is stopped as any other, and may be replaced.
            Phase::Quarantined { .. } => self.children[index].phase = Phase::Down,
            Phase::Down => {}
        }
    }

    fn on_restart_request(&mut self, index: usize) {
        let child = &mut self.children[index];
        let phase = child.phase;
        *child = Child { phase, ..Child::due(child.rules.clone()) };
        match phase {
            Phase::Up { .. } | Phase::Condemned => self.stop(index, Then::Start),
            Phase::Stopping { .. } => child.phase = Phase::Stopping { then: Then::Start },
            Phase::Down | Phase::Waiting { .. } | Phase::Quarantined { .. } => child.phase = Phase::Due,
            Phase::Due | Phase::Starting => {}
        }
    }

    fn stop(&mut self, index: usize, then: Then) {
        self.children[index].phase = Phase::Stopping { then };
        let id = self.children[index].rules.id.clone();
        self.effects.push(Effect::Stop { id });
    }

    /// Does what the children's phases allow now: the next stop in reverse order, the next start in order.
    fn settle(&mut self) -> Vec<Effect> {
        if !self.gave_up {
            self.stop_last_condemned();
            self.start_first_due();
        }
        std::mem::take(&mut self.effects)
    }

    fn stop_last_condemned(&mut self) {
        let going = |child: &Child| matches!(child.phase, Phase::Condemned | Phase::Stopping { .. });
        if let Some(last) = self.children.iter().rposition(going)
            && self.children[last].phase == Phase::Condemned
        {
            self.stop(last, Then::Rejoin);
        }
    }

    fn start_first_due(&mut self) {
        if self.children.iter().any(|child| child.phase == Phase::Starting) {
            return;
        }
        let due = |index: &usize| self.children[*index].phase == Phase::Due && self.may_start(*index);
        if let Some(index) = (0..self.children.len()).find(due) {
            self.children[index].phase = Phase::Starting;
            let id = self.children[index].rules.id.clone();
            self.effects.push(Effect::Start { id });
        }
    }

    /// Under [`Strategy::RestForOne`] a child starts when those before it are up, or stay down, and those after it
    /// have been stopped.
    fn may_start(&self, index: usize) -> bool {
        if self.rules.strategy == Strategy::OneForOne {
            return true;
        }
        let (before, after) = (&self.children[..index], &self.children[index + 1..]);
        before.iter().all(|child| match child.phase {
            Phase::Down | Phase::Up { .. } | Phase::Quarantined { .. } => true,
            Phase::Stopping { then } => then == Then::StayDown,
            Phase::Due | Phase::Starting | Phase::Waiting { .. } | Phase::Condemned => false,
        }) && after
            .iter()
            .all(|child| !matches!(child.phase, Phase::Condemned | Phase::Stopping { then: Then::Rejoin }))
    }

    /// 0 to 1, by SplitMix64.
    fn jitter(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
    }
}

//! The policy against tables of what must happen, and against random lives.
//!
//! A bench carries the effects out: starts succeed or fail as told, a stop is answered when the test says so, and
//! timers fire when time passes. What happened is read as a line of words.
mod lives;
mod tables;

use std::collections::BTreeSet;
use std::time::Duration;

use super::events::{ChildRules, Effect, Event, PolicyRules, Refusal, Request};
use super::policy::Policy;
use super::rules::{Backoff, Exceeded, ExitReason, Intensity, Restart, Strategy, SupervisionFact};
use crate::domain::ActorState;

const SECOND: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(60);
const QUARANTINE: Exceeded = Exceeded::Quarantine { retry_after: RETRY };

fn rules(strategy: Strategy, exceeded: Exceeded) -> PolicyRules {
    let intensity = Intensity { restarts_max: 2, period: 10 * SECOND };
    PolicyRules { strategy, intensity, exceeded, count_temporary: true }
}

fn child(id: &str, restart: Restart) -> ChildRules {
    ChildRules {
        id: id.to_owned(),
        restart,
        backoff: Backoff { first: SECOND, max: 4 * SECOND },
        significant: false,
    }
}

fn children(ids: &str, restart: Restart) -> Vec<ChildRules> {
    ids.split(' ').map(|id| child(id, restart)).collect()
}

struct Bench {
    policy: Policy,
    now: Duration,
    timers: Vec<(Duration, String, u64)>,
    /// Timers that have fired, to fire again.
    fired: Vec<(String, u64)>,
    unstartable: BTreeSet<String>,
    up: BTreeSet<String>,
    log: Vec<String>,
    /// When which child's ordinary restart was decided.
    decided: Vec<(Duration, String)>,
}

impl Bench {
    fn new(rules: PolicyRules, children: Vec<ChildRules>, unstartable: &str) -> Self {
        let (policy, effects) = Policy::start(rules, children, 7);
        let mut bench = Self {
            policy,
            now: Duration::ZERO,
            timers: Vec::new(),
            fired: Vec::new(),
            unstartable: unstartable.split(' ').map(str::to_owned).collect(),
            up: BTreeSet::new(),
            log: Vec::new(),
            decided: Vec::new(),
        };
        bench.carry_out(effects);
        bench
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start { id } if self.unstartable.contains(&id) => {
                    self.log.push(format!("try {id}"));
                    self.on(Event::StartFailed { id, detail: "broken".into() });
                }
                Effect::Start { id } => {
                    assert!(self.up.insert(id.clone()), "{id} was started twice: {:?}", self.log);
                    self.log.push(format!("start {id}"));
                    self.on(Event::Started { id });
                }
                Effect::Stop { id } => {
                    assert!(self.up.contains(&id), "{id} is not up: {:?}", self.log);
                    self.log.push(format!("stop {id}"));
                }
                Effect::ScheduleRestart { id, after, generation } => {
                    self.log.push(format!("wait {id}"));
                    if self.state(&id) != ActorState::Quarantined {
                        self.decided.push((self.now, id.clone()));
                    }
                    self.timers.push((self.now + after, id, generation));
                }
                Effect::Forget { id } => self.log.push(format!("forget {id}")),
                Effect::Report(SupervisionFact::ChildQuarantined { id, .. }) => {
                    self.log.push(format!("quarantine {id}"));
                }
                Effect::Report(_) => {}
                Effect::GiveUp { .. } => self.log.push("give up".into()),
            }
        }
    }

    fn on(&mut self, event: Event) {
        let effects = self.policy.on(self.now, event);
        self.carry_out(effects);
    }

    fn exit(&mut self, id: &str, reason: ExitReason) {
        if self.up.remove(id) {
            self.on(Event::Exited { id: id.into(), reason });
        }
    }

    fn crash(&mut self, id: &str) {
        self.exit(id, ExitReason::abnormal("crashed"));
    }

    fn request(&mut self, request: Request) -> Result<(), Refusal> {
        let effects = self.policy.request(request)?;
        self.carry_out(effects);
        Ok(())
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = (self.timers.iter().position(|timer| timer.0 <= end))
            .and_then(|_| (0..self.timers.len()).min_by_key(|&timer| self.timers[timer].0))
        {
            let (due, id, generation) = self.timers.remove(next);
            self.now = due.max(self.now);
            self.fired.push((id.clone(), generation));
            self.on(Event::RestartDue { id, generation });
        }
        self.now = end;
    }

    fn state(&self, id: &str) -> ActorState {
        let statuses = self.policy.statuses();
        statuses.into_iter().find(|child| child.id == id).map_or(ActorState::Stopped, |child| child.state)
    }
}

fn stop(id: &str) -> Request {
    Request::Stop { id: id.into() }
}

fn restart(id: &str) -> Request {
    Request::Restart { id: id.into() }
}

const ONE: Strategy = Strategy::OneForOne;
const REST: Strategy = Strategy::RestForOne;

//! The policy alone: whatever it wants done is done at once, and its timers fire late, when the model says.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use archond_actors::supervision::events::{Effect, Event, Refusal, Request};
use archond_actors::supervision::policy::Policy;
use archond_actors::supervision::{ExitReason, SupervisionFact};
use proptest_state_machine::StateMachineTest;

use super::ideal::Ideal;
use super::record::{Record, alive_in, shown, shown_by};
use super::story::{Cause, Step, Story};
use super::words::{Answer, Deed, Id, Wanted};

/// Who carries out what the policy wants.
pub(crate) struct Bench {
    policy: Option<Policy>,
    now: Duration,
    /// When it is due, whom it is for, and the number that it carries.
    timers: Vec<(Duration, String, u64)>,
    /// How each child was wanted last.
    wanted: Vec<Wanted>,
    up: Vec<String>,
    jinxed: BTreeMap<Id, u32>,
    record: Record,
}

impl Bench {
    fn on(&mut self, model: &Ideal, event: Event) {
        let Some(policy) = &mut self.policy else { return };
        let effects = policy.on(self.now, event);
        self.carry_out(model, effects);
    }

    fn request(&mut self, model: &Ideal, request: Request) -> Result<(), Refusal> {
        let effects = self.policy.as_mut().unwrap().request(request)?;
        self.carry_out(model, effects);
        Ok(())
    }

    fn carry_out(&mut self, model: &Ideal, effects: Vec<Effect>) {
        let mut events = VecDeque::new();
        let mut effects = effects;
        loop {
            for effect in effects {
                match effect {
                    // Starts are waited for, ends are not.
                    Effect::Start { id } => events.push_front(self.start(id)),
                    Effect::Stop { id } => events.push_back(self.stop(&id)),
                    Effect::ScheduleRestart { id, after, generation } => {
                        let due = self.now + self.unjittered(model, &id).unwrap_or(after);
                        self.timers.push((due, id, generation));
                    }
                    Effect::Forget { id } => {
                        assert!(!self.up.contains(&id), "{id} is forgotten while it is up")
                    }
                    Effect::Report(fact) => self.record.add(self.now, fact),
                    Effect::GiveUp { .. } => return self.end_all(),
                }
            }
            let Some(event) = events.pop_front() else { return };
            let Some(policy) = &mut self.policy else { return };
            effects = policy.on(self.now, event);
        }
    }

    fn start(&mut self, id: String) -> Event {
        assert!(!self.up.contains(&id), "{id} is started while it is up");
        match self.jinxed.get_mut(id.as_str()).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                Event::StartFailed { id, detail: "jinxed".into() }
            }
            None => {
                self.up.push(id.clone());
                Event::Started { id }
            }
        }
    }

    fn stop(&mut self, id: &str) -> Event {
        self.ended(id);
        let brutal = self.wanted.iter().rfind(|wanted| wanted.rules.id == id).unwrap().brutal;
        let reason = if brutal { ExitReason::abnormal("killed") } else { ExitReason::Shutdown };
        Event::Exited { id: id.to_owned(), reason }
    }

    fn ended(&mut self, id: &str) {
        let place = self.up.iter().position(|up| up == id);
        self.up.remove(place.unwrap_or_else(|| panic!("{id} is stopped, and is not up")));
    }

    /// The delay that the model expects next for this child, which is the longest that jitter leaves.
    fn unjittered(&self, model: &Ideal, id: &str) -> Option<Duration> {
        let expected = model.deeds.get(self.record.len().saturating_sub(1)..)?;
        expected.iter().find_map(|deed| match deed {
            Deed::Delayed(of, delay) | Deed::Quarantined(of, delay) if of == id => Some(*delay),
            _ => None,
        })
    }

    fn end_all(&mut self) {
        let Some(policy) = self.policy.take() else { return };
        for id in policy.up_in_reverse() {
            let Event::Exited { reason, .. } = self.stop(&id) else { continue };
            self.record.add(self.now, SupervisionFact::ChildExited { id, reason });
        }
        assert_eq!(self.up, [""; 0], "left behind");
        self.timers.clear();
    }

    fn pass(&mut self, model: &Ideal, time: Duration) {
        let end = self.now + time;
        // The first of those that are due first.
        while let Some(next) = (0..self.timers.len()).min_by_key(|index| self.timers[*index].0)
            && self.timers[next].0 <= end
        {
            let (due, id, generation) = self.timers.remove(next);
            self.now = due;
            self.on(model, Event::RestartDue { id: id.clone(), generation });
            // A timer that fires twice, or after something has overtaken it, changes nothing.
            if let Some(policy) = &mut self.policy {
                assert_eq!(policy.on(due, Event::RestartDue { id, generation }), [], "the second time");
            }
        }
        self.now = end;
    }

    fn begin(&mut self, model: &Ideal) {
        self.wanted.clone_from(&model.plan);
        let children = model.plan.iter().map(|wanted| wanted.rules.clone()).collect();
        let (policy, effects) = Policy::start(model.rules, children, 7);
        self.policy = Some(policy);
        self.carry_out(model, effects);
    }

    fn take(&mut self, model: &Ideal, step: Step) -> Result<(), Refusal> {
        match step {
            Step::Ends(id, cause) => {
                self.ended(id);
                let reason =
                    if cause == Cause::Itself { ExitReason::Normal } else { ExitReason::abnormal("broken") };
                self.on(model, Event::Exited { id: id.into(), reason });
            }
            Step::Pass(time) => self.pass(model, time),
            Step::Start(wanted) => {
                let rules = wanted.rules.clone();
                self.wanted.push(wanted);
                let started = self.request(model, Request::Start(rules));
                if started.is_err() {
                    self.wanted.pop();
                }
                return started;
            }
            Step::Stop(id) => return self.request(model, Request::Stop { id: id.into() }),
            Step::Restart(id) => return self.request(model, Request::Restart { id: id.into() }),
            Step::Jinx(id, starts) => drop(self.jinxed.insert(id, starts)),
            Step::ShutDown => self.end_all(),
            Step::Begin => self.begin(model),
        }
        Ok(())
    }
}

impl StateMachineTest for Bench {
    type SystemUnderTest = Self;
    type Reference = Story<true>;

    fn init_test(model: &Ideal) -> Self {
        Self {
            policy: None,
            now: Duration::ZERO,
            timers: Vec::new(),
            wanted: Vec::new(),
            up: Vec::new(),
            jinxed: BTreeMap::new(),
            record: Record::new(model.rules),
        }
    }

    fn apply(mut bench: Self, model: &Ideal, step: Step) -> Self {
        bench.record.begin(&step, model);
        let answered = bench.take(model, step.clone());
        let refusal = model.answers.values().find_map(|answer| match answer {
            Answer::Refused(refusal) => Some(*refusal),
            _ => None,
        });
        assert_eq!(answered.err(), refusal, "{step:?}");
        bench.record.check(&step, model);
        bench
    }

    fn check_invariants(bench: &Self, model: &Ideal) {
        assert_eq!(bench.policy.is_none(), model.over);
        let statuses = bench.policy.as_ref().map(Policy::statuses).unwrap_or_default();
        assert_eq!(shown(statuses), shown_by(model));
        let mut up = bench.up.clone();
        up.sort();
        assert_eq!(up, alive_in(model));
    }
}

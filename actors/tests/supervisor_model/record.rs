//! What a supervisor was seen to do, held against the model, and against its intensity without the model's help.
use std::collections::BTreeMap;
use std::time::Duration;

use archond_actors::domain::ActorState;
use archond_actors::supervision::events::PolicyRules;
use archond_actors::supervision::{ChildStatus, Exceeded, ExitReason, SupervisionFact};

use super::ideal::{Ideal, Kid};
use super::story::Step;
use super::words::{Answer, Deed, How};

/// A child as it is shown: its name, state, restarts, and whether it has a last error.
type Shown = (String, ActorState, u32, bool);

pub(crate) struct Record {
    rules: PolicyRules,
    deeds: Vec<Deed>,
    /// When restarts were decided: by child where they are counted so, else all under one name.
    restarts: BTreeMap<String, Vec<Duration>>,
}

impl Record {
    pub(crate) fn new(rules: PolicyRules) -> Self {
        Self { rules, deeds: Vec::new(), restarts: BTreeMap::new() }
    }

    /// Something is about to happen; the model knows what comes of it.
    pub(crate) fn begin(&mut self, step: &Step, model: &Ideal) {
        self.deeds.clear();
        let refused = model.answers.values().any(|answer| matches!(answer, Answer::Refused(_)));
        match step {
            Step::Begin => self.restarts.clear(),
            // Its record is clean from here on.
            Step::Restart(id) | Step::Stop(id) if self.counts_each() => drop(self.restarts.remove(*id)),
            Step::Start(wanted) if self.counts_each() && !refused => {
                self.restarts.remove(&wanted.rules.id);
            }
            _ => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.deeds.len()
    }

    /// Nobody is restarted more often within a period than the intensity permits.
    pub(crate) fn add(&mut self, now: Duration, fact: SupervisionFact) {
        let deed = deed(fact);
        match &deed {
            Deed::Delayed(id, _) => {
                let whose = if self.counts_each() { id.clone() } else { "all".into() };
                let times = self.restarts.entry(whose).or_default();
                times.retain(|at| now - *at < self.rules.intensity.period);
                times.push(now);
                let many = times.len() > self.rules.intensity.restarts_max as usize;
                assert!(!many, "restarted at {times:?} under {:?}", self.rules);
            }
            // Having stayed up for as long as it was put aside, it will be as good as any.
            Deed::Quarantined(id, _) => drop(self.restarts.remove(id)),
            Deed::Started(_) | Deed::Ended(..) | Deed::GaveUp => {}
        }
        self.deeds.push(deed);
    }

    pub(crate) fn check(&self, step: &Step, model: &Ideal) {
        let alike = self.deeds.len() == model.deeds.len()
            && self.deeds.iter().zip(&model.deeds).all(|(seen, expected)| same(seen, expected));
        assert!(alike, "{step:?} led to\n{:?}, not to\n{:?}", self.deeds, model.deeds);
    }

    fn counts_each(&self) -> bool {
        matches!(self.rules.exceeded, Exceeded::Quarantine { .. })
    }
}

/// Of a delay, up to a quarter may be missing.
fn same(seen: &Deed, expected: &Deed) -> bool {
    match (seen, expected) {
        (Deed::Delayed(id, seen), Deed::Delayed(of, full)) => {
            id == of && seen <= full && *seen + Duration::from_nanos(1) >= *full * 3 / 4
        }
        (seen, expected) => seen == expected,
    }
}

/// The fact in the model's words.
fn deed(fact: SupervisionFact) -> Deed {
    match fact {
        SupervisionFact::ChildStarted { id } => Deed::Started(id),
        SupervisionFact::ChildExited { id, reason } => {
            let how = match reason {
                ExitReason::Normal => How::Normal,
                ExitReason::Shutdown => How::Shutdown,
                ExitReason::Abnormal { .. } => How::Abnormal,
            };
            Deed::Ended(id, how)
        }
        SupervisionFact::ChildRestarting { id, delay } => Deed::Delayed(id, delay),
        SupervisionFact::ChildQuarantined { id, retry_after, .. } => Deed::Quarantined(id, retry_after),
        SupervisionFact::GaveUp { .. } => Deed::GaveUp,
    }
}

pub(crate) fn shown(children: Vec<ChildStatus>) -> Vec<Shown> {
    let show = |child: ChildStatus| (child.id, child.state, child.restarts, child.last_error.is_some());
    children.into_iter().map(show).collect()
}

pub(crate) fn shown_by(model: &Ideal) -> Vec<Shown> {
    model.kids.iter().map(Kid::shown).collect()
}

/// The names of those that must be alive, sorted.
pub(crate) fn alive_in(model: &Ideal) -> Vec<String> {
    let mut alive: Vec<_> =
        model.kids.iter().filter(|kid| kid.is_alive()).map(|kid| kid.id().to_owned()).collect();
    alive.sort();
    alive
}

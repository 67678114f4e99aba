//! A supervisor as OTP's principles and our words for them have it, without actors, mailboxes or phases: a stop takes
//! no time, a start takes no time, and whatever follows from something has followed before the next thing happens.
use std::collections::BTreeMap;
use std::time::Duration;

use archond_actors::domain::ActorState;
use archond_actors::supervision::events::{ChildRules, PolicyRules, Refusal};
use archond_actors::supervision::{Exceeded, Restart, Strategy};

use super::words::{Answer, Deed, How, Id, Wanted};

/// Where a child is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Alive {
        since: Duration,
    },
    /// It will start as soon as its siblings allow it.
    Queued,
    /// It waits for its restart. Of two that are due together, the one that waits longer comes first.
    Waiting {
        due: Duration,
        order: u64,
    },
    /// As `Waiting`, after too many failures.
    Quarantined {
        due: Duration,
        order: u64,
    },
    Down,
}

/// What becomes of a child that failed.
enum Verdict {
    Again,
    PutAside(Duration),
    GiveUp,
}

#[derive(Debug, Clone)]
pub(crate) struct Kid {
    pub(crate) wanted: Wanted,
    pub(crate) fate: Fate,
    /// Restarts since it was healthy last: each doubles the delay.
    in_a_row: u32,
    on_trial: bool,
    /// When it was restarted.
    history: Vec<Duration>,
    restarts: u32,
    failed_once: bool,
    /// Who waits for it to be up.
    callers: Vec<u64>,
}

/// The whole supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Ideal {
    pub(crate) rules: PolicyRules,
    pub(crate) now: Duration,
    pub(crate) kids: Vec<Kid>,
    /// It gave up, was shut down, or has not begun.
    pub(crate) over: bool,
    /// What it was made from, and is made from again.
    pub(crate) plan: Vec<Wanted>,
    /// How many of a child's next starts fail.
    pub(crate) jinxed: BTreeMap<Id, u32>,
    /// When any child was restarted, or a temporary one failed.
    history: Vec<Duration>,
    orders: u64,
    calls: u64,
    /// What the last transition led to.
    pub(crate) deeds: Vec<Deed>,
    /// What was answered since the last transition began, by number of the call.
    pub(crate) answers: BTreeMap<u64, Answer>,
}

impl Kid {
    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            fate: Fate::Queued,
            in_a_row: 0,
            on_trial: false,
            history: Vec::new(),
            restarts: 0,
            failed_once: false,
            callers: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.wanted.rules.id
    }

    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.fate, Fate::Alive { .. })
    }

    /// What the supervisor shows of it: its name, state, restarts, and whether it has a last error.
    pub(crate) fn shown(&self) -> (String, ActorState, u32, bool) {
        let state = match self.fate {
            Fate::Alive { .. } => ActorState::Ready,
            Fate::Queued | Fate::Waiting { .. } => ActorState::Starting,
            Fate::Quarantined { .. } => ActorState::Quarantined,
            Fate::Down => ActorState::Stopped,
        };
        (self.id().to_owned(), state, self.restarts, self.failed_once)
    }

    /// As when it was added.
    fn forget_the_past(&mut self) {
        let fresh = Self::new(self.wanted.clone());
        let (fate, callers) = (self.fate, std::mem::take(&mut self.callers));
        *self = Self { fate, callers, ..fresh };
    }
}

/// Counts a restart unless there were as many as are borne within one period.
fn admit(history: &mut Vec<Duration>, rules: &PolicyRules, now: Duration) -> bool {
    let recent = history.iter().filter(|at| now - **at < rules.intensity.period).count();
    let admitted = recent < rules.intensity.restarts_max as usize;
    if admitted {
        history.push(now);
    }
    admitted
}

/// What happens to it.
impl Ideal {
    /// One that has not begun.
    pub(crate) fn new(rules: PolicyRules, plan: Vec<Wanted>) -> Self {
        Self {
            rules,
            now: Duration::ZERO,
            kids: Vec::new(),
            over: true,
            plan,
            jinxed: BTreeMap::new(),
            history: Vec::new(),
            orders: 0,
            calls: 0,
            deeds: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// A fresh incarnation: nothing is left of the one before.
    pub(crate) fn begin(&mut self) {
        self.over = false;
        self.history.clear();
        self.kids = self.plan.iter().cloned().map(Kid::new).collect();
        self.start_what_may_start();
    }

    pub(crate) fn forget_the_last_transition(&mut self) {
        self.deeds.clear();
        self.answers.clear();
    }

    pub(crate) fn ends(&mut self, id: Id, how: How) {
        let Some(index) = self.index(id) else { return };
        let Fate::Alive { since } = self.kids[index].fate else { return };
        self.ended_by_itself(index, self.now - since, how);
        self.start_what_may_start();
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((index, due)) = self.next_timer().filter(|(_, due)| *due <= end && !self.over) {
            self.now = due;
            let kid = &mut self.kids[index];
            kid.restarts += u32::from(matches!(kid.fate, Fate::Quarantined { .. }));
            kid.fate = Fate::Queued;
            self.start_what_may_start();
        }
        self.now = end;
    }

    pub(crate) fn asked_to_start(&mut self, wanted: Wanted) {
        let call = self.next_call();
        let index = self.index(&wanted.rules.id).unwrap_or(self.kids.len());
        let mut kid = Kid::new(wanted);
        kid.callers.push(call);
        match self.kids.get(index).map(|known| known.fate) {
            None => self.kids.push(kid),
            Some(Fate::Down) => self.kids[index] = kid,
            Some(Fate::Quarantined { .. }) => self.answer(call, Answer::Refused(Refusal::Quarantined)),
            Some(Fate::Alive { .. } | Fate::Queued | Fate::Waiting { .. }) => {
                self.answer(call, Answer::Refused(Refusal::AlreadyRunning));
            }
        }
        self.start_what_may_start();
    }

    pub(crate) fn asked_to_stop(&mut self, id: Id) {
        let call = self.next_call();
        let Some(index) = self.index(id) else {
            return self.answer(call, Answer::Refused(Refusal::NotFound));
        };
        for caller in std::mem::take(&mut self.kids[index].callers) {
            self.answer(caller, Answer::Overtaken);
        }
        self.answer(call, Answer::Done);
        if self.kids[index].is_alive() {
            self.stop(index);
        }
        self.kids[index].fate = Fate::Down;
        self.forget_if_temporary(index);
        self.start_what_may_start();
    }

    pub(crate) fn asked_to_restart(&mut self, id: Id) {
        let call = self.next_call();
        let Some(index) = self.index(id) else {
            return self.answer(call, Answer::Refused(Refusal::NotFound));
        };
        self.kids[index].forget_the_past();
        self.kids[index].callers.push(call);
        if self.kids[index].is_alive() {
            self.stop(index);
        }
        self.kids[index].fate = Fate::Queued;
        self.start_what_may_start();
    }

    pub(crate) fn shut_down(&mut self) {
        self.over = true;
        for index in
            (0..self.kids.len()).rev().filter(|index| self.kids[*index].is_alive()).collect::<Vec<_>>()
        {
            self.stop(index);
        }
        for caller in self.kids.iter().flat_map(|kid| kid.callers.clone()).collect::<Vec<_>>() {
            self.answer(caller, Answer::Lost);
        }
        self.kids.clear();
    }
}

/// What it does about it.
impl Ideal {
    /// In order. Under `RestForOne` a child waits for those before it, unless they are down, or in quarantine.
    fn start_what_may_start(&mut self) {
        while let Some(index) = (0..self.kids.len()).find(|index| self.may_start(*index) && !self.over) {
            self.start(index);
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let holds_up = |kid: &Kid| matches!(kid.fate, Fate::Queued | Fate::Waiting { .. });
        let alone = self.rules.strategy == Strategy::OneForOne;
        self.kids[index].fate == Fate::Queued && (alone || !self.kids[..index].iter().any(holds_up))
    }

    fn start(&mut self, index: usize) {
        let now = self.now;
        let kid = &mut self.kids[index];
        let callers = std::mem::take(&mut kid.callers);
        let jinx = self.jinxed.iter_mut().find(|(id, left)| **id == kid.wanted.rules.id && **left > 0);
        let failed = jinx.map(|(_, left)| *left -= 1).is_some();
        let answer = if failed { Answer::StartFailed } else { Answer::Done };
        if failed {
            self.ended_by_itself(index, Duration::ZERO, How::Abnormal);
        } else {
            kid.fate = Fate::Alive { since: now };
            let id = kid.id().to_owned();
            self.deeds.push(Deed::Started(id));
        }
        for caller in callers {
            self.answer(caller, answer);
        }
    }

    fn stop(&mut self, index: usize) {
        let kid = &mut self.kids[index];
        let how = if kid.wanted.brutal { How::Abnormal } else { How::Shutdown };
        kid.failed_once |= kid.wanted.brutal;
        self.deeds.push(Deed::Ended(kid.id().to_owned(), how));
    }

    fn ended_by_itself(&mut self, index: usize, ran: Duration, how: How) {
        let kid = &mut self.kids[index];
        let failed = how == How::Abnormal;
        kid.fate = Fate::Down;
        kid.failed_once |= failed;
        self.deeds.push(Deed::Ended(kid.id().to_owned(), how));
        let ChildRules { restart, significant, .. } = kid.wanted.rules.clone();
        if failed && significant {
            return self.give_up();
        }
        match restart {
            Restart::Temporary => {
                let counted = failed && self.rules.count_temporary;
                self.forget_if_temporary(index);
                if counted && !admit(&mut self.history, &self.rules, self.now) {
                    self.give_up();
                }
            }
            Restart::Transient if !failed => {}
            Restart::Transient | Restart::Permanent => match self.verdict(index, ran) {
                Verdict::Again => self.restart_later(index, ran),
                Verdict::PutAside(time) => self.put_aside(index, ran, time),
                Verdict::GiveUp => self.give_up(),
            },
        }
    }

    /// The one rule about failing too often: a quarantined child is tried again after a while. It is on trial until it
    /// has stayed up for as long as it was put aside; a failure before that puts it aside again.
    fn verdict(&mut self, index: usize, ran: Duration) -> Verdict {
        let Exceeded::Quarantine { retry_after } = self.rules.exceeded else {
            let again = admit(&mut self.history, &self.rules, self.now);
            return if again { Verdict::Again } else { Verdict::GiveUp };
        };
        let kid = &mut self.kids[index];
        if kid.on_trial && ran >= retry_after {
            kid.on_trial = false;
            kid.history.clear();
        }
        if !kid.on_trial && admit(&mut kid.history, &self.rules, self.now) {
            return Verdict::Again;
        }
        kid.on_trial = true;
        Verdict::PutAside(retry_after)
    }

    fn restart_later(&mut self, index: usize, ran: Duration) {
        self.calm_down(index, ran);
        self.orders += 1;
        let kid = &mut self.kids[index];
        let backoff = kid.wanted.rules.backoff;
        let delay = backoff.max.min(backoff.first.saturating_mul(2_u32.saturating_pow(kid.in_a_row)));
        kid.in_a_row += 1;
        kid.restarts += 1;
        kid.fate = Fate::Waiting { due: self.now + delay, order: self.orders };
        self.deeds.push(Deed::Delayed(kid.id().to_owned(), delay));
        if self.rules.strategy == Strategy::RestForOne {
            for after in (index + 1..self.kids.len()).rev() {
                if self.kids[after].is_alive() {
                    self.stop(after);
                    self.kids[after].fate = Fate::Queued;
                    self.forget_if_temporary(after);
                }
            }
        }
    }

    fn put_aside(&mut self, index: usize, ran: Duration, time: Duration) {
        self.calm_down(index, ran);
        self.orders += 1;
        let kid = &mut self.kids[index];
        kid.fate = Fate::Quarantined { due: self.now + time, order: self.orders };
        self.deeds.push(Deed::Quarantined(kid.id().to_owned(), time));
    }

    /// A child that ran for as long as its longest delay is healthy again.
    fn calm_down(&mut self, index: usize, ran: Duration) {
        let kid = &mut self.kids[index];
        if ran >= kid.wanted.rules.backoff.max {
            kid.in_a_row = 0;
        }
    }

    fn give_up(&mut self) {
        self.deeds.push(Deed::GaveUp);
        self.shut_down();
    }

    fn forget_if_temporary(&mut self, index: usize) {
        if self.kids[index].wanted.rules.restart == Restart::Temporary {
            self.kids.remove(index);
        }
    }

    fn next_timer(&self) -> Option<(usize, Duration)> {
        let timers = self.kids.iter().enumerate().filter_map(|(index, kid)| match kid.fate {
            Fate::Waiting { due, order } | Fate::Quarantined { due, order } => Some((due, order, index)),
            Fate::Alive { .. } | Fate::Queued | Fate::Down => None,
        });
        timers.min().map(|(due, _, index)| (index, due))
    }

    fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    fn answer(&mut self, call: u64, answer: Answer) {
        self.answers.insert(call, answer);
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.kids.iter().position(|kid| kid.id() == id)
    }
}

//! What a check answers, and how it is run: for a limited time, on a thread that may be left behind.
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// A check that takes longer is told of while it runs.
const PATIENCE: Duration = Duration::from_secs(1);

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Well.
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// It does not work, or others can do harm.
    Problem,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// What is so, in one line.
    pub finding: String,
    /// What to do, in one line, where it is not well.
    pub remedy: Option<String>,
    /// Further lines: numbers, and everything beyond the first that is not well.
    pub details: Vec<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(finding: impl Into<String>) -> Self {
        Self { state: State::Ok, finding: finding.into(), remedy: None, details: Vec::new() }
    }

    /// It could be better.
    pub fn warning(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: Some(remedy.into()), ..Self::ok(finding) }
    }

    /// It is wrong.
    pub fn problem(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Problem, ..Self::warning(finding, remedy) }
    }

    /// The same with one more line.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// The worst first, the others as its details; `well` where nothing is wrong.
    pub fn worst(well: impl Into<String>, mut faults: Vec<Self>) -> Self {
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.state));
        let mut faults = faults.into_iter();
        let Some(mut worst) = faults.next() else { return Self::ok(well) };
        for fault in faults {
            worst.details.push(match &fault.remedy {
                Some(remedy) => format!("{}: {remedy}", fault.finding),
                None => fault.finding,
            });
            worst.details.extend(fault.details);
        }
        worst
    }
}

/// A finding with its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which check.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Where a check that takes long says how far it is.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<String>>);

impl Note {
    /// Says it.
    pub fn say(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One check.
pub struct Check {
    name: &'static str,
    limit: Duration,
    work: Box<dyn FnOnce(&Note) -> Finding + Send>,
}

impl Check {
    /// A check that is given up after this time.
    pub fn new(
        name: &'static str,
        limit: Duration,
        work: impl FnOnce(&Note) -> Finding + Send + 'static,
    ) -> Self {
        Self { name, limit, work: Box::new(work) }
    }

    /// Runs it; `waiting` hears every second what is waited for. A check that hangs, as on a network disk that is away, is left
    /// behind with its thread.
    pub fn perform(self, waiting: &mut dyn FnMut(&str)) -> Row {
        let Self { name, limit, work } = self;
        let (answer, answered) = sync_channel(1);
        let note = Note::default();
        let its_note = note.clone();
        let thread = std::thread::Builder::new().name(format!("check {name}")).spawn(move || {
            // Nobody listens any more when it comes too late.
            let _ = answer.send(work(&its_note));
        });
        let row = |finding| Row { check: name, finding };
        if let Err(error) = thread {
            let remedy = "end some programs: the system has no room for one more thread";
            return row(Finding::problem(format!("it could not be looked at: {error}"), remedy));
        }
        let mut waited = Duration::ZERO;
        loop {
            match answered.recv_timeout(PATIENCE.min(limit.saturating_sub(waited))) {
                Ok(finding) => return row(finding),
                Err(RecvTimeoutError::Disconnected) => {
                    let remedy = "this is a fault in archond; please report what stands above";
                    return row(Finding::problem("the check itself failed", remedy));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            waited += PATIENCE;
            if waited >= limit {
                let remedy = "a disk or a part of the system hangs; look at `dmesg`, and at network disks that are away";
                let finding = format!("no answer within {} s", limit.as_secs());
                return row(Finding::problem(finding, remedy));
            }
            waiting(format!("{name} {}", note.text()).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_nothing_is_lost() {
        assert_eq!(Finding::worst("well", Vec::new()), Finding::ok("well"));
        let faults =
            vec![Finding::warning("a", "do a"), Finding::problem("b", "do b"), Finding::problem("c", "do c")];
        let worst = Finding::worst("well", faults);
        assert_eq!(worst, Finding::problem("b", "do b").detail("c: do c").detail("a: do a"));
    }

    #[test]
    fn a_check_that_hangs_or_panics_is_a_problem_and_the_next_goes_on() {
        let (gate, closed) = sync_channel::<()>(0);
        let hangs = Check::new("hangs", PATIENCE * 2, move |note| {
            note.say("on a disk".to_owned());
            let _ = closed.recv();
            Finding::ok("never")
        });
        let mut heard = Vec::new();
        let row = hangs.perform(&mut |text| heard.push(text.to_owned()));
        assert_eq!((row.check, row.finding.state), ("hangs", State::Problem));
        assert_eq!(row.finding.finding, "no answer within 2 s");
        assert_eq!(heard, ["hangs on a disk"]);
        drop(gate);
        let quick = Check::new("quick", PATIENCE, |_| Finding::ok("well"));
        assert_eq!(quick.perform(&mut |_| {}).finding, Finding::ok("well"));
    }

    #[test]
    fn states_are_words_for_programs() {
        let row = Row { check: "disk", finding: Finding::problem("full", "free some").detail("data") };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"check":"disk","state":"problem","finding":"full","remedy":"free some","details":["data"]}"#
        );
    }
}

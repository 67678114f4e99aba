//! What a check answers, and how it is run: for a limited time, on a thread that may be left behind.
use std::io;
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
                // Once is enough.
                Some(_) if fault.remedy == worst.remedy => fault.finding,
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

    /// Runs it; `waiting` hears every second what is waited for.
    pub fn perform(self, waiting: &mut dyn FnMut(&str)) -> Row {
        let Self { name, limit, work } = self;
        let note = Note::default();
        let its_note = note.clone();
        let answer = within(name, limit, move || work(&its_note), &mut || {
            waiting(format!("{name} {}", note.text()).trim_end());
        });
        Row { check: name, finding: answer.unwrap_or_else(|unanswered| unanswered.finding()) }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It did not come in time.
    #[error("no answer within {} s", limit.as_secs())]
    Late {
        /// How long was waited.
        limit: Duration,
    },
    /// The work panicked.
    #[error("the check itself failed")]
    Failed,
    /// It could not begin.
    #[error("it could not be looked at: {source}")]
    NoThread {
        /// Why.
        source: io::Error,
    },
}

impl Unanswered {
    /// What a person is told.
    pub fn finding(&self) -> Finding {
        let remedy = match self {
            Self::Late { .. } => {
                "a disk or a part of the system hangs; look at `dmesg`, and at network disks that are away"
            }
            Self::Failed => "this is a fault in archond; please report what stands above",
            Self::NoThread { .. } => "end some programs: the system has no room for one more thread",
        };
        Finding::problem(self.to_string(), remedy)
    }
}

/// Works on a thread of its own for a limited time; `waiting` is called every second. Work that hangs, as on a network disk that
/// is away, is left behind with its thread.
pub fn within<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
    waiting: &mut dyn FnMut(),
) -> Result<T, Unanswered> {
    let (answer, answered) = sync_channel(1);
    let work = move || {
        // Nobody listens any more when it comes too late.
        let _ = answer.send(work());
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| Unanswered::NoThread { source })?;
    let mut waited = Duration::ZERO;
    loop {
        match answered.recv_timeout(PATIENCE.min(limit.saturating_sub(waited))) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Err(Unanswered::Failed),
            Err(RecvTimeoutError::Timeout) => {}
        }
        waited += PATIENCE;
        if waited >= limit {
            return Err(Unanswered::Late { limit });
        }
        waiting();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_nothing_is_lost() {
        assert_eq!(Finding::worst("well", Vec::new()), Finding::ok("well"));
        let faults = vec![
            Finding::warning("a", "do a"),
            Finding::problem("b", "do b"),
            Finding::problem("c", "do c"),
            Finding::problem("d", "do b"),
        ];
        let worst = Finding::worst("well", faults);
        assert_eq!(worst, Finding::problem("b", "do b").detail("c: do c").detail("d").detail("a: do a"));
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
        let panics = within("panics", PATIENCE * 60, || std::panic::resume_unwind(Box::new(())), &mut || {});
        assert_eq!(panics.map(|()| Finding::ok("never")).unwrap_err().finding().state, State::Problem);
        let quick = Check::new("quick", PATIENCE * 60, |_| Finding::ok("well"));
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

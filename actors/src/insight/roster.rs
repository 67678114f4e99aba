//! All actors of a house, as a tree of paths such as `house/archons/ezra/hermes`.
//!
//! What an actor is, its [`Vitals`] tell; whether it is up, its supervisor has reported. Reading costs nobody a message.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::crash::{Crash, Crashes};
use super::inspection::Inspection;
use super::vitals::{Doing, TraceEvent, Vitals};
use crate::domain::ActorState;
use crate::ports::Clock;
use crate::supervision::{ExitReason, SupervisionError, SupervisionFact, SupervisorHandle};

/// Longest wait for an actor's own word: what it would say after that is old.
const INSPECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Why something could not be seen or done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// There is no such actor.
    #[error("there is no actor {path}; `tree` shows all")]
    NotFound {
        /// What was named.
        path: String,
    },
    /// It is down.
    #[error("{path} does not run; `restart {path}` starts it")]
    NotRunning {
        /// Which.
        path: String,
    },
    /// A supervisor that held back its messages could not help its children.
    #[error("{path} is a supervisor, which is never suspended; suspend the actors below it")]
    IsSupervisor {
        /// Which.
        path: String,
    },
    /// Nobody supervises it.
    #[error("{path} is the whole house; `archond shutdown` ends it")]
    IsRoot {
        /// Which.
        path: String,
    },
    /// Its supervisor refused.
    #[error(transparent)]
    Supervision(#[from] SupervisionError),
}

/// One actor at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorView {
    /// Where it is in the tree.
    pub path: String,
    /// How many actors are above it.
    pub depth: usize,
    /// What kind of actor it is.
    pub actor: &'static str,
    /// Its state.
    pub state: ActorState,
    /// Since when this incarnation runs; `None` while it does not.
    pub age: Option<Duration>,
    /// How often it was started again.
    pub restarts: u32,
    /// Messages that wait.
    pub mailbox_len: usize,
    /// Messages that may wait.
    pub mailbox_len_max: usize,
    /// Messages handled by all incarnations.
    pub handled: u64,
    /// The message that it handles: its kind, the ids in it, for how long.
    pub doing: Option<(&'static str, Option<String>, Duration)>,
    /// The actor that it waits for, and for how long.
    pub waits_for: Option<(&'static str, Duration)>,
    /// Until it is started again.
    pub restart_in: Option<Duration>,
    /// Its last failure.
    pub last_error: Option<String>,
}

/// What a supervisor has said of a child.
#[derive(Debug, Default)]
struct Supervised {
    /// `None` while it is up.
    down: Option<ActorState>,
    restart_at: Option<Instant>,
    last_error: Option<String>,
}

struct Entry {
    vitals: Vitals,
    supervisor: Option<SupervisorHandle>,
    supervised: Supervised,
    /// Siblings are shown in the order in which they came.
    order: u64,
}

#[derive(Default)]
struct Tables {
    entries: BTreeMap<String, Entry>,
    entered: u64,
    crashes: Crashes,
}

/// The tree. Clones show the same one.
#[derive(Clone)]
pub struct Roster {
    tables: Arc<Mutex<Tables>>,
    clock: Arc<dyn Clock>,
}

/// An actor's place in the tree, given up when this is dropped.
pub(crate) struct Place {
    roster: Roster,
    path: String,
}

impl Place {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.tables().entries.remove(&self.path);
    }
}

impl Roster {
    /// An empty tree.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { tables: Arc::default(), clock }
    }

    /// Shows an actor at this place, whether it runs or not.
    pub(crate) fn enter(&self, path: &str, vitals: &Vitals) {
        self.insert(path, vitals, None);
    }

    /// Shows a supervisor at this place. What is below it can be stopped and started.
    pub(crate) fn enter_supervisor(&self, path: &str, handle: &SupervisorHandle) {
        self.insert(path, handle.vitals(), Some(handle.clone()));
    }

    /// Shows an actor for as long as the place is kept.
    pub(crate) fn lend(&self, path: String, vitals: &Vitals) -> Place {
        self.insert(&path, vitals, None);
        Place { roster: self.clone(), path }
    }

    /// Shows nothing at and below this place any more.
    pub(crate) fn leave(&self, path: &str) {
        self.tables().entries.retain(|entry, _| entry != path && !is_below(entry, path));
    }

    fn insert(&self, path: &str, vitals: &Vitals, supervisor: Option<SupervisorHandle>) {
        let mut tables = self.tables();
        tables.entered += 1;
        let order = tables.entries.get(path).map_or(tables.entered, |entry| entry.order);
        let entry = Entry { vitals: vitals.clone(), supervisor, supervised: Supervised::default(), order };
        tables.entries.insert(path.to_owned(), entry);
    }

    /// Takes in what the supervisor at this place reports.
    pub(crate) fn reported(&self, supervisor: &str, fact: &SupervisionFact) {
        let now = Instant::now();
        let mut tables = self.tables();
        let Tables { entries, crashes, .. } = &mut *tables;
        if let SupervisionFact::GaveUp { reason } = fact {
            if let Some(entry) = entries.get_mut(supervisor) {
                entry.supervised.last_error = Some(reason.clone());
            }
            return;
        }
        let Some(path) = fact.child().map(|id| format!("{supervisor}/{id}")) else { return };
        let Some(entry) = entries.get_mut(&path) else { return };
        let supervised = &mut entry.supervised;
        match fact {
            SupervisionFact::ChildStarted { .. } => {
                supervised.down = None;
                supervised.restart_at = None;
            }
            SupervisionFact::ChildExited { reason, .. } => {
                // A supervisor that lost its own one while it stopped its children goes on reporting them when their successors run.
                if !entry.vitals.is_alive() {
                    supervised.down = Some(ActorState::Stopped);
                }
                if let ExitReason::Abnormal { detail } = reason {
                    supervised.last_error = Some(detail.clone());
                    crashes.add(crash(&path, detail, &entry.vitals, self.clock.now_unix_ms()));
                }
            }
            SupervisionFact::ChildRestarting { delay, .. } => {
                supervised.down = Some(ActorState::Starting);
                supervised.restart_at = Some(now + *delay);
            }
            SupervisionFact::ChildQuarantined { reason, retry_after, .. } => {
                supervised.down = Some(ActorState::Quarantined);
                supervised.restart_at = Some(now + *retry_after);
                supervised.last_error = Some(reason.clone());
            }
            SupervisionFact::GaveUp { .. } => {}
        }
    }

    /// Takes in a bad end that no supervisor reports.
    pub(crate) fn crashed(&self, path: &str, detail: &str, vitals: &Vitals) {
        let crash = crash(path, detail, vitals, self.clock.now_unix_ms());
        self.tables().crashes.add(crash);
    }

    /// Every actor, parents before their children, siblings in the order in which they came.
    pub fn tree(&self) -> Vec<ActorView> {
        let now = Instant::now();
        let tables = self.tables();
        let mut keyed: Vec<(Vec<u64>, ActorView)> = tables
            .entries
            .iter()
            .map(|(path, entry)| {
                let mut key: Vec<u64> = ancestors(&tables.entries, path).map(|above| above.order).collect();
                key.reverse();
                let depth = key.len();
                key.push(entry.order);
                (key, view(path, entry, depth, now))
            })
            .collect();
        drop(tables);
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        keyed.into_iter().map(|(_, view)| view).collect()
    }

    /// One actor.
    pub fn actor(&self, path: &str) -> Result<ActorView, RosterError> {
        let tables = self.tables();
        let depth = ancestors(&tables.entries, path).count();
        let entry = tables.entries.get(path).ok_or_else(|| not_found(path))?;
        Ok(view(path, entry, depth, Instant::now()))
    }

    /// What an actor says of its state. `None`: it does not answer now; what can be seen from outside is in [`Roster::actor`].
    pub async fn inspect(&self, path: &str) -> Result<Option<Inspection>, RosterError> {
        let Some(answer) = self.vitals(path)?.ask() else { return Ok(None) };
        Ok(timeout(INSPECT_TIMEOUT, answer).await.ok().and_then(Result::ok))
    }

    /// The messages of an actor as it handles them, from now on. A second reader replaces the first.
    pub fn trace(&self, path: &str) -> Result<mpsc::Receiver<TraceEvent>, RosterError> {
        Ok(self.vitals(path)?.trace())
    }

    /// The last crashes, newest last.
    pub fn crashes(&self) -> Vec<Crash> {
        self.tables().crashes.all()
    }

    /// Ends an actor at its next `.await`, whatever it does. Its supervisor decides what follows.
    pub fn kill(&self, path: &str) -> Result<(), RosterError> {
        let cell = self.vitals(path)?.cell();
        let cell = cell.filter(|cell| cell.get_status() < ractor::ActorStatus::Stopped);
        cell.ok_or_else(|| RosterError::NotRunning { path: path.to_owned() })?.kill();
        Ok(())
    }

    /// Holds back the messages of an actor, or lets them go again.
    pub fn suspend(&self, path: &str, suspended: bool) -> Result<(), RosterError> {
        let tables = self.tables();
        let entry = tables.entries.get(path).ok_or_else(|| not_found(path))?;
        if entry.supervisor.is_some() {
            return Err(RosterError::IsSupervisor { path: path.to_owned() });
        }
        entry.vitals.suspend(suspended);
        Ok(())
    }

    /// Lets all messages go: nobody waits at the end.
    pub(crate) fn resume_all(&self) {
        self.tables().entries.values().for_each(|entry| entry.vitals.suspend(false));
    }

    /// Stops an actor in order. It stays down.
    pub async fn stop(&self, path: &str) -> Result<(), RosterError> {
        let (supervisor, id) = self.supervisor_of(path)?;
        Ok(supervisor.stop_child(&id).await?)
    }

    /// Starts an actor, after stopping it in order if it is up. Its failures are forgotten.
    pub async fn restart(&self, path: &str) -> Result<(), RosterError> {
        let (supervisor, id) = self.supervisor_of(path)?;
        Ok(supervisor.restart_child(&id).await?)
    }

    fn supervisor_of(&self, path: &str) -> Result<(SupervisorHandle, String), RosterError> {
        let tables = self.tables();
        if !tables.entries.contains_key(path) {
            return Err(not_found(path));
        }
        parents(path)
            .find_map(|parent| {
                let supervisor = tables.entries.get(parent)?.supervisor.clone()?;
                Some((supervisor, path.get(parent.len() + 1..)?.to_owned()))
            })
            .ok_or_else(|| RosterError::IsRoot { path: path.to_owned() })
    }

    fn vitals(&self, path: &str) -> Result<Vitals, RosterError> {
        let tables = self.tables();
        tables.entries.get(path).map(|entry| entry.vitals.clone()).ok_or_else(|| not_found(path))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each change of the tables is one call: a panic cannot leave them half-changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(path: &str) -> RosterError {
    RosterError::NotFound { path: path.to_owned() }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// What may be above a path, nearest first. Names may hold a slash themselves: not every one is an actor.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at))
}

fn ancestors<'e>(entries: &'e BTreeMap<String, Entry>, path: &str) -> impl Iterator<Item = &'e Entry> {
    parents(path).filter_map(|parent| entries.get(parent))
}

fn view(path: &str, entry: &Entry, depth: usize, now: Instant) -> ActorView {
    let read = entry.vitals.read();
    let since = |then: Instant| now.saturating_duration_since(then);
    let state = match (&entry.supervised.down, read.is_alive) {
        (Some(down), _) => *down,
        (None, false) => ActorState::Starting,
        (None, true) if read.suspended => ActorState::Suspended,
        (None, true) => {
            read.word.unwrap_or(if read.doing.is_some() { ActorState::Running } else { ActorState::Ready })
        }
    };
    let up = entry.supervised.down.is_none() && read.is_alive;
    let doing = read.doing.filter(|_| up);
    ActorView {
        path: path.to_owned(),
        depth,
        actor: entry.vitals.actor(),
        state,
        age: read.started.filter(|_| up).map(since),
        restarts: read.incarnations.saturating_sub(1),
        mailbox_len: read.mailbox_len,
        mailbox_len_max: entry.vitals.mailbox_len_max(),
        handled: read.handled,
        doing: doing.map(|Doing { kind, about, since: then }| (kind, about, since(then))),
        waits_for: read.waits_for.filter(|_| up).map(|(actor, then)| (actor, since(then))),
        restart_in: entry.supervised.restart_at.map(|at| at.saturating_duration_since(now)),
        last_error: entry.supervised.last_error.clone(),
    }
}

fn crash(path: &str, detail: &str, vitals: &Vitals, at_unix_ms: u64) -> Crash {
    let read = vitals.read();
    let message = read.doing.or(read.last);
    Crash {
        id: 0,
        path: path.to_owned(),
        at_unix_ms,
        cause: detail.to_owned(),
        message: message.as_ref().map(|message| message.kind),
        about: message.and_then(|message| message.about),
        stack: read.panic.map(|panic| panic.stack),
        incarnation: read.incarnations,
    }
}

//! What a supervisor is given: its children and its rules, as data.
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{ActorCell, SpawnErr};

use super::rules::{Backoff, Exceeded, Intensity, Restart, Shutdown, Strategy, SupervisionFact};
use crate::ports::Sink;

/// Longest start of a child that is no supervisor. A child is up in milliseconds and loads in the background; this
/// only bounds how long a broken one can keep its supervisor from its other work.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a child has to stop when its spec says nothing else, as in OTP.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// Delays that fit a child whose failure disturbs people: they hardly notice the first, and the last one spares the machine.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };

/// Starts one incarnation of a child, linked to the given supervisor (`Actor::spawn_linked`). It returns when the
/// child's `pre_start` has; without a ractor name, because the dead incarnation may still hold it.
pub type StartFn = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// Makes a [`StartFn`] of an async closure.
pub fn start_fn<F, Starting>(start: F) -> StartFn
where
    F: Fn(ActorCell) -> Starting + Send + Sync + 'static,
    Starting: Future<Output = Result<ActorCell, SpawnErr>> + Send + 'static,
{
    Arc::new(move |supervisor| start(supervisor).boxed())
}

/// One child.
#[derive(Clone)]
pub struct ChildSpec {
    /// Its name among its siblings.
    pub id: String,
    /// Starts it.
    pub start: StartFn,
    /// A start that takes longer is given up and counts as failed.
    pub start_timeout: Duration,
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How long its restart waits.
    pub backoff: Backoff,
    /// Its abnormal end, or failed start, makes the supervisor give up at once.
    pub significant: bool,
}

impl ChildSpec {
    /// A permanent child with ordinary limits; change the fields that differ.
    pub fn new(id: impl Into<String>, start: StartFn) -> Self {
        Self {
            id: id.into(),
            start,
            start_timeout: START_TIMEOUT,
            restart: Restart::Permanent,
            shutdown: Shutdown::Within(SHUTDOWN_WITHIN),
            backoff: BACKOFF,
            significant: false,
        }
    }
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One supervisor.
#[derive(Clone)]
pub struct SupervisorSpec {
    /// What it is called in logs and errors.
    pub name: String,
    /// Who is restarted when a child fails.
    pub strategy: Strategy,
    /// How many restarts are borne. Intensities multiply down the tree: give each level other numbers.
    pub intensity: Intensity,
    /// What happens after that.
    pub exceeded: Exceeded,
    /// Abnormal ends of temporary children count as restarts of the supervisor, which gives up when they exceed the
    /// intensity: they are respawned on demand, so a crash loop would not end otherwise.
    pub count_temporary: bool,
    /// Started in this order, stopped in reverse.
    pub children: Vec<ChildSpec>,
    /// Where it reports to. Called in the supervisor: must be quick.
    pub report: Sink<SupervisionFact>,
}

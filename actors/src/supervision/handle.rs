//! How others talk to a supervisor, whichever incarnation of it runs.
use std::time::Duration;

use ractor::{Actor, ActorCell, SpawnErr};

use super::actor::{SupervisorActor, SupervisorArgs, SupervisorMsg};
use super::events::Refusal;
use super::rules::{ChildStatus, Shutdown};
use super::spec::{ChildSpec, SupervisorSpec, start_fn};
use crate::insight::Vitals;
use crate::link::{Link, LinkError};

/// Requests that may wait for one supervisor: far more than operators and harnesses have under way at once.
const MAILBOX_LEN_MAX: usize = 1024;

/// Longest wait for an answer: a child is stopped and started again within it, at twice the usual limits of both.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that a killed actor has to end. One that does not is blocked outside of any `.await` and is left behind.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest start of a sub-supervisor. It bounds each of its own starts, and so needs no tight limit.
const SUB_START_TIMEOUT: Duration = Duration::from_secs(60);

/// Time that a sub-supervisor has to stop its children in reverse order: two that use up their usual time.
const SUB_SHUTDOWN_WITHIN: Duration = Duration::from_secs(10);

/// Why a supervisor did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupervisionError {
    /// The child is up, or will be without further ado.
    #[error("`{id}` is running already")]
    AlreadyRunning {
        /// The child.
        id: String,
    },
    /// The child failed too often.
    #[error("`{id}` is quarantined after too many failures; restart it to lift that")]
    Quarantined {
        /// The child.
        id: String,
    },
    /// There is no such child.
    #[error("there is no child `{id}`")]
    NotFound {
        /// The child that was named.
        id: String,
    },
    /// The child could not be started. Unless it is temporary, it is tried again after a delay.
    #[error("`{id}` could not be started: {detail}")]
    StartFailed {
        /// The child.
        id: String,
        /// What was said of it.
        detail: String,
    },
    /// Something else was asked of the child before this was done.
    #[error("`{id}` was stopped or restarted by another request; look at its state and try again")]
    Overtaken {
        /// The child.
        id: String,
    },
    /// The supervisor did not stop in time and was killed, with the children that were left.
    #[error("the supervisor did not stop within {within:?} and was killed")]
    Killed {
        /// The time it had.
        within: Duration,
    },
    /// The supervisor could not be reached.
    #[error(transparent)]
    Unreachable(#[from] LinkError),
}

impl SupervisionError {
    pub(super) fn refused(id: String, refusal: Refusal) -> Self {
        match refusal {
            Refusal::AlreadyRunning => Self::AlreadyRunning { id },
            Refusal::Quarantined => Self::Quarantined { id },
            Refusal::NotFound => Self::NotFound { id },
        }
    }
}

/// The way to a supervisor. It can be made before the supervisor is, and rides over its restarts.
#[derive(Clone)]
pub struct SupervisorHandle {
    link: Link<SupervisorMsg>,
}

impl SupervisorHandle {
    /// A handle to a supervisor that does not run yet. `name` is what error messages call it.
    pub fn new(name: &'static str) -> Self {
        Self { link: Link::new(name, MAILBOX_LEN_MAX) }
    }

    /// What the supervisor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Adds a child after its siblings and starts it. A child of that id which is down is replaced; one that is just
    /// ending is replaced when it has ended.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<(), SupervisionError> {
        self.link.call(CALL_TIMEOUT, |reply| SupervisorMsg::StartChild { spec, reply }).await
    }

    /// Stops a child. It stays known, as stopped, unless it is temporary. One that is down already is left so, and
    /// its restart is called off; a quarantine ends with it.
    pub async fn stop_child(&self, id: &str) -> Result<(), SupervisionError> {
        let id = id.to_owned();
        self.link.call(CALL_TIMEOUT, |reply| SupervisorMsg::StopChild { id, reply }).await
    }

    /// Starts a child, after stopping it if it is up. Lifts its quarantine and forgets its failures.
    pub async fn restart_child(&self, id: &str) -> Result<(), SupervisionError> {
        let id = id.to_owned();
        self.link.call(CALL_TIMEOUT, |reply| SupervisorMsg::RestartChild { id, reply }).await
    }

    /// The children, in start order.
    pub async fn children(&self) -> Result<Vec<ChildStatus>, SupervisionError> {
        self.link.call(CALL_TIMEOUT, |reply| SupervisorMsg::GetChildren { reply }).await
    }

    /// Stops the children in reverse order, each with its own limit, and then the supervisor. Kills what is left after
    /// `within`. A supervisor that does not run is stopped already.
    pub async fn shutdown(&self, within: Duration) -> Result<(), SupervisionError> {
        let Some(supervisor) = self.link.current() else { return Ok(()) };
        supervisor.stop(None);
        if supervisor.wait(Some(within)).await.is_ok() {
            return Ok(());
        }
        // It is killed; that it has ended is worth a short wait but no second error.
        let _ = supervisor.kill_and_wait(Some(KILL_TIMEOUT)).await;
        Err(SupervisionError::Killed { within })
    }

    /// Starts an incarnation that this handle leads to from now on. Its children are started, in order, before this
    /// returns; a child that could not be started is tried again after its delay.
    pub async fn spawn(
        &self,
        spec: SupervisorSpec,
        parent: Option<ActorCell>,
    ) -> Result<ActorCell, SpawnErr> {
        let args = SupervisorArgs { spec, link: self.link.clone() };
        let (actor, _task) = match parent {
            Some(parent) => Actor::spawn_linked(None, SupervisorActor, args, parent).await?,
            None => Actor::spawn(None, SupervisorActor, args).await?,
        };
        Ok(actor.get_cell())
    }
}

/// Starts a supervisor and its children. `parent` supervises it; without one, whoever waits for the cell does.
pub async fn spawn_supervisor(
    spec: SupervisorSpec,
    parent: Option<ActorCell>,
) -> Result<(SupervisorHandle, ActorCell), SpawnErr> {
    let handle = SupervisorHandle::new("the supervisor");
    let cell = handle.spawn(spec, parent).await?;
    Ok((handle, cell))
}

/// A child that is itself a supervisor, reached by `handle` over its restarts. Each incarnation is made from what
/// `spec_fn` returns, so children that were added later are gone after a restart, as in OTP.
///
/// Permanent; change the fields that differ. Give it at least as long to shut down as its children need one after
/// another: when its time is over it is killed, and their `post_stop` with it.
pub fn sub_supervisor<F>(handle: SupervisorHandle, id: impl Into<String>, spec_fn: F) -> ChildSpec
where
    F: Fn() -> SupervisorSpec + Send + Sync + 'static,
{
    let start = start_fn(move |parent| {
        let (handle, spec) = (handle.clone(), spec_fn());
        async move { handle.spawn(spec, Some(parent)).await }
    });
    ChildSpec {
        start_timeout: SUB_START_TIMEOUT,
        shutdown: Shutdown::Within(SUB_SHUTDOWN_WITHIN),
        ..ChildSpec::new(id, start)
    }
}

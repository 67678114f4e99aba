//! One task of the world around the house, such as the HTTP gateway, kept alive as actors are: shown in the tree, started again
//! when it ends by itself or panics, stopped in order with the house. What it does is not the house's affair.
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, SpawnErr};

use super::service_actor::{ServiceActor, ServiceMsg};
use crate::insight::{Inspection, Vitals};
use crate::link::Link;
use crate::ports::Sink;
use crate::supervision::{
    ChildSpec, Exceeded, Intensity, Strategy, SupervisionError, SupervisionFact, SupervisorHandle,
    SupervisorSpec, start_fn, sub_supervisor,
};

/// Nobody but itself sends it anything: room for the questions of those who look.
const MAILBOX_LEN_MAX: usize = 16;

/// The supervisor of what the world adds; its children are below.
pub(super) const SERVICES_PATH: &str = "house/services";
/// A service that fails more often than this rests for a minute; the house goes on without it.
const SERVICE_INTENSITY: Intensity = Intensity { restarts_max: 4, period: Duration::from_secs(60) };
/// See [`SERVICE_INTENSITY`].
const SERVICE_RETRY: Duration = Duration::from_secs(60);

/// A task: runs until it cannot go on, and says why. Dropping it must end it cleanly at any time.
pub type Task = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// What a service shows of itself.
pub type Look = Arc<dyn Fn() -> Inspection + Send + Sync>;

/// A task with a name.
#[derive(Clone)]
pub struct Service {
    /// Its place in the tree is `house/services/<name>`.
    pub name: &'static str,
    /// Called for each incarnation.
    pub task: Task,
    /// Its state, without waiting.
    pub look: Look,
}

/// The service, whichever incarnation of its actor runs.
#[derive(Clone)]
pub(super) struct ServiceHandle {
    pub(super) link: Link<ServiceMsg>,
    pub(super) service: Service,
}

impl ServiceHandle {
    pub(super) fn new(service: Service) -> Self {
        Self { link: Link::new(service.name, MAILBOX_LEN_MAX), service }
    }

    pub(super) fn name(&self) -> &'static str {
        self.service.name
    }

    pub(super) fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    pub(super) async fn spawn(&self, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let (actor, _) = ServiceActor::spawn_linked(None, ServiceActor, self.clone(), supervisor).await?;
        Ok(actor.get_cell())
    }
}

/// The services that were added, and their supervisor, which starts them all again when it is started again itself.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) supervisor: SupervisorHandle,
    added: Arc<RwLock<Vec<ServiceHandle>>>,
}

impl Services {
    pub(super) fn new() -> Self {
        Self { supervisor: SupervisorHandle::new("the services' supervisor"), added: Arc::default() }
    }

    pub(super) async fn start(&self, service: ServiceHandle) -> Result<(), SupervisionError> {
        self.added.write().unwrap_or_else(PoisonError::into_inner).push(service.clone());
        self.supervisor.start_child(child(service)).await
    }

    /// Their supervisor, as a child of the house.
    pub(super) fn child(&self, report: Sink<SupervisionFact>) -> ChildSpec {
        let services = self.clone();
        sub_supervisor(self.supervisor.clone(), "services", move || {
            let added = services.added.read().unwrap_or_else(PoisonError::into_inner);
            SupervisorSpec {
                name: SERVICES_PATH.into(),
                strategy: Strategy::OneForOne,
                intensity: SERVICE_INTENSITY,
                exceeded: Exceeded::Quarantine { retry_after: SERVICE_RETRY },
                count_temporary: false,
                children: added.iter().cloned().map(child).collect(),
                report: report.clone(),
            }
        })
    }
}

fn child(service: ServiceHandle) -> ChildSpec {
    let name = service.name();
    let start = start_fn(move |supervisor| {
        let service = service.clone();
        async move { service.spawn(supervisor).await }
    });
    ChildSpec::new(name, start)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt;

    use super::*;

    /// Tells that the task was dropped.
    struct OnEnd(tokio::sync::mpsc::UnboundedSender<u32>);

    impl Drop for OnEnd {
        fn drop(&mut self) {
            let _ = self.0.send(u32::MAX);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_or_panics_is_begun_again() {
        let (begun, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let count = Arc::new(AtomicU32::new(0));
        let task: Task = Arc::new(move || {
            let (begun, nth) = (begun.clone(), count.fetch_add(1, Ordering::Relaxed));
            async move {
                begun.send(nth).unwrap();
                match nth {
                    0 => "no more".to_owned(),
                    1 => panic!("a bug"),
                    _ => {
                        let _ends = OnEnd(begun);
                        std::future::pending().await
                    }
                }
            }
            .boxed()
        });
        let handle = ServiceHandle::new(Service { name: "test", task, look: Arc::new(Vec::new) });
        let start = start_fn({
            let handle = handle.clone();
            move |supervisor| {
                let handle = handle.clone();
                async move { handle.spawn(supervisor).await }
            }
        });
        let supervisor = SupervisorHandle::new("services");
        let spec = SupervisorSpec {
            name: "services".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity { restarts_max: 3, period: Duration::from_secs(60) },
            exceeded: Exceeded::GiveUp,
            count_temporary: false,
            children: vec![ChildSpec::new("test", start)],
            report: Arc::new(|_| {}),
        };
        supervisor.spawn(spec, None).await.unwrap();
        for nth in 0..3 {
            assert_eq!(seen.recv().await, Some(nth));
        }
        supervisor.shutdown(Duration::from_secs(5)).await.unwrap();
        assert_eq!(seen.recv().await, Some(u32::MAX), "the task outlived its house");
    }
}

//! The actor of a service: holds its task, and fails when the task ends, so that the supervisor begins it again.
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use super::service::{Look, ServiceHandle};
use crate::insight::{Message, Vitals};
use crate::link::Envelope;

pub(super) enum ServiceMsg {
    /// Fact from the task: it has ended, or panicked.
    TaskEnded { reason: String },
}

impl Message for ServiceMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::TaskEnded { .. } => "task-ended",
        }
    }

    fn about(&self) -> Option<String> {
        None
    }
}

/// The task cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct TaskEnded {
    reason: String,
}

pub(super) struct ServiceActor;

pub(super) struct ServiceState {
    vitals: Vitals,
    look: Look,
    /// Holds the task: dropped with the actor, which ends it.
    _running: JoinSet<()>,
}

impl Actor for ServiceActor {
    type Msg = Envelope<ServiceMsg>;
    type State = ServiceState;
    type Arguments = ServiceHandle;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        ServiceHandle { link, service }: ServiceHandle,
    ) -> Result<ServiceState, ActorProcessingErr> {
        link.attach(me.clone());
        let mut running = JoinSet::new();
        let task = (service.task)();
        running.spawn(async move {
            let ended = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            let reason = ended.unwrap_or_else(|_| "it panicked; the log says where".to_owned());
            // An actor that is gone needs no word of its task.
            let _ = me.send_message(Envelope::fact(ServiceMsg::TaskEnded { reason }));
        });
        Ok(ServiceState { vitals: link.vitals().clone(), look: service.look, _running: running })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut ServiceState,
    ) -> Result<(), ActorProcessingErr> {
        let (vitals, look) = (state.vitals.clone(), state.look.clone());
        let Some(opened) = envelope.open(|| look()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                ServiceMsg::TaskEnded { reason } => Err(TaskEnded { reason }.into()),
            }
        })
        .await
    }
}

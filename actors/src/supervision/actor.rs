//! Carries out what the policy decides: starts, stops, delayed restarts.
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::handle::{ChildStatus, SupervisionError};
use super::spec::{ChildSpec, SupervisorSpec};
use crate::link::{Envelope, Link};

type Reply<T> = RpcReplyPort<Result<T, SupervisionError>>;

/// What a supervisor is asked for.
pub(super) enum SupervisorMsg {
    /// See [`SupervisorHandle::start_child`](super::SupervisorHandle::start_child).
    StartChild { spec: ChildSpec, reply: Reply<()> },
    /// See [`SupervisorHandle::stop_child`](super::SupervisorHandle::stop_child).
    StopChild { id: String, reply: Reply<()> },
    /// See [`SupervisorHandle::restart_child`](super::SupervisorHandle::restart_child).
    RestartChild { id: String, reply: Reply<()> },
    /// See [`SupervisorHandle::children`](super::SupervisorHandle::children).
    GetChildren { reply: Reply<Vec<ChildStatus>> },
}

pub(super) struct SupervisorArgs {
    pub(super) spec: SupervisorSpec,
    pub(super) link: Link<SupervisorMsg>,
}

pub(super) struct SupervisorActor;

impl Actor for SupervisorActor {
    type Msg = Envelope<SupervisorMsg>;
    type State = ();
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: SupervisorArgs,
    ) -> Result<(), ActorProcessingErr> {
        args.link.attach(me);
        Ok(())
    }
}

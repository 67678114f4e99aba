//! Owns the models' lanes. Talks down to workers; sessions talk to it.
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::handle::{GenerationEvent, GenerationOrder, PoolArgs, PoolError};
use crate::domain::{GenerationId, ModelId, PoolStatus};
use crate::link::{Envelope, Link};
use crate::ports::Sink;

type Reply<T> = RpcReplyPort<Result<T, PoolError>>;

pub(super) enum PoolMsg {
    /// Somebody asks for something.
    Ask { question: Question },
    /// End an answer.
    CancelGeneration { id: GenerationId },
}

pub(super) enum Question {
    Generate {
        id: GenerationId,
        order: Box<GenerationOrder>,
        events: Sink<GenerationEvent>,
        reply: Reply<()>,
    },
    GetChoice {
        models: Vec<ModelId>,
        reply: Reply<ModelId>,
    },
    Warm {
        model: ModelId,
        reply: Reply<()>,
    },
    GetStatus {
        reply: Reply<PoolStatus>,
    },
}

pub(super) struct PoolActor;

impl Actor for PoolActor {
    type Msg = Envelope<PoolMsg>;
    type State = ();
    type Arguments = (PoolArgs, Link<PoolMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        (_args, link): Self::Arguments,
    ) -> Result<(), ActorProcessingErr> {
        link.attach(me);
        Ok(())
    }
}

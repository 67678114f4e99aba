//! Starts one worker and holds the way to it. Starting may take a moment, and its code may break: it happens here, not in the pool.
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr};
use tokio::time::timeout;

use super::actor::PoolMsg;
use crate::domain::ModelId;
use crate::insight::{Fact, Inspection, Message};
use crate::link::{Envelope, Link};
use crate::ports::{Engine, EngineError, WorkerEvent, WorkerLink};

/// Longest wait for the process, which loads its model later: forking takes milliseconds, on a machine that swaps a second.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the workers that a model had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerId {
    pub(super) model: ModelId,
    /// No two workers have the same.
    pub(super) incarnation: u64,
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.model, self.incarnation)
    }
}

pub(super) enum WorkerMsg {
    /// Start the process.
    Launch,
}

impl Message for WorkerMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Launch => "launch",
        }
    }
}

pub(super) struct WorkerActor;

pub(super) struct WorkerArgs {
    pub(super) id: WorkerId,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) pool: ActorRef<Envelope<PoolMsg>>,
    /// Nobody but itself sends it messages; it is for those who look.
    pub(super) link: Link<WorkerMsg>,
}

pub(super) struct WorkerState {
    args: WorkerArgs,
    link: Option<Arc<dyn WorkerLink>>,
}

/// Starts the actor without waiting for it; all it says comes to the pool as facts.
pub(super) fn spawn_worker(args: WorkerArgs) -> Result<ActorCell, SpawnErr> {
    let supervisor = args.pool.get_cell();
    let (actor, _) = ActorRuntime::spawn_linked_instant(None, WorkerActor, args, supervisor)?;
    Ok(actor.get_cell())
}

impl Actor for WorkerActor {
    type Msg = Envelope<WorkerMsg>;
    type State = WorkerState;
    type Arguments = WorkerArgs;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        args: WorkerArgs,
    ) -> Result<WorkerState, ActorProcessingErr> {
        args.link.attach(me.clone());
        me.send_message(Envelope::fact(WorkerMsg::Launch))?;
        Ok(WorkerState { args, link: None })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        msg: Self::Msg,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = state.args.link.vitals().clone();
        let Some(opened) = msg.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                WorkerMsg::Launch => state.on_launch().await,
            }
            Ok(())
        })
        .await
    }
}

impl WorkerState {
    fn inspect(&self) -> Inspection {
        let pid = self.link.as_ref().and_then(|link| link.pid());
        vec![
            ("model", self.args.id.model.to_string().into()),
            ("process", pid.map_or_else(|| Fact::from("none yet"), Fact::from)),
        ]
    }

    async fn on_launch(&mut self) {
        let WorkerArgs { id, engine, pool, .. } = &self.args;
        let events = {
            let (id, pool) = (id.clone(), pool.clone());
            Arc::new(move |event| {
                tell(&pool, PoolMsg::WorkerSaid { worker: id.clone(), event });
            })
        };
        let launched = timeout(LAUNCH_TIMEOUT, engine.launch(&id.model, events)).await;
        let launched = launched.unwrap_or_else(|_elapsed| {
            let detail = format!("it could not be started within {LAUNCH_TIMEOUT:?}");
            Err(EngineError::Process { model: id.model.clone(), detail })
        });
        let worker = id.clone();
        match launched {
            Ok(link) => {
                // A pool that ended meanwhile does not want it: nobody holds the link then, and the process ends.
                if tell(pool, PoolMsg::WorkerLaunched { worker, link: link.clone() }) {
                    self.link = Some(link);
                }
            }
            Err(error) => {
                tell(pool, PoolMsg::WorkerSaid { worker, event: WorkerEvent::Exited { error } });
            }
        }
    }
}

/// Whether there is a pool to tell.
fn tell(pool: &ActorRef<Envelope<PoolMsg>>, fact: PoolMsg) -> bool {
    pool.send_message(Envelope::fact(fact)).is_ok()
}

//! The way to an Archon's Hermes.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{Actor, ActorCell, SpawnErr};

use super::actor::{HermesActor, HermesMsg};
use crate::domain::{ArchonSpec, InboxEntry};
use crate::harness::HarnessHandle;
use crate::house::ArchonCounters;
use crate::insight::{Trail, Vitals};
use crate::link::Link;
use crate::memory::MemoryHandle;
use crate::observer::TurnObservers;
use crate::ports::Clock;
use crate::session::SessionFact;

/// Reports of new messages that may wait; one that is refused is found in the store later.
const MAILBOX_LEN_MAX: usize = 1024;

/// What Hermes needs.
#[derive(Clone)]
pub struct HermesArgs {
    /// Whose Hermes it is.
    pub spec: Arc<ArchonSpec>,
    /// The store.
    pub memory: MemoryHandle,
    /// Whom messages are dispatched to.
    pub harness: HarnessHandle,
    /// Who watches turns.
    pub observers: TurnObservers,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// What is counted for others.
    pub counters: Arc<ArchonCounters>,
    /// Where the way of each message is noted.
    pub trail: Trail,
}

/// The way to one Archon's Hermes.
#[derive(Clone)]
pub struct HermesHandle {
    link: Link<HermesMsg>,
    /// A report found no room: the store holds a message that Hermes does not know.
    missed: Arc<AtomicBool>,
}

impl Default for HermesHandle {
    fn default() -> Self {
        Self { link: Link::new("hermes", MAILBOX_LEN_MAX), missed: Arc::default() }
    }
}

impl HermesHandle {
    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Starts the actor behind this handle.
    pub async fn spawn(&self, args: HermesArgs, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let hermes = HermesActor { link: self.link.clone(), missed: self.missed.clone() };
        let (actor, _) = HermesActor::spawn_linked(None, hermes, args, supervisor).await?;
        Ok(actor.get_cell())
    }

    /// Reports a message that is in the inbox now. It cannot be lost: what Hermes does not hear of, it finds in the store.
    pub fn accepted(&self, entry: InboxEntry) {
        if self.link.cast(HermesMsg::Accepted { entry }).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Ends a message without an answer: whoever sent it does not want one any more. `false`: Hermes cannot be reached now.
    pub fn taken_back(&self, entry: InboxEntry) -> bool {
        self.link.cast(HermesMsg::TakenBack { entry }).is_ok()
    }

    /// Fact from the harness about a turn.
    pub fn turn_happened(&self, fact: SessionFact) {
        self.link.fact(HermesMsg::TurnHappened { fact });
    }
}

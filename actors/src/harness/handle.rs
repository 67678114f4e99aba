//! The way to an Archon's harness.
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, SpawnErr};

use super::actor::{HarnessActor, HarnessMsg};
use crate::channel::Owners;
use crate::domain::{ArchonSpec, InboxEntry, InboxId, SessionKey, SessionStatus};
use crate::house::ArchonCounters;
use crate::insight::{Roster, Trail, Vitals};
use crate::link::{Link, LinkError};
use crate::memory::MemoryHandle;
use crate::observer::TurnObservers;
use crate::pool::PoolHandle;
use crate::ports::{ChannelShed, Clock, MediaShelf, Sink};
use crate::session::{Decision, SessionError, SessionFact};
use crate::supervision::SupervisorHandle;
use crate::tools::ToolsHandle;

/// Hermes keeps at most the profile's number of turns in flight; the rest are commands and questions.
const MAILBOX_LEN_MAX: usize = 4096;
/// The slowest thing that the harness awaits is a session that ends.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the harness did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HarnessError {
    /// It could not be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The session is at work.
    #[error("an answer is running in {session}; stop it first")]
    Running {
        /// Which.
        session: SessionKey,
    },
    /// What is allowed for good would count in somebody else's conversations, where no owner sees it again.
    #[error(
        "what somebody else wants is allowed for this time or for the session, not for good; nothing was decided"
    )]
    NotForGood,
    /// The session could not be reached.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What a harness needs.
#[derive(Clone)]
pub struct HarnessArgs {
    /// Whose harness it is.
    pub spec: Arc<ArchonSpec>,
    /// The store.
    pub memory: MemoryHandle,
    /// The models.
    pub pool: PoolHandle,
    /// The sources of tools.
    pub tools: Vec<ToolsHandle>,
    /// Where the owner is asked about the turns of others.
    pub owners: Owners,
    /// What came with messages.
    pub media: Arc<dyn MediaShelf>,
    /// Who watches turns.
    pub observers: TurnObservers,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Starts and stops session actors.
    pub sessions: SupervisorHandle,
    /// What is counted for others.
    pub counters: Arc<ArchonCounters>,
    /// Where the way of each message is noted.
    pub trail: Trail,
    /// Where codes come from.
    pub codes: Arc<dyn ChannelShed>,
    /// Where sessions are shown.
    pub roster: Roster,
    /// The path of the sessions' supervisor.
    pub sessions_path: String,
    /// Hermes.
    pub report: Sink<SessionFact>,
}

/// The way to one Archon's harness.
#[derive(Clone)]
pub struct HarnessHandle {
    link: Link<HarnessMsg>,
}

impl Default for HarnessHandle {
    fn default() -> Self {
        Self { link: Link::new("the harness", MAILBOX_LEN_MAX) }
    }
}

impl HarnessHandle {
    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Starts the actor behind this handle.
    pub async fn spawn(&self, args: HarnessArgs, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let (actor, _) =
            HarnessActor::spawn_linked(None, HarnessActor { link: self.link.clone() }, args, supervisor)
                .await?;
        Ok(actor.get_cell())
    }

    /// Has a message answered. What comes of it is reported to Hermes.
    pub fn dispatch(&self, entry: InboxEntry, attempt: u32) -> Result<(), HarnessError> {
        Ok(self.link.cast(HarnessMsg::Dispatch { entry, attempt })?)
    }

    /// Ends the running turn of a session at its next step. Answers whether one was running.
    pub async fn stop_turn(&self, session: SessionKey) -> Result<bool, HarnessError> {
        self.link.call(CALL_TIMEOUT, |reply| HarnessMsg::StopTurn { session, reply }).await
    }

    /// Says which messages wait for the end of a message's turn, all of its session, in order. One that is lost does nothing worse than
    /// to leave them waiting.
    pub fn waiting(&self, behind: InboxId, waiting: Vec<InboxEntry>) -> Result<(), HarnessError> {
        Ok(self.link.cast(HarnessMsg::Waiting { behind, waiting })?)
    }

    /// Decides about a call that waits for the owner's yes. Answers what it was; `None`: it does not wait here.
    pub(crate) async fn decide(
        &self,
        call: String,
        decision: Decision,
    ) -> Result<Option<String>, HarnessError> {
        self.link.call(CALL_TIMEOUT, |reply| HarnessMsg::Decide { call, decision, reply }).await
    }

    /// Has the try of a message given up, without an answer. A harness that is gone has given it up already.
    pub fn give_up_turn(&self, session: SessionKey, inbox: InboxId) -> Result<(), HarnessError> {
        Ok(self.link.cast(HarnessMsg::GiveUpTurn { session, inbox })?)
    }

    /// Takes a session out of memory, so that what the store holds of it can be changed.
    pub async fn release(&self, session: SessionKey) -> Result<(), HarnessError> {
        self.link.call(CALL_TIMEOUT, |reply| HarnessMsg::Release { session, reply }).await
    }

    /// The sessions in memory.
    pub async fn sessions(&self) -> Result<Vec<SessionStatus>, HarnessError> {
        self.link.call(CALL_TIMEOUT, |reply| HarnessMsg::GetSessions { reply }).await
    }

    /// Fact from the sessions' supervisor: this child is gone. `reason` is `None` when it ended as asked.
    pub fn session_exited(&self, child: String, reason: Option<String>) {
        self.link.fact(HarnessMsg::SessionExited { child, reason });
    }
}

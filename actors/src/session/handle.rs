//! The way to a session, and what it reports.
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, SpawnErr};

use super::acting::Decision;
use super::actor::{SessionActor, SessionMsg};
use super::errand::Errand;
use super::failure::TurnFailure;
use crate::channel::Owners;
use crate::domain::{ArchonSpec, InboxEntry, InboxId, SessionKey, SessionStatus};
use crate::insight::{Trail, Vitals};
use crate::link::{Link, LinkError};
use crate::memory::MemoryHandle;
use crate::observer::TurnObservers;
use crate::pool::PoolHandle;
use crate::ports::{Clock, MediaShelf, Sink};
use crate::tools::ToolsHandle;

/// Messages that may wait in a session: Hermes sends one at a time and says a few times what waits behind it, the rest are stops and
/// questions.
const MAILBOX_LEN_MAX: usize = 64;
/// A session answers between two events of the pool; the slowest thing it awaits is a commit.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a session did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It could not be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What a session tells its harness.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionFact {
    /// The turn shows signs of life. Told at most once a second.
    Progress {
        /// Whose turn.
        inbox: InboxId,
    },
    /// The answer is in the outbox.
    Ended {
        /// Whose turn.
        inbox: InboxId,
        /// Messages that the turn took in: they are done with it.
        taken_in: Vec<InboxId>,
    },
    /// The try is over without an answer.
    Failed {
        /// Whose turn.
        inbox: InboxId,
        /// Which try.
        attempt: u32,
        /// Why.
        failure: TurnFailure,
    },
    /// Nothing happened for the profile's idle time.
    Idle {
        /// Which session.
        key: SessionKey,
    },
}

impl SessionFact {
    /// Which variant, for those who look from outside.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Progress { .. } => "turn-progressed",
            Self::Ended { .. } => "turn-ended",
            Self::Failed { .. } => "turn-failed",
            Self::Idle { .. } => "session-idle",
        }
    }

    /// Whom it is about.
    pub(crate) fn about(&self) -> Option<String> {
        Some(match self {
            Self::Progress { inbox } | Self::Ended { inbox, .. } => format!("message {inbox}"),
            Self::Failed { inbox, attempt, .. } => format!("message {inbox}, try {attempt}"),
            Self::Idle { key } => key.to_string(),
        })
    }
}

/// What a session needs.
#[derive(Clone)]
pub struct SessionArgs {
    /// Which conversation.
    pub key: SessionKey,
    /// Whose.
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
    /// Where the way of each message is noted.
    pub trail: Trail,
    /// The harness.
    pub report: Sink<SessionFact>,
}

/// The way to one session.
#[derive(Clone)]
pub struct SessionHandle {
    link: Link<SessionMsg>,
}

impl Default for SessionHandle {
    fn default() -> Self {
        Self { link: Link::new("the session", MAILBOX_LEN_MAX) }
    }
}

impl SessionHandle {
    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Starts the actor behind this handle.
    pub async fn spawn(&self, args: SessionArgs, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let (actor, _) =
            SessionActor::spawn_linked(None, SessionActor { link: self.link.clone() }, args, supervisor)
                .await?;
        Ok(actor.get_cell())
    }

    /// Begins a turn. What comes of it is reported as [`SessionFact`]s. A turn that runs is given up for it,
    /// unless it is of the same message and no earlier try.
    pub fn run_turn(&self, entry: InboxEntry, attempt: u32) -> Result<(), SessionError> {
        Ok(self.link.cast(SessionMsg::RunTurn { entry, attempt })?)
    }

    /// Ends the running turn at its next step, if one runs.
    pub fn stop_turn(&self) -> Result<(), SessionError> {
        Ok(self.link.cast(SessionMsg::StopTurn)?)
    }

    /// Says which messages wait for the end of a message's turn, in order. What they do to it is the peer's choice.
    pub fn waiting(&self, behind: InboxId, waiting: Vec<InboxEntry>) -> Result<(), SessionError> {
        Ok(self.link.cast(SessionMsg::Waiting { behind, waiting })?)
    }

    /// Drops the running turn of this message without an answer, if it runs.
    pub fn give_up_turn(&self, inbox: InboxId) -> Result<(), SessionError> {
        Ok(self.link.cast(SessionMsg::GiveUpTurn { inbox })?)
    }

    /// Decides about this call, or about the one that the owner was asked about first. Answers what it was; `None`: he was not asked.
    pub(crate) async fn decide(
        &self,
        call: Option<String>,
        decision: Decision,
    ) -> Result<Option<String>, SessionError> {
        self.link.call(CALL_TIMEOUT, |reply| SessionMsg::Decide { call, decision, reply }).await
    }

    /// Does what the peer asks of the session itself; answers what is said to him.
    pub(crate) async fn carry(&self, out: Errand) -> Result<String, SessionError> {
        self.link.call(CALL_TIMEOUT, |reply| SessionMsg::Carry { out, reply }).await
    }

    /// What the session says of itself.
    pub async fn status(&self) -> Result<SessionStatus, SessionError> {
        self.link.call(CALL_TIMEOUT, |reply| SessionMsg::GetStatus { reply }).await
    }
}

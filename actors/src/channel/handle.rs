//! The way to a channel, and what it shows of itself.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorCell, SpawnErr};
use tokio::time::Instant;

use super::actor::{ChannelActor, ChannelMsg};
use super::owners::Hearing;
use crate::domain::{ActorState, ArchonSpec, ChannelId, ChannelStatus, PeerId, Question};
use crate::house::Intake;
use crate::insight::Vitals;
use crate::link::Link;
use crate::observer::TurnObservers;
use crate::ports::{Channel, ChannelShed, Clock, POLL_MAX};

/// Words from outside that may wait: that there are answers, which is said once, and questions to the owner.
const MAILBOX_LEN_MAX: usize = 16;

/// What a channel needs.
pub struct ChannelArgs {
    /// Whose channel it is.
    pub spec: Arc<ArchonSpec>,
    /// The platform.
    pub channel: Arc<dyn Channel>,
    /// Where messages go.
    pub intake: Intake,
    /// Where codes for strangers come from.
    pub codes: Arc<dyn ChannelShed>,
    /// Where turns can be watched.
    pub observers: TurnObservers,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// What a channel's actor notes for those who look.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    pub(super) state: Option<ActorState>,
    pub(super) returned: Option<Instant>,
    /// When a poll came back well last, or the actor began; and the longest time between two of those.
    pub(super) well: Option<(Instant, Duration)>,
    pub(super) replaced: u32,
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) given_up: u64,
    pub(super) waiting: usize,
    pub(super) trouble: Option<String>,
}

/// The way to one channel of an Archon.
#[derive(Clone)]
pub struct ChannelHandle {
    pub(super) link: Link<ChannelMsg>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) sight: Arc<Mutex<Sight>>,
    /// It was told of an answer and has not looked since.
    pub(super) told: Arc<AtomicBool>,
}

impl ChannelHandle {
    /// A way to the actor of this channel, which does not run yet.
    pub fn new(channel: Arc<dyn Channel>) -> Self {
        let link = Link::new("the channel", MAILBOX_LEN_MAX);
        Self { link, channel, sight: Arc::default(), told: Arc::default() }
    }

    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// Which channel.
    pub fn id(&self) -> ChannelId {
        self.channel.id()
    }

    /// The platform.
    pub(crate) fn channel(&self) -> Arc<dyn Channel> {
        self.channel.clone()
    }

    /// Starts the actor behind this handle.
    pub async fn spawn(&self, args: Arc<ChannelArgs>, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let actor = ChannelActor { handle: self.clone() };
        let (actor, _) = ChannelActor::spawn_linked(None, actor, args, supervisor).await?;
        Ok(actor.get_cell())
    }

    /// There is an answer for it in the outbox. It cannot be lost: whoever is not told finds it when he looks next.
    pub fn answered(&self) {
        if !self.told.swap(true, Ordering::AcqRel) && self.link.cast(ChannelMsg::Answered).is_err() {
            // It does not run, and looks when it is started.
            self.told.store(false, Ordering::Release);
        }
    }

    /// Has somebody asked who may say yes to a call, in a chat of his own, where the platform has such chats.
    pub(crate) fn ask(&self, owner: PeerId, question: Question, hearing: Arc<Hearing>) {
        if let Some(chat) = self.channel.chat_with(&owner) {
            // One that cannot be told lets go of the hearing.
            let _ = self.link.cast(ChannelMsg::Ask { owner, chat, question, hearing });
        }
    }

    /// How it is doing.
    pub fn status(&self, spec: &ArchonSpec) -> ChannelStatus {
        let sight = self.sight.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ChannelStatus {
            archon: spec.id.clone(),
            channel: self.id(),
            leads_to: self.channel.leads_to(),
            state: sight.state.unwrap_or(ActorState::Starting),
            polled_ago: sight.returned.map(|returned| returned.elapsed()),
            silence_max: sight.well.map_or(Duration::ZERO, |(at, longest)| longest.max(at.elapsed())),
            poll_max: self.poll_max(),
            replaced: sight.replaced,
            received: sight.received,
            delivered: sight.delivered,
            given_up: sight.given_up,
            waiting: u32::try_from(sight.waiting).unwrap_or(u32::MAX),
            trouble: sight.trouble,
        }
    }

    pub(super) fn poll_max(&self) -> Duration {
        self.channel.poll_max().min(POLL_MAX)
    }
}

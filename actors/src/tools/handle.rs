//! The way to a source of tools.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{Actor, ActorCell, SpawnErr};

use super::actor::{ToolsActor, ToolsMsg};
use crate::domain::{Outcome, ToolCall, ToolOrder, ToolSpec};
use crate::insight::Vitals;
use crate::link::Link;
use crate::ports::{Sink, ToolSource};

/// Calls and cancellations that may wait; the actor never works long.
const MAILBOX_LEN_MAX: usize = 256;

/// The way to one source's actor.
#[derive(Clone)]
pub struct ToolsHandle {
    link: Link<ToolsMsg>,
    source: Arc<dyn ToolSource>,
    calls: Arc<AtomicU64>,
}

impl ToolsHandle {
    /// A way to the actor of this source, which does not run yet.
    pub fn new(source: Arc<dyn ToolSource>) -> Self {
        Self { link: Link::new("the tools", MAILBOX_LEN_MAX), source, calls: Arc::default() }
    }

    /// What the actor shows of itself.
    pub fn vitals(&self) -> &Vitals {
        self.link.vitals()
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The tools that the source has now.
    pub fn tools(&self) -> Vec<ToolSpec> {
        self.source.tools()
    }

    /// Whether the model is always told of its tools.
    pub fn is_core(&self) -> bool {
        self.source.is_core()
    }

    /// The call that a call stands for, if it does.
    pub fn meant(&self, call: &ToolCall) -> Option<ToolCall> {
        self.source.meant(call)
    }

    /// What a call would do, for the owner.
    pub fn shown(&self, call: &ToolCall) -> String {
        self.source.shown(call)
    }

    /// Starts the actor behind this handle.
    pub async fn spawn(&self, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let args = (self.source.clone(), self.link.clone());
        let (actor, _) = ToolsActor::spawn_linked(None, ToolsActor, args, supervisor).await?;
        Ok(actor.get_cell())
    }

    /// Begins a call. `done` is told once what became of it, whatever happens to the actor: [`Outcome::Unknown`] where nobody can tell.
    #[must_use = "a call ends when what stands for it is dropped"]
    pub fn call(&self, order: ToolOrder, done: &Sink<Outcome>) -> RunningCall {
        let unheard: Sink<String> = Arc::new(|_| {});
        self.call_telling(order, done, unheard)
    }

    /// As [`ToolsHandle::call`]; `progress` is told on the way how far it is.
    #[must_use = "a call ends when what stands for it is dropped"]
    pub fn call_telling(
        &self,
        order: ToolOrder,
        done: &Sink<Outcome>,
        progress: Sink<String>,
    ) -> RunningCall {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = ToolsMsg::Call { id, order, done: done.clone(), progress };
        if let Err(error) = self.link.cast(call) {
            done(Outcome::Failed { text: format!("it was not begun: {error}") });
        }
        RunningCall { link: self.link.clone(), id }
    }
}

impl std::fmt::Debug for ToolsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ToolsHandle({})", self.name())
    }
}

/// A call that is being made. Dropped, it is cancelled with all that was begun for it; one that has ended is not touched.
pub struct RunningCall {
    link: Link<ToolsMsg>,
    id: u64,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.link.fact(ToolsMsg::Cancel { id: self.id });
    }
}

//! Makes the calls of one source side by side, each in a task of its own. Talks down to the source; sessions talk to it.
//!
//! What goes wrong with a call is its outcome. A task that ends without one (a panic, a cancellation, the end of this actor) leaves it
//! unknown, and says so.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};

use crate::domain::{Outcome, ToolOrder};
use crate::insight::{Inspection, Message};
use crate::link::{Envelope, Link};
use crate::ports::{Sink, ToolSource};

/// Calls side by side; more are refused. A turn seldom has more than three.
const CALLS_MAX: usize = 32;
/// What a source may take beyond a call's time before it is given up: it keeps the time itself, and says so better.
const GRACE: Duration = Duration::from_secs(5);

pub(super) enum ToolsMsg {
    /// Make a call, and tell what became of it.
    Call { id: u64, order: ToolOrder, done: Sink<Outcome>, progress: Sink<String> },
    /// Give a call up. One that has ended is not known any more.
    Cancel { id: u64 },
    /// Fact from a call's task.
    CallEnded { id: u64 },
    /// Fact from the source: it attends to nothing any more.
    Unattended,
}

impl Message for ToolsMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Cancel { .. } => "cancel",
            Self::CallEnded { .. } => "call-ended",
            Self::Unattended => "unattended",
        }
    }

    fn about(&self) -> Option<String> {
        match self {
            Self::Call { order, .. } => Some(format!("{} for {}", order.call.name, order.session)),
            Self::Cancel { .. } | Self::CallEnded { .. } | Self::Unattended => None,
        }
    }
}

pub(super) struct ToolsActor;

pub(super) struct ToolsState {
    source: Arc<dyn ToolSource>,
    link: Link<ToolsMsg>,
    /// Their end is this actor's end.
    tasks: JoinSet<()>,
    running: HashMap<u64, AbortHandle>,
    made: u64,
}

/// Told exactly once: what became of a call, or that nobody knows.
struct Answer(Option<Sink<Outcome>>);

impl Answer {
    fn give(mut self, outcome: Outcome) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Outcome::Unknown);
        }
    }
}

/// Tells the actor that its source attends no more, also after a panic. This very one: the link may lead to its successor by then.
struct AttendingEnd(ActorRef<Envelope<ToolsMsg>>);

impl Drop for AttendingEnd {
    fn drop(&mut self) {
        // Where the actor has ended, this is why.
        let _ended = self.0.send_message(Envelope::fact(ToolsMsg::Unattended));
    }
}

impl Actor for ToolsActor {
    type Msg = Envelope<ToolsMsg>;
    type State = ToolsState;
    type Arguments = (Arc<dyn ToolSource>, Link<ToolsMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        (source, link): Self::Arguments,
    ) -> Result<ToolsState, ActorProcessingErr> {
        link.attach(me.clone());
        let mut tasks = JoinSet::new();
        let (attended, end) = (source.clone(), AttendingEnd(me));
        tasks.spawn(async move {
            let _told_when_it_ends = end;
            attended.attend().await;
        });
        Ok(ToolsState { source, link, tasks, running: HashMap::new(), made: 0 })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut ToolsState,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = state.link.vitals().clone();
        let Some(opened) = envelope.open(|| state.inspect()) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                ToolsMsg::Call { id, order, done, progress } => {
                    state.on_call(id, order, Answer(Some(done)), progress);
                }
                ToolsMsg::Cancel { id } => state.on_cancel(id),
                ToolsMsg::CallEnded { id } => drop(state.running.remove(&id)),
                ToolsMsg::Unattended => return Err("the source attends to nothing any more".into()),
            }
            Ok(())
        })
        .await
    }
}

impl ToolsState {
    fn on_call(&mut self, id: u64, order: ToolOrder, answer: Answer, progress: Sink<String>) {
        // Ended tasks are let go; a panic among them has been told by its answer.
        while self.tasks.try_join_next().is_some() {}
        if self.running.len() >= CALLS_MAX {
            let text = format!("{CALLS_MAX} calls run already; try again when one has ended");
            return answer.give(Outcome::Failed { text });
        }
        self.made += 1;
        let (source, link) = (self.source.clone(), self.link.clone());
        let task = self.tasks.spawn(async move {
            let limit = order.time_max.saturating_add(GRACE);
            match tokio::time::timeout(limit, source.call_telling(order, progress)).await {
                Ok(outcome) => answer.give(outcome),
                Err(_) => drop(answer),
            }
            link.fact(ToolsMsg::CallEnded { id });
        });
        self.running.insert(id, task);
    }

    fn on_cancel(&mut self, id: u64) {
        if let Some(task) = self.running.remove(&id) {
            task.abort();
        }
    }

    fn inspect(&self) -> Inspection {
        vec![
            ("source", self.source.name().to_owned().into()),
            ("tools", self.source.tools().len().into()),
            ("calls running", self.running.len().into()),
            ("calls side by side at most", CALLS_MAX.into()),
            ("calls made so far", self.made.into()),
        ]
    }
}

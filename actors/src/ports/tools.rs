//! The port of tools: where they come from, and what a call of one is.
use std::sync::Arc;

use async_trait::async_trait;

use super::Sink;
use crate::domain::{ArchonSpec, Outcome, ToolCall, ToolOrder, ToolSpec};

/// Where tools come from: those built in, a directory of programs, a server.
#[async_trait]
pub trait ToolSource: Send + Sync + 'static {
    /// Its name, for people: `built-in`, `directory`, `mcp-files`.
    fn name(&self) -> &str;
    /// The tools that it has now, always in the same order: the model's prompt begins with them.
    fn tools(&self) -> Vec<ToolSpec>;
    /// Whether the model is always told of its tools. Those of other sources are found by search where all together take too much room.
    fn is_core(&self) -> bool {
        false
    }
    /// The call that a call of this source stands for: it is judged, shown, written down and made in its place. `None`: it stands for
    /// itself.
    fn meant(&self, _: &ToolCall) -> Option<ToolCall> {
        None
    }
    /// What a call would do, for the owner's eyes; of a tool that runs programs the command, and nothing else.
    fn shown(&self, call: &ToolCall) -> String {
        format!("{} {}", call.name, call.arguments)
    }
    /// Makes a call, within its time. What goes wrong with it is an [`Outcome`] too. Dropping the future ends all that was begun for it.
    async fn call(&self, order: ToolOrder) -> Outcome;
    /// As [`ToolSource::call`]; tells on the way how far it is, in short lines for people, and not more often than these can read.
    async fn call_telling(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        drop(progress);
        self.call(order).await
    }
    /// What it does beside calls, as long as its actor lives: keeping a connection. Its end is the actor's failure; most have nothing
    /// to do, and never end.
    async fn attend(&self) {
        std::future::pending().await
    }
}

/// Which sources of tools an Archon has. Asked once, when it is started.
pub trait ToolShed: Send + Sync + 'static {
    /// The sources, in the order in which they are looked through.
    fn sources(&self, archon: &ArchonSpec) -> Vec<Arc<dyn ToolSource>>;
}

/// No tools at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTools;

impl ToolShed for NoTools {
    fn sources(&self, _: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        Vec::new()
    }
}

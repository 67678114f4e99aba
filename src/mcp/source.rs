//! A server as a source of tools of one Archon: what the house sees of it.
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_actors::domain::{Outcome, Risk, Tool, ToolOrder, ToolSpec};
use archond_actors::ports::{Sink, ToolSource};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::accepted::{Accepted, Pins};
use super::answer;
use super::connection::CallFault;
use super::life::Life;
use super::offer::exposed_all;
use crate::settings::mcp_file::source_name;
use crate::settings::{McpServer, Paths};
use crate::tools::BuiltIn;

/// Between two looks whether something else was accepted.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The source.
pub struct McpSource {
    name: String,
    server: McpServer,
    pins: Pins,
    life: Life,
    kept: Mutex<Kept>,
}

/// What was accepted, as it was read last.
#[derive(Default)]
struct Kept {
    looked_at: Option<Instant>,
    mark: Option<(u64, i64, i64, u64)>,
    tools: Arc<[Accept]>,
}

/// A tool that was accepted.
struct Accept {
    spec: ToolSpec,
    /// Its name there.
    own: String,
    hash: String,
}

impl McpSource {
    /// A server of the house with these folders. A program of its own works where these tools do, closed in as they are.
    pub fn new(server: McpServer, tools: BuiltIn, paths: &Paths) -> Self {
        let (pins, seen) = (Pins::new(paths.mcp_accepted_dir()), Pins::new(paths.mcp_seen_dir()));
        let life = Life::new(server.clone(), tools, pins.clone(), seen);
        let name = source_name(&server.name);
        Self { name, server, pins, life, kept: Mutex::default() }
    }

    /// What was accepted; looked at again at most once a second.
    fn accepted(&self) -> Arc<[Accept]> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.looked_at.is_some_and(|at| at.elapsed() < LOOK_PERIOD) {
            return kept.tools.clone();
        }
        let file = std::fs::metadata(self.pins.path(&self.server.name)).ok();
        let mark = file.map(|file| (file.ino(), file.ctime(), file.ctime_nsec(), file.len()));
        if kept.looked_at.is_none() || kept.mark != mark {
            kept.tools = self.read();
            kept.mark = mark;
        }
        kept.looked_at = Some(Instant::now());
        kept.tools.clone()
    }

    fn read(&self) -> Arc<[Accept]> {
        let server = &self.server.name;
        match self.pins.read(server) {
            Ok(Some(accepted)) if accepted.is_of(&self.server) => self.tools_of(accepted),
            Ok(Some(_)) => {
                let message = "the MCP server is reached in another way than when it was accepted, and has no tools; `archond mcp accept` accepts it";
                tracing::warn!(server, "{message}");
                Arc::default()
            }
            Ok(None) => {
                tracing::warn!(
                    server,
                    "the MCP server was never accepted, and has no tools; `archond mcp accept` accepts it"
                );
                Arc::default()
            }
            Err(error) => {
                tracing::error!(server, %error, "the MCP server has no tools");
                Arc::default()
            }
        }
    }

    fn tools_of(&self, accepted: Accepted) -> Arc<[Accept]> {
        let names = exposed_all(&self.server.name, accepted.tools.iter().map(|tool| tool.name.as_str()));
        let accept = |(name, offer): (String, super::Offer)| {
            let hash = offer.hash();
            // What the server says of its own harmlessness counts for nothing.
            let risk = self.server.risks.get(&offer.name).copied().unwrap_or(self.server.risk);
            let tool = Tool { name, description: offer.description, parameters: offer.parameters };
            let spec = ToolSpec {
                tool,
                risk,
                is_repeatable: risk == Risk::Read,
                reads_private: self.server.reads_private,
                brings_outside_text: true,
            };
            Accept { spec, own: offer.name, hash }
        };
        names.into_iter().zip(accepted.tools).map(accept).collect()
    }

    async fn called(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        let failed = |text: String| Outcome::Failed { text };
        let (server, name) = (&self.server.name, &order.call.name);
        let accepted = self.accepted();
        let Some(tool) = accepted.iter().find(|tool| tool.spec.tool.name == *name) else {
            return failed(format!("there is no tool `{name}` here"));
        };
        let written = if order.call.arguments.trim().is_empty() { "{}" } else { &order.call.arguments };
        let arguments: Map<String, Value> = match serde_json::from_str(written) {
            Ok(arguments) => arguments,
            Err(error) => return failed(format!("the arguments of `{name}` cannot be used: {error}")),
        };
        let time_max = order.time_max.min(self.server.time_max);
        let began = Instant::now();
        let ready = match self.life.ready(time_max).await {
            Ok(ready) => ready,
            Err(why) => return failed(format!("the MCP server `{server}` does not run: {why}")),
        };
        if !ready.offered.has(&tool.own, &tool.hash) {
            return failed(format!(
                "the MCP server `{server}` offers another tool by this name than the one that was accepted; its owner can look at it with `archond mcp show {server}`"
            ));
        }
        let left = time_max.saturating_sub(began.elapsed());
        match ready.caller.call(&tool.own, arguments, left, progress).await {
            Ok(result) => answer::outcome(result),
            Err(CallFault::Refused(why)) => failed(why),
            Err(CallFault::TimedOut) => {
                self.life.doubt();
                failed(format!(
                    "the call took longer than {} s and was given up; nobody knows whether it took effect",
                    time_max.as_secs_f32()
                ))
            }
            Err(CallFault::Ended) => {
                self.life.doubt();
                let why = self.life.news().await;
                failed(format!(
                    "the MCP server `{server}` broke off during this call ({why}); nobody knows whether it took effect. It is started again"
                ))
            }
        }
    }
}

#[async_trait]
impl ToolSource for McpSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// Those that were accepted, and, once the server has said what it offers, are offered unchanged.
    fn tools(&self) -> Vec<ToolSpec> {
        let (accepted, offered) = (self.accepted(), self.life.offered());
        let is_there = |tool: &&Accept| offered.as_ref().is_none_or(|now| now.has(&tool.own, &tool.hash));
        accepted.iter().filter(is_there).map(|tool| tool.spec.clone()).collect()
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        Box::pin(self.called(order, Arc::new(|_| {}))).await
    }

    async fn call_telling(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        Box::pin(self.called(order, progress)).await
    }

    async fn attend(&self) {
        self.life.live().await;
    }
}

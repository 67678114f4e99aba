//! The user's own tools: programs in a directory, each with a file that says what it is. They run confined as the shell is.
use std::sync::Arc;

use archond_actors::domain::{Outcome, ToolCall, ToolOrder, ToolSpec};
use archond_actors::ports::ToolSource;
use async_trait::async_trait;

use super::directory_files::Directory;
use super::{BuiltIn, Luggage};

/// The name of this source.
pub const DIRECTORY: &str = "directory";

/// The tools of the directory, for one Archon: its workspace is theirs, and their calls count with those of its built-in tools.
#[derive(Debug, Clone)]
pub struct DirectoryTools {
    sandbox: BuiltIn,
    directory: Arc<Directory>,
}

impl DirectoryTools {
    /// The tools of a directory, which work where these built-in ones do, in processes of the same kind.
    pub fn new(sandbox: BuiltIn, directory: Arc<Directory>) -> Self {
        Self { sandbox, directory }
    }
}

#[async_trait]
impl ToolSource for DirectoryTools {
    fn name(&self) -> &str {
        DIRECTORY
    }

    fn tools(&self) -> Vec<ToolSpec> {
        self.directory.tools()
    }

    /// With its braces this fits no rule about commands: a tool that is called like a program of the system is still another one.
    fn shown(&self, call: &ToolCall) -> String {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        format!("{} {arguments}", call.name)
    }

    async fn call(&self, mut order: ToolOrder) -> Outcome {
        let directory = Arc::clone(&self.directory);
        let call = order.call.clone();
        let ready = tokio::task::spawn_blocking(move || directory.prepare(&call.name, &call.arguments)).await;
        match ready {
            Ok(Ok((program, line))) => {
                order.call.arguments = line;
                self.sandbox.in_process(order, Luggage { program: Some(program), web: None }).await
            }
            Ok(Err(why)) => Outcome::Failed { text: why.to_string() },
            Err(error) => Outcome::Failed { text: format!("the call broke off: {error}") },
        }
    }
}

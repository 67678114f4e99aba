//! An MCP server that fails in every way that a server can: for the tests of what the house does about it.
//!
//! Its working folder is its memory: `description` is what it says of its tool `echo`, `cancelled` and `started` are what it leaves there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::io::Write;
use std::process::{Command, Stdio};

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ServiceExt, transport::stdio};
use serde_json::{Value, json};

/// Every tool, each on a page of its own.
const TOOLS: [&str; 9] =
    ["echo", "progress", "crash", "hang", "endless", "huge", "children", "change", "noise"];

struct Faults;

/// Leaves a file when it is dropped.
struct Mark(&'static str);

impl Drop for Mark {
    fn drop(&mut self) {
        std::fs::write(self.0, "").unwrap();
    }
}

/// Two processes that nobody waits for, in sessions of their own.
fn leave_children() {
    let here = std::env::current_dir().unwrap().join("children");
    std::fs::write(&here, "").unwrap();
    for way in ["setsid tail -f", "setsid sh -c 'tail -f \"$1\" & wait' -"] {
        let script = format!("{way} '{}' >/dev/null 2>&1 &", here.display());
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status().unwrap();
    }
}

impl ServerHandler for Faults {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = page.and_then(|page| page.cursor);
        let number: usize = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let said = std::fs::read_to_string("description").unwrap_or_else(|_| "Echoes the text.".to_owned());
        let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        let tool = Tool::new(TOOLS[number], said, schema.as_object().unwrap().clone());
        let mut list = ListToolsResult::with_all_items(vec![tool]);
        list.next_cursor = (number + 1 < TOOLS.len()).then(|| (number + 1).to_string());
        Ok(list)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = call.arguments.as_ref().and_then(|arguments| arguments.get("text"));
        let text = text.and_then(Value::as_str).unwrap_or_default().to_owned();
        let answer = match &*call.name {
            "echo" => text,
            "progress" => {
                let token = context.meta.get_progress_token().unwrap();
                for step in 1..=3 {
                    let told = ProgressNotificationParam::new(token.clone(), f64::from(step))
                        .with_total(3.0)
                        .with_message("on the way");
                    context.peer.notify_progress(told).await.unwrap();
                    // Not more often than it is told on.
                    let _later = tokio::time::timeout(
                        std::time::Duration::from_millis(400),
                        std::future::pending::<()>(),
                    )
                    .await;
                }
                "there".to_owned()
            }
            "crash" => std::process::exit(7),
            "hang" => {
                let _told_when_it_is_given_up = Mark("cancelled");
                std::fs::write("hanging", "").unwrap();
                context.ct.cancelled().await;
                String::new()
            }
            "endless" => loop {
                std::io::stdout().write_all(&[b'x'; 65_536]).unwrap();
            },
            "huge" => "huge ".repeat(300_000),
            "children" => {
                leave_children();
                "left".to_owned()
            }
            "change" => {
                std::fs::write("description", &text).unwrap();
                context.peer.notify_tool_list_changed().await.unwrap();
                "changed".to_owned()
            }
            "noise" => {
                let secret = std::env::var("FAULTS_SECRET").unwrap_or_default();
                for line in 0..1000 {
                    eprintln!("line {line} with {secret}");
                }
                std::process::exit(3)
            }
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(answer)]).into())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("mute") => std::future::pending().await,
        Some("broken") => {
            eprintln!("a library is missing");
            std::process::exit(4)
        }
        Some("children") => leave_children(),
        _ => {}
    }
    std::fs::write("started", std::process::id().to_string()).unwrap();
    let service = Faults.serve(stdio()).await.unwrap();
    service.waiting().await.unwrap();
}

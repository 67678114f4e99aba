//! Which skills there are: the shipped ones, and those of the user's folder, read again when it changed.
//!
//! One bad skill takes no other down: it is told of once in the log, and in every list.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::SHIPPED;
use super::front::{self, SkillFile};
use crate::settings::{Fault, read_text};
use crate::tools::{Mark, is_ours, now};

/// The file that makes a folder a skill.
const FILE: &str = "SKILL.md";
/// Most skills of one's own: a model that is told of more chooses badly.
const SKILLS_MAX: usize = 32;
/// Most entries of the folder that are looked at.
const ENTRIES_MAX: usize = 1024;
/// Longest `SKILL.md`, in bytes: more than ten times what the format advises, and what no small model reads at once.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Between two looks whether something changed.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Files beside `SKILL.md` that are told of.
const FILES_MAX: usize = 50;
/// How many folders deep they are sought.
const DEPTH_MAX: usize = 3;

/// Where a skill came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It came with archond.
    Shipped,
    /// The user's own folder, without symbolic links.
    User(PathBuf),
}

/// One skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// What it is called.
    pub name: String,
    /// What it is for, and when, in one line.
    pub description: String,
    /// Its licence, if it names one.
    pub license: Option<String>,
    /// Markdown.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A skill that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillFault {
    /// Its folder's name.
    pub name: String,
    /// What is wrong.
    pub fault: Fault,
}

/// All skills of a house.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// The sound ones, by name. One of the user's own replaces a shipped one.
    pub skills: Vec<Arc<Skill>>,
    /// What is wrong with others.
    pub faults: Vec<SkillFault>,
    looked_at: Vec<Mark>,
}

/// The shipped skills and the user's folder, which need not exist.
#[derive(Debug)]
pub struct SkillFolder {
    path: PathBuf,
    known: Mutex<Option<(Instant, Shelf)>>,
}

impl SkillFolder {
    /// With the user's folder at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::new(None) }
    }

    /// Everything, read now.
    pub fn read(&self) -> Shelf {
        Shelf::read(&self.path)
    }

    /// The sound skills. Looked at again at most once a second, and read again if something changed.
    pub(super) fn skills(&self) -> Vec<Arc<Skill>> {
        self.looked_at_within(LOOK_PERIOD)
    }

    /// The same, looked at now.
    pub(super) fn skills_now(&self) -> Vec<Arc<Skill>> {
        self.looked_at_within(Duration::ZERO)
    }

    fn looked_at_within(&self, period: Duration) -> Vec<Arc<Skill>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let (last, shelf) = match known.take() {
            Some((last, shelf)) if at.saturating_duration_since(last) < period => (last, shelf),
            Some((_, shelf)) if marks(&self.path) == shelf.looked_at => (at, shelf),
            before => {
                let shelf = Shelf::read(&self.path);
                tell(&shelf.faults, &before.map(|(_, before)| before.faults).unwrap_or_default());
                (at, shelf)
            }
        };
        let skills = shelf.skills.clone();
        *known = Some((last, shelf));
        skills
    }
}

/// Logs the faults that were not there before.
fn tell(faults: &[SkillFault], before: &[SkillFault]) {
    for fault in faults.iter().filter(|fault| !before.contains(fault)) {
        tracing::warn!("a skill is left out: {}", fault.fault);
    }
}

impl Shelf {
    fn read(path: &Path) -> Self {
        // Marks from before the reading: what changed meanwhile is read again.
        let looked_at = marks(path);
        let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, text) in SHIPPED {
            let place = PathBuf::from(format!("archons/skills/{name}/{FILE}"));
            match front::read(&place, name, text) {
                Ok(file) => drop(found.insert(name.to_owned(), skill(file, Origin::Shipped))),
                Err(more) => faults.extend(more.into_iter().map(|fault| named(name, fault))),
            }
        }
        match read_own(path, &mut faults) {
            Ok(own) => found.extend(own),
            // Most houses have none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => faults.push(named("", Fault::of_file(path, format!("cannot be read: {error}")))),
        }
        Self { skills: found.into_values().map(Arc::new).collect(), faults, looked_at }
    }
}

fn named(name: &str, fault: Fault) -> SkillFault {
    SkillFault { name: name.to_owned(), fault }
}

fn skill(file: SkillFile, origin: Origin) -> Skill {
    let SkillFile { name, description, license, text } = file;
    Skill { name, description, license, text, origin }
}

fn read_own(path: &Path, faults: &mut Vec<SkillFault>) -> io::Result<BTreeMap<String, Skill>> {
    let mut own = BTreeMap::new();
    let place = path.canonicalize()?;
    if let Err(fault) = is_ours(&place, path) {
        faults.push(named("", fault));
        return Ok(own);
    }
    for folder in folders(path)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if own.len() >= SKILLS_MAX {
            let message =
                format!("there are more than {SKILLS_MAX} skills; this and all behind it are left out");
            faults.push(named(&name, Fault::of_file(&folder, message)));
            break;
        }
        match read_one(&folder, &name, &place) {
            Ok(skill) => drop(own.insert(name, skill)),
            Err(more) => faults.extend(more.into_iter().map(|fault| named(&name, fault))),
        }
    }
    Ok(own)
}

/// The folders, in order. Hidden ones are editors' and version control's affairs.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)?.take(ENTRIES_MAX);
    let mut folders: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    folders.retain(|folder| {
        let is_hidden = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !is_hidden && folder.is_dir()
    });
    folders.sort();
    Ok(folders)
}

fn marks(path: &Path) -> Vec<Mark> {
    let folders = folders(path).unwrap_or_default();
    let both = folders.into_iter().flat_map(|folder| [folder.join(FILE), folder]);
    std::iter::once(path.to_owned()).chain(both).map(Mark::of).collect()
}

fn read_one(folder: &Path, name: &str, all: &Path) -> Result<Skill, Vec<Fault>> {
    let one = |fault: Fault| vec![fault];
    let path = folder.join(FILE);
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            vec![Fault::of_file(&path, "is missing").with_hint("it makes a folder a skill")]
        }
        _ => vec![Fault::of_file(&path, format!("cannot be read: {error}"))],
    };
    let place = path.canonicalize().map_err(cannot)?;
    if !place.starts_with(all) {
        let message = format!("leads to `{}`, outside the skills' folder", place.display());
        return Err(one(Fault::of_file(&path, message).with_hint("copy it there")));
    }
    // Whose it is comes first: what a stranger wrote is not read.
    for above in place.ancestors().take_while(|above| above.starts_with(all)) {
        is_ours(above, if above == place { &path } else { above }).map_err(one)?;
    }
    let text = read_text(&path).map_err(one)?.unwrap_or_default();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("has {} bytes, {TEXT_BYTES_MAX} at most", text.len());
        return Err(one(Fault::of_file(&path, message).with_hint("move parts into files beside it")));
    }
    let file = front::read(&path, name, &text)?;
    let own = place.parent().unwrap_or(all).to_owned();
    Ok(skill(file, Origin::User(own)))
}

impl Skill {
    /// The files beside its `SKILL.md`, in order. Blocking.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let Origin::User(folder) = &self.origin else { return Vec::new() };
        let mut found = Vec::new();
        collect(folder, DEPTH_MAX, &mut found);
        found.retain(|file| *file != folder.join(FILE));
        found.sort();
        found.truncate(FILES_MAX);
        found
    }
}

/// Links are not followed: the tools that read would refuse what lies behind them.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX) {
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type() {
            Ok(kind) if kind.is_file() && !is_hidden => found.push(entry.path()),
            Ok(kind) if kind.is_dir() && !is_hidden && depth > 1 => collect(&entry.path(), depth - 1, found),
            _ => {}
        }
    }
}

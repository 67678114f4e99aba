//! The catalogue: which models there are, where their files come from, and what they need. Data, one RON file per model.
//!
//! The shipped files are part of the program; a user's directory adds models and replaces shipped ones of the same id.
//! What is on disk is no question for the catalogue: see [`crate::library`].
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod faults;
mod model;

pub use faults::{CatalogueError, Fault, UnknownModel};
pub use model::{Artifact, Bytes, Drafter, Family, KvBytes, Model, Prefixes, Role, Source};
pub(crate) use model::{READ_STEP_TOKENS, is_id, is_sha256};

/// Largest catalogue file, in bytes: the shipped ones have 3 KiB, so more is a mistake (a GGUF in the wrong directory).
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most models of a user's directory: a bound on what one start reads.
const USER_MODELS_MAX: usize = 1_000;

/// The shipped files, by file name.
pub const SHIPPED: [(&str, &str); 6] = [
    ("gemma-4-e2b.ron", include_str!("../../gemma-4-e2b.ron")),
    ("gemma-4-e4b.ron", include_str!("../../gemma-4-e4b.ron")),
    ("gemma-4-26b-a4b.ron", include_str!("../../gemma-4-26b-a4b.ron")),
    ("gemma-4-31b.ron", include_str!("../../gemma-4-31b.ron")),
    ("smollm2-135m-instruct.ron", include_str!("../../smollm2-135m-instruct.ron")),
    ("embeddinggemma-300m.ron", include_str!("../../embeddinggemma-300m.ron")),
];

/// All models that can be named.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// By id.
    models: BTreeMap<String, Arc<Model>>,
    /// Where imported models are described; none when the caller has no such directory.
    user_dir: Option<PathBuf>,
}

impl Catalogue {
    /// The shipped models and those of a user's directory, which need not exist. All faults of all files are told at once.
    pub fn load(user_dir: Option<&Path>) -> Result<Self, CatalogueError> {
        let mut faults = Vec::new();
        let mut catalogue = Self { models: BTreeMap::new(), user_dir: user_dir.map(Path::to_path_buf) };
        for (file, text) in SHIPPED {
            catalogue.add(Path::new(file), text, &mut faults);
        }
        if let Some(dir) = user_dir {
            for path in ron_files(dir, &mut faults) {
                match read_bounded(&path) {
                    Ok(text) => catalogue.add(&path, &text, &mut faults),
                    Err(reason) => faults.push(Fault::whole(&path, reason)),
                }
            }
        }
        catalogue.check_aliases(&mut faults);
        if faults.is_empty() { Ok(catalogue) } else { Err(CatalogueError { faults }) }
    }

    /// The model with exactly this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Model>> {
        self.models.get(id)
    }

    /// All models, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The model that has this name: its id or one of its aliases, whole. Capitals do not count.
    pub fn named(&self, name: &str) -> Option<&Arc<Model>> {
        let wanted = name.trim().to_ascii_lowercase();
        let has_alias = |model: &&Arc<Model>| model.aliases.iter().any(|a| a.eq_ignore_ascii_case(&wanted));
        self.models.get(&wanted).or_else(|| self.iter().find(has_alias))
    }

    /// The model that a person means: an id, an alias, or the start of one if only one model has it. Capitals do not count.
    pub fn find(&self, name: &str) -> Result<&Arc<Model>, UnknownModel> {
        if let Some(model) = self.named(name) {
            return Ok(model);
        }
        let wanted = name.trim().to_ascii_lowercase();
        let starts = |text: &String| text.to_ascii_lowercase().starts_with(&wanted);
        let meant: Vec<_> = match wanted.is_empty() {
            true => Vec::new(),
            false => self.iter().filter(|m| starts(&m.id) || m.aliases.iter().any(starts)).collect(),
        };
        match meant.as_slice() {
            [one] => Ok(one),
            [] => Err(UnknownModel::NoSuch { name: name.to_owned(), known: self.ids() }),
            many => Err(UnknownModel::Ambiguous {
                name: name.to_owned(),
                meant: many.iter().map(|m| m.id.clone()).collect(),
            }),
        }
    }

    /// The directory of the user's own models.
    pub fn user_dir(&self) -> Option<&Path> {
        self.user_dir.as_deref()
    }

    /// Takes a model in, in place of one with the same id.
    pub(crate) fn insert(&mut self, model: Model) {
        self.models.insert(model.id.clone(), Arc::new(model));
    }

    /// Takes a model out.
    pub(crate) fn forget(&mut self, id: &str) {
        self.models.remove(id);
    }

    fn ids(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    fn add(&mut self, path: &Path, text: &str, faults: &mut Vec<Fault>) {
        match parse(text) {
            Ok(model) => {
                faults.extend(model.faults(path));
                self.insert(model);
            }
            Err(error) => faults.push(Fault::at(path, &error)),
        }
    }

    /// An alias must name one model: two owners would make every command that uses it a guess.
    fn check_aliases(&self, faults: &mut Vec<Fault>) {
        let mut owners: BTreeMap<String, &str> = BTreeMap::new();
        for model in self.iter() {
            for alias in model.aliases.iter().map(|a| a.to_ascii_lowercase()) {
                let other = owners.insert(alias.clone(), &model.id);
                if let Some(other) = other.or_else(|| self.models.get(&alias).map(|m| m.id.as_str())) {
                    let reason = format!("the alias `{alias}` also names `{other}`; remove one of the two");
                    faults.push(Fault::whole(Path::new(&format!("{}.ron", model.id)), reason));
                }
            }
        }
    }
}

/// Reads one catalogue file's text.
pub fn parse(text: &str) -> Result<Model, ron::error::SpannedError> {
    options().from_str(text)
}

/// Writes a model as a catalogue file.
pub fn write(model: &Model) -> Result<String, ron::Error> {
    let body = options().to_string_pretty(model, ron::ser::PrettyConfig::new().indentor("    "))?;
    Ok(format!(
        "// Written by `archond model import`. The fields are explained in the shipped catalogue files.\n{body}\n"
    ))
}

pub(crate) fn options() -> ron::Options {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
}

/// The `.ron` files of a directory, by name. A directory that does not exist has none.
fn ron_files(dir: &Path, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            faults.push(Fault::whole(dir, format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "ron"))
        .take(USER_MODELS_MAX + 1)
        .collect();
    if paths.len() > USER_MODELS_MAX {
        faults.push(Fault::whole(dir, format!("has more than {USER_MODELS_MAX} models; remove some")));
    }
    paths.sort();
    paths
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("has {bytes} bytes, more than {FILE_BYTES_MAX}: this is no catalogue file"));
    }
    std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))
}

#[cfg(test)]
mod tests;

//! What can be wrong with a catalogue file or with the name of a model.
use std::fmt;
use std::path::{Path, PathBuf};

/// One fault of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, where the fault has a place.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Fault {
    pub(super) fn whole(path: &Path, reason: String) -> Self {
        Self { path: path.to_path_buf(), place: None, reason }
    }

    pub(super) fn at(path: &Path, error: &ron::error::SpannedError) -> Self {
        let place = Some((error.span.start.line, error.span.start.col));
        Self { path: path.to_path_buf(), place, reason: error.code.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The catalogue cannot be used. Every fault is listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model catalogue has faults:\n{}", list(faults))]
pub struct CatalogueError {
    /// All of them.
    pub faults: Vec<Fault>,
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
}

/// A name that means no model, or several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModel {
    /// No model has this name.
    #[error("there is no model `{name}`; the catalogue has: {}", known.join(", "))]
    NoSuch {
        /// What was asked for.
        name: String,
        /// All ids.
        known: Vec<String>,
    },
    /// Several names begin like this.
    #[error("`{name}` can mean {}; write more of the name", meant.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The ids that it can mean.
        meant: Vec<String>,
    },
}

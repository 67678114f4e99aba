//! What the commands about settings share: how values are shown, and how they fail.
use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use super::exit::ExitCode;
use crate::settings::{Effective, SettingsFaults};

/// Why a command about settings failed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsCommandError {
    /// Settings or profiles are wrong.
    #[error(transparent)]
    Faults(#[from] SettingsFaults),
    /// No profile has this name.
    #[error("there is no Archon `{name}`; {hint}")]
    UnknownArchon {
        /// What was asked for.
        name: String,
        /// What to do instead.
        hint: String,
    },
    /// No skill has this name.
    #[error("there is no skill `{name}`; {hint}")]
    UnknownSkill {
        /// What was asked for.
        name: String,
        /// What to do instead.
        hint: String,
    },
    /// The name cannot be an Archon's.
    #[error(transparent)]
    BadName(#[from] archond_actors::domain::IdError),
    /// The profile to be written exists.
    #[error("`{path}` exists already and is left as it is; edit it, or choose another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The profile could not be written.
    #[error(
        "cannot write `{path}`: {source}; make the folder writable, or set ARCHOND_HOME to a folder of yours"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The result could not be shown.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl SettingsCommandError {
    /// What the shell is told.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Faults(_) => ExitCode::BadSettings,
            Self::UnknownArchon { .. } | Self::UnknownSkill { .. } => ExitCode::NotFound,
            Self::BadName(_) => ExitCode::Usage,
            Self::Exists { .. } | Self::Create { .. } => ExitCode::CannotCreate,
            Self::Output(_) => ExitCode::Failed,
        }
    }
}

/// Writes rows under their headings, without frames, so that they can be cut and searched by other programs.
pub(super) fn write_table<const N: usize>(
    out: &mut dyn Write,
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// Writes settings with the value that holds and where it came from.
pub(super) fn write_effective<'e>(
    out: &mut dyn Write,
    settings: impl IntoIterator<Item = &'e Effective>,
) -> io::Result<()> {
    let row = |setting: &Effective| [setting.name.clone(), shown(&setting.value), setting.from.to_string()];
    write_table(out, ["SETTING", "VALUE", "FROM"], settings.into_iter().map(row))
}

/// Writes JSON for other programs.
pub(super) fn write_json(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value:#}")
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        // A condition of a rule: {"StartsWith": "review"} is written StartsWith(review).
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}({})", shown(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

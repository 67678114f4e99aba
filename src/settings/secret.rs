//! Where a secret is. The secret itself is never a setting: settings are shown, copied and kept in repositories.
use std::path::PathBuf;

use super::reader::Group;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyReference {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable of the daemon.
    Variable(String),
}

/// Why a secret cannot be had. Written to follow what it is the secret of.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot be read from {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The variable is not there.
    #[error("is to be in ${name}, which is not set")]
    Variable {
        /// Its name.
        name: String,
    },
}

impl KeyReference {
    /// The secret, blanks around it left out. Reads the disk.
    pub fn reveal(&self) -> Result<String, SecretError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|source| SecretError::File { path: path.display().to_string(), source })?,
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| SecretError::Variable { name: name.clone() })?
            }
        };
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

impl std::str::FromStr for KeyReference {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "must be `file:/PATH` or `env:VARIABLE`: a secret is not written into the settings";
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => Ok(Self::Variable(name.into())),
            _ => Err(wanted.to_owned()),
        }
    }
}

impl std::fmt::Display for KeyReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
        }
    }
}

/// A secret that there has to be: `why` says what it is for.
pub fn required(group: &mut Group<'_>, name: &'static str, why: &str) -> Option<KeyReference> {
    let check = |text: &String| text.parse::<KeyReference>().map(drop);
    group.required::<String>(name, why, check)?.value.parse().ok()
}

/// Whether a setting says where a secret is; it need not.
#[expect(clippy::ref_option, reason = "a check is given a reference to the setting's own type")]
pub(crate) fn is_reference(text: &Option<String>) -> Result<(), String> {
    match text {
        Some(text) => text.parse::<KeyReference>().map(drop),
        None => Ok(()),
    }
}

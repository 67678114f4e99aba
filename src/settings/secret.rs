//! Where a secret is. The secret itself is never a setting: settings are shown, copied and kept in repositories.
use std::path::{Path, PathBuf};

use super::reader::Group;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyReference {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable of the daemon.
    Variable(String),
    /// A credential that the service manager hands the daemon (`LoadCredential=`, `LoadCredentialEncrypted=`): a file of this name in
    /// `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Where the service manager puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

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
            Self::File(path) => read(path)?,
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| SecretError::Variable { name: name.clone() })?
            }
            Self::Credential(name) => {
                let folder = std::env::var_os(CREDENTIALS)
                    .ok_or_else(|| SecretError::Variable { name: CREDENTIALS.to_owned() })?;
                read(&PathBuf::from(folder).join(name))?
            }
        };
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

fn read(path: &Path) -> Result<String, SecretError> {
    std::fs::read_to_string(path)
        .map_err(|source| SecretError::File { path: path.display().to_string(), source })
}

/// Whether it is the name of one file, and of none elsewhere.
fn is_credential_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl std::str::FromStr for KeyReference {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "must be `file:/PATH`, `env:VARIABLE` or `credential:NAME`: a secret is not written into the settings";
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => Ok(Self::Variable(name.into())),
            Some(("credential", name)) if is_credential_name(name) => Ok(Self::Credential(name.into())),
            _ => Err(wanted.to_owned()),
        }
    }
}

impl std::fmt::Display for KeyReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// A secret that there has to be: `why` says what it is for.
pub fn required(group: &mut Group<'_>, name: &'static str, why: &str) -> Option<KeyReference> {
    let check = |text: &String| text.parse::<KeyReference>().map(drop);
    group.required::<String>(name, why, check)?.value.parse().ok()
}

/// A secret that there need not be.
pub fn optional(group: &mut Group<'_>, name: &'static str) -> Option<KeyReference> {
    group.value(name, None::<String>, is_reference)?.parse().ok()
}

/// Whether a setting says where a secret is; it need not.
#[expect(clippy::ref_option, reason = "a check is given a reference to the setting's own type")]
pub(crate) fn is_reference(text: &Option<String>) -> Result<(), String> {
    match text {
        Some(text) => text.parse::<KeyReference>().map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_says_where_and_never_what() {
        let table = [
            ("file:/a/b", Ok(KeyReference::File("/a/b".into()))),
            ("env:TOKEN", Ok(KeyReference::Variable("TOKEN".into()))),
            ("credential:ezra-nostr.key", Ok(KeyReference::Credential("ezra-nostr.key".into()))),
            ("file:relative", Err(())),
            ("env:", Err(())),
            ("credential:", Err(())),
            ("credential:../shadow", Err(())),
            ("credential:..", Err(())),
            ("credential:/etc/shadow", Err(())),
            ("nsec1qqq", Err(())),
        ];
        for (text, expected) in table {
            let read = text.parse::<KeyReference>();
            if let Ok(reference) = &read {
                assert_eq!(reference.to_string(), text);
            }
            assert_eq!(read.map_err(drop), expected, "{text}");
        }
    }

    #[test]
    fn the_first_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, " secret \nmore").unwrap();
        assert_eq!(KeyReference::File(path).reveal().unwrap(), "secret");
        let error = KeyReference::Credential("no-such-credential".into()).reveal().unwrap_err();
        assert!(error.to_string().contains("CREDENTIALS_DIRECTORY"), "{error}");
    }
}

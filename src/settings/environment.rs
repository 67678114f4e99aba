//! The environment variables that archond reads, taken once, so that tests can give their own.
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What all of archond's variables begin with.
const PREFIX: &str = "ARCHOND_";

/// The variables `ARCHOND_*` of a process.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Those of this process. An empty variable counts as unset, as shells and containers often cannot unset one.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
            .collect()
    }

    /// The variable's value.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// The variable that overrides a setting: `worker.slots` is `ARCHOND_WORKER_SLOTS`.
    pub fn name_of(setting: &str) -> String {
        format!("{PREFIX}{}", setting.replace('.', "_").to_uppercase())
    }
}

impl FromIterator<(String, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

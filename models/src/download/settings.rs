//! Where models come from on this machine, read from the environment as the hub's and pip's own tools read it.
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::{PullError, origin, pip_config};

/// The hub that the catalogue's repositories are on.
const HUB: &str = "https://huggingface.co";

/// Where to fetch from, and how patiently.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's base address.
    pub hub: Url,
    /// The hub's token, for gated models.
    pub hub_token: Option<Token>,
    /// The Python package index, in the simple form.
    pub index: Url,
    /// Patience.
    pub limits: Limits,
}

/// A secret that is sent to one host and shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, unless the text is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How patient a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A server that sends nothing for so long is given up.
    pub stall_timeout: Duration,
    /// Tries in a row without progress.
    pub attempts_max: u32,
    /// The first wait between tries; each next one is twice as long.
    pub backoff_first: Duration,
    /// The longest wait between tries.
    pub backoff_max: Duration,
}

impl Default for Limits {
    /// 30 s, because a slow hub was seen to pause for 20 s; five tries over 7.5 s, because a Wi-Fi that changes its access point
    /// is back by then, and a person without a network is told soon.
    fn default() -> Self {
        Self {
            stall_timeout: Duration::from_secs(30),
            attempts_max: 5,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// As this process's environment and pip's configuration files say.
    pub fn from_process() -> Result<Self, PullError> {
        Self::read(&|name| std::env::var(name).ok(), &|path| std::fs::read_to_string(path).ok())
    }

    /// As an environment and a set of files say. `HF_ENDPOINT` and `HF_TOKEN` are the hub's own names.
    pub fn read(
        var: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<Self, PullError> {
        let set = |name: &str| var(name).filter(|text| !text.trim().is_empty());
        let hub = match set("HF_ENDPOINT") {
            Some(text) => origin::parse_url("HF_ENDPOINT", text.trim())?,
            None => origin::parse_url("the hub", HUB)?,
        };
        let index = pip_config::index(&set, file);
        Ok(Self {
            hub,
            hub_token: set("HF_TOKEN").as_deref().and_then(Token::new),
            index: origin::parse_url(&index.0, index.1.trim())?,
            limits: Limits::default(),
        })
    }
}

/// A path from a variable, if it is set.
pub(super) fn path_var(var: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<PathBuf> {
    var(name).map(PathBuf::from)
}

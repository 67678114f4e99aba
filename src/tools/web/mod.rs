//! The daemon's side of the tools that reach the web: where they may go, the connections that they are given, and how what they brought
//! is told.
//!
//! The process that reads what strangers wrote has no network. It asks for a connection by name (`line`); the gate (`gate`) looks the
//! name up, judges every address, connects, and hands the open connection over. So nothing that a page does to that process leads
//! anywhere that was not judged, and there is no second look-up that could be answered differently.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archond_actors::domain::ToolLimits;
use serde::{Deserialize, Serialize};

use crate::settings::WebSettings;
use crate::web::{Place, WebRules};

pub(super) mod gate;
pub(super) mod line;
mod network;
pub(super) mod told;

pub use network::{Network, SystemNetwork};

/// Reads a page.
pub(super) const FETCH: &str = "web_fetch";
/// Asks the user's search engine.
pub(super) const SEARCH: &str = "web_search";

/// Where the tools of one Archon may go, and how much of it they bring.
#[derive(Debug, Clone)]
pub struct WebAccess {
    rules: WebRules,
    searxng: Option<Place>,
    authorities: Option<PathBuf>,
    body_bytes_max: u64,
    time_max: Duration,
    output_chars: usize,
    network: Arc<dyn Network>,
}

impl WebAccess {
    /// As the settings say. `output_chars`: what the model is shown of an answer.
    pub fn new(settings: &WebSettings, output_chars: u32) -> Self {
        Self {
            rules: WebRules::new(settings.hosts.clone()),
            searxng: settings.searxng.clone(),
            authorities: settings.authorities.clone(),
            body_bytes_max: settings.body_max.0,
            time_max: settings.timeout,
            output_chars: output_chars as usize,
            network: Arc::new(SystemNetwork),
        }
    }

    /// The same in another network than the machine's: for tests.
    #[must_use]
    pub fn through(self, network: Arc<dyn Network>) -> Self {
        Self { network, ..self }
    }

    /// Whether a tool can do anything here: without a search engine nobody can search.
    pub fn offers(&self, tool: &str) -> bool {
        tool != SEARCH || self.searxng.is_some()
    }

    /// Where they may go, in words.
    pub(super) fn reach(&self) -> String {
        let mut reach = "public addresses at ports 80 and 443".to_owned();
        for named in self.rules.named() {
            reach.push_str(&format!(", {named}"));
        }
        if let Some(searxng) = &self.searxng {
            reach.push_str(&format!("; web_search: {searxng} alone"));
        }
        reach
    }

    pub(super) fn order(&self) -> WebOrder {
        WebOrder {
            searxng: self.searxng.as_ref().map(ToString::to_string),
            authorities: self.authorities.clone(),
            body_bytes_max: self.body_bytes_max,
            time_max: self.time_max,
        }
    }

    /// Longest time of a call, with some for the process to say that it is up.
    pub(super) fn time_max(&self) -> Duration {
        self.time_max.saturating_add(Duration::from_secs(3))
    }

    pub(super) fn output_chars(&self) -> usize {
        self.output_chars
    }
}

impl Default for WebAccess {
    /// Everybody's network alone, and no search.
    fn default() -> Self {
        Self::new(&WebSettings::default(), ToolLimits::default().output_chars_max)
    }
}

/// Whether a tool is one of these.
pub(super) fn is_web(tool: &str) -> bool {
    [FETCH, SEARCH].contains(&tool)
}

/// What the process of such a tool is told beside its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebOrder {
    /// The search engine's address.
    pub(super) searxng: Option<String>,
    /// More certificates to believe.
    pub(super) authorities: Option<PathBuf>,
    /// What is read of a page, in bytes, packed or not.
    pub(super) body_bytes_max: u64,
    pub(super) time_max: Duration,
}

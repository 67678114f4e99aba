//! A model on another machine of the user's: an OpenAI-compatible server (llama-server, vLLM, another archond) in a worker's place.
//!
//! Reading order: `address` is the rule what the user's own network is, [`endpoint`](Endpoint) keeps it, `sse` reads a server's events,
//! `ask` and `answer` are the two directions of translation, all pure; `client` does the asking; `link` is the worker, which takes the
//! [`Request`](crate::worker::Request)s and tells the [`Event`](crate::worker::Event)s of one.
//!
//! Nothing leaves the user's own network unless the settings name the host: the address is checked when the settings are read, when the
//! daemon starts and at every connection. A server is believed as little as a worker process: what it sends is bounded and read as data.
mod address;
mod answer;
mod ask;
mod begun;
mod client;
mod endpoint;
mod link;
mod own_url;
mod sse;

pub use address::Reach;
pub use begun::Begun;
pub use client::Served;
pub use endpoint::{Egress, Endpoint, EndpointFault};
pub use link::RemoteWorker;
pub use own_url::OwnUrl;

use crate::download::Token;

/// A server, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct RemoteSpec {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it wants to see of us.
    pub key: Option<Token>,
    /// The model's name there; `None`: the only one that it has.
    pub model: Option<String>,
    /// Answers side by side; `None`: as it says itself.
    pub slots: Option<u32>,
    /// Context of one answer, in tokens; `None`: as it says itself. Never more than that.
    pub context_tokens: Option<u32>,
}

/// Asks a server once for what it has of the model that is wanted; otherwise, what is wrong.
pub async fn look(spec: &RemoteSpec) -> Result<Served, String> {
    let client = client::RemoteClient::new(spec.endpoint.clone(), spec.key.as_ref())?;
    client.probe(spec.model.as_deref()).await.map_err(|fault| fault.to_string())
}

/// How a server tells the length of a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Counting {
    #[default]
    Unknown,
    LlamaServer,
    Vllm,
    Never,
}

#[cfg(test)]
mod tests;

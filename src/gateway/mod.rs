//! The gateway: the OpenAI API over HTTP, for models by their names and for Archons as `archon:NAME`.
//!
//! Reading order: [`server`] lets clients in and routes them, `access` decides who may ask, `opening` is what all requests begin with,
//! `fields`, `wishes` and `chat` read them, `answer` is the way to the house, `choices` are several answers to one request, `wire` writes
//! answers, `endpoints` and `inquiries` join them.
mod access;
mod answer;
mod chat;
mod choices;
mod endpoints;
mod error;
mod fields;
mod inquiries;
mod metrics;
mod opening;
mod server;
mod stream;
mod wire;
mod wishes;

pub use access::KeyError;
pub use server::{Gateway, GatewayContext};

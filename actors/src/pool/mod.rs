//! The one pool into which all inference funnels: it queues, picks the model, keeps workers alive, and streams.
//!
//! A worker that dies is replaced and its answers go on where they stopped; whoever reads sees one answer.
//!
//! Read in this order:
//! - [`handle`]: what everybody else holds, and the words they use.
//! - [`settings`]: how much the pool bears.
//! - Three pure machines decide: `admission` who goes next, `watchdog` whether a worker is well, `ladder` what becomes of
//!   a model whose workers die.
//! - `lane`: one model; `request`: one order; `shelf`: which models are on disk.
//! - `actor`: questions and deadlines; `workers`: what workers say and how they end; `worker`: how one is started.
mod actor;
mod admission;
pub mod handle;
mod ladder;
mod lane;
mod request;
mod room;
pub mod settings;
mod shelf;
mod watchdog;
mod worker;
mod workers;

#[cfg(test)]
mod tests;

pub use handle::{GenerationEvent, GenerationOrder, PoolArgs, PoolError, PoolHandle};
pub use settings::PoolSettings;

//! The one pool into which all inference funnels: it queues, picks the model, keeps workers alive, and streams.
//!
//! A worker that dies is replaced and its answers go on where they stopped; whoever reads sees one answer.
//!
//! Read in this order:
//! - [`handle`]: what everybody else holds, and the words they use.
//! - [`settings`]: how much the pool bears.
mod actor;
pub mod handle;
pub mod settings;

pub use handle::{GenerationEvent, GenerationOrder, PoolArgs, PoolError, PoolHandle};
pub use settings::PoolSettings;

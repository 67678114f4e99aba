//! Hermes, the fit layer of one Archon: receives, dispatches to the harness, returns the answer, handles errors.
//!
//! No reasoning, no prompt, no tool, no model name. [`dispatch`] decides, [`actor`] does.
mod actor;
mod dispatch;
mod handle;

pub use handle::{HermesArgs, HermesHandle};

#[cfg(test)]
pub(crate) use actor::HermesMsg;

//! The hands of an Archon: one actor for each source of tools, and what a turn may do with them.
//!
//! [`actor`] makes calls side by side, each within its time; [`kit`] says which tools there are, which of them the model is told of, and
//! which calls may be made; [`search`] finds the others.
mod actor;
mod handle;
mod kit;
pub mod search;
#[cfg(test)]
mod tests;

pub use handle::{RunningCall, ToolsHandle};
pub use kit::{KitTool, ToolKit};

//! The hands of an Archon: one actor for each source of tools, and what a turn may do with them.
//!
//! [`actor`] makes calls side by side, each within its time; [`kit`] says which tools there are and which calls may be made.
mod actor;
mod handle;
mod kit;
#[cfg(test)]
mod tests;

pub use handle::{RunningCall, ToolsHandle};
pub use kit::{KitTool, ToolKit};

//! The harness of one Archon: owns its sessions, and answers the commands that concern them.
mod actor;
mod carrying;
mod deciding;
mod hand_off;
mod handle;
mod listing;
mod memory;
mod notice;
mod places;

pub use handle::{HarnessArgs, HarnessError, HarnessHandle};
pub use notice::stand_in;

#[cfg(test)]
pub(crate) use actor::HarnessMsg;

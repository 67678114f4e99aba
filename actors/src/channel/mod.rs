//! The roads to platforms: one actor for each channel of an Archon, whatever the platform.
//!
//! Nothing is acknowledged to a platform before it is in the inbox, and nothing leaves the outbox before the platform has it. What the
//! adapter must know after a crash (how far it has received, how far a delivery is) is in the store, not in the adapter.
//!
//! - `receiving` decides when to poll, `delivery` which answer goes next and what follows from a failure; both are pure.
//! - `carrying` holds the tasks that take long, `watching` shows an answer while it comes.
//! - `owners` finds the chats in which the owner is asked about the turns of others.
//! - `actor` starts these tasks, takes their reports, and replaces a poll that hangs.
mod actor;
mod carrying;
mod delivery;
mod handle;
mod owners;
mod receiving;
#[cfg(test)]
mod tests;
mod watching;

pub use handle::{ChannelArgs, ChannelHandle};
pub(crate) use owners::{Asking, Hearing};
pub use owners::{Owners, WATCH_MAX};

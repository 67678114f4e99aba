//! The Unix socket by which clients of this machine talk with the daemon.
//!
//! [`protocol`] is what is said, [`listener`] who is let in, [`connection`] one client, [`operations`] what is done for him;
//! [`operator`], [`inside`] and [`trail`] are for those who look into the house.
mod connection;
pub mod inside;
mod line;
mod listener;
mod operations;
pub mod operator;
pub mod protocol;
pub mod trail;
mod views;

pub use listener::{AdminListener, BindError};
pub use operations::{AdminContext, ProfileError, ProfileSource};

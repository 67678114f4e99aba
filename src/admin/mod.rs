//! The Unix socket by which clients of this machine talk with the daemon.
//!
//! [`protocol`] is what is said, [`listener`] who is let in, [`connection`] one client, [`operations`] what is done for him ([`bringing`]: with files that he brings);
//! [`operator`], [`inside`] and [`trail`] are for those who look into the house, [`memory`] and [`remembering`] for those who ask what is remembered;
//! [`channels`] and [`roads`] for those who ask about the roads to platforms, [`approvals`] and [`deciding`] for the calls that wait for a yes.
pub mod approvals;
mod bringing;
pub mod channels;
mod connection;
mod deciding;
pub mod inside;
mod line;
mod listener;
pub mod memory;
mod operations;
pub mod operator;
pub mod protocol;
mod remembering;
mod roads;
pub mod trail;
mod views;

pub use listener::{AdminListener, BindError};
pub use operations::{AdminContext, ProfileError, ProfileSource};

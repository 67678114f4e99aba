//! One conversation: brought up when a message comes, passivated when it is quiet, restored whole.
//!
//! [`turn`] decides, [`actor`] does; outsiders hold a [`SessionHandle`].
mod actor;
mod handle;
mod order;
mod turn;

pub use handle::{SessionArgs, SessionError, SessionFact, SessionHandle};
pub use turn::TurnFailure;

#[cfg(test)]
pub(crate) use actor::SessionMsg;

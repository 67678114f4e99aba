//! One conversation: brought up when a message comes, passivated when it is quiet, restored whole.
//!
//! [`turn`] decides, [`actor`] does; outsiders hold a [`SessionHandle`].
mod acting;
mod actor;
mod calling;
mod effects;
mod guard;
mod handle;
mod order;
mod turn;

pub(crate) use acting::Decision;
pub use handle::{SessionArgs, SessionError, SessionFact, SessionHandle};
pub use turn::TurnFailure;

#[cfg(test)]
pub(crate) use actor::SessionMsg;

//! One conversation: brought up when a message comes, passivated when it is quiet, restored whole.
//!
//! [`turn`] decides, [`actor`] does; outsiders hold a [`SessionHandle`].
mod acting;
mod actor;
mod calling;
mod effects;
mod failure;
mod guard;
mod handle;
mod order;
mod turn;

pub(crate) use acting::Decision;
pub use failure::{TryEnd, TurnFailure};
pub use handle::{SessionArgs, SessionError, SessionFact, SessionHandle};

#[cfg(test)]
pub(crate) use actor::SessionMsg;

//! One conversation: brought up when a message comes, passivated when it is quiet, restored whole.
//!
//! [`turn`] decides, [`actor`] does; outsiders hold a [`SessionHandle`].
mod acting;
mod actor;
mod asking;
mod calling;
mod effects;
mod errand;
mod failure;
mod forgoing;
mod guard;
mod handle;
mod joining;
mod looking;
mod order;
mod preparing;
mod report;
mod sending;
mod tidying;
mod turn;

pub use acting::Decision;
pub(crate) use errand::Errand;
pub use failure::{TryEnd, TurnFailure};
pub use handle::{SessionArgs, SessionError, SessionFact, SessionHandle};
pub(crate) use report::quote;

#[cfg(test)]
pub(crate) use actor::SessionMsg;

//! What can be seen of every actor from outside, and what can be done to it.
//!
//! An actor that hangs cannot say that it hangs. So each one leaves a few facts where others can read them at any time, without
//! a message: what it is doing, since when, whom it waits for, how much waits for it.
//!
//! - [`vitals`]: the facts of one actor, kept by its link.
//! - [`roster`]: all of them, as a tree.
//! - [`crash`]: what is known of those that ended.
//! - [`trail`]: which way each of the last answers took, from the inbox to the outbox.
//! - [`inspection`]: what an actor answers when it is asked for its state, without anybody's words in it.
pub mod crash;
pub mod inspection;
pub mod roster;
pub mod trail;
pub mod vitals;

#[cfg(test)]
mod tests;

pub use crash::Crash;
pub use inspection::{Fact, Inspection};
pub use roster::{ActorView, Roster, RosterError};
pub use trail::{AnswerTrail, Station, Trail};
pub use vitals::{Doing, Message, TraceEvent, Vitals, note_panic};

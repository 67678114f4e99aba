//! Keeps actors alive: OTP's supervision, which ractor leaves to its users.
//!
//! Children start in order and stop in reverse, each with a limit; a restart is a delayed message; restarts are
//! bounded, and what happens past the bound is data: give up, or put the child into quarantine and try it
//! now and then.
//!
//! Read in this order:
//! - [`rules`]: the words.
//! - [`events`]: what goes into the policy and what comes out.
//! - [`policy`]: every decision, as a pure function from events to effects; `child` is what it keeps of each.
//! - [`spec`]: what a supervisor is given.
//! - [`handle`]: how others talk to it.
//! - `actor`: carries out what the policy decides.
mod actor;
mod child;
pub mod events;
pub mod handle;
pub mod policy;
pub mod rules;
pub mod spec;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;

pub use handle::{SupervisionError, SupervisorHandle, spawn_supervisor, sub_supervisor};
pub use rules::{
    Backoff, ChildStatus, Exceeded, ExitReason, Intensity, Restart, Shutdown, Strategy, SupervisionFact,
};
pub use spec::{ChildSpec, StartFn, SupervisorSpec, start_fn};

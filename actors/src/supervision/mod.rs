//! Keeps actors alive: OTP's supervision, which ractor leaves to its users.
//!
//! Children start in order and stop in reverse, each with a limit; a restart is a delayed message; restarts are
//! bounded, and what happens past the bound is data: give up, quarantine the child, or try it now and then.
//!
//! Read in this order:
//! - [`rules`]: the words.
//! - [`policy`]: every decision, as a pure function from events to effects.
//! - [`spec`]: what a supervisor is given.
//! - [`handle`]: how others talk to it.
//! - `actor`: carries out what the policy decides.
mod actor;
pub mod handle;
pub mod policy;
pub mod rules;
pub mod spec;

pub use handle::{ChildStatus, SupervisionError, SupervisorHandle, spawn_supervisor, sub_supervisor};
pub use rules::{Backoff, Exceeded, ExitReason, Intensity, Restart, Shutdown, Strategy, SupervisionFact};
pub use spec::{ChildSpec, StartFn, SupervisorSpec, start_fn};

//! The house as a whole: the supervision tree, and the one way in for every channel.
//!
//! ```text
//! house      rest_for_one: what depends on a part that failed starts afresh with it
//! ├── memory     the store's single owner
//! ├── pool       Gemma: queue, workers
//! ├── archons    one_for_one: an Archon that fails is quarantined, its siblings notice nothing
//! │   └── ezra       rest_for_one
//! │       ├── harness
//! │       ├── sessions   temporary children; too many crashes end the Archon
//! │       ├── hermes
//! │       └── channels   one_for_one: one for each platform; one that fails rests for a minute, alone
//! └── services   one_for_one: tasks of the world around the house, such as the gateway
//! ```
mod archon;
mod counters;
mod handing;
mod open_tasks;
mod service;
mod service_actor;
mod status;
mod submit;
mod tree;

pub use counters::ArchonCounters;
pub use handing::Delegation;
pub use service::{Look, Service, Task};
pub use submit::{Intake, SubmitError};
pub use tree::{House, HouseArgs, HouseError};

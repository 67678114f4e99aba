//! Doubles of the ports, for tests, benches and examples: they behave, they can be told to misbehave, and need no disk.
pub mod engine;
pub mod findings;
pub mod media;
pub mod platform;
pub mod spec;
pub mod store;
pub mod store_model;
pub mod tools;

pub use engine::{FakeEngine, FakeFault, FakeLoad};
pub use media::FakeMedia;
pub use platform::{FakePlatform, Mishap, Seen, inbound};
pub use spec::{GREEDY, StoppedClock, archon_spec, message};
pub use store::MemStore;
pub use tools::ToyTools;

//! The plain data of the engine, without llama.cpp.
#[path = "../../models/src/engine/request.rs"]
mod request;

pub use request::{Finish, Refusal, Request, Role, SamplingParams, Usage};

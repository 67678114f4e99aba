//! The plain data of the engine, without llama.cpp.
#[path = "../../models/src/engine/request.rs"]
mod request;

pub use request::{Chosen, Finish, Prompt, Refusal, Request, SamplingParams, TokenLogprob, Usage};

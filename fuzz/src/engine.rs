//! The plain data of the engine, without llama.cpp.
#[path = "../../models/src/engine/request.rs"]
mod request;

pub use request::{
    Chosen, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Request, SamplingParams, Stretch,
    TokenLogprob, Usage,
};

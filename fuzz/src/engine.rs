//! The plain data of the engine, without llama.cpp.
#[path = "../../models/src/engine/request.rs"]
mod request;
#[path = "../../models/src/engine/residence.rs"]
mod residence;

pub use request::{
    Chosen, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Request, SamplingParams, Stretch,
    TokenLogprob, Usage,
};
pub use residence::Residence;

//! Everything archond knows about its models.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod catalogue;
pub mod chat;
pub mod download;
#[cfg(feature = "llama")]
pub mod engine;
pub mod gguf;
pub mod grammar;
pub mod library;
pub mod media;
pub mod progress;
#[cfg(feature = "llama")]
pub mod remote;
#[cfg(feature = "llama")]
pub mod worker;

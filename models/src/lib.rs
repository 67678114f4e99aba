//! Everything archond knows about its models.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod catalogue;
pub mod download;
pub mod gguf;
pub mod library;
pub mod progress;

//! archond: the world around the house. Settings, adapters, command line.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod cli;
pub mod settings;
pub mod store;

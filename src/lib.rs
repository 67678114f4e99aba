//! archond: the world around the house. Settings, adapters, command line.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod audit;
pub mod bench;
pub mod channels;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod doctor;
pub mod engine;
pub mod gateway;
pub mod keepsakes;
pub mod logging;
pub mod mcp;
pub mod models_on_disk;
pub mod settings;
pub mod shelves;
pub mod skills;
pub mod store;
pub mod tools;
pub mod web;
pub mod worker_fit;

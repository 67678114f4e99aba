//! The integration tests, one binary: each module drives the product from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "it/settings.rs"]
mod settings;
#[path = "it/store_contract.rs"]
mod store_contract;

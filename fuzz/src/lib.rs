//! What archond must do with anything that it reads from those it does not trust: one function for each reader.
//!
//! Each takes any bytes and panics when a promise is broken. `cargo +nightly fuzz run <target>` searches for such bytes, and
//! `tests/fuzz_corpus.rs` includes this file and runs what was found, with the stable compiler, in each test run.
//!
//! The product's own files are included by path: its readers stay private, and nothing of this is in the released binary.
#![allow(dead_code, reason = "of each product's file only the reader is used")]
#![allow(unused_imports, reason = "a product's module offers more than its reader")]
#![allow(unreachable_pub, reason = "the product's files are public in another place")]

mod admin;
mod chat_format;
pub mod engine;
mod gguf_head;
mod json_schema;
#[path = "../../src/settings/mod.rs"]
pub(crate) mod settings;
mod settings_text;
#[path = "../../src/web/mod.rs"]
pub(crate) mod web;
mod web_address;
mod worker;

pub use admin::admin_lines;
/// Where the product's files look for it.
pub use archond_models::{chat, media};
pub use chat_format::chat_format;
pub use gguf_head::gguf_head;
pub use json_schema::json_schema;
pub use settings_text::settings_text;
pub use web_address::web_address;
pub use worker::worker_frames;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, with the name of its folder in `fuzz/corpus`.
pub const TARGETS: [Target; 7] = [
    ("admin_lines", admin_lines),
    ("chat_format", chat_format),
    ("gguf_head", gguf_head),
    ("json_schema", json_schema),
    ("settings_text", settings_text),
    ("web_address", web_address),
    ("worker_frames", worker_frames),
];

//! The command line.
pub mod archon;
pub mod config;
pub mod exit;
pub mod settings_view;

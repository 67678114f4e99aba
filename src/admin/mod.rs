//! The Unix socket by which clients of this machine talk with the daemon.
pub mod protocol;

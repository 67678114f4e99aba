//! The behaviour of archond: everything that decides, nothing that touches the world.
//!
//! Read in this order:
//! - [`domain`]: the words of the house as plain types.
//! - [`ports`]: what the house needs from the world (store, engine, clock).
//! - [`link`]: how actors talk: deadlines, bounded mailboxes, handles that survive restarts.
//! - [`insight`]: what can be seen of every actor from outside.
//! - [`observer`]: how a channel watches a turn.
//! - [`memory`]: the way to the store; the smallest complete actor, and the one to copy.
//! - [`recall`]: finding again what was said and noted, by its words and by its meaning.
//! - [`supervision`]: how actors are kept alive.
//! - [`pool`]: the one pool into which all inference funnels.
//! - [`meaning`]: vectors for questions, and for what is remembered.
//! - [`access`], [`command`], [`routing`], [`complexity`], [`urgency`], [`compaction`], [`showing`], [`permission`], [`delegation`]: small pure decisions.
//! - [`tools`]: the sources of tools, and what a turn may do with them.
//! - [`session`], [`harness`], [`hermes`]: the layers of one Archon.
//! - [`channel`]: the roads to platforms.
//! - [`house`]: the tree, and the one way in.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod access;
pub mod channel;
pub mod command;
pub mod compaction;
pub mod complexity;
pub mod delegation;
pub mod domain;
pub mod harness;
pub mod hermes;
pub mod house;
pub mod insight;
pub mod link;
pub mod linking;
pub mod meaning;
pub mod memory;
pub mod observer;
pub mod permission;
pub mod pool;
pub mod ports;
pub mod recall;
pub mod routing;
pub mod session;
pub mod showing;
pub mod supervision;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod tools;
pub mod urgency;

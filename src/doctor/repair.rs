//! What can be put right without asking: rights of our own files, sockets of the dead, old halves of files. Never a model or a store.
use std::io;

use super::daemon::Daemon;
use super::ground::Ground;
use super::leftovers::{self, Leftovers};
use super::rights;
use crate::cli::moment::bytes;

/// Puts right what can be, and says each thing that it did or could not do.
pub fn repair(ground: &Ground, daemon: &Daemon) -> Vec<String> {
    let mut done = Vec::new();
    let user = rustix::process::geteuid().as_raw();
    for chmod in rights::plan(&rights::gather(ground), user) {
        let what = format!("{} to mode {:o}", chmod.path.display(), chmod.mode);
        done.push(told("set", &what, rights::apply(&chmod, user)));
    }
    let Leftovers { socket, halves, .. } = leftovers::gather(ground, daemon);
    if let Some(path) = socket {
        let what = format!("the socket {}, on which nobody listened", path.display());
        done.push(told("removed", &what, leftovers::remove_socket(&path)));
    }
    for half in halves.iter().filter(|half| half.is_old()) {
        let days = half.age.as_secs() / (24 * 60 * 60);
        let what = format!("{} ({}, {days} days old)", half.path.display(), bytes(half.size));
        done.push(told("removed", &what, leftovers::remove_half(ground, half)));
    }
    done
}

fn told(verb: &str, what: &str, outcome: io::Result<()>) -> String {
    match outcome {
        Ok(()) => format!("{verb} {what}"),
        Err(error) => format!("could not do this: {verb} {what}: {error}"),
    }
}

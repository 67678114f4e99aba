//! bubblewrap (`bwrap`) around a tool process, where the machine has it: process numbers, a network and a file system of its own.
//! It makes what Landlock refuses invisible, and takes away what Landlock does not see: names, sizes and rights of files outside.
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::order::Order;
use super::runner::confine::{NETWORK, PROGRAMS, SETTINGS};

/// Where it lies, on every distribution. A path that the daemon's environment names could be anybody's.
const PLACES: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];

/// The program, if the machine has it. Whether it works is another question: many machines forbid it.
pub(super) fn find() -> Option<PathBuf> {
    PLACES.into_iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Its arguments, up to the program that it starts.
pub(super) fn arguments(order: &Order, program: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--die-with-parent", "--new-session", "--unshare-all", "--cap-drop", "ALL"]
            .into_iter()
            .chain(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"])
            .map(OsString::from)
            .collect();
    if order.has_network() {
        arguments.push("--share-net".into());
    }
    let mut bind = |how: &str, path: &OsStr| arguments.extend([how.into(), path.to_owned(), path.to_owned()]);
    for path in PROGRAMS.iter().chain(SETTINGS) {
        bind("--ro-bind-try", path.as_ref());
    }
    if order.has_network() {
        for path in NETWORK {
            bind("--ro-bind-try", path.as_ref());
        }
    }
    for folder in &order.readable {
        bind("--ro-bind", folder.as_os_str());
    }
    for folder in order.server.iter().flat_map(|server| &server.writes) {
        bind("--bind", folder.as_os_str());
    }
    if let (Some(program), true) = (&order.program, order.server.is_some()) {
        bind("--ro-bind", program.as_os_str());
    }
    // Behind the others: it may lie in one of them.
    bind("--bind", order.workspace.as_os_str());
    bind("--bind", order.temporary.as_os_str());
    bind("--ro-bind", program.as_os_str());
    arguments.extend(["--chdir".into(), order.workspace.as_os_str().to_owned(), "--".into()]);
    arguments
}

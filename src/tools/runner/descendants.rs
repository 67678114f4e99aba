//! Ends everything that a shell started, whatever it did to get away: new sessions, new groups, orphans.
//!
//! The keeper is a subreaper: whose parent ends becomes its child. Where Landlock bounds signals, one `kill` of all that may be reached
//! reaches exactly what was started here, in one step of the kernel, so that not even a fork bomb outruns it. Elsewhere they are sought.
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, kill_process, kill_process_group, wait,
};

/// Longest time for the end of killed processes: the kernel may have to free gigabytes, or a machine that is full of them has to come
/// round to this one.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// Children that are reaped before somebody looks at something else again.
const REAPED_MOST: usize = 256;
/// Between two looks at what is left.
const PERIOD: Duration = Duration::from_millis(5);

#[expect(clippy::disallowed_methods, reason = "a process of its own, without tokio")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Whether more than so many threads came of this process. There were so many on the machine before.
///
/// The machine's own count costs nothing: below the limit nobody is counted one by one, and far beyond it nobody has to be. A fork bomb
/// grows while somebody counts it, and on a busy machine it outgrew the one who did.
pub(super) fn are_more_than(most: u64, others: u64) -> bool {
    /// So many times the limit is no doubt: nothing else on a machine grows like that within a tick.
    const NO_DOUBT: u64 = 8;
    let more = u64::from(rustix::system::sysinfo().procs).saturating_sub(others);
    more > most.saturating_mul(NO_DOUBT) || (more > most && threads() > most)
}

/// Threads of all processes that came of this one, itself left out.
fn threads() -> u64 {
    all().into_iter().map(|(_, threads)| threads).sum()
}

/// Processes that came of this one, itself left out, with the number of their threads.
fn all() -> Vec<(Pid, u64)> {
    let mut children: HashMap<i32, Vec<(i32, u64)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((parent, threads)) = parent_and_threads(&stat) {
            children.entry(parent).or_default().push((pid, threads));
        }
    }
    let mut found = HashMap::new();
    let mut open = vec![super::own_id().as_raw_nonzero().get()];
    while let Some(parent) = open.pop() {
        for &(child, threads) in children.get(&parent).into_iter().flatten() {
            if found.insert(child, threads).is_none() {
                open.push(child);
            }
        }
    }
    found.into_iter().filter_map(|(pid, threads)| Some((Pid::from_raw(pid)?, threads))).collect()
}

/// Parent and number of threads in a line of `/proc/<pid>/stat`, whose second field, in brackets, may hold anything. The dead count for
/// nothing.
fn parent_and_threads(stat: &str) -> Option<(i32, u64)> {
    /// Fields between the parent and the threads.
    const BETWEEN: usize = 15;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads = fields.nth(BETWEEN)?.parse().ok()?;
    (state != "Z").then_some((parent, threads))
}

/// How this child ended, if it did. Orphans that have ended are reaped on the way, but not all that there are: those of a fork bomb end
/// faster than anybody reaps them, and whoever looks for the last one looks for nothing else any more.
pub(super) fn reap(child: Pid) -> Option<WaitStatus> {
    for _ in 0..REAPED_MOST {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Some(status),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    None
}

/// Whole groups first: that is one step of the kernel, in which nobody of them starts another.
fn seek_and_kill() {
    let own = getpgrp();
    let found = all();
    let groups: HashSet<Pid> =
        found.iter().filter_map(|&(pid, _)| getpgid(Some(pid)).ok()).filter(|&group| group != own).collect();
    for group in groups {
        let _ended_before = kill_process_group(group, Signal::KILL);
    }
    for (pid, _) in found {
        let _ended_before = kill_process(pid, Signal::KILL);
    }
}

/// Ends them all and reaps them. `false`: some are left.
pub(super) fn end(bounds_signals: bool) -> bool {
    let deadline = now() + END_TIMEOUT;
    loop {
        if bounds_signals {
            // Process 1 as a group means everybody whom this process may send signals to, itself left out.
            let _nobody_left = kill_process_group(Pid::INIT, Signal::KILL);
        } else {
            seek_and_kill();
        }
        // As above: more may start and end while these are reaped, and have to be ended first.
        for _ in 0..REAPED_MOST {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return true, // no child is left
            }
        }
        if now() > deadline {
            return false;
        }
        std::thread::sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_parent() {
        let rest = "12 12 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 3 0 5123";
        assert_eq!(parent_and_threads(&format!("12 (bash) S 7 {rest}")), Some((7, 3)));
        assert_eq!(parent_and_threads(&format!("12 (a) S 1 (b) R 9 {rest}")), Some((9, 3)));
        assert_eq!(parent_and_threads(&format!("12 (bash) Z 7 {rest}")), None);
        assert_eq!(parent_and_threads("nonsense"), None);
    }
}

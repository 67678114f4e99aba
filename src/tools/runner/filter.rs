//! The system call filter of a tool process: what `calls` lists, and what depends on arguments.
use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp as Cmp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::calls;

/// On x86-64 the kernel may offer each call a second time, for programs with short pointers: number plus this bit.
#[cfg(target_arch = "x86_64")]
const X32_BIT: i64 = 0x4000_0000;
/// Calls that have numbers of their own there, `execve` and `ptrace` among them.
#[cfg(target_arch = "x86_64")]
const X32_ONLY: std::ops::RangeInclusive<i64> = 512..=547;

/// Which signal a descriptor's owner gets, and the owner in another form: the same on every architecture of this filter.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
/// Two orders to a terminal: type this, and take this as selected.
const TERMINAL_ORDERS: [u64; 2] = [0x5412, 0x541C];
/// Whose priority `setpriority` means: that of all processes of a user.
const PRIORITY_OF_USER: u64 = 2;

/// Families of sockets that lead to other machines, and the one by which a library asks for this machine's addresses.
const OUTSIDE: [u64; 3] = [libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64];

/// New views of the system, among the flags of `clone`.
const NEW_VIEWS: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Why a filter could not be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("the system call filter cannot be built: {0}")]
    Build(#[from] BackendError),
    #[error("this kernel takes no system call filter (seccomp), which tools need: {0}")]
    Apply(#[from] seccompiler::Error),
}

/// What else the process is held by, and what it has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// It starts programs.
    pub(super) programs: bool,
    /// It may talk to other machines.
    pub(super) network: bool,
    /// It opens files.
    pub(super) files: bool,
    /// Nobody else keeps it from the rights and times of files outside.
    pub(super) bounds_modes: bool,
    /// Nobody else keeps it from sending signals to others.
    pub(super) bounds_signals: bool,
    /// Nobody else keeps it from cutting files that it may only read.
    pub(super) bounds_truncation: bool,
}

/// Sets the filter on this thread and whatever it starts, for ever.
pub(super) fn close(needs: Needs) -> Result<(), FilterError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filters = [
        (calls::absent().map(always).collect(), libc::ENOSYS),
        (calls::attributes().map(always).collect(), libc::EOPNOTSUPP),
        // A program that copies a file with its mode would end there. It goes on, and the mode stays as `umask` made it.
        (if needs.bounds_modes { modes()? } else { Rules::new() }, 0),
        (refused(needs)?, libc::EPERM),
    ];
    for (rules, errno) in filters {
        if !rules.is_empty() {
            apply_filter(&program(rules, errno, arch)?)?;
        }
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn always(call: i64) -> (i64, Vec<SeccompRule>) {
    (call, Vec::new())
}

fn program(mut rules: Rules, errno: i32, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    if errno != 0 {
        refuse_second_table(&mut rules);
    }
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()), arch)?
        .try_into()
}

/// What is judged in the first table is refused in the second: nothing of ours uses that.
#[cfg(target_arch = "x86_64")]
fn refuse_second_table(rules: &mut Rules) {
    let modes = calls::modes().chain([libc::SYS_utimensat]);
    let second: Vec<i64> =
        rules.keys().copied().chain(modes).chain(X32_ONLY).map(|call| call | X32_BIT).collect();
    rules.extend(second.into_iter().map(always));
}

#[cfg(not(target_arch = "x86_64"))]
fn refuse_second_table(_: &mut Rules) {}

fn modes() -> Result<Rules, BackendError> {
    let mut rules: Rules = calls::modes().map(always).collect();
    // Without a path it is about a file at hand, which was opened within the bounds: `touch`.
    let by_path = SeccompCondition::new(1, SeccompCmpArgLen::Qword, Cmp::Ne, 0);
    rules.insert(libc::SYS_utimensat, vec![all([by_path])?]);
    Ok(rules)
}

fn refused(needs: Needs) -> Result<Rules, BackendError> {
    let mut rules: Rules = calls::forbidden().map(always).collect();
    if needs.network {
        for call in calls::connections() {
            rules.remove(&call);
        }
        // To other machines, and to nobody on this one by a path: sockets of services, the daemon's own among them, are no files to
        // Landlock.
        let others = OUTSIDE.map(|family| arg(0, Cmp::Ne, family));
        rules.insert(libc::SYS_socket, vec![all(others)?]);
    }
    let clone = if needs.programs {
        let views = NEW_VIEWS.map(|flag| u64::from(flag.unsigned_abs()));
        views.into_iter().map(|flag| all([arg(0, Cmp::MaskedEq(flag), flag)])).collect::<Result<_, _>>()?
    } else {
        rules.extend(calls::programs().map(always));
        vec![all([arg(0, Cmp::MaskedEq(u64::from(libc::CLONE_THREAD.unsigned_abs())), 0)])?]
    };
    rules.insert(libc::SYS_clone, clone);
    if needs.programs {
        rules.insert(
            libc::SYS_socketpair,
            vec![all([arg(0, Cmp::Ne, u64::from(libc::AF_UNIX.unsigned_abs()))])?],
        );
    }
    if !needs.files {
        rules.extend(calls::opening().map(always));
    }
    rules.extend(of_others()?);
    let ways = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX, libc::F_NOTIFY];
    let ways = ways.map(|way| all([arg(1, Cmp::Eq, way.unsigned_abs().into())]));
    rules.insert(libc::SYS_fcntl, ways.into_iter().collect::<Result<_, _>>()?);
    let orders = TERMINAL_ORDERS.map(|order| all([arg(1, Cmp::Eq, order)]));
    rules.insert(libc::SYS_ioctl, orders.into_iter().collect::<Result<_, _>>()?);
    if needs.bounds_signals {
        // To its own group, and nobody else: who a number means cannot be seen here.
        rules.insert(libc::SYS_kill, vec![all([arg(0, Cmp::Ne, 0)])?]);
        rules.extend([libc::SYS_tkill, libc::SYS_tgkill].map(always));
    }
    if needs.bounds_truncation && needs.files {
        rules.extend([libc::SYS_truncate, libc::SYS_openat2].map(always));
        let bits = u64::from((libc::O_ACCMODE | libc::O_TRUNC).unsigned_abs());
        let cut = u64::from(libc::O_TRUNC.unsigned_abs());
        rules.insert(libc::SYS_openat, vec![all([arg(2, Cmp::MaskedEq(bits), cut)])?]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, vec![all([arg(1, Cmp::MaskedEq(bits), cut)])?]);
    }
    Ok(rules)
}

/// What may be done to oneself, and to nobody else: limits, processors, priority.
fn of_others() -> Result<Rules, BackendError> {
    let new_limit = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Cmp::Ne, 0);
    let mut rules = Rules::from([
        (libc::SYS_prlimit64, vec![all([arg(0, Cmp::Ne, 0), new_limit])?]),
        (libc::SYS_setpriority, vec![all([arg(0, Cmp::Eq, PRIORITY_OF_USER)])?, all([arg(1, Cmp::Ne, 0)])?]),
    ]);
    let schedules = [
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setaffinity,
    ];
    for call in schedules {
        rules.insert(call, vec![all([arg(0, Cmp::Ne, 0)])?]);
    }
    Ok(rules)
}

/// A condition on the lower half of an argument.
fn arg(place: u8, compare: Cmp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(place, SeccompCmpArgLen::Dword, compare, value)
}

/// A rule that holds when all these do.
fn all<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

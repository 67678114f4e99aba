//! What a worker may do: compute, read its model files, speak over the connection it was born with. Nothing else.
//!
//! Two locks, because neither is complete. Landlock bounds files, TCP and signals, but not UDP, and older kernels lack it.
//! The system call filter knows no paths, but closes every kind of socket, every new program and process, every change of a file, signals
//! to others, devices, and the corners of the kernel that exploits like best. Where there is no Landlock, a worker can still read what
//! its user can read; the daemon says so in its log. Both locks hold for ever, for all threads.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp as Cmp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::forbidden::{DEVICES, forbidden};
use super::frame::Landlock;

mod gpu;

/// The Landlock version whose rights are asked for: signals and abstract sockets are the newest (Linux 6.12).
const LANDLOCK_ABI: ABI = ABI::V6;

/// On x86-64 the kernel may offer each call a second time, for programs with short pointers: number plus this bit.
#[cfg(target_arch = "x86_64")]
const X32_BIT: i64 = 0x4000_0000;
/// Calls that have numbers of their own there, `execve` and `ptrace` among them.
#[cfg(target_arch = "x86_64")]
const X32_ONLY: std::ops::RangeInclusive<i64> = 512..=547;

/// Asks for the registers of tiles (AMX, in Intel's server processors).
#[cfg(target_arch = "x86_64")]
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;

/// Which signal a descriptor's owner gets, and the owner in another form: the same on every architecture of this filter.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

/// Why the sandbox could not be closed. The worker does not run then.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    #[error("the file rules of the model worker cannot be set: {0}")]
    Landlock(#[from] RulesetError),
    #[error("the model file cannot be opened: {0}")]
    ModelFile(#[from] landlock::PathFdError),
    #[error("the system call filter of the model worker cannot be built: {0}")]
    Filter(#[from] BackendError),
    #[error("this kernel takes no system call filter (seccomp), which a model worker needs: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Whether there is a GPU's driver inside, and what holds it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    None,
    /// Files are bounded by Landlock.
    BehindLandlock,
    /// This kernel has no Landlock.
    Alone,
}

/// Closes the sandbox. These files can still be read, and nothing else. Call it before other threads are started.
pub(super) fn close(readable: &[&Path]) -> Result<Landlock, SandboxError> {
    let landlock = bound_files(readable, &[])?;
    close_calls(Driver::None)?;
    Ok(landlock)
}

/// Closes the sandbox around the drivers of GPUs, which `open` opens in between: their libraries, settings and devices can be reached
/// while it runs, and afterwards nothing but the devices. Call it before other threads are started.
///
/// Threads that the drivers start in `open` keep the wider bounds of files, which no kernel takes from them later; the filter of calls
/// holds for them, too. They run the drivers' code, and no byte of a model is read yet.
pub(super) fn close_around(readable: &[&Path], open: impl FnOnce()) -> Result<Landlock, SandboxError> {
    let devices = gpu::devices();
    bound_files(&[readable, &gpu::libraries()].concat(), &devices)?;
    open();
    let landlock = bound_files(readable, &devices)?;
    close_calls(if landlock == Landlock::Absent { Driver::Alone } else { Driver::BehindLandlock })?;
    Ok(landlock)
}

fn close_calls(driver: Driver) -> Result<(), SandboxError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    for filter in [no_new_clone(arch)?, forbidden_calls(driver, arch)?] {
        apply_filter_all_threads(&filter)?;
    }
    Ok(())
}

fn bound_files(readable: &[&Path], devices: &[PathBuf]) -> Result<Landlock, SandboxError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    for path in readable {
        let access =
            if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    for path in devices {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
        let access = if path.is_dir() { access | AccessFs::ReadDir } else { access };
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(rules: Rules, errno: i32, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}

/// `clone3` hides its flags from filters. "Not implemented" makes the C library use `clone`, whose flags can be judged.
fn no_new_clone(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::from([(libc::SYS_clone3, Vec::new())]);
    refuse_second_table(&mut rules);
    filter(rules, libc::ENOSYS, arch)
}

fn forbidden_calls(driver: Driver, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = forbidden().map(|call| (call, Vec::new())).collect();
    if driver != Driver::None {
        for &call in DEVICES {
            rules.insert(call, gpu::strange_orders()?);
        }
    }
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    rules.insert(libc::SYS_clone, vec![all([arg(0, Cmp::MaskedEq(thread), 0)])?]);
    // Signals are for this process alone, and nobody's limits change: they are only asked for.
    let own = std::process::id().into();
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![all([arg(0, Cmp::Ne, own)])?]);
    }
    let new_limit = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Cmp::Ne, 0);
    rules.insert(libc::SYS_prlimit64, vec![all([new_limit])?]);
    // Whoever owns a descriptor gets signals when something happens to it: a signal without `kill`.
    let ways = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX, libc::F_NOTIFY];
    let ways = ways.map(|way| all([arg(1, Cmp::Eq, way.unsigned_abs().into())]));
    rules.insert(libc::SYS_fcntl, ways.into_iter().collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_openat, opening_to_write(2, driver)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening_to_write(1, driver)?);
    // llama.cpp's code for tiles ends the process on some machines that offer them (ggml-org/llama.cpp#20824). Without this right it
    // computes with vectors.
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_arch_prctl, vec![all([arg(0, Cmp::Eq, ARCH_REQ_XCOMP_PERM)])?]);
    refuse_second_table(&mut rules);
    filter(rules, libc::EPERM, arch)
}

/// What is judged in the first table is refused in the second: nothing of ours uses that.
#[cfg(target_arch = "x86_64")]
fn refuse_second_table(rules: &mut Rules) {
    let second: Vec<i64> = rules.keys().copied().chain(X32_ONLY).map(|call| call | X32_BIT).collect();
    rules.extend(second.into_iter().map(|call| (call, Vec::new())));
}

#[cfg(not(target_arch = "x86_64"))]
fn refuse_second_table(_: &mut Rules) {}

/// Whatever the flags at this place say beyond reading what is there.
///
/// A driver opens its device again for each large piece of memory, to read and write. The filter knows no paths; where Landlock bounds
/// these to the devices, it leaves that to it.
fn opening_to_write(flags: u8, driver: Driver) -> Result<Vec<SeccompRule>, BackendError> {
    let bits = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC];
    let is_left = |bit: &i32| *bit == libc::O_RDWR && driver == Driver::BehindLandlock;
    bits.into_iter()
        .filter(|bit| !is_left(bit))
        .map(|bit| {
            let bit = bit.unsigned_abs().into();
            all([arg(flags, Cmp::MaskedEq(bit), bit)])
        })
        .collect()
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

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;

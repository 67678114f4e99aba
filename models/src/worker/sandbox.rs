//! What a worker may do: compute, read its model file, speak over the connection it was born with. Nothing else.
//!
//! Two locks, because neither is complete. Landlock bounds files, TCP and signals, but not UDP, and older kernels lack it.
//! The system call filter knows no paths, but closes every kind of socket, every new program and process, and the corners of the
//! kernel that exploits like best. Both hold for ever, for all threads.
use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::frame::Landlock;

/// The Landlock version whose rights are asked for: signals and abstract sockets are the newest (Linux 6.12).
const LANDLOCK_ABI: ABI = ABI::V6;

/// System calls that fail with "not permitted".
const FORBIDDEN: &[i64] = &[
    // Any connection but the one at hand.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // New programs; other processes' memory.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Ways around this filter, and the parts of the kernel with the worst record.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Another view of the system.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
];

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

/// Closes the sandbox. Call it before other threads are started.
pub(super) fn close(model_path: &Path) -> Result<Landlock, SandboxError> {
    let landlock = bound_files(model_path)?;
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    for filter in [no_new_clone(arch)?, forbidden_calls(arch)?] {
        apply_filter_all_threads(&filter)?;
    }
    Ok(landlock)
}

fn bound_files(model_path: &Path) -> Result<Landlock, SandboxError> {
    let model = PathBeneath::new(PathFd::new(model_path)?, AccessFs::ReadFile);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?
        .add_rule(model)?
        .restrict_self()?;
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
    filter(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS, arch)
}

fn forbidden_calls(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    let makes_a_process =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(thread), 0)?;
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![makes_a_process])?]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    filter(rules, libc::EPERM, arch)
}

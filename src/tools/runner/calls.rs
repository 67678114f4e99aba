//! System calls that are refused to tools, by what they could be misused for.
//!
//! A list of what is forbidden, not of what is allowed: a shell starts programs that nobody here has seen. Landlock bounds files and
//! signals; what it does not see is closed here. Calls that depend on their arguments are judged in `filter`.

/// Every connection but the one between two ends that a program makes for its own children.
const CONNECTIONS: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// Memory, queues and semaphores that other processes know by a number or a name. Landlock does not see these.
const SHARED: &[i64] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Other processes: their memory, their descriptors, signals with a forged sender.
const PROCESSES: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_ioprio_set,
];

/// Ways around this filter, news of what others do with files, and the parts of the kernel with the worst record.
const CORNERS: &[i64] = &[
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
    libc::SYS_personality,
    libc::SYS_vmsplice,
    libc::SYS_lookup_dcookie,
];

/// Another view of the system.
const VIEWS: &[i64] = &[
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
];

/// The whole machine. Only root could, and the daemon may have been started by root.
const MACHINE: &[i64] = &[
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

// Young calls have the same number on every architecture; not every C library's list has them yet.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const OPEN_TREE_ATTR: i64 = 467;
const FILE_SETATTR: i64 = 469;

/// Owners of files. Whose file it is matters to nobody in a workspace.
const OWNERS: &[i64] = &[libc::SYS_fchown, libc::SYS_fchownat, FILE_SETATTR];

/// Programs fall back to something else where the kernel says that it lacks these: `clone3` hides its flags from filters, a program can
/// be started from a `memfd`, a `pidfd` takes signals, `inotify` tells of folders that cannot be read, and `io_uring` is a second kernel.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_inotify_init1,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
];

/// Attributes beside a file's content, which many file systems do not have.
const ATTRIBUTES: &[i64] = &[
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
];

/// New programs and processes, for tools that need none. `clone` is judged by its flags.
const PROGRAMS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_socketpair,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Ways to a file, for a tool that needs none: a second lock before what Landlock refuses.
const OPENING: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
];

/// Rights and times of files, which Landlock does not see. `utimensat` and its like for a file at hand are judged in `filter`.
const MODES: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// Older forms of the above, and two ways to the hardware.
#[cfg(target_arch = "x86_64")]
const OLD_FORMS: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_chown,
    libc::SYS_lchown,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_FORMS: &[i64] = &[];

/// Calls that are refused to every tool.
pub(super) fn forbidden() -> impl Iterator<Item = i64> {
    let groups = [CONNECTIONS, SHARED, PROCESSES, CORNERS, VIEWS, MACHINE, OWNERS, OLD_FORMS];
    groups.into_iter().flatten().copied()
}

/// Among these, those that make connections.
pub(super) fn connections() -> impl Iterator<Item = i64> {
    CONNECTIONS.iter().copied()
}

/// Calls that every tool is told that the kernel lacks.
pub(super) fn absent() -> impl Iterator<Item = i64> {
    ABSENT.iter().copied()
}

/// Calls of which a tool is told that the file system lacks them.
pub(super) fn attributes() -> impl Iterator<Item = i64> {
    ATTRIBUTES.iter().copied()
}

/// Calls that are refused to tools that start nothing.
pub(super) fn programs() -> impl Iterator<Item = i64> {
    PROGRAMS.iter().copied()
}

/// Calls that are refused to tools that open no file.
pub(super) fn opening() -> impl Iterator<Item = i64> {
    OPENING.iter().copied()
}

/// Calls that change a file's rights and times.
pub(super) fn modes() -> impl Iterator<Item = i64> {
    MODES.iter().copied()
}

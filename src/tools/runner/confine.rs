//! Closes a tool process in, before anything that a model wrote is acted on. What is closed here stays closed, for all that it starts.
//!
//! Four locks: Landlock for files, signals and ports; a system call filter for what Landlock does not see; limits on what is used up;
//! and no rights of root, where root started the daemon. Without Landlock nothing runs, unless bubblewrap stands around the process.
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities};

use super::filter::{self, FilterError, Needs};
use crate::tools::order::{Locks, Order};

/// The Landlock version whose rights are asked for: signals are the newest (Linux 6.12).
const LANDLOCK_ABI: ABI = ABI::V6;
/// From here on, cutting a file is a right of its own (Linux 6.2).
const CUTTING_ABI: u32 = 3;
/// From here on, signals and abstract sockets are bounded (Linux 6.12).
const SIGNALS_ABI: u32 = 6;

/// Programs and what they load. All of it is readable for every user of the machine.
pub(in crate::tools) const PROGRAMS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/nix/store"];
/// Of the machine's settings only what programs cannot do without; nothing that says who uses it for what.
pub(in crate::tools) const SETTINGS: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/perl",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
/// Where names of other machines are looked up, for those who may talk to them.
pub(in crate::tools) const NETWORK: &[&str] =
    &["/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/resolv.conf", "/etc/services"];
/// Of the kernel's own only what is about the machine, not about a process.
pub(in crate::tools) const MACHINE: &[&str] =
    &["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version"];
/// Devices that hold nothing.
pub(in crate::tools) const DEVICES: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Memory of a process that reads pages: many times the largest one as a tree.
const FETCHED_MEMORY_MAX: u64 = 1 << 30;

/// What a process has to do, and with that, what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Look at files.
    Looks,
    /// Change files, too.
    Changes,
    /// Read what comes over connections that it is given. No file at all.
    Fetches,
    /// Start the shell, and end all that comes of it.
    Keeps,
    /// Be the shell.
    Shell,
}

impl Role {
    fn runs_programs(self) -> bool {
        matches!(self, Self::Keeps | Self::Shell)
    }
}

/// Why a process could not be closed in. It does nothing then.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    #[error(
        "this kernel has no Landlock, which confines tools; use Linux 5.13 or newer with `landlock` among its `lsm`, or install bubblewrap"
    )]
    NoLandlock,
    #[error("the file rules of the tool process cannot be set: {0}")]
    Landlock(#[from] RulesetError),
    #[error("a folder of the tool process cannot be opened: {0}")]
    Folder(#[from] landlock::PathFdError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the system refuses {what}: {source}")]
    System { what: &'static str, source: io::Error },
}

/// Closes the process in. It must have one thread.
pub(super) fn close(order: &Order, role: Role) -> Result<Locks, ConfineError> {
    drop_rights()?;
    bound_use(order, role)?;
    let status = rules(order, role)?.restrict_self()?;
    let locks = locks(&status);
    if locks.landlock_abi == 0 && !order.is_wrapped() {
        return Err(ConfineError::NoLandlock);
    }
    filter::close(Needs {
        programs: role.runs_programs(),
        network: order.has_network(),
        files: role != Role::Fetches,
        bounds_modes: role == Role::Shell && !order.is_wrapped(),
        // Whoever keeps the shell has to be able to end what came of it.
        bounds_signals: role != Role::Keeps && !locks.bounds_signals && !order.is_wrapped(),
        bounds_truncation: locks.landlock_abi < CUTTING_ABI && !order.is_wrapped(),
    })?;
    Ok(locks)
}

fn locks(status: &RestrictionStatus) -> Locks {
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Locks { landlock_abi: 0, bounds_signals: false };
    };
    if status.ruleset == RulesetStatus::NotEnforced {
        return Locks { landlock_abi: 0, bounds_signals: false };
    }
    let known = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6];
    let landlock_abi =
        (1..).zip(known).filter(|(_, abi)| *abi <= effective_abi).map(|(number, _)| number).last();
    let landlock_abi = landlock_abi.unwrap_or(0);
    Locks { landlock_abi, bounds_signals: landlock_abi >= SIGNALS_ABI }
}

fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> ConfineError {
    move |error| ConfineError::System { what, source: error.into() }
}

/// Root's rights over files and processes of others. Nothing that is started gets them back: `no_new_privs` is set with Landlock.
fn drop_rights() -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true).map_err(system("to forbid new rights"))?;
    clear_ambient_capability_set().map_err(system("to give up rights"))?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(system("to give up rights"))
}

fn bound_use(order: &Order, role: Role) -> Result<(), ConfineError> {
    let bound = |resource, most: u64| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        match setrlimit(resource, limit) {
            // It had less before, and keeps that.
            Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
            Err(error) => Err(system("a limit")(error)),
        }
    };
    bound(Resource::Core, 0)?;
    if role == Role::Keeps {
        return Ok(());
    }
    let limits = &order.limits;
    let memory = if role == Role::Fetches { FETCHED_MEMORY_MAX } else { u64::MAX };
    bound(Resource::Data, limits.memory_bytes_max.min(memory))?;
    bound(Resource::Fsize, limits.file_bytes_max)?;
    bound(Resource::Nofile, limits.open_files_max.into())?;
    // A server works as long as it is wanted.
    if order.server.is_none() {
        bound(Resource::Cpu, order.time_max.as_secs().saturating_add(2))?;
    }
    bound(Resource::Msgqueue, 0)?;
    // The kernel counts all processes of the user, and root's not at all: whoever keeps the shell counts, too.
    let others = rustix::system::sysinfo().procs;
    bound(Resource::Nproc, u64::from(others) + u64::from(limits.processes_max))
}

fn rules(order: &Order, role: Role) -> Result<RulesetCreated, ConfineError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK_ABI))?;
    let rules =
        if order.has_network() { rules } else { rules.handle_access(AccessNet::from_all(LANDLOCK_ABI))? };
    let mut rules = rules.scope(Scope::from_all(LANDLOCK_ABI))?.create()?;
    if role == Role::Fetches {
        return Ok(rules);
    }
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let no_devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::IoctlDev;
    let change = AccessFs::from_all(LANDLOCK_ABI) & !(no_devices | AccessFs::Execute);
    let in_workspace = if role == Role::Looks { read } else { change };
    rules = allow(rules, &order.workspace, in_workspace)?;
    // What a server's runtime may read, it may run: an interpreter would do so in any case.
    let in_readable = if order.server.is_some() { read | AccessFs::Execute } else { read };
    for folder in &order.readable {
        rules = allow(rules, folder, in_readable)?;
    }
    if !role.runs_programs() {
        return Ok(rules);
    }
    rules = allow(rules, &order.temporary, change)?;
    let machine: &[&str] = if order.is_wrapped() { &["/proc"] } else { MACHINE };
    let (used, run) = (AccessFs::ReadFile | AccessFs::WriteFile, read | AccessFs::Execute);
    for folder in order.server.iter().flat_map(|server| &server.writes) {
        rules = allow(rules, folder, change)?;
    }
    let names: &[&str] = if order.has_network() { NETWORK } else { &[] };
    let groups = [(PROGRAMS, run), (SETTINGS, read), (names, read), (machine, read), (DEVICES, used)];
    for (path, access) in groups.iter().flat_map(|(paths, access)| paths.iter().map(|path| (path, *access))) {
        if Path::new(path).exists() {
            rules = allow(rules, Path::new(path), access)?;
        }
    }
    if let Some(program) = &order.program {
        rules = allow(rules, program, AccessFs::ReadFile | AccessFs::Execute)?;
    }
    if role == Role::Keeps {
        // It starts this program once more, to become the shell, and looks for what came of that.
        rules = allow(rules, Path::new("/proc/self/exe"), AccessFs::ReadFile | AccessFs::Execute)?;
        rules = allow(rules, Path::new("/proc"), read)?;
    }
    Ok(rules)
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK_ABI) };
    Ok(rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?)
}

//! What the driver of a GPU needs beyond what a worker may do: before the sandbox is closed its libraries, afterwards its devices.
use std::path::{Path, PathBuf};

use seccompiler::{BackendError, SeccompCmpOp as Cmp, SeccompRule};

use super::{all, arg};

/// Where drivers, their settings and what they ask the kernel about lie. All is readable for every user of the machine; other processes
/// and the folders of users are not among it.
const LIBRARIES: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/etc",
    "/opt",
    "/nix/store",
    "/run/opengl-driver",
    "/sys",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/stat",
    "/proc/sys",
];

/// Devices, or folders of such, that drivers open: those of Mesa and AMD, AMD's for computing, and the one of Windows' Linux.
const DEVICES: &[&str] = &["/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/nvidia-caps"];
/// NVIDIA's are numbered: `nvidia0`, `nvidiactl`, `nvidia-uvm`.
const NVIDIA: &str = "nvidia";
/// The empty device, which libraries open for their own purposes.
const NULL: &str = "/dev/null";

/// Kinds of orders to a device, by the second byte of their number, that no GPU has: terminals and what holds for every descriptor,
/// sockets, and four of file systems, by which files change.
const STRANGE_KINDS: [u64; 7] = [0x54, 0x56, 0x89, 0x58, 0x66, 0x76, 0x94];

/// Those of the libraries' places that are there.
pub(super) fn libraries() -> Vec<&'static Path> {
    LIBRARIES.iter().map(Path::new).filter(|path| path.exists()).collect()
}

/// The devices that are there.
pub(super) fn devices() -> Vec<PathBuf> {
    let named = DEVICES.iter().chain([&NULL]).map(PathBuf::from);
    let listed = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_nvidia = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(NVIDIA))
    };
    let mut found: Vec<PathBuf> =
        named.filter(|path| path.exists()).chain(listed.filter(is_nvidia)).collect();
    found.sort();
    found.dedup();
    found
}

/// Orders (`ioctl`) that are refused although a driver is inside: those to the three standard streams, and those of a kind that no GPU
/// has. What is left can only be given to descriptors that were opened, and Landlock lets nothing be opened but models and devices.
pub(super) fn strange_orders() -> Result<Vec<SeccompRule>, BackendError> {
    let streams = std::iter::once(all([arg(0, Cmp::Le, libc::STDERR_FILENO.unsigned_abs().into())]));
    let kinds = STRANGE_KINDS.iter().map(|kind| all([arg(1, Cmp::MaskedEq(0xff00), kind << 8)]));
    streams.chain(kinds).collect()
}

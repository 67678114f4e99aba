//! Files on disk: hashes, copies, atomic writes, free space.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{LibraryError, at};
use crate::progress::{OnProgress, Progress, Stage};

/// Read and written at once: large enough to be at the disk's speed, small enough for a lively progress bar.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes that this user can still write where a path is or will be.
pub(crate) fn free_bytes(path: &Path) -> Result<u64, LibraryError> {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat =
        rustix::fs::statvfs(there).map_err(|error| at("ask for the free space of", there)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A digest as it is written everywhere: lower-case hex.
pub(crate) fn digest_hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sha256 of a file.
pub(crate) fn hash_file(path: &Path, progress: OnProgress<'_>) -> Result<String, LibraryError> {
    hash_into(path, Sha256::new(), progress).map(|(_, hasher, _)| digest_hex(hasher))
}

/// Puts a file through a hasher that can go on with more bytes; answers also the file's length and its first four bytes.
pub(crate) fn hash_into(
    path: &Path,
    mut hasher: Sha256,
    progress: OnProgress<'_>,
) -> Result<(u64, Sha256, Vec<u8>), LibraryError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let total = file.metadata().map_err(at("read", path))?.len();
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head).map_err(at("read", path))?;
    hasher.update(&head);
    let rest = pump(&mut file, &mut io::sink(), &mut hasher, &mut |done| {
        progress(Progress { stage: Stage::Checking, done, total: Some(total) });
    })
    .map_err(at("read", path))?;
    Ok((head.len() as u64 + rest, hasher, head))
}

/// Copies a file and answers the sha256 of what was written.
pub(crate) fn copy_hashed(from: &Path, to: &Path, progress: OnProgress<'_>) -> Result<String, LibraryError> {
    let mut hasher = Sha256::new();
    let mut input = File::open(from).map_err(at("open", from))?;
    let total = input.metadata().map_err(at("read", from))?.len();
    let mut output = create(to)?;
    pump(&mut input, &mut output, &mut hasher, &mut |done| {
        progress(Progress { stage: Stage::Copying, done, total: Some(total) });
    })
    .map_err(at("write", to))?;
    Ok(digest_hex(hasher))
}

/// Makes a copy that shares its blocks, where the file system can; false where it cannot.
pub(crate) fn reflink(from: &Path, to: &Path) -> Result<bool, LibraryError> {
    let input = File::open(from).map_err(at("open", from))?;
    let output = create(to)?;
    Ok(rustix::fs::ioctl_ficlone(&output, &input).is_ok())
}

/// Moves all bytes from one to the other and through the hasher; answers how many there were.
fn pump(
    input: &mut impl Read,
    output: &mut impl Write,
    hasher: &mut Sha256,
    step: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        let length = match input.read(&mut chunk) {
            Ok(0) => return Ok(done),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = chunk.get(..length).unwrap_or_default();
        output.write_all(bytes)?;
        hasher.update(bytes);
        done += length as u64;
        step(done);
    }
}

/// Writes a small file so that a reader sees the old or the new text, also after a power loss.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), LibraryError> {
    let part = path.with_extension("new");
    let mut file = create(&part)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", &part))?;
    std::fs::rename(&part, path).map_err(at("rename to", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LibraryError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(at("sync", dir))
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(path: &Path) -> Result<(), LibraryError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> Result<File, LibraryError> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(at("write", path))
}

//! The record beside a model's files: what was measured when they came.
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{LibraryError, at, files};
use crate::catalogue;

/// The file's name.
pub(super) const FILE: &str = "model.ron";
/// The version of its format.
const FORMAT: u32 = 1;
/// Largest record, in bytes; a real one has a few hundred.
const BYTES_MAX: u64 = 64 * 1024;

/// What was measured of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, computed here.
    pub sha256: String,
    /// Where it came from: an address without secrets, or a path.
    pub source: String,
    /// When, in seconds since 1970.
    pub added_unix_s: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    files: Vec<FileRecord>,
}

/// What is recorded in a model's directory; nothing when there is no record that can be read.
pub(super) fn load(dir: &Path) -> Vec<FileRecord> {
    let path = dir.join(FILE);
    let small = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= BYTES_MAX);
    let text = if small { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    match catalogue::options().from_str::<Record>(&text) {
        Ok(record) if record.format == FORMAT => record.files,
        _ => Vec::new(),
    }
}

/// Records one file, in place of an older record of it.
pub(super) fn save(dir: &Path, new: FileRecord) -> Result<(), LibraryError> {
    let mut files: Vec<_> = load(dir).into_iter().filter(|old| old.file != new.file).collect();
    files.push(new);
    let path = dir.join(FILE);
    let pretty = ron::ser::PrettyConfig::new().indentor("    ");
    let text = catalogue::options()
        .to_string_pretty(&Record { format: FORMAT, files }, pretty)
        .map_err(|error| at("write", &path)(std::io::Error::other(error)))?;
    files::write_atomic(&path, format!("// Written by archond when the files came.\n{text}\n").as_bytes())
}

/// Now, in seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

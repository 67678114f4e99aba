//! The tools that read and change one file.
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

use archond_actors::domain::SEND_FILE;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::roots::{FileFault, Place, Roots};
use super::{glob, grep, send};
use crate::tools::arguments::{self, EditFile, ReadFile, WriteFile};
use crate::tools::order::{Order, TEXT_BYTES_MAX};

/// Lines of a file that are shown when nothing else is asked for.
const LINES: u64 = 2000;
/// Longest file that is edited: it is held in memory three times.
const EDIT_BYTES_MAX: u64 = 16 << 20;
/// So much of a file shows whether it is text.
const SAMPLE_BYTES: usize = 8 << 10;
/// Room for the words about what is left out.
const NOTE_BYTES: usize = 200;

/// Whether a tool changes files.
pub(super) fn changes(tool: &str) -> bool {
    matches!(tool, "write_file" | "edit_file")
}

/// Makes the call.
pub(super) fn call(order: &Order) -> Result<String, FileFault> {
    let roots = Roots::open(order)?;
    let (tool, text) = (order.tool.as_str(), order.arguments.as_str());
    match tool {
        "read_file" => read_file(&roots, &arguments::read(tool, text)?),
        "write_file" => write_file(&roots, &arguments::read(tool, text)?),
        "edit_file" => edit_file(&roots, &arguments::read(tool, text)?),
        "glob_search" => glob::search(&roots, &arguments::read(tool, text)?),
        "grep_search" => grep::search(&roots, &arguments::read(tool, text)?),
        SEND_FILE => send::send(&roots, &arguments::read(tool, text)?, order.limits.sent_bytes_max),
        other => Err(FileFault::NoTool(other.to_owned())),
    }
}

/// Whether bytes are no text: no text holds a zero byte.
pub(super) fn is_binary(sample: &[u8]) -> bool {
    sample.iter().take(SAMPLE_BYTES).any(|byte| *byte == 0)
}

fn read_file(roots: &Roots, wanted: &ReadFile) -> Result<String, FileFault> {
    let place = roots.place(&wanted.path)?;
    let mut file = BufReader::with_capacity(SAMPLE_BYTES, place.read()?);
    let failed = |source| place.failed(source);
    if is_binary(file.fill_buf().map_err(failed)?) {
        return Err(FileFault::Binary(place.shown().to_owned()));
    }
    let first = wanted.offset.unwrap_or(1).max(1);
    let last = first.saturating_add(wanted.limit.unwrap_or(LINES).max(1)).saturating_sub(1);
    let mut text = Vec::new();
    let mut number = 0;
    while number < last {
        let room =
            if number + 1 < first { u64::MAX } else { (TEXT_BYTES_MAX - NOTE_BYTES - text.len()) as u64 };
        let (length, is_whole) = if number + 1 < first {
            (file.skip_until(b'\n').map_err(failed)?, true)
        } else {
            let before = text.len();
            let length = (&mut file).take(room).read_until(b'\n', &mut text).map_err(failed)?;
            let is_whole = text.ends_with(b"\n") || (length as u64) < room;
            // Half a line can only be shown where it is the first: the next would begin with its whole.
            if !is_whole && number + 1 > first {
                text.truncate(before);
            }
            (length, is_whole)
        };
        if length == 0 {
            break;
        }
        if !is_whole {
            return Ok(cut(&text, first, number, &mut file));
        }
        number += 1;
    }
    if number < first && first > 1 {
        return Err(FileFault::BehindEnd { path: place.shown().to_owned(), lines: number, offset: first });
    }
    let is_end = file.fill_buf().map_err(failed)?.is_empty();
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if text.is_empty() && is_end {
        return Ok("[the file is empty]".to_owned());
    }
    if !is_end {
        text.push_str(&format!("[lines {first} to {number}; go on with offset {}]", number + 1));
    }
    Ok(text)
}

/// What is said when no more fits.
fn cut(text: &[u8], first: u64, number: u64, file: &mut BufReader<File>) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    let (shown, next) = if number < first {
        // The line alone is longer than an answer. Where the next one begins is all that can be offered.
        let _end_of_line = file.skip_until(b'\n');
        ("the beginning of line".to_owned(), first + 1)
    } else {
        (format!("lines {first} to"), number + 1)
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("[{shown} {}, no more fits; go on with offset {next}]", number.max(first)));
    text
}

fn write_file(roots: &Roots, wanted: &WriteFile) -> Result<String, FileFault> {
    let place = roots.place(&wanted.path)?;
    replace(&place, wanted.content.as_bytes())?;
    Ok(format!("wrote {} bytes to {}", wanted.content.len(), place.shown()))
}

fn edit_file(roots: &Roots, wanted: &EditFile) -> Result<String, FileFault> {
    let place = roots.place(&wanted.path)?;
    let refused = |why: &str| Err(FileFault::Edit(why.to_owned()));
    if wanted.old_string.is_empty() {
        return refused("old_string is empty; use write_file to write a whole file");
    }
    if wanted.old_string == wanted.new_string {
        return refused("old_string and new_string are the same; nothing was changed");
    }
    let file = place.read()?;
    let bytes = file.metadata().map_err(|source| place.failed(source))?.len();
    let too_long = || FileFault::TooLong { path: place.shown().to_owned(), bytes, most: EDIT_BYTES_MAX };
    let mut text = Vec::new();
    file.take(EDIT_BYTES_MAX + 1).read_to_end(&mut text).map_err(|source| place.failed(source))?;
    if text.len() as u64 > EDIT_BYTES_MAX {
        return Err(too_long());
    }
    let binary = |_| FileFault::Binary(place.shown().to_owned());
    let text = String::from_utf8(text).map_err(binary)?;
    let found = text.matches(&wanted.old_string).count();
    let shown = place.shown();
    match found {
        0 => refused(&format!(
            "old_string is not in `{shown}`; read the file and copy the text exactly, spaces included"
        )),
        2.. if !wanted.replace_all => refused(&format!(
            "old_string occurs {found} times in `{shown}`; add lines around it so that it occurs once, or set replace_all"
        )),
        _ => {
            let edited = text.replace(&wanted.old_string, &wanted.new_string);
            replace(&place, edited.as_bytes())?;
            Ok(format!("replaced {found} occurrence{} in {shown}", if found == 1 { "" } else { "s" }))
        }
    }
}

/// Writes a file whole or not at all.
fn replace(place: &Place<'_>, content: &[u8]) -> Result<(), FileFault> {
    let (folder, name) = place.folder()?;
    let fault = |error| place.fault(error);
    let before = match statat(&folder, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                Some(Mode::from_raw_mode(stat.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO))
            }
            FileType::Directory => return Err(FileFault::Directory(place.shown().to_owned())),
            FileType::Symlink => return Err(FileFault::Link(place.shown().to_owned())),
            _ => return Err(FileFault::Special(place.shown().to_owned())),
        },
        Err(Errno::NOENT) => None,
        Err(error) => return Err(fault(error)),
    };
    let half = format!(".archond-{}.part", super::own_id().as_raw_nonzero());
    let half = OsStr::new(&half);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file: File = openat(&folder, half, flags, Mode::RUSR | Mode::WUSR).map_err(fault)?.into();
    let written = file.write_all(content).and_then(|()| {
        if let Some(mode) = before {
            fchmod(&file, mode)?;
        }
        file.sync_all()?;
        Ok(renameat(&folder, half, &folder, name.as_os_str())?)
    });
    written.map_err(|source| {
        // Best effort: the first error is the one to tell.
        let _left = unlinkat(&folder, half, AtFlags::empty());
        place.failed(source)
    })
}

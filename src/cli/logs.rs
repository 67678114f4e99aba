//! `archond logs`: reads the log files themselves, so that it works when the daemon does not.
//!
//! The daemon begins a new file each day. What follows the log reads the newest file to its end, and when a newer one appears goes
//! on with that.
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::places::Places;
use super::runtime;
use crate::logging::LOG_FILE_PREFIX;

/// What the daemon writes when it cannot log: why it did not start, a panic.
pub(super) const OUT_FILE: &str = "archond.out";
/// Lines that are shown when nothing else is asked for: a screen or two.
const SHOWN_LINES: usize = 50;
/// Between two looks at a file that grows: a person reads it as it comes.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Read at once from a file's end.
const BLOCK_BYTES: usize = 64 * 1024;

/// Show what the daemon wrote into its log.
#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many lines, counted from the end
    #[arg(short = 'n', long, default_value_t = SHOWN_LINES)]
    lines: usize,
}

/// Runs the command.
pub(super) fn run(console: &mut Console, args: &LogsArgs) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    let files = log_files(&places.logs)?;
    let Some(newest) = files.last() else { return Err(CliError::NoLogs { path: places.logs }) };
    let (lines, position) = last_lines(&files, args.lines)?;
    for line in &lines {
        console.line(line)?;
    }
    if args.follow {
        let mut tail = Tail::new(places.logs, newest.clone(), position);
        runtime()?.block_on(follow(console, &mut tail))?;
    }
    Ok(ExitCode::Ok)
}

async fn follow(console: &mut Console, tail: &mut Tail) -> Result<(), CliError> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|source| CliError::Signal { source })?;
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interrupts.recv() => return Ok(()),
            _ = looks.tick() => {
                let text = tail.read_on()?;
                if !text.is_empty() {
                    console.write(&text)?;
                }
            }
        }
    }
}

/// The log files, oldest first. Where there are none, the file of last words.
fn log_files(logs: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { path: logs.to_owned(), source };
    let entries = match std::fs::read_dir(logs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(LOG_FILE_PREFIX) {
            files.push(entry.path());
        }
    }
    // The day in the name is written so that names sort as days do.
    files.sort();
    let out = logs.join(OUT_FILE);
    if files.is_empty() && out.exists() {
        files.push(out);
    }
    Ok(files)
}

/// The last lines of all files together, and the length of the newest file when it was read.
fn last_lines(files: &[PathBuf], count: usize) -> Result<(VecDeque<String>, u64), CliError> {
    let mut lines = VecDeque::new();
    let mut newest_length = None;
    for path in files.iter().rev() {
        let failed = |source| CliError::Read { path: path.clone(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        newest_length.get_or_insert(length);
        for line in tail_of(&mut file, 0..length, count - lines.len()).map_err(failed)?.into_iter().rev() {
            lines.push_front(line);
        }
        if lines.len() >= count {
            break;
        }
    }
    Ok((lines, newest_length.unwrap_or(0)))
}

/// The last lines of a stretch of a file, read from its end.
fn tail_of(file: &mut File, stretch: std::ops::Range<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut tail: Vec<u8> = Vec::new();
    let mut start = stretch.end;
    while start > stretch.start && tail.iter().filter(|&&byte| byte == b'\n').count() <= count {
        let block = usize::try_from(start - stretch.start).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        start -= block as u64;
        let mut bytes = vec![0; block];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        bytes.append(&mut tail);
        tail = bytes;
    }
    let text = String::from_utf8_lossy(&tail);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines.iter().skip(lines.len().saturating_sub(count)).map(|&line| line.to_owned()).collect())
}

/// The last lines that were written to a file since it had a length; empty when it cannot be read.
pub(super) fn lines_since(path: &Path, length: u64, count: usize) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        tail_of(&mut file, length.min(end)..end, count)
    };
    // Shown beside another failure, which is the one that matters.
    read().unwrap_or_default()
}

/// A place in the newest log file.
struct Tail {
    logs: PathBuf,
    path: PathBuf,
    position: u64,
    /// The beginning of a character whose end is not yet written.
    rest: Vec<u8>,
}

impl Tail {
    fn new(logs: PathBuf, path: PathBuf, position: u64) -> Self {
        Self { logs, path, position, rest: Vec::new() }
    }

    /// What was written since the last call, across the change to a newer file.
    fn read_on(&mut self) -> Result<String, CliError> {
        // Looked for before reading: a newer file means that nothing is added to this one any more.
        let newer = log_files(&self.logs)?.into_iter().filter(|path| *path > self.path);
        let newer: Vec<PathBuf> = newer.collect();
        let mut text = self.read_present()?;
        for path in newer {
            self.path = path;
            self.position = 0;
            self.rest.clear();
            text += &self.read_present()?;
        }
        Ok(text)
    }

    fn read_present(&mut self) -> Result<String, CliError> {
        let failed = |path: &Path, source| CliError::Read { path: path.to_owned(), source };
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // Removed as too old, or by hand: there is nothing more in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(failed(&self.path, error)),
        };
        let length = file.metadata().map_err(|error| failed(&self.path, error))?.len();
        // A file that became shorter was emptied: it begins anew.
        if length < self.position {
            self.position = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.position)).map_err(|error| failed(&self.path, error))?;
        let mut bytes = std::mem::take(&mut self.rest);
        let read = file.read_to_end(&mut bytes).map_err(|error| failed(&self.path, error))?;
        self.position += read as u64;
        let whole = whole_characters(&bytes);
        self.rest = bytes.split_off(whole);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Length of the bytes without a last character that is cut.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn write(path: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_lines_reach_back_over_files_and_blocks() {
        let logs = tempfile::tempdir().unwrap();
        let (old, new) =
            (logs.path().join("archond.log.2026-01-01"), logs.path().join("archond.log.2026-01-02"));
        write(&old, &(0..9000).map(|number| format!("old line {number}\n")).collect::<String>());
        write(&new, "new 1\nnew 2\n");
        write(&logs.path().join(OUT_FILE), "last words\n");
        let files = log_files(logs.path()).unwrap();
        assert_eq!(files, [old, new]);
        let (lines, length) = last_lines(&files, 4).unwrap();
        assert_eq!(Vec::from(lines), ["old line 8998", "old line 8999", "new 1", "new 2"]);
        assert_eq!(length, 12);
        let (lines, _) = last_lines(&files, 8002).unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (8002, "old line 1000"));
        assert!(last_lines(&files, 0).unwrap().0.is_empty());
    }

    #[test]
    fn following_goes_on_with_the_newer_file() {
        let logs = tempfile::tempdir().unwrap();
        let (old, new) =
            (logs.path().join("archond.log.2026-01-01"), logs.path().join("archond.log.2026-01-02"));
        write(&old, "seen\n");
        let mut tail = Tail::new(logs.path().to_owned(), old.clone(), 5);
        assert_eq!(tail.read_on().unwrap(), "");
        write(&old, "one\n");
        assert_eq!(tail.read_on().unwrap(), "one\n");
        write(&old, "two\n");
        write(&new, "three\n");
        assert_eq!(tail.read_on().unwrap(), "two\nthree\n");
        std::fs::remove_file(&old).unwrap();
        write(&new, "four\n");
        assert_eq!(tail.read_on().unwrap(), "four\n");
        std::fs::write(&new, "anew\n").unwrap();
        assert_eq!(tail.read_on().unwrap(), "anew\n");
    }

    #[test]
    fn a_cut_character_waits_for_its_end() {
        assert_eq!(whole_characters("gr\u{fc}n".as_bytes()), 5);
        assert_eq!(whole_characters(&"ü".as_bytes()[..1]), 0);
        assert_eq!(whole_characters(b"a\xffb"), 3);
    }

    #[test]
    fn last_words_are_those_since_the_start() {
        let logs = tempfile::tempdir().unwrap();
        let path = logs.path().join(OUT_FILE);
        write(&path, "earlier\n");
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(lines_since(&path, length, 5).is_empty());
        write(&path, "one\ntwo\n");
        assert_eq!(lines_since(&path, length, 5), ["one", "two"]);
        assert_eq!(lines_since(&path, length, 1), ["two"]);
        assert!(lines_since(&logs.path().join("missing"), 0, 5).is_empty());
    }
}

//! Finds lines in files.
use std::io::Read;

use globset::GlobMatcher;
use regex::bytes::{Regex, RegexBuilder};

use super::files::is_binary;
use super::glob::{ENTRIES_MAX, matcher, walker};
use super::roots::{FileFault, Place, Roots};
use crate::tools::arguments::{GrepSearch, OutputMode};

/// Lines that are shown: more would not be read.
const LINES_MAX: usize = 250;
/// Shown of a line, in characters: the rest is mostly data.
const LINE_CHARS_MAX: usize = 400;
/// Larger files are not text that somebody wrote.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Memory of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 4 << 20;
/// Lines around a match, at the most.
const CONTEXT_MAX: u64 = 20;

/// What has been found so far.
struct Found {
    mode: OutputMode,
    context: usize,
    lines: Vec<String>,
    is_full: bool,
    too_large: usize,
}

/// Searches a file, or all files of a folder.
pub(super) fn search(roots: &Roots, wanted: &GrepSearch) -> Result<String, FileFault> {
    let wrong =
        |error| FileFault::Pattern(format!("`{}` is not a regular expression: {error}", wanted.pattern));
    let regex = RegexBuilder::new(&wanted.pattern)
        .case_insensitive(wanted.ignore_case)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(wrong)?;
    let names = wanted.glob.as_deref().filter(|glob| !glob.is_empty()).map(matcher).transpose()?;
    let place = roots.place(wanted.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("."))?;
    let context = wanted.context.unwrap_or(0).min(CONTEXT_MAX);
    let mut found = Found {
        mode: wanted.output_mode.unwrap_or_default(),
        context: usize::try_from(context).unwrap_or(0),
        lines: Vec::new(),
        is_full: false,
        too_large: 0,
    };
    let looked_at = if place.is_folder()? {
        search_folder(roots, &place, &regex, names.as_ref(), &mut found)
    } else {
        found.look_into(&place, &regex)?;
        1
    };
    Ok(found.text(&wanted.pattern, looked_at))
}

fn search_folder(
    roots: &Roots,
    place: &Place<'_>,
    regex: &Regex,
    names: Option<&GlobMatcher>,
    found: &mut Found,
) -> usize {
    let folder = place.whole();
    let mut looked_at = 0;
    for entry in walker(&folder, true).build().flatten().take(ENTRIES_MAX) {
        looked_at += 1;
        let below = entry.path().strip_prefix(&folder).unwrap_or(entry.path());
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        if !is_file || names.is_some_and(|names| !names.is_match(below)) {
            continue;
        }
        // One that cannot be opened, or is gone by now, is like one without matches.
        if let Ok(file) = roots.place(&place.shown_of(entry.path())) {
            let _skipped = found.look_into(&file, regex);
        }
        if found.is_full {
            break;
        }
    }
    looked_at
}

impl Found {
    fn look_into(&mut self, place: &Place<'_>, regex: &Regex) -> Result<(), FileFault> {
        let mut text = Vec::new();
        place
            .read()?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|source| place.failed(source))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            self.too_large += 1;
            return Ok(());
        }
        if is_binary(&text) {
            return Ok(());
        }
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // Behind the last line feed there is no line.
        let lines = lines.strip_suffix(&[b"".as_slice()]).unwrap_or(&lines);
        let hits = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| regex.is_match(line.strip_suffix(b"\r").unwrap_or(line)));
        let shown = place.shown();
        match self.mode {
            OutputMode::Content => {
                let hits: Vec<usize> = hits.map(|(index, _)| index).collect();
                self.show(shown, lines, &hits);
            }
            OutputMode::FilesWithMatches => {
                let mut hits = hits;
                if hits.next().is_some() {
                    self.push(shown.to_owned());
                }
            }
            OutputMode::Count => {
                let count = hits.count();
                if count > 0 {
                    self.push(format!("{shown}:{count}"));
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, shown: &str, lines: &[&[u8]], hits: &[usize]) {
        let mut next = 0; // the first line that is not shown yet
        for &hit in hits {
            let from = hit.saturating_sub(self.context).max(next);
            let to = hit.saturating_add(self.context).min(lines.len().saturating_sub(1));
            if self.context > 0 && from > next && next > 0 {
                self.push("--".to_owned());
            }
            for (index, line) in lines.iter().enumerate().take(to + 1).skip(from) {
                let mark = if hits.binary_search(&index).is_ok() { ':' } else { '-' };
                self.push(format!("{shown}{mark}{}{mark}{}", index + 1, readable(line)));
            }
            next = next.max(to + 1);
            if self.is_full {
                return;
            }
        }
    }

    fn push(&mut self, line: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.is_full = true;
        }
    }

    fn text(self, pattern: &str, looked_at: usize) -> String {
        let mut text = if self.lines.is_empty() {
            format!("no line fits `{pattern}`\n")
        } else {
            self.lines.join("\n") + "\n"
        };
        if self.is_full {
            text.push_str(&format!(
                "[only the first {LINES_MAX} lines; make the pattern or the path narrower]\n"
            ));
        }
        if self.too_large > 0 {
            text.push_str(&format!(
                "[{} files of more than {FILE_BYTES_MAX} bytes were left out]\n",
                self.too_large
            ));
        }
        if looked_at == ENTRIES_MAX {
            text.push_str(&format!(
                "[only the first {ENTRIES_MAX} entries were looked at; name a folder in path]\n"
            ));
        }
        text
    }
}

fn readable(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.into_owned(),
    }
}

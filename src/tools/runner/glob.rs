//! Finds files by their names.
use std::fs::Metadata;
use std::path::Path;
use std::time::SystemTime;

use globset::{Glob, GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use super::roots::{FileFault, Roots};
use crate::tools::arguments::GlobSearch;

/// Files that are shown: more would not be read.
const SHOWN_MAX: usize = 100;
/// Entries that are looked at in one search.
pub(super) const ENTRIES_MAX: usize = 200_000;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 64;

/// Files whose paths below the folder fit the pattern, newest first.
pub(super) fn search(roots: &Roots, wanted: &GlobSearch) -> Result<String, FileFault> {
    // A pattern may be written with the folder before it.
    let (start, pattern) = match &wanted.path {
        None if Path::new(&wanted.pattern).is_absolute() => split(&wanted.pattern),
        path => (path.clone().unwrap_or_else(|| ".".to_owned()), wanted.pattern.clone()),
    };
    let matcher = matcher(&pattern)?;
    let place = roots.place(&start)?;
    if !place.is_folder()? {
        return Err(FileFault::NoDirectory(place.shown().to_owned()));
    }
    let folder = place.whole();
    let mut found = Vec::new();
    let mut looked_at = 0;
    for entry in walker(&folder, false).build().flatten().take(ENTRIES_MAX) {
        looked_at += 1;
        let below = entry.path().strip_prefix(&folder).unwrap_or(entry.path());
        if entry.file_type().is_some_and(|kind| !kind.is_dir()) && matcher.is_match(below) {
            let changed = entry.metadata().ok().and_then(|metadata: Metadata| metadata.modified().ok());
            found.push((changed.unwrap_or(SystemTime::UNIX_EPOCH), place.shown_of(entry.path())));
        }
    }
    if found.is_empty() {
        return Ok(format!("no file fits `{}`", wanted.pattern));
    }
    found.sort_by(|(a, a_path), (b, b_path)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
    let total = found.len();
    let mut text = found.into_iter().take(SHOWN_MAX).map(|(_, path)| path + "\n").collect::<String>();
    if total > SHOWN_MAX {
        text.push_str(&format!("[{SHOWN_MAX} of {total} files, the newest; make the pattern narrower]"));
    }
    if looked_at == ENTRIES_MAX {
        text.push_str(&format!(
            "[only the first {ENTRIES_MAX} entries were looked at; name a folder in path]"
        ));
    }
    Ok(text)
}

/// The folder before the first part with a wildcard, and the rest.
fn split(pattern: &str) -> (String, String) {
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let (before, _) = pattern.split_at(wild);
    let slash = before.rfind('/').unwrap_or(0);
    let (folder, rest) = pattern.split_at(slash);
    (if folder.is_empty() { "/" } else { folder }.to_owned(), format!("./{}", rest.trim_start_matches('/')))
}

/// A pattern; one without `/` fits names in every folder, one that begins with `./` only in this.
pub(super) fn matcher(pattern: &str) -> Result<GlobMatcher, FileFault> {
    let anywhere = match pattern.strip_prefix("./") {
        Some(here) => here.to_owned(),
        None if pattern.contains('/') => pattern.to_owned(),
        None => format!("**/{pattern}"),
    };
    let glob: Result<Glob, _> = GlobBuilder::new(&anywhere).literal_separator(true).build();
    let wrong = |error| FileFault::Pattern(format!("`{pattern}` is not a pattern of file names: {error}"));
    Ok(glob.map_err(wrong)?.compile_matcher())
}

/// Walks through a folder, without following links. Git's own folder is left out, and with `leaves_ignored` what it ignores.
pub(super) fn walker(folder: &Path, leaves_ignored: bool) -> WalkBuilder {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(false)
        .git_ignore(leaves_ignored)
        .require_git(false)
        .follow_links(false)
        .max_depth(Some(DEPTH_MAX))
        .sort_by_file_path(Path::cmp)
        .filter_entry(|entry| entry.file_name() != ".git");
    walk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_shells_have_them() {
        let fits = |pattern: &str, path: &str| matcher(pattern).unwrap().is_match(path);
        assert!(fits("*.rs", "main.rs") && fits("*.rs", "src/deep/main.rs"));
        assert!(fits("**/*.rs", "main.rs") && fits("src/**/*.rs", "src/a/b.rs"));
        assert!(fits("src/*.rs", "src/a.rs") && !fits("src/*.rs", "src/a/b.rs"));
        assert!(fits("*.{rs,toml}", "Cargo.toml") && fits("./*.rs", "a.rs") && !fits("./*.rs", "src/a.rs"));
        assert!(matcher("a[").unwrap_err().to_string().contains("not a pattern"));
    }

    #[test]
    fn an_absolute_pattern_is_a_folder_and_a_pattern() {
        assert_eq!(split("/a/b/**/*.rs"), ("/a/b".to_owned(), "./**/*.rs".to_owned()));
        assert_eq!(split("/*.rs"), ("/".to_owned(), "./*.rs".to_owned()));
        assert_eq!(split("/a/b.rs"), ("/a".to_owned(), "./b.rs".to_owned()));
    }
}

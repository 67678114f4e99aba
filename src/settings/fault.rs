//! What is wrong with a settings file, and where: made to be shown to the person who wrote it.
use std::fmt;
use std::path::{Path, PathBuf};

/// Exit code of every command that meets bad settings (`EX_USAGE` of sysexits): nothing was opened or started.
pub const EXIT_BAD_SETTINGS: u8 = 64;

/// Longest part of a source line that is shown, in characters: what a terminal shows without wrapping.
const SHOWN_CHARS_MAX: usize = 100;

/// A stretch of a source text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or `$NAME` for an environment variable.
    pub path: PathBuf,
    /// Where in the file; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A position in a file, as editors count: from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The line itself.
    pub source_line: String,
}

impl Place {
    /// The place of a byte offset. An offset outside the text, or inside a character, is moved back to the nearest character.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            source_line: rest.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl Fault {
    /// A fault about a file as a whole.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, message: message.into(), hint: None }
    }

    /// The same fault with a word on what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        let Some(place) = &self.place else { return Ok(()) };
        // A long line is shown from a little before the fault on, so that the caret is always in sight.
        let skipped = if place.column <= SHOWN_CHARS_MAX { 0 } else { place.column - SHOWN_CHARS_MAX / 2 };
        let shown: String = place.source_line.chars().skip(skipped).take(SHOWN_CHARS_MAX).collect();
        let lead: String = shown
            .chars()
            .take(place.column - 1 - skipped)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "\n  {number} | {}\n  {margin} | {lead}^", shown.trim_end())
    }
}

/// Everything that is wrong with the settings, all files together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsFaults(pub Vec<Fault>);

impl fmt::Display for SettingsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        let noun = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} {noun} in the settings; nothing was changed or started", self.0.len())
    }
}

/// The word of `known` that was probably meant by `word`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Least likeness (Jaro-Winkler, 0 to 1) worth a question: `personna` to `persona` is 0.97, `route` to `tools` 0.47.
    const LIKENESS_MIN: f64 = 0.8;
    let likeness = |candidate: &str| {
        let alike = strsim::jaro_winkler(word, candidate);
        let part = word.len() >= 4 && (candidate.contains(word) || word.contains(candidate));
        if part { alike.max(LIKENESS_MIN) } else { alike }
    };
    known
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(alike, _)| *alike >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_line_and_a_caret() {
        let text = "(\n\tpersonna: \"x\",\n)";
        let fault = Fault {
            path: "archons/ezra.ron".into(),
            place: Some(Place::of(text, 3)),
            message: "unknown field `personna`".into(),
            hint: Some("did you mean `persona`?".into()),
        };
        assert_eq!(
            fault.to_string(),
            "archons/ezra.ron:2:2: unknown field `personna`; did you mean `persona`?\n  2 | \tpersonna: \"x\",\n    | \t^"
        );
    }

    #[test]
    fn places_never_leave_the_text() {
        let text = "ä\r\nb";
        for offset in 0..9 {
            let place = Place::of(text, offset);
            assert!(place.line <= 2 && place.column <= 3, "{place:?}");
        }
        assert_eq!(Place::of("", 5), Place { line: 1, column: 1, source_line: String::new() });
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = "x".repeat(5000);
        let fault = Fault {
            path: "a.ron".into(),
            place: Some(Place::of(&text, 4000)),
            message: "m".into(),
            hint: None,
        };
        let shown = fault.to_string();
        assert!(shown.len() < 300, "{shown}");
        assert!(shown.ends_with('^'));
    }

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["persona", "display_name", "tools", "answer_tokens_max"];
        for (word, meant) in [
            ("personna", Some("persona")),
            ("name", Some("display_name")),
            ("answer_token_max", Some("answer_tokens_max")),
            ("route", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}

//! Reads a `SKILL.md`: the front matter, which must be as <https://agentskills.io/specification> says, and the text behind it.
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::{Options, budget, options};

use crate::settings::{ALL_SKILLS as ALL, Fault, Place};

/// Longest name, in bytes: the format's limit.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest description, in characters: the format's limit.
pub const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Longest line about what a skill needs, in characters: the format's limit.
const COMPATIBILITY_CHARS_MAX: usize = 500;
/// Longest front matter, in bytes: all fields at their limits, with room for those that others add.
const FRONT_BYTES_MAX: usize = 16 << 10;
/// Stands alone on the lines before and after the front matter.
const FENCE: &str = "---";

/// What a `SKILL.md` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SkillFile {
    pub(super) name: String,
    /// In one line.
    pub(super) description: String,
    pub(super) license: Option<String>,
    /// Markdown.
    pub(super) text: String,
}

/// Fields that are not here change nothing: `metadata` is for others, and `allowed-tools` would give what only a profile can.
#[derive(Debug, Deserialize)]
struct Front {
    name: Option<String>,
    description: Option<String>,
    license: Option<String>,
    compatibility: Option<String>,
}

/// Reads the text of a file, which lies in a folder of this name; answers all its faults when there is one.
pub(super) fn read(path: &Path, folder: &str, text: &str) -> Result<SkillFile, Vec<Fault>> {
    let text = text.trim_start_matches('\u{feff}');
    let (yaml, body) = split(path, text).map_err(|fault| vec![fault])?;
    let front: Front = serde_saphyr::from_str_with_options(yaml, bounds())
        .map_err(|error| vec![of_yaml(path, yaml, &error)])?;
    let mut faults = Vec::new();
    let mut fault = |what: Result<(), String>| faults.extend(what.err().map(|why| Fault::of_file(path, why)));
    let name = front.name.unwrap_or_default();
    fault(name_is_good(&name, folder));
    let description = front.description.unwrap_or_default();
    // A folded text of several lines is one line to the model.
    let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    fault(description_is_good(&description));
    let compatibility = front.compatibility.unwrap_or_default().chars().count();
    fault(at_most("compatibility", compatibility, COMPATIBILITY_CHARS_MAX));
    fault(if body.trim().is_empty() { Err("has no text behind its front matter".into()) } else { Ok(()) });
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(SkillFile { name, description, license: front.license, text: body.trim().to_owned() })
}

/// The front matter, and what follows it.
fn split<'t>(path: &Path, text: &'t str) -> Result<(&'t str, &'t str), Fault> {
    let fault = |message: &str| {
        Err(Fault::of_file(path, message).with_hint(
            "it begins with a line `---`, lines like `name: NAME` and `description: TEXT`, and a line `---`",
        ))
    };
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == FENCE) else {
        return fault("has no front matter");
    };
    let mut end = first.len();
    for line in lines {
        if line.trim_end() == FENCE {
            let yaml = text.get(first.len()..end).unwrap_or_default();
            return Ok((yaml, text.get(end + line.len()..).unwrap_or_default()));
        }
        end += line.len();
        if end > FRONT_BYTES_MAX {
            return fault(&format!(
                "has a front matter of more than {FRONT_BYTES_MAX} bytes, or no end of it"
            ));
        }
    }
    fault("has a front matter without an end")
}

/// What a front matter may use up: aliases, which could make much of little, are of no use in so small a text.
fn bounds() -> Options {
    options! {
        budget: budget! {
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
            max_depth: 16,
            max_nodes: 1024,
            max_events: 4096,
            max_total_scalar_bytes: FRONT_BYTES_MAX,
        },
        with_snippet: false,
    }
}

/// The place is that in the file, which has a line more.
fn of_yaml(path: &Path, yaml: &str, error: &serde_saphyr::Error) -> Fault {
    let place = error.location().map(|at| {
        let (line, column) =
            (usize::try_from(at.line()).unwrap_or(1), usize::try_from(at.column()).unwrap_or(1));
        let source_line = yaml.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
        Place { line: line + 1, column, source_line }
    });
    let said = error.without_snippet().to_string();
    // Without the place in what the reader was given: it is another one than the file's.
    let said = said.split(": ").filter(|part| !part.starts_with("line ")).collect::<Vec<_>>().join(": ");
    let message = format!("the front matter is not right: {said}");
    let hint = Some("a text with `: ` or `#` in it needs quotes".to_owned());
    Fault { path: path.to_owned(), place, message, hint }
}

fn name_is_good(name: &str, folder: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("`name` is missing".to_owned());
    }
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.len() > NAME_BYTES_MAX || !name.split('-').all(is_plain) {
        return Err(format!(
            "`name` needs small letters and digits, with single hyphens between them, at most {NAME_BYTES_MAX}"
        ));
    }
    if name == ALL {
        return Err(format!("`name` cannot be `{ALL}`, which stands for all skills"));
    }
    if name != folder {
        return Err(format!("`name` is `{name}`, its folder is `{folder}`: they must be the same"));
    }
    Ok(())
}

fn description_is_good(description: &str) -> Result<(), String> {
    if description.is_empty() {
        return Err("`description` is missing: one line that says what it is for, and when".to_owned());
    }
    if description.contains(char::is_control) {
        return Err("`description` has control characters".to_owned());
    }
    at_most("description", description.chars().count(), DESCRIPTION_CHARS_MAX)
}

fn at_most(field: &str, chars: usize, most: usize) -> Result<(), String> {
    if chars > most { Err(format!("`{field}` has {chars} characters, {most} at most")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(folder: &str, text: &str) -> Result<SkillFile, Vec<String>> {
        let read = read(Path::new("skills/x/SKILL.md"), folder, text);
        read.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_skill_is_read_as_the_format_says() {
        let text = "---\nname: pdf-forms2\ndescription: >\n  Fills forms.\n  Use it for PDFs.\nlicense: MIT\nmetadata:\n  \
            version: \"1.0\"\nallowed-tools: Bash(git:*) Read\n---\n\n# Forms\n\n---\nmore\n";
        let file = read_as("pdf-forms2", text).unwrap();
        assert_eq!(file.name, "pdf-forms2");
        assert_eq!(file.description, "Fills forms. Use it for PDFs.");
        assert_eq!(file.license.as_deref(), Some("MIT"));
        assert_eq!(file.text, "# Forms\n\n---\nmore");
        let windows = "\u{feff}---\r\nname: a\r\ndescription: \"b: c\"\r\n---\r\nText.\r\n";
        assert_eq!(read_as("a", windows).unwrap().description, "b: c");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = "x".repeat(1025);
        let named = |name: &str| format!("---\nname: {name}\ndescription: d\n---\ntext");
        for (folder, text, wanted) in [
            ("a", String::new(), "has no front matter"),
            ("a", "name: a".into(), "has no front matter"),
            ("a", "---\nname: a\ndescription: b\n".into(), "without an end"),
            ("a", format!("---\n{}", "#\n".repeat(9000)), "more than 16384 bytes"),
            ("a", "---\ndescription: b\n---\ntext".into(), "`name` is missing"),
            ("a", "---\nname: a\n---\ntext".into(), "`description` is missing"),
            ("a", "---\nname: a\ndescription: \"  \"\n---\ntext".into(), "`description` is missing"),
            (
                "a",
                format!("---\nname: a\ndescription: {long}\n---\ntext"),
                "`description` has 1025 characters",
            ),
            ("a", "---\nname: a\ndescription: \"b\\ec\"\n---\ntext".into(), "control characters"),
            ("a", "---\nname: a\ndescription: b\n---\n \n".into(), "has no text"),
            ("A", named("A"), "needs small letters"),
            ("a--b", named("a--b"), "needs small letters"),
            ("-a", named("-a"), "needs small letters"),
            ("a-", named("a-"), "needs small letters"),
            ("a_b", named("a_b"), "needs small letters"),
            ("a", named(&"a".repeat(65)), "needs small letters"),
            ("all", named("all"), "stands for all"),
            ("b", named("a"), "its folder is `b`"),
        ] {
            let faults = read_as(folder, &text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(wanted)), "{text}: {faults:?}");
        }
        let both = read_as("a", "---\nlicense: MIT\n---\ntext").unwrap_err();
        assert_eq!(both.len(), 2, "every fault at once: {both:?}");
    }

    #[test]
    fn bad_yaml_is_shown_with_its_place_in_the_file() {
        for (yaml, place) in [
            ("name: a\ndescription: Use when: asked", "SKILL.md:3:"),
            ("name: [a, b]\ndescription: c", "SKILL.md:2:"),
            ("name: a\nname: b\ndescription: c", "SKILL.md:3:"),
            ("- a\n- b", "SKILL.md:2:"),
        ] {
            let faults = read_as("a", &format!("---\n{yaml}\n---\ntext")).unwrap_err();
            assert!(faults[0].contains(place) && faults[0].contains("quotes"), "{yaml}: {faults:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(---\n)?([a-z]{0,3}[:{}&*!|>'\"\\[\\]#-]{0,4}[ \n]){0,20}(---\n)?.{0,9}") {
            if let Err(faults) = read(Path::new("SKILL.md"), "a", &text) {
                proptest::prop_assert!(!faults.is_empty());
            }
        }
    }

    #[test]
    fn little_text_cannot_become_much() {
        let mut bomb = String::from("name: a\nx0: &x0 [y, y, y, y, y, y, y, y, y]\n");
        for level in 1..9 {
            let before = format!("*x{}", level - 1);
            let nine = [before.as_str(); 9].join(", ");
            bomb.push_str(&format!("x{level}: &x{level} [{nine}]\n"));
        }
        let faults = read_as("a", &format!("---\n{bomb}description: b\n---\ntext")).unwrap_err();
        assert!(faults[0].contains("not right"), "{faults:?}");
        let deep = format!("name: a\ndescription: {}{}\n", "[".repeat(4000), "]".repeat(4000));
        assert!(read_as("a", &format!("---\n{deep}---\ntext")).is_err());
    }
}

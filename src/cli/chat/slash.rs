//! What a typed line means: slash commands by their unique beginning, everything else word for word.
use archond_actors::command::{COMMANDS, Command};
use archond_actors::domain::is_call_name;

/// Names that end the chat. They never leave the terminal.
const LEAVE: [&str; 3] = ["/quit", "/exit", "/bye"];
/// Has a file go with the next message. It does not leave the terminal either.
const ATTACH: &str = "/attach";

/// What is to be done with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing was typed.
    Empty,
    /// End the chat.
    Leave,
    /// Have this file go with the next message.
    Attach(String),
    /// Send this; a shortened command is written out.
    Send(String),
    /// The beginning of more than one command.
    Ambiguous(Vec<&'static str>),
}

/// Reads a line.
pub(super) fn read(line: &str) -> Line {
    let line = line.trim();
    if line.is_empty() {
        return Line::Empty;
    }
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let word_lower = word.to_ascii_lowercase();
    let Some(name) = resolve(&word_lower) else {
        let candidates = candidates(&word_lower);
        return if candidates.is_empty() { Line::Send(line.to_owned()) } else { Line::Ambiguous(candidates) };
    };
    if name == ATTACH {
        return Line::Attach(rest.trim().to_owned());
    }
    match (LEAVE.contains(&name), rest.is_empty()) {
        (true, _) => Line::Leave,
        (false, true) => Line::Send(name.to_owned()),
        (false, false) => Line::Send(format!("{name} {rest}")),
    }
}

/// What a person who is asked about a call means.
pub(super) fn decision(line: &str) -> Option<String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words.as_slice() {
        ["y" | "yes" | "/yes" | "/approve"] | ["/approve", "once"] => "/approve",
        ["s" | "session"] | ["/approve" | "/yes", "session"] => "/approve session",
        ["a" | "always"] | ["/approve" | "/yes", "always"] => "/approve always",
        ["n" | "no" | "/no" | "/deny"] => "/deny",
        // About a call of somebody else, by its name.
        ["/approve" | "/yes" | "/deny" | "/no", .., name] if is_call_name(name) => {
            return Some(line.trim().to_owned());
        }
        _ => return None,
    };
    Some(said.to_owned())
}

/// Whether another session may be the current one after this line: whoever named one does so no more.
pub(super) fn changes_session(line: &str) -> bool {
    use Command::{Branch, HandOff, New, Resume};
    Command::parse(line).is_some_and(|command| matches!(command, New | Branch | Resume | HandOff))
}

/// Whether the house lists its commands on this line.
pub(super) fn asks_for_help(line: &str) -> bool {
    Command::parse(line) == Some(Command::Help)
}

/// The commands that begin so; empty when this is no beginning of a command.
pub(super) fn candidates(word: &str) -> Vec<&'static str> {
    if word.len() < 2 || !word.starts_with('/') {
        return Vec::new();
    }
    names().filter(|name| name.starts_with(word)).collect()
}

/// Every command, as the completion offers them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().flat_map(|(_, names, _)| names.iter().copied()).chain(LEAVE).chain([ATTACH])
}

/// What a line may become.
pub(super) fn completions(typed: &str) -> Vec<String> {
    let found: Vec<&str> = if typed == "/" { names().collect() } else { candidates(typed) };
    found.into_iter().map(str::to_owned).collect()
}

/// The one command that is meant: a whole name, or the beginning of names that all mean the same.
fn resolve(word: &str) -> Option<&'static str> {
    if let Some(name) = names().find(|name| *name == word) {
        return Some(name);
    }
    let candidates = candidates(word);
    let first = candidates.first()?;
    candidates.iter().all(|name| meaning(name) == meaning(first)).then_some(*first)
}

/// Equal for names that mean the same.
fn meaning(name: &str) -> Option<usize> {
    COMMANDS.iter().position(|(_, names, _)| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed() {
        assert_eq!(completions("/sta"), ["/status", "/start"]);
        assert!(completions("/").len() > 8);
        assert!(completions("hello /s").is_empty());
    }

    #[test]
    fn lines_are_taken_for_what_they_are() {
        let send = |text: &str| Line::Send(text.to_owned());
        let table = [
            ("  ", Line::Empty),
            ("hello there ", send("hello there")),
            ("/quit", Line::Leave),
            ("/attach  a b.jpg", Line::Attach("a b.jpg".to_owned())),
            ("/at", Line::Attach(String::new())),
            ("/EXIT now", Line::Leave),
            ("/by", Line::Leave),
            ("/b", Line::Ambiguous(vec!["/busy", "/branch", "/bye"])),
            ("/status", send("/status")),
            ("/statu", send("/status")),
            ("/ne a title", send("/new a title")),
            ("/w", send("/whoami")),
            ("/sta", Line::Ambiguous(vec!["/status", "/start"])),
            ("/frobnicate", send("/frobnicate")),
            ("/", send("/")),
            ("/etc/passwd", send("/etc/passwd")),
            ("what is /new ?", send("what is /new ?")),
        ];
        for (line, wanted) in table {
            assert_eq!(read(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn what_changes_the_session_is_recognised() {
        for line in ["/new", "/reset", "/clear now", "/branch", "/resume s2", "/handoff from telegram"] {
            assert!(changes_session(line), "{line}");
        }
        assert!(!changes_session("/status") && !changes_session("new"));
    }
}

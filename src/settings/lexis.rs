//! How long the comments and quoted values of RON are. Brackets and commas inside of them mean nothing, so the outline skips them.

/// What a text begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// None of this kind.
    Nothing,
    /// One of so many bytes.
    Whole(usize),
    /// One that never ends: what would close it.
    Endless(String),
}

/// Measures white space and comments, nested ones too; what stands before an endless comment is measured first.
pub(super) fn blank(text: &str) -> Lexeme {
    let mut at = 0;
    let mut depth = 0_usize;
    let mut opened = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("/*") {
            if depth == 0 {
                opened = at;
            }
            depth += 1;
            at += 2;
        } else if depth > 0 && rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else if depth == 0 && rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            match rest.chars().next() {
                Some(c) if depth > 0 || is_blank(c) => at += c.len_utf8(),
                None if depth > 0 && opened > 0 => return Lexeme::Whole(opened),
                None if depth > 0 => return Lexeme::Endless("*/".to_owned()),
                _ if at == 0 => return Lexeme::Nothing,
                _ => return Lexeme::Whole(at),
            }
        }
    }
}

/// Measures a string, raw string, byte string or character.
pub(super) fn quoted(text: &str) -> Lexeme {
    let body = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - body.len();
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inner) = raw.get(hashes..).and_then(|raw| raw.strip_prefix('"')) {
            let close = format!("\"{}", "#".repeat(hashes));
            return match inner.find(&close) {
                Some(length) => Lexeme::Whole(text.len() - inner.len() + length + close.len()),
                None => Lexeme::Endless(close),
            };
        }
    }
    if let Some(inner) = body.strip_prefix('"') {
        return match string_end(inner) {
            Some(end) => Lexeme::Whole(prefix + 1 + end),
            None => Lexeme::Endless("\"".to_owned()),
        };
    }
    match body.strip_prefix('\'').and_then(char_end) {
        Some(end) => Lexeme::Whole(prefix + 1 + end),
        None => Lexeme::Nothing,
    }
}

/// Where a string ends, behind its closing quote.
fn string_end(inner: &str) -> Option<usize> {
    let mut letters = inner.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Some(at + 1),
            '\\' => {
                letters.next();
            }
            _ => {}
        }
    }
    None
}

/// Where a character ends, behind its closing quote. A lone quote is none.
fn char_end(inner: &str) -> Option<usize> {
    let escaped = inner.strip_prefix('\\');
    let letter = escaped.unwrap_or(inner).chars().next()?;
    let behind = inner.len() - escaped.unwrap_or(inner).len() + letter.len_utf8();
    let tail = inner.get(behind..)?;
    // An escape may be long: `'\u{41}'`. Everything else is one character.
    let length = if escaped.is_some() { tail.find(['\'', '\n'])? } else { 0 };
    tail.get(length..)?.starts_with('\'').then_some(behind + length + 1)
}

/// White space as RON has it.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_measured() {
        for (text, end) in [
            (r#""a" b"#, 3),
            (r#""a\"" b"#, 5),
            (r##"r"\" b"##, 4),
            (r###"r#"a"b"# c"###, 8),
            (r#"b"x")"#, 4),
            ("'x' y", 3),
            (r"'\'' y", 4),
            (r"'\u{41}' y", 8),
            ("'ä'", 4),
            ("b'x'", 4),
        ] {
            assert_eq!(quoted(text), Lexeme::Whole(end), "{text}");
        }
        for text in ["", "abc", "'ab'", "'", "r1", "b", "'\\", "'\n'x"] {
            assert_ne!(quoted(text), Lexeme::Endless("\"".to_owned()), "{text}");
        }
        assert_eq!(quoted("\"a\\\""), Lexeme::Endless("\"".to_owned()));
        assert_eq!(quoted("r##\"a\"#"), Lexeme::Endless("\"##".to_owned()));
    }

    #[test]
    fn blanks_are_measured() {
        for (text, end) in
            [(" \n\tx", 3), ("// a\nx", 5), ("/* /* */ */x", 11), ("// a", 4), (" /**/ // )\n x", 12)]
        {
            assert_eq!(blank(text), Lexeme::Whole(end), "{text}");
        }
        assert_eq!(blank("x "), Lexeme::Nothing);
        assert_eq!(blank(" /* /* */"), Lexeme::Whole(1));
        assert_eq!(blank("/* /* */"), Lexeme::Endless("*/".to_owned()));
    }
}

//! Characters that do something rather than say something.

/// Whether a character changes how those around it are read, so that a text reads as another one: controls, what turns the writing
/// direction (Unicode's property `Bidi_Control`), and what ends a line without being a line end (U+2028, U+2029).
///
/// Tabs and line ends do so too: whoever wants those looks first.
pub fn steers(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || matches!(c, '\u{2028}' | '\u{2029}') || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_say_something_steer_nothing() {
        for says in ['a', 'ß', '你', '🙂', 'א', ' ', '\u{a0}', '\u{200d}', '\u{301}'] {
            assert!(!steers(says), "{says:?}");
        }
        for steering in ['\0', '\t', '\n', '\u{1b}', '\u{85}', '\u{9b}', '\u{200f}', '\u{2028}', '\u{202e}'] {
            assert!(steers(steering), "{steering:?}");
        }
    }
}

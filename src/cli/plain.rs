//! Makes text from outside harmless for a terminal.
//!
//! A model repeats what strangers wrote. An escape sequence in an answer could retitle the window, move the cursor over what was
//! said before, or fill the clipboard. Every character is judged alone, so a sequence cut in two by streaming is caught as well.
use std::borrow::Cow;

use archond_actors::domain::steers;

/// Replaces every character that a terminal would obey. Line ends and tabs stay.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|&c| c != '\r').map(visible).collect())
}

fn is_plain(c: char) -> bool {
    matches!(c, '\n' | '\t') || !steers(c)
}

/// The picture of a control character: ESC becomes `␛`.
fn visible(c: char) -> char {
    match c {
        _ if is_plain(c) => c,
        '\u{7f}' => '\u{2421}',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_become_visible() {
        let table = [
            ("plain text\n\tindented\n", "plain text\n\tindented\n"),
            ("grüße 你好 🙂", "grüße 你好 🙂"),
            ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
            ("\x1b]0;title\x07", "␛]0;title␇"),
            ("one\r\ntwo", "one\ntwo"),
            ("over\rwritten", "overwritten"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\u{8}b\u{7f}\0", "a␈b␡␀"),
            ("abc\u{202e}cba", "abc\u{fffd}cba"),
            ("one\u{2028}two", "one\u{fffd}two"),
        ];
        for (text, wanted) in table {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_remains(text in any::<String>()) {
            prop_assert!(plain(&text).chars().all(is_plain));
        }

        #[test]
        fn pieces_give_what_the_whole_gives(left in any::<String>(), right in any::<String>()) {
            prop_assert_eq!(plain(&left).into_owned() + &plain(&right), plain(&format!("{left}{right}")).into_owned());
        }
    }
}

//! Words of others inside our own.

/// Longest words that are shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// One short line of it.
pub(super) fn shorten(words: &str) -> String {
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let mut shown: String = words.chars().take(SHOWN_CHARS_MAX).map(plain).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    shown
}

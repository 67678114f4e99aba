//! Cutting an answer into messages that Telegram takes: at a paragraph, a line, a sentence, a word; not in program text where that can be
//! helped. Pure.
use std::ops::Range;

use super::styled::{Styled, first_units, units};

/// Longest text of one message, in UTF-16 units after its styles were read.
pub(super) const TEXT_UNITS_MAX: usize = 4096;
/// A place to cut counts only where the message is then at least so full: else there would be many short ones.
const FULL_ENOUGH: f64 = 0.5;
/// Program text that is longer than a message is cut at a line wherever it comes: there is no place outside of it.
const LINE_FULL_ENOUGH: f64 = 0.1;

/// Cuts a text into parts of at most so many units. Joined they are the whole text; none is blank, unless all of it is.
pub(super) fn split(styled: &Styled, max: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start) = (Vec::<Range<usize>>::new(), 0);
    while let Some(rest) = styled.text.get(start..).filter(|rest| !rest.is_empty()) {
        let length = match units(rest) <= max {
            true => rest.len(),
            false => cut(styled, start, first_units(rest, max)),
        };
        let part = start..start + length;
        start = part.end;
        let is_blank =
            |part: &Range<usize>| styled.text.get(part.clone()).is_none_or(|text| text.trim().is_empty());
        match parts.last_mut() {
            // Telegram takes no blank message, and shows no blanks at an end.
            Some(last) if is_blank(&part) || is_blank(last) => last.end = part.end,
            _ => parts.push(part),
        }
    }
    parts
}

/// What of a part is sent: Telegram shows no blanks at its ends, and they would count. But in program text they mean something.
pub(super) fn sent(styled: &Styled, part: &Range<usize>, max: usize) -> Range<usize> {
    let text = styled.text.get(part.clone()).unwrap_or_default();
    let end = text.trim_end().len();
    let blanks = text.len() - text.trim_start().len();
    let lines = text.get(..blanks).and_then(|blanks| blanks.rfind('\n')).map_or(0, |last| last + 1);
    let fits = text.get(lines..end).is_some_and(|text| units(text) <= max);
    let lead = if fits && styled.is_block_at(part.start + blanks) { lines } else { blanks };
    part.start + lead.min(end)..part.start + end
}

/// Where the first message ends: bytes of `window`, which is as much as fits.
fn cut(styled: &Styled, start: usize, window: &str) -> usize {
    let least = |share: f64| (window.len() as f64 * share) as usize;
    let best = |mark: &str, share: f64, in_block: bool| {
        let ends = window.rmatch_indices(mark).map(|(at, _)| at + mark.len());
        let mut good = ends.take_while(|end| *end > least(share));
        good.find(|end| in_block || !styled.is_in_block(start + end))
    };
    let outside = ["\n\n", "\n", ". ", "! ", "? ", "… ", " "];
    let found = outside.iter().find_map(|mark| best(mark, FULL_ENOUGH, false));
    found
        .or_else(|| before_block(styled, start, window, least(LINE_FULL_ENOUGH)))
        .or_else(|| best("\n", LINE_FULL_ENOUGH, true))
        .or_else(|| best(" ", LINE_FULL_ENOUGH, true))
        .unwrap_or(window.len())
}

/// The beginning of program text that would fit into a message of its own.
fn before_block(styled: &Styled, start: usize, window: &str, least: usize) -> Option<usize> {
    let end = start + window.len();
    let block = styled.spans.iter().rev().find(|span| {
        matches!(span.style, super::styled::Style::Block(_))
            && span.range.start < end
            && end <= span.range.end
    })?;
    let fits = units(styled.text.get(block.range.clone())?) <= units(window);
    let at = block.range.start.checked_sub(start)?;
    (fits && at > least).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::markup;
    use super::*;

    fn texts<'t>(styled: &'t Styled, parts: &[Range<usize>]) -> Vec<&'t str> {
        parts.iter().map(|part| &styled.text[part.clone()]).collect()
    }

    #[test]
    fn the_best_place_to_cut_is_taken() {
        let table: [(&str, usize, &[&str]); 8] = [
            ("", 10, &[]),
            ("short", 10, &["short"]),
            ("one two\n\nthree four", 14, &["one two\n\n", "three four"]),
            ("one two\nthree four", 14, &["one two\n", "three four"]),
            ("One. Two three four", 8, &["One. ", "Two ", "three ", "four"]),
            ("aaaa bbbb cccc", 10, &["aaaa bbbb ", "cccc"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("😀😀😀", 3, &["😀", "😀", "😀"]),
        ];
        for (text, max, expected) in table {
            let styled = Styled::plain(text);
            assert_eq!(texts(&styled, &split(&styled, max)), expected, "{text}");
        }
    }

    #[test]
    fn program_text_is_kept_whole_where_it_fits_and_reopened_where_not() {
        let code = "let a = 1;\nlet b = 2;\nlet c = 3;";
        let text = format!("Some words before it, and some more.\n\n```rust\n{code}\n```\n\nand after");
        let styled = markup::read(&text);
        let parts = split(&styled, 60);
        assert_eq!(texts(&styled, &parts)[0].trim(), "Some words before it, and some more.");
        assert!(styled.html(&parts[1]).starts_with("<pre><code class=\"language-rust\">let a"), "{parts:?}");
        assert!(texts(&styled, &parts)[1].contains("let c = 3;"));

        let long = format!("```\n{}```", "0123456789\n".repeat(20));
        let styled = markup::read(&long);
        let parts = split(&styled, 50);
        assert!(parts.len() > 4);
        for part in &parts {
            let html = styled.html(part);
            assert!(html.starts_with("<pre>") && html.trim_end().ends_with("</pre>"), "{html}");
        }
    }

    /// Every tag closes the last one that is open, and nothing is left open.
    fn is_valid(html: &str) -> bool {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let Some((tag, _)) = tag.split_once('>') else { return false };
            match tag.strip_prefix('/') {
                Some(name) if open.pop() == Some(name) => {}
                Some(_) => return false,
                None => open.push(tag.split(' ').next().unwrap_or_default()),
            }
        }
        open.is_empty()
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_and_each_is_taken(
            words in prop::collection::vec(prop_oneof![
                "[a-z]{1,12}", "😀{1,5}", Just("\n".to_owned()), Just("\n\n".to_owned()), Just("\n```\n".to_owned()),
                Just("**".to_owned()), Just("`".to_owned()), Just("> ".to_owned()), Just("[x](http://y)".to_owned()),
                Just("<b>&\"".to_owned()), Just("\n| a | b |\n|---|---|\n| c | d |\n".to_owned()), Just("- ".to_owned()), Just("_".to_owned()),
            ], 0..80),
            max in 8_usize..60,
        ) {
            let styled = markup::read(&words.join(" "));
            let parts = split(&styled, max);
            let joined: String = texts(&styled, &parts).concat();
            prop_assert_eq!(&joined, &styled.text);
            for part in &parts {
                let part = sent(&styled, part, max);
                let text = &styled.text[part.clone()];
                prop_assert!(units(text) <= max, "{}", text);
                prop_assert!(!text.trim().is_empty());
                prop_assert!(is_valid(&styled.html(&part)), "{}", styled.html(&part));
            }
        }
    }
}

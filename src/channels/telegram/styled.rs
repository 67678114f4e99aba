//! Text with styles as Telegram knows them, its length as Telegram counts it, and its form as Telegram's HTML. Pure.
use std::ops::Range;

/// How a piece of text looks. In the order in which tags are nested, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    /// Somebody else's words. Telegram has one level of them.
    Quote,
    /// Leads to an address.
    Link(String),
    Bold,
    Italic,
    Struck,
    /// Program text in a line.
    Code,
    /// Lines of program text, in this language if it is not empty.
    Block(String),
}

impl Style {
    /// Telegram allows nothing else inside or around program text.
    fn is_program_text(&self) -> bool {
        matches!(self, Self::Code | Self::Block(_))
    }

    fn open(&self, html: &mut String) {
        match self {
            Self::Quote => html.push_str("<blockquote>"),
            Self::Link(to) => {
                html.push_str("<a href=\"");
                escape(to, html);
                html.push_str("\">");
            }
            Self::Bold => html.push_str("<b>"),
            Self::Italic => html.push_str("<i>"),
            Self::Struck => html.push_str("<s>"),
            Self::Code => html.push_str("<code>"),
            Self::Block(language) if language.is_empty() => html.push_str("<pre>"),
            Self::Block(language) => {
                html.push_str("<pre><code class=\"language-");
                escape(language, html);
                html.push_str("\">");
            }
        }
    }

    fn close(&self, html: &mut String) {
        html.push_str(match self {
            Self::Quote => "</blockquote>",
            Self::Link(_) => "</a>",
            Self::Bold => "</b>",
            Self::Italic => "</i>",
            Self::Struck => "</s>",
            Self::Code => "</code>",
            Self::Block(language) if language.is_empty() => "</pre>",
            Self::Block(_) => "</code></pre>",
        });
    }
}

/// A style and the bytes that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<usize>,
    pub(super) style: Style,
}

/// Text with styles. Spans may overlap in every way, and begin and end between characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Styled {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
}

impl Styled {
    /// Text without any.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), spans: Vec::new() }
    }

    /// Whether a byte lies inside of lines of program text, and not at their beginning.
    pub(super) fn is_in_block(&self, at: usize) -> bool {
        let inside = |span: &Span| span.range.start < at && at < span.range.end;
        self.spans.iter().any(|span| matches!(span.style, Style::Block(_)) && inside(span))
    }

    /// Whether a byte belongs to lines of program text.
    pub(super) fn is_block_at(&self, at: usize) -> bool {
        self.spans.iter().any(|span| matches!(span.style, Style::Block(_)) && span.range.contains(&at))
    }

    /// A part of it as Telegram's HTML; valid whatever the spans are.
    pub(super) fn html(&self, part: &Range<usize>) -> String {
        let mut cuts: Vec<usize> = vec![part.start, part.end];
        let within = |at: &usize| part.contains(at);
        cuts.extend(self.spans.iter().flat_map(|span| [span.range.start, span.range.end]).filter(within));
        cuts.sort_unstable();
        cuts.dedup();
        let (mut html, mut open) = (String::new(), Vec::<&Style>::new());
        for run in cuts.windows(2) {
            let [start, end] = *run else { continue };
            let wanted = self.styles(start);
            let kept = open.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
            while open.len() > kept {
                if let Some(style) = open.pop() {
                    style.close(&mut html);
                }
            }
            for style in wanted.into_iter().skip(kept) {
                style.open(&mut html);
                open.push(style);
            }
            escape(self.text.get(start..end).unwrap_or_default(), &mut html);
        }
        while let Some(style) = open.pop() {
            style.close(&mut html);
        }
        html
    }

    /// The styles at a byte, outermost first, one of each kind.
    fn styles(&self, at: usize) -> Vec<&Style> {
        let here = self.spans.iter().filter(|span| span.range.contains(&at));
        let mut styles: Vec<&Style> = here.map(|span| &span.style).collect();
        if let Some(program) = styles.iter().copied().find(|style| style.is_program_text()) {
            return vec![program];
        }
        styles.sort();
        styles.dedup_by_key(|style| std::mem::discriminant(*style));
        styles
    }
}

fn escape(text: &str, html: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

/// The length of a text in the units in which Telegram counts: those of UTF-16.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The beginning of a text that is not longer than this.
pub(super) fn first_units(text: &str, max: usize) -> &str {
    let mut left = max;
    let end = text.char_indices().find(|(_, letter)| {
        let fits = letter.len_utf16() <= left;
        left = left.saturating_sub(letter.len_utf16());
        !fits
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styled(text: &str, spans: &[(Range<usize>, Style)]) -> Styled {
        let span =
            |(range, style): &(Range<usize>, Style)| Span { range: range.clone(), style: style.clone() };
        Styled { text: text.into(), spans: spans.iter().map(span).collect() }
    }

    #[test]
    fn overlapping_styles_are_nested_and_program_text_stands_alone() {
        let table = [
            (styled("a<b>&\"c\"", &[]), "a&lt;b&gt;&amp;&quot;c&quot;"),
            (styled("abcd", &[(0..3, Style::Bold), (2..4, Style::Italic)]), "<b>ab<i>c</i></b><i>d</i>"),
            (styled("abcd", &[(0..4, Style::Bold), (1..3, Style::Code)]), "<b>a</b><code>bc</code><b>d</b>"),
            (styled("abc", &[(0..3, Style::Quote), (1..3, Style::Quote)]), "<blockquote>abc</blockquote>"),
            (
                styled("ab", &[(0..2, Style::Link("http://x/?a=1&b=\"".into()))]),
                "<a href=\"http://x/?a=1&amp;b=&quot;\">ab</a>",
            ),
            (
                styled("ab", &[(0..2, Style::Block("c++".into()))]),
                "<pre><code class=\"language-c++\">ab</code></pre>",
            ),
            (styled("ab", &[(0..2, Style::Block(String::new()))]), "<pre>ab</pre>"),
        ];
        for (styled, html) in table {
            assert_eq!(styled.html(&(0..styled.text.len())), html);
        }
        let cut = styled("abcd", &[(0..4, Style::Bold)]);
        assert_eq!((cut.html(&(0..2)), cut.html(&(2..4))), ("<b>ab</b>".into(), "<b>cd</b>".into()));
    }

    #[test]
    fn length_is_counted_in_utf16() {
        assert_eq!((units("aä€😀"), first_units("a😀b", 2), first_units("a😀b", 3)), (5, "a", "a😀"));
    }
}

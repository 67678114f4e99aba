//! From the Markdown that models write to what Telegram can show. Pure.
//!
//! What Telegram has no form for is told in characters: headings are bold, lists have bullets, tables are set in columns, and HTML in the
//! text is shown as it was written.
use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use unicode_width::UnicodeWidthStr;

use super::styled::{Span, Style, Styled};

/// Deepest list that is set off to the right: narrow screens have no room for more.
const INDENT_MAX: usize = 6;
/// Longest address of a link.
const LINK_BYTES_MAX: usize = 2000;
/// Longest name of a language.
const LANGUAGE_BYTES_MAX: usize = 32;

/// Reads Markdown. Every text is good; what is no Markdown stands for itself.
pub(super) fn read(markdown: &str) -> Styled {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut setter = Setter::default();
    for event in Parser::new_ext(markdown, options) {
        setter.take(event);
    }
    setter.finish()
}

/// Puts text and styles together.
#[derive(Default)]
struct Setter {
    set: Styled,
    /// Styles that have begun, and where.
    open: Vec<(Style, usize)>,
    /// Lists that have begun: the number of the next item, or `None` for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    /// An item's bullet is set, and its text follows in the same line.
    after_bullet: bool,
    /// Links that have begun: what is to be told of their addresses, where Telegram does not go there.
    links: Vec<Option<String>>,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
}

impl Setter {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(code) => {
                self.open(Style::Code);
                self.text(&code);
                self.close();
            }
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.block();
                self.text("———");
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(&text)
            }
        }
    }

    fn begin(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.block(),
            Tag::Heading { level, .. } => {
                self.block();
                self.open(Style::Bold);
                if level > HeadingLevel::H3 {
                    self.open(Style::Italic);
                }
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.after_bullet = true;
                self.quotes += 1;
                self.open(Style::Quote);
            }
            Tag::CodeBlock(kind) => {
                self.block();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => String::new(),
                };
                self.open(Style::Block(language));
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.block();
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.open(Style::Italic),
            Tag::Strong => self.open(Style::Bold),
            Tag::Strikethrough => self.open(Style::Struck),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link(&dest_url),
            Tag::Table(alignments) => {
                self.block();
                self.table = Some(Table { alignments, rows: Vec::new() });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                if level > HeadingLevel::H3 {
                    self.close();
                }
                self.close();
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                self.close();
            }
            TagEnd::CodeBlock => {
                // The fence's own line is not part of it.
                if self.set.text.ends_with('\n') {
                    self.set.text.pop();
                }
                self.close();
            }
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.close(),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.open(Style::Block(String::new()));
                    self.text(&columns(&table));
                    self.close();
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(table) = &mut self.table {
            if let Some(cell) = table.rows.last_mut().and_then(|row| row.last_mut()) {
                cell.push_str(text);
            }
            return;
        }
        self.after_bullet &= text.is_empty();
        self.set.text.push_str(text);
    }

    /// Begins a new paragraph: a blank line after others, none in lists.
    fn block(&mut self) {
        let text = &mut self.set.text;
        if text.is_empty() || std::mem::take(&mut self.after_bullet) {
            return;
        }
        let wanted = if self.lists.is_empty() { 2 } else { 1 };
        let there = text.len() - text.trim_end_matches('\n').len();
        text.push_str(&"\n".repeat(wanted - there.min(wanted)));
        if !self.lists.is_empty() {
            text.push_str(&"  ".repeat(self.lists.len().min(INDENT_MAX)));
        }
    }

    fn item(&mut self) {
        if !self.set.text.is_empty() && !self.set.text.ends_with('\n') && !self.after_bullet {
            self.set.text.push('\n');
        }
        let depth = self.lists.len().saturating_sub(1).min(INDENT_MAX);
        self.set.text.push_str(&"  ".repeat(depth));
        match self.lists.last_mut() {
            Some(Some(number)) => {
                self.set.text.push_str(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            _ => self.set.text.push_str("• "),
        }
        self.after_bullet = true;
    }

    fn open(&mut self, style: Style) {
        if self.table.is_none() {
            self.open.push((style, self.set.text.len()));
        }
    }

    fn close(&mut self) {
        if self.table.is_some() {
            return;
        }
        if let Some((style, start)) = self.open.pop() {
            let range = start..self.set.text.len();
            if start < range.end {
                self.set.spans.push(Span { range, style });
            }
        }
    }

    /// One that leads nowhere is plain text, with the address behind it.
    fn link(&mut self, to: &str) {
        let leads = ["http://", "https://", "tg://", "mailto:"].iter().any(|scheme| to.starts_with(scheme));
        let plain = to.len() <= LINK_BYTES_MAX && !to.chars().any(|c| c.is_control() || c.is_whitespace());
        if leads && plain {
            self.open(Style::Link(to.to_owned()));
        }
        self.links.push(if leads && plain { None } else { Some(to.to_owned()) });
    }

    fn end_link(&mut self) {
        match self.links.pop() {
            Some(Some(to)) if !to.is_empty() => self.text(&format!(" ({to})")),
            Some(None) => self.close(),
            _ => {}
        }
    }

    fn finish(mut self) -> Styled {
        while !self.open.is_empty() {
            self.close();
        }
        let length = self.set.text.trim_end().len();
        self.set.text.truncate(length);
        for span in &mut self.set.spans {
            span.range.end = span.range.end.min(length);
        }
        self.set.spans.retain(|span| span.range.start < span.range.end);
        self.set
    }
}

/// The language of program text, as its first line says: its first word.
fn language(info: &str) -> String {
    let word = info.split([' ', ',', '\t', '{']).next().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "+-#._".contains(c);
    if word.len() <= LANGUAGE_BYTES_MAX && word.chars().all(good) { word.to_owned() } else { String::new() }
}

/// A table in columns of letters of one width.
fn columns(table: &Table) -> String {
    let count = table.rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = table.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut lines = Vec::new();
    for (number, row) in table.rows.iter().enumerate() {
        let cells = widths.iter().enumerate().map(|(column, width)| {
            let cell = row.get(column).map_or("", |cell| cell.trim());
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            match table.alignments.get(column) {
                Some(Alignment::Right) => format!("{blanks}{cell}"),
                _ => format!("{cell}{blanks}"),
            }
        });
        lines.push(cells.collect::<Vec<_>>().join(" │ ").trim_end().to_owned());
        if number == 0 {
            lines.push(widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("─┼─"));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(markdown: &str) -> String {
        let styled = read(markdown);
        styled.html(&(0..styled.text.len()))
    }

    #[test]
    fn what_models_write_is_shown_with_the_tags_that_telegram_knows() {
        let table = [
            ("", ""),
            ("plain", "plain"),
            ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
            ("**bold** *it* ~~gone~~ `x<y`", "<b>bold</b> <i>it</i> <s>gone</s> <code>x&lt;y</code>"),
            ("**bold `code`**", "<b>bold </b><code>code</code>"),
            ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
            ("# Title\ntext", "<b>Title</b>\n\ntext"),
            ("#### Small", "<b><i>Small</i></b>"),
            ("- a\n- b\n  - c\n- d", "• a\n• b\n  • c\n• d"),
            ("text\n- a\n- b\n\nmore", "text\n\n• a\n• b\n\nmore"),
            ("3. a\n4. b", "3. a\n4. b"),
            ("- [x] done\n- [ ] open", "• ☑ done\n• ☐ open"),
            ("> said\n> > twice", "<blockquote>said\n\ntwice</blockquote>"),
            (
                "```rust\nlet a = 1;\n```\nend",
                "<pre><code class=\"language-rust\">let a = 1;</code></pre>\n\nend",
            ),
            ("```\nhalf", "<pre>half</pre>"),
            ("```py\"><b>\nx\n```", "<pre>x</pre>"),
            ("[here](https://a.b/?c=1&d=2)", "<a href=\"https://a.b/?c=1&amp;d=2\">here</a>"),
            ("[here](javascript:alert(1))", "here (javascript:alert(1))"),
            ("![alt](http://a.b/c.png)", "<a href=\"http://a.b/c.png\">alt</a>"),
            ("<script>x</script> <b>y", "&lt;script&gt;x&lt;/script&gt; &lt;b&gt;y"),
            ("a\n\n---\n\nb", "a\n\n———\n\nb"),
            ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
            ("**half", "**half"),
        ];
        let wrong: Vec<_> = table.iter().filter(|(markdown, expected)| html(markdown) != *expected).collect();
        let said: Vec<_> = wrong.iter().map(|(markdown, _)| html(markdown)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{said:#?}");
    }

    #[test]
    fn tables_are_set_in_columns() {
        let table = "| name | size |\n|:-----|-----:|\n| **a** | 1 |\n| bcdef | 20 |";
        assert_eq!(read(table).text, "name  │ size\n──────┼─────\na     │    1\nbcdef │   20");
        assert!(html(table).starts_with("<pre>name"));
    }
}

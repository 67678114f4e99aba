//! The part of a long text that a question is about. Pure.
use super::ranking::Query;
use super::words::places;

/// So much of a text, in characters, around the first of the words, on one line. A third of it is what comes before.
pub fn excerpt(text: &str, query: &Query, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let len = line.chars().count();
    if len <= chars_max {
        return line;
    }
    let at = places(&line, &query.words).next().unwrap_or(0);
    let before = line.get(..at).unwrap_or_default().chars().count();
    let from = before.saturating_sub(chars_max / 3).min(len - chars_max);
    let part: String = line.chars().skip(from).take(chars_max).collect();
    let (begin, end) = (if from > 0 { "…" } else { "" }, if from + chars_max < len { "…" } else { "" });
    format!("{begin}{}{end}", part.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_in_the_excerpt() {
        let query = Query::of("Häuser");
        assert_eq!(excerpt("ein\n  Haus ", &query, 40), "ein Haus");
        let far = format!("{} ein Haus am See {}", "vorher ".repeat(50), "nachher ".repeat(50));
        let shown = excerpt(&far, &query, 60);
        assert!(
            shown.contains("ein Haus am See") && shown.starts_with('…') && shown.ends_with('…'),
            "{shown}"
        );
        assert!(shown.chars().count() <= 62);
        let late = format!("{}Haus", "vorher ".repeat(50));
        let shown = excerpt(&late, &query, 60);
        assert!(shown.ends_with("Haus") && shown.starts_with('…'), "{shown}");
        let none = excerpt(&"nichts ".repeat(50), &query, 20);
        assert_eq!(none, "nichts nichts nichts…");
    }
}

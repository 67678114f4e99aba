//! A question to the user's own search engine: SearXNG's `/search?q=…&format=json`.
use serde::Deserialize;

use super::words::shorten;
use super::{Brought, Client, WebFault, piece};
use crate::tools::arguments::WebSearch;
use crate::web::Place;

/// Results that are told.
const RESULTS_MAX: usize = 10;
/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 120;
/// Longest words of a page, in characters.
const SNIPPET_CHARS_MAX: usize = 300;
/// Longest question, in characters.
const QUERY_CHARS_MAX: usize = 500;

#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    results: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    url: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

/// Asks it.
pub(super) async fn search(client: &Client<'_>, wanted: &WebSearch) -> Result<Brought, WebFault> {
    let engine = client.order.searxng.as_deref().ok_or(WebFault::NoEngine)?;
    let query: String = wanted.query.chars().take(QUERY_CHARS_MAX).collect();
    let place = Place::parse(engine)?.asked("search", &[("q", query.trim()), ("format", "json")]);
    let (_, body) = client.get(place, "application/json").await?;
    let found = serde_json::from_slice(&body.bytes);
    let found: Found = found.map_err(|error| WebFault::Search(shorten(&error.to_string())))?;
    Ok(Brought { from: engine.to_owned(), ..piece(&words(&found), 0) })
}

fn words(found: &Found) -> String {
    // An address that nobody can ask for is no result.
    let asked = found.results.iter().filter(|entry| Place::parse(&entry.url).is_ok());
    let entry = |(number, entry): (usize, &Entry)| {
        let line = |text: &Option<String>, most| cut(text.as_deref().unwrap_or_default(), most);
        let (title, snippet) = (line(&entry.title, TITLE_CHARS_MAX), line(&entry.content, SNIPPET_CHARS_MAX));
        let lines = [format!("{}. {title}", number + 1), entry.url.clone(), snippet];
        lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let entries: Vec<String> = asked.take(RESULTS_MAX).enumerate().map(entry).collect();
    if entries.is_empty() { "nothing was found".to_owned() } else { entries.join("\n\n") }
}

/// One line of so many characters.
fn cut(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_in_few_words() {
        let json = r#"{"query":"x","results":[
            {"url":"https://example.com/a","title":"A  title","content":"some\nwords","engine":"e","score":1.0},
            {"url":"javascript:alert(1)","title":"bad"},
            {"url":"https://example.com/b","title":null}]}"#;
        let found: Found = serde_json::from_str(json).unwrap();
        assert_eq!(
            words(&found),
            "1. A title\nhttps://example.com/a\nsome words\n\n2. \nhttps://example.com/b"
        );
        assert_eq!(words(&serde_json::from_str("{}").unwrap()), "nothing was found");
        let entry = |_| Entry {
            url: "https://example.com/".into(),
            title: Some("t".repeat(999)),
            content: Some("c".repeat(9999)),
        };
        let many = Found { results: (0..100).map(entry).collect() };
        assert!(words(&many).chars().count() < RESULTS_MAX * 600);
    }
}

//! A page as text: HTML becomes Markdown, text and JSON stay as they are.
use encoding_rs::{Encoding, UTF_8};
use htmd::HtmlToMarkdown;

use super::WebFault;
use super::body::Body;
use super::words::shorten;
use crate::tools::runner::files::is_binary;

/// What of a page is no text.
const NO_TEXT: [&str; 16] = [
    "audio", "button", "canvas", "embed", "iframe", "img", "input", "noscript", "object", "picture",
    "script", "select", "style", "svg", "template", "video",
];
/// What leads elsewhere, and is left out as long as something remains.
const AROUND: [&str; 2] = ["footer", "nav"];
/// Elements lie in each other as deep as somebody wrote them; they are walked by functions that call themselves.
const STACK_BYTES: usize = 64 << 20;
/// So much of a page is searched for its encoding.
const HEAD_BYTES: usize = 1024;

enum Kind {
    Html,
    Text,
}

/// The text of a page.
pub(super) fn text(body: &Body) -> Result<String, WebFault> {
    let kind = body.kind.as_deref().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is = match essence.as_str() {
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "application/json" | "application/xml" | "application/javascript" | "application/yaml" => Kind::Text,
        other if other.starts_with("text/") || other.ends_with("+json") || other.ends_with("+xml") => {
            Kind::Text
        }
        "" if !is_binary(&body.bytes) => Kind::Text,
        other => return Err(WebFault::Kind(shorten(other))),
    };
    let encoding = encoding(kind, &body.bytes);
    let (decoded, _, _) = encoding.decode(&body.bytes);
    match is {
        Kind::Text => Ok(decoded.into_owned()),
        Kind::Html => apart(decoded.into_owned()),
    }
}

/// By the server's word, by the page's own, or UTF-8. A mark at the beginning counts more than both; the decoder sees to that.
fn encoding(kind: &str, bytes: &[u8]) -> &'static Encoding {
    let head = String::from_utf8_lossy(bytes.get(..HEAD_BYTES).unwrap_or(bytes)).to_ascii_lowercase();
    let named = |text: &str| {
        let (_, rest) = text.split_once("charset=")?;
        let name = rest.trim_start_matches(['"', '\'', ' ']);
        let name = name.split(|char: char| !char.is_ascii_alphanumeric() && !"-_:".contains(char)).next()?;
        Encoding::for_label(name.as_bytes())
    };
    named(&kind.to_ascii_lowercase()).or_else(|| named(&head)).unwrap_or(UTF_8)
}

/// On a thread of its own, for its stack.
fn apart(html: String) -> Result<String, WebFault> {
    let failed = |error: &dyn std::fmt::Display| WebFault::Unreadable(error.to_string());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || markdown(&html));
    let read = thread.map_err(|error| failed(&error))?.join();
    read.map_err(|_| failed(&"its HTML makes no sense"))?.map_err(|error| failed(&error))
}

fn markdown(html: &str) -> std::io::Result<String> {
    let without =
        |tags: &[&'static str]| HtmlToMarkdown::builder().skip_tags(tags.to_vec()).build().convert(html);
    let text = without(&[NO_TEXT.as_slice(), &AROUND].concat())?;
    if text.trim().is_empty() { without(&NO_TEXT) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Option<&str>, bytes: &[u8]) -> Result<String, WebFault> {
        text(&Body { kind: kind.map(str::to_owned), bytes: bytes.to_vec(), is_cut: false })
    }

    #[test]
    fn of_a_page_what_can_be_read_is_left() {
        let page = r#"<html><head><title>Soup</title><style>b{}</style><script>alert(1)</script></head><body>
            <nav><a href="/">Home</a></nav><h1>Soup</h1><p>Take <b>two</b> <a href="/leeks?q=1">leeks</a>.</p>
            <table><tr><th>What<th>How much</tr><tr><td>salt<td>1</tr></table><img src="data:image/png;base64,AAAA">
            <footer>imprint</footer></body></html>"#;
        let read = of(Some("text/html; charset=utf-8"), page.as_bytes()).unwrap();
        assert!(read.contains("# Soup\n\nTake **two** [leeks](/leeks?q=1)."), "{read}");
        assert!(read.contains("| What | How much |") && read.contains("| salt |"), "{read}");
        for left_out in ["alert", "b{}", "Home", "imprint", "AAAA"] {
            assert!(!read.contains(left_out), "{left_out}: {read}");
        }
        let index = of(Some("text/html"), b"<nav><a href='/a'>One</a></nav>").unwrap();
        assert_eq!(index, "[One](/a)");
    }

    #[test]
    fn text_and_json_stay_as_they_are() {
        for kind in [
            "text/plain",
            "application/json",
            "application/ld+json; charset=utf-8",
            "text/markdown",
            "application/xml",
        ] {
            assert_eq!(of(Some(kind), b"{\"a\": \"<b>\"}").unwrap(), "{\"a\": \"<b>\"}");
        }
        assert_eq!(of(None, b"no type").unwrap(), "no type");
    }

    #[test]
    fn what_is_no_text_is_not_read() {
        for kind in [
            "image/png",
            "application/octet-stream",
            "application/pdf",
            "video/mp4",
            "application/zip",
            "nonsense",
        ] {
            assert!(matches!(of(Some(kind), b"x"), Err(WebFault::Kind(_))), "{kind}");
        }
        assert!(matches!(of(None, b"\x89PNG\0"), Err(WebFault::Kind(_))));
    }

    #[test]
    fn letters_are_read_in_the_encoding_that_is_named() {
        assert_eq!(of(Some("text/plain; charset=ISO-8859-1"), b"f\xfcr").unwrap(), "f\u{fc}r");
        assert_eq!(of(Some("text/html"), b"<meta charset='windows-1252'><p>f\xfcr").unwrap(), "f\u{fc}r");
        assert_eq!(
            of(Some("text/plain; charset=shift_jis"), b"\x93\xfa\x96\x7b").unwrap(),
            "\u{65e5}\u{672c}"
        );
        assert_eq!(of(Some("text/plain"), "f\u{fc}r".as_bytes()).unwrap(), "f\u{fc}r");
        assert_eq!(of(Some("text/plain; charset=nonsense"), "\u{fc}".as_bytes()).unwrap(), "\u{fc}");
    }

    #[test]
    fn deep_pages_are_read() {
        let deep = format!("{}deep", "<div>".repeat(5_000));
        assert_eq!(of(Some("text/html"), deep.as_bytes()).unwrap(), "deep");
    }
}

//! What a server answers to a call, as the text that a model is given: bounded, pictures and files named and not shown. Pure.
use archond_actors::domain::Outcome;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::words::one_line;
use crate::tools::TEXT_BYTES_MAX;

/// Shown of an address or a kind that a server gives, in characters.
const NAME_CHARS_MAX: usize = 200;

/// Stands for what a later protocol may bring.
const UNKNOWN: &str = "[something of a kind that is not known here]";

/// What became of the call.
pub(super) fn outcome(result: CallToolResult) -> Outcome {
    let is_error = result.is_error.unwrap_or(false);
    let mut parts: Vec<String> = result.content.into_iter().map(part).collect();
    if parts.is_empty()
        && let Some(value) = result.structured_content
    {
        parts.push(value.to_string());
    }
    let text = bounded(parts.join("\n"));
    if !is_error {
        return Outcome::Done { text };
    }
    let text = if text.trim().is_empty() {
        "the server says that it failed, and nothing else".to_owned()
    } else {
        text
    };
    Outcome::Failed { text }
}

fn part(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => not_shown("an image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => not_shown("a sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(resource) => contents(resource.resource),
        ContentBlock::ResourceLink(link) => {
            let name = one_line(&link.name, NAME_CHARS_MAX);
            format!("[a link to {name}: {}]", one_line(&link.uri, NAME_CHARS_MAX))
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn contents(contents: ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { uri, text, .. } => {
            format!("[{}]\n{text}", one_line(&uri, NAME_CHARS_MAX))
        }
        ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
            let kind = mime_type.unwrap_or_else(|| "unknown".to_owned());
            let what = format!("a file {}", one_line(&uri, NAME_CHARS_MAX));
            not_shown(&what, &kind, &blob)
        }
        _ => UNKNOWN.to_owned(),
    }
}

/// Names what a model cannot read. `base64` is its content.
fn not_shown(what: &str, kind: &str, base64: &str) -> String {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    let bytes = (base64.len() / 4 * 3).saturating_sub(padding);
    format!("[{what} of kind {}, {bytes} bytes, not shown]", one_line(kind, NAME_CHARS_MAX))
}

/// Beginning and end of a text that is too long.
fn bounded(text: String) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let half = TEXT_BYTES_MAX / 2;
    let head_end = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail_start =
        (text.len() - half..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (head, tail) = (text.get(..head_end).unwrap_or_default(), text.get(tail_start..).unwrap_or_default());
    let left_out = tail_start - head_end;
    format!("{head}\n[{left_out} bytes are left out here: ask for less]\n{tail}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: serde_json::Value) -> Outcome {
        outcome(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn every_kind_of_content_is_text_or_named() {
        let Outcome::Done { text } = of(json!({"content": [
            {"type": "text", "text": "one\ntwo"},
            {"type": "image", "data": "AAAAAAA=", "mimeType": "image/png\u{1b}"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "demo://1", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "demo://2", "blob": "AAAA", "mimeType": "application/zip"}},
            {"type": "resource_link", "uri": "demo://3", "name": "third"},
        ]})) else {
            panic!("it is done")
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "one",
                "two",
                "[an image of kind image/png, 5 bytes, not shown]",
                "[a sound of kind audio/wav, 3 bytes, not shown]",
                "[demo://1]",
                "inside",
                "[a file demo://2 of kind application/zip, 3 bytes, not shown]",
                "[a link to third: demo://3]",
            ]
        );
    }

    #[test]
    fn what_failed_failed_and_what_is_structured_alone_is_its_json() {
        let failed = of(json!({"content": [{"type": "text", "text": "no such file"}], "isError": true}));
        assert_eq!(failed, Outcome::Failed { text: "no such file".into() });
        assert!(matches!(of(json!({"content": [], "isError": true})), Outcome::Failed { .. }));
        let structured = of(json!({"content": [], "structuredContent": {"a": 1}}));
        assert_eq!(structured, Outcome::Done { text: "{\"a\":1}".into() });
    }

    #[test]
    fn a_long_text_loses_its_middle_between_characters() {
        let long = format!("begin{}end", "\u{f6}".repeat(TEXT_BYTES_MAX));
        let cut = bounded(long);
        assert!(cut.starts_with("begin") && cut.ends_with("end") && cut.contains("bytes are left out here"));
        assert!(cut.len() < TEXT_BYTES_MAX + 100);
    }
}

//! What a call would do, in words for its owner. Of the shell it is the command and nothing else: that is what is judged, too.
use archond_actors::domain::ToolCall;
use serde_json::Value;

use super::order::BASH;
use super::web::FETCH;
use crate::web::Place;

/// Longest text of an argument that is shown, in characters. What is run is shown whole: nobody says yes to half a command.
const ARGUMENT_CHARS_MAX: usize = 1_000;

/// The words. Arguments that cannot be read are shown as they are.
pub(super) fn shown(call: &ToolCall) -> String {
    let Ok(Value::Object(arguments)) = serde_json::from_str(&call.arguments) else {
        return if call.name == BASH {
            call.arguments.clone()
        } else {
            format!("{} {}", call.name, call.arguments)
        };
    };
    if call.name == BASH {
        // Both names that the shell takes it by: what is judged must be what is run.
        let command = arguments.get("command").or_else(|| arguments.get("cmd")).map(text);
        return command.unwrap_or_else(|| call.arguments.clone());
    }
    if call.name == FETCH
        && let Some(place) =
            arguments.get("url").and_then(Value::as_str).and_then(|url| Place::parse(url).ok())
    {
        // Whole, and as it is asked for: what stands behind `?` is what leaves the house.
        let offset = arguments.get("offset").map(|offset| format!(" offset: {}", cut(&text(offset))));
        return format!("{FETCH} {place}{}", offset.unwrap_or_default());
    }
    let parts = arguments.iter().map(|(name, value)| match (arguments.len(), text(value)) {
        (1, value) => cut(&value),
        (_, value) => format!("{name}: {}", cut(&value)),
    });
    let parts: Vec<String> = std::iter::once(call.name.clone()).chain(parts).collect();
    let is_long = parts.iter().any(|part| part.contains('\n'));
    parts.join(if is_long { "\n" } else { " " })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cut(text: &str) -> String {
    let count = text.chars().count();
    if count <= ARGUMENT_CHARS_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(ARGUMENT_CHARS_MAX).collect();
    format!("{head}… ({} characters more)", count - ARGUMENT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, arguments: &str, wanted: &str) {
        let call = ToolCall { id: "1".into(), name: name.into(), arguments: arguments.into() };
        assert_eq!(shown(&call), wanted);
    }

    #[test]
    fn a_call_is_shown_as_what_it_does() {
        check("bash", r#"{"command":"ls \"a b\"\nid","timeout":5}"#, "ls \"a b\"\nid");
        check("bash", r#"["ls"]"#, r#"["ls"]"#);
        check("bash", r#"{"cmd":"\u006cs"}"#, "ls");
        check("bash", r#"{"other":"ls"}"#, r#"{"other":"ls"}"#);
        check("read_file", r#"{"path":"notes.txt"}"#, "read_file notes.txt");
        check("read_file", r#"{"path":"notes.txt","limit":3}"#, "read_file limit: 3 path: notes.txt");
        check("write_file", r#"{"content":"a\nb","path":"x"}"#, "write_file\ncontent: a\nb\npath: x");
        check("clock", "{}", "clock");
        check("clock", "nonsense", "clock nonsense");
    }

    #[test]
    fn an_address_is_shown_as_it_is_asked_for() {
        check("web_fetch", r#"{"url":"https://example.com/a?b=c#d"}"#, "web_fetch https://example.com/a?b=c");
        check(
            "web_fetch",
            r#"{"offset":10,"url":"https://example.com"}"#,
            "web_fetch https://example.com/ offset: 10",
        );
        check("web_fetch", r#"{"url":"https://раypal.com/"}"#, "web_fetch https://xn--ypal-43d9g.com/");
        check("web_fetch", r#"{"url":"http://a.com/\u202emoc"}"#, "web_fetch http://a.com/%E2%80%AEmoc");
        check("web_fetch", r#"{"url":"http://a.com@b.com/"}"#, "web_fetch http://a.com@b.com/");
        let long = format!("https://example.com/?secret={}", "s".repeat(1_900));
        check("web_fetch", &format!(r#"{{"url":"{long}"}}"#), &format!("web_fetch {long}"));
        check("web_search", r#"{"query":"leek soup"}"#, "web_search leek soup");
    }

    #[test]
    fn a_long_text_is_cut_but_no_command_is() {
        let long = "x".repeat(1_500);
        check("bash", &format!(r#"{{"command":"{long}"}}"#), &long);
        let call =
            ToolCall { id: "1".into(), name: "todo".into(), arguments: format!(r#"{{"items":"{long}"}}"#) };
        assert!(shown(&call).ends_with("… (500 characters more)"));
    }
}

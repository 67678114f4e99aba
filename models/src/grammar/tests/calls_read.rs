//! Reads and writes calls as Gemma 4 has them, for the tests.
use serde_json::{Map, Value};

pub(crate) const QUOTE: &str = "<|\"|>";

/// The calls in a text: name and arguments.
pub(crate) fn calls(mut text: &str) -> Result<Vec<(String, Value)>, String> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let inside = text.strip_prefix("<|tool_call>call:").ok_or("a call begins")?;
        let brace = inside.find('{').ok_or("arguments begin")?;
        let mut reader = Reader { rest: &inside[brace..] };
        let arguments = reader.value()?;
        found.push((inside[..brace].to_owned(), arguments));
        text = reader
            .rest
            .strip_prefix("<tool_call|>")
            .ok_or_else(|| format!("the call ends: {}", reader.rest))?;
    }
    Ok(found)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn takes(&mut self, words: &str) -> bool {
        let rest = self.rest.strip_prefix(words);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.takes(QUOTE) {
            let end = self.rest.find(QUOTE).ok_or("a string ends")?;
            let text = self.rest[..end].to_owned();
            self.rest = &self.rest[end + QUOTE.len()..];
            return Ok(Value::String(text));
        }
        if self.takes("{") {
            let mut entries = Map::new();
            if self.takes("}") {
                return Ok(Value::Object(entries));
            }
            loop {
                let end = self.rest.find([':', '}']).ok_or("a key ends")?;
                let key = self.rest[..end].to_owned();
                self.rest = &self.rest[end..];
                if key.is_empty() || !self.takes(":") {
                    return Err(format!("a key: {}", self.rest));
                }
                let value = self.value()?;
                entries.insert(key, value);
                if self.takes("}") {
                    return Ok(Value::Object(entries));
                }
                if !self.takes(",") {
                    return Err(format!("`,` or `}}`: {}", self.rest));
                }
            }
        }
        if self.takes("[") {
            let mut items = Vec::new();
            if self.takes("]") {
                return Ok(Value::Array(items));
            }
            loop {
                items.push(self.value()?);
                if self.takes("]") {
                    return Ok(Value::Array(items));
                }
                if !self.takes(",") {
                    return Err(format!("`,` or `]`: {}", self.rest));
                }
            }
        }
        let end = self.rest.find([',', '}', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(word).map_err(|error| format!("{word}: {error}"))
    }
}

/// A value in the syntax of calls.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{QUOTE}{text}{QUOTE}"),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(",")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", written(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}

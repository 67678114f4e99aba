//! What a server says of one of its tools, and the name by which a model calls it. Pure.
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::tools::can_be_called;

/// Longest name of a tool as a model calls it, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest name of a tool as its server calls it, in bytes.
const OWN_NAME_BYTES_MAX: usize = 256;
/// Longest description, in characters: the model reads it with every prompt.
const DESCRIPTION_CHARS_MAX: usize = 4_000;
/// Longest schema, in bytes: the largest that anybody wants a model to read with every prompt.
const PARAMETERS_BYTES_MAX: usize = 16 << 10;
/// Digits of a hash that tell two names apart.
const MARK_DIGITS: usize = 6;

/// What a server says of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The server's own name of it.
    pub name: String,
    /// What the model is told.
    pub description: String,
    /// JSON schema of the arguments, with its fields in alphabetical order.
    pub parameters: String,
}

impl Offer {
    /// From what was received.
    pub fn new(name: &str, description: &str, schema: &Map<String, Value>) -> Self {
        let parameters = canonical(&Value::Object(schema.clone())).to_string();
        Self { name: name.to_owned(), description: description.to_owned(), parameters }
    }

    /// SHA-256 over name, description and schema, in hexadecimal: what a change of any of them changes.
    pub fn hash(&self) -> String {
        hash_of(&[&self.name, &self.description, &self.parameters])
    }

    /// Why no model can be given it, if so.
    pub fn fault(&self, server: &str) -> Option<String> {
        if self.name.is_empty() || self.name.len() > OWN_NAME_BYTES_MAX {
            return Some(format!("its name has not 1 to {OWN_NAME_BYTES_MAX} bytes"));
        }
        if self.description.chars().count() > DESCRIPTION_CHARS_MAX {
            return Some(format!("its description has more than {DESCRIPTION_CHARS_MAX} characters"));
        }
        if self.parameters.len() > PARAMETERS_BYTES_MAX {
            return Some(format!("its schema has more than {PARAMETERS_BYTES_MAX} bytes"));
        }
        let called = can_be_called(&exposed(server, &self.name), &self.parameters);
        called.err().map(|why| format!("its schema cannot be used: {why}"))
    }
}

/// SHA-256 over several texts, each with its length before it, so that no two rows of texts are the same.
pub(super) fn hash_of(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a text cannot fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

/// The same value with the fields of every object in alphabetical order: what a hash is taken of must not depend on how it was sent.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<(&String, &Value)> = object.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), canonical(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// The name by which a model calls a tool of a server. It has letters, digits and `_` alone, as every format takes them; a name that is
/// changed or cut for that carries a mark of the true one, so that no two become the same.
pub(super) fn exposed(server: &str, tool: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain: String = tool.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let name = format!("{server}_{plain}");
    // Hyphens are so common that they alone make no mark; tools that differ by them only are told apart by the list.
    let is_same = tool.chars().all(|c| is_plain(c) || c == '-');
    if is_same && name.len() <= NAME_BYTES_MAX {
        return name;
    }
    marked(&name, tool)
}

/// A name with a mark of the tool's true one.
fn marked(name: &str, tool: &str) -> String {
    let hash = hash_of(&[tool]);
    let (mark, room) = (hash.get(..MARK_DIGITS).unwrap_or_default(), NAME_BYTES_MAX - MARK_DIGITS - 1);
    format!("{}_{mark}", name.get(..name.len().min(room)).unwrap_or_default())
}

/// The names by which a model calls these tools of a server, in their order; no two are the same.
pub(super) fn exposed_all<'o>(server: &str, tools: impl Iterator<Item = &'o str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for tool in tools {
        let name = exposed(server, tool);
        names.push(if names.contains(&name) { marked(&name, tool) } else { name });
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(description: &str, schema: &Value) -> Offer {
        Offer::new("read", description, schema.as_object().unwrap())
    }

    #[test]
    fn any_change_is_another_hash_and_the_order_of_fields_is_none() {
        let first = offer("Reads.", &json!({"type": "object", "properties": {"a": {"type": "string"}}}));
        let text = r#"{"properties": {"a": {"type": "string"}}, "type": "object"}"#;
        let same = offer("Reads.", &serde_json::from_str(text).unwrap());
        assert_eq!(first.hash(), same.hash());
        assert_eq!(first.hash().len(), 64);
        for other in [
            offer("Reads!", &json!({"type": "object", "properties": {"a": {"type": "string"}}})),
            offer("Reads.", &json!({"type": "object", "properties": {"a": {"type": "number"}}})),
            Offer { name: "rea".into(), description: "dReads.".into(), ..first.clone() },
        ] {
            assert_ne!(first.hash(), other.hash());
        }
    }

    #[test]
    fn names_are_plain_short_and_different() {
        assert_eq!(exposed("files", "read_file"), "files_read_file");
        assert_eq!(exposed("files", "get-sum"), "files_get_sum");
        let odd = ["a.b", "a/b", "a b", "\u{f6}", &"x".repeat(200)].map(|tool| exposed("s", tool));
        for (index, name) in odd.iter().enumerate() {
            assert!(name.len() <= NAME_BYTES_MAX && !odd[..index].contains(name), "{odd:?}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
        }
        let names = exposed_all("s", ["a-b", "a_b"].into_iter());
        assert_eq!(names[0], "s_a_b");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn what_no_model_can_be_given_is_known_by_its_reason() {
        let good = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let lost = json!({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]});
        assert_eq!(offer("Reads.", &good).fault("files"), None);
        for (offer, wanted) in [
            (Offer { name: String::new(), ..offer("", &good) }, "its name"),
            (offer(&"x".repeat(DESCRIPTION_CHARS_MAX + 1), &good), "its description has more than"),
            (offer("", &json!({"type": "object", "title": "x".repeat(20_000)})), "its schema has more than"),
            (offer("", &lost), "its schema cannot be used"),
        ] {
            let fault = offer.fault("files").unwrap_or_default();
            assert!(fault.starts_with(wanted), "{fault}");
        }
    }
}

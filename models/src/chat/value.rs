//! A value as models write and read it: the tree between JSON and Gemma's own notation. Numbers keep their spelling and dictionaries
//! their order, so what a model wrote is what a tool gets.

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// In JSON's spelling.
    Number(String),
    Text(String),
    List(Vec<Value>),
    /// No key twice.
    Dict(Vec<(String, Value)>),
}

/// What stands between the parts of JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    /// Nothing.
    None,
    /// One space behind each comma and colon, as Python writes it: what models saw when they were taught.
    Python,
    /// A line for each entry, indented by so many spaces a level.
    Lines(usize),
}

impl Value {
    /// The entries of a dictionary.
    pub(super) fn dict(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a dictionary's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.dict()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The words of a text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a template's `if` takes for false: nothing, no, zero, and whatever is empty.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Bool(true) => false,
            Self::Number(number) => number.parse() == Ok(0.0),
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Dict(entries) => entries.is_empty(),
        }
    }

    /// As JSON text.
    pub(super) fn json(&self, spacing: Spacing) -> String {
        let mut out = String::new();
        self.write_json(spacing, 0, &mut out);
        out
    }

    fn write_json(&self, spacing: Spacing, level: usize, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => push_quoted(text, out),
            Self::List(list) => {
                out.push('[');
                for (index, value) in list.iter().enumerate() {
                    spacing.before(index, level + 1, out);
                    value.write_json(spacing, level + 1, out);
                }
                spacing.behind(list.len(), level, out);
                out.push(']');
            }
            Self::Dict(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    spacing.before(index, level + 1, out);
                    push_quoted(key, out);
                    out.push_str(if spacing == Spacing::None { ":" } else { ": " });
                    value.write_json(spacing, level + 1, out);
                }
                spacing.behind(entries.len(), level, out);
                out.push('}');
            }
        }
    }
}

impl Spacing {
    fn before(self, index: usize, level: usize, out: &mut String) {
        match self {
            Self::None => out.push_str(if index == 0 { "" } else { "," }),
            Self::Python => out.push_str(if index == 0 { "" } else { ", " }),
            Self::Lines(indent) => {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                out.extend(std::iter::repeat_n(' ', indent * level));
            }
        }
    }

    fn behind(self, entries: usize, level: usize, out: &mut String) {
        if let (Self::Lines(indent), true) = (self, entries > 0) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * level));
        }
    }
}

/// Adds a text as JSON writes it within its quotes.
pub(super) fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
}

fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    push_escaped(text, out);
    out.push('"');
}

/// The entries of a dictionary in the order of Jinja's `dictsort`: large and small letters alike, ties as they stand in byte order.
pub(super) fn sorted(entries: &[(String, Value)]) -> Vec<&(String, Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|a, b| (a.0.to_lowercase(), &a.0).cmp(&(b.0.to_lowercase(), &b.0)));
    entries
}

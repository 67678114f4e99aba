//! Random schemas with values that fit them, and small changes of values. The same numbers give the same schemas.
use serde_json::{Map, Value, json};

/// A row of numbers that is the same in every run (SplitMix64).
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (end.max(1) as u64)).unwrap()
    }

    pub(crate) fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

const NAMES: [&str; 12] = [
    "path",
    "query",
    "limit",
    "Content-Type",
    "a",
    "ab",
    "abc",
    "größe",
    "x_1",
    "$top",
    "items",
    "recursive",
];
const WORDS: [&str; 12] = [
    "",
    "a",
    "hello world",
    "a < b",
    "x|y",
    "<|",
    "\"quoted\"",
    "back\\slash",
    "line\nbreak",
    "été 東京 😀",
    "{}",
    ":,",
];
/// Patterns, with texts in which each is found.
const PATTERNS: [(&str, [&str; 2]); 9] = [
    ("^[a-z]{2,5}$", ["ab", "abcde"]),
    (r"^\d{3}-\d{4}$", ["123-4567", "000-0000"]),
    (r"^(main|feature/[a-z0-9-]+)$", ["main", "feature/x-1"]),
    (r"^[^\s/]+\.(rs|md)$", ["a.rs", "q\"<.md"]),
    ("b", ["abc", "b"]),
    ("^/", ["/", "/a\\b"]),
    (r"^.{2,6}$", ["ab", "a<b|c"]),
    (r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", ["#fff", "A0b1C2"]),
    (r"\S+@\S+", ["a@b", " x@y "]),
];
const FORMATS: [(&str, [&str; 2]); 6] = [
    ("date", ["2026-11-23", "2024-02-29"]),
    ("time", ["10:00:00Z", "23:59:59.5+02:00"]),
    ("date-time", ["2026-11-23T10:00:00Z", "2000-02-29T00:00:00-05:30"]),
    ("uuid", ["123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000"]),
    ("ipv4", ["127.0.0.1", "255.255.255.0"]),
    ("email", ["a.b@example.org", "x_y@a-b.co"]),
];

/// A schema of an object and values that fit it.
pub(crate) fn object_schema(numbers: &mut Numbers) -> (Value, Vec<Value>) {
    let (mut schema, values) = object(numbers, 3);
    // A tree of which it may speak, though no value needs it: rules that name themselves.
    if numbers.chance(4) {
        schema["$defs"] = json!({ "tree": { "type": "object", "properties": {
            "leaf": { "type": "integer", "minimum": 0, "maximum": 9 },
            "left": { "$ref": "#/$defs/tree" }, "right": { "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] },
        }, "required": ["leaf"] } });
        schema["properties"]["tree"] = json!({ "$ref": "#/$defs/tree" });
        let mut with_tree = values[0].clone();
        with_tree["tree"] =
            json!({ "leaf": 3, "left": { "leaf": 0, "right": null }, "right": { "leaf": 9 } });
        return (schema, values.into_iter().chain([with_tree]).collect());
    }
    (schema, values)
}

fn any(numbers: &mut Numbers, depth: usize) -> (Value, Vec<Value>) {
    match numbers.below(if depth == 0 { 8 } else { 14 }) {
        0 | 1 => text(numbers),
        2 => integer(numbers),
        3 => (json!({ "type": "boolean" }), vec![json!(true), json!(false)]),
        4 => number(numbers),
        5 => {
            let values: Vec<Value> =
                (0..3).map(|_| json!(numbers.pick(&["asc", "desc", "a b", "é", "\"q\""]))).collect();
            (json!({ "enum": values, "type": "string" }), values)
        }
        6 => (json!({ "const": "fixed" }), vec![json!("fixed")]),
        7 => (json!({ "type": ["string", "null"] }), vec![json!("x"), Value::Null]),
        8 | 9 => object(numbers, depth - 1),
        10 | 11 => array(numbers, depth - 1),
        12 => {
            let ((a, mut a_values), (b, b_values)) = (any(numbers, depth - 1), any(numbers, depth - 1));
            a_values.extend(b_values);
            (json!({ "anyOf": [a, b] }), a_values)
        }
        _ => {
            let ((a, mut a_values), (b, b_values)) = (object(numbers, depth - 1), array(numbers, depth - 1));
            a_values.extend(b_values);
            (json!({ "oneOf": [a, b, { "type": "null" }] }), a_values)
        }
    }
}

fn text(numbers: &mut Numbers) -> (Value, Vec<Value>) {
    let pair = |keyword: &str, (written, found): &(&str, [&str; 2])| {
        (json!({ "type": "string", keyword: written }), found.map(Value::from).to_vec())
    };
    match numbers.below(5) {
        0 => pair("pattern", numbers.pick(&PATTERNS)),
        1 => pair("format", numbers.pick(&FORMATS)),
        2 => {
            let (min, more) = (numbers.below(4), numbers.below(12));
            let values = [min, min + more].map(|length| {
                Value::from(
                    "x<|é\"\\"
                        .chars()
                        .cycle()
                        .take(length)
                        .filter(|c| *c != '|')
                        .chain("yyyyyyyyyyyyyyyy".chars())
                        .take(length)
                        .collect::<String>(),
                )
            });
            (json!({ "type": "string", "minLength": min, "maxLength": min + more }), values.to_vec())
        }
        _ => (json!({ "type": "string" }), vec![json!(numbers.pick(&WORDS)), json!(numbers.pick(&WORDS))]),
    }
}

fn bound(numbers: &mut Numbers) -> i64 {
    let sizes = [3, 30, 1000, 1_000_000, 1 << 40];
    let size = *numbers.pick(&sizes);
    i64::try_from(numbers.below(2 * size)).unwrap() - i64::try_from(size).unwrap()
}

fn integer(numbers: &mut Numbers) -> (Value, Vec<Value>) {
    let (a, b) = (bound(numbers), bound(numbers));
    let (min, max) = (a.min(b), a.max(b));
    let inside = vec![json!(min), json!(max), json!(min + (max - min) / 2)];
    match numbers.below(5) {
        0 => (json!({ "type": "integer" }), inside),
        1 => (json!({ "type": "integer", "minimum": min }), inside),
        2 => (json!({ "type": "integer", "maximum": max }), inside),
        3 => (json!({ "type": "integer", "exclusiveMinimum": min - 1, "exclusiveMaximum": max + 1 }), inside),
        _ => (json!({ "type": "integer", "minimum": min, "maximum": max }), inside),
    }
}

fn number(numbers: &mut Numbers) -> (Value, Vec<Value>) {
    let (a, b) = (bound(numbers), bound(numbers));
    let (min, max) = (a.min(b), a.max(b) + 1);
    let inside = vec![json!(min), json!(max), json!(min as f64 + 0.5)];
    match numbers.below(4) {
        0 => (json!({ "type": "number" }), vec![json!(0), json!(-1.5), json!(1e20)]),
        1 => (json!({ "type": "number", "minimum": min }), inside),
        2 => (json!({ "type": "number", "maximum": max }), inside),
        _ => (json!({ "type": "number", "minimum": min, "maximum": max }), inside),
    }
}

fn array(numbers: &mut Numbers, depth: usize) -> (Value, Vec<Value>) {
    let (item, values) = any(numbers, depth);
    let (min, more) = (numbers.below(3), numbers.below(4));
    let list = |length: usize| Value::from(values.iter().cycle().take(length).cloned().collect::<Vec<_>>());
    if numbers.chance(4) {
        let (second, second_values) = any(numbers, depth);
        let pair = json!([values[0], second_values[0]]);
        return (
            json!({ "type": "array", "prefixItems": [item, second], "items": false, "minItems": 2 }),
            vec![pair],
        );
    }
    match numbers.below(3) {
        0 => (json!({ "type": "array", "items": item }), vec![list(0), list(3)]),
        1 => (json!({ "type": "array", "items": item, "minItems": min }), vec![list(min), list(min + 2)]),
        _ => (
            json!({ "type": "array", "items": item, "minItems": min, "maxItems": min + more }),
            vec![list(min), list(min + more)],
        ),
    }
}

fn object(numbers: &mut Numbers, depth: usize) -> (Value, Vec<Value>) {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let (mut least, mut most) = (Map::new(), Map::new());
    for _ in 0..numbers.below(5) {
        let name = *numbers.pick(&NAMES);
        if properties.contains_key(name) {
            continue;
        }
        let (schema, values) = any(numbers, depth);
        properties.insert(name.to_owned(), schema);
        if numbers.chance(2) {
            required.push(name);
            least.insert(name.to_owned(), values[0].clone());
        }
        most.insert(name.to_owned(), numbers.pick(&values).clone());
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let mut values = vec![Value::from(least), Value::from(most.clone())];
    match numbers.below(4) {
        0 => schema["additionalProperties"] = json!(false),
        1 => {
            let (extra, extra_values) = any(numbers, 0);
            schema["additionalProperties"] = extra;
            most.insert("zzz-extra".to_owned(), extra_values[0].clone()); // others stand behind those that are declared
            values.push(Value::from(most));
        }
        _ => {}
    }
    (schema, values)
}

/// A value with one thing changed, somewhere inside.
pub(crate) fn changed(value: &Value, numbers: &mut Numbers) -> Value {
    match value {
        Value::Object(entries) if !entries.is_empty() && !numbers.chance(3) => {
            let name = numbers.pick(&entries.keys().cloned().collect::<Vec<_>>()).clone();
            let mut entries = entries.clone();
            match numbers.below(4) {
                0 => drop(entries.remove(&name)),
                1 => drop(entries.insert("zzzz".to_owned(), json!(1))),
                _ => {
                    let inner = changed(&entries[&name], numbers);
                    entries.insert(name, inner);
                }
            }
            Value::from(entries)
        }
        Value::Array(items) if !items.is_empty() && !numbers.chance(3) => {
            let mut items = items.clone();
            let at = numbers.below(items.len());
            match numbers.below(3) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => items[at] = changed(&items[at], numbers),
            }
            Value::from(items)
        }
        Value::String(text) if !numbers.chance(3) => {
            json!(format!("{text}{}", numbers.pick(&["!", "1", "x", "\n", "-"])))
        }
        Value::Number(number) if !numbers.chance(3) => {
            json!(number.as_f64().unwrap_or(0.0) + [1.0, -1.0, 0.5, 1e9, -1e9][numbers.below(5)])
        }
        _ => [json!(null), json!("x"), json!(-7), json!([]), json!({}), json!(true), json!(0.25)]
            [numbers.below(7)]
        .clone(),
    }
}

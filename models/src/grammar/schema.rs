//! From a JSON schema to rules.
use std::collections::HashMap;

use serde_json::Value;

use super::merge::{Schema, merged};
use super::number::{integer, number};
use super::order::Orders;
use super::rule::{Gbnf, Rule};
use super::syntax::Syntax;
use super::{GrammarError, Widening};

/// Longest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of schemas in each other.
const DEPTH_MAX: usize = 64;
/// Most schemas, each counted as often as it is looked at.
const VISITS_MAX: usize = 20_000;
/// Most work, in bytes of schemas that are looked at or copied: what is said in few bytes may ask for many copies.
const WORK_MAX: usize = 32 << 20;
/// Longest lists by keyword: they are compared with each other, each with each.
const LISTS_MAX: [(&str, usize); 4] =
    [("enum", 10_000), ("properties", 2000), ("required", 2000), ("type", 16)];
/// How deep a value may be nested where a schema allows any.
const ANY_DEPTH: usize = 8;
/// Most whole numbers that are listed one by one.
const MULTIPLES_MAX: i128 = 300;
/// Every type, in the order in which they are tried.
const TYPES: [&str; 6] = ["object", "array", "string", "number", "boolean", "null"];
/// Keywords that ask for what no rule here enforces.
const NOT_ENFORCED: [&str; 12] = [
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "propertyNames",
    "contains",
    "uniqueItems",
    "unevaluatedProperties",
    "unevaluatedItems",
];
/// Keywords that change what a value may be: beside `$ref` or `anyOf` they hold as well.
const MEANINGFUL: [&str; 26] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "enum",
    "const",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "nullable",
    "minProperties",
    "maxProperties",
];

/// Makes rules of schemas in one syntax.
pub(super) struct Compiler<'c> {
    pub(super) gbnf: &'c mut Gbnf,
    pub(super) syntax: &'c Syntax,
    pub(super) widened: &'c mut Vec<Widening>,
    document: Value,
    pub(super) orders: Orders,
    references: HashMap<String, usize>,
    visits: usize,
    work: usize,
    depth: usize,
}

/// Reads a schema's text.
pub(super) fn parsed(text: &str) -> Result<(Value, Orders), GrammarError> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(GrammarError::SchemaTooLarge { what: "bytes", found: text.len(), max: SCHEMA_BYTES_MAX });
    }
    let document =
        serde_json::from_str(text).map_err(|error| GrammarError::NotJson { detail: error.to_string() })?;
    Ok((document, Orders::of(text)))
}

impl<'c> Compiler<'c> {
    pub(super) fn new(
        gbnf: &'c mut Gbnf,
        syntax: &'c Syntax,
        widened: &'c mut Vec<Widening>,
        (document, orders): (Value, Orders),
    ) -> Self {
        Self {
            gbnf,
            syntax,
            widened,
            document,
            orders,
            references: HashMap::new(),
            visits: 0,
            work: 0,
            depth: 0,
        }
    }

    /// The values that the whole schema allows.
    pub(super) fn whole(&mut self) -> Result<Rule, GrammarError> {
        let document = self.document.clone();
        self.value(&document, "")
    }

    pub(super) fn widen(&mut self, place: &str, keyword: &str, effect: &'static str) {
        let widening = Widening { place: place.to_owned(), keyword: keyword.to_owned(), effect };
        if !self.widened.contains(&widening) {
            self.widened.push(widening);
        }
    }

    /// The values that a schema allows.
    pub(super) fn value(&mut self, schema: &Value, place: &str) -> Result<Rule, GrammarError> {
        match schema {
            Value::Bool(true) => self.any(ANY_DEPTH),
            Value::Bool(false) => Ok(Rule::NEVER),
            Value::Object(schema) => {
                self.visits += 1;
                self.depth += 1;
                if self.visits > VISITS_MAX {
                    let (what, found) = ("schemas", self.visits);
                    return Err(GrammarError::SchemaTooLarge { what, found, max: VISITS_MAX });
                }
                if self.depth > DEPTH_MAX {
                    return Err(GrammarError::TooDeep { max: DEPTH_MAX });
                }
                let rule = self.combined(schema, place)?;
                self.depth -= 1;
                Ok(rule)
            }
            _ => Err(GrammarError::NotASchema { place: place.to_owned() }),
        }
    }

    /// Counts what is to be looked at.
    fn charge(&mut self, schema: &Schema) -> Result<(), GrammarError> {
        for (what, max) in LISTS_MAX {
            let found = match schema.get(what) {
                Some(Value::Array(values)) => values.len(),
                Some(Value::Object(entries)) => entries.len(),
                _ => 0,
            };
            if found > max {
                return Err(GrammarError::SchemaTooLarge { what, found, max });
            }
        }
        self.work = schema.values().map(weight).fold(self.work, usize::saturating_add);
        if self.work > WORK_MAX {
            let (what, found) = ("bytes to look at", self.work);
            return Err(GrammarError::SchemaTooLarge { what, found, max: WORK_MAX });
        }
        Ok(())
    }

    /// What several schemas say together, and what stands alone.
    fn combined(&mut self, schema: &Schema, place: &str) -> Result<Rule, GrammarError> {
        self.charge(schema)?;
        let is_alone =
            |name: &str| !schema.keys().any(|key| key != name && MEANINGFUL.contains(&key.as_str()));
        if let Some(target) = schema.get("$ref").and_then(Value::as_str)
            && is_alone("$ref")
        {
            return self.reference(target, place);
        }
        if schema.contains_key("$ref") || schema.contains_key("allOf") {
            return match self.flattened(schema, place, 0)? {
                Some(flat) => self.combined(&flat, place),
                None => Ok(Rule::NEVER),
            };
        }
        for keyword in NOT_ENFORCED.iter().filter(|keyword| schema.contains_key(**keyword)) {
            self.widen(place, keyword, "is not enforced");
        }
        let rule = match ["anyOf", "oneOf"]
            .iter()
            .find(|keyword| schema.get(**keyword).is_some_and(Value::is_array))
        {
            Some(keyword) => self.alternatives(schema, keyword, place)?,
            None => self.typed(schema, place)?,
        };
        let is_nullable = schema.get("nullable") == Some(&Value::Bool(true));
        Ok(if is_nullable { Rule::choice([rule, Rule::words("null")]) } else { rule })
    }

    fn alternatives(&mut self, schema: &Schema, keyword: &str, place: &str) -> Result<Rule, GrammarError> {
        let mut rest = schema.clone();
        let ways = rest.remove(keyword).unwrap_or_default();
        let has_more = rest.keys().any(|key| MEANINGFUL.contains(&key.as_str()) && key != "nullable");
        let ways = ways.as_array().cloned().unwrap_or_default();
        if keyword == "oneOf" && !are_apart(&ways) {
            self.widen(place, keyword, "allows values that fit several of its schemas");
        }
        rest.remove("nullable");
        let mut rules = Vec::new();
        for (index, way) in ways.iter().enumerate() {
            let place = format!("{place}/{keyword}/{index}");
            let rule = match way {
                Value::Object(way) if has_more => {
                    let Some(flat) = self.flattened(way, &place, 0)? else { continue };
                    self.charge(&rest)?;
                    match self.joined(rest.clone(), &flat, &place) {
                        Some(both) => self.value(&Value::Object(both), &place)?,
                        None => continue,
                    }
                }
                Value::Bool(true) if has_more => self.value(&Value::Object(rest.clone()), &place)?,
                way => self.value(way, &place)?,
            };
            rules.push(rule);
        }
        self.gbnf.share("any-of", Rule::choice(rules))
    }

    /// A schema without `$ref` and `allOf`: what they say is part of it. `None`: no value fits.
    fn flattened(
        &mut self,
        schema: &Schema,
        place: &str,
        chain: usize,
    ) -> Result<Option<Schema>, GrammarError> {
        self.visits += 1;
        if self.visits > VISITS_MAX {
            let (what, found) = ("schemas", self.visits);
            return Err(GrammarError::SchemaTooLarge { what, found, max: VISITS_MAX });
        }
        if chain > DEPTH_MAX {
            return Err(GrammarError::TooDeep { max: DEPTH_MAX });
        }
        self.charge(schema)?;
        let mut flat = schema.clone();
        let mut parts: Vec<Value> = Vec::new();
        if let Some(Value::String(target)) = flat.remove("$ref") {
            parts.push(self.target(&target, place)?.clone());
        }
        if let Some(Value::Array(all)) = flat.remove("allOf") {
            parts.extend(all);
        }
        for part in parts {
            match part {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(None),
                Value::Object(part) => {
                    let Some(part) = self.flattened(&part, place, chain + 1)? else { return Ok(None) };
                    match self.joined(flat, &part, place) {
                        Some(both) => flat = both,
                        None => return Ok(None),
                    }
                }
                _ => return Err(GrammarError::NotASchema { place: place.to_owned() }),
            }
        }
        Ok(Some(flat))
    }

    /// What both say; each of `anyOf` is joined with all that stands beside it.
    fn joined(&mut self, all: Schema, other: &Schema, place: &str) -> Option<Schema> {
        let mut lost = Vec::new();
        let both = merged(all, other, &mut |keyword| lost.push(keyword.to_owned()));
        for keyword in lost {
            self.widen(place, &keyword, "is enforced in one of several forms");
        }
        both
    }

    fn target(&self, target: &str, place: &str) -> Result<&Value, GrammarError> {
        let found = target.strip_prefix('#').and_then(|pointer| self.document.pointer(&decoded(pointer)));
        found.ok_or_else(|| GrammarError::NoSuchReference {
            place: place.to_owned(),
            target: target.to_owned(),
        })
    }

    /// Each target becomes one rule, which may name itself.
    fn reference(&mut self, target: &str, place: &str) -> Result<Rule, GrammarError> {
        if let Some(number) = self.references.get(target) {
            return Ok(Rule::Named(*number));
        }
        let schema = self.target(target, place)?.clone();
        let number = self.gbnf.reserve(target.rsplit('/').next().unwrap_or_default());
        self.references.insert(target.to_owned(), number);
        let rule = self.value(&schema, target.trim_start_matches('#'))?;
        self.gbnf.fill(number, rule)?;
        Ok(Rule::Named(number))
    }

    fn typed(&mut self, schema: &Schema, place: &str) -> Result<Rule, GrammarError> {
        let types = types(schema);
        let values = match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => Some(vec![value.clone()]),
            (None, values) => values.cloned(),
        };
        if let Some(values) = values {
            return self.one_of(&values, &types, place);
        }
        let mut rules = Vec::new();
        for name in types {
            rules.push(match name.as_str() {
                "object" => self.object(schema, place)?,
                "array" => self.array(schema, place)?,
                "string" => self.string(schema, place)?,
                "number" => self.number(schema, place, false)?,
                "integer" => self.number(schema, place, true)?,
                "boolean" => boolean(),
                "null" => Rule::words("null"),
                other => {
                    self.widen(place, other, "is no type: any value fits");
                    self.any(ANY_DEPTH)?
                }
            });
        }
        Ok(Rule::choice(rules))
    }

    fn one_of(&mut self, values: &[Value], types: &[String], place: &str) -> Result<Rule, GrammarError> {
        let mut rules = Vec::new();
        for value in
            values.iter().filter(|value| types.is_empty() || types.iter().any(|name| is_of(value, name)))
        {
            match self.syntax.literal(value) {
                Some(rule) => rules.push(rule),
                None => self.widen(place, "enum", "has a value that cannot be written: it is left out"),
            }
        }
        let rule = Rule::choice(rules);
        self.gbnf.share("one-of", rule)
    }

    fn number(&mut self, schema: &Schema, place: &str, whole: bool) -> Result<Rule, GrammarError> {
        let bound = |names: [&str; 2], sign: i128| {
            // Upwards for the least, downwards for the most; a fraction among fractions is widened to the next whole number.
            let read =
                |name: &str| schema.get(name).and_then(Value::as_f64).filter(|bound| bound.abs() < 1e30);
            let exact = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
            let outer = read(names[0]).map(|bound| {
                let inwards = if (sign > 0) == whole { bound.ceil() } else { bound.floor() };
                (exact(names[0]).unwrap_or(inwards as i128), bound.fract() == 0.0)
            });
            let is_flag = schema.get(names[1]) == Some(&Value::Bool(true));
            let beyond = read(names[1]).or_else(|| read(names[0]).filter(|_| is_flag)).map(|bound| {
                let next = if sign > 0 { bound.floor() as i128 + 1 } else { bound.ceil() as i128 - 1 };
                if whole { (next, true) } else { (if sign > 0 { next - 1 } else { next + 1 }, false) }
            });
            let both = [outer, beyond].into_iter().flatten();
            let strict = both.reduce(|a, b| if (b.0 - a.0) * sign > 0 { b } else { a });
            (strict.map(|bound| bound.0), strict.is_none_or(|bound| bound.1 || whole))
        };
        let (min, min_is_exact) = bound(["minimum", "exclusiveMinimum"], 1);
        let (max, max_is_exact) = bound(["maximum", "exclusiveMaximum"], -1);
        if !(min_is_exact && max_is_exact) {
            self.widen(place, "minimum/maximum", "is widened to whole numbers");
        }
        if let Some(step) = schema.get("multipleOf") {
            let step = step.as_i64().map(i128::from).filter(|step| *step > 0);
            if let (Some(step), Some(min), Some(max)) = (step, min, max)
                && (max - min) / step < MULTIPLES_MAX
            {
                let first = min.div_euclid(step) + i128::from(min.rem_euclid(step) != 0);
                let last = max.div_euclid(step);
                let multiples = (first..=last).map(|times| Rule::words((times * step).to_string()));
                return self.gbnf.share("multiple", Rule::choice(multiples));
            }
            if step != Some(1) || !whole {
                self.widen(place, "multipleOf", "is not enforced");
            }
        }
        if whole {
            self.gbnf.share("integer", integer(min, max))
        } else {
            self.gbnf.share("number", number(min, max))
        }
    }

    /// Any value, up to a depth: without one a model could open brackets without end.
    pub(super) fn any(&mut self, depth: usize) -> Result<Rule, GrammarError> {
        let known = (self.syntax.tag(), depth);
        if let Some(rule) = self.gbnf.any.get(&known) {
            return Ok(rule.clone());
        }
        let mut rules = Vec::new();
        for name in TYPES {
            rules.push(match name {
                "object" | "array" if depth == 0 => continue,
                "object" => {
                    let value = self.any(depth - 1)?;
                    self.free_object(value)?
                }
                "array" => {
                    let item = self.any(depth - 1)?;
                    self.list(&[], Some(item), 0, None)?
                }
                "string" => self.syntax.free_text(self.gbnf)?,
                "number" => self.gbnf.share("number", number(None, None))?,
                "boolean" => boolean(),
                _ => Rule::words("null"),
            });
        }
        let rule = self.gbnf.share("value", Rule::choice(rules))?;
        self.gbnf.any.insert(known, rule.clone());
        Ok(rule)
    }

    pub(super) fn any_below(&mut self) -> Result<Rule, GrammarError> {
        self.any(ANY_DEPTH - 1)
    }
}

fn boolean() -> Rule {
    Rule::choice([Rule::words("true"), Rule::words("false")])
}

/// About so many bytes of JSON.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 4,
        Value::Array(values) => values.iter().map(weight).fold(4, usize::saturating_add),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| key.len() + weight(value)).fold(4, usize::saturating_add)
        }
    }
}

fn decoded(pointer: &str) -> String {
    pointer.replace("%25", "%").replace("%24", "$").replace("%20", " ")
}

/// The types that a schema names, or else those of which it speaks.
fn types(schema: &Schema) -> Vec<String> {
    let mut found: Vec<String> = match schema.get("type") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if found.is_empty() && !schema.contains_key("enum") && !schema.contains_key("const") {
        let has = |keywords: &[&str]| keywords.iter().any(|keyword| schema.contains_key(*keyword));
        let spoken_of = [
            ("object", has(&["properties", "required", "additionalProperties", "patternProperties"])),
            ("array", has(&["items", "prefixItems", "minItems", "maxItems"])),
            ("string", has(&["pattern", "minLength", "maxLength", "format"])),
            ("number", has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])),
        ];
        found = spoken_of.iter().filter(|(_, spoken)| *spoken).map(|(name, _)| (*name).to_owned()).collect();
        if found.is_empty() {
            found = TYPES.map(str::to_owned).to_vec();
        }
    }
    if found.iter().any(|name| name == "number") {
        found.retain(|name| name != "integer");
    }
    found
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    }
}

/// Whether no value can fit two of these: their types differ.
fn are_apart(ways: &[Value]) -> bool {
    let mut seen: Vec<String> = Vec::new();
    ways.iter().all(|way| {
        let Some(Value::String(name)) = way.get("type") else { return false };
        let name = if name == "integer" { "number" } else { name };
        let is_new = !seen.iter().any(|seen| seen == name);
        seen.push(name.to_owned());
        is_new
    })
}

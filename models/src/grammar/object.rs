//! Objects and lists.
use serde_json::Value;

use super::GrammarError;
use super::automaton::Automaton;
use super::merge::Schema;
use super::pattern;
use super::rule::Rule;
use super::schema::Compiler;
use super::syntax::TEXT_STATES_MAX;

/// Most items that are counted: llama.cpp writes each one out.
const ITEMS_MAX: u32 = 128;

/// A property: its key and value as one rule, and whether it must be there.
struct Property {
    entry: Rule,
    required: bool,
}

impl Compiler<'_> {
    pub(super) fn object(&mut self, schema: &Schema, place: &str) -> Result<Rule, GrammarError> {
        let empty = Schema::new();
        let declared = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> = match schema.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for keyword in
            ["minProperties", "maxProperties"].iter().filter(|keyword| schema.contains_key(**keyword))
        {
            self.widen(place, keyword, "is not enforced");
        }
        let extra = match schema.get("additionalProperties") {
            None if !declared.is_empty() || schema.contains_key("patternProperties") => &Value::Bool(false),
            None => &Value::Bool(true),
            Some(extra) => extra,
        };
        let mut names: Vec<&str> = declared.keys().map(String::as_str).collect();
        names.sort_unstable();
        // Gemma 4's own template sorts the keys of calls.
        if self.syntax.tag() == "json" {
            self.orders.sort(&mut names);
        }
        for name in &required {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let mut properties = Vec::new();
        for name in &names {
            let is_required = required.contains(name);
            let schema = declared.get(*name).unwrap_or(if *extra == Value::Bool(false) {
                &Value::Bool(true)
            } else {
                extra
            });
            let Some(key) = self.syntax.key(name) else {
                self.widen(place, name, "is a name that cannot be written: it is left out");
                continue;
            };
            let value = self.value(
                schema,
                &format!("{place}/properties/{}", name.replace('~', "~0").replace('/', "~1")),
            )?;
            let entry = Rule::sequence([key, self.syntax.colon(), value]);
            if is_required || !entry.is_never() {
                properties.push(Property { entry: self.gbnf.share(name, entry)?, required: is_required });
            }
        }
        let extra = self.extra(schema, extra, &names, place)?;
        self.entries(&properties, extra)
    }

    /// Entries beyond the declared ones.
    fn extra(
        &mut self,
        schema: &Schema,
        extra: &Value,
        names: &[&str],
        place: &str,
    ) -> Result<Rule, GrammarError> {
        let mut entries = Vec::new();
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (pattern, value) in patterns.into_iter().flatten() {
            let place = format!("{place}/patternProperties");
            let keys = pattern::automaton(pattern)
                .and_then(|keys| keys.and(&self.syntax.free_keys(), TEXT_STATES_MAX));
            if keys.is_none() {
                self.widen(&place, pattern, "is not understood: any key fits");
            }
            entries.push(self.entry(
                keys.unwrap_or_else(|| self.syntax.free_keys()),
                value,
                names,
                &place,
            )?);
        }
        if *extra != Value::Bool(false) {
            if !entries.is_empty() {
                self.widen(place, "patternProperties", "is not enforced beside additionalProperties");
            }
            let place = format!("{place}/additionalProperties");
            entries.push(self.entry(self.syntax.free_keys(), extra, names, &place)?);
        }
        Ok(Rule::choice(entries))
    }

    fn entry(
        &mut self,
        keys: Automaton,
        value: &Value,
        names: &[&str],
        place: &str,
    ) -> Result<Rule, GrammarError> {
        // A declared name with another's value would undo what was written before.
        let keys = if names.is_empty() {
            Some(keys)
        } else {
            keys.and(&Automaton::other_than(names), TEXT_STATES_MAX)
        };
        let fits = |keys: &Automaton| self.gbnf.automaton_states + keys.states.len() <= TEXT_STATES_MAX;
        let Some(keys) = keys.filter(fits) else {
            self.widen(place, "additionalProperties", "is too large beside these properties: it is left out");
            return Ok(Rule::NEVER);
        };
        let key = self.syntax.key_text(self.gbnf, &keys)?;
        let value = if *value == Value::Bool(true) { self.any_below()? } else { self.value(value, place)? };
        self.gbnf.share("entry", Rule::sequence([key, self.syntax.colon(), value]))
    }

    /// An object of any entries with this value.
    pub(super) fn free_object(&mut self, value: Rule) -> Result<Rule, GrammarError> {
        let key = self.syntax.key_text(self.gbnf, &self.syntax.free_keys())?;
        let entry = self.gbnf.share("entry", Rule::sequence([key, self.syntax.colon(), value]))?;
        self.entries(&[], entry)
    }

    /// The properties in their order, those that are not required in any choice, and others behind them.
    fn entries(&mut self, properties: &[Property], extra: Rule) -> Result<Rule, GrammarError> {
        let comma = self.syntax.comma();
        let more = self.gbnf.share("more", Rule::sequence([comma.clone(), extra.clone()]))?;
        let mut tail = more.repeat(0, None);
        // What may come first, from the last to the first; behind a required property nothing can.
        let mut firsts = vec![Rule::sequence([extra, tail.clone()]), Rule::EMPTY];
        for property in properties.iter().rev() {
            if property.required {
                firsts.clear();
            }
            firsts.push(Rule::sequence([property.entry.clone(), tail.clone()]));
            let entry = Rule::sequence([comma.clone(), property.entry.clone()]);
            let entry = if property.required { entry } else { entry.optional() };
            tail = self.gbnf.share("rest", Rule::sequence([entry, tail]))?;
        }
        let inside = Rule::choice(firsts.into_iter().rev());
        self.gbnf.share("object", Rule::sequence([Rule::words("{"), inside, Rule::words("}")]))
    }

    pub(super) fn array(&mut self, schema: &Schema, place: &str) -> Result<Rule, GrammarError> {
        let count = |name: &str| {
            schema.get(name).and_then(Value::as_u64).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
        };
        let (min, max) = (count("minItems").unwrap_or(0), count("maxItems"));
        if max.is_some_and(|max| max < min) {
            return Ok(Rule::NEVER);
        }
        let counted = min.min(ITEMS_MAX);
        if counted < min || max.is_some_and(|max| max > ITEMS_MAX) {
            self.widen(place, "minItems/maxItems", "is counted up to 128 only");
        }
        // Before 2020, `items` could be a list, and `additionalItems` spoke of the others.
        let (front, others) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(front)), others) => (front.as_slice(), others),
            (_, Some(Value::Array(front))) => (front.as_slice(), schema.get("additionalItems")),
            (_, others) => (&[][..], others),
        };
        let mut fronts = Vec::new();
        for (index, item) in front.iter().enumerate() {
            fronts.push(self.value(item, &format!("{place}/prefixItems/{index}"))?);
        }
        let item = match others {
            None | Some(Value::Bool(true)) if !fronts.is_empty() => None, // what is not spoken of is not invented
            None | Some(Value::Bool(true)) => Some(self.any_below()?),
            Some(item) => Some(self.value(item, &format!("{place}/items"))?),
        };
        let item = item.filter(|item| !item.is_never());
        let item = if counted as usize > fronts.len() && item.is_none() && others != Some(&Value::Bool(false))
        {
            Some(self.any_below()?)
        } else {
            item
        };
        self.list(&fronts, item, counted, max.filter(|max| *max <= ITEMS_MAX))
    }

    /// These items in front, then others, so many in all.
    pub(super) fn list(
        &mut self,
        fronts: &[Rule],
        item: Option<Rule>,
        min: u32,
        max: Option<u32>,
    ) -> Result<Rule, GrammarError> {
        let comma = self.syntax.comma();
        let item = item.unwrap_or(Rule::NEVER);
        let front_count = u32::try_from(fronts.len()).unwrap_or(u32::MAX);
        let rest_max = max.map(|max| max.saturating_sub(front_count.max(1)));
        let more = self.gbnf.share("item", Rule::sequence([comma.clone(), item.clone()]))?;
        let mut tail = more.repeat(min.saturating_sub(front_count.max(1)), rest_max);
        let all: Vec<&Rule> = if fronts.is_empty() { vec![&item] } else { fronts.iter().collect() };
        // From the last to the first: each item may be followed by the next, and must be where too few were written.
        for (index, front) in all.iter().enumerate().rev() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let body =
                Rule::sequence([if index > 0 { comma.clone() } else { Rule::EMPTY }, (*front).clone(), tail]);
            tail = match max {
                Some(max) if index >= max => Rule::EMPTY,
                _ if index < min => self.gbnf.share("items", body)?,
                _ => self.gbnf.share("items", body)?.optional(),
            };
        }
        self.gbnf.share("list", Rule::sequence([Rule::words("["), tail, Rule::words("]")]))
    }
}

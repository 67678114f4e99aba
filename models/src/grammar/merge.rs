//! One schema that says what several say together (`allOf`, and what stands beside `$ref` or `anyOf`).
use serde_json::{Map, Value, json};

/// A schema that is an object.
pub(super) type Schema = Map<String, Value>;

/// What both say. `None`: no value fits. `lost` is told the keywords of which only the first's could be kept.
pub(super) fn merged(mut all: Schema, other: &Schema, lost: &mut impl FnMut(&str)) -> Option<Schema> {
    for (keyword, new) in other {
        let Some(old) = all.get(keyword) else {
            all.insert(keyword.clone(), new.clone());
            continue;
        };
        if old == new {
            continue;
        }
        let both = match keyword.as_str() {
            "type" => types_of_both(old, new)?,
            "enum" => Value::from(in_both(old, new)?),
            "const" => return None,
            "properties" | "patternProperties" => schemas_of_both(old, new),
            "required" => of_either(old, new),
            "items" | "additionalProperties" => of_both(old, new),
            "allOf" => of_either(old, new),
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
                by_size(old, new, |old, new| new > old)
            }
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
                by_size(old, new, |old, new| new < old)
            }
            "$defs" | "definitions" | "description" | "title" | "default" | "examples" | "$comment"
            | "$schema" | "$id" | "deprecated" | "readOnly" | "writeOnly" => continue,
            _ => {
                lost(keyword);
                continue;
            }
        };
        all.insert(keyword.clone(), both);
    }
    Some(all)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn types_of_both(old: &Value, new: &Value) -> Option<Value> {
    let (old, new) = (list(old), list(new));
    let has = |types: &[Value], name: &str| types.iter().any(|one| one == name);
    let fits =
        |types: &[Value], one: &Value| types.contains(one) || (one == "integer" && has(types, "number"));
    let mut both: Vec<Value> = old.iter().filter(|one| fits(&new, one)).cloned().collect();
    both.extend(new.iter().filter(|one| fits(&old, one) && !old.contains(one)).cloned());
    (!both.is_empty()).then(|| Value::from(both))
}

fn in_both(old: &Value, new: &Value) -> Option<Vec<Value>> {
    let new = list(new);
    let both: Vec<Value> = list(old).into_iter().filter(|one| new.contains(one)).collect();
    (!both.is_empty()).then_some(both)
}

fn of_either(old: &Value, new: &Value) -> Value {
    let mut either = list(old);
    for one in list(new) {
        if !either.contains(&one) {
            either.push(one);
        }
    }
    Value::from(either)
}

fn of_both(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
        (Value::Bool(true), only) | (only, Value::Bool(true)) => only.clone(),
        (old, new) => json!({ "allOf": [old, new] }),
    }
}

fn schemas_of_both(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return old.clone() };
    let mut both = old.clone();
    for (name, schema) in new {
        let whole = old.get(name).map_or_else(|| schema.clone(), |old| of_both(old, schema));
        both.insert(name.clone(), whole);
    }
    Value::from(both)
}

fn by_size(old: &Value, new: &Value, is_stricter: impl Fn(f64, f64) -> bool) -> Value {
    match (old.as_f64(), new.as_f64()) {
        (Some(a), Some(b)) if is_stricter(a, b) => new.clone(),
        (None, Some(_)) => new.clone(),
        _ => old.clone(),
    }
}

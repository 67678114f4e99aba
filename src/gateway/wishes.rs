//! What chat and completion requests have in common: how tokens are chosen, what the answer must be like, how it is told.
use archond_actors::domain::{AnswerForm, Sampling, Shape, Token};
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;

/// Gemma's own recommendation, for requests that say nothing; `top_k` and `top_p` likewise.
const TEMPERATURE: f32 = 1.0;
/// See [`TEMPERATURE`].
const TOP_K: u32 = 64;
/// See [`TEMPERATURE`].
const TOP_P: f32 = 0.95;
/// The types that a JSON schema can name.
const SCHEMA_TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
/// Most texts that end an answer: OpenAI allows 4; each is looked for after each token.
const STOPS_MAX: usize = 16;
/// Longest of them, in bytes: text that may be its beginning is held back.
const STOP_BYTES_MAX: usize = 1024;
/// Most of the likeliest tokens that are told beside the chosen one, as at OpenAI.
const TOP_LOGPROBS_MAX: u32 = 20;
/// Most answers to one prompt: as many as a worker of the usual size computes side by side.
const ANSWERS_MAX: u32 = 8;

/// How the answer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) stream: bool,
    /// The stream ends with what the answer cost.
    pub(super) include_usage: bool,
    /// How many answers each prompt gets, 1 at least.
    pub(super) answers: u32,
}

pub(super) fn telling(fields: &Fields<'_>) -> Result<Telling, ApiError> {
    let options = fields.group("stream_options")?;
    let include_usage = options.map(|options| options.flag("include_usage")).transpose()?.flatten();
    let answers = fields.count("n", 1)?.unwrap_or(1);
    if answers > ANSWERS_MAX {
        return Err(fields.fault("n", &format!("must be from 1 to {ANSWERS_MAX}, is {answers}")));
    }
    Ok(Telling {
        stream: fields.flag("stream")?.unwrap_or(false),
        include_usage: include_usage.unwrap_or(false),
        answers,
    })
}

pub(super) fn sampling(fields: &Fields<'_>) -> Result<Sampling, ApiError> {
    let seed = fields.integer("seed")?.filter(|seed| *seed >= 0);
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0, 100.0)?.unwrap_or(TEMPERATURE),
        top_k: fields.integer("top_k")?.map_or(TOP_K, |k| u32::try_from(k.max(0)).unwrap_or(u32::MAX)),
        top_p: fields.number("top_p", 0.0, 1.0)?.unwrap_or(TOP_P),
        min_p: fields.number("min_p", 0.0, 1.0)?.unwrap_or(0.0),
        repeat_penalty: fields.number("repeat_penalty", 0.01, 100.0)?.unwrap_or(1.0),
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        // The lower half of longer seeds tells them apart as well.
        seed: seed.map(|seed| (seed & i64::from(u32::MAX)) as u32),
    })
}

/// The longest answer; the context is the limit where nothing is said, as at llama-server.
pub(super) fn answer_tokens_max(fields: &Fields<'_>) -> Result<u32, ApiError> {
    for field in ["max_completion_tokens", "max_tokens", "n_predict"] {
        match fields.integer(field)? {
            Some(-1) => return Ok(u32::MAX),
            Some(_) => return Ok(fields.count(field, 1)?.unwrap_or(u32::MAX)),
            None => {}
        }
    }
    Ok(u32::MAX)
}

/// All of the form but tools and logprobs, which the endpoints write differently.
pub(super) fn form(fields: &Fields<'_>) -> Result<AnswerForm, ApiError> {
    Ok(AnswerForm {
        shape: shape(fields)?,
        stop: stops(fields)?,
        ignores_end: fields.flag("ignore_eos")?.unwrap_or(false),
        bias: bias(fields)?,
        ..AnswerForm::default()
    })
}

/// How many of the likeliest tokens are told.
pub(super) fn top_logprobs(fields: &Fields<'_>, field: &str) -> Result<Option<u8>, ApiError> {
    let Some(top) = fields.count(field, 0)? else { return Ok(None) };
    if top > TOP_LOGPROBS_MAX {
        return Err(fields.fault(field, &format!("must be from 0 to {TOP_LOGPROBS_MAX}, is {top}")));
    }
    Ok(u8::try_from(top).ok())
}

fn stops(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let fault = || fields.fault("stop", "must be a string or a list of strings");
    let stops: Vec<&str> = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(list)) => {
            list.iter().map(|stop| stop.as_str().ok_or_else(fault)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(fault()),
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.len() > STOP_BYTES_MAX) {
        let words = format!("may have {STOPS_MAX} strings of {STOP_BYTES_MAX} bytes at most");
        return Err(fields.fault("stop", &words));
    }
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).map(str::to_owned).collect())
}

fn shape(fields: &Fields<'_>) -> Result<Shape, ApiError> {
    if let Some(grammar) = fields.text("grammar")?.filter(|grammar| !grammar.is_empty()) {
        return Ok(Shape::Grammar(grammar.to_owned()));
    }
    let Some(format) = fields.group("response_format")? else {
        // llama-server's own way.
        return fields
            .get("json_schema")
            .map_or(Ok(Shape::Free), |value| schema(fields, "json_schema", value));
    };
    match format.required_text("type")? {
        "text" => Ok(Shape::Free),
        // llama-server takes a schema here too.
        "json_object" => {
            format.get("schema").map_or(Ok(Shape::JsonObject), |value| schema(&format, "schema", value))
        }
        "json_schema" => {
            let named = format.group("json_schema")?.ok_or_else(|| format.missing("json_schema"))?;
            let value = named.get("schema").ok_or_else(|| named.missing("schema"))?;
            if !value.is_object() {
                return Err(named.fault("schema", "must be an object"));
            }
            schema(&named, "schema", value)
        }
        _ => Err(format.fault("type", "must be `text`, `json_object` or `json_schema`")),
    }
}

/// A schema that an answer is to follow. What a grammar cannot say is widened; what is no type was meant to be one.
fn schema(fields: &Fields<'_>, name: &str, schema: &Value) -> Result<Shape, ApiError> {
    match unknown_type(schema) {
        None => Ok(Shape::JsonSchema(schema.to_string())),
        Some(unknown) => {
            let unknown: String = unknown.chars().take(40).collect();
            Err(fields.fault(name, &format!("has the type `{unknown}`, which is none of JSON schema's")))
        }
    }
}

/// The first type in a schema that is none.
fn unknown_type(schema: &Value) -> Option<&str> {
    let unknown = |name: &Value| name.as_str().is_some_and(|name| !SCHEMA_TYPES.contains(&name));
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("type", Value::String(name)) if unknown(value) => Some(name.as_str()),
            ("type", Value::Array(names)) => names.iter().find(|name| unknown(name))?.as_str(),
            // Values, not schemas.
            ("enum" | "const" | "default" | "examples", _) => None,
            _ => unknown_type(value),
        }),
        Value::Array(list) => list.iter().find_map(unknown_type),
        _ => None,
    }
}

/// OpenAI's object of token numbers, or llama-server's list of pairs.
fn bias(fields: &Fields<'_>) -> Result<Vec<(Token, f32)>, ApiError> {
    let fault = || fields.fault("logit_bias", "must be an object from token numbers to numbers");
    let pairs: Vec<(Option<i32>, &Value)> = match fields.get("logit_bias") {
        None => Vec::new(),
        Some(Value::Object(map)) => map.iter().map(|(token, bias)| (token.parse().ok(), bias)).collect(),
        Some(Value::Array(list)) => {
            let pair = |pair: &'_ Value| -> Option<(Option<i32>, usize)> {
                let token = pair.get(0)?.as_i64().and_then(|token| i32::try_from(token).ok());
                Some((token, 1))
            };
            let read = |item| {
                let (token, at) = pair(item).ok_or_else(fault)?;
                Ok((token, item.get(at).ok_or_else(fault)?))
            };
            list.iter().map(read).collect::<Result<_, ApiError>>()?
        }
        Some(_) => return Err(fault()),
    };
    let read = |(token, bias): (Option<i32>, &Value)| {
        let bias = match bias {
            Value::Bool(false) => f32::NEG_INFINITY,
            // OpenAI's least value is a ban.
            number => match number.as_f64().ok_or_else(fault)? {
                least if least <= -100.0 => f32::NEG_INFINITY,
                number => number as f32,
            },
        };
        Ok((Token(token.ok_or_else(fault)?), bias))
    };
    pairs.into_iter().map(read).collect()
}

//! Reads a request's JSON field by field: what is unknown is passed over, as OpenAI's servers do; what has the wrong type is named.
use serde_json::{Map, Value};

use super::error::ApiError;

/// The fields of an object, with the path to it for messages: `messages[0].`.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The fields of the whole request.
    pub(super) fn of_request(value: &'a Value) -> Result<Self, ApiError> {
        let map = value.as_object().ok_or_else(|| ApiError::bad_request("the body must be a JSON object"))?;
        Ok(Self { map, path: String::new() })
    }

    /// The fields of a value within the request.
    pub(super) fn of(value: &'a Value, path: &str) -> Result<Self, ApiError> {
        let map = value.as_object().ok_or_else(|| wrong(path, "an object"))?;
        Ok(Self { map, path: format!("{path}.") })
    }

    /// The full name of a field.
    pub(super) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// The value, `null` counting as absent.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, ApiError> {
        self.read(field, "a string", Value::as_str)
    }

    pub(super) fn required_text(&self, field: &str) -> Result<&'a str, ApiError> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, ApiError> {
        self.read(field, "true or false", Value::as_bool)
    }

    pub(super) fn list(&self, field: &str) -> Result<Option<&'a [Value]>, ApiError> {
        self.read(field, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn integer(&self, field: &str) -> Result<Option<i64>, ApiError> {
        self.read(field, "a whole number", |value| match value.as_i64() {
            Some(number) => Some(number),
            // Some clients write 3.0.
            None => value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64),
        })
    }

    /// A whole number that must not be below `min`.
    pub(super) fn count(&self, field: &str, min: u32) -> Result<Option<u32>, ApiError> {
        let Some(number) = self.integer(field)? else { return Ok(None) };
        match u32::try_from(number) {
            Ok(number) if number >= min => Ok(Some(number)),
            Err(_) if number > i64::from(u32::MAX) => Ok(Some(u32::MAX)),
            _ => Err(self.fault(field, &format!("must be at least {min}, is {number}"))),
        }
    }

    /// A number within the bounds.
    pub(super) fn number(&self, field: &str, min: f64, max: f64) -> Result<Option<f32>, ApiError> {
        let Some(number) = self.read(field, "a number", Value::as_f64)? else { return Ok(None) };
        if number < min || number > max {
            return Err(self.fault(field, &format!("must be from {min} to {max}, is {number}")));
        }
        Ok(Some(number as f32))
    }

    pub(super) fn group(&self, field: &str) -> Result<Option<Fields<'a>>, ApiError> {
        self.get(field).map(|value| Fields::of(value, &self.name(field))).transpose()
    }

    pub(super) fn missing(&self, field: &str) -> ApiError {
        self.fault(field, "is missing")
    }

    pub(super) fn fault(&self, field: &str, words: &str) -> ApiError {
        let name = self.name(field);
        ApiError::field(name.clone(), format!("`{name}` {words}"))
    }

    fn read<T>(
        &self,
        field: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(&self.name(field), wanted))
    }
}

fn wrong(name: &str, wanted: &str) -> ApiError {
    ApiError::field(name, format!("`{name}` must be {wanted}"))
}

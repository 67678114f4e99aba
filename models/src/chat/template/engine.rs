//! Jinja as model files use it, within bounds.
use std::io::{self, Write};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::texts::{as_json, has_reserved, without_reserved};
use crate::chat::ChatError;
use crate::chat::value::{Spacing, Value};

/// Longest template, in bytes. The longest known have about 100 KB.
const TEMPLATE_BYTES_MAX: usize = 256 << 10;
/// Most steps of one rendering: a conversation of a thousand turns takes about a hundredth of it, and all of it a few seconds.
const STEPS_MAX: u64 = 20_000_000;
/// Most that a template may write, the texts not counted, in bytes.
const WRITTEN_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting of macros and of values in `tojson`: bounds the stack.
const DEPTH_MAX: usize = 64;
/// What a template is told of the day: one that changed would make all that was read of a conversation useless.
const DATE: &str = "unknown";
/// The template's name in messages.
const NAME: &str = "template";

/// Reads a template's source.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, ChatError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(ChatError::TemplateTooLong { bytes: source.len(), bytes_max: TEMPLATE_BYTES_MAX });
    }
    if has_reserved(source) {
        return Err(ChatError::TemplateSyntax("it has characters of a private-use plane".to_owned()));
    }
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(STEPS_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // A template that can do without the date has a fixed one of its own.
    if !source.contains("strftime_now is defined") {
        environment.add_function("strftime_now", |_format: String| DATE);
    }
    // Marks for training, which say nothing here.
    let mut source = source.to_owned();
    for dash in ["", "-"] {
        source = source.replace(&format!("{{%{dash} generation"), &format!("{{%{dash} if true"));
        source = source.replace(&format!("{{%{dash} endgeneration"), &format!("{{%{dash} endif"));
    }
    environment.add_template_owned(NAME, source).map_err(fault)?;
    Ok(environment)
}

/// Renders the environment's template.
pub(super) fn written(environment: &Environment<'_>, context: &Value) -> Result<String, ChatError> {
    let mut written = Bounded(Vec::new());
    let template = environment.get_template(NAME).map_err(fault)?;
    template.render_captured_to(to_jinja(context), &mut written).map_err(fault)?;
    String::from_utf8(written.0).map_err(|error| ChatError::TemplateFails(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` wants")]
fn fault(error: Error) -> ChatError {
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        detail.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => ChatError::TemplateTooSlow { steps_max: STEPS_MAX },
        ErrorKind::WriteFailure => ChatError::PromptTooLong { bytes_max: WRITTEN_BYTES_MAX },
        ErrorKind::SyntaxError => ChatError::TemplateSyntax(detail),
        _ => ChatError::TemplateFails(without_reserved(&detail)),
    }
}

/// Takes bytes up to a limit.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > WRITTEN_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `tojson` as Python's templates have it: nothing escaped but what JSON asks for.
#[expect(clippy::needless_pass_by_value, reason = "the form that minijinja wants of a filter")]
fn to_json(value: &minijinja::Value, options: Kwargs) -> Result<String, Error> {
    let spacing = match options.get::<Option<usize>>("indent")? {
        Some(indent) => Spacing::Lines(indent.min(16)),
        None => Spacing::Python,
    };
    // `ensure_ascii` and the like change nothing here.
    let json = from_jinja(value, 0)?.json(spacing);
    as_json(&json).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "JSON stands too deep within JSON"))
}

fn from_jinja(value: &minijinja::Value, depth: usize) -> Result<Value, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply"));
    }
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => Value::Number(value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            Value::List(value.try_iter()?.map(|item| from_jinja(&item, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                entries.push((key.to_string(), from_jinja(&value.get_item(&key)?, depth + 1)?));
            }
            Value::Dict(entries)
        }
        _ => Value::Text(value.to_string()),
    })
}

fn to_jinja(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(yes) => minijinja::Value::from(*yes),
        Value::Number(number) => match (number.parse::<i64>(), number.parse::<f64>()) {
            (Ok(whole), _) => minijinja::Value::from(whole),
            (_, Ok(fraction)) => minijinja::Value::from(fraction),
            _ => minijinja::Value::from(number.as_str()),
        },
        Value::Text(text) => minijinja::Value::from(text.as_str()),
        Value::List(list) => list.iter().map(to_jinja).collect(),
        Value::Dict(entries) => entries.iter().map(|(key, value)| (key.as_str(), to_jinja(value))).collect(),
    }
}

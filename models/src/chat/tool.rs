//! Tools as values.
use super::ChatError;
use super::conversation::Tool;
use super::read::Reader;
use super::value::Value;

/// The schema of a tool's arguments; an empty dictionary if it takes none.
pub(super) fn parameters(tool: &Tool) -> Result<Value, ChatError> {
    let fault = |detail: String| ChatError::Parameters { tool: tool.name.clone(), detail };
    let text = tool.parameters.trim();
    if text.is_empty() {
        return Ok(Value::Dict(Vec::new()));
    }
    // The reader mends what it can, which is right for a model's answer; a declaration has to be right by itself.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| fault(error.to_string()))?;
    match Reader::new(text, &[], 0).whole() {
        Ok(schema @ Value::Dict(_)) => Ok(schema),
        Ok(_) => Err(fault("it is no object".to_owned())),
        Err(error) => Err(fault(error.to_string())),
    }
}

/// A tool as OpenAI declares it.
pub(super) fn declaration(tool: &Tool) -> Result<Value, ChatError> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut schema = parameters(tool)?;
    if schema.is_empty() {
        let empty = Value::Dict(Vec::new());
        schema = Value::Dict(vec![("type".to_owned(), text("object")), ("properties".to_owned(), empty)]);
    }
    let function = vec![
        ("name".to_owned(), text(&tool.name)),
        ("description".to_owned(), text(&tool.description)),
        ("parameters".to_owned(), schema),
    ];
    Ok(Value::Dict(vec![
        ("type".to_owned(), text("function")),
        ("function".to_owned(), Value::Dict(function)),
    ]))
}

/// The arguments of a call as a value: what is no object is the text that it is.
pub(super) fn arguments(arguments: &str) -> Value {
    match Reader::new(arguments, &[], 0).whole() {
        Ok(arguments @ Value::Dict(_)) => arguments,
        _ if arguments.trim().is_empty() => Value::Dict(Vec::new()),
        _ => Value::Text(arguments.to_owned()),
    }
}

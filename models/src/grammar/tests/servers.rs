//! Tools as well-known servers declare them.
use super::*;

/// A tool of `servers.json`.
pub(crate) struct ServerTool {
    pub(crate) name: String,
    pub(crate) schema: Value,
    fits: Vec<Value>,
    fits_not: Vec<Value>,
    widened: Vec<Value>,
}

impl ServerTool {
    /// Whether its schema asks for more than a grammar enforces.
    #[cfg(feature = "llama")]
    pub(crate) fn is_widened(&self) -> bool {
        !self.widened.is_empty()
    }
}

pub(crate) fn server_tools() -> Vec<ServerTool> {
    let list: Vec<Value> = serde_json::from_str(include_str!("servers.json")).unwrap();
    let values = |tool: &Value, name: &str| tool[name].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|tool| ServerTool {
            name: tool["name"].as_str().unwrap().to_owned(),
            schema: tool["schema"].clone(),
            fits: values(tool, "fits"),
            fits_not: values(tool, "fits_not"),
            widened: values(tool, "widened"),
        })
        .collect()
}

#[test]
fn tools_of_servers_are_called_as_they_ask() {
    let tools = server_tools();
    assert_eq!(tools.len(), 30);
    for server in &tools {
        for (style, is_gemma) in [(gemma4(), true), (chatml(), false)] {
            let constraint = one_call(&server.schema, &style).unwrap();
            let widened: Vec<&String> = constraint.widened.iter().map(|widening| &widening.keyword).collect();
            assert_eq!(json!(widened), json!(server.widened), "{}", server.name);
            let matcher = matcher(&constraint);
            for value in &server.fits {
                assert!(matcher.accepts(&call_of(value, is_gemma)), "{}: {value}", server.name);
            }
            for value in &server.fits_not {
                assert!(!matcher.accepts(&call_of(value, is_gemma)), "{}: {value}", server.name);
            }
        }
    }
}

#[test]
fn all_tools_together_make_one_grammar_of_moderate_size() {
    let tools: Vec<Tool> = server_tools().iter().map(|server| tool(&server.name, &server.schema)).collect();
    for style in [gemma4(), chatml()] {
        let constraint = for_calls(&tools, &CallRule::Free, true, &style).unwrap().unwrap();
        let bytes = constraint.gbnf.as_ref().unwrap().len();
        assert!(bytes < 256 << 10, "{bytes} bytes");
    }
}

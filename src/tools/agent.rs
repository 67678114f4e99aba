//! The tool by which an Archon hands a task to another one of its house. How the task goes there and its answer comes back is the
//! house's affair; here is what a model writes of it.
use std::sync::Arc;

use archond_actors::domain::{AGENT, ArchonId, Outcome, Risk, Tool, ToolCall, ToolOrder, ToolSpec};
use archond_actors::house::Delegation;
use archond_actors::ports::{Sink, ToolSource};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::arguments;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(alias = "name")]
    archon: String,
    #[serde(alias = "message", alias = "prompt")]
    task: String,
}

/// The other Archons of one Archon.
#[derive(Clone)]
pub struct AgentTools {
    delegation: Delegation,
    to: Vec<ArchonId>,
}

impl AgentTools {
    /// Hands tasks to these.
    pub fn new(delegation: Delegation, to: Vec<ArchonId>) -> Self {
        Self { delegation, to }
    }

    /// What the model and the policy are told where these may be asked.
    pub fn declared(to: &[ArchonId]) -> ToolSpec {
        let names: Vec<&str> = to.iter().map(ArchonId::as_str).collect();
        let parameters = json!({
            "type": "object",
            "properties": {
                "archon": { "type": "string", "enum": names },
                "task": { "type": "string", "description": "all that it needs to know: it does not see this conversation" },
            },
            "required": ["archon", "task"],
        });
        let description = "Hand a task to another Archon of this house and get its answer.";
        ToolSpec {
            tool: Tool {
                name: AGENT.to_owned(),
                description: description.to_owned(),
                parameters: parameters.to_string(),
            },
            risk: Risk::Message,
            // The same call finds the same task: see docs/adr/0032.
            is_repeatable: true,
            reads_private: false,
            brings_outside_text: true,
        }
    }
}

#[async_trait]
impl ToolSource for AgentTools {
    fn name(&self) -> &str {
        AGENT
    }

    fn tools(&self) -> Vec<ToolSpec> {
        vec![Self::declared(&self.to)]
    }

    fn is_core(&self) -> bool {
        true
    }

    /// Whole: it is what leaves this conversation.
    fn shown(&self, call: &ToolCall) -> String {
        match arguments::read::<Arguments>(AGENT, &call.arguments) {
            Ok(Arguments { archon, task }) => format!("{AGENT} {archon}: {task}"),
            Err(_) => format!("{AGENT} {}", call.arguments),
        }
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        self.call_telling(order, Arc::new(|_| {})).await
    }

    async fn call_telling(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        let read = arguments::read::<Arguments>(AGENT, &order.call.arguments);
        let (to, task) = match read.map(|wanted| (wanted.archon.parse::<ArchonId>(), wanted.task)) {
            Ok((Ok(to), task)) => (to, task),
            Ok((Err(error), _)) => return Outcome::Failed { text: error.to_string() },
            Err(error) => return Outcome::Failed { text: error.to_string() },
        };
        self.delegation.hand_over(&order, &to, &task, &progress).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tools() -> AgentTools {
        AgentTools::new(Delegation::default(), vec!["electra".parse().unwrap(), "allegro".parse().unwrap()])
    }

    fn call(arguments: &str) -> ToolCall {
        ToolCall { id: "1.1.1".into(), name: AGENT.into(), arguments: arguments.into() }
    }

    #[test]
    fn the_model_is_told_whom_it_may_ask_and_the_policy_what_comes_of_it() {
        let [spec] = tools().tools().try_into().unwrap();
        let schema: serde_json::Value = serde_json::from_str(&spec.tool.parameters).unwrap();
        assert_eq!(schema["properties"]["archon"]["enum"], json!(["electra", "allegro"]));
        assert!(spec.sends() && spec.brings_outside_text && spec.is_repeatable);
    }

    #[test]
    fn the_owner_sees_the_whole_task() {
        let long = "x".repeat(5_000);
        let shown = tools().shown(&call(&format!(r#"{{"archon":"electra","task":"{long}"}}"#)));
        assert_eq!(shown, format!("agent electra: {long}"));
        assert_eq!(tools().shown(&call("nonsense")), "agent nonsense");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_handed_on_says_why() {
        for (arguments, why) in [
            ("{}", "missing field `archon`"),
            (r#"{"archon":"Electra!","task":"x"}"#, "is not a valid Archon name"),
            (r#"{"archon":"electra","task":"x"}"#, "the house is not open yet"),
        ] {
            let order = ToolOrder {
                archon: "ezra".parse().unwrap(),
                session: "ezra/cli/p/main".parse().unwrap(),
                call: call(arguments),
                time_max: Duration::from_secs(10),
            };
            let outcome = tools().call(order).await;
            assert!(matches!(&outcome, Outcome::Failed { text } if text.contains(why)), "{outcome:?}");
        }
    }
}

//! Which tools a turn has, and which calls it may make. Pure, but for asking a source what a call means.
use std::sync::Arc;

use super::ToolsHandle;
use crate::domain::{Risk, Tool, ToolCall, ToolPolicy, ToolSpec};
use crate::permission::{Exposure, Verdict, judge};

/// A tool, and who makes its calls.
#[derive(Debug, Clone)]
pub struct KitTool {
    /// What is known of it.
    pub spec: ToolSpec,
    /// Its source.
    pub source: ToolsHandle,
}

/// The tools of one Archon, and what it may do with them.
#[derive(Debug, Clone)]
pub struct ToolKit {
    tools: Arc<[KitTool]>,
    policy: Arc<ToolPolicy>,
}

/// A yes of the owner that counts for longer than one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    tool: String,
    /// What is run, where the tool runs programs: a yes to one command is none to another.
    command: Option<String>,
}

impl ToolKit {
    /// Those tools of these sources that the policy names, in its order, then those of sources that it names as a whole. Of two of one
    /// name the first source's counts.
    pub fn new(sources: &[ToolsHandle], policy: Arc<ToolPolicy>) -> Self {
        let all: Vec<KitTool> = sources
            .iter()
            .flat_map(|source| {
                source.tools().into_iter().map(|spec| KitTool { spec, source: source.clone() })
            })
            .collect();
        let named =
            policy.tools.iter().filter_map(|name| all.iter().find(|tool| tool.spec.tool.name == *name));
        let mut tools: Vec<KitTool> = named.cloned().collect();
        for tool in &all {
            let is_wanted = policy.sources.iter().any(|source| source == tool.source.name());
            let is_first = !tools.iter().any(|other| other.spec.tool.name == tool.spec.tool.name);
            if is_wanted && is_first {
                tools.push(tool.clone());
            }
        }
        Self { tools: tools.into(), policy }
    }

    /// The policy.
    pub fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    /// What the model is told.
    pub fn declarations(&self) -> Arc<[Tool]> {
        self.tools.iter().map(|tool| tool.spec.tool.clone()).collect()
    }

    /// The tools.
    pub fn tools(&self) -> &[KitTool] {
        &self.tools
    }

    /// The tool that a call names.
    pub fn find(&self, name: &str) -> Option<&KitTool> {
        self.tools.iter().find(|tool| tool.spec.tool.name == name)
    }

    /// What a call would do, for the owner.
    pub fn shown(&self, call: &ToolCall) -> String {
        let shown = self.find(&call.name).map(|tool| tool.source.shown(call));
        shown.unwrap_or_else(|| format!("{} {}", call.name, call.arguments))
    }

    /// Whether a call may be made in a turn that has seen and done so much.
    pub fn judge(&self, call: &ToolCall, exposure: Exposure, grants: &[Grant]) -> Verdict {
        let Some(tool) = self.find(&call.name) else {
            let names: Vec<&str> = self.tools.iter().map(|tool| tool.spec.tool.name.as_str()).collect();
            let why = format!("there is no tool `{}`; there are: {}", call.name, names.join(", "));
            return Verdict::Deny { why };
        };
        let command = self.command(tool, call);
        match judge(&self.policy, &tool.spec, command.as_deref(), exposure) {
            // What is granted is the tool, not the company it keeps: the rule of two asks each time.
            Verdict::Ask { .. }
                if !exposure.after(&tool.spec).has_all() && grants.contains(&self.grant(call)) =>
            {
                Verdict::Allow
            }
            verdict => verdict,
        }
    }

    /// What a lasting yes to this call covers.
    pub fn grant(&self, call: &ToolCall) -> Grant {
        let command = self.find(&call.name).and_then(|tool| self.command(tool, call));
        Grant { tool: call.name.clone(), command }
    }

    fn command(&self, tool: &KitTool, call: &ToolCall) -> Option<String> {
        (tool.spec.risk == Risk::Execute).then(|| tool.source.shown(call))
    }
}

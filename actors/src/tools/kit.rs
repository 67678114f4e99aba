//! Which tools a turn has, and which calls it may make. Pure, but for asking a source what a call means.
use std::sync::Arc;

use super::ToolsHandle;
use super::search::{self, TOOL_CALL, TOOL_SEARCH};
use crate::domain::{Grant, Risk, Tool, ToolCall, ToolPolicy, ToolSpec};
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
    declared: Arc<[Tool]>,
    policy: Arc<ToolPolicy>,
}

impl ToolKit {
    /// Those tools of these sources that the policy names, in its order, then those of sources that it names as a whole. Of two of one
    /// name the first source's counts.
    ///
    /// The model is told of all, unless that takes more room than the policy gives: then of the core, and of how to find the others.
    /// That depends on the tools and nothing else, so that prompts begin alike as long as the tools stay.
    pub fn new(sources: &[ToolsHandle], policy: Arc<ToolPolicy>) -> Self {
        let all: Vec<KitTool> = sources
            .iter()
            .flat_map(|source| {
                source.tools().into_iter().map(|spec| KitTool { spec, source: source.clone() })
            })
            .collect();
        let find = |name: &str| all.iter().find(|tool| tool.spec.tool.name == name);
        let mut tools: Vec<KitTool> = policy.tools.iter().filter_map(|name| find(name)).cloned().collect();
        for tool in &all {
            let is_wanted = policy.sources.iter().any(|source| source == tool.source.name());
            let is_first = !tools.iter().any(|other| other.spec.tool.name == tool.spec.tool.name);
            if is_wanted && is_first {
                tools.push(tool.clone());
            }
        }
        let size: usize = tools.iter().map(|tool| search::tokens(&tool.spec.tool)).sum();
        let declare = |tools: &[KitTool]| tools.iter().map(|tool| tool.spec.tool.clone()).collect();
        let is_core = |tool: &KitTool| tool.source.is_core();
        let is_much = size > policy.limits.schema_tokens_max as usize && !tools.iter().all(is_core);
        let declared = match (find(TOOL_SEARCH), find(TOOL_CALL)) {
            (Some(search), Some(call)) if is_much => {
                let core: Vec<KitTool> = tools.iter().filter(|tool| is_core(tool)).cloned().collect();
                let searching = [search.clone(), call.clone()];
                tools.extend(searching.clone());
                declare(&[core, searching.into()].concat())
            }
            _ => declare(&tools),
        };
        Self { tools: tools.into(), declared, policy }
    }

    /// The call that is really wanted: where a tool stands for another one, that other one's.
    pub fn meant(&self, call: ToolCall) -> ToolCall {
        let meant = self.find(&call.name).and_then(|tool| tool.source.meant(&call));
        // Nothing stands for what is not there, or for what stands for others.
        let is_real = |meant: &ToolCall| {
            ![TOOL_SEARCH, TOOL_CALL].contains(&meant.name.as_str()) && self.find(&meant.name).is_some()
        };
        meant.filter(is_real).unwrap_or(call)
    }

    /// The policy.
    pub fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    /// What the model is told.
    pub fn declarations(&self) -> Arc<[Tool]> {
        self.declared.clone()
    }

    /// The tools, also those that the model is not told of.
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
            let names: Vec<&str> = self.declared.iter().map(|tool| tool.name.as_str()).collect();
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

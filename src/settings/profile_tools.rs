//! Which tools a profile gives its Archon, and what it may do with them.
use std::collections::BTreeSet;

use archond_actors::domain::{
    AGENT, ArchonId, CommandRule, Delegates, Permission, Risk, Skills, ToolLimits, ToolPolicy,
};
use serde::{Deserialize, Serialize};

use super::Known;
use super::fault::nearest;
use super::mcp_file::source_name;
use super::profile::duration;
use super::reader::{Group, Located, Sheet, any, within};
use super::values::{Bytes, Setting};

/// The tool that loads skills: an Archon that has skills has it, too.
pub const SKILL: &str = "skill";
/// Stands for all skills where a profile names some.
pub const ALL_SKILLS: &str = "all";

/// What is to be done with a call, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Allow,
    Ask,
    Deny,
}

impl Setting for Word {
    const WRITTEN: &'static str = "one of Allow, Ask and Deny";
}

impl From<Word> for Permission {
    fn from(word: Word) -> Self {
        match word {
            Word::Allow => Self::Allow,
            Word::Ask => Self::Ask,
            Word::Deny => Self::Deny,
        }
    }
}

impl From<Permission> for Word {
    fn from(permission: Permission) -> Self {
        match permission {
            Permission::Allow => Self::Allow,
            Permission::Ask => Self::Ask,
            Permission::Deny => Self::Deny,
        }
    }
}

/// Reads all that concerns tools.
pub(super) fn policy(sheet: &Sheet<'_>, top: &mut Group<'_>, id: &ArchonId, known: &Known) -> ToolPolicy {
    let default = ToolPolicy::default();
    let mut tools = tool_names(sheet, top, &known.tools);
    let skills = skills(sheet, top, &known.skills);
    if !skills.is_none() {
        // Whoever has skills has what loads them.
        tools.push(SKILL.to_owned());
    }
    let to = delegates(sheet, top, id, known);
    if !to.is_empty() {
        tools.push(AGENT.to_owned());
    }
    let sources = servers(sheet, top, &known.servers);
    let mut group = top.group("permissions");
    let permissions = Risk::ALL.map(|risk| {
        let by_default = Risk::ALL.iter().zip(default.permissions).find(|(other, _)| **other == risk);
        let by_default = by_default.map_or(Permission::Ask, |(_, permission)| permission);
        group.value(risk.name(), Word::from(by_default), any).into()
    });
    group.finish();
    let commands = top.groups("commands").into_iter().filter_map(command).collect();
    let approval_timeout = duration(
        top,
        "approval_timeout",
        default.approval_timeout,
        std::time::Duration::from_secs(10),
        std::time::Duration::from_secs(86_400),
    );
    let mut group = top.group("tool_limits");
    let depth_max = group.value("agent_depth_max", default.delegates.depth_max, within(1..=5, ""));
    let limits = limits(group, default.limits);
    let delegates = Delegates { to, depth_max };
    ToolPolicy { tools, sources, permissions, commands, approval_timeout, limits, skills, delegates }
}

/// The other Archons that the profile names.
fn delegates(sheet: &Sheet<'_>, top: &mut Group<'_>, id: &ArchonId, known: &Known) -> Vec<ArchonId> {
    let mut to: Vec<ArchonId> = Vec::new();
    for name in top.list::<String>("delegates", &[], any) {
        let found = known.archons.iter().find(|archon| archon.as_str() == name.value);
        let fault = |message: String, hint: String| sheet.fault(name.span, message, Some(hint));
        match found {
            _ if name.value == id.as_str() => {
                fault("an Archon cannot hand tasks to itself".to_owned(), "name another one".to_owned());
            }
            None => {
                let hint = match nearest(&name.value, known.archons.iter().map(ArchonId::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "`archond archon list` shows all".to_owned(),
                };
                fault(format!("there is no Archon `{}`", name.value), hint);
            }
            Some(archon) if to.contains(archon) => {
                fault(format!("`{archon}` is in the list twice"), "remove one of them".to_owned());
            }
            Some(archon) => to.push(archon.clone()),
        }
    }
    to
}

fn tool_names(sheet: &Sheet<'_>, top: &mut Group<'_>, known: &[String]) -> Vec<String> {
    let written = top.list::<String>("tools", &[], any);
    names(sheet, "tool", written, known)
}

fn skills(sheet: &Sheet<'_>, top: &mut Group<'_>, known: &[String]) -> Skills {
    let written = top.list::<String>("skills", &[], any);
    if written.len() == 1 && written.iter().all(|name| name.value == ALL_SKILLS) {
        return Skills::All;
    }
    Skills::Named(names(sheet, "skill", written, known))
}

/// Those names that there are, each once.
fn names(sheet: &Sheet<'_>, kind: &str, written: Vec<Located<String>>, known: &[String]) -> Vec<String> {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for name in written {
        if !known.contains(&name.value) {
            let hint = match nearest(&name.value, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("this version has: {}", known.join(", ")),
            };
            sheet.fault(name.span, format!("there is no {kind} `{}`", name.value), Some(hint));
        } else if !seen.insert(name.value.clone()) {
            let hint = Some("remove one of them".to_owned());
            sheet.fault(name.span, format!("`{}` is in the list twice", name.value), hint);
        } else {
            names.push(name.value);
        }
    }
    names
}

/// The sources of the MCP servers that the profile names.
fn servers(sheet: &Sheet<'_>, top: &mut Group<'_>, known: &[String]) -> Vec<String> {
    let mut sources = Vec::new();
    for name in top.list::<String>("mcp", &[], any) {
        let source = source_name(&name.value);
        if !known.contains(&name.value) {
            let hint = match nearest(&name.value, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "`archond mcp add` adds one, `archond mcp list` shows all".to_owned(),
            };
            sheet.fault(name.span, format!("there is no MCP server `{}`", name.value), Some(hint));
        } else if sources.contains(&source) {
            let hint = Some("remove one of them".to_owned());
            sheet.fault(name.span, format!("`{}` is in the list twice", name.value), hint);
        } else {
            sources.push(source);
        }
    }
    sources
}

fn command(mut rule: Group<'_>) -> Option<CommandRule> {
    let begins = rule.required("begins", "how the command begins, like \"git status\"", words);
    let then = rule.required::<Word>("then", "Allow, Ask or Deny", any);
    rule.finish();
    Some(CommandRule { pattern: begins?.value, permission: then?.value.into() })
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn words(text: &String) -> Result<(), String> {
    if text.split_whitespace().next().is_some_and(|first| first != "*") {
        return Ok(());
    }
    Err("must name the program".to_owned())
}

fn limits(mut group: Group<'_>, default: ToolLimits) -> ToolLimits {
    let seconds = std::time::Duration::from_secs;
    let limits = ToolLimits {
        steps_max: group.value("steps_max", default.steps_max, within(1..=200, " steps")),
        same_call_max: group.value("same_call_max", default.same_call_max, within(1..=20, " calls")),
        same_error_max: group.value("same_error_max", default.same_error_max, within(1..=20, " calls")),
        time_max: duration(&mut group, "time_max", default.time_max, seconds(1), seconds(86_400)),
        call_time_max: duration(
            &mut group,
            "call_time_max",
            default.call_time_max,
            seconds(1),
            seconds(3600),
        ),
        tokens_max: u64::from(group.value(
            "tokens_max",
            u32::try_from(default.tokens_max).unwrap_or(u32::MAX),
            within(1000..=100_000_000, " tokens"),
        )),
        output_chars_max: group.value(
            "output_chars_max",
            default.output_chars_max,
            within(200..=100_000, " characters"),
        ),
        sent_bytes_max: group
            .value("send_max", Bytes(default.sent_bytes_max), within(Bytes(1 << 10)..=Bytes(2 << 30), ""))
            .0,
        schema_tokens_max: group.value(
            "schema_tokens_max",
            default.schema_tokens_max,
            within(200..=100_000, " tokens"),
        ),
    };
    group.finish();
    limits
}

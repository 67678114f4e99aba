//! `archond tool` and `archond sandbox`: which tools there are, one call by hand, and what holds them. Needs no daemon.
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use archond_actors::domain::{
    AGENT, ArchonId, ChannelId, Outcome, PeerId, Permission, Risk, SessionKey, ThreadId, ToolCall,
    ToolLimits, ToolOrder, ToolPolicy, ToolSpec,
};
use archond_actors::ports::ToolSource;
use clap::Subcommand;
use serde_json::json;

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::memory;
use super::runtime;
use super::settings_view::{SettingsCommandError, write_table};
use crate::models_on_disk;
use crate::settings::fault::nearest;
use crate::settings::{
    Fault, SettingsFaults, Sources, WebSettings, find_profiles, load_house, private_dir, profile,
};
use crate::tools::{
    self, AgentTools, BuiltIn, Directory, DirectoryTools, Listing, ProcessLimits, Reach, Row, WebAccess,
};

/// Time of a call that is made by hand, in seconds, when nothing else is said.
const CALL_SECONDS: u64 = 120;
/// Longest time of such a call, in seconds.
const CALL_SECONDS_MAX: u64 = 3600;
/// Shown where nothing is known.
const NOTHING: &str = "-";

/// Commands about tools.
#[derive(Debug, Subcommand)]
pub(super) enum ToolCommand {
    /// List the tools
    #[command(visible_alias = "ls")]
    List {
        /// Of this Archon
        archon: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make one call in an Archon's workspace and print its answer; exit code 1 if it fails
    Call {
        /// Which tool
        name: String,
        /// Its arguments, like '{"path": "notes.txt"}'
        #[arg(value_name = "JSON", default_value = "{}")]
        arguments: String,
        /// In whose workspace
        #[arg(long, default_value = "ezra")]
        archon: String,
        /// How many seconds it may take
        #[arg(long, value_name = "SECONDS", default_value_t = CALL_SECONDS,
              value_parser = clap::value_parser!(u64).range(1..=CALL_SECONDS_MAX))]
        timeout: u64,
    },
}

/// Commands about the sandbox.
#[derive(Debug, Subcommand)]
pub(super) enum SandboxCommand {
    /// Show what a tool of this Archon may read, write, run and reach, and what holds it on this machine
    Explain {
        /// Which
        archon: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command about tools.
pub(super) fn run(console: &mut Console, command: ToolCommand) -> Result<ExitCode, CliError> {
    let sources = models_on_disk::sources()?;
    match command {
        ToolCommand::List { archon, json } => {
            let archon = archon.map(|name| known(&sources, &name)).transpose()?;
            let policy = archon.map(|archon| policy_of(&sources, &archon)).transpose()?;
            let own = Directory::new(sources.paths.tools_dir()).read();
            list(console, &own, &WebAccess::new(&web_of(&sources)?, 0), policy.as_deref(), json)
        }
        ToolCommand::Call { name, arguments, archon, timeout } => {
            let archon = known(&sources, &archon)?;
            if tools::is_memory_tool(&name) {
                return memory::call(console, archon.to_string(), name, arguments);
            }
            let built_in = tools_of(&sources, &archon)?;
            let is_built_in = tools::built_in_names().contains(&name);
            let order = order(archon, name, arguments, timeout)?;
            let outcome = if is_built_in {
                runtime()?.block_on(built_in.call(order))
            } else {
                let own = Arc::new(Directory::new(sources.paths.tools_dir()));
                runtime()?.block_on(DirectoryTools::new(built_in, own).call(order))
            };
            match outcome {
                Outcome::Done { text } => {
                    console.write(&text)?;
                    console.end_line()?;
                    Ok(ExitCode::Ok)
                }
                failed @ (Outcome::Failed { .. } | Outcome::Unknown) => {
                    console.error(failed.words().trim_start_matches("error: "))?;
                    Ok(ExitCode::Failed)
                }
            }
        }
    }
}

/// Runs a command about the sandbox.
pub(super) fn explain(console: &mut Console, command: SandboxCommand) -> Result<ExitCode, CliError> {
    let SandboxCommand::Explain { archon, json } = command;
    let sources = models_on_disk::sources()?;
    let archon = known(&sources, &archon)?;
    let tools = tools_of(&sources, &archon)?;
    let mechanisms = runtime()?.block_on(tools.mechanisms());
    let reach = Reach::of(&tools, &mechanisms);
    if json {
        console.json(&reach)?;
    } else {
        let mut out = Vec::new();
        let cells = |row: &Row| [row.who.to_owned(), row.what.to_owned(), row.answer.clone()];
        write_table(&mut out, ["WHO", "MAY", "WHAT"], reach.may.iter().map(cells))?;
        out.push(b'\n');
        write_table(&mut out, ["HELD BY", "", ""], reach.held_by.iter().map(cells))?;
        console.exact(&String::from_utf8_lossy(&out))?;
    }
    Ok(if reach.is_closed { ExitCode::Ok } else { ExitCode::Failed })
}

/// Lists also those tools of the user's own that are left out, with what is wrong with them.
/// What an Archon may do with a tool, in a word.
fn permission(policy: &ToolPolicy, spec: &ToolSpec) -> &'static str {
    if !policy.tools.contains(&spec.tool.name) {
        return "not given";
    }
    let permissions = Risk::ALL.iter().zip(policy.permissions);
    let of_risk =
        permissions.filter(|(risk, _)| **risk == spec.risk).map(|(_, permission)| permission).next();
    match of_risk {
        Some(Permission::Allow) => "allow",
        Some(Permission::Ask) => "ask",
        Some(Permission::Deny) | None => "deny",
    }
}

/// The policy of an Archon, by its profile.
fn policy_of(sources: &Sources, archon: &ArchonId) -> Result<Arc<ToolPolicy>, CliError> {
    let (found, _) = find_profiles(&sources.paths);
    let source = found.get(archon).ok_or_else(|| SettingsCommandError::UnknownArchon {
        name: archon.to_string(),
        hint: "`archond archon list` shows all".to_owned(),
    })?;
    Ok(profile::read(source, &sources.known)
        .map_err(|faults| SettingsCommandError::from(SettingsFaults(faults)))?
        .spec
        .tools)
}

fn list(
    console: &mut Console,
    own: &Listing,
    web: &WebAccess,
    policy: Option<&ToolPolicy>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let built_in = tools::built_in();
    let built_in = built_in.iter().filter(|spec| web.offers(&spec.tool.name)).map(|spec| {
        let remembers = tools::is_memory_tool(&spec.tool.name);
        (spec, if remembers { tools::MEMORY } else { tools::SOURCE })
    });
    // Only who may ask somebody has the tool for it.
    let others = policy.map(|policy| &policy.delegates.to).filter(|others| !others.is_empty());
    let agent = others.map(|others| AgentTools::declared(others));
    let built_in = built_in.chain(agent.iter().map(|spec| (spec, AGENT)));
    let all: Vec<(&ToolSpec, &str)> =
        built_in.chain(own.tools.iter().map(|spec| (spec, tools::DIRECTORY))).collect();
    if json {
        let shown = |(spec, source): (&ToolSpec, &str)| {
            json!({
                "name": spec.tool.name,
                "risk": spec.risk.name(),
                "permission": policy.map(|policy| permission(policy, spec)),
                "source": source,
                "description": spec.tool.description,
                "parameters": serde_json::from_str::<serde_json::Value>(&spec.tool.parameters).unwrap_or_default(),
                "is_repeatable": spec.is_repeatable,
                "reads_private": spec.reads_private,
                "brings_outside_text": spec.brings_outside_text,
            })
        };
        let fault = |fault: &Fault| {
            let name = fault.path.file_stem().map(|stem| stem.to_string_lossy());
            json!({"name": name, "source": tools::DIRECTORY, "fault": fault.to_string()})
        };
        console.json(&all.into_iter().map(shown).chain(own.faults.iter().map(fault)).collect::<Vec<_>>())?;
        return Ok(ExitCode::Ok);
    }
    let mut out = Vec::new();
    let row = |(spec, source): (&ToolSpec, &str)| {
        let (tool, risk) = (&spec.tool, spec.risk.name());
        let permission = policy.map_or(NOTHING, |policy| permission(policy, spec));
        [
            tool.name.clone(),
            risk.to_owned(),
            permission.to_owned(),
            source.to_owned(),
            tool.description.clone(),
        ]
    };
    write_table(&mut out, ["NAME", "RISK", "PERMISSION", "SOURCE", "DESCRIPTION"], all.into_iter().map(row))?;
    for fault in &own.faults {
        writeln!(out, "\nleft out: {fault}")?;
    }
    console.exact(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::Ok)
}

/// An Archon that there is a profile for, be it right or wrong.
pub(super) fn known(sources: &Sources, name: &str) -> Result<ArchonId, CliError> {
    let (found, _) = find_profiles(&sources.paths);
    if let Some((id, _)) = found.iter().find(|(id, _)| id.as_str() == name) {
        return Ok(id.clone());
    }
    let hint = match nearest(name, found.keys().map(ArchonId::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`archond archon list` shows all".to_owned(),
    };
    Err(SettingsCommandError::UnknownArchon { name: name.to_owned(), hint }.into())
}

pub(super) fn tools_of(sources: &Sources, archon: &ArchonId) -> Result<BuiltIn, CliError> {
    private_dir(&sources.paths.state)?;
    // A profile that is wrong gives no skills and the usual limits; its workspace is there all the same.
    let policy = policy_of(sources, archon).unwrap_or_default();
    let limits = ProcessLimits { sent_bytes_max: policy.limits.sent_bytes_max, ..ProcessLimits::default() };
    let web = WebAccess::new(&web_of(sources)?, ToolLimits::default().output_chars_max);
    let grounds = tools::grounds(&sources.paths, archon, &policy.skills);
    Ok(BuiltIn::new(grounds, limits)?.with_web(web))
}

/// Where the settings of the house let tools go.
fn web_of(sources: &Sources) -> Result<WebSettings, CliError> {
    let (found, _) = find_profiles(&sources.paths);
    let archons: Vec<ArchonId> = found.into_keys().collect();
    let house =
        load_house(sources, &archons).map_err(|faults| SettingsCommandError::from(SettingsFaults(faults)))?;
    Ok(house.web)
}

fn order(archon: ArchonId, name: String, arguments: String, seconds: u64) -> Result<ToolOrder, CliError> {
    let by_hand = || -> Result<SessionKey, archond_actors::domain::IdError> {
        let peer = PeerId::new(&format!("uid{}", rustix::process::getuid().as_raw()))?;
        Ok(SessionKey {
            archon: archon.clone(),
            channel: ChannelId::new("cli")?,
            peer,
            thread: ThreadId::main(),
        })
    };
    let session = by_hand().map_err(SettingsCommandError::from)?;
    let call = ToolCall { id: "1".to_owned(), name, arguments };
    Ok(ToolOrder { archon, session, call, time_max: Duration::from_secs(seconds) })
}

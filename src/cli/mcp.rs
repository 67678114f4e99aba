//! `archond mcp`: which MCP servers there are, what they offer, and what of it the user has accepted. Needs no daemon.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::runtime;
use super::settings_view::write_table;
use super::tool::{known, tools_of};
use crate::mcp::{Accepted, McpDirectory, Offer, Pins, Standing, Tally, free_name, look};
use crate::models_on_disk;
use crate::settings::fault::nearest;
use crate::settings::{McpServer, ServerWay, Sources, private_dir, read_mcp_file};

/// Commands about MCP servers.
#[derive(Debug, Subcommand)]
pub(super) enum McpCommand {
    /// List the servers, with how many of their tools are accepted
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a server offered last, and what of it is accepted
    Show {
        /// Which
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a server: a command behind `--`, or the URL of one that runs
    Add(AddArgs),
    /// Start a server, or ask the one that runs, and show what it offers now; exit code 1 if that fails
    Test {
        /// Which
        name: String,
        /// In whose workspace
        #[arg(long, default_value = "ezra")]
        archon: String,
    },
    /// Accept what a server offers now: its tools, as they are described; all, or those that are named
    Accept {
        /// Which
        name: String,
        /// The tools, by the server's own names
        tools: Vec<String>,
        /// In whose workspace
        #[arg(long, default_value = "ezra")]
        archon: String,
    },
    /// Remove a server, and what was accepted of it
    #[command(visible_alias = "rm")]
    Remove {
        /// Which
        name: String,
    },
}

/// What a new server is.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Its name: small letters and digits; the names of its tools begin with it
    name: String,
    /// Where it runs, like http://127.0.0.1:3001/mcp
    #[arg(long, conflicts_with = "command")]
    url: Option<String>,
    /// Where the key is that it wants: `file:/PATH` or `env:VARIABLE`
    #[arg(long, value_name = "PLACE", requires = "url")]
    key: Option<String>,
    /// A variable of its environment, NAME=VALUE
    #[arg(long, value_name = "PAIR")]
    env: Vec<String>,
    /// A secret variable, NAME=file:/PATH or NAME=env:VARIABLE
    #[arg(long, value_name = "PAIR")]
    secret: Vec<String>,
    /// A folder that it may read, and run programs from
    #[arg(long, value_name = "FOLDER")]
    reads: Vec<PathBuf>,
    /// A folder that it may write, beside the Archon's workspace
    #[arg(long, value_name = "FOLDER")]
    writes: Vec<PathBuf>,
    /// It may talk to other machines
    #[arg(long)]
    network: bool,
    /// The program and its arguments; it works in the Archon's workspace
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs a command about MCP servers.
pub(super) fn run(console: &mut Console, command: McpCommand) -> Result<ExitCode, CliError> {
    let sources = models_on_disk::sources()?;
    match command {
        McpCommand::List { json } => list(console, &sources, json),
        McpCommand::Show { name, json } => show(console, &sources, &find(&sources, &name)?, json),
        McpCommand::Add(args) => add(console, &sources, &args),
        McpCommand::Test { name, archon } => {
            let server = find(&sources, &name)?;
            let offers = asked(console, &sources, &server, &archon)?;
            show_offers(console, &server, accepted(&sources, &server)?.as_ref(), &offers)?;
            Ok(ExitCode::Ok)
        }
        McpCommand::Accept { name, tools, archon } => {
            accept(console, &sources, &find(&sources, &name)?, &tools, &archon)
        }
        McpCommand::Remove { name } => remove(console, &sources, &name),
    }
}

fn usage(message: String) -> CliError {
    CliError::Usage { message }
}

/// A sound server by name; otherwise what is wrong with it, or the one that was meant.
fn find(sources: &Sources, name: &str) -> Result<McpServer, CliError> {
    let directory = McpDirectory::read(&sources.paths.mcp_dir());
    if let Some(server) = directory.find(name) {
        return Ok(server.clone());
    }
    let is_it = |path: &Path| path.file_stem().is_some_and(|stem| stem.to_string_lossy() == name);
    let faults: Vec<String> =
        directory.faults.iter().filter(|fault| is_it(&fault.path)).map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(usage(faults.join("\n")));
    }
    let hint = match nearest(name, directory.servers.iter().map(|server| server.name.as_str())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`archond mcp list` shows all, `archond mcp add` adds one".to_owned(),
    };
    Err(usage(format!("there is no MCP server `{name}`; {hint}")))
}

fn pins(sources: &Sources) -> Pins {
    Pins::new(sources.paths.mcp_accepted_dir())
}

fn accepted(sources: &Sources, server: &McpServer) -> Result<Option<Accepted>, CliError> {
    pins(sources).read(&server.name).map_err(|error| usage(error.to_string()))
}

/// Starts the server once, or asks the one that runs, and keeps what it offers for `list` and `show`.
fn asked(
    console: &mut Console,
    sources: &Sources,
    server: &McpServer,
    archon: &str,
) -> Result<Vec<Offer>, CliError> {
    let tools = tools_of(sources, &known(sources, archon)?)?;
    console.progress(&format!("asking {}", server.name))?;
    let offers = runtime()?.block_on(look(server, &tools));
    console.erase_progress()?;
    let offers = offers.map_err(|why| CliError::Mcp { name: server.name.clone(), why })?;
    let seen = Pins::new(sources.paths.mcp_seen_dir());
    // The next who asks sees it again.
    let _kept = seen.write(&server.name, &Accepted::new(server, offers.clone()));
    Ok(offers)
}

/// How a server stands as a whole, in a word for lists.
fn state(server: &McpServer, accepted: Option<&Accepted>, tally: Tally) -> &'static str {
    match accepted {
        None => "not accepted",
        Some(accepted) if !accepted.is_of(server) => "changed",
        Some(_) if tally.waiting > 0 => "tools wait",
        Some(_) => "accepted",
    }
}

fn list(console: &mut Console, sources: &Sources, json: bool) -> Result<ExitCode, CliError> {
    let directory = McpDirectory::read(&sources.paths.mcp_dir());
    let seen = Pins::new(sources.paths.mcp_seen_dir());
    let mut rows = Vec::new();
    for server in &directory.servers {
        let accepted = accepted(sources, server)?;
        // What was seen last is a help; where it cannot be read, what was accepted has to do.
        let offers = seen.read(&server.name).ok().flatten().map(|seen| seen.tools);
        let offers = offers.or_else(|| accepted.clone().map(|accepted| accepted.tools)).unwrap_or_default();
        let nothing = Accepted::new(server, Vec::new());
        let tally = Tally::of(&accepted.as_ref().unwrap_or(&nothing).compare(&server.name, &offers));
        rows.push((server, state(server, accepted.as_ref(), tally), tally));
    }
    if json {
        let mut all: Vec<serde_json::Value> = rows
            .iter()
            .map(|(server, state, tally)| json!({"name": server.name, "way": way(server), "state": state, "tools": tally}))
            .collect();
        all.extend(directory.faults.iter().map(|fault| json!({"fault": fault.to_string()})));
        console.json(&all)?;
        return Ok(ExitCode::Ok);
    }
    let mut out = Vec::new();
    let cells = |(server, state, tally): &(&McpServer, &str, Tally)| {
        let counted = format!("{} accepted, {} wait, {} lost", tally.accepted, tally.waiting, tally.lost);
        [server.name.clone(), (*state).to_owned(), counted, way(server)]
    };
    write_table(&mut out, ["NAME", "STATE", "TOOLS", "COMMAND OR URL"], rows.iter().map(cells))?;
    let mut text = String::from_utf8_lossy(&out).into_owned();
    for fault in &directory.faults {
        let _written = writeln!(text, "\nleft out: {fault}");
    }
    console.exact(&text)?;
    for (server, state, _) in rows.iter().filter(|(_, state, _)| *state != "accepted") {
        let name = &server.name;
        console
            .note(&format!("{name}: {state}; `archond mcp show {name}`, then `archond mcp accept {name}`"))?;
    }
    Ok(ExitCode::Ok)
}

fn way(server: &McpServer) -> String {
    match &server.way {
        ServerWay::Program(program) => shell_words::join(&program.command),
        ServerWay::Http(http) => http.url.to_string(),
    }
}

fn show(
    console: &mut Console,
    sources: &Sources,
    server: &McpServer,
    json: bool,
) -> Result<ExitCode, CliError> {
    let accepted = accepted(sources, server)?;
    let seen = Pins::new(sources.paths.mcp_seen_dir()).read(&server.name);
    let offers = seen.map_err(|error| usage(error.to_string()))?.map(|seen| seen.tools);
    let Some(offers) = offers.or_else(|| accepted.clone().map(|accepted| accepted.tools)) else {
        let name = &server.name;
        return Err(usage(format!(
            "nobody has asked `{name}` what it offers; `archond mcp test {name}` does"
        )));
    };
    if !json {
        show_offers(console, server, accepted.as_ref(), &offers)?;
        return Ok(ExitCode::Ok);
    }
    let nothing = Accepted::new(server, Vec::new());
    let standings = accepted.as_ref().unwrap_or(&nothing).compare(&server.name, &offers);
    let shown = |(name, standing): (String, Standing)| {
        let offer = offers.iter().find(|offer| offer.name == name);
        json!({
            "name": name,
            "state": standing.word(),
            "why": if let Standing::Unusable(why) = &standing { Some(why) } else { None },
            "description": offer.map(|offer| &offer.description),
            "parameters": offer.and_then(|offer| serde_json::from_str::<serde_json::Value>(&offer.parameters).ok()),
            "hash": offer.map(Offer::hash),
        })
    };
    console.json(&standings.into_iter().map(shown).collect::<Vec<_>>())?;
    Ok(ExitCode::Ok)
}

/// Every word that a model would be told: that is what is accepted. Of what changed also what it was.
fn show_offers(
    console: &mut Console,
    server: &McpServer,
    accepted: Option<&Accepted>,
    offers: &[Offer],
) -> Result<(), CliError> {
    let nothing = Accepted::new(server, Vec::new());
    let before = accepted.unwrap_or(&nothing);
    let standings = before.compare(&server.name, offers);
    let mut text = format!("{}: {}\n", server.name, state(server, accepted, Tally::of(&standings)));
    for (name, standing) in &standings {
        let why = if let Standing::Unusable(why) = standing { format!(": {why}") } else { String::new() };
        let _written = writeln!(text, "\n{name} ({}{why})", standing.word());
        let (old, new) = (of(&before.tools, name), of(offers, name));
        match (old, new) {
            (Some(old), Some(new)) if *standing == Standing::Changed => {
                let _written = writeln!(text, "  was: {}\n       {}", old.description, old.parameters);
                let _written = writeln!(text, "  is:  {}\n       {}", new.description, new.parameters);
            }
            (_, Some(offer)) | (Some(offer), None) => {
                let _written = writeln!(text, "  {}\n  {}", offer.description, offer.parameters);
            }
            (None, None) => {}
        }
    }
    console.exact(&text)?;
    Ok(())
}

fn of<'o>(offers: &'o [Offer], name: &str) -> Option<&'o Offer> {
    offers.iter().find(|offer| offer.name == name)
}

fn accept(
    console: &mut Console,
    sources: &Sources,
    server: &McpServer,
    wanted: &[String],
    archon: &str,
) -> Result<ExitCode, CliError> {
    let offers = asked(console, sources, server, archon)?;
    let before = accepted(sources, server)?;
    let nothing = Accepted::new(server, Vec::new());
    let standings = before.as_ref().unwrap_or(&nothing).compare(&server.name, &offers);
    if let Some(unknown) = wanted.iter().find(|name| of(&offers, name).is_none()) {
        let hint = nearest(unknown, offers.iter().map(|offer| offer.name.as_str()));
        let hint = hint.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        return Err(usage(format!("`{}` has no tool `{unknown}`{hint}", server.name)));
    }
    let is_taken = |offer: &&Offer| {
        let standing = standings.iter().find(|(name, _)| *name == offer.name).map(|(_, standing)| standing);
        match standing {
            Some(Standing::Accepted) => true,
            Some(Standing::New | Standing::Changed) => wanted.is_empty() || wanted.contains(&offer.name),
            Some(Standing::Gone | Standing::Unusable(_)) | None => false,
        }
    };
    let taken: Vec<Offer> = offers.iter().filter(is_taken).cloned().collect();
    show_offers(console, server, before.as_ref(), &offers)?;
    let (count, name) = (taken.len(), &server.name);
    pins(sources).write(name, &Accepted::new(server, taken)).map_err(|error| usage(error.to_string()))?;
    console.note(&format!(
        "{count} of {} tools are accepted as they stand above. An Archon has them whose profile says mcp: [\"{name}\"]",
        offers.len()
    ))?;
    Ok(ExitCode::Ok)
}

fn add(console: &mut Console, sources: &Sources, args: &AddArgs) -> Result<ExitCode, CliError> {
    let folder = sources.paths.mcp_dir();
    let path = free_name(&folder, &args.name).map_err(usage)?;
    if args.command.is_empty() && args.url.is_none() {
        let example = "archond mcp add files -- npx-server /data";
        return Err(usage(format!(
            "say how the server is reached: --url, or its command behind `--`: {example}"
        )));
    }
    private_dir(&folder)?;
    std::fs::write(&path, text_of(args)).map_err(|source| CliError::Create { path: path.clone(), source })?;
    if let Err(faults) = read_mcp_file(&path) {
        // It was made a moment ago, and is of no use.
        let _removed = std::fs::remove_file(&path);
        return Err(usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    }
    let name = &args.name;
    console.note(&format!(
        "{} is written. `archond mcp test {name}` shows what it offers, `archond mcp accept {name}` accepts it",
        path.display()
    ))?;
    Ok(ExitCode::Ok)
}

/// The file of a new server.
fn text_of(args: &AddArgs) -> String {
    let quoted = |text: &str| ron::to_string(text).unwrap_or_default();
    let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let mut text = String::from("(\n");
    let mut field = |name: &str, value: String| {
        let _written = writeln!(text, "    {name}: {value},");
    };
    if let Some(url) = &args.url {
        field("url", quoted(url));
    }
    if let Some(key) = &args.key {
        field("key", quoted(key));
    }
    if !args.command.is_empty() {
        field("command", format!("[{}]", list(&args.command)));
    }
    for (name, items) in [("env", &args.env), ("secrets", &args.secret)] {
        if !items.is_empty() {
            field(name, format!("[{}]", list(items)));
        }
    }
    let shown = |paths: &[PathBuf]| -> Vec<String> {
        paths
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string())
            .collect()
    };
    let mut reads = shown(&args.reads);
    reads.extend(
        folders_of(&args.command).into_iter().filter(|folder| !args.reads.contains(&PathBuf::from(folder))),
    );
    for (name, folders) in [("reads", reads), ("writes", shown(&args.writes))] {
        if !folders.is_empty() {
            field(name, format!("[{}]", list(&folders)));
        }
    }
    if args.network {
        field("network", "true".to_owned());
    }
    text + ")\n"
}

/// The folders that the programs and scripts of a command come from: it could not even start without these.
fn folders_of(command: &[String]) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for word in command.iter().filter(|word| word.starts_with('/')) {
        let path = Path::new(word);
        // A script of a package needs what was installed beside it.
        let packages = path.ancestors().filter(|place| place.ends_with("node_modules")).last();
        let folder = if path.is_file() { packages.or(path.parent()) } else { None };
        let shown = folder.map(|folder| folder.display().to_string());
        folders.extend(shown.filter(|shown| !shown.starts_with("/usr/") && !folders.contains(shown)));
    }
    folders
}

fn remove(console: &mut Console, sources: &Sources, name: &str) -> Result<ExitCode, CliError> {
    let path = sources.paths.mcp_dir().join(format!("{name}.ron"));
    // Only names of servers are paths here.
    if crate::settings::mcp_file::name_fault(name).is_some() || !path.is_file() {
        find(sources, name)?;
    }
    std::fs::remove_file(&path).map_err(|source| CliError::Create { path: path.clone(), source })?;
    for kept in [pins(sources), Pins::new(sources.paths.mcp_seen_dir())] {
        kept.remove(name).map_err(|error| usage(error.to_string()))?;
    }
    console.note(&format!("{name} is removed; take it out of `mcp` in the profiles that name it"))?;
    Ok(ExitCode::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("node_modules/x/dist/index.js");
        std::fs::create_dir_all(script.parent().unwrap()).unwrap();
        std::fs::write(&script, "").unwrap();
        let args = AddArgs {
            name: "files".into(),
            url: None,
            key: None,
            env: vec!["A=\"b\"\\".into()],
            secret: vec!["K=env:KEY".into()],
            reads: vec!["/opt/data".into()],
            writes: vec![],
            network: true,
            command: vec!["node".into(), script.display().to_string(), "a \"b\"\n".into()],
        };
        let path = home.path().join("files.ron");
        std::fs::write(&path, text_of(&args)).unwrap();
        let server = read_mcp_file(&path).unwrap();
        let ServerWay::Program(program) = server.way else { panic!("it is a program") };
        assert_eq!(program.command, args.command);
        assert_eq!(program.env, [("A".to_owned(), "\"b\"\\".to_owned())]);
        assert_eq!(program.reads, [PathBuf::from("/opt/data"), home.path().join("node_modules")]);
        assert!(program.network);
    }
}

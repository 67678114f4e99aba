//! `archond archon`: look at profiles, begin one, check them. Needs no daemon.
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use archond_actors::domain::ArchonId;
use clap::Subcommand;
use serde_json::json;

use super::settings_view::{SettingsCommandError, write_effective, write_json, write_table};
use crate::settings::fault::nearest;
use crate::settings::{
    Fault, Origin, Profile, ProfileSource, SHIPPED, SettingsFaults, Sources, find_profiles, profile,
    read_profile_file,
};

/// What a profile of one's own begins with.
const TEMPLATE: &str = include_str!("../settings/new_profile.ron");

/// Commands about profiles.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ArchonCommand {
    /// List the Archons that there are profiles for
    #[command(visible_alias = "ls")]
    List,
    /// Show every field of a profile: its value, and whether it is written or a default
    Show {
        /// The Archon's name
        name: String,
    },
    /// Begin a profile of your own, with comments; a shipped Archon's name copies its profile for you to change
    New {
        /// The Archon's name: 1 to 32 characters a-z, 0-9 and -
        name: String,
    },
    /// Find every mistake in a profile, or in all of them; exit code 64 if there is one
    Check {
        /// An Archon's name or a file; all profiles if left out
        what: Option<String>,
    },
}

/// Runs a command. Results go to `out`; faults are in the error, whose exit code they decide.
pub fn run(
    command: &ArchonCommand,
    sources: &Sources,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), SettingsCommandError> {
    match command {
        ArchonCommand::List => list(sources, json, out),
        ArchonCommand::Show { name } => show(name, sources, json, out),
        ArchonCommand::New { name } => new(name, sources, out),
        ArchonCommand::Check { what } => check(what.as_deref(), sources, out),
    }
}

/// Lists also those profiles that are wrong, so that one bad file does not hide the others.
fn list(sources: &Sources, json: bool, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let (found, unreadable) = find_profiles(&sources.paths);
    let archons: Vec<_> =
        found.values().map(|source| (source, profile::read(source, &sources.known))).collect();
    if json {
        let entry = |(source, outcome): &(&ProfileSource, Result<Profile, Vec<Fault>>)| match outcome {
            Ok(profile) => json!({
                "name": source.id.as_str(),
                "display_name": profile.spec.display_name,
                "description": profile.spec.description,
                "model": profile.spec.route.default.as_str(),
                "origin": origin(source),
                "faults": [],
            }),
            Err(faults) => json!({
                "name": source.id.as_str(),
                "origin": origin(source),
                "faults": faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
        };
        write_json(out, &archons.iter().map(entry).collect())?;
    } else {
        let row = |(source, outcome): (&ProfileSource, Result<Profile, Vec<Fault>>)| {
            let (description, model) = match outcome {
                Ok(profile) => (profile.spec.description, profile.spec.route.default.to_string()),
                Err(_) => (format!("has faults: archond archon check {}", source.id), "-".to_owned()),
            };
            [source.id.to_string(), description, model, origin(source)]
        };
        write_table(out, ["NAME", "DESCRIPTION", "MODEL", "PROFILE"], archons.into_iter().map(row))?;
    }
    if unreadable.is_empty() { Ok(()) } else { Err(SettingsFaults(unreadable).into()) }
}

fn show(name: &str, sources: &Sources, json: bool, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let source = named(name, sources)?;
    let profile = profile::read(&source, &sources.known).map_err(SettingsFaults)?;
    if json {
        let shown =
            json!({ "name": source.id.as_str(), "origin": origin(&source), "settings": profile.effective });
        return Ok(write_json(out, &shown)?);
    }
    writeln!(out, "{} ({}), profile: {}\n", profile.spec.display_name, source.id, origin(&source))?;
    write_effective(out, profile.effective.iter().filter(|setting| setting.name != "persona"))?;
    writeln!(out, "\npersona:")?;
    for line in profile.spec.persona.lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn check(what: Option<&str>, sources: &Sources, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let (profiles, mut faults) = match what {
        None => {
            let (found, faults) = find_profiles(&sources.paths);
            (found.into_values().collect(), faults)
        }
        Some(file) if file.contains('/') || file.ends_with(".ron") => {
            match read_profile_file(Path::new(file)) {
                Ok(source) => (vec![source], Vec::new()),
                Err(fault) => (Vec::new(), vec![fault]),
            }
        }
        Some(name) => (vec![named(name, sources)?], Vec::new()),
    };
    for source in &profiles {
        match profile::read(source, &sources.known) {
            Ok(_) => writeln!(out, "{}: good ({})", source.id, origin(source))?,
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(SettingsFaults(faults).into()) }
}

fn new(name: &str, sources: &Sources, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let id = ArchonId::new(name)?;
    let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text);
    let text = shipped.map_or_else(|| from_template(&id), str::to_owned);
    let path = sources.paths.profiles_dir().join(format!("{id}.ron"));
    create(&path, &text).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SettingsCommandError::Exists { path: path.clone() },
        _ => SettingsCommandError::Create { path: path.clone(), source },
    })?;
    writeln!(out, "wrote {}", path.display())?;
    if shipped.is_some() {
        writeln!(out, "it replaces the shipped profile of {id}; remove the file to go back")?;
    }
    writeln!(out, "edit it, then: archond archon check {id} && archond start {id}")?;
    Ok(())
}

fn from_template(id: &ArchonId) -> String {
    TEMPLATE.replace("{name}", id.as_str()).replace("{display_name}", &profile::capitalised(id.as_str()))
}

/// Writes a new file whole or not at all, and never over another one.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // A persona may say much about its owner.
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Hidden, and not ending in .ron: a half-written file is never taken for a profile.
    let half = path.with_file_name(format!(".{}.{}.new", file_name(path), std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &half, here, path, rustix::fs::RenameFlags::NOREPLACE)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // Best effort: the first error is the one to tell.
        let _ = std::fs::remove_file(&half);
    }
    written
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn named(name: &str, sources: &Sources) -> Result<ProfileSource, SettingsCommandError> {
    let (mut found, faults) = find_profiles(&sources.paths);
    if let Some(source) = ArchonId::new(name).ok().and_then(|id| found.remove(&id)) {
        return Ok(source);
    }
    // A file of this name that could not be read is the better answer.
    let own = sources.paths.profiles_dir().join(format!("{name}.ron"));
    if let Some(fault) = faults.into_iter().find(|fault| fault.path == own) {
        return Err(SettingsFaults(vec![fault]).into());
    }
    let hint = match nearest(name, found.keys().map(ArchonId::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("`archond archon list` shows all, `archond archon new {name}` begins one"),
    };
    Err(SettingsCommandError::UnknownArchon { name: name.to_owned(), hint })
}

fn origin(source: &ProfileSource) -> String {
    match &source.origin {
        Origin::Shipped => "shipped".to_owned(),
        Origin::User(path) => path.display().to_string(),
    }
}

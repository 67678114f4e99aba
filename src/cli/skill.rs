//! `archond skill`: which skills there are, and what they say. Needs no daemon.
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::settings_view::{SettingsCommandError, write_table};
use crate::models_on_disk;
use crate::settings::fault::nearest;
use crate::skills::{Origin, Shelf, Skill, SkillFolder};

/// Shown of a description, in characters: a list has a line for each.
const LINE_CHARS_MAX: usize = 80;

/// Commands about skills.
#[derive(Debug, Subcommand)]
pub(super) enum SkillCommand {
    /// List the skills, also those that are left out, with what is wrong; exit code 64 if there are such
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a skill says
    Show {
        /// Which
        name: String,
    },
}

/// Runs a command about skills.
pub(super) fn run(console: &mut Console, command: SkillCommand) -> Result<ExitCode, CliError> {
    let sources = models_on_disk::sources()?;
    let shelf = SkillFolder::new(sources.paths.skills_dir()).read();
    match command {
        SkillCommand::List { json } => list(console, &shelf, json),
        SkillCommand::Show { name } => {
            let skill =
                shelf.skills.iter().find(|skill| skill.name == name).ok_or_else(|| unknown(&name, &shelf))?;
            console.write(&skill.text)?;
            console.end_line()?;
            Ok(ExitCode::Ok)
        }
    }
}

fn unknown(name: &str, shelf: &Shelf) -> SettingsCommandError {
    let hint = match nearest(name, shelf.skills.iter().map(|skill| skill.name.as_str())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`archond skill list` shows all".to_owned(),
    };
    SettingsCommandError::UnknownSkill { name: name.to_owned(), hint }
}

fn list(console: &mut Console, shelf: &Shelf, json: bool) -> Result<ExitCode, CliError> {
    let code = if shelf.faults.is_empty() { ExitCode::Ok } else { ExitCode::BadSettings };
    if json {
        let sound = |skill: &Arc<Skill>| {
            let (from, path) = origin(skill);
            json!({
                "name": skill.name, "from": from, "path": path, "description": skill.description,
                "license": skill.license, "state": "ok", "characters": skill.text.chars().count(),
            })
        };
        let left_out = |left: &crate::skills::SkillFault| json!({"name": left.name, "state": "left out", "path": left.fault.path, "fault": left.fault.to_string()});
        let all: Vec<_> = shelf.skills.iter().map(sound).chain(shelf.faults.iter().map(left_out)).collect();
        console.json(&all)?;
        return Ok(code);
    }
    let row = |skill: &Arc<Skill>| {
        let (from, path) = origin(skill);
        [
            skill.name.clone(),
            path.unwrap_or_else(|| from.to_owned()),
            cut(&skill.description),
            "ok".to_owned(),
        ]
    };
    let left_out = |left: &crate::skills::SkillFault| {
        [left.name.clone(), left.fault.path.display().to_string(), String::new(), "left out".to_owned()]
    };
    let mut out = Vec::new();
    let rows = shelf.skills.iter().map(row).chain(shelf.faults.iter().map(left_out));
    write_table(&mut out, ["NAME", "FROM", "DESCRIPTION", "STATE"], rows)?;
    console.exact(&String::from_utf8_lossy(&out))?;
    for left in &shelf.faults {
        console.error(&format!("left out: {}", left.fault))?;
    }
    Ok(code)
}

fn origin(skill: &Skill) -> (&'static str, Option<String>) {
    match &skill.origin {
        Origin::Shipped => ("shipped", None),
        Origin::User(folder) => ("user", Some(folder.display().to_string())),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LINE_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect()
}

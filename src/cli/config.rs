//! `archond config`: the settings of the house, their values, and where each comes from. Needs no daemon.
use std::io::Write;

use archond_actors::domain::ArchonId;
use clap::Subcommand;
use serde_json::json;

use super::settings_view::{SettingsCommandError, write_effective, write_json};
use crate::settings::{Settings, SettingsFaults, Sources, find_profiles, load_house};

/// Commands about the house's settings.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting: its value, and whether it comes from the file, an environment variable or a default
    Show,
    /// Find every mistake in the settings and all profiles; exit code 64 if there is one
    Check,
    /// Print where the settings file is; your own profiles are in the folder `archons` beside it
    Path,
}

/// Runs a command. Results go to `out`; faults are in the error, whose exit code they decide.
pub fn run(
    command: &ConfigCommand,
    sources: &Sources,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), SettingsCommandError> {
    match command {
        ConfigCommand::Show => show(sources, json, out),
        ConfigCommand::Check => check(sources, out),
        ConfigCommand::Path => path(sources, json, out),
    }
}

fn show(sources: &Sources, json: bool, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    // Faults in profiles are not this command's affair, only their names are.
    let names: Vec<ArchonId> = find_profiles(&sources.paths).0.into_keys().collect();
    let house = load_house(sources, &names).map_err(SettingsFaults)?;
    let file = sources.paths.house_file();
    if json {
        return Ok(write_json(
            out,
            &json!({ "file": file, "exists": file.exists(), "settings": house.effective }),
        )?);
    }
    let note = if file.exists() { "" } else { " (does not exist: all defaults)" };
    writeln!(out, "settings file: {}{note}", file.display())?;
    writeln!(out, "a variable overrides a setting: ARCHOND_WORKER_SLOTS=4 sets worker.slots\n")?;
    Ok(write_effective(out, &house.effective)?)
}

fn check(sources: &Sources, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let settings = Settings::load(sources)?;
    let names: Vec<&str> = settings.archons.keys().map(ArchonId::as_str).collect();
    writeln!(out, "all settings are good; Archons: {}", names.join(", "))?;
    Ok(())
}

fn path(sources: &Sources, json: bool, out: &mut dyn Write) -> Result<(), SettingsCommandError> {
    let paths = &sources.paths;
    if json {
        let shown = json!({
            "file": paths.house_file(),
            "archons": paths.profiles_dir(),
            "data": paths.data,
            "state": paths.state,
            "run": paths.run,
        });
        return Ok(write_json(out, &shown)?);
    }
    Ok(writeln!(out, "{}", paths.house_file().display())?)
}

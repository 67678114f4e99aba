//! Where this command finds the house: its socket, its logs, its small files.
use std::collections::BTreeMap;
use std::path::PathBuf;

use archond_models::library::Library;

use super::error::CliError;

use crate::daemon::worker_limits;
use crate::engine::WorkerLimits;
use crate::models_on_disk::{self, ModelsOnDisk};
use crate::settings::{
    Environment, HouseSettings, Known, Paths, Settings, SettingsFaults, Sources, find_profiles, load_house,
};

/// The places of one house, from its settings.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Where the daemon listens.
    pub(super) socket: PathBuf,
    /// Files that may be lost: input history.
    pub(super) state: PathBuf,
    /// The log files.
    pub(super) logs: PathBuf,
}

impl Places {
    /// Reads the house's settings; neither profiles nor the catalogue are looked into.
    pub(super) fn find() -> Result<Self, CliError> {
        let env = Environment::of_process();
        let paths = Paths::find(&env)?;
        let sources = Sources { paths, env, known: Known::default() };
        let house = house(&sources)?;
        Ok(Self { socket: house.socket, logs: sources.paths.logs(), state: sources.paths.state })
    }
}

/// The models on disk.
pub(super) fn library() -> Result<Library, CliError> {
    let sources = models_on_disk::sources()?;
    let directory = house(&sources)?.models_dir;
    Ok(ModelsOnDisk::new(&sources.paths, directory).library()?)
}

/// The models on disk, and how a worker would be run that gives conversations of the usual length.
pub(super) fn library_and_limits() -> Result<(Library, WorkerLimits), CliError> {
    let sources = models_on_disk::sources()?;
    let house = house(&sources)?;
    let library = ModelsOnDisk::new(&sources.paths, house.models_dir.clone()).library()?;
    let settings = Settings { house, archons: BTreeMap::new(), paths: sources.paths };
    Ok((library, worker_limits(&settings)))
}

fn house(sources: &Sources) -> Result<HouseSettings, CliError> {
    let (profiles, _) = find_profiles(&sources.paths);
    let archons: Vec<_> = profiles.into_keys().collect();
    Ok(load_house(sources, &archons).map_err(SettingsFaults)?)
}

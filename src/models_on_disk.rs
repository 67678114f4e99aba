//! Which models there are: the catalogue with the user's own additions, and the folder that holds the files.
//!
//! Read anew whenever it is asked for, so that a model that was pulled or imported is there at once, without a restart.
use std::path::PathBuf;

use archond_actors::domain::ModelId;
use archond_models::catalogue::{Catalogue, CatalogueError};
use archond_models::library::Library;

use crate::mcp;
use crate::settings::{Environment, Known, Paths, PathsError, Sources, find_channels, find_profiles};
use crate::skills;
use crate::tools::known_names;

/// The user's own catalogue files, in the folder of the settings.
const USER_CATALOGUE: &str = "models";

/// Why it is not known which models there are.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The folders cannot be found.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// A catalogue file is wrong.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// The two folders.
#[derive(Debug, Clone)]
pub struct ModelsOnDisk {
    /// Holds the files.
    pub directory: PathBuf,
    /// Holds the user's own catalogue files.
    pub user_catalogue: PathBuf,
}

impl ModelsOnDisk {
    /// The folders of a house whose model files are in `directory`.
    pub fn new(paths: &Paths, directory: PathBuf) -> Self {
        Self { directory, user_catalogue: paths.config.join(USER_CATALOGUE) }
    }

    /// What is there now.
    pub fn library(&self) -> Result<Library, ModelsError> {
        Ok(Library::open(&self.directory, Catalogue::load(Some(&self.user_catalogue))?))
    }
}

/// Where settings come from, with the names of all models, which profiles may name.
pub fn sources() -> Result<Sources, ModelsError> {
    let env = Environment::of_process();
    let paths = Paths::find(&env)?;
    let catalogue = Catalogue::load(Some(&paths.config.join(USER_CATALOGUE)))?;
    let models = catalogue.iter().filter_map(|model| ModelId::new(&model.id).ok()).collect();
    let (tools, skills) = (known_names(&paths), skills::known_names(&paths));
    let servers = mcp::server_names(&paths);
    let archons = find_profiles(&paths).0.into_keys().collect();
    let channels = find_channels(&paths).0;
    Ok(Sources { paths, env, known: Known { models, tools, skills, servers, archons, channels } })
}

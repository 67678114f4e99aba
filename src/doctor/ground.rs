//! What the checks stand on: the house's settings as far as they can be read, and every fault in them.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archond_actors::domain::ModelId;
use archond_models::catalogue::Catalogue;
use archond_models::library::Library;

use super::finding::Finding;
use crate::daemon::{STORE_FILE, worker_limits};
use crate::engine::WorkerLimits;
use crate::mcp;
use crate::models_on_disk::ModelsOnDisk;
use crate::settings::{
    ALL_LAYERS, Amount, Environment, GatewaySettings, HouseSettings, Known, LogLevel, MemorySettings, Origin,
    Paths, PathsError, Settings, Sources, WebSettings, WorkerSettings, find_channels, find_profiles,
    load_house,
};
use crate::skills;
use crate::tools::known_names;

/// One house, as it would run; what cannot be read is as if nothing were set.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The settings.
    pub settings: Settings,
    /// The models.
    pub library: Library,
    /// Every fault in settings, profiles and the catalogue.
    pub faults: Vec<String>,
}

impl Ground {
    /// Reads everything that a person can write.
    pub fn survey() -> Result<Self, PathsError> {
        let env = Environment::of_process();
        let paths = Paths::find(&env)?;
        Ok(Self::of(paths, env))
    }

    /// The same for a house of the caller's choice.
    pub fn of(paths: Paths, env: Environment) -> Self {
        let on_disk = ModelsOnDisk::new(&paths, PathBuf::new());
        let mut faults = Vec::new();
        let catalogue = Catalogue::load(Some(&on_disk.user_catalogue)).unwrap_or_else(|error| {
            faults.extend(error.faults.iter().map(ToString::to_string));
            // The shipped part alone: a test proves that it is sound.
            Catalogue::load(None).unwrap_or_default()
        });
        let models = catalogue.iter().filter_map(|model| ModelId::new(&model.id).ok()).collect();
        let (tools, skills) = (known_names(&paths), skills::known_names(&paths));
        let servers = mcp::server_names(&paths);
        let archons = find_profiles(&paths).0.into_keys().collect();
        let channels = find_channels(&paths).0;
        let sources =
            Sources { paths, env, known: Known { models, tools, skills, servers, archons, channels } };
        let settings = Settings::load(&sources).unwrap_or_else(|all| {
            faults.extend(all.0.iter().map(ToString::to_string));
            as_far_as_possible(&sources)
        });
        let library = Library::open(&settings.house.models_dir, catalogue);
        Self { settings, library, faults }
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.settings.house.data_dir.join(STORE_FILE)
    }

    /// What a worker of this house may use up.
    pub fn limits(&self) -> WorkerLimits {
        worker_limits(&self.settings)
    }

    /// The models' folder.
    pub fn models(&self) -> &Path {
        self.library.dir()
    }
}

fn as_far_as_possible(sources: &Sources) -> Settings {
    let (profiles, _) = find_profiles(&sources.paths);
    let names: Vec<_> = profiles.into_keys().collect();
    let house = load_house(sources, &names).unwrap_or_else(|_| defaults(&sources.paths));
    Settings { house, archons: BTreeMap::new(), paths: sources.paths.clone() }
}

/// The settings of a house in which nothing is set; of these the checks use folders, socket and worker.
fn defaults(paths: &Paths) -> HouseSettings {
    HouseSettings {
        data_dir: paths.data.clone(),
        models_dir: paths.data.join("models"),
        socket: paths.socket(),
        log_level: LogLevel::Info,
        worker: WorkerSettings {
            threads: Amount::Auto,
            draft_max: 0,
            repack: Amount::Auto,
            gpu_layers: ALL_LAYERS,
            slots: Amount::Auto,
            memory_max: Amount::Auto,
            keepsake_max: Amount::Auto,
            disk_max: Amount::Auto,
        },
        queue_len_max: 0,
        gateway: GatewaySettings::default(),
        web: WebSettings::default(),
        memory: MemorySettings::default(),
        remotes: Vec::new(),
        autostart: Vec::new(),
        effective: Vec::new(),
    }
}

/// The check of settings and profiles.
pub(super) fn settings(ground: &Ground) -> Finding {
    let own = ground.settings.archons.values();
    let own = own.filter(|profile| matches!(profile.origin, Origin::User(_))).count();
    let total = ground.settings.archons.len();
    let noun = match ground.faults.len() {
        0 => return Finding::ok(format!("no faults; {total} Archons, {own} of them from your own profiles")),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let finding = Finding::problem(
        format!("{noun} in settings or profiles; the daemon does not start with them"),
        "correct what is listed; `archond config check` and `archond archon check` show it again",
    );
    ground.faults.iter().flat_map(|fault| fault.lines()).fold(finding, Finding::detail)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn house() -> (tempfile::TempDir, Paths) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        (home, paths)
    }

    #[test]
    fn a_fresh_house_has_the_shipped_archons_and_no_faults() {
        let (_home, paths) = house();
        let ground = Ground::of(paths.clone(), Environment::default());
        assert_eq!(settings(&ground).finding, "no faults; 4 Archons, 0 of them from your own profiles");
        assert_eq!(ground.store(), paths.data.join("house.redb"));
    }

    #[test]
    fn every_fault_is_told_and_what_is_sound_still_holds() {
        let (_home, paths) = house();
        std::fs::create_dir_all(paths.profiles_dir()).unwrap();
        std::fs::write(paths.profiles_dir().join("ada.ron"), "(persona: 3)").unwrap();
        std::fs::write(paths.house_file(), "(data_dir: \"/srv/ada\")").unwrap();
        let ground = Ground::of(paths.clone(), Environment::default());
        assert_eq!(ground.settings.house.data_dir, Path::new("/srv/ada"));
        let told = settings(&ground);
        assert_eq!(told.state, State::Problem);
        assert!(told.details.iter().any(|line| line.contains("ada.ron")), "{told:?}");

        std::fs::write(paths.house_file(), "(sockets: 1, queue_len_max: 0)").unwrap();
        let ground = Ground::of(paths.clone(), Environment::default());
        assert_eq!(ground.settings.house.data_dir, paths.data);
        let told = settings(&ground).details.join("\n");
        assert!(told.contains("sockets") && told.contains("queue_len_max") && told.contains("ada"), "{told}");
    }

    #[test]
    fn a_home_too_deep_for_a_socket_is_still_looked_at() {
        let paths = Paths::below(&Path::new("/srv").join("x".repeat(120)));
        let ground = Ground::of(paths.clone(), Environment::default());
        assert_eq!(ground.settings.house.socket, paths.socket());
        assert_eq!(settings(&ground).state, State::Problem);
    }
}

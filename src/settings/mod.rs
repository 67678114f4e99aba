//! What the user may set: the house (`archond.ron`) and the Archons' profiles (`archons/*.ron`), read from RON with every fault of
//! every file at once, each with its line and column. Nothing is opened or started before all of it is good.
//!
//! Reading order: [`fault`], `lexis`, `scan`, [`reader`], [`values`], [`secret`], [`profile`], [`house`], [`paths`].
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use archond_actors::domain::{ArchonId, ModelId};

pub mod channel_file;
pub mod environment;
pub mod fault;
pub mod gateway;
pub mod house;
mod lexis;
pub mod mcp_file;
pub mod memory;
pub mod paths;
pub mod platforms;
pub mod profile;
pub mod profile_channels;
mod profile_tools;
pub mod reader;
pub mod remotes;
mod scan;
pub mod secret;
#[cfg(test)]
mod tests;
mod tool_file;
pub mod values;
pub mod web;

pub use channel_file::{
    ChannelFile, FoundChannels, PLATFORMS, Platform, channels_of, find_channels, read_channel_file,
};
pub use environment::Environment;
pub use fault::{EXIT_BAD_SETTINGS, Fault, Place, SettingsFaults};
pub use gateway::GatewaySettings;
pub use house::{ALL_LAYERS, HouseSettings, WorkerSettings};
pub use mcp_file::{HttpServer, McpServer, ProgramServer, ServerWay, read_mcp_file};
pub use memory::{Embedding, MemorySettings};
pub use paths::{Paths, PathsError, private_dir};
pub use profile::{Origin, Profile, ProfileSource};
pub use profile_tools::{ALL_SKILLS, SKILL};
pub use reader::{Effective, Provenance};
pub use remotes::RemoteSettings;
pub use secret::{KeyReference, SecretError};
pub use tool_file::{ToolFile, read_tool_file};
pub use values::{Amount, Bytes, HumanDuration, LogLevel};
pub use web::WebSettings;

/// The profiles that come with archond, by name.
pub const SHIPPED: [(&str, &str); 4] = [
    ("allegro", include_str!("../../archons/allegro.ron")),
    ("bezalel", include_str!("../../archons/bezalel.ron")),
    ("electra", include_str!("../../archons/electra.ron")),
    ("ezra", include_str!("../../archons/ezra.ron")),
];

/// Longest settings file, in bytes: the longest persona many times over; a larger file is not a settings file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folders.
    pub paths: Paths,
    /// The variables that override the house's settings.
    pub env: Environment,
    /// What a profile may name.
    pub known: Known,
}

/// What a profile may name.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The models: the catalogue's and the user's own.
    pub models: Vec<ModelId>,
    /// The tools.
    pub tools: Vec<String>,
    /// The skills.
    pub skills: Vec<String>,
    /// The MCP servers.
    pub servers: Vec<String>,
    /// The Archons.
    pub archons: Vec<ArchonId>,
    /// Their channels to platforms.
    pub channels: FoundChannels,
}

/// All settings after all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The house.
    pub house: HouseSettings,
    /// The Archons.
    pub archons: BTreeMap<ArchonId, Profile>,
    /// The folders.
    pub paths: Paths,
}

impl Settings {
    /// Reads everything; answers all faults of all files when there is one.
    pub fn load(sources: &Sources) -> Result<Self, SettingsFaults> {
        let (found, mut faults) = find_profiles(&sources.paths);
        let names: Vec<ArchonId> = found.keys().cloned().collect();
        let house = load_house(sources, &names);
        // A profile may name a model of another machine, too.
        let remotes = house.iter().flat_map(|house| &house.remotes).map(|remote| remote.model.clone());
        let mut known = sources.known.clone();
        known.models.extend(remotes);
        let (channels, more) = find_channels(&sources.paths);
        faults.extend(more);
        faults.extend(channels.keys().filter(|archon| !names.contains(archon)).map(|archon| {
            let folder = sources.paths.channels_dir().join(archon.as_str());
            Fault::of_file(&folder, format!("there is no Archon `{archon}`")).with_hint(
                "rename the folder, begin a profile with `archond archon new`, or remove the folder",
            )
        }));
        known.archons = names;
        known.channels = channels;
        let mut archons = BTreeMap::new();
        for source in found.values() {
            match profile::read(source, &known) {
                Ok(profile) => {
                    archons.insert(source.id.clone(), profile);
                }
                Err(more) => faults.extend(more),
            }
        }
        match house {
            Ok(house) if faults.is_empty() => Ok(Self { house, archons, paths: sources.paths.clone() }),
            Ok(_) => Err(SettingsFaults(faults)),
            Err(mut all) => {
                all.extend(faults);
                Err(SettingsFaults(all))
            }
        }
    }
}

/// Reads the house's settings alone. `archons` are the Archons that there are profiles for.
pub fn load_house(sources: &Sources, archons: &[ArchonId]) -> Result<HouseSettings, Vec<Fault>> {
    let path = sources.paths.house_file();
    let text = read_text(&path).map_err(|fault| vec![fault])?.unwrap_or_default();
    house::read(&path, text, &sources.env, &sources.paths, archons, &sources.known.models)
}

/// The text of every profile: the shipped ones, and the user's, which replace shipped ones of the same name. A file that cannot be
/// read is a fault.
pub fn find_profiles(paths: &Paths) -> (BTreeMap<ArchonId, ProfileSource>, Vec<Fault>) {
    let mut found = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, text) in SHIPPED {
        let path = PathBuf::from(format!("archons/{name}.ron"));
        if let Ok(id) = ArchonId::new(name) {
            let source =
                ProfileSource { id: id.clone(), origin: Origin::Shipped, path, text: text.to_owned() };
            found.insert(id, source);
        }
    }
    let dir = paths.profiles_dir();
    let files = read_settings_files(&dir).unwrap_or_else(|error| {
        faults.push(Fault::of_file(&dir, format!("cannot be read: {error}")));
        Vec::new()
    });
    for path in files {
        match read_profile_file(&path) {
            Ok(source) => {
                found.insert(source.id.clone(), source);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (found, faults)
}

/// Reads the text of one profile file; the Archon's name is the file's.
pub fn read_profile_file(path: &Path) -> Result<ProfileSource, Fault> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let id = ArchonId::new(&stem).map_err(|error| {
        Fault::of_file(path, error.to_string()).with_hint("the Archon's name is its file's: rename the file")
    })?;
    let text = read_text(path)?.ok_or_else(|| Fault::of_file(path, "there is no such file"))?;
    Ok(ProfileSource { id, origin: Origin::User(path.to_owned()), path: path.to_owned(), text })
}

/// The `*.ron` files of a folder, in order. Hidden files are editors' affairs. A missing folder is an empty one.
fn read_settings_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "ron") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A settings file's text; `None` when there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Fault> {
    let cannot = |error: io::Error| Fault::of_file(path, format!("cannot be read: {error}"));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    // A pipe or device of this name would be read for ever.
    if !metadata.is_file() {
        return Err(Fault::of_file(path, "is not a file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Fault::of_file(
            path,
            format!("has more than {FILE_BYTES_MAX} bytes; this is no settings file"),
        ));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let good = String::from_utf8_lossy(
            error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default(),
        );
        Fault {
            path: path.to_owned(),
            place: Some(Place::of(&good, good.len())),
            message: "is not valid UTF-8 from here on".to_owned(),
            hint: Some("save it as UTF-8".to_owned()),
        }
    })
}

//! The settings of the house as a whole: `archond.ron`, every field optional. Each can be overridden by an environment variable
//! `ARCHOND_<FIELD>`, like `ARCHOND_WORKER_SLOTS=4`. Every default and every range is written here, and nowhere else.
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archond_actors::domain::{ArchonId, ModelId};

use super::environment::Environment;
use super::fault::{Fault, nearest};
use super::gateway::{self, GatewaySettings};
use super::memory::{self, MemorySettings};
use super::paths::{Paths, SOCKET_PATH_BYTES_MAX};
use super::reader::{Effective, Group, Sheet, any, within};
use super::remotes::{self, RemoteSettings};
use super::values::{Amount, Bytes, LogLevel};
use super::web::{self, WebSettings};

/// Most sequences in one worker: each costs context memory, and a batch gains nothing beyond this on a home machine.
const SLOTS_MAX: u32 = 64;

/// Most threads of one worker: more than any machine at home has cores.
const THREADS_MAX: u32 = 512;

/// Most guessed tokens of one answer in one step: longer guesses are rarely right.
const DRAFT_MAX: u32 = 15;

/// A GPU gets every layer.
pub const ALL_LAYERS: i32 = -1;

/// Most layers that can be named: more than any model has.
const GPU_LAYERS_MAX: i32 = 10_000;

/// Least memory limit of a worker: the starter model with one short context needs about 200 MiB.
const WORKER_MEMORY_MIN: u64 = 256 << 20;

/// The house's settings after all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct HouseSettings {
    /// Folder of the store.
    pub data_dir: PathBuf,
    /// Folder of the model files.
    pub models_dir: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The model workers.
    pub worker: WorkerSettings,
    /// Generations that may wait in the pool; more are refused.
    pub queue_len_max: u32,
    /// The HTTP gateway.
    pub gateway: GatewaySettings,
    /// Where tools may go in the web.
    pub web: WebSettings,
    /// Recall by meaning.
    pub memory: MemorySettings,
    /// Models on other machines of the user's.
    pub remotes: Vec<RemoteSettings>,
    /// Archons that start with the daemon.
    pub autostart: Vec<ArchonId>,
    /// Each setting's value and where it came from.
    pub effective: Vec<Effective>,
}

/// The settings of each model worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Threads that compute; `Auto` is as many as the machine has.
    pub threads: Amount<u32>,
    /// Most guesses of an answer's next tokens that are computed along with it; 0 for none.
    pub draft_max: u32,
    /// Whether weights are laid out anew for the processor; `Auto` is where that fits comfortably into the memory.
    pub repack: Amount<bool>,
    /// Layers that a GPU gets, where the build has a back end for one; [`ALL_LAYERS`] or a number.
    pub gpu_layers: i32,
    /// Answers that are computed side by side; `Auto` is as many as the memory has room for.
    pub slots: Amount<u32>,
    /// Memory of each worker: `slots` are chosen to fit into it with the model, and the kernel gives no more private memory
    /// than this; `Auto` is by the machine's memory.
    pub memory_max: Amount<Bytes>,
    /// Memory in which the contexts of a worker outlive it, beside `memory_max`; 0 for none. `Auto` is by `memory_max`.
    pub keepsake_max: Amount<Bytes>,
    /// Disk on which the contexts of all models rest that are in no worker's memory; 0 for none. `Auto` is by the disk's free room.
    pub disk_max: Amount<Bytes>,
}

/// Reads the house's settings. `archons` are the Archons that there are profiles for, `models` those of the catalogue.
pub fn read(
    path: &Path,
    text: String,
    env: &Environment,
    paths: &Paths,
    archons: &[ArchonId],
    models: &[ModelId],
) -> Result<HouseSettings, Vec<Fault>> {
    let sheet = Sheet::new(path, text).overridden_by(env);
    let settings = sheet.top().map(|top| read_group(&sheet, top, paths, archons, models));
    let effective = sheet.finish()?;
    let settings = settings.ok_or_else(|| vec![Fault::of_file(path, "the settings could not be read")])?;
    Ok(HouseSettings { effective, ..settings })
}

fn read_group(
    sheet: &Sheet<'_>,
    mut top: Group<'_>,
    paths: &Paths,
    archons: &[ArchonId],
    models: &[ModelId],
) -> HouseSettings {
    let data_dir = top.value("data_dir", paths.data.clone(), absolute);
    let models_dir = top.value("models_dir", data_dir.join("models"), absolute);
    let socket = top.value("socket", paths.socket(), |path| absolute(path).and_then(|()| socket_fits(path)));
    if let (true, Err(rule)) = (socket == paths.socket(), socket_fits(&socket)) {
        let hint = "set `socket` to a shorter path, or XDG_RUNTIME_DIR or ARCHOND_HOME to a shorter folder";
        sheet.report(Fault::of_file(&socket, format!("the socket's path {rule}")).with_hint(hint));
    }
    let log_level = top.value("log_level", LogLevel::Info, any);
    let worker = read_worker(top.group("worker"));
    let queue_len_max = top.value("queue_len_max", 256, within(1..=100_000, " generations"));
    let gateway = gateway::read(top.group("gateway"));
    let web = web::read(top.group("web"));
    let remotes = remotes::read(&mut top);
    let far = remotes.iter().map(|remote| remote.model.clone());
    // Some commands do not look which models there are.
    let known = (!models.is_empty()).then(|| models.iter().cloned().chain(far).collect::<Vec<_>>());
    let memory = memory::read(top.group("memory"), known.as_deref());
    let autostart = top.list::<String>("autostart", &[], |name| is_archon(name, archons));
    let mut named: Vec<ArchonId> = Vec::new();
    for name in autostart {
        let archon = archons.iter().find(|archon| archon.as_str() == name.value);
        named.extend(archon.filter(|archon| !named.contains(archon)).cloned());
    }
    top.finish();
    HouseSettings {
        data_dir,
        models_dir,
        socket,
        log_level,
        worker,
        queue_len_max,
        gateway,
        web,
        memory,
        remotes,
        autostart: named,
        effective: Vec::new(),
    }
}

fn read_worker(mut group: Group<'_>) -> WorkerSettings {
    let worker = WorkerSettings {
        threads: group.value("threads", Amount::Auto, |threads| match threads {
            Amount::Auto => Ok(()),
            Amount::Fixed(threads) => within(1..=THREADS_MAX, " threads")(threads),
        }),
        draft_max: group.value("draft_max", DRAFT_MAX, within(0..=DRAFT_MAX, " tokens")),
        repack: group.value("repack", Amount::Auto, any),
        gpu_layers: group.value("gpu_layers", ALL_LAYERS, within(ALL_LAYERS..=GPU_LAYERS_MAX, " layers")),
        slots: group.value("slots", Amount::Auto, |slots| match slots {
            Amount::Auto => Ok(()),
            Amount::Fixed(slots) => within(1..=SLOTS_MAX, " slots")(slots),
        }),
        memory_max: group.value("memory_max", Amount::Auto, |memory| match memory {
            Amount::Auto => Ok(()),
            Amount::Fixed(memory) => within(Bytes(WORKER_MEMORY_MIN)..=Bytes(1 << 50), "")(memory),
        }),
        keepsake_max: group.value("keepsake_max", Amount::Auto, |keepsake| match keepsake {
            Amount::Auto => Ok(()),
            Amount::Fixed(keepsake) => within(Bytes(0)..=Bytes(1 << 50), "")(keepsake),
        }),
        disk_max: group.value("disk_max", Amount::Auto, |disk| match disk {
            Amount::Auto => Ok(()),
            Amount::Fixed(disk) => within(Bytes(0)..=Bytes(1 << 50), "")(disk),
        }),
    };
    group.finish();
    worker
}

fn is_archon(name: &str, archons: &[ArchonId]) -> Result<(), String> {
    if archons.iter().any(|archon| archon.as_str() == name) {
        return Ok(());
    }
    let hint = match nearest(name, archons.iter().map(ArchonId::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`archond archon list` shows those that there are".to_owned(),
    };
    Err(format!("names `{name}`, and there is no such Archon; {hint}"))
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn absolute(path: &PathBuf) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!("must be a whole path beginning with `/`, is `{}`", path.display()))
}

fn socket_fits(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().as_bytes().len();
    if length <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(format!("has {length} bytes, the system allows {SOCKET_PATH_BYTES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<HouseSettings, Vec<Fault>> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        let paths = Paths::below(Path::new("/srv/house"));
        let archons = [ArchonId::new("ezra").unwrap(), ArchonId::new("electra").unwrap()];
        read(Path::new("archond.ron"), text.to_owned(), &env, &paths, &archons, &[])
    }

    fn from(settings: &HouseSettings, name: &str) -> String {
        settings.effective.iter().find(|entry| entry.name == name).unwrap().from.to_string()
    }

    #[test]
    fn an_absent_file_is_all_defaults() {
        let settings = load("", &[]).unwrap();
        assert_eq!(settings, load("()", &[]).unwrap());
        assert_eq!(settings.models_dir, Path::new("/srv/house/data/models"));
        assert_eq!(settings.worker.slots, Amount::Auto);
        assert!(
            settings.effective.iter().all(|entry| entry.from == super::super::reader::Provenance::Default)
        );
    }

    #[test]
    fn the_environment_overrides_the_file_and_the_file_the_default() {
        let text = "(\n log_level: \"debug\",\n worker: (slots: 4, threads: 2, memory_max: \"4 GiB\"),\n)";
        let settings =
            load(text, &[("ARCHOND_WORKER_SLOTS", "2"), ("ARCHOND_AUTOSTART", "ezra, electra")]).unwrap();
        assert_eq!(settings.log_level, LogLevel::Debug);
        assert_eq!(settings.worker.slots, Amount::Fixed(2));
        assert_eq!(settings.worker.threads, Amount::Fixed(2));
        assert_eq!(settings.worker.memory_max, Amount::Fixed(Bytes(4 << 30)));
        assert_eq!(settings.autostart.len(), 2);
        assert_eq!(from(&settings, "worker.slots"), "$ARCHOND_WORKER_SLOTS");
        assert_eq!(from(&settings, "worker.threads"), "line 3");
        assert_eq!(from(&settings, "queue_len_max"), "default");
    }

    #[test]
    fn text_variables_need_no_quotes() {
        let settings = load("", &[("ARCHOND_LOG_LEVEL", "trace"), ("ARCHOND_DATA_DIR", "/mnt/a b")]).unwrap();
        assert_eq!(settings.log_level, LogLevel::Trace);
        assert_eq!(settings.models_dir, Path::new("/mnt/a b/models"));
    }

    #[test]
    fn a_bad_variable_is_named() {
        let variables =
            [("ARCHOND_LOG_LEVEL", "loud"), ("ARCHOND_WORKER_SLOTS", "0"), ("ARCHOND_AUTOSTART", "esra")];
        let faults = load("", &variables).unwrap_err();
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            shown.iter().any(|fault| fault.starts_with("$ARCHOND_LOG_LEVEL: `log_level` needs one of")),
            "{shown:?}"
        );
        assert!(
            shown.contains(&"$ARCHOND_WORKER_SLOTS: `worker.slots` must be 1 to 64 slots, is 0".to_owned()),
            "{shown:?}"
        );
        assert!(shown.iter().any(|fault| fault.contains("did you mean `ezra`?")), "{shown:?}");
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_refused_wherever_it_comes_from() {
        let deep = format!("/{}", "d".repeat(120));
        let faults = load(&format!("(socket: \"{deep}\")"), &[]).unwrap_err();
        assert!(
            faults[0].to_string().starts_with("archond.ron:1:10: `socket` has 121 bytes"),
            "{}",
            faults[0]
        );
        let paths = Paths::below(Path::new(&deep));
        let faults = read(Path::new("archond.ron"), String::new(), &Environment::default(), &paths, &[], &[])
            .unwrap_err();
        assert!(faults[0].to_string().contains("XDG_RUNTIME_DIR"), "{}", faults[0]);
    }
}

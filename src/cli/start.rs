//! `archond start`: the daemon if it does not run, then the Archons, until they are ready.
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use archond_actors::domain::ArchonId;
use archond_models::catalogue::Role;
use archond_models::library::{Entry, Library, State};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{Client, ClientError, accepted};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::model::{self, ModelCommand, ModelContext};
use super::places::Places;
use super::{chat, each_once, logs, places, ps, runtime};
use crate::admin::protocol::{ArchonView, HouseView, Op, Reply};
use crate::daemon::worker_limits;
use crate::models_on_disk;
use crate::settings::{Settings, private_dir};

/// Longest wait for the daemon to listen: opening a large store after a power cut on a slow disk.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two tries to reach it: a start takes some tens of milliseconds.
const LISTEN_INTERVAL: Duration = Duration::from_millis(10);
/// Between two questions how far the start is, for the progress line.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(150);
/// Lines of the daemon's last words that are shown: a panic's message with its place, or a list of faults.
const LAST_WORDS: usize = 20;

/// Start Archons, and the daemon if it does not run, and wait until they are ready.
///
/// On a terminal the chat with the Archon follows.
#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    /// Which; `archond archon list` shows all
    #[arg(required = true, value_name = "ARCHON")]
    names: Vec<String>,
    /// Do not go on to the chat
    #[arg(long)]
    no_chat: bool,
}

/// Runs the command.
pub(super) fn run(console: &mut Console, args: &StartArgs) -> Result<ExitCode, CliError> {
    let names = each_once(&args.names);
    for name in &names {
        ArchonId::new(name).map_err(|error| CliError::Usage { message: error.to_string() })?;
    }
    let places = Places::find()?;
    let house = runtime()?.block_on(async {
        let (mut client, mut daemon) = match Client::reach(&places.socket).await {
            Ok(client) => (client, None),
            Err(ClientError::NotRunning) => {
                prepare(console, &names).await?;
                let mut daemon = Daemon::spawn(console, &places, &names)?;
                (daemon.listening(console, &places, &names).await?, Some(daemon))
            }
            Err(error) => return Err(error.into()),
        };
        match start_archons(console, &mut client, &names).await {
            Ok(()) => Ok(client.status().await?),
            Err(error) => Err(daemon.as_mut().and_then(Daemon::died).unwrap_or(error)),
        }
    })?;
    for name in &names {
        report(console, &house, name)?;
    }
    let terminals = console.terminals();
    match names.as_slice() {
        // The chat begins with the notices.
        [name] if !args.no_chat && terminals.input && terminals.output => {
            console.line("")?;
            chat::run(console, &chat::ChatArgs::with(name))
        }
        _ => {
            for notice in ps::notices(&house) {
                console.note(&notice)?;
            }
            Ok(ExitCode::Ok)
        }
    }
}

/// Checks everything that can be checked before a process is started, and sees to it that some model can answer.
async fn prepare(console: &mut Console, names: &[String]) -> Result<(), CliError> {
    let settings = Settings::load(&models_on_disk::sources()?)?;
    let library = places::library()?;
    let mut own_models_suffice = true;
    for name in names {
        let Some((_, profile)) = settings.archons.iter().find(|(id, _)| id.as_str() == name) else {
            let hint = "`archond archon list` shows all, `archond archon new` begins one".to_owned();
            return Err(CliError::NoArchon { name: name.clone(), hint });
        };
        let model = &profile.spec.route.default;
        let is_remote = settings.house.remotes.iter().any(|remote| remote.model == *model);
        own_models_suffice &= is_remote || library.path_of(model.as_str()).is_some();
    }
    let remotes = settings.house.remotes.iter().map(|remote| remote.model.as_str());
    if own_models_suffice || has_common_model(&library, remotes) {
        return Ok(());
    }
    let Some(starter) = library.catalogue().iter().find(|model| model.role == Role::Starter) else {
        return Ok(());
    };
    console.note(&format!(
        "no model is on disk yet: fetching {}, which answers until there is a better one",
        starter.name
    ))?;
    let pull = ModelCommand::Pull { name: starter.id.clone(), from: None, mmproj: false };
    let context = ModelContext {
        library: library.clone(),
        limits: worker_limits(&settings),
        json: false,
        terminal: console.terminals().error,
    };
    model::run(console, pull, &context).await?;
    Ok(())
}

/// Whether a model is here, or at another machine, that answers for any Archon.
fn has_common_model<'m>(library: &Library, mut remotes: impl Iterator<Item = &'m str>) -> bool {
    let is_common =
        |model: &str| library.catalogue().get(model).is_some_and(|model| answers_anybody(model.role));
    let is_here = |entry: &Entry| answers_anybody(entry.model.role) && matches!(entry.state, State::Ready(_));
    remotes.any(is_common) || library.list().iter().any(is_here)
}

fn answers_anybody(role: Role) -> bool {
    matches!(role, Role::Gemma | Role::Starter)
}

/// The daemon's process, while it starts.
struct Daemon {
    child: Child,
    /// Where it writes what it cannot log.
    out: PathBuf,
    /// How long that file was before.
    out_length: u64,
}

impl Daemon {
    /// Begins the process.
    fn spawn(console: &mut Console, places: &Places, names: &[String]) -> Result<Self, CliError> {
        console.progress("starting the daemon")?;
        private_dir(&places.logs)?;
        let out = places.logs.join(logs::OUT_FILE);
        let failed = |source| CliError::Create { path: out.clone(), source };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&out).map_err(failed)?;
        let out_length = file.metadata().map_err(failed)?.len();
        let file_too = file.try_clone().map_err(failed)?;
        // This very file, even if an upgrade replaces it at this moment.
        let child = Command::new("/proc/self/exe")
            .arg0("archond")
            .args(["run", "--background"])
            .args(names)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(file_too)
            .spawn()
            .map_err(|source| CliError::Spawn { source })?;
        Ok(Self { child, out, out_length })
    }

    /// Waits until it listens.
    async fn listening(
        &mut self,
        console: &mut Console,
        places: &Places,
        names: &[String],
    ) -> Result<Client, CliError> {
        let since = Instant::now();
        let mut tries = interval(LISTEN_INTERVAL);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while since.elapsed() < LISTEN_TIMEOUT {
            tries.tick().await;
            match Client::reach(&places.socket).await {
                Ok(client) => return Ok(client),
                Err(ClientError::NotRunning) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(error) = self.died() {
                if error.exit_code() != ExitCode::Busy {
                    return Err(error);
                }
                // Another daemon has this house. One that has just begun will listen; one that is ending makes room.
                *self = Self::spawn(console, places, names)?;
            }
            console.progress(&format!("starting the daemon: {} s", since.elapsed().as_secs()))?;
        }
        Err(self.died().unwrap_or(CliError::NotListening { pid: self.child.id() }))
    }

    /// Why it ended, if it has.
    fn died(&mut self) -> Option<CliError> {
        let status = self.child.try_wait().ok()??;
        let tail = logs::lines_since(&self.out, self.out_length, LAST_WORDS).join("\n");
        Some(CliError::DiedEarly { status, log: self.out.clone(), tail })
    }
}

/// Starts the Archons side by side and shows how far they are.
async fn start_archons(console: &mut Console, client: &mut Client, names: &[String]) -> Result<(), CliError> {
    let mut waiting: Vec<(u64, &String)> = Vec::new();
    for name in names {
        waiting.push((client.send(Op::StartArchon { archon: name.clone() }).await?, name));
    }
    let mut questions = interval(PROGRESS_INTERVAL);
    questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once: an Archon that is ready needs no progress.
    questions.tick().await;
    let mut asked = None;
    while !waiting.is_empty() {
        let response = tokio::select! {
            biased;
            response = client.next() => response?,
            _ = questions.tick(), if asked.is_none() => {
                asked = Some(client.send(Op::Status).await?);
                continue;
            }
        };
        if asked == Some(response.id) {
            asked = None;
            if let Reply::House(house) = response.reply {
                console.progress(&stage(&house, waiting.iter().map(|(_, name)| name.as_str())))?;
            }
        } else if let Some(place) = waiting.iter().position(|(id, _)| *id == response.id) {
            waiting.remove(place);
            accepted(response.reply)?;
        } else if response.id == 0 {
            accepted(response.reply)?;
        }
    }
    Ok(())
}

/// How far the start is, in one line.
fn stage<'a>(house: &HouseView, names: impl Iterator<Item = &'a str>) -> String {
    let loading = house.models.iter().find_map(|model| Some((model, model.percent?)));
    let names: Vec<&str> = names.collect();
    let mut text = format!("starting {}", names.join(", "));
    if let Some((model, percent)) = loading {
        text += &format!(": loading {} {percent} %", model.model);
    }
    text
}

/// Says in few lines how to reach the Archon.
fn report(console: &mut Console, house: &HouseView, name: &str) -> Result<(), CliError> {
    let Some(archon) = house.archons.iter().find(|archon| archon.archon == name) else {
        return Err(ClientError::Protocol.into());
    };
    console.headline(&headline(archon))?;
    let talk = console.typed(&format!("`archond chat {name}`")).replace('`', "");
    console.line(&format!("  talk     {talk}"))?;
    console.line(&format!("  listens  {} ({})", archon.channels.join(", "), house.socket))?;
    console.line(&format!("  logs     {}", house.logs))?;
    Ok(())
}

fn headline(archon: &ArchonView) -> String {
    let name = &archon.display_name;
    match (&archon.model, &archon.last_error) {
        (_, Some(error)) => format!("{name} is {}: {error}", archon.state),
        (Some(model), None) => format!("{name} is {}: {model} answers", archon.state),
        (None, None) => format!("{name} is {}", archon.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::ModelView;

    #[test]
    fn the_stage_names_what_is_waited_for() {
        let model = ModelView {
            model: "gemma-4-e4b".into(),
            state: "loading".into(),
            percent: Some(37),
            pid: None,
            processor: None,
            memory_bytes: None,
            slots: 4,
            slots_used: 0,
            queued: 0,
            context_tokens: 8192,
            crashes: 0,
            tokens: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            written_tokens: 0,
            written_ms: 0,
            last_error: None,
        };
        let house = HouseView {
            version: String::new(),
            pid: 1,
            gateway: None,
            started_unix_ms: 0,
            memory_bytes: 0,
            socket: String::new(),
            logs: String::new(),
            archons: Vec::new(),
            models: vec![model],
            channels: Vec::new(),
            notice: None,
        };
        assert_eq!(stage(&house, ["ezra"].into_iter()), "starting ezra: loading gemma-4-e4b 37 %");
        let idle = HouseView { models: Vec::new(), ..house };
        assert_eq!(stage(&idle, ["ezra", "electra"].into_iter()), "starting ezra, electra");
    }
}

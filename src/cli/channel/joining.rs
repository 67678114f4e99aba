//! What joining an Archon to any platform takes: a file that nobody else wrote, secrets in files of their own, a look whether it works.
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use archond_actors::domain::ArchonId;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::channels;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::exit::ExitCode;
use crate::cli::settings_view::write_table;
use crate::cli::{consent, runtime, tool};
use crate::models_on_disk;
use crate::settings::channel_file::parse_channel_file;
use crate::settings::{ChannelFile, KeyReference, Sources, private_dir, read_channel_file};

/// Only for this user.
const SECRET_MODE: u32 = 0o600;
/// Longest secret that is typed or piped, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

pub(super) fn usage(message: impl Into<String>) -> CliError {
    CliError::Usage { message: message.into() }
}

/// A channel that is being joined, looked at or left.
pub(super) struct Joining {
    pub(super) sources: Sources,
    pub(super) archon: ArchonId,
    platform: &'static str,
    /// The secrets that were kept since it began.
    kept: Vec<PathBuf>,
}

impl Joining {
    /// Of an Archon that there is.
    pub(super) fn of(archon: &str, platform: &'static str) -> Result<Self, CliError> {
        let sources = models_on_disk::sources()?;
        let archon = tool::known(&sources, archon)?;
        Ok(Self { sources, archon, platform, kept: Vec::new() })
    }

    /// Where it is written.
    pub(super) fn path(&self) -> PathBuf {
        let folder = self.sources.paths.channels_dir().join(self.archon.as_str());
        folder.join(format!("{}.ron", self.platform))
    }

    /// A new one: what is there already is somebody's work.
    pub(super) fn refuse_existing(&self) -> Result<(), CliError> {
        let (archon, platform) = (&self.archon, self.platform);
        if !self.path().exists() {
            return Ok(());
        }
        let path = self.path();
        Err(usage(format!(
            "{archon} is joined to {platform} already, in {}; edit that, or `archond channel remove {platform} {archon}` first",
            path.display()
        )))
    }

    /// The channel as it is written.
    pub(super) fn read(&self) -> Result<ChannelFile, CliError> {
        let (archon, platform) = (&self.archon, self.platform);
        if !self.path().exists() {
            return Err(usage(format!(
                "{archon} is not joined to {platform}; `archond channel add {platform} {archon}` does that"
            )));
        }
        read_channel_file(&self.path()).map_err(|faults| told(&faults))
    }

    /// What a text says, before it is written.
    pub(super) fn parse(&self, text: &str) -> Result<ChannelFile, CliError> {
        parse_channel_file(&self.path(), text.to_owned()).map_err(|faults| told(&faults))
    }

    /// Writes a new channel.
    pub(super) fn write(&self, text: &str) -> Result<(), CliError> {
        let path = self.path();
        if let Some(folder) = path.parent() {
            private_dir(&self.sources.paths.channels_dir())?;
            private_dir(folder)?;
        }
        fs::write(&path, text).map_err(|source| CliError::Create { path, source })
    }

    /// A folder for each Archon: no name of one is the beginning of another's.
    fn secrets(&self) -> PathBuf {
        self.sources.paths.secrets_dir().join(self.archon.as_str())
    }

    /// Keeps a secret in a file of its own, and says where. One that is there already may be all that is left of an account.
    pub(super) fn keep_secret(&mut self, what: &str, secret: &str) -> Result<KeyReference, CliError> {
        private_dir(&self.sources.paths.secrets_dir())?;
        private_dir(&self.secrets())?;
        let path = self.secrets().join(format!("{}-{what}", self.platform));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(SECRET_MODE).open(&path);
        if file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            let place = path.display();
            return Err(usage(format!(
                "there is a secret in {place} already, left of an earlier channel: move it away, or name it as `file:{place}`"
            )));
        }
        self.kept.push(path.clone());
        let written = file.and_then(|mut file| writeln!(file, "{secret}").and_then(|()| file.sync_all()));
        written.map_err(|source| CliError::Create { path: path.clone(), source })?;
        Ok(KeyReference::File(path))
    }

    /// A secret that was named by its place, or else is asked for and kept.
    pub(super) fn secret(
        &mut self,
        console: &mut Console,
        what: &str,
        question: &str,
        place: Option<&str>,
    ) -> Result<KeyReference, CliError> {
        if let Some(place) = place {
            return place.parse().map_err(usage);
        }
        let secret = ask_secret(console, question)?;
        self.keep_secret(what, &secret)
    }

    /// Takes back what was kept for one that does not work, and nothing that was there before.
    pub(super) fn take_back(&mut self) -> Result<(), CliError> {
        for path in self.kept.drain(..) {
            fs::remove_file(&path).map_err(|source| CliError::Create { path, source })?;
        }
        Ok(())
    }

    /// Removes what archond keeps for the channel.
    fn forget_secrets(&self) -> Result<Vec<PathBuf>, CliError> {
        let prefix = format!("{}-", self.platform);
        let Ok(entries) = fs::read_dir(self.secrets()) else { return Ok(Vec::new()) };
        let mut gone = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_own = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
            if is_own {
                fs::remove_file(&path).map_err(|source| CliError::Create { path: path.clone(), source })?;
                gone.push(path);
            }
        }
        Ok(gone)
    }

    /// What to do next.
    pub(super) fn tell_next(&self, console: &mut Console) -> Result<(), CliError> {
        let archon = &self.archon;
        console.note(&format!(
            "{} is written. It counts from the next start on: `archond stop {archon}` and `archond start {archon}`, if {archon} runs; then `archond channel ls`",
            self.path().display()
        ))?;
        Ok(())
    }

    /// Asks the platform whether it works as it is written.
    pub(super) fn test(&self, console: &mut Console) -> Result<ExitCode, CliError> {
        let file = self.read()?;
        console.progress(&format!("asking {}", self.platform))?;
        let rows = runtime()?.block_on(channels::probe(&file));
        console.erase_progress()?;
        show(console, &rows.map_err(fails)?)?;
        Ok(ExitCode::Ok)
    }

    /// Leaves the platform.
    pub(super) fn remove(&self, console: &mut Console, yes: bool) -> Result<ExitCode, CliError> {
        let (archon, platform) = (&self.archon, self.platform);
        if !self.path().exists() {
            self.read()?;
        }
        if !consent::is_given(console, yes, &format!("remove {archon}'s {platform} channel and its secrets"))?
        {
            return Ok(ExitCode::Ok);
        }
        let path = self.path();
        fs::remove_file(&path).map_err(|source| CliError::Create { path: path.clone(), source })?;
        for path in std::iter::once(path).chain(self.forget_secrets()?) {
            console.note(&format!("{} is removed", path.display()))?;
        }
        console
            .note(&format!("{archon} leaves {platform} at its next start; what was said there is kept"))?;
        Ok(ExitCode::Ok)
    }
}

/// What a platform says of itself.
pub(super) fn show(console: &mut Console, rows: &[(&'static str, String)]) -> Result<(), CliError> {
    let mut out = Vec::new();
    write_table(
        &mut out,
        ["WHAT", "SAID"],
        rows.iter().map(|(what, said)| [(*what).to_owned(), said.clone()]),
    )?;
    console.exact(&String::from_utf8_lossy(&out))?;
    Ok(())
}

/// A text as RON writes it.
pub(super) fn quoted(text: &str) -> String {
    ron::to_string(text).unwrap_or_default()
}

/// A list of people: the platform's id of each, and the name that its owner knows.
pub(super) fn people(field: &str, all: &[(String, String)]) -> String {
    let mut text = format!("    {field}: [\n");
    for (id, name) in all {
        let note = if name == id || name.is_empty() { String::new() } else { format!(" // {name}") };
        let _written = writeln!(text, "        {},{note}", quoted(id));
    }
    text + "    ],\n"
}

/// Who may write, unless the command says otherwise: those that are named, and strangers by a code.
pub(super) fn access(owners: &[(String, String)], users: &[(String, String)]) -> String {
    let comment = "    // Who may write: Pairing (strangers get a code), Allowlist, Open or Disabled; owners may also say yes to what it asks.\n";
    format!("{comment}    access: Pairing,\n{}{}", people("owners", owners), people("users", users))
}

/// Without a cause: a file is read by its own name.
pub(super) fn other_platform() -> CliError {
    usage("the file is another platform's")
}

pub(super) fn fails(why: impl std::fmt::Display) -> CliError {
    CliError::Channel { why: why.to_string() }
}

fn told(faults: &[crate::settings::Fault]) -> CliError {
    usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Reads a secret, which is not shown while it is typed.
pub(super) fn ask_secret(console: &mut Console, question: &str) -> Result<String, CliError> {
    let input = io::stdin();
    let before = console.terminals().input.then(|| tcgetattr(&input).ok()).flatten();
    if before.is_some() {
        console.ask(&format!("{question}: "))?;
    }
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // One that is shown is still taken.
        let _set = tcsetattr(&input, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = input.lock().take(SECRET_BYTES_MAX).read_line(&mut line);
    if let Some(before) = &before {
        let _reset = tcsetattr(&input, OptionalActions::Now, before);
        // His own line end was not shown, either.
        console.ask("\n")?;
    }
    read.map_err(|source| CliError::Input { source })?;
    let secret = line.trim().to_owned();
    if secret.is_empty() {
        return Err(usage(format!("nothing was given; {question}, or say where it is, like `file:/PATH`")));
    }
    Ok(secret)
}

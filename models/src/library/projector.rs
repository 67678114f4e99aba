//! Projectors: whether a file is one for a model, told by its head before anything loads it, and how it comes to lie beside the model.
use std::path::Path;
use std::sync::Arc;

use super::import::{ensure_space, place};
use super::{FileRecord, Library, LibraryError, Placement, Stored, at, files, hash_file, now_unix_s};
use crate::catalogue::{Artifact, Bytes, Model, Source};
use crate::gguf::{self, Head, Value};
use crate::progress::OnProgress;

/// Kinds of projectors that are taken: those of Gemma 4. llama.cpp reads more, and ends the process on some that are damaged.
const KINDS: [&str; 4] = ["gemma4v", "gemma4uv", "gemma4a", "gemma4ua"];
/// Sides of a patch, in pixels, that are sane.
const PATCH: std::ops::RangeInclusive<u64> = 1..=256;

/// Why a file is no projector for a model whose rows have so many numbers; `None` if it is one.
pub(crate) fn projector_fault(head: &Head, width: u64) -> Option<String> {
    let architecture = head.text("general.architecture").unwrap_or("unnamed");
    if architecture != "clip" {
        return Some(format!("it is no projector: its architecture is `{architecture}`, not `clip`"));
    }
    let (sees, hears) = projector_senses(head);
    if !sees && !hears {
        return Some("it is a projector for neither pictures nor recordings".to_owned());
    }
    let senses = [("vision", sees), ("audio", hears)].into_iter().filter(|(_, has)| *has);
    senses.into_iter().find_map(|(sense, _)| sense_fault(head, sense, width))
}

/// Whether a projector is for pictures, and whether for recordings.
fn projector_senses(head: &Head) -> (bool, bool) {
    let has = |key: &str| head.metadata.get(key) == Some(&Value::Bool(true));
    (has("clip.has_vision_encoder"), has("clip.has_audio_encoder"))
}

/// Refuses a file that is no projector for the model in another file.
pub fn check_projector(model: &Path, projector: &Path) -> Result<(), LibraryError> {
    let read = |path: &Path| {
        gguf::check(path).map_err(|source| LibraryError::Gguf { path: path.to_path_buf(), source })
    };
    let head = read(model)?;
    let architecture = head.text("general.architecture").unwrap_or_default();
    let width = head.number(&format!("{architecture}.embedding_length")).unwrap_or(0);
    projector_fault(&read(projector)?, width)
        .map_or(Ok(()), |reason| Err(LibraryError::NotUsable { path: projector.to_path_buf(), reason }))
}

impl Library {
    /// What a model takes beside words, by the head of its projector: pictures, recordings. Reads the disk.
    pub fn senses_of(&self, id: &str) -> (bool, bool) {
        let head = self.mmproj_of(id).and_then(|path| gguf::check(&path).ok());
        head.as_ref().map_or((false, false), projector_senses)
    }

    /// Imports the projector of a model that is on disk. A model of the catalogue takes the one that the catalogue names; one of the
    /// user's own is described anew.
    pub fn import_projector(
        &mut self,
        id: &str,
        path: &Path,
        placement: Placement,
        progress: OnProgress<'_>,
    ) -> Result<Stored, LibraryError> {
        let path = &path.canonicalize().map_err(at("open", path))?;
        let model = self.known(id)?;
        let weights = self.path_of(id).ok_or_else(|| LibraryError::NotOnDisk { id: id.to_owned() })?;
        check_projector(&weights, path)?;
        let bytes = std::fs::metadata(path).map_err(at("read", path))?.len();
        let sha256 = hash_file(path, progress)?;
        let model = with_projector(&model, path, bytes, &sha256)?;
        let _lock = self.lock(id)?;
        let shelf = self.shelf(id);
        let file = model.mmproj.as_ref().map(|artifact| artifact.file.clone()).unwrap_or_default();
        if placement == Placement::Copy {
            ensure_space(self.dir(), bytes)?;
        }
        let part = shelf.part(&file);
        let placed = place(path, &part, placement, &sha256, progress);
        if let Err(error) = placed.and_then(|()| self.describe_anew(&model)) {
            files::remove_if_there(&part)?;
            return Err(error);
        }
        let source = path.display().to_string();
        shelf.install(&part, FileRecord { file, bytes, sha256, source, added_unix_s: now_unix_s() })
    }
}

/// The model with this file as its projector, if it can be.
fn with_projector(
    model: &Arc<Model>,
    path: &Path,
    bytes: u64,
    sha256: &str,
) -> Result<Arc<Model>, LibraryError> {
    if model.source == Source::Import {
        let file = format!("{}.mmproj.gguf", model.id);
        let artifact = Artifact { file, bytes: Bytes::Exact(bytes), sha256: Some(sha256.to_owned()) };
        return Ok(Arc::new(Model { mmproj: Some(artifact), ..Model::clone(model) }));
    }
    let reason = match &model.mmproj {
        None => "the catalogue names no projector for it".to_owned(),
        Some(artifact) if artifact.sha256.as_deref().is_some_and(|known| known != sha256) => {
            format!("the sha256 of its projector is another, this file's is {sha256}")
        }
        Some(artifact) if !artifact.bytes.allows(bytes) => {
            format!("its projector has about {} bytes and this file {bytes}", artifact.bytes.count())
        }
        Some(_) => return Ok(Arc::clone(model)),
    };
    Err(LibraryError::NotItsProjector { path: path.to_path_buf(), id: model.id.clone(), reason })
}

fn sense_fault(head: &Head, sense: &str, width: u64) -> Option<String> {
    let key = |name: &str| format!("clip.{sense}.{name}");
    let kind =
        head.text(&key("projector_type")).or_else(|| head.text("clip.projector_type")).unwrap_or("unnamed");
    if !KINDS.contains(&kind) {
        return Some(format!("it is a projector of the kind `{kind}`; archond takes those of Gemma 4"));
    }
    match head.number(&key("projection_dim")) {
        Some(found) if found == width => {}
        Some(found) => {
            return Some(format!(
                "it is the projector of another model: its rows have {found} numbers, the model's {width}"
            ));
        }
        None => return Some("it does not say how wide its rows are".to_owned()),
    }
    let patch = head.number(&key("patch_size"));
    if sense == "vision" && !patch.is_some_and(|patch| PATCH.contains(&patch)) {
        return Some("it does not say how large its patches are".to_owned());
    }
    let counts = ["embedding_length", "feed_forward_length", "block_count", "attention.head_count"];
    // "Unified" projectors have no tower of their own.
    let has_tower = !kind.ends_with("uv") && !kind.ends_with("ua");
    let missing = counts.into_iter().find(|name| has_tower && head.number(&key(name)).unwrap_or(0) == 0);
    missing.map(|name| format!("it is damaged: {} is missing", key(name)))
}

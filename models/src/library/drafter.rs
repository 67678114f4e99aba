//! Drafters: whether a file is one for a model, told by the heads of both before anything loads it, and how it comes to lie beside the
//! model.
use std::path::{Path, PathBuf};

use super::import::{ensure_space, place};
use super::{FileRecord, Library, LibraryError, Placement, Stored, at, files, hash_file, now_unix_s};
use crate::gguf::{self, Head};
use crate::progress::OnProgress;

/// The only models that lend a drafter their memory, and the only drafters that know how to use it.
const TARGET: &str = "gemma4";
const DRAFTER: &str = "gemma4-assistant";

/// Why a file is no drafter for the model with the other head; `None` if it is one.
///
/// A drafter has no keys and values of its own: it looks into those of the model's last two layers. llama.cpp takes it that they have
/// the shape that the drafter says, and ends the process, or computes with what is not there, where they do not.
pub(crate) fn drafter_fault(target: &Head, drafter: &Head) -> Option<String> {
    let architecture = |head: &Head| head.text("general.architecture").unwrap_or("unnamed").to_owned();
    let (of, found) = (architecture(target), architecture(drafter));
    if found != DRAFTER {
        return Some(format!("it is no drafter: its architecture is `{found}`, not `{DRAFTER}`"));
    }
    if of != TARGET {
        return Some(format!(
            "drafters of this kind are for models of the architecture `{TARGET}`, not `{of}`"
        ));
    }
    let (ours, theirs) = (Shape::of(target, TARGET), Shape::of(drafter, DRAFTER));
    differs("rows of {} numbers", theirs.number("embedding_length_out"), ours.number("embedding_length"))
        .or_else(|| differs("a vocabulary of {} tokens", theirs.vocabulary(), ours.vocabulary()))
        .or_else(|| lends(&ours, &theirs))
}

/// Whether the model's last two layers have what the drafter's look into.
fn lends(target: &Shape<'_>, drafter: &Shape<'_>) -> Option<String> {
    let layers = target.number("block_count").unwrap_or(0);
    let last = usize::try_from(layers).unwrap_or(0).checked_sub(1);
    let (Some(full), Some(sliding)) = (last, last.and_then(|last| last.checked_sub(1))) else {
        return Some("the model has no two layers that it could look into".to_owned());
    };
    if target.slides(sliding) != Some(true) || target.slides(full) != Some(false) {
        return Some(
            "the model's last two layers are not one with a sliding window and one without".to_owned(),
        );
    }
    let layers = drafter.number("block_count").unwrap_or(0);
    let layers = usize::try_from(layers).unwrap_or(0);
    if !(1..=LAYERS_MAX).contains(&layers) {
        return Some(format!("it has {layers} layers; 1 to {LAYERS_MAX} can be"));
    }
    let drafting = drafter.number("nextn_predict_layers").unwrap_or(0);
    if !(1..=layers as u64).contains(&drafting) {
        return Some(format!("{drafting} of its {layers} layers are to draft"));
    }
    (0..layers).find_map(|layer| {
        let Some(slides) = drafter.slides(layer) else {
            return Some(format!("it does not say whether its layer {layer} has a sliding window"));
        };
        let (lender, keys) = if slides { (sliding, "_swa") } else { (full, "") };
        let of = |shape: &Shape<'_>, name| shape.number(&format!("attention.{name}_length{keys}"));
        differs("keys of {} numbers", of(drafter, "key"), of(target, "key"))
            .or_else(|| differs("values of {} numbers", of(drafter, "value"), of(target, "value")))
            .or_else(|| differs("{} key heads", drafter.key_heads(layer), target.key_heads(lender)))
            .or_else(|| uneven(drafter, layer))
    })
}

/// Each key head serves equally many heads.
fn uneven(drafter: &Shape<'_>, layer: usize) -> Option<String> {
    let (heads, key_heads) = (drafter.heads(layer).unwrap_or(0), drafter.key_heads(layer).unwrap_or(0));
    let is_even = heads > 0 && heads.checked_rem(key_heads) == Some(0);
    (!is_even).then(|| format!("it is damaged: {heads} heads cannot share {key_heads} key heads"))
}

/// Layers of a drafter; real ones have 4.
const LAYERS_MAX: usize = 64;

/// Numbers of a head, by their names without the architecture.
struct Shape<'h> {
    head: &'h Head,
    architecture: &'static str,
}

impl<'h> Shape<'h> {
    fn of(head: &'h Head, architecture: &'static str) -> Self {
        Self { head, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.head.number(&self.key(name))
    }

    fn slides(&self, layer: usize) -> Option<bool> {
        let key = self.key("attention.sliding_window_pattern");
        self.head.number_of_layer(&key, layer).map(|slides| slides != 0)
    }

    fn heads(&self, layer: usize) -> Option<u64> {
        self.head.number_of_layer(&self.key("attention.head_count"), layer)
    }

    /// Where nothing is said, each head has keys of its own.
    fn key_heads(&self, layer: usize) -> Option<u64> {
        let key = self.key("attention.head_count_kv");
        self.head.number_of_layer(&key, layer).or_else(|| self.heads(layer))
    }

    /// By the rows of the token table: a drafter may come without a tokenizer.
    fn vocabulary(&self) -> Option<u64> {
        let table = self.head.tensors.iter().find(|tensor| tensor.name == "token_embd.weight")?;
        table.elements.checked_div(self.number("embedding_length")?)
    }
}

/// What is wrong with a number of the drafter, where another one is needed.
fn differs(what: &str, found: Option<u64>, wanted: Option<u64>) -> Option<String> {
    let said = |number: u64| what.replace("{}", &number.to_string());
    match (found, wanted) {
        (Some(found), Some(wanted)) if found == wanted => None,
        (Some(found), Some(wanted)) => Some(format!(
            "it is the drafter of another model: it needs {}, the model has {wanted}",
            said(found)
        )),
        (None, _) => Some(format!("it does not say that it needs {}", what.replace("{}", "so many"))),
        (_, None) => Some(format!("the model does not say that it has {}", what.replace("{}", "so many"))),
    }
}

/// Refuses a file that is no drafter for the model in another file.
pub fn check_drafter(model: &Path, drafter: &Path) -> Result<(), LibraryError> {
    let read = |path: &Path| {
        gguf::check(path).map_err(|source| LibraryError::Gguf { path: path.to_path_buf(), source })
    };
    drafter_fault(&read(model)?, &read(drafter)?)
        .map_or(Ok(()), |reason| Err(LibraryError::NotUsable { path: drafter.to_path_buf(), reason }))
}

/// The name of a model's drafter on disk. Publishers name theirs in many ways; here it is beside one model.
fn file_of(id: &str) -> String {
    format!("{id}.drafter.gguf")
}

impl Library {
    /// The drafter of a model, if it is complete.
    pub fn drafter_of(&self, id: &str) -> Option<PathBuf> {
        self.stored_drafter(id).map(|stored| stored.path)
    }

    pub(super) fn stored_drafter(&self, id: &str) -> Option<Stored> {
        self.shelf(id).stored_as(&file_of(id))
    }

    /// Imports the drafter of a model that is on disk, in place of the one that it had.
    pub fn import_drafter(
        &mut self,
        id: &str,
        path: &Path,
        placement: Placement,
        progress: OnProgress<'_>,
    ) -> Result<Stored, LibraryError> {
        let path = &path.canonicalize().map_err(at("open", path))?;
        self.known(id)?;
        let weights = self.path_of(id).ok_or_else(|| LibraryError::NotOnDisk { id: id.to_owned() })?;
        check_drafter(&weights, path)?;
        let bytes = std::fs::metadata(path).map_err(at("read", path))?.len();
        let sha256 = hash_file(path, progress)?;
        let _lock = self.lock(id)?;
        let (shelf, file) = (self.shelf(id), file_of(id));
        if placement == Placement::Copy {
            ensure_space(self.dir(), bytes)?;
        }
        let part = shelf.part(&file);
        if let Err(error) = place(path, &part, placement, &sha256, progress) {
            files::remove_if_there(&part)?;
            return Err(error);
        }
        let source = path.display().to_string();
        shelf.install(&part, FileRecord { file, bytes, sha256, source, added_unix_s: now_unix_s() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn heads() -> (Head, Head) {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        let read = |name| gguf::check(&data.join(name)).unwrap();
        (read("tiny-gemma4-tools.gguf"), read("tiny-drafter.gguf"))
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Head, &mut Head), words: &str) {
        let (mut target, mut drafter) = heads();
        change(&mut target, &mut drafter);
        let fault = drafter_fault(&target, &drafter).unwrap_or_default();
        assert!(fault.contains(words), "`{fault}` instead of `{words}`");
    }

    fn set(head: &mut Head, key: &str, value: u64) {
        head.metadata.insert(key.to_owned(), Value::Unsigned(value));
    }

    #[test]
    fn a_drafter_of_the_model_is_one() {
        let (target, drafter) = heads();
        assert_eq!(drafter_fault(&target, &drafter), None);
    }

    #[test]
    fn what_fits_another_model_is_refused_with_what_differs() {
        let of = |name: &str| format!("gemma4-assistant.{name}");
        let swa = of("attention.key_length_swa");
        refused(|_, drafter| set(drafter, &of("embedding_length_out"), 2816), "needs rows of 2816 numbers");
        refused(|_, drafter| set(drafter, &of("embedding_length"), 32), "vocabulary of 2048 tokens");
        refused(|_, drafter| set(drafter, &swa, 256), "keys of 256 numbers, the model has 32");
        refused(|_, drafter| set(drafter, &of("attention.value_length"), 512), "values of 512 numbers");
        refused(|_, drafter| set(drafter, &of("attention.head_count_kv"), 8), "needs 8 key heads");
        refused(|_, drafter| set(drafter, &of("block_count"), 3), "whether its layer 2");
        refused(|_, drafter| set(drafter, &of("block_count"), u64::MAX), "can be");
        refused(|_, drafter| set(drafter, &of("attention.head_count"), 3), "cannot share 2 key heads");
        refused(|_, drafter| set(drafter, &of("nextn_predict_layers"), 3), "3 of its 2 layers");
        refused(|target, _| set(target, "gemma4.block_count", 4), "last two layers");
        refused(|target, _| set(target, "gemma4.block_count", 1), "no two layers");
        refused(|_, drafter| *drafter = heads().0, "its architecture is `gemma4`, not `gemma4-assistant`");
        refused(|target, _| *target = heads().1, "for models of the architecture `gemma4`");
        refused(
            |_, drafter| drafter.metadata.retain(|key, _| *key != swa),
            "does not say that it needs keys",
        );
        refused(|_, drafter| drafter.tensors.clear(), "a vocabulary of so many tokens");
    }
}

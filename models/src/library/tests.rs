//! What is on disk is told truly, and nothing half-made is ever taken for a model.
use super::*;
use crate::catalogue::{Bytes, Family, Prefixes, Role};
use crate::gguf::GgufError;

const QUIET: OnProgress<'static> = &|_| {};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf")
}

/// A library and a user's model directory in a place of their own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn library(&self) -> Library {
        Library::open(&self.path("library"), Catalogue::load(Some(&self.path("own"))).unwrap())
    }

    /// Adds a model to the user's catalogue, made from a shipped one.
    fn describe(&self, id: &str, change: impl FnOnce(&mut Model)) {
        let mut model = Model::clone(Catalogue::load(None).unwrap().get("gemma-4-e4b").unwrap());
        model.id = id.to_owned();
        model.aliases.clear();
        change(&mut model);
        std::fs::create_dir_all(self.path("own")).unwrap();
        std::fs::write(self.path("own").join(format!("{id}.ron")), crate::catalogue::write(&model).unwrap())
            .unwrap();
    }
}

fn fixture_sha256() -> String {
    hash_file(&fixture(), QUIET).unwrap()
}

#[test]
fn an_empty_library_has_nothing_and_makes_nothing() {
    let place = Place::new();
    let library = place.library();
    assert!(library.list().iter().all(|entry| entry.state == State::Absent));
    assert_eq!(library.path_of("gemma-4-e2b"), None);
    assert!(library.free_space().unwrap() > 0);
    assert!(!library.dir().exists());
}

#[test]
fn a_file_that_says_how_it_makes_vectors_becomes_an_embedding_model() {
    let place = Place::new();
    let mut library = place.library();
    let file = fixture().with_file_name("tiny-embedder.gguf");
    let model = library.import(&file, None, Placement::Copy, QUIET).unwrap().model;
    assert_eq!((model.role, model.family, model.context_tokens), (Role::Embedding, Family::Mute, 64));
    assert_eq!(model.prefixes, Some(Prefixes::default()), "nothing is known that it was taught to be told");
    let again = place.library();
    assert_eq!(again.catalogue().get("tiny-embedder"), Some(&model), "written and read");
}

#[test]
fn an_unknown_file_becomes_a_model_of_ones_own_and_can_be_removed_again() {
    let place = Place::new();
    let mut library = place.library();
    let imported = library.import(&fixture(), None, Placement::Copy, QUIET).unwrap();
    let model = &imported.model;
    assert_eq!(
        (model.id.as_str(), model.family, model.role),
        ("tiny-gemma4-tools", Family::Gemma4, Role::Own)
    );
    assert_eq!(
        (model.context_tokens, model.parameters, model.quantisation.as_str()),
        (4096, 969_829, "F16"),
        "with 32 factors of the rotation"
    );
    // Three sliding layers of 2 x 2 x 32 values, two full ones of 2 x 2 x 64, two bytes each.
    assert_eq!(
        (model.kv.window_bytes_per_cell, model.kv.full_bytes_per_token, model.kv.window_tokens),
        (768, 1024, 128)
    );

    let mut later = place.library();
    assert_eq!(later.path_of("tiny-gemma4-tools"), Some(imported.stored.path.clone()));
    assert_eq!(later.verify("tiny-gemma4-tools", QUIET).unwrap(), [imported.stored]);
    assert!(later.import(&fixture(), None, Placement::Copy, QUIET).unwrap().already);

    assert!(later.remove("tiny-gemma4-tools").unwrap() > 1_986_048);
    assert!(place.library().entry("tiny-gemma4-tools").is_none());
    assert!(matches!(later.remove("tiny-gemma4-tools"), Err(LibraryError::Unknown(_))));
}

#[test]
fn a_context_that_no_machine_can_count_is_not_taken_over() {
    let place = Place::new();
    let mut bytes = std::fs::read(fixture()).unwrap();
    let key = b"gemma4.context_length";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    // A number's type, then the number (GGUF's own order: little end first).
    assert_eq!(bytes[at..at + 8], [4, 0, 0, 0, 0, 16, 0, 0]);
    for (tokens, words) in [(4_000_000_000_u32, "holds 4000000000 tokens"), (0, "how long its context is")] {
        bytes[at + 4..at + 8].copy_from_slice(&tokens.to_le_bytes());
        let path = place.path("absurd.gguf");
        std::fs::write(&path, &bytes).unwrap();
        let error = place.library().import(&path, None, Placement::Copy, QUIET).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_file_of_the_catalogue_is_known_by_its_sha256_whatever_its_name() {
    let place = Place::new();
    place.describe("known", |model| {
        model.weights.file = "other.gguf".to_owned();
        model.weights.bytes = Bytes::Exact(1_986_048);
        model.weights.sha256 = Some(fixture_sha256());
    });
    let mut library = place.library();
    let imported = library.import(&fixture(), None, Placement::Link, QUIET).unwrap();
    assert_eq!(imported.model.id, "known");
    assert_eq!(library.path_of("known").unwrap(), place.path("library/known/other.gguf"));
}

#[test]
fn a_file_without_a_known_sha256_is_known_by_name_and_size() {
    let place = Place::new();
    place.describe("near", |model| {
        model.weights.file = "Tiny-Gemma4-Tools.gguf".to_owned();
        model.weights.bytes = Bytes::About(2_000_000);
    });
    let mut library = place.library();
    assert_eq!(library.import(&fixture(), None, Placement::Copy, QUIET).unwrap().model.id, "near");
    // The same name with a size far away is another file.
    let error = library.import(&fixture(), Some("gemma-4-e4b"), Placement::Copy, QUIET).unwrap_err();
    assert!(error.to_string().contains("is not `gemma-4-e4b`: it has 1986048 bytes"), "{error}");
    let error =
        library.import(&fixture(), Some("smollm2-135m-instruct"), Placement::Copy, QUIET).unwrap_err();
    assert!(error.to_string().contains("its sha256 is"), "{error}");
}

#[test]
fn a_name_can_be_chosen_and_must_be_one() {
    let place = Place::new();
    let mut library = place.library();
    assert_eq!(library.import(&fixture(), Some("mine"), Placement::Copy, QUIET).unwrap().model.id, "mine");
    let bad = library.import(&fixture(), Some("../mine"), Placement::Copy, QUIET).unwrap_err();
    assert!(matches!(bad, LibraryError::BadName { .. }));
    let mut without = Library::open(&place.path("library"), Catalogue::load(None).unwrap());
    let error = without.import(&fixture(), Some("other"), Placement::Copy, QUIET).unwrap_err();
    assert!(matches!(error, LibraryError::NoUserDirectory));
    assert!(std::fs::read_dir(place.path("library/other")).unwrap().next().is_none(), "nothing half-made");
}

#[test]
fn what_is_no_model_is_refused_and_nothing_is_left_behind() {
    let place = Place::new();
    let whole = std::fs::read(fixture()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(place.path(name), bytes).unwrap();
        place.library().import(&place.path(name), None, Placement::Copy, QUIET).unwrap_err()
    };
    let cut = write("cut.gguf", &whole[..whole.len() - 1]);
    assert!(matches!(cut, LibraryError::Gguf { source: GgufError::TensorsCut { .. }, .. }), "{cut}");
    assert!(
        cut.to_string().contains("is cut off: it has 1986047 bytes and its tensors need 1986048"),
        "{cut}"
    );
    let page = write("page.gguf", b"<html>not found</html>");
    assert!(page.to_string().contains("is not a GGUF file: it begins with \"<htm\""), "{page}");
    let other = write("other.gguf", &crate::gguf::small_for_tests());
    assert!(other.to_string().contains("architecture is `llama` and it has none"), "{other}");
    let folder = place.library().import(place.dir.path(), None, Placement::Copy, QUIET).unwrap_err();
    assert!(matches!(folder, LibraryError::NotAFile { .. }));
    let none = place.library().import(&place.path("none.gguf"), None, Placement::Copy, QUIET).unwrap_err();
    assert!(none.to_string().contains("cannot open"), "{none}");
    assert!(!place.path("library").exists() && !place.path("own").exists());
}

#[test]
fn a_changed_file_is_found_by_its_size_at_once_and_by_verify_otherwise() {
    let place = Place::new();
    let mut library = place.library();
    let path = library.import(&fixture(), Some("mine"), Placement::Copy, QUIET).unwrap().stored.path;
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = library.verify("mine", QUIET).unwrap_err();
    assert!(matches!(&error, LibraryError::WrongHash { expected, found, .. } if expected != found));
    assert!(error.to_string().contains(&fixture_sha256()), "{error}");

    std::fs::write(&path, &bytes[..last]).unwrap();
    assert_eq!(library.path_of("mine"), None);
    let state = library.entry("mine").unwrap().state;
    assert!(matches!(&state, State::Damaged { reason } if reason.contains("has 1986047 bytes")), "{state:?}");
    assert!(matches!(library.verify("mine", QUIET), Err(LibraryError::Damaged { .. })));
}

#[test]
fn a_record_that_cannot_be_read_makes_the_model_damaged_not_the_program() {
    let place = Place::new();
    let mut library = place.library();
    library.import(&fixture(), Some("mine"), Placement::Copy, QUIET).unwrap();
    for text in ["", "(format: 2, files: [])", "(format: 1", "\u{0}"] {
        std::fs::write(place.path("library/mine/model.ron"), text).unwrap();
        assert!(matches!(library.entry("mine").unwrap().state, State::Damaged { .. }), "{text}");
    }
}

#[test]
fn one_process_at_a_time_changes_a_model() {
    let place = Place::new();
    let mut library = place.library();
    let lock = library.lock("mine").unwrap();
    let error = library.import(&fixture(), Some("mine"), Placement::Copy, QUIET).unwrap_err();
    assert!(
        matches!(error, LibraryError::Busy { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(lock);
    library.import(&fixture(), Some("mine"), Placement::Copy, QUIET).unwrap();
}

#[test]
fn a_partial_download_is_shown_as_one() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("library/gemma-4-e2b")).unwrap();
    std::fs::write(place.path("library/gemma-4-e2b/gemma-4-E2B-it-Q4_K_M.gguf.part"), b"GGUF").unwrap();
    let state = place.library().entry("gemma-4-e2b").unwrap().state;
    assert_eq!(state, State::Partial { bytes: 4, total: 3_106_736_256 });
    assert!(matches!(place.library().verify("gemma-4-e2b", QUIET), Err(LibraryError::NotOnDisk { .. })));
}

#[test]
fn a_projector_comes_to_lie_beside_its_model_and_no_other_does() {
    let place = Place::new();
    let mut library = place.library();
    let projector = fixture().with_file_name("tiny-mmproj.gguf");
    let id = "tiny-gemma4-tools";
    let early = library.import_projector(id, &projector, Placement::Copy, QUIET).unwrap_err();
    assert!(matches!(early, LibraryError::Unknown(_)), "{early}");
    library.import(&fixture(), None, Placement::Copy, QUIET).unwrap();
    assert_eq!(library.mmproj_of(id), None);
    let wrong = library.import_projector(id, &fixture(), Placement::Copy, QUIET).unwrap_err();
    assert!(wrong.to_string().contains("its architecture is `gemma4`, not `clip`"), "{wrong}");
    let stored = library.import_projector(id, &projector, Placement::Copy, QUIET).unwrap();
    let later = place.library();
    assert_eq!(later.mmproj_of(id).as_ref(), Some(&stored.path));
    assert_eq!(later.entry(id).unwrap().projector, Some(stored.clone()));
    assert_eq!(later.verify(id, QUIET).unwrap().last(), Some(&stored));
    // Again: the same file in the same place.
    let again = library.import_projector(id, &projector, Placement::Copy, QUIET).unwrap();
    assert_eq!((again.path, again.record.sha256), (stored.path.clone(), stored.record.sha256));
    std::fs::write(&stored.path, b"short").unwrap();
    assert_eq!(place.library().mmproj_of(id), None, "what is not whole is not used");
}

#[test]
fn a_drafter_comes_to_lie_beside_its_model_and_no_other_does() {
    let place = Place::new();
    let mut library = place.library();
    let drafter = fixture().with_file_name("tiny-drafter.gguf");
    let id = "tiny-gemma4-tools";
    let early = library.import_drafter(id, &drafter, Placement::Copy, QUIET).unwrap_err();
    assert!(matches!(early, LibraryError::Unknown(_)), "{early}");
    library.import(&fixture(), None, Placement::Copy, QUIET).unwrap();
    assert_eq!(library.drafter_of(id), None);
    let wrong = library.import_drafter(id, &fixture(), Placement::Copy, QUIET).unwrap_err();
    assert!(wrong.to_string().contains("`gemma4`, not `gemma4-assistant`"), "{wrong}");
    let stored = library.import_drafter(id, &drafter, Placement::Copy, QUIET).unwrap();
    let later = place.library();
    assert_eq!(later.drafter_of(id).as_ref(), Some(&stored.path));
    assert_eq!(later.entry(id).unwrap().drafter, Some(stored.clone()));
    assert_eq!(later.verify(id, QUIET).unwrap().last(), Some(&stored));
    std::fs::write(&stored.path, b"short").unwrap();
    assert_eq!(place.library().drafter_of(id), None, "what is not whole is not used");
    let alone = library.import(&drafter, None, Placement::Copy, QUIET).unwrap_err();
    assert!(alone.to_string().contains("--drafter"), "{alone}");
}

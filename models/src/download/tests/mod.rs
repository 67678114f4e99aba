//! Fetching, tried on real servers of this machine: connections that break, stand still, lie or are not there.
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::catalogue::{self, Bytes, Catalogue, Family, KvBytes, Role};
use crate::library::hash_file;

mod faults;
mod local;
mod server;
mod settings;
mod space;
mod transfer;
mod wheel;

/// The bytes that all tests fetch: a real, tiny model.
pub(super) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf")
}

pub(super) fn body() -> Vec<u8> {
    std::fs::read(fixture()).unwrap()
}

pub(super) fn sha256() -> String {
    hash_file(&fixture(), &|_| {}).unwrap()
}

/// A library, and a catalogue with the model `tiny` whose repository is `o/r`.
pub(super) struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    /// A place whose catalogue knows everything about the file, or only its size about.
    pub(super) fn new(known: bool) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.describe(|model| {
            if known {
                model.weights.bytes = Bytes::Exact(body().len() as u64);
                model.weights.sha256 = Some(sha256());
            }
        });
        place
    }

    pub(super) fn describe(&self, change: impl FnOnce(&mut Model)) {
        let mut model = Model {
            id: "tiny".to_owned(),
            aliases: Vec::new(),
            name: "Tiny".to_owned(),
            family: Family::Gemma4,
            role: Role::Own,
            licence: "Apache-2.0".to_owned(),
            parameters: 969_829,
            quantisation: "F16".to_owned(),
            context_tokens: 4096,
            source: Source::HuggingFace { repository: "o/r".to_owned() },
            weights: Artifact { file: "tiny.gguf".to_owned(), bytes: Bytes::About(2_000_000), sha256: None },
            mmproj: None,
            drafter: None,
            prefixes: None,
            kv: KvBytes { full_bytes_per_token: 1024, window_bytes_per_cell: 0, window_tokens: 0 },
        };
        change(&mut model);
        std::fs::create_dir_all(self.dir.path().join("own")).unwrap();
        std::fs::write(self.dir.path().join("own/tiny.ron"), catalogue::write(&model).unwrap()).unwrap();
    }

    pub(super) fn library(&self) -> Library {
        self.library_in(&self.dir.path().join("library"))
    }

    pub(super) fn library_in(&self, dir: &Path) -> Library {
        Library::open(dir, Catalogue::load(Some(&self.dir.path().join("own"))).unwrap())
    }

    /// What is in the model's directory, by name.
    pub(super) fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path().join("library/tiny"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn part_bytes(&self) -> u64 {
        std::fs::metadata(self.dir.path().join("library/tiny/tiny.gguf.part")).map_or(0, |meta| meta.len())
    }
}

/// A downloader that asks a server of this machine and loses its patience soon.
pub(super) fn downloader(base: &str, attempts_max: u32) -> Downloader {
    let limits = Limits {
        stall_timeout: Duration::from_secs(20),
        attempts_max,
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
    };
    let address = Url::parse(base).unwrap();
    Downloader::new(Settings { hub: address.clone(), hub_token: None, index: address, limits }).unwrap()
}

pub(super) async fn pull(downloader: &Downloader, place: &Place) -> Result<Pulled, PullError> {
    downloader.pull(&place.library(), "tiny", Piece::Weights, None, &|_| {}).await
}

pub(super) async fn pull_from(place: &Place, from: &str) -> Result<Pulled, PullError> {
    let origin: Origin = from.parse().unwrap();
    downloader("http://127.0.0.1:9", 1)
        .pull(&place.library(), "tiny", Piece::Weights, Some(&origin), &|_| {})
        .await
}

/// The pulled file is the fixture, whole, recorded, and alone.
#[track_caller]
pub(super) fn assert_complete(place: &Place, pulled: &Pulled) {
    assert_eq!(pulled.stored.record.sha256, sha256());
    assert_eq!(std::fs::read(&pulled.stored.path).unwrap(), body());
    assert_eq!(place.library().path_of("tiny").as_ref(), Some(&pulled.stored.path));
    assert_eq!(place.files(), ["model.ron", "tiny.gguf"]);
}

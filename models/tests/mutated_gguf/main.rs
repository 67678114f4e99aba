//! Damaged model files are imported and loaded, one after the other. The only effects allowed are a refusal and a worker that ends:
//! the library and its other models stay as they were, and nothing hangs.
//!
//! A test run takes a few of them. `ARCHOND_GGUF_MUTANTS=2000` takes so many and prints what became of them,
//! `ARCHOND_GGUF_FIRST=1234` begins with another one. This binary is also the worker, as the daemon's own would be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archond_models::catalogue::{Catalogue, Family};
use archond_models::library::{Library, LibraryError, Placement};
use archond_models::worker::{
    AnswerForm, ChatFamily, Conversation, Event, Prompt, Request, Residence, SamplingParams, Spawner, Worker,
    WorkerSpec, run_worker,
};
use libtest_mimic::{Arguments, Trial, run};
use tempfile::TempDir;

mod mutants;
use mutants::Original;

/// Damaged files of a normal test run: four of each kind.
const MUTANTS: u64 = 40;
/// Longest wait for the end of a process that was killed, on a crowded machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// A worker that is silent for longer is killed, as the pool's watchdog does after 30 seconds and more. The whole of a good one's life
/// takes a tenth of a second.
const SILENCE: Duration = Duration::from_secs(20);
/// Private memory of a worker: the good model needs 40 MB.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("model-worker") {
        return run_worker();
    }
    let trials = vec![Trial::test("damaged_files_harm_nobody", || {
        damaged_files_harm_nobody();
        Ok(())
    })];
    run(&Arguments::from_args(), trials).exit_code()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[allow(clippy::disallowed_methods)] // measures foreign processes
fn now() -> Instant {
    Instant::now()
}

/// A library with one sound model.
struct Place {
    dir: TempDir,
    library: Library,
    spawner: Spawner,
    /// Every file with its length, as long as no damaged one is in the library.
    files: BTreeMap<PathBuf, u64>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::load(Some(&dir.path().join("own"))).unwrap();
        let mut library = Library::open(&dir.path().join("library"), catalogue);
        library.import(&fixture(), Some("sound"), Placement::Copy, &|_| {}).unwrap();
        let mut place = Self { dir, library, spawner: Spawner::start().unwrap(), files: BTreeMap::new() };
        place.files = place.files();
        place
    }

    fn files(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, u64>) {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), files),
                    false => drop(files.insert(entry.path(), entry.metadata().unwrap().len())),
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(&self.dir.path().join("library"), &mut files);
        walk(&self.dir.path().join("own"), &mut files);
        files.retain(|path, _| !path.to_string_lossy().contains("/.locks/"));
        files
    }

    /// Imports and loads a file; answers what became of it.
    fn take(&mut self, path: &Path) -> String {
        let imported = match self.library.import(path, Some("mutant"), Placement::Copy, &|_| {}) {
            Ok(imported) => imported,
            Err(LibraryError::Gguf { .. }) => return "refused by the pre-check".to_owned(),
            Err(LibraryError::NotUsable { .. }) => return "refused: not a model to talk to".to_owned(),
            Err(other) => panic!("refused for a wrong reason: {other}"),
        };
        let family = match imported.model.family {
            Family::Gemma4 => ChatFamily::Gemma4,
            Family::ChatMl => ChatFamily::ChatMl,
            Family::Template => ChatFamily::Template,
            Family::Mute => ChatFamily::Mute,
        };
        let outcome = self.load(&imported.stored.path, family);
        self.library.remove("mutant").unwrap();
        outcome
    }

    /// Loads a file and lets it say a few words.
    fn load(&self, model_path: &Path, family: ChatFamily) -> String {
        let spec = WorkerSpec {
            program: std::env::current_exe().unwrap(),
            model_path: model_path.to_owned(),
            projector_path: None,
            residence: Residence { repack: true, gpu_layers: 0 },
            drafter_path: None,
            family,
            slots: 2,
            context_tokens: 512,
            threads: 1,
            draft_tokens_max: 15,
            memory_bytes_max: Some(MEMORY_BYTES_MAX),
            keepsake: None,
            shelf: None,
        };
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let hear = move |event| {
            let _nobody_listens_any_more = sender.lock().unwrap().send(event);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let worker = runtime.block_on(self.spawner.launch(spec, Arc::new(hear))).unwrap();
        let outcome = follow(&worker, &events);
        // The next one comes when this one is gone and reaped.
        worker.kill();
        while !outcome.exited
            && !matches!(events.recv_timeout(PATIENCE).expect("a killed worker ends"), Event::Exited { .. })
        {
        }
        outcome.words
    }

    fn assert_untouched(&self, after: &str) {
        assert_eq!(self.files(), self.files, "other files after {after}");
        assert!(self.library.path_of("sound").is_some(), "the sound model is there after {after}");
    }

    /// The sound model is what it was, and can be talked to.
    fn assert_sound(&self) {
        let path = self.library.verify("sound", &|_| {}).unwrap().remove(0).path;
        assert_eq!(self.load(&path, ChatFamily::Gemma4), "loaded, and answers");
    }
}

/// What became of a worker.
struct Outcome {
    words: String,
    exited: bool,
}

fn follow(worker: &Worker, events: &Receiver<Event>) -> Outcome {
    let runs = |words: &str| Outcome { words: words.to_owned(), exited: false };
    let mut ready = false;
    loop {
        let Ok(event) = events.recv_timeout(SILENCE) else {
            return runs(if ready { "hung while it answered" } else { "hung while it loaded" });
        };
        match event {
            Event::Ready { .. } => {
                ready = true;
                worker.send(request()); // if it has ended meanwhile, that is told next
            }
            Event::Finished { .. } => return runs("loaded, and answers"),
            Event::Refused { .. } => return runs("loaded, and refuses the request"),
            Event::Exited { detail, unusable } => {
                if number("ARCHOND_GGUF_MUTANTS").is_some() {
                    println!("{detail}");
                }
                return Outcome { words: ending(&detail, unusable, ready), exited: true };
            }
            Event::Loading { .. } | Event::Prefill { .. } | Event::Token { .. } | Event::Found { .. } => {}
        }
    }
}

/// The manner of a worker's end, without what differs from file to file.
fn ending(detail: &str, unusable: bool, ready: bool) -> String {
    let when = if ready { "while it answered" } else { "while it loaded" };
    match detail.strip_prefix("it ended by ") {
        Some(signal) => format!("killed by {} {when}", signal.split([' ', ':']).next().unwrap_or_default()),
        None if detail.starts_with("it broke the protocol") => format!("broke the protocol {when}"),
        None if detail.starts_with("it ended with code 101") => format!("ended by a panic {when}"),
        None if detail.starts_with("it ended with code") => format!("ended with a code {when}"),
        None if unusable => format!("refused by llama.cpp {when}"),
        None => format!("ended with last words {when}"),
    }
}

fn request() -> Request {
    Request {
        id: 1,
        prompt: Prompt::Chat(Conversation::of_texts("You are Ezra.", ["hello"])),
        form: AnswerForm::default(),
        sampling: SamplingParams::GREEDY,
        resume: Vec::new(),
        answer_tokens_max: 8,
        context_tokens_max: 256,
    }
}

fn damaged_files_harm_nobody() {
    let original = Original::new(std::fs::read(fixture()).unwrap());
    let mut place = Place::new();
    let path = place.dir.path().join("mutant.gguf");
    let (first, count) = (number("ARCHOND_GGUF_FIRST").unwrap_or(0), number("ARCHOND_GGUF_MUTANTS"));
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut longest = (Duration::ZERO, 0);
    for mutant in first..first + count.unwrap_or(MUTANTS) {
        let (bytes, kind) = original.mutant(mutant);
        std::fs::write(&path, bytes).unwrap();
        let began = now();
        let outcome = place.take(&path);
        longest = longest.max((began.elapsed(), mutant));
        place.assert_untouched(&format!("mutant {mutant}, {kind}"));
        if count.is_some() {
            println!("{mutant}: {kind}: {outcome}: {:?}", began.elapsed());
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    place.assert_sound();
    if count.is_some() {
        println!("{outcomes:#?}\nlongest: {longest:?}");
    }
}

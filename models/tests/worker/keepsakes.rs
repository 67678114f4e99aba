//! A worker is killed in the middle of its answers, and the next finds what it had computed.
use std::fs;

use archond_models::worker::{Keepsake, Request, Residence, WorkerSpec};
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Answer, Rig, model_path, request, spec};

fn keepsake() -> Keepsake {
    Keepsake::new(64 << 20).unwrap()
}

fn with(keepsake: &Keepsake) -> WorkerSpec {
    WorkerSpec { keepsake: Some(keepsake.clone()), ..spec() }
}

fn asked() -> Request {
    let told = "user: my colour is teal\nassistant: Noted, your colour is teal.";
    let mut asked = request(1, &[&format!("Summarise this conversation:\n\n{told}")]);
    asked.answer_tokens_max = 24;
    // It does not end by itself, so that the worker dies before its answer ends, however late.
    asked.sampling.frequency_penalty = -50.0;
    asked
}

/// What was said by a worker that was killed after the second token at the earliest: then its first step is saved.
fn cut_short(spec: WorkerSpec) -> Vec<i32> {
    let rig = Rig::ready(spec);
    rig.send(Request { answer_tokens_max: 100_000, ..asked() });
    let mut said = Answer::default();
    while said.tokens.len() < 2 {
        assert!(!said.take(rig.next()));
    }
    kill_process(Pid::from_raw(rig.worker().pid() as i32).unwrap(), Signal::KILL).unwrap();
    let (detail, _) = rig.exit();
    assert!(detail.starts_with("it ended by SIGKILL"), "{detail}");
    said.tokens
}

/// The whole answer, and how much of the prompt the second worker found.
fn go_on(spec: WorkerSpec, said: Vec<i32>) -> (Vec<i32>, u32) {
    let rig = Rig::ready(spec);
    let answer = rig.ask(Request { resume: said.clone(), ..asked() });
    assert!(answer.prefill[0].0 >= answer.usage.cached_tokens, "what was found is not read: {answer:?}");
    ([said, answer.tokens].concat(), answer.usage.cached_tokens)
}

pub(crate) fn the_next_worker_goes_on_with_what_was_computed() {
    let undisturbed = Rig::ready(spec()).ask(asked());
    let keepsake = keepsake();
    let said = cut_short(with(&keepsake));
    assert!(!keepsake.is_taken(), "the dead have let it go before their end is told");
    let (tokens, found) = go_on(with(&keepsake), said);
    assert_eq!(tokens, undisturbed.tokens);
    assert!(found > 0 && found <= undisturbed.usage.prompt_tokens, "{found} tokens were found");

    let (tokens, found) = go_on(spec(), cut_short(spec()));
    assert_eq!((tokens, found), (undisturbed.tokens, 0), "without, all is read again");
}

pub(crate) fn another_context_or_file_finds_nothing() {
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::copy(model_path(), copy.path()).unwrap();
    let others: [fn(WorkerSpec) -> WorkerSpec; 3] = [
        |spec| WorkerSpec { context_tokens: 512, ..spec },
        |spec| WorkerSpec { slots: 3, ..spec },
        |spec| WorkerSpec { residence: Residence { repack: true, gpu_layers: 0 }, ..spec },
    ];
    let moved = |spec| WorkerSpec { model_path: copy.path().to_owned(), ..spec };
    for other in others.iter().map(|other| other as &dyn Fn(WorkerSpec) -> WorkerSpec).chain([&moved as _]) {
        let keepsake = keepsake();
        let said = cut_short(with(&keepsake));
        assert_eq!(go_on(other(with(&keepsake)), said).1, 0);
    }
}

pub(crate) fn a_worker_holds_no_descriptor_of_it() {
    let keepsake = keepsake();
    let rig = Rig::ready(with(&keepsake));
    let pid = rig.worker().pid();
    assert!(keepsake.is_taken());
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = fs::read_link(descriptor.path()).unwrap_or_default().to_string_lossy().into_owned();
        assert!(!target.contains("memfd"), "{target} is open in the worker");
    }
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert_eq!(maps.lines().filter(|line| line.contains("memfd:archond-keepsake")).count(), 1, "{maps}");
    assert!(matches!(rig.ask(request(1, &["hello"])).text.as_str(), "Hello, I am Ezra."));
}

/// The limit is for private memory: what is kept may be larger than it.
pub(crate) fn it_does_not_count_as_the_workers_memory() {
    let keepsake = Keepsake::new(4 << 30).unwrap();
    let spec = WorkerSpec { memory_bytes_max: Some(1 << 30), ..with(&keepsake) };
    let said = cut_short(spec.clone());
    assert!(go_on(spec, said).1 > 0);
}

pub(crate) fn memory_that_is_of_no_use_is_done_without() {
    let keepsake = Keepsake::new(100).unwrap();
    let said = cut_short(with(&keepsake));
    assert_eq!(go_on(with(&keepsake), said).1, 0);
}

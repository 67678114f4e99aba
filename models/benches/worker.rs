//! How fast a worker starts, reads, writes, and is found dead. This binary is the worker, too.
//!
//! `cargo bench -p archond-models --bench worker`; one thread, the tiny model of `tests/data`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archond_models::engine::{Engine, LoadedModel};
use archond_models::worker::{
    AnswerForm, ChatFamily, Conversation, Event, Prompt, Request, Residence, SamplingParams, Spawner, Worker,
    WorkerSpec, run_worker,
};
use criterion::{BenchmarkId, Criterion, Throughput};

fn model_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf").canonicalize().unwrap()
}

/// An answer of exactly so many tokens: what was said becomes ever likelier, so no turn ends by itself.
fn request(id: u64, said: &str, answer_tokens_max: u32) -> Request {
    Request {
        id,
        prompt: Prompt::Chat(Conversation::of_texts("You are Ezra, a helpful assistant.", [said])),
        form: AnswerForm::default(),
        sampling: SamplingParams { frequency_penalty: -50.0, ..SamplingParams::GREEDY },
        resume: Vec::new(),
        answer_tokens_max,
        context_tokens_max: 2048,
    }
}

fn run(engine: &mut Engine<'_>) {
    while !engine.is_idle() {
        engine.step(&mut |event| drop(black_box(event))).unwrap();
    }
}

fn engine(criterion: &mut Criterion) {
    let model = LoadedModel::load(&model_path(), ChatFamily::Gemma4, Residence::default(), |_| {}).unwrap();
    const ANSWER_TOKENS: u32 = 64;
    let mut group = criterion.benchmark_group("write");
    for slots in [1, 2, 4, 8] {
        group.throughput(Throughput::Elements(u64::from(slots * ANSWER_TOKENS)));
        let mut engine = Engine::new(&model, slots, 2048, 1).unwrap();
        group.bench_function(BenchmarkId::from_parameter(slots), |bencher| {
            bencher.iter(|| {
                for id in 0..slots {
                    engine.start(&request(id.into(), "hello", ANSWER_TOKENS));
                }
                run(&mut engine);
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("read");
    let mut engine = Engine::new(&model, 1, 2048, 1).unwrap();
    let long = "the river and the stone ".repeat(40);
    let mut round = 0;
    group.throughput(Throughput::Elements(400));
    group.bench_function("about 400 tokens", |bencher| {
        bencher.iter(|| {
            round += 1; // another beginning each time: nothing is cached
            let asked = request(0, &format!("{round} {long}"), 1);
            engine.start(&asked);
            run(&mut engine);
        });
    });
    group.finish();
}

fn launch(spawner: &Spawner) -> (Worker, Receiver<Event>) {
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    let spec = WorkerSpec {
        program: std::env::current_exe().unwrap(),
        model_path: model_path(),
        projector_path: None,
        residence: Residence::default(),
        drafter_path: None,
        family: ChatFamily::Gemma4,
        slots: 4,
        context_tokens: 2048,
        threads: 1,
        draft_tokens_max: 0,
        memory_bytes_max: None,
        keepsake: None,
        shelf: None,
    };
    let hear = move |event| drop(sender.lock().unwrap().send(event));
    let launched = spawner.launch(spec, Arc::new(hear));
    (tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(launched).unwrap(), events)
}

fn until(events: &Receiver<Event>, wanted: fn(&Event) -> bool) {
    while !wanted(&events.recv_timeout(Duration::from_secs(60)).unwrap()) {}
}

fn process(criterion: &mut Criterion) {
    let spawner = Spawner::start().unwrap();
    let ready = |event: &Event| matches!(event, Event::Ready { .. });
    let exited = |event: &Event| matches!(event, Event::Exited { .. });
    let mut group = criterion.benchmark_group("process");
    group.sample_size(20);
    group.bench_function("launch to ready", |bencher| {
        bencher.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let began = Instant::now();
                    let (worker, events) = launch(&spawner);
                    until(&events, ready);
                    let took = began.elapsed();
                    worker.kill();
                    until(&events, exited);
                    took
                })
                .sum()
        });
    });
    group.bench_function("kill to exited", |bencher| {
        bencher.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let (worker, events) = launch(&spawner);
                    until(&events, ready);
                    let began = Instant::now();
                    worker.kill();
                    until(&events, exited);
                    began.elapsed()
                })
                .sum()
        });
    });
    let (worker, events) = launch(&spawner);
    until(&events, ready);
    let mut id = 0;
    group.throughput(Throughput::Elements(256));
    group.bench_function("write 256 tokens through the process", |bencher| {
        bencher.iter(|| {
            id += 1;
            assert!(worker.send(request(id, "hello", 256)));
            until(&events, |event| matches!(event, Event::Finished { .. }));
        });
    });
    group.finish();
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("model-worker") {
        return run_worker();
    }
    let mut criterion = Criterion::default().configure_from_args();
    engine(&mut criterion);
    process(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

//! How fast messages become durable, one caller or many, and how fast a big store opens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archond::store::RedbStore;
use archond_actors::domain::{
    AnswerKind, InboundMessage, InboxId, NewAnswer, NewTurn, OutboxId, TurnEnd, Usage,
};
use archond_actors::memory::{MemoryArgs, MemoryHandle};
use archond_actors::ports::{Store, Write};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

static KEYS: AtomicU64 = AtomicU64::new(0);
/// Sessions of the big store: what a busy house may leave after some years.
const SESSIONS: u64 = 10_000;
/// Turns of each.
const TURNS: u64 = 4;

fn message(peer: u64) -> InboundMessage {
    InboundMessage {
        archon: "ezra".parse().unwrap(),
        channel: "cli".parse().unwrap(),
        peer: format!("p{peer}").parse().unwrap(),
        key: KEYS.fetch_add(1, Ordering::Relaxed).to_string(),
        thread: None,
        text: "How far is it to the moon, and how long would one walk?".into(),
        received_unix_ms: 0,
        waybill: archond_actors::domain::Waybill::default(),
    }
}

struct Nobody;

impl Actor for Nobody {
    type Msg = ();
    type State = ();
    type Arguments = ();
    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn accept(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(folder.path().join("store.redb")).unwrap());
    let memory = MemoryHandle::new();
    runtime.block_on(async {
        let (supervisor, _) = Actor::spawn(None, Nobody, ()).await.unwrap();
        memory.spawn(MemoryArgs::new(store), supervisor.get_cell()).await.unwrap();
    });

    let mut group = criterion.benchmark_group("accept");
    for callers in [1, 10, 100, 1000] {
        group.throughput(Throughput::Elements(callers));
        // Each caller sends its next message when the last one is durable, as a channel does.
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.to_async(&runtime).iter_custom(|rounds| {
                let memory = memory.clone();
                async move {
                    let begun = tokio::time::Instant::now();
                    let one = |peer| {
                        let memory = memory.clone();
                        async move {
                            for _ in 0..rounds {
                                memory.accept(message(peer)).await.unwrap();
                            }
                        }
                    };
                    (0..callers).map(one).collect::<JoinSet<()>>().join_all().await;
                    begun.elapsed()
                }
            });
        });
    }
    group.finish();
}

fn fill(store: &RedbStore) {
    let mut last = 0;
    for _ in 0..TURNS {
        for peers in (0..SESSIONS).collect::<Vec<_>>().chunks(500) {
            let accepts: Vec<_> = peers.iter().map(|peer| Write::Accept(message(*peer))).collect();
            store.commit(&accepts).unwrap();
            let ends = peers.iter().flat_map(|_| {
                last += 1;
                let answer =
                    "It is about 384,400 km; walking 5 km an hour, day and night, takes nine years. "
                        .repeat(6);
                let turn = NewTurn {
                    user: "How far is it to the moon, and how long would one walk?".into(),
                    answer: answer.clone(),
                    stopped: false,
                    model: "gemma-4-e4b".parse().unwrap(),
                    steps: Vec::new(),
                    asides: Vec::new(),
                    brought: Vec::new(),
                    usage: Usage::default(),
                    replaces_last: false,
                };
                let end = TurnEnd {
                    inbox: InboxId(last),
                    turn: Some(turn),
                    answer: NewAnswer { kind: AnswerKind::Answer, text: answer },
                    ended_unix_ms: last,
                };
                [Write::EndTurn(end), Write::MarkSent { outbox: OutboxId(last) }]
            });
            store.commit(&ends.collect::<Vec<_>>()).unwrap();
        }
    }
}

fn open(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    fill(&store);
    // A copy of the file while it is in use looks like one whose process was killed.
    let killed = folder.path().join("killed.redb");
    std::fs::copy(&path, &killed).unwrap();
    drop(store);
    println!("{SESSIONS} sessions of {TURNS} turns: {} bytes", std::fs::metadata(&path).unwrap().len());

    let mut group = criterion.benchmark_group("10,000 sessions");
    group.sample_size(20);
    group.bench_function("open", |bencher| bencher.iter(|| RedbStore::open(&path).unwrap()));
    group.bench_function("open after kill -9", |bencher| {
        let copy = folder.path().join("copy.redb");
        bencher.iter_batched(
            || std::fs::copy(&killed, &copy).unwrap(),
            |_| RedbStore::open(&copy).unwrap(),
            criterion::BatchSize::PerIteration,
        );
    });
    let store = RedbStore::open(&path).unwrap();
    let key = "ezra/cli/p777/main".parse().unwrap();
    group.bench_function("session", |bencher| bencher.iter(|| store.session(&key).unwrap().unwrap()));
    group.bench_function("list 100", |bencher| {
        bencher.iter(|| store.sessions(None, Some(&key), 100).unwrap())
    });
    group.finish();
}

criterion_group!(benches, accept, open);
criterion_main!(benches);

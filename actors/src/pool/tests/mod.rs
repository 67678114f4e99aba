//! Tests of the pool, through its handle alone, on an engine that misbehaves on demand.
mod failures;
mod memory;
mod queueing;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::domain::{
    ChatRole, ChatTurn, Conversation, FinishReason, GenerationId, ModelId, ModelStatus, Priority, Prompt,
    Sampling,
};
use crate::insight::Roster;
use crate::ports::{Engine, EngineError, Footprint, Sink, WorkerEvent, WorkerLink};
use crate::testkit::{FakeEngine, FakeFault, FakeLoad, StoppedClock};

/// Longest wait for anything, in the tests' own time: a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Supervises the pool and does not mind how it ends.
struct Watcher;

impl Actor for Watcher {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

struct House<E = FakeEngine> {
    pool: PoolHandle,
    engine: Arc<E>,
    actor: ActorCell,
}

/// A pool over an engine with the models `large` and `small`.
async fn house(settings: PoolSettings) -> House<FakeEngine> {
    house_of(FakeEngine::new([large(), small()]).into(), settings).await
}

async fn house_of<E: Engine>(engine: Arc<E>, settings: PoolSettings) -> House<E> {
    let supervisor = Actor::spawn(None, Watcher, ()).await.unwrap().0.get_cell();
    let pool = PoolHandle::new();
    let roster = Roster::new(Arc::new(StoppedClock));
    let args = PoolArgs { engine: engine.clone(), settings, roster, path: "pool".into() };
    let actor = pool.spawn(args, supervisor).await.unwrap();
    House { pool, engine, actor }
}

fn large() -> ModelId {
    "large".parse().unwrap()
}

fn small() -> ModelId {
    "small".parse().unwrap()
}

fn order(archon: &str, text: &str) -> GenerationOrder {
    let turns = vec![ChatTurn::text(ChatRole::User, text)];
    GenerationOrder {
        archon: archon.parse().unwrap(),
        session: format!("{archon}/cli/uid0/main").parse().unwrap(),
        priority: Priority::Direct,
        models: vec![large()],
        makes_room: true,
        prompt: Arc::new(Prompt::Chat(Conversation {
            system: "be kind".into(),
            turns,
            ..Conversation::default()
        })),
        form: Arc::default(),
        sampling: Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
        },
        answer_tokens_max: 1000,
        context_tokens_max: 4096,
    }
}

fn echo(text: &str, tokens: Option<u32>) -> String {
    FakeEngine::answer_to(text, tokens).concat()
}

/// What one reader gets.
struct Reading {
    id: GenerationId,
    events: mpsc::UnboundedReceiver<GenerationEvent>,
    seen: Vec<GenerationEvent>,
}

async fn begin(pool: &PoolHandle, order: GenerationOrder) -> Result<Reading, PoolError> {
    let (sender, events) = mpsc::unbounded_channel();
    let sink = Arc::new(move |event| {
        let _ = sender.send(event);
    });
    let id = pool.generate(order, sink).await?;
    Ok(Reading { id, events, seen: Vec::new() })
}

impl Reading {
    async fn next(&mut self) -> Option<GenerationEvent> {
        let event =
            tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("the reader waits for ever");
        self.seen.extend(event.clone());
        event
    }

    async fn until(&mut self, wanted: impl Fn(&GenerationEvent) -> bool) {
        while !wanted(&self.next().await.expect("the answer ended before")) {}
    }

    /// Reads until nothing comes any more: until the pool has forgotten the order.
    async fn end(mut self) -> Answer {
        while self.next().await.is_some() {}
        let text = |event: &GenerationEvent| match event {
            GenerationEvent::Token { chosen } => Some(chosen.words()),
            _ => None,
        };
        let is_end = |event: &GenerationEvent| {
            matches!(event, GenerationEvent::Finished { .. } | GenerationEvent::Failed { .. })
        };
        assert_eq!(self.seen.iter().filter(|event| is_end(event)).count(), 1, "{:?}", self.seen);
        let end = self.seen.last().filter(|event| is_end(event)).expect("the end is the last").clone();
        let text = self.seen.iter().filter_map(text).collect();
        let replaced = self.seen.iter().filter(|event| **event == GenerationEvent::WorkerReplaced).count();
        Answer { text, end, replaced, seen: self.seen }
    }
}

struct Answer {
    text: String,
    end: GenerationEvent,
    replaced: usize,
    seen: Vec<GenerationEvent>,
}

impl Answer {
    #[track_caller]
    fn is_whole(&self, model: &ModelId, text: &str) {
        assert_eq!(self.text, text);
        assert!(
            matches!(&self.end, GenerationEvent::Finished { model: by, reason: FinishReason::EndOfTurn, .. } if by == model),
            "{:?}",
            self.end
        );
    }

    #[track_caller]
    fn error(&self) -> PoolError {
        match &self.end {
            GenerationEvent::Failed { error } => error.clone(),
            other => panic!("not failed: {other:?}"),
        }
    }
}

fn is_text(event: &GenerationEvent) -> bool {
    matches!(event, GenerationEvent::Token { .. })
}

fn queued_at(position: u32) -> impl Fn(&GenerationEvent) -> bool {
    move |event| *event == GenerationEvent::Queued { position }
}

async fn status(pool: &PoolHandle, model: &ModelId) -> ModelStatus {
    let status = pool.status().await.unwrap();
    status.models.into_iter().find(|status| status.id == *model).unwrap()
}

/// Lets this much of the tests' time go by.
async fn pass(time: Duration) {
    // Nobody ever answers.
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

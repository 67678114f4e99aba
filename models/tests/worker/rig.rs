//! Starts workers and waits for what they say.
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archond_models::worker::{
    AnswerForm, ChatFamily, Conversation, Event, Finish, Prompt, Request, Residence, SamplingParams, Spawner,
    Usage, Worker, WorkerError, WorkerSpec,
};

/// Longer than anything here takes, on a crowded machine too. Only a fault waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn model_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf").canonicalize().unwrap()
}

pub(crate) fn spec() -> WorkerSpec {
    WorkerSpec {
        program: std::env::current_exe().unwrap(),
        model_path: model_path(),
        projector_path: None,
        residence: Residence::default(),
        drafter_path: None,
        family: ChatFamily::Gemma4,
        slots: 2,
        context_tokens: 1024,
        threads: 1,
        draft_tokens_max: 15,
        memory_bytes_max: None,
        keepsake: None,
        shelf: None,
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) struct Rig {
    pub(crate) worker: Option<Worker>,
    events: Receiver<Event>,
    spawner: Spawner,
}

impl Rig {
    /// Starts a worker.
    pub(crate) fn launch(spec: WorkerSpec) -> Self {
        Self::try_launch(spec).unwrap()
    }

    pub(crate) fn try_launch(spec: WorkerSpec) -> Result<Self, WorkerError> {
        let spawner = Spawner::start().unwrap();
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let hear = move |event| {
            let _nobody_listens_any_more = sender.lock().unwrap().send(event);
        };
        let worker = runtime().block_on(spawner.launch(spec, Arc::new(hear)))?;
        Ok(Self { worker: Some(worker), events, spawner })
    }

    /// Starts a worker and waits until it takes requests.
    pub(crate) fn ready(spec: WorkerSpec) -> Self {
        let rig = Self::launch(spec);
        loop {
            match rig.next() {
                Event::Loading { .. } => {}
                Event::Ready { .. } => return rig,
                other => panic!("not ready: {other:?}"),
            }
        }
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.worker.as_ref().unwrap()
    }

    /// Gives up the spawner and keeps the worker.
    pub(crate) fn without_spawner(self) -> (Worker, Receiver<Event>) {
        drop(self.spawner);
        (self.worker.unwrap(), self.events)
    }

    pub(crate) fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    pub(crate) fn send(&self, request: Request) {
        assert!(self.worker().send(request), "the worker takes requests");
    }

    /// Waits for the end of the only request that runs.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        while !answer.take(self.next()) {}
        answer
    }

    pub(crate) fn ask(&self, request: Request) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Waits for the end of the process.
    pub(crate) fn exit(&self) -> (String, bool) {
        loop {
            if let Event::Exited { detail, unusable } = self.next() {
                assert!(self.events.recv_timeout(Duration::ZERO).is_err(), "nothing comes after the end");
                return (detail, unusable);
            }
        }
    }
}

/// What came of one request.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) tokens: Vec<i32>,
    pub(crate) prefill: Vec<(u32, u32)>,
    pub(crate) finish: Option<Finish>,
    pub(crate) usage: Usage,
}

impl Answer {
    /// Takes an event; true when it was the last.
    pub(crate) fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Prefill { done, total, .. } => self.prefill.push((done, total)),
            Event::Token { token, chosen, .. } => {
                self.tokens.push(token);
                self.text.push_str(&chosen.words());
            }
            Event::Finished { reason, usage, .. } => {
                (self.finish, self.usage) = (Some(reason), usage);
                return true;
            }
            other => panic!("not part of an answer: {other:?}"),
        }
        false
    }
}

/// A request for the tiny model, greedy; the turns are the user's and the model's by turns.
pub(crate) fn request(id: u64, turns: &[&str]) -> Request {
    Request {
        id,
        prompt: Prompt::Chat(Conversation::of_texts(
            "You are Ezra, a helpful assistant.",
            turns.iter().copied(),
        )),
        form: AnswerForm::default(),
        sampling: SamplingParams::GREEDY,
        resume: Vec::new(),
        answer_tokens_max: 128,
        context_tokens_max: 1024,
    }
}

/// A request whose answer does not end by itself: what was said becomes ever likelier.
pub(crate) fn endless(id: u64) -> Request {
    let mut endless = request(id, &["hello"]);
    endless.sampling.frequency_penalty = -50.0;
    endless.answer_tokens_max = 100_000;
    endless
}

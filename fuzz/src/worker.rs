//! A worker that a model file took over: whatever it sends, the daemon passes on only what an honest one could have said.
use std::collections::HashMap;

#[path = "../../models/src/worker/conduct.rs"]
mod conduct;
#[path = "../../models/src/worker/event.rs"]
mod event;
#[path = "../../models/src/worker/finding.rs"]
mod finding;
#[path = "../../models/src/worker/frame.rs"]
mod frame;

pub use event::Event;

use crate::chat::{AnswerForm, AnswerPart, ToolCall};
use crate::engine::{
    Chosen, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Request, SamplingParams, Stretch,
    Usage,
};
use conduct::{Accepted, Conduct};
use frame::{FrameError, FromWorker, Hello, Landlock, Message, ToWorker};

/// What the worker was asked for.
const SLOTS: u32 = 2;
const CONTEXT_TOKENS: u32 = 512;
/// The request for vectors, and how many.
const VECTORS: u64 = 4;
const PASSAGES: usize = 2;
/// Longest text that may reach a log or a terminal, in bytes.
const SAID_BYTES_MAX: usize = 4 << 10;

/// The first byte says how the frames are cut (bit 7: each by one byte of length instead of four, which is easier to find), whether
/// the worker is ready already (bit 6) or has greeted (bit 5), whether vectors are wanted (bit 4), and how many requests run (bits 0
/// and 1); the rest is the stream.
pub fn worker_frames(input: &[u8]) {
    let [choices, stream @ ..] = input else { return };
    let stream = if choices & 0x80 == 0 { stream.to_vec() } else { framed(stream) };
    both_ways(&stream);
    let mut judge = Judge::new();
    if choices & 0x60 != 0 {
        judge.hear(FromWorker::Hello(Hello::own(), Landlock::Full));
    }
    if choices & 0x40 != 0 {
        let processor = "100% CPU".to_owned();
        judge.hear(FromWorker::Ready { slots: SLOTS, context_tokens: CONTEXT_TOKENS, processor });
    }
    for id in 0..u64::from(choices & 3) {
        judge.ask(id, Prompt::Text(String::new()));
    }
    if choices & 0x10 != 0 {
        let passages = vec![vec![Stretch::Text("hi".to_owned())]; PASSAGES];
        judge.ask(VECTORS, Prompt::Inquiry(Inquiry::Vectors { passages }));
    }
    let mut from = stream.as_slice();
    loop {
        match frame::read::<FromWorker>(&mut from) {
            Ok(message) => {
                if !judge.hear(message) {
                    return; // the daemon kills it now
                }
            }
            Err(FrameError::Closed) => return,
            Err(error) => return harmless(&error.to_string()),
        }
    }
}

/// Cuts by lengths of one byte; the frames have their own of four.
fn framed(mut stream: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [length, rest @ ..] = stream {
        let (body, behind) = rest.split_at(rest.len().min(usize::from(*length)));
        frames.extend(u32::from(*length).to_le_bytes());
        frames.extend(body);
        stream = behind;
    }
    frames
}

/// What can be read can be written, and is then read as the same.
fn both_ways(stream: &[u8]) {
    fn check<T: Message + serde::Serialize + serde::de::DeserializeOwned>(mut stream: &[u8]) {
        while let Ok(message) = frame::read::<T>(&mut stream) {
            let written = frame::encode(&message).expect("it was no longer than a frame");
            let again: T = frame::read(&mut written.as_slice()).expect("what was written can be read");
            assert_eq!(frame::encode(&again).expect("as before"), written, "read as another message");
        }
    }
    check::<FromWorker>(stream);
    check::<ToWorker>(stream);
}

fn harmless(said: &str) {
    assert!(said.len() <= SAID_BYTES_MAX, "{} bytes for a log", said.len());
    assert!(!said.contains(char::is_control), "a terminal would obey {said:?}");
}

/// What has become of one request, counted apart from the code under test.
#[derive(Default)]
struct Heard {
    total: Option<u32>,
    tokens: u32,
    found: usize,
    ended: bool,
}

/// The judge, and a second, plainer one that says what must never be passed on.
struct Judge {
    conduct: Conduct,
    greeted: bool,
    percent: Option<u8>,
    context_tokens: Option<u32>,
    ending: bool,
    requests: HashMap<u64, (Request, Heard)>,
}

impl Judge {
    fn new() -> Self {
        Self {
            conduct: Conduct::new(SLOTS, CONTEXT_TOKENS),
            greeted: false,
            percent: None,
            context_tokens: None,
            ending: false,
            requests: HashMap::new(),
        }
    }

    /// Request 0 is plain, 1 goes on behind three known tokens, 2 wants more than there is room for.
    fn ask(&mut self, id: u64, prompt: Prompt) {
        let [answer_tokens_max, context_tokens_max] = if id == 2 { [u32::MAX; 2] } else { [8, 32] };
        let request = Request {
            id,
            prompt,
            form: AnswerForm::default(),
            sampling: SamplingParams::GREEDY,
            resume: if id == 1 { vec![1, 2, 3] } else { Vec::new() },
            answer_tokens_max,
            context_tokens_max,
        };
        assert!(self.conduct.begin(&request));
        assert!(!self.conduct.begin(&request), "the same request twice");
        self.requests.insert(id, (request, Heard::default()));
    }

    /// Whether the worker may go on.
    fn hear(&mut self, message: FromWorker) -> bool {
        match self.conduct.judge(message) {
            Err(breach) => {
                harmless(&breach.to_string());
                return false;
            }
            Ok(_) if self.ending => panic!("something came after the last words"),
            Ok(Accepted::Greeting(_)) => {
                assert!(!std::mem::replace(&mut self.greeted, true), "greeted twice")
            }
            Ok(Accepted::LastWords { detail, unusable }) => {
                harmless(&detail);
                assert!(!unusable || self.context_tokens.is_none(), "a loaded file is usable");
                self.ending = true;
            }
            Ok(Accepted::Event(event)) => {
                assert!(self.greeted, "{event:?} of a worker that did not greet");
                self.passed_on(event);
            }
        }
        true
    }

    fn passed_on(&mut self, event: Event) {
        match event {
            Event::Loading { percent } => {
                assert!(self.context_tokens.is_none() && self.percent < Some(percent) && percent <= 100);
                self.percent = Some(percent);
            }
            Event::Ready { slots, context_tokens } => {
                assert!(self.context_tokens.is_none() && slots == SLOTS);
                assert!((1..=CONTEXT_TOKENS).contains(&context_tokens));
                harmless(self.conduct.processor().expect("a ready worker has said what computes"));
                self.context_tokens = Some(context_tokens);
            }
            Event::Prefill { id, done, total } => {
                let (heard, room) = self.running(id);
                assert!(done <= total && total <= room && heard.total.unwrap_or(total) == total);
                heard.total = Some(total);
            }
            Event::Token { id, token, chosen } => self.token(id, token, &chosen.words()),
            Event::Found { id, finding } => {
                let (heard, _) = self.running(id);
                heard.found += 1;
                assert!(id == VECTORS && heard.found <= PASSAGES, "nobody asked for that");
                let Finding::Vector(vector) = finding else { panic!("vectors were asked for") };
                let square: f32 = vector.iter().map(|value| value * value).sum();
                assert!((square - 1.0).abs() < 0.01);
            }
            Event::Finished { id, reason: _, usage } => self.finished(id, usage),
            Event::Refused { id, refusal } => {
                self.running(id).0.ended = true;
                if let Refusal::Engine { detail }
                | Refusal::Unable { detail }
                | Refusal::Medium { detail, .. } = refusal
                {
                    harmless(&detail);
                }
            }
            Event::Exited { .. } => panic!("only the kernel tells that a process is gone"),
        }
    }

    fn token(&mut self, id: u64, token: i32, text: &str) {
        let left = self.requests.get(&id).map(|(request, _)| {
            u64::from(request.answer_tokens_max).saturating_sub(request.resume.len() as u64)
        });
        let (heard, room) = self.running(id);
        heard.tokens += 1;
        assert!(token >= 0 && text.len() <= SAID_BYTES_MAX);
        assert!(u64::from(heard.tokens) <= left.unwrap_or_default(), "more than was asked for");
        let prompt = heard.total.expect("the prompt comes first");
        assert!(prompt + heard.tokens <= room, "more than the context holds");
    }

    fn finished(&mut self, id: u64, usage: Usage) {
        let known = self.requests.get(&id).map_or(0, |(request, _)| request.resume.len() as u32);
        let (heard, room) = self.running(id);
        assert!(usage.cached_tokens <= usage.prompt_tokens);
        assert!(usage.answer_tokens <= known + heard.tokens, "a longer answer than was told");
        assert!(u64::from(usage.prompt_tokens) + u64::from(usage.answer_tokens) <= u64::from(room));
        heard.ended = true;
    }

    /// A request that runs, and the tokens that it has room for.
    fn running(&mut self, id: u64) -> (&mut Heard, u32) {
        assert!(self.context_tokens.is_some(), "an answer of a worker that is not ready");
        let (request, heard) = self.requests.get_mut(&id).expect("only what was asked is answered");
        assert!(!heard.ended, "more of an answer that has ended");
        // What was asked before the worker was ready is bounded by what was asked for, not by what it has.
        let room = match id {
            VECTORS => PASSAGES as u32 * PASSAGE_TOKENS_MAX,
            _ => request.context_tokens_max.min(CONTEXT_TOKENS),
        };
        (heard, room)
    }
}

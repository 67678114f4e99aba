//! Whether what a worker says is in order. Pure: the daemon's guard against a worker that a model file took over.
use std::collections::HashMap;

use super::finding::Wanted;
use super::frame::{FromWorker, Hello, Landlock};
use super::{AnswerPart, Chosen, Event, Finding, Finish, Refusal, Request, ToolCall, Usage};

/// Longest text of one token, on the average of an answer, in bytes. The longest of the shipped models has fewer than 100.
const TOKEN_BYTES_MAX: u64 = 4 << 10;
/// Longest reason, in bytes, that is passed on: the rest would only fill logs.
const DETAIL_BYTES_MAX: usize = 2 << 10;
/// Longest name of another build, in bytes, that is passed on: ours has about 20.
const BUILD_BYTES_MAX: usize = 80;
/// Longest word on what computes, in bytes, that is passed on: two devices' names.
const PROCESSOR_BYTES_MAX: usize = 120;

/// A message that was in order.
#[derive(Debug, PartialEq)]
pub(super) enum Accepted {
    /// The worker presented itself.
    Greeting(Landlock),
    /// To be passed on.
    Event(Event),
    /// It says why it is about to end.
    LastWords { detail: String, unusable: bool },
}

/// A message that was not. The worker is killed for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("it said {message} while it was {phase}")]
    OutOfOrder { message: &'static str, phase: &'static str },
    #[error("it is `{build}` with protocol {protocol}; restart the daemon, its binary was replaced")]
    OtherBuild { protocol: u32, build: String },
    #[error("it said {message} of request {id}, which does not run")]
    UnknownRequest { message: &'static str, id: u64 },
    #[error("its {message} makes no sense: {detail}")]
    Nonsense { message: &'static str, detail: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Loading,
    Ready,
    Ending,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Ending => "ending",
        }
    }
}

/// A request that runs.
#[derive(Debug)]
struct Running {
    /// Tokens of the answer that were known before.
    resumed: u64,
    answer_tokens_left: u32,
    /// What prompt and answer may have together.
    tokens_max: u32,
    /// Tokens read, and to be read, as last told.
    read: Option<(u32, u32)>,
    /// It fell back behind what it had read: once is possible, when llama.cpp does not take over what a neighbour read.
    fell_back: bool,
    told: u32,
    /// What all its tokens said so far.
    bytes_told: u64,
    /// What is to be found out, if anything.
    wanted: Wanted,
}

impl Running {
    fn prefill(&mut self, done: u32, total: u32) -> Result<(), Breach> {
        let nonsense = |kept, detail| sensible(kept, "prefill", detail);
        nonsense(done <= total, "more read than there is")?;
        nonsense(total <= self.tokens_max, "more to read than the context holds")?;
        if let Some((done_before, total_before)) = self.read {
            nonsense(total == total_before, "another length than before")?;
            nonsense(done > done_before || !self.fell_back, "no more read than before")?;
            self.fell_back |= done <= done_before;
        }
        self.read = Some((done, total));
        Ok(())
    }

    fn token(&mut self, token: i32, chosen: &Chosen) -> Result<(), Breach> {
        let nonsense = |kept, detail| sensible(kept, "token", detail);
        nonsense(self.wanted == Wanted::Words, "words where none are wanted")?;
        nonsense(token >= 0, "a negative token")?;
        self.bytes_told = self.bytes_told.saturating_add(bytes_of(chosen));
        // A call is told as a whole, with its last token.
        let tokens = self.resumed + u64::from(self.told) + 1;
        nonsense(
            self.bytes_told <= TOKEN_BYTES_MAX.saturating_mul(tokens),
            "more text than its tokens have",
        )?;
        nonsense(self.answer_tokens_left > 0, "more tokens than were asked for")?;
        let whole = self.read.filter(|(done, total)| done == total);
        nonsense(whole.is_some(), "it comes before the prompt was read")?;
        let room = whole.is_some_and(|(_, total)| self.told < self.tokens_max.saturating_sub(total));
        nonsense(room, "more tokens than the context holds")?;
        self.answer_tokens_left -= 1;
        self.told += 1;
        Ok(())
    }

    fn found(&mut self, finding: &Finding) -> Result<(), Breach> {
        self.wanted.take(finding).map_err(|detail| Breach::Nonsense { message: "found", detail })
    }

    fn finished(&self, reason: Finish, usage: &Usage) -> Result<(), Breach> {
        let nonsense = |kept, detail| sensible(kept, "finished", detail);
        let is_whole = reason == Finish::Cancelled || self.wanted.is_satisfied();
        nonsense(is_whole, "something is still to be found out")?;
        let Usage {
            prompt_tokens,
            media_tokens,
            cached_tokens,
            restored_tokens,
            answer_tokens,
            prefill_ms: _,
            drafted_tokens,
            accepted_tokens,
            decode_ms: _,
        } = *usage;
        let (prompt, answer) = (u64::from(prompt_tokens), u64::from(answer_tokens));
        nonsense(media_tokens <= prompt_tokens, "more of media than the prompt has")?;
        nonsense(cached_tokens <= prompt_tokens, "more cached than the prompt has")?;
        nonsense(restored_tokens <= cached_tokens, "more restored than cached")?;
        let right = accepted_tokens <= drafted_tokens && accepted_tokens <= answer_tokens;
        nonsense(right, "more guesses right than were made")?;
        nonsense(answer <= self.resumed + u64::from(self.told), "a longer answer than was told")?;
        nonsense(prompt + answer <= u64::from(self.tokens_max), "more tokens than the context holds")
    }
}

/// What one worker has said and been asked so far.
#[derive(Debug)]
pub(super) struct Conduct {
    phase: Phase,
    slots: u32,
    context_tokens: u32,
    percent: Option<u8>,
    processor: Option<String>,
    running: HashMap<u64, Running>,
}

impl Conduct {
    /// For a worker that was asked for this.
    pub(super) fn new(slots: u32, context_tokens: u32) -> Self {
        Self {
            phase: Phase::Starting,
            slots,
            context_tokens,
            percent: None,
            processor: None,
            running: HashMap::new(),
        }
    }

    /// What the worker was doing, for messages.
    pub(super) fn phase(&self) -> &'static str {
        self.phase.name()
    }

    /// What computes, by the worker's own word, in one line of bounded length. `None`: it has not said so yet.
    pub(super) fn processor(&self) -> Option<&str> {
        self.processor.as_deref()
    }

    /// A request is about to be sent. `false`: its id is in use.
    pub(super) fn begin(&mut self, request: &Request) -> bool {
        let vacant = !self.running.contains_key(&request.id);
        if vacant {
            let resumed = u32::try_from(request.resume.len()).unwrap_or(u32::MAX);
            let wanted = Wanted::by(&request.prompt);
            let tokens_max = request.context_tokens_max.min(self.context_tokens);
            let running = Running {
                resumed: resumed.into(),
                answer_tokens_left: request.answer_tokens_max.saturating_sub(resumed),
                tokens_max: wanted.tokens_max().unwrap_or(tokens_max),
                read: None,
                fell_back: false,
                told: 0,
                bytes_told: 0,
                wanted,
            };
            self.running.insert(request.id, running);
        }
        vacant
    }

    /// The request could not be sent after all.
    pub(super) fn forget(&mut self, id: u64) {
        self.running.remove(&id);
    }

    /// Judges a message.
    pub(super) fn judge(&mut self, message: FromWorker) -> Result<Accepted, Breach> {
        match message {
            FromWorker::Hello(hello, landlock) => self.greeted(hello, landlock),
            FromWorker::Loading { percent } => self.loading(percent),
            FromWorker::Ready { slots, context_tokens, processor } => {
                self.ready(slots, context_tokens, processor)
            }
            FromWorker::Prefill { id, done, total } => {
                self.running("prefill", id)?.prefill(done, total)?;
                Ok(Accepted::Event(Event::Prefill { id, done, total }))
            }
            FromWorker::Token { id, token, chosen } => {
                self.running("token", id)?.token(token, &chosen)?;
                Ok(Accepted::Event(Event::Token { id, token, chosen }))
            }
            FromWorker::Found { id, finding } => {
                self.running("found", id)?.found(&finding)?;
                Ok(Accepted::Event(Event::Found { id, finding }))
            }
            FromWorker::Finished { id, reason, usage } => self.finished(id, reason, usage),
            FromWorker::Refused { id, refusal } => {
                self.running("refused", id)?;
                self.running.remove(&id);
                Ok(Accepted::Event(Event::Refused { id, refusal: cut_refusal(refusal) }))
            }
            FromWorker::Failed { detail, unusable } => self.failed(detail, unusable),
        }
    }

    fn greeted(&mut self, hello: Hello, landlock: Landlock) -> Result<Accepted, Breach> {
        self.require(Phase::Starting, "hello")?;
        if hello != Hello::own() {
            let Hello { protocol, build } = hello;
            return Err(Breach::OtherBuild { protocol, build: cut(build, BUILD_BYTES_MAX) });
        }
        self.phase = Phase::Loading;
        Ok(Accepted::Greeting(landlock))
    }

    fn loading(&mut self, percent: u8) -> Result<Accepted, Breach> {
        self.require(Phase::Loading, "loading")?;
        sensible(percent <= 100, "loading", "more than 100 percent")?;
        sensible(self.percent < Some(percent), "loading", "no more percent than before")?;
        self.percent = Some(percent);
        Ok(Accepted::Event(Event::Loading { percent }))
    }

    fn ready(&mut self, slots: u32, context_tokens: u32, processor: String) -> Result<Accepted, Breach> {
        self.require(Phase::Loading, "ready")?;
        let as_asked = slots == self.slots && (1..=self.context_tokens).contains(&context_tokens);
        sensible(as_asked, "ready", "other slots or more context than asked for")?;
        self.phase = Phase::Ready;
        self.context_tokens = context_tokens;
        self.processor = Some(cut(processor, PROCESSOR_BYTES_MAX));
        Ok(Accepted::Event(Event::Ready { slots, context_tokens }))
    }

    fn finished(&mut self, id: u64, reason: Finish, usage: Usage) -> Result<Accepted, Breach> {
        self.running("finished", id)?.finished(reason, &usage)?;
        self.running.remove(&id);
        Ok(Accepted::Event(Event::Finished { id, reason, usage }))
    }

    fn failed(&mut self, detail: String, unusable: bool) -> Result<Accepted, Breach> {
        let phase = self.phase;
        if phase == Phase::Ending {
            return Err(Breach::OutOfOrder { message: "failed", phase: phase.name() });
        }
        self.phase = Phase::Ending;
        let unusable = unusable && matches!(phase, Phase::Starting | Phase::Loading);
        Ok(Accepted::LastWords { detail: cut(detail, DETAIL_BYTES_MAX), unusable })
    }

    fn require(&self, phase: Phase, message: &'static str) -> Result<(), Breach> {
        let breach = Breach::OutOfOrder { message, phase: self.phase.name() };
        if self.phase == phase { Ok(()) } else { Err(breach) }
    }

    fn running(&mut self, message: &'static str, id: u64) -> Result<&mut Running, Breach> {
        self.require(Phase::Ready, message)?;
        self.running.get_mut(&id).ok_or(Breach::UnknownRequest { message, id })
    }
}

/// How much of an event a peer's memory must hold.
fn bytes_of(chosen: &Chosen) -> u64 {
    let parts = chosen.parts.iter().map(|part| match part {
        AnswerPart::Text(text) | AnswerPart::Thought(text) => text.len(),
        AnswerPart::Call(ToolCall { id, name, arguments }) => id.len() + name.len() + arguments.len(),
        AnswerPart::BadCall { written, fault } => written.len() + fault.len(),
    });
    let logprobs = chosen.logprobs.iter().flat_map(|(own, others)| std::iter::once(own).chain(others));
    let bytes = parts.sum::<usize>() + logprobs.map(|logprob| logprob.bytes.len()).sum::<usize>();
    bytes as u64
}

fn sensible(kept: bool, message: &'static str, detail: &'static str) -> Result<(), Breach> {
    if kept { Ok(()) } else { Err(Breach::Nonsense { message, detail }) }
}

/// One line for logs and terminals, which must not obey what a worker says.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The beginning of a text that is too long, in one line.
fn cut(mut text: String, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or_default());
    one_line(&text)
}

fn cut_refusal(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Engine { detail } => Refusal::Engine { detail: cut(detail, DETAIL_BYTES_MAX) },
        Refusal::Medium { sha256, detail } => {
            Refusal::Medium { sha256, detail: cut(detail, DETAIL_BYTES_MAX) }
        }
        Refusal::Unable { detail } => Refusal::Unable { detail: cut(detail, DETAIL_BYTES_MAX) },
        Refusal::PromptTooLong { .. } | Refusal::NoFreeSlot => refusal,
    }
}

#[cfg(test)]
#[path = "conduct_tests.rs"]
mod tests;

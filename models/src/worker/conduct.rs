//! Whether what a worker says is in order. Pure: the daemon's guard against a worker that a model file took over.
use std::collections::HashMap;

use super::Event;
use super::frame::{FromWorker, Hello, Landlock};

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
    answer_tokens_left: u32,
}

/// What one worker has said and been asked so far.
#[derive(Debug)]
pub(super) struct Conduct {
    phase: Phase,
    slots: u32,
    context_tokens: u32,
    running: HashMap<u64, Running>,
}

impl Conduct {
    /// For a worker that was asked for this.
    pub(super) fn new(slots: u32, context_tokens: u32) -> Self {
        Self { phase: Phase::Starting, slots, context_tokens, running: HashMap::new() }
    }

    /// What the worker was doing, for messages.
    pub(super) fn phase(&self) -> &'static str {
        self.phase.name()
    }

    /// A request is about to be sent. `false`: its id is in use.
    pub(super) fn begin(&mut self, id: u64, answer_tokens_max: u32) -> bool {
        let running = Running { answer_tokens_left: answer_tokens_max };
        let vacant = !self.running.contains_key(&id);
        if vacant {
            self.running.insert(id, running);
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
            FromWorker::Hello(hello, landlock) => {
                self.require(Phase::Starting, "hello")?;
                let Hello { protocol, build } = hello;
                if (Hello { protocol, build: build.clone() }) != Hello::own() {
                    return Err(Breach::OtherBuild { protocol, build: build.chars().take(80).collect() });
                }
                self.phase = Phase::Loading;
                Ok(Accepted::Greeting(landlock))
            }
            FromWorker::Loading { percent } => {
                self.require(Phase::Loading, "loading")?;
                sensible(percent <= 100, "loading", "more than 100 percent")?;
                Ok(Accepted::Event(Event::Loading { percent }))
            }
            FromWorker::Ready { slots, context_tokens } => {
                self.require(Phase::Loading, "ready")?;
                let as_asked = slots == self.slots && (1..=self.context_tokens).contains(&context_tokens);
                sensible(as_asked, "ready", "other slots or more context than asked for")?;
                self.phase = Phase::Ready;
                Ok(Accepted::Event(Event::Ready { slots, context_tokens }))
            }
            FromWorker::Prefill { id, done, total } => {
                self.running("prefill", id)?;
                sensible(done <= total, "prefill", "more read than there is")?;
                Ok(Accepted::Event(Event::Prefill { id, done, total }))
            }
            FromWorker::Token { id, token, text } => {
                let running = self.running("token", id)?;
                sensible(token >= 0, "token", "a negative token")?;
                let left = running.answer_tokens_left.checked_sub(1);
                let nonsense =
                    Breach::Nonsense { message: "token", detail: "more tokens than were asked for" };
                running.answer_tokens_left = left.ok_or(nonsense)?;
                Ok(Accepted::Event(Event::Token { id, token, text }))
            }
            FromWorker::Finished { id, reason, usage } => {
                self.running("finished", id)?;
                self.running.remove(&id);
                Ok(Accepted::Event(Event::Finished { id, reason, usage }))
            }
            FromWorker::Refused { id, refusal } => {
                self.running("refused", id)?;
                self.running.remove(&id);
                Ok(Accepted::Event(Event::Refused { id, refusal }))
            }
            FromWorker::Failed { detail, unusable } => {
                if self.phase == Phase::Ending {
                    return self
                        .require(Phase::Ready, "failed")
                        .map(|()| Accepted::Greeting(Landlock::Absent));
                }
                let loading = self.phase == Phase::Loading || self.phase == Phase::Starting;
                self.phase = Phase::Ending;
                Ok(Accepted::LastWords { detail, unusable: unusable && loading })
            }
        }
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

fn sensible(kept: bool, message: &'static str, detail: &'static str) -> Result<(), Breach> {
    if kept { Ok(()) } else { Err(Breach::Nonsense { message, detail }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Finish, Usage};

    fn ready() -> Conduct {
        let mut conduct = Conduct::new(2, 512);
        conduct.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
        conduct.judge(FromWorker::Loading { percent: 100 }).unwrap();
        conduct.judge(FromWorker::Ready { slots: 2, context_tokens: 512 }).unwrap();
        conduct
    }

    fn token(id: u64) -> FromWorker {
        FromWorker::Token { id, token: 1, text: String::new() }
    }

    fn finished(id: u64) -> FromWorker {
        FromWorker::Finished { id, reason: Finish::EndOfTurn, usage: Usage::default() }
    }

    #[test]
    fn an_orderly_life_is_accepted() {
        let mut conduct = ready();
        assert!(conduct.begin(1, 2));
        assert!(!conduct.begin(1, 2), "the id is in use");
        conduct.judge(FromWorker::Prefill { id: 1, done: 3, total: 3 }).unwrap();
        conduct.judge(token(1)).unwrap();
        conduct.judge(token(1)).unwrap();
        conduct.judge(finished(1)).unwrap();
        let failed = FromWorker::Failed { detail: "x".to_owned(), unusable: true };
        let wanted = Accepted::LastWords { detail: "x".to_owned(), unusable: false };
        assert_eq!(conduct.judge(failed), Ok(wanted), "a file that was loaded is not unusable");
    }

    #[track_caller]
    fn check(mut conduct: Conduct, message: FromWorker, wanted: &str) {
        assert_eq!(conduct.judge(message).unwrap_err().to_string(), wanted);
    }

    #[test]
    fn disorder_is_named() {
        let fresh = || Conduct::new(2, 512);
        check(fresh(), FromWorker::Loading { percent: 1 }, "it said loading while it was starting");
        check(ready(), FromWorker::Hello(Hello::own(), Landlock::Full), "it said hello while it was ready");
        check(ready(), token(5), "it said token of request 5, which does not run");
        let other = Hello { protocol: 9, build: "x".to_owned() };
        let wanted = "it is `x` with protocol 9; restart the daemon, its binary was replaced";
        check(fresh(), FromWorker::Hello(other, Landlock::Full), wanted);

        let mut late = ready();
        late.begin(1, 9);
        late.judge(finished(1)).unwrap();
        check(late, token(1), "it said token of request 1, which does not run");

        let mut talkative = ready();
        talkative.begin(1, 0);
        check(talkative, token(1), "its token makes no sense: more tokens than were asked for");

        let mut loading = fresh();
        loading.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
        let more = FromWorker::Ready { slots: 9, context_tokens: 512 };
        check(loading, more, "its ready makes no sense: other slots or more context than asked for");

        let mut ending = ready();
        ending.judge(FromWorker::Failed { detail: String::new(), unusable: false }).unwrap();
        check(
            ending,
            FromWorker::Failed { detail: String::new(), unusable: false },
            "it said failed while it was ending",
        );
    }
}

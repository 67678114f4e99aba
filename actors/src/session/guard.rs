//! Whether a turn goes round in circles, or has used up what it may. Pure.
use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{AGENT, Outcome, ToolCall, ToolLimits};

/// Why a turn is ended before the model has ended it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LoopFault {
    #[error("I called `{tool}` {times} times with the same arguments")]
    SameCall { tool: String, times: u32 },
    #[error("`{tool}` failed {times} times in the same way: {error}")]
    SameError { tool: String, times: u32, error: String },
    #[error("I took {steps} steps and was not done")]
    Steps { steps: u32 },
    #[error("my tools took {seconds} seconds and I was not done")]
    Time { seconds: u64 },
    #[error("I read and wrote {tokens} tokens and was not done")]
    Tokens { tokens: u64 },
}

/// Longest error that is shown when it comes again and again, in characters.
const ERROR_CHARS_MAX: usize = 200;

/// What a turn has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guard {
    limits: ToolLimits,
    steps: u32,
    took: Duration,
    tokens: u64,
    calls: HashMap<(String, String), u32>,
    errors: HashMap<(String, String), u32>,
}

impl Guard {
    pub(super) fn new(limits: ToolLimits) -> Self {
        Self {
            limits,
            steps: 0,
            took: Duration::ZERO,
            tokens: 0,
            calls: HashMap::new(),
            errors: HashMap::new(),
        }
    }

    /// The model asks for these calls, after so many tokens. An error: they are not to be made.
    pub(super) fn step(&mut self, calls: &[ToolCall], tokens: u64) -> Result<(), LoopFault> {
        self.steps += 1;
        self.tokens += tokens;
        if self.steps > self.limits.steps_max {
            return Err(LoopFault::Steps { steps: self.limits.steps_max });
        }
        if self.tokens > self.limits.tokens_max {
            return Err(LoopFault::Tokens { tokens: self.tokens });
        }
        if self.took > self.limits.time_max {
            return Err(LoopFault::Time { seconds: self.took.as_secs() });
        }
        for call in calls {
            let times = self.calls.entry((call.name.clone(), call.arguments.clone())).or_default();
            *times += 1;
            if *times > self.limits.same_call_max {
                return Err(LoopFault::SameCall { tool: call.name.clone(), times: *times - 1 });
            }
        }
        Ok(())
    }

    /// How much time a call may take. Another Archon has all that the turn has left: it thinks, and that takes long.
    pub(super) fn time_left(&self, tool: &str) -> Duration {
        let left = self.limits.time_max.saturating_sub(self.took);
        if tool == AGENT { left } else { left.min(self.limits.call_time_max) }
    }

    /// A call has ended. An error: the turn is to end.
    pub(super) fn ended(
        &mut self,
        call: &ToolCall,
        outcome: &Outcome,
        took: Duration,
    ) -> Result<(), LoopFault> {
        self.took += took;
        let Outcome::Failed { text } = outcome else { return Ok(()) };
        let error: String = text.chars().take(ERROR_CHARS_MAX).collect();
        let times = self.errors.entry((call.name.clone(), error.clone())).or_default();
        *times += 1;
        if *times > self.limits.same_error_max {
            return Err(LoopFault::SameError { tool: call.name.clone(), times: *times, error });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ToolLimits = ToolLimits {
        steps_max: 5,
        same_call_max: 2,
        same_error_max: 2,
        time_max: Duration::from_secs(10),
        call_time_max: Duration::from_secs(8),
        tokens_max: 1000,
        output_chars_max: 100,
        sent_bytes_max: 100,
        schema_tokens_max: 100,
    };

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: "1".into(), name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn the_same_call_is_made_only_so_often() {
        let mut guard = Guard::new(LIMITS);
        let (same, other) = ([call("read_file", "a")], [call("read_file", "b")]);
        assert_eq!(
            [guard.step(&same, 1), guard.step(&other, 1), guard.step(&same, 1)],
            [Ok(()), Ok(()), Ok(())]
        );
        assert_eq!(guard.step(&same, 1), Err(LoopFault::SameCall { tool: "read_file".into(), times: 2 }));
    }

    #[test]
    fn the_same_error_ends_the_turn_whatever_the_arguments() {
        let mut guard = Guard::new(LIMITS);
        let failed = Outcome::Failed { text: "no such file".into() };
        let second = Duration::from_secs(1);
        assert_eq!(guard.ended(&call("read_file", "a"), &failed, second), Ok(()));
        assert_eq!(guard.ended(&call("read_file", "b"), &failed, second), Ok(()));
        let done = Outcome::Done { text: "no such file".into() };
        assert_eq!(guard.ended(&call("read_file", "b"), &done, second), Ok(()));
        let fault = guard.ended(&call("read_file", "c"), &failed, second).unwrap_err();
        assert_eq!(fault.to_string(), "`read_file` failed 3 times in the same way: no such file");
    }

    #[test]
    fn steps_time_and_tokens_are_bounded() {
        let mut guard = Guard::new(LIMITS);
        for step in 0..5 {
            assert_eq!(guard.step(&[call("clock", &step.to_string())], 1), Ok(()));
        }
        assert_eq!(guard.step(&[call("clock", "x")], 1), Err(LoopFault::Steps { steps: 5 }));
        let mut guard = Guard::new(LIMITS);
        assert_eq!(guard.step(&[], 1001), Err(LoopFault::Tokens { tokens: 1001 }));
        let mut guard = Guard::new(LIMITS);
        assert_eq!(guard.time_left("bash"), Duration::from_secs(8));
        assert_eq!(guard.time_left(AGENT), Duration::from_secs(10));
        let done = Outcome::Done { text: String::new() };
        guard.ended(&call("bash", "x"), &done, Duration::from_secs(7)).unwrap();
        assert_eq!(guard.time_left("bash"), Duration::from_secs(3));
        assert_eq!(guard.time_left(AGENT), Duration::from_secs(3));
        guard.ended(&call("bash", "x"), &done, Duration::from_secs(4)).unwrap();
        assert_eq!(guard.step(&[call("bash", "y")], 1), Err(LoopFault::Time { seconds: 11 }));
    }
}

//! One message to its answer, as a state machine. Pure: it is told what happened and says what to do.
//!
//! ```text
//!            due              saved
//! begin ─┬────────▶ compacting ──────┐
//!        │              ▲ too long   ▼      finished
//!        └──────────────┴──────── answering ─────────▶ ended
//! ```
//! From compacting and answering a stop leads to ended too, a failure back to Hermes.
use crate::compaction::{self, NothingToSummarise};
use crate::domain::{AnswerKind, ContextPolicy, FinishReason, ModelId, NewAnswer, NewTurn, TurnEvent, Usage};
use crate::pool::{GenerationEvent, PoolError};

/// Why a turn has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnFailure {
    /// The pool could not generate it.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// What was needed could not be read or kept.
    #[error("{0}")]
    Memory(String),
    /// The session's actor died.
    #[error("the session crashed while it answered ({0})")]
    Crashed(String),
    /// Nothing happened for too long.
    #[error("there was no progress for {0} seconds")]
    NoProgress(u64),
    /// The session could not be brought up.
    #[error("the session could not be started: {0}")]
    Unavailable(String),
}

/// What the conversation looks like while the turn runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// The Archon's policy.
    pub policy: ContextPolicy,
    /// Turns that are in the prompt word for word.
    pub uncovered: usize,
    /// Length of the last prompt with its answer, as the model counted it; 0 when unknown.
    pub context_tokens: u32,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Ask the pool for the answer.
    AskAnswer,
    /// Ask the pool for a summary of the first uncovered turns.
    AskSummary {
        /// How many.
        turns: usize,
    },
    /// Ask the pool to stop what it generates for this turn.
    CancelGeneration,
    /// Tell who watches.
    Publish(TurnEvent),
    /// Keep a summary of the first uncovered turns, then report [`Turn::summary_saved`].
    SaveSummary {
        /// What the model wrote; `None`: it wrote nothing of use, make do without it.
        text: Option<String>,
        /// How many turns it covers.
        turns: usize,
    },
    /// Keep the turn and its answer.
    End {
        /// What the session keeps.
        turn: Option<NewTurn>,
        /// What the peer gets.
        answer: NewAnswer,
    },
    /// Give the message back to Hermes.
    GiveBack(TurnFailure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Compacting { turns: usize, text: String },
    Answering,
    Ended,
}

/// A running turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    user: String,
    answer: String,
    phase: Phase,
    stopping: bool,
    halvings: u32,
}

impl Turn {
    /// Begins a turn.
    pub(super) fn begin(user: String, view: View) -> (Self, Vec<Effect>) {
        let mut turn =
            Self { user, answer: String::new(), phase: Phase::Answering, stopping: false, halvings: 0 };
        let due = compaction::is_due(view.policy, view.context_tokens, view.uncovered as u64);
        let effects = match compaction::turns_to_summarise(view.policy, view.uncovered, false, 0) {
            Ok(turns) if due => turn.compact(turns),
            Ok(_) | Err(NothingToSummarise) => vec![Effect::AskAnswer],
        };
        (turn, effects)
    }

    /// Whether it summarises at the moment.
    pub(super) fn is_compacting(&self) -> bool {
        matches!(self.phase, Phase::Compacting { .. })
    }

    fn compact(&mut self, turns: usize) -> Vec<Effect> {
        self.phase = Phase::Compacting { turns, text: String::new() };
        vec![Effect::Publish(TurnEvent::Compacting), Effect::AskSummary { turns }]
    }

    /// The summary is kept.
    pub(super) fn summary_saved(&mut self) -> Vec<Effect> {
        if self.stopping {
            return self.end_stopped(None);
        }
        self.phase = Phase::Answering;
        self.halvings = 0;
        vec![Effect::AskAnswer]
    }

    /// The peer wants it to end.
    pub(super) fn stop(&mut self) -> Vec<Effect> {
        match self.phase {
            Phase::Ended => vec![],
            _ if self.stopping => vec![],
            Phase::Compacting { .. } | Phase::Answering => {
                self.stopping = true;
                vec![Effect::CancelGeneration]
            }
        }
    }

    /// The pool refused the request at once.
    pub(super) fn refused(&mut self, error: PoolError, view: View) -> Vec<Effect> {
        self.generation(GenerationEvent::Failed { error }, view)
    }

    /// Something happened in the pool.
    pub(super) fn generation(&mut self, event: GenerationEvent, view: View) -> Vec<Effect> {
        let publish = |event| vec![Effect::Publish(event)];
        match (&mut self.phase, event) {
            (Phase::Ended, _) => vec![],
            (_, GenerationEvent::Queued { position }) => publish(TurnEvent::Queued { position }),
            (_, GenerationEvent::Loading { model, percent }) => {
                publish(TurnEvent::Loading { model, percent })
            }
            (_, GenerationEvent::Reading { done, total }) => publish(TurnEvent::Reading { done, total }),
            // A turn asks for words alone.
            (_, GenerationEvent::Found { .. }) => vec![],
            (_, GenerationEvent::WorkerReplaced) => publish(TurnEvent::WorkerReplaced),
            (Phase::Compacting { text, .. }, GenerationEvent::Token { chosen }) => {
                text.push_str(&chosen.words());
                vec![]
            }
            (Phase::Answering, GenerationEvent::Token { chosen }) => self.on_text(&chosen.words()),
            (Phase::Compacting { turns, text }, GenerationEvent::Finished { .. }) => {
                let (turns, text) = (*turns, text.trim().to_owned());
                if self.stopping {
                    return self.end_stopped(None);
                }
                vec![Effect::SaveSummary { text: (!text.is_empty()).then_some(text), turns }]
            }
            (Phase::Answering, GenerationEvent::Finished { model, reason, usage }) => {
                self.on_answer(model, reason, usage)
            }
            (_, GenerationEvent::Failed { error: PoolError::PromptTooLong { tokens, tokens_max } }) => {
                self.on_too_long(tokens, tokens_max, view)
            }
            (_, GenerationEvent::Failed { error }) => {
                if self.stopping {
                    return self.end_stopped(None);
                }
                self.phase = Phase::Ended;
                vec![Effect::GiveBack(error.into())]
            }
        }
    }

    fn on_text(&mut self, text: &str) -> Vec<Effect> {
        // Models like to begin with a space or a new line; nobody wants to see it.
        let text = if self.answer.is_empty() { text.trim_start() } else { text };
        if text.is_empty() {
            return vec![];
        }
        self.answer.push_str(text);
        vec![Effect::Publish(TurnEvent::Text { text: text.to_owned() })]
    }

    fn on_answer(&mut self, model: ModelId, reason: FinishReason, usage: Usage) -> Vec<Effect> {
        let stopped = self.stopping || reason == FinishReason::Cancelled;
        let answer = self.answer.trim_end().to_owned();
        let turn = NewTurn { user: self.user.clone(), answer, stopped, model, steps: Vec::new(), usage };
        if stopped {
            return self.end_stopped(Some(turn));
        }
        self.phase = Phase::Ended;
        if turn.answer.is_empty() {
            let text = "The model ended its answer before the first word. Say it in other words, or begin afresh with /new.";
            let answer = NewAnswer { kind: AnswerKind::Failure, text: text.into() };
            return vec![Effect::End { turn: None, answer }];
        }
        let mut text = turn.answer.clone();
        if reason == FinishReason::Length {
            text.push_str(&format!(
                "\n\n[cut at the limit of {} tokens; say \"go on\"]",
                usage.answer_tokens
            ));
        }
        vec![Effect::End { turn: Some(turn), answer: NewAnswer { kind: AnswerKind::Answer, text } }]
    }

    fn end_stopped(&mut self, turn: Option<NewTurn>) -> Vec<Effect> {
        self.phase = Phase::Ended;
        let turn = turn.filter(|turn| !turn.answer.is_empty());
        let answer = match &turn {
            Some(turn) => {
                NewAnswer { kind: AnswerKind::Answer, text: format!("{}\n\n[stopped]", turn.answer) }
            }
            None => NewAnswer { kind: AnswerKind::Notice, text: "Stopped.".into() },
        };
        vec![Effect::End { turn, answer }]
    }

    fn on_too_long(&mut self, tokens: u32, tokens_max: u32, view: View) -> Vec<Effect> {
        if self.stopping {
            return self.end_stopped(None);
        }
        let (pressed, asked) = match self.phase {
            Phase::Compacting { turns, .. } => {
                self.halvings += 1;
                (true, Some(turns))
            }
            Phase::Answering | Phase::Ended => (true, None),
        };
        match (compaction::turns_to_summarise(view.policy, view.uncovered, pressed, self.halvings), asked) {
            (Ok(turns), _) => self.compact(turns),
            // Not even one turn can be read as a whole: it is left out of the prompt without a summary by the model.
            (Err(NothingToSummarise), Some(turns)) => vec![Effect::SaveSummary { text: None, turns }],
            (Err(NothingToSummarise), None) => {
                self.phase = Phase::Ended;
                let text = format!(
                    "Your message is too long for me: with my instructions it is {tokens} tokens, and {tokens_max} fit. \
                     Send it in parts."
                );
                vec![Effect::End { turn: None, answer: NewAnswer { kind: AnswerKind::Failure, text } }]
            }
        }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;

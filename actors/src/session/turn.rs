//! One message to its answer, as a state machine. Pure: it is told what happened and says what to do.
//!
//! ```text
//!            due              saved
//! begin ─┬────────▶ compacting ──────┐
//!        │              ▲ too long   ▼      finished
//!        └──────────────┴──────── answering ─────────▶ ended
//!                      all ended ▲       │ calls
//!                                └── calling
//! ```
//! From compacting, answering and calling a stop leads to ended too, a failure back to Hermes. Calls are in `acting.rs`, messages that
//! come meanwhile in `joining.rs`.
use std::time::Duration;

use super::calling::{OpenStep, Resumed};
use super::failure::TurnFailure;
use super::forgoing::{Forgoing, Forgone};
use super::guard::Guard;
use crate::compaction::{self, NothingToSummarise};
use crate::domain::{
    AnswerKind, AnswerPart, Aside, Chosen, ContextPolicy, FinishReason, Grant, InboxId, JournalEntry,
    ModelId, NewAnswer, NewTurn, ToolCall, ToolStep, TurnEvent, Usage,
};
use crate::permission::Exposure;
use crate::pool::{GenerationEvent, PoolError};
use crate::tools::ToolKit;

/// A call that cannot be read is mostly an accident of the dice: it is asked for once more.
const BAD_CALLS_MAX: u32 = 1;
/// Fewest characters of a call's answer that the prompt holds: less says nothing.
const OUTPUT_CHARS_MIN: usize = 200;

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
    /// Write this down before anything that follows.
    Journal(Vec<JournalEntry>),
    /// Make a call, then report [`Turn::call_ended`].
    Call {
        /// Which.
        call: ToolCall,
        /// How long it may take.
        time_max: Duration,
    },
    /// Ask the owner, then report [`Turn::decided`].
    AskOwner {
        /// About which call.
        call: ToolCall,
        /// Why he is asked.
        why: String,
    },
    /// Show the model this no more.
    Forgo(Forgone),
    /// Keep what the owner has allowed for good.
    KeepGrant(Grant),
    /// Give up all calls that run, and all questions to the owner.
    DropCalls,
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
pub(super) enum Phase {
    Compacting { turns: usize, text: String },
    Answering,
    Calling,
    Ended,
}

/// What a turn begins with.
pub(super) struct Beginning {
    /// Tells its calls apart from those of others.
    pub label: String,
    /// What the peer wrote.
    pub user: String,
    /// What it may call.
    pub kit: ToolKit,
    /// What the owner has allowed in this session.
    pub grants: Vec<Grant>,
    /// What the owner has allowed for good.
    pub standing: Vec<Grant>,
    /// What was called in the turns that the prompt holds.
    pub seen: Vec<String>,
    /// Another Archon wrote the message: what that one had read may speak from it.
    pub is_handed_on: bool,
    /// How far an earlier try came.
    pub resumed: Resumed,
    /// What is to be done.
    pub task: Task,
}

/// What a turn is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// To answer what was written.
    Answer,
    /// To answer it again, in place of the last turn.
    AnswerAgain,
    /// To lay a summary over the first turns, perhaps with an eye on something.
    Compact {
        /// On what.
        focus: Option<String>,
    },
    /// To say that nothing can be done.
    Refuse(String),
}

/// A running turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) label: String,
    user: String,
    task: Task,
    pub(super) kit: ToolKit,
    /// For this session.
    pub(super) grants: Vec<Grant>,
    /// For good.
    pub(super) standing: Vec<Grant>,
    /// Steps whose calls have ended.
    pub(super) steps: Vec<ToolStep>,
    /// What the peer said meanwhile, as the model was told of it.
    pub(super) asides: Vec<Aside>,
    /// What he said and the model was not told yet.
    pub(super) offered: Vec<(InboxId, String)>,
    /// The step whose calls are being made.
    pub(super) open: Option<OpenStep>,
    pub(super) exposure: Exposure,
    pub(super) guard: Guard,
    pub(super) forgoing: Forgoing,
    /// What each call's answer may take of the prompt, in characters.
    output_chars: usize,
    pub(super) answer: String,
    /// Calls among the words that are being written.
    asked: Vec<ToolCall>,
    /// What was wrong with a call among them.
    bad_call: Option<String>,
    bad_calls: u32,
    /// The last model that finished, and what that cost.
    pub(super) last: Option<(ModelId, Usage)>,
    pub(super) phase: Phase,
    pub(super) stopping: bool,
    halvings: u32,
}

impl Turn {
    /// Begins a turn, or goes on with one that was interrupted.
    pub(super) fn begin(beginning: Beginning, view: View) -> (Self, Vec<Effect>) {
        let Beginning { label, user, kit, grants, standing, seen, is_handed_on, resumed, task } = beginning;
        let limits = kit.policy().limits;
        let mut turn = Self {
            label,
            user,
            task,
            grants,
            standing,
            steps: resumed.steps,
            asides: resumed.asides,
            offered: Vec::new(),
            open: resumed.open,
            exposure: Exposure::of_the_past(seen.iter().map(|name| kit.find(name).map(|tool| &tool.spec))),
            guard: Guard::new(limits),
            forgoing: Forgoing::default(),
            output_chars: limits.output_chars_max as usize,
            answer: String::new(),
            asked: Vec::new(),
            bad_call: None,
            bad_calls: 0,
            last: None,
            phase: Phase::Answering,
            stopping: false,
            halvings: 0,
            kit,
        };
        turn.exposure.outside_text |= is_handed_on;
        turn.expose();
        match &turn.task {
            Task::Answer | Task::AnswerAgain => {}
            Task::Compact { .. } => {
                let effects = turn.begin_compacting(view);
                return (turn, effects);
            }
            Task::Refuse(why) => {
                let why = why.clone();
                return (turn.phase_ended(), vec![notice(why)]);
            }
        }
        if turn.open.is_some() {
            let effects = turn.go_on_calling();
            return (turn, effects);
        }
        let due = compaction::is_due(view.policy, view.context_tokens, view.uncovered as u64);
        let effects = match compaction::turns_to_summarise(view.policy, view.uncovered, false, 0) {
            Ok(turns) if due => turn.compact(turns),
            Ok(_) | Err(NothingToSummarise) => vec![Effect::AskAnswer],
        };
        (turn, effects)
    }

    /// What is answered.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// How many of the session's last turns it takes the place of.
    pub(super) fn replaced(&self) -> usize {
        usize::from(self.task == Task::AnswerAgain)
    }

    /// On what the summary is to have an eye.
    pub(super) fn focus(&self) -> Option<&str> {
        match &self.task {
            Task::Compact { focus } => focus.as_deref(),
            Task::Answer | Task::AnswerAgain | Task::Refuse(_) => None,
        }
    }

    fn phase_ended(mut self) -> Self {
        self.phase = Phase::Ended;
        self
    }

    /// The peer wants a summary, whether it is due or not.
    fn begin_compacting(&mut self, view: View) -> Vec<Effect> {
        match compaction::turns_to_summarise(view.policy, view.uncovered, true, 0) {
            Ok(turns) => self.compact(turns),
            Err(NothingToSummarise) => {
                self.phase = Phase::Ended;
                vec![notice("There is nothing to summarise.".to_owned())]
            }
        }
    }

    /// The steps so far, what was said meanwhile, and how many characters of each call's answer the prompt may hold.
    pub(super) fn steps(&self) -> (&[ToolStep], &[Aside], usize) {
        (&self.steps, &self.asides, self.output_chars)
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
            return self.end_stopped();
        }
        if let Task::Compact { .. } = self.task {
            self.phase = Phase::Ended;
            let text = "Summarised; the whole conversation is kept, and /export gives it. /context shows what is free.";
            return vec![notice(text.to_owned())];
        }
        self.halvings = 0;
        self.ask_on()
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
            Phase::Calling => self.stop_calls(),
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
            // While calls are made nothing is asked of the pool.
            (Phase::Ended | Phase::Calling, _) => vec![],
            (_, GenerationEvent::Queued { position }) => publish(TurnEvent::Queued { position }),
            (_, GenerationEvent::Loading { model, percent }) => {
                publish(TurnEvent::Loading { model, percent })
            }
            (_, GenerationEvent::Reading { done, total }) => publish(TurnEvent::Reading { done, total }),
            // A turn asks for words alone.
            (_, GenerationEvent::Found { .. }) => vec![],
            // Noted by whoever looks after the way of messages.
            (_, GenerationEvent::Begun { .. }) => vec![],
            (_, GenerationEvent::WorkerReplaced) => publish(TurnEvent::WorkerReplaced),
            (Phase::Compacting { text, .. }, GenerationEvent::Token { chosen }) => {
                text.push_str(&chosen.words());
                vec![]
            }
            (Phase::Answering, GenerationEvent::Token { chosen }) => self.on_chosen(chosen),
            (Phase::Compacting { turns, text }, GenerationEvent::Finished { .. }) => {
                let (turns, text) = (*turns, text.trim().to_owned());
                if self.stopping {
                    return self.end_stopped();
                }
                vec![Effect::SaveSummary { text: (!text.is_empty()).then_some(text), turns }]
            }
            (Phase::Answering, GenerationEvent::Finished { model, reason, usage }) => {
                self.on_answer(model, reason, usage)
            }
            (_, GenerationEvent::Failed { error: PoolError::PromptTooLong { tokens, tokens_max } }) => {
                self.on_too_long(tokens, tokens_max, view)
            }
            (_, GenerationEvent::Failed { error }) => self.on_failed(error),
        }
    }

    fn on_chosen(&mut self, chosen: Chosen) -> Vec<Effect> {
        let effects = self.on_text(&chosen.words());
        for part in chosen.parts {
            match part {
                AnswerPart::Call(call) => self.asked.push(call),
                AnswerPart::BadCall { fault, .. } => self.bad_call = Some(fault),
                AnswerPart::Text(_) | AnswerPart::Thought(_) => {}
            }
        }
        effects
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
        self.last = Some((model, usage));
        if self.stopping || reason == FinishReason::Cancelled {
            return self.end_stopped();
        }
        let (asked, bad_call) = (std::mem::take(&mut self.asked), self.bad_call.take());
        if !asked.is_empty() {
            return self.call(asked, u64::from(usage.context_tokens()));
        }
        if let Some(fault) = bad_call {
            return self.on_bad_call(&fault);
        }
        if let Some(effects) = self.send_named(reason, usage) {
            return effects;
        }
        self.phase = Phase::Ended;
        if self.answer.trim().is_empty() {
            let text = "The model ended its answer before the first word. Say it in other words, or begin afresh with /new.";
            let answer = NewAnswer { kind: AnswerKind::Failure, text: text.into() };
            return vec![Effect::End { turn: self.kept(false), answer }];
        }
        let mut text = self.answer.trim_end().to_owned();
        if reason == FinishReason::Length {
            text.push_str(&format!(
                "\n\n[cut at the limit of {} tokens; say \"go on\"]",
                usage.answer_tokens
            ));
        }
        vec![Effect::End { turn: self.kept(false), answer: NewAnswer { kind: AnswerKind::Answer, text } }]
    }

    /// A call that cannot be read is asked for once more; then it is said.
    fn on_bad_call(&mut self, fault: &str) -> Vec<Effect> {
        self.bad_calls += 1;
        self.answer.clear();
        if self.bad_calls <= BAD_CALLS_MAX {
            let mut effects = vec![Effect::Publish(TurnEvent::Retrying { attempt: self.bad_calls + 1 })];
            effects.extend(self.ask_on());
            return effects;
        }
        self.phase = Phase::Ended;
        let text =
            format!("The model wrote a call of a tool that cannot be read ({fault}). Say it in other words.");
        let answer = NewAnswer { kind: AnswerKind::Failure, text };
        vec![Effect::End { turn: self.kept(false), answer }]
    }

    /// What the session keeps of it: nothing, if there were neither words nor calls.
    pub(super) fn kept(&self, stopped: bool) -> Option<NewTurn> {
        let (model, usage) = self.last.clone()?;
        let answer = self.answer.trim_end().to_owned();
        let is_worth_it = !answer.is_empty() || !self.steps.is_empty();
        let (user, steps, asides) = (self.user.clone(), self.steps.clone(), self.asides.clone());
        let (brought, replaces_last) = (Vec::new(), self.task == Task::AnswerAgain);
        is_worth_it.then_some(NewTurn {
            user,
            answer,
            stopped,
            model,
            steps,
            asides,
            brought,
            usage,
            replaces_last,
        })
    }

    pub(super) fn end_stopped(&mut self) -> Vec<Effect> {
        self.phase = Phase::Ended;
        let said = self.answer.trim_end();
        let answer = if said.is_empty() {
            NewAnswer { kind: AnswerKind::Notice, text: "Stopped.".into() }
        } else {
            NewAnswer { kind: AnswerKind::Answer, text: format!("{said}\n\n[stopped]") }
        };
        vec![Effect::End { turn: self.kept(true), answer }]
    }

    fn on_too_long(&mut self, tokens: u32, tokens_max: u32, view: View) -> Vec<Effect> {
        if self.stopping {
            return self.end_stopped();
        }
        let (pressed, asked) = match self.phase {
            Phase::Compacting { turns, .. } => {
                self.halvings += 1;
                (true, Some(turns))
            }
            Phase::Answering | Phase::Calling | Phase::Ended => (true, None),
        };
        match (compaction::turns_to_summarise(view.policy, view.uncovered, pressed, self.halvings), asked) {
            (Ok(turns), _) => self.compact(turns),
            // Not even one turn can be read as a whole: it is left out of the prompt without a summary by the model.
            (Err(NothingToSummarise), Some(turns)) => vec![Effect::SaveSummary { text: None, turns }],
            // What tools answered is shown shorter before anybody is told that it is too much.
            (Err(NothingToSummarise), None)
                if !self.steps.is_empty() && self.output_chars > OUTPUT_CHARS_MIN =>
            {
                self.output_chars = (self.output_chars / 2).max(OUTPUT_CHARS_MIN);
                vec![Effect::AskAnswer]
            }
            (Err(NothingToSummarise), None) => {
                self.phase = Phase::Ended;
                let text = format!(
                    "Your message is too long for me: with my instructions it is {tokens} tokens, and {tokens_max} fit. \
                     Send it in parts."
                );
                vec![Effect::End {
                    turn: self.kept(false),
                    answer: NewAnswer { kind: AnswerKind::Failure, text },
                }]
            }
        }
    }
}

/// An end with words of the house.
fn notice(text: String) -> Effect {
    Effect::End { turn: None, answer: NewAnswer { kind: AnswerKind::Notice, text } }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;

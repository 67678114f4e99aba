//! The part of a turn that makes calls. Pure: judged, written down, made, written down, in this order.
use std::time::Duration;

use super::calling::{CallState, OpenCall, OpenStep};
use super::guard::LoopFault;
use super::turn::{Effect, Phase, Turn};
use crate::domain::{
    ASK_USER, AnswerKind, Grant, JournalEntry, NewAnswer, Outcome, ToolCall, ToolStep, TurnEvent,
};
use crate::permission::Verdict;

impl Turn {
    /// The model asks for calls.
    pub(super) fn call(&mut self, calls: Vec<ToolCall>, tokens: u64) -> Vec<Effect> {
        let calls = calls.into_iter().map(|call| self.kit.meant(call)).collect();
        self.begin_step(calls, "", tokens)
    }

    /// Begins a step with these calls. Their ids have this mark.
    pub(super) fn begin_step(&mut self, mut calls: Vec<ToolCall>, mark: &str, tokens: u64) -> Vec<Effect> {
        if let Err(fault) = self.guard.step(&calls, tokens) {
            return self.end_going_round(&fault);
        }
        // Names of our own: the model's may come again in a later step.
        let step = self.steps.len() + 1;
        for (number, call) in calls.iter_mut().enumerate() {
            call.id = format!("{}.{step}.{mark}{}", self.label, number + 1);
        }
        let text = std::mem::take(&mut self.answer).trim_end().to_owned();
        self.open = Some(OpenStep::new(text.clone(), calls.clone()));
        self.phase = Phase::Calling;
        self.advance(vec![JournalEntry::Asked { text, calls }])
    }

    /// Goes on with calls of an earlier try.
    pub(super) fn go_on_calling(&mut self) -> Vec<Effect> {
        self.phase = Phase::Calling;
        let begun: Vec<ToolCall> = self.calls_in(&CallState::Begun);
        let mut journal = Vec::new();
        for call in begun {
            let is_repeatable = self.kit.find(&call.name).is_some_and(|tool| tool.spec.is_repeatable);
            // It was allowed then.
            let state = if is_repeatable { CallState::Approved } else { CallState::Ended(Outcome::Unknown) };
            if !is_repeatable {
                journal.push(JournalEntry::Ended { call: call.id.clone(), outcome: Outcome::Unknown });
            }
            self.set(&call.id, state);
        }
        self.advance(journal)
    }

    /// A call has ended, after so long.
    pub(super) fn call_ended(&mut self, id: &str, outcome: Outcome, took: Duration) -> Vec<Effect> {
        let Some(call) = self.calls_in(&CallState::Begun).into_iter().find(|call| call.id == id) else {
            return vec![];
        };
        self.set(id, CallState::Ended(outcome.clone()));
        let failed = !matches!(outcome, Outcome::Done { .. });
        let told = TurnEvent::CallEnded { tool: call.name.clone(), failed };
        let judged = self.guard.ended(&call, &outcome, took);
        let journal = vec![JournalEntry::Ended { call: id.to_owned(), outcome }];
        let mut effects = match judged {
            Ok(()) => self.advance(journal),
            Err(fault) => self.end_going_round(&fault),
        };
        effects.insert(0, Effect::Publish(told));
        effects
    }

    /// The owner has decided about a call, or about the one that he was asked about first. `None`: there was no such question.
    pub(super) fn decided(&mut self, id: Option<&str>, decision: Decision) -> Option<Vec<Effect>> {
        let asked = self.calls_in(&CallState::Waiting);
        let call = asked.into_iter().find(|call| id.is_none_or(|id| id == call.id))?;
        let entry = match decision {
            Decision::Once | Decision::Session | Decision::Always => {
                self.set(&call.id, CallState::Approved);
                JournalEntry::Approved { call: call.id.clone() }
            }
            Decision::Denied | Decision::TimedOut | Decision::Unattended => {
                let text = decision.refusal().to_owned();
                let outcome = Outcome::Failed { text };
                self.set(&call.id, CallState::Ended(outcome.clone()));
                JournalEntry::Ended { call: call.id.clone(), outcome }
            }
        };
        let grant = self.kit.grant(&call);
        let mut effects = Vec::new();
        match decision {
            Decision::Session => self.grants.push(grant),
            Decision::Always => {
                self.standing.push(grant.clone());
                effects.push(Effect::KeepGrant(grant));
            }
            Decision::Once | Decision::Denied | Decision::TimedOut | Decision::Unattended => {}
        }
        effects.extend(self.advance(vec![entry]));
        Some(effects)
    }

    /// The calls that the owner was asked about and has not answered.
    pub(super) fn waiting(&self) -> Vec<ToolCall> {
        self.calls_in(&CallState::Waiting)
    }

    /// What the owner has allowed, for the session's next turns.
    pub(super) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The peer wants it to end. What runs is given up, and nobody knows how far it came.
    pub(super) fn stop_calls(&mut self) -> Vec<Effect> {
        self.stopping = true;
        self.close(&Outcome::Failed { text: "it was not made: the turn was stopped".to_owned() });
        let mut effects = vec![Effect::DropCalls];
        effects.extend(self.end_stopped());
        effects
    }

    /// What the turn has seen and done, by the calls that were made in it.
    pub(super) fn expose(&mut self) {
        let open = self.open.iter().flat_map(OpenStep::calls);
        let begun = open.filter(|open| matches!(open.state, CallState::Begun | CallState::Ended(_)));
        let ended = self.steps.iter().flat_map(|step| &step.calls).map(|record| &record.call);
        let made = ended.chain(begun.map(|open| &open.call));
        let exposures = made.filter_map(|call| self.kit.find(&call.name));
        self.exposure = exposures.fold(self.exposure, |exposure, tool| exposure.after(&tool.spec));
    }

    /// Judges what was asked for, begins what may be made, and asks the model on when all have ended.
    fn advance(&mut self, mut journal: Vec<JournalEntry>) -> Vec<Effect> {
        let (mut effects, mut begun) = (Vec::new(), Vec::new());
        let granted = [self.grants.as_slice(), &self.standing].concat();
        let calls: Vec<OpenCall> = self.open.iter().flat_map(|open| open.calls().to_vec()).collect();
        for OpenCall { call, state } in calls {
            let verdict = match state {
                CallState::Asked => self.kit.judge(&call, self.exposure, &granted),
                CallState::Approved => Verdict::Allow,
                CallState::Waiting | CallState::Begun | CallState::Ended(_) => continue,
            };
            match verdict {
                Verdict::Allow => {
                    if let Some(tool) = self.kit.find(&call.name) {
                        self.exposure = self.exposure.after(&tool.spec);
                    }
                    self.set(&call.id, CallState::Begun);
                    begun.push(call.id.clone());
                    journal.push(JournalEntry::Begun { call: call.id.clone() });
                    let shown = self.kit.shown(&call);
                    effects.push(Effect::Publish(TurnEvent::CallBegun { tool: call.name.clone(), shown }));
                    let time_max = self.guard.time_left(&call.name);
                    effects.push(Effect::Call { call, time_max });
                }
                Verdict::Ask { why } => {
                    self.set(&call.id, CallState::Waiting);
                    effects.push(Effect::AskOwner { call, why });
                }
                Verdict::Deny { why } => {
                    let outcome = Outcome::Failed { text: why };
                    self.set(&call.id, CallState::Ended(outcome.clone()));
                    journal.push(JournalEntry::Ended { call: call.id.clone(), outcome: outcome.clone() });
                    if let Err(fault) = self.guard.ended(&call, &outcome, Duration::ZERO) {
                        // What was to be begun beside it is not made after all.
                        begun.iter().for_each(|id| self.set(id, CallState::Asked));
                        return self.end_going_round(&fault);
                    }
                }
            }
        }
        if !journal.is_empty() {
            effects.insert(0, Effect::Journal(journal));
        }
        if let Some(mut step) = self.open.as_ref().and_then(OpenStep::ended) {
            if let Some(ended) = self.end_with_files(&mut step) {
                self.open = None;
                effects.extend(ended);
                return effects;
            }
            let question = question(&step);
            self.steps.push(step);
            self.open = None;
            if let Some(question) = question {
                effects.extend(self.end_with_question(&question));
                return effects;
            }
            effects.extend(self.ask_on());
        }
        effects
    }

    /// The model wants to know something from whom it talks with: his answer is the next turn.
    fn end_with_question(&mut self, question: &str) -> Vec<Effect> {
        self.phase = Phase::Ended;
        self.answer = question.to_owned();
        let answer = NewAnswer { kind: AnswerKind::Answer, text: question.to_owned() };
        vec![Effect::End { turn: self.kept(false), answer }]
    }

    /// An honest end of a turn that goes round in circles or has used up what it may.
    fn end_going_round(&mut self, fault: &LoopFault) -> Vec<Effect> {
        self.close(&Outcome::Failed { text: "it was not made: the turn was ended".to_owned() });
        self.phase = Phase::Ended;
        let said = std::mem::take(&mut self.answer);
        let said = said.trim_end();
        let gap = if said.is_empty() { "" } else { "\n\n" };
        let text =
            format!("{said}{gap}[I stopped here: {fault}. Tell me how to go on, or say it in another way.]");
        self.answer.clone_from(&text);
        let answer = NewAnswer { kind: AnswerKind::Answer, text };
        vec![Effect::DropCalls, Effect::End { turn: self.kept(false), answer }]
    }

    /// Ends the open step: what runs in it is unknown, what was not begun ends like this.
    fn close(&mut self, unbegun: &Outcome) {
        for call in self.calls_in(&CallState::Begun) {
            self.set(&call.id, CallState::Ended(Outcome::Unknown));
        }
        if let Some(mut open) = self.open.take() {
            open.end_all(unbegun);
            self.steps.extend(open.ended());
        }
    }

    fn calls_in(&self, state: &CallState) -> Vec<ToolCall> {
        let calls = self.open.iter().flat_map(OpenStep::calls);
        calls.filter(|open| open.state == *state).map(|open| open.call.clone()).collect()
    }

    fn set(&mut self, id: &str, state: CallState) {
        if let Some(open) = &mut self.open {
            open.set(id, state);
        }
    }
}

/// What a step asks whom the model talks with, after what it said before.
fn question(step: &ToolStep) -> Option<String> {
    let questions = step.calls.iter().filter_map(|record| match &record.outcome {
        Outcome::Done { text } if record.call.name == ASK_USER => Some(text.as_str()),
        _ => None,
    });
    let asked: Vec<&str> = questions.collect();
    let said = Some(step.text.as_str()).filter(|said| !said.is_empty());
    (!asked.is_empty()).then(|| said.into_iter().chain(asked).collect::<Vec<_>>().join("\n\n"))
}

/// What the owner says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, this time.
    Once,
    /// Yes, and to its like for the rest of the session.
    Session,
    /// Yes, and to its like for good.
    Always,
    /// No.
    Denied,
    /// Nothing in time, which is no.
    TimedOut,
    /// Nobody is there who could be asked, which is no.
    Unattended,
}

impl Decision {
    fn refusal(self) -> &'static str {
        match self {
            Self::TimedOut => "the owner did not answer in time, so it was not made",
            Self::Unattended => {
                "it needs the owner's yes, and in this conversation nobody can be asked, so it was not made"
            }
            Self::Once | Self::Session | Self::Always | Self::Denied => {
                "the owner said no, so it was not made"
            }
        }
    }
}

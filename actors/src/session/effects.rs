//! Does what a turn says: the session's hands. What takes long comes back as a fact.
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::{OpenCall, SessionMsg, SessionState};
use super::failure::TurnFailure;
use super::handle::SessionFact;
use super::order::OpenOrder;
use super::preparing::called;
use super::report;
use super::turn::Effect;
use crate::compaction::{self, PromptParts};
use crate::domain::{
    AnswerForm, AnswerKind, Footer, Grant, InboxId, JournalEntry, MessageKey, NewAnswer, NewTurn, Outcome,
    Priority, Prompt, Senses, Summary, ToolCall, ToolOrder, TurnEnd, TurnEvent, TurnRecord, Usage,
};
use crate::insight::Station;
use crate::link::Envelope;
use crate::memory::MemoryError;
use crate::pool::{GenerationOrder, PoolError};
use crate::ports::Sink;
use crate::routing::{self, RouteInput, Routed};

/// Hermes' shortest sensible patience is many times this; telling each token would only cost time.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
/// Longest summary, in tokens: a twentieth of the usual context.
const SUMMARY_TOKENS_MAX: u32 = 400;

/// What is asked of the pool.
pub(super) struct Request {
    pub(super) prompt: Prompt,
    pub(super) form: AnswerForm,
    /// What its pictures and recordings ask of a model.
    pub(super) senses: Senses,
    pub(super) answer_tokens_max: u32,
    pub(super) priority: Priority,
}

impl SessionState {
    /// Does what the turn says, and what it says next, until it waits for the pool or has ended.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Publish(event) => self.publish(event),
                Effect::CancelGeneration => self.cancel_generation(),
                Effect::AskAnswer => effects.extend(self.ask_answer().await),
                Effect::AskSummary { turns } => effects.extend(self.ask_summary(turns).await),
                Effect::SaveSummary { text, turns } => effects.extend(self.save_summary(text, turns).await),
                Effect::Journal(entries) => {
                    if let Err(failure) = self.write_down(entries).await {
                        // What follows must not happen before it is written down.
                        return self.give_back(failure);
                    }
                }
                Effect::Call { call, time_max } => self.make(call, time_max),
                Effect::AskOwner { call, why } => self.ask_owner(&call, why).await,
                Effect::Forgo(forgone) => self.forgo(forgone),
                Effect::KeepGrant(grant) => self.keep_grant(grant).await,
                Effect::DropCalls => self.drop_calls(),
                Effect::End { turn, answer } => self.end(turn, answer).await,
                Effect::GiveBack(failure) => self.give_back(failure),
            }
        }
    }

    async fn ask_answer(&mut self) -> Vec<Effect> {
        let (showing, senses) = self.look().await;
        let (Some(memory), Some(running)) = (&self.memory, &self.running) else { return vec![] };
        let (steps, asides, output_chars) = running.turn.steps();
        let answered = memory.turns.len().saturating_sub(running.turn.replaced());
        let prompt = compaction::prompt(&PromptParts {
            persona: &self.args.spec.persona,
            summary: memory.head.summary.as_ref(),
            turns: memory.turns.get(..answered).unwrap_or_default(),
            text: running.turn.user(),
            brought: &running.brought,
            showing: &showing,
            steps,
            asides,
            output_chars,
            output_chars_before: self.args.spec.tools.limits.output_chars_max as usize,
            tools: running.turn.kit.declarations(),
        });
        let form = AnswerForm {
            parallel_calls: true,
            tools_if_able: true,
            media_if_able: true,
            ..AnswerForm::default()
        };
        let answer_tokens_max = self.args.spec.limits.answer_tokens_max;
        self.ask(Request { prompt, form, senses, answer_tokens_max, priority: Priority::Direct }).await
    }

    async fn ask_summary(&mut self, turns: usize) -> Vec<Effect> {
        let focus = self.running.as_ref().and_then(|running| running.turn.focus());
        match self.summary_request(turns, focus, Priority::Direct) {
            Some(request) => self.ask(request).await,
            None => vec![],
        }
    }

    /// What asks for a summary of the first uncovered turns.
    pub(super) fn summary_request(
        &self,
        turns: usize,
        focus: Option<&str>,
        priority: Priority,
    ) -> Option<Request> {
        let memory = self.memory.as_ref()?;
        let turns = memory.turns.get(..turns).unwrap_or(&memory.turns);
        let (spec, former) = (&self.args.spec, memory.head.summary.as_ref());
        Some(Request {
            prompt: compaction::summary_prompt(&spec.persona, former, turns, focus),
            form: AnswerForm::default(),
            senses: Senses::default(),
            answer_tokens_max: SUMMARY_TOKENS_MAX.min(spec.limits.answer_tokens_max),
            priority,
        })
    }

    /// Hands a request of the turn to the pool; a refusal at once is its next input.
    async fn ask(&mut self, request: Request) -> Vec<Effect> {
        let ordered = self.order(request).await;
        let Some(running) = &mut self.running else { return vec![] };
        match ordered {
            Ok(order) => {
                running.generation = Some(order);
                vec![]
            }
            Err(error) => {
                let view = self.view_of_turn();
                let refused = self.running.as_mut().map(|running| running.turn.refused(error, view));
                refused.unwrap_or_default()
            }
        }
    }

    /// Hands a request to the pool. What comes of it is a fact with the present number.
    pub(super) async fn order(&mut self, request: Request) -> Result<OpenOrder, PoolError> {
        let Request { prompt, form, senses, answer_tokens_max, priority } = request;
        let spec = &self.args.spec;
        let options = self.memory.as_ref().map(|memory| memory.head.options.clone()).unwrap_or_default();
        let input = RouteInput {
            text: self.running.as_ref().map_or("", |running| running.turn.user()),
            brought: Senses::wanted(self.running.iter().flat_map(|running| &running.brought)),
            channel: &self.args.key.channel,
            turns: self.memory.as_ref().map_or(0, |memory| memory.head.turns),
            options: &options,
        };
        let routed = routing::route(&spec.route, input);
        let Routed { models, because, .. } = self.able(routed, senses).await;
        tracing::debug!(session = %self.args.key, model = ?models.first(), because, "routed");
        if self.running.is_some() {
            self.last.because = Some(because);
        }
        let order = GenerationOrder {
            archon: spec.id.clone(),
            session: self.args.key.clone(),
            priority,
            models,
            makes_room: true,
            prompt: Arc::new(prompt),
            form: Arc::new(form),
            sampling: spec.sampling,
            answer_tokens_max,
            context_tokens_max: spec.context.tokens_max,
        };
        self.ask += 1;
        let (ask, me) = (self.ask, self.me.clone());
        let events = Arc::new(move |event| {
            // A session that is gone needs no more tokens; its successor asks anew.
            let _ = me.send_message(Envelope::fact(SessionMsg::GenerationHappened { ask, event }));
        });
        let generation = self.args.pool.generate(order, events).await?;
        if let Some(running) = &self.running {
            self.args.trail.note(running.entry.id, Station::Pool { request: generation });
        }
        Ok(OpenOrder::new(self.args.pool.clone(), generation))
    }

    async fn save_summary(&mut self, text: Option<String>, turns: usize) -> Vec<Effect> {
        if let Err(error) = self.keep_summary(text, turns).await {
            return vec![Effect::GiveBack(TurnFailure::Memory(error.to_string()))];
        }
        self.running.as_mut().map(|running| running.turn.summary_saved()).unwrap_or_default()
    }

    /// Lays a summary over the first uncovered turns.
    pub(super) async fn keep_summary(
        &mut self,
        text: Option<String>,
        turns: usize,
    ) -> Result<(), MemoryError> {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let turns = turns.min(memory.turns.len());
        let former = memory.head.summary.as_ref();
        let text = text.unwrap_or_else(|| compaction::makeshift_summary(former, &memory.turns[..turns]));
        let covered = former.map_or(0, |summary| summary.turns) + turns as u64;
        let called = called(former, &memory.turns[..turns]);
        let summary = Summary { text, turns: covered, called };
        if let Err(error) = self.args.memory.set_summary(self.args.key.clone(), summary.clone()).await {
            // The store knows better what the conversation is: it is read anew.
            self.memory = None;
            return Err(error);
        }
        memory.head.summary = Some(summary);
        memory.turns.drain(..turns);
        self.last.usage = Usage::default();
        Ok(())
    }

    /// One that cannot be kept counts for this session all the same: the owner said yes.
    async fn keep_grant(&mut self, grant: Grant) {
        let with = self.args.key.peer_key();
        if let Err(error) = self.args.memory.add_grant(with, grant).await {
            tracing::warn!(session = %self.args.key, %error, "what was allowed for good could not be kept");
        }
    }

    async fn write_down(&mut self, entries: Vec<JournalEntry>) -> Result<(), TurnFailure> {
        let Some(running) = &self.running else { return Ok(()) };
        let written = self.args.memory.append_journal(running.entry.id, entries).await;
        written.map_err(|error| TurnFailure::Memory(error.to_string()))
    }

    /// Begins a call; what becomes of it comes back as a fact.
    fn make(&mut self, call: ToolCall, time_max: Duration) {
        let (epoch, me) = (self.epoch, self.me.clone());
        let Some(running) = &mut self.running else { return };
        let id = call.id.clone();
        let told = id.clone();
        let done: Sink<Outcome> = Arc::new(move |outcome| {
            // A session that is gone is followed by one that reads the journal.
            let fact = SessionMsg::CallEnded { epoch, call: told.clone(), outcome };
            let _ = me.send_message(Envelope::fact(fact));
        });
        let Some(tool) = running.turn.kit.find(&call.name) else { return };
        let (observers, key, name) =
            (self.args.observers.clone(), running.entry.message_key(), call.name.clone());
        let progress: Sink<String> = Arc::new(move |text| {
            observers.publish(&key, TurnEvent::CallProgress { tool: name.clone(), text });
        });
        let (archon, session) = (self.args.spec.id.clone(), self.args.key.clone());
        let order = ToolOrder { archon, session, call, time_max };
        let call = OpenCall {
            _running: Some(tool.source.call_telling(order, &done, progress)),
            _place: None,
            timer: None,
            began: Instant::now(),
        };
        running.calls.insert(id, call);
        self.tick();
    }

    fn drop_calls(&mut self) {
        if let Some(running) = &mut self.running {
            running.calls.clear();
        }
    }

    /// Sees to it that progress is told while calls run or the owner is asked: both have deadlines of their own.
    pub(super) fn tick(&mut self) {
        let Some(running) = &mut self.running else { return };
        if running.calls.is_empty() || running.ticks {
            return;
        }
        running.ticks = true;
        let epoch = self.epoch;
        self.me.send_after(PROGRESS_PERIOD, move || Envelope::fact(SessionMsg::Tick { epoch }));
    }

    async fn end(&mut self, turn: Option<NewTurn>, mut answer: NewAnswer) {
        let Some(mut running) = self.running.take() else { return };
        let brought = self.kept_of(std::mem::take(&mut running.brought));
        let turn = turn.map(|turn| NewTurn { brought, ..turn });
        self.grants = running.turn.grants().to_vec();
        let footer = self.memory.as_ref().map_or(Footer::Off, |memory| memory.head.options.footer);
        if let (Some(turn), AnswerKind::Answer) = (&turn, answer.kind) {
            answer.text.push_str(&report::footer(footer, turn, self.args.spec.context.tokens_max));
        }
        let now = self.args.clock.now_unix_ms();
        let inbox = running.entry.id;
        let (kind, text) = (answer.kind, answer.text.clone());
        let end = TurnEnd { inbox, turn: turn.clone(), answer, ended_unix_ms: now };
        match self.args.memory.end_turns(end).await {
            Ok((answer, beside)) => {
                if (answer.kind, &answer.text) == (kind, &text) {
                    self.remember(inbox, turn, now);
                } else {
                    // Somebody ended it before, and what was kept is not this turn: it is read anew.
                    self.memory = None;
                }
                self.args.observers.publish(&running.entry.message_key(), TurnEvent::Ended { answer });
                let taken_in = beside.iter().map(|answer| answer.answers).collect();
                for answer in beside {
                    self.args.observers.publish(&answer.message_key(), TurnEvent::Ended { answer });
                }
                (self.args.report)(SessionFact::Ended { inbox, taken_in });
                self.tidy_up().await;
            }
            Err(error) => {
                // Whether it was kept is not known: what is in memory may be behind the store.
                self.memory = None;
                let failure = TurnFailure::Memory(error.to_string());
                (self.args.report)(SessionFact::Failed { inbox, attempt: running.attempt, failure });
            }
        }
        self.set_idle_timer();
    }

    fn remember(&mut self, inbox: InboxId, turn: Option<NewTurn>, now: u64) {
        let (Some(memory), Some(turn)) = (&mut self.memory, turn) else { return };
        self.last.usage = turn.usage;
        self.last.model = Some(turn.model.clone());
        let number = memory.head.next_number(&turn);
        memory.turns.retain(|kept| kept.number < number);
        memory.turns.push(TurnRecord {
            number,
            inbox,
            user: turn.user,
            answer: turn.answer,
            stopped: turn.stopped,
            model: turn.model,
            steps: turn.steps,
            asides: turn.asides,
            brought: turn.brought,
            usage: turn.usage,
            ended_unix_ms: now,
        });
        memory.head.turns = number + 1;
        memory.head.options.model_once = None;
        memory.head.updated_unix_ms = now;
    }

    pub(super) fn give_back(&mut self, failure: TurnFailure) {
        let Some(running) = self.running.take() else { return };
        let (inbox, attempt) = (running.entry.id, running.attempt);
        (self.args.report)(SessionFact::Failed { inbox, attempt, failure });
        self.set_idle_timer();
    }

    fn cancel_generation(&mut self) {
        if let Some(generation) = self.running.as_ref().and_then(|running| running.generation.as_ref()) {
            generation.cancel();
        }
    }

    pub(super) fn publish(&self, event: TurnEvent) {
        if let Some(key) = self.message_key() {
            self.args.observers.publish(&key, event);
        }
    }

    fn message_key(&self) -> Option<MessageKey> {
        self.running.as_ref().map(|running| running.entry.message_key())
    }

    pub(super) fn tell_progress(&mut self) {
        let Some(running) = &mut self.running else { return };
        let now = Instant::now();
        if running.progress_told.is_none_or(|told| now - told >= PROGRESS_PERIOD) {
            running.progress_told = Some(now);
            (self.args.report)(SessionFact::Progress { inbox: running.entry.id });
        }
    }
}

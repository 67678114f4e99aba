//! Answers the commands: no queue, no model. What is about one session is asked of its actor, what is kept of the store.
use super::actor::HarnessState;
use super::deciding::decision;
use super::listing;
use super::memory;
use super::notice::{self, StatusInput};
use crate::command::{Command, Intent, argument};
use crate::domain::{
    AnswerKind, InboxEntry, ModelId, NewAnswer, Senses, SessionHead, SessionOptions, Tier, TurnEnd, TurnEvent,
};
use crate::memory::MemoryError;
use crate::routing::{self, RouteInput};
use crate::session::{Errand, SessionFact, TurnFailure};
use crate::tools::ToolKit;

/// Sessions that are listed: the last ones are those that somebody looks for.
const SESSIONS_LISTED_MAX: usize = 20;
/// Turns of one session that are given as text.
const TURNS_EXPORTED_MAX: usize = 10_000;

impl HarnessState {
    /// Answers a command.
    pub(super) async fn answer_itself(&mut self, entry: InboxEntry, attempt: u32, intent: &Intent) {
        let text = match notice::for_intent(intent, &entry.session) {
            Some(text) => text,
            None => self.carry_out(intent, &entry).await,
        };
        let inbox = entry.id;
        let end = TurnEnd {
            inbox,
            turn: None,
            answer: NewAnswer { kind: AnswerKind::Notice, text },
            ended_unix_ms: self.args.clock.now_unix_ms(),
        };
        let fact = match self.args.memory.end_turn(end).await {
            Ok(answer) => {
                self.args.observers.publish(&entry.message_key(), TurnEvent::Ended { answer });
                SessionFact::Ended { inbox, taken_in: Vec::new() }
            }
            Err(error) => {
                SessionFact::Failed { inbox, attempt, failure: TurnFailure::Memory(error.to_string()) }
            }
        };
        (self.args.report)(fact);
    }

    /// Does what a command says, and tells what came of it.
    async fn carry_out(&mut self, intent: &Intent, entry: &InboxEntry) -> String {
        let Intent::Command(command) = intent else { return self.status_text(entry).await };
        let words: Vec<&str> = argument(&entry.text).split_whitespace().collect();
        match (command, words.as_slice()) {
            (Command::Stop, _) => match self.stop_turn(&entry.session) {
                Ok(true) => "Stopping.".into(),
                Ok(false) => "Nothing is running.".into(),
                Err(error) => format!("It could not be stopped: {error}."),
            },
            (Command::Approve | Command::Deny, _) if entry.waybill.tier == Some(Tier::User) => {
                "Only my owner may decide that.".to_owned()
            }
            (Command::Approve | Command::Deny, words) => match decision(*command, words) {
                Some((decision, call)) => self.decided(entry, decision, call).await,
                None => {
                    "Say `/approve`, `/approve session` or `/approve always`, and behind it the number of the call where I gave one; nothing was decided.".to_owned()
                }
            },
            (Command::Approvals, words) => kept(self.approvals(entry, words).await),
            (Command::Memory, _) => memory::answer(&self.args.memory, entry).await,
            (Command::Tools, _) => {
                notice::tools_text(&ToolKit::new(&self.args.tools, self.args.spec.tools.clone()))
            }
            (Command::Context, _) => self.errand(entry, Errand::Context).await,
            (Command::Undo, []) => self.errand(entry, Errand::Undo { turns: 1 }).await,
            (Command::Undo, [turns, ..]) => match turns.parse() {
                Ok(turns) => self.errand(entry, Errand::Undo { turns }).await,
                Err(_) => "Say how many turns, like `/undo 2`.".to_owned(),
            },
            (Command::Usage, words) => match listing::footer_wish(words) {
                Some(errand) => self.errand(entry, errand).await,
                None => "Say `/usage`, `/usage tokens`, `/usage full` or `/usage off`.".to_owned(),
            },
            (Command::Model, words) => self.model(entry, words).await,
            (Command::Link, words) => kept(self.link(entry, words).await),
            (Command::Unlink, _) => kept(self.unlink(entry).await),
            (Command::HandOff, words) => kept(self.hand_off(entry, words).await),
            (Command::Busy, words) => match listing::busy_wish(words) {
                Some(errand) => self.errand(entry, errand).await,
                None => "Say `/busy queue`, `/busy steer` or `/busy interrupt`.".to_owned(),
            },
            (Command::Sessions, _) => kept(self.sessions_text(entry).await),
            (Command::Resume, words) => kept(self.resumed_text(entry, words).await),
            (Command::Export, _) => kept(self.export(entry).await),
            _ => self.status_text(entry).await,
        }
    }

    async fn errand(&mut self, entry: &InboxEntry, errand: Errand) -> String {
        match self.resident(&entry.session).await {
            Ok(resident) => {
                let handle = resident.handle.clone();
                let carried = handle.carry(errand).await;
                carried.unwrap_or_else(|error| format!("The session could not be reached: {error}."))
            }
            Err(error) => format!("The session could not be brought up: {error}."),
        }
    }

    async fn model(&mut self, entry: &InboxEntry, words: &[&str]) -> String {
        let once = words.contains(&"--once");
        let names: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
        let unknown =
            words.iter().find(|word| word.starts_with("--") && !["--once", "--session"].contains(word));
        if let Some(unknown) = unknown {
            return format!("I do not know {unknown}; say `/model NAME`, with --once or --session.");
        }
        let pool = self.args.pool.status().await.unwrap_or_default();
        let known: Vec<ModelId> = pool.models.iter().map(|model| model.id.clone()).collect();
        match names.as_slice() {
            [] => format!("{}\n{}", self.status_text(entry).await, listing::models_text(&pool.models)),
            ["auto" | "default"] => self.errand(entry, Errand::Model { model: None, once }).await,
            [name] => match listing::meant(name, &known) {
                Ok(model) => self.errand(entry, Errand::Model { model: Some(model), once }).await,
                Err(why) => why,
            },
            _ => "Say one model, like `/model gemma-4-e4b --once`.".to_owned(),
        }
    }

    async fn approvals(&self, entry: &InboxEntry, words: &[&str]) -> Result<String, MemoryError> {
        let with = entry.session.peer_key();
        let grants = self.args.memory.grants(&with).await?;
        match words {
            ["forget", number] => {
                let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let Some(grant) = index.and_then(|index| grants.get(index)) else {
                    return Ok(format!("There is no approval {number}; /approvals lists them."));
                };
                self.args.memory.remove_grant(with, grant.clone()).await?;
                Ok(format!("From now on I ask again: {}", listing::grant_text(grant)))
            }
            _ => Ok(listing::approvals_text(&grants)),
        }
    }

    async fn sessions_text(&self, entry: &InboxEntry) -> Result<String, MemoryError> {
        let mut heads = self.args.memory.sessions_with(&entry.session.peer_key()).await?;
        heads.sort_by_key(|head| std::cmp::Reverse(head.updated_unix_ms));
        let left_out = heads.len().saturating_sub(SESSIONS_LISTED_MAX);
        heads.truncate(SESSIONS_LISTED_MAX);
        let now = self.args.clock.now_unix_ms();
        let mut rows = Vec::with_capacity(heads.len());
        for head in heads {
            let first = self.first_words(&head).await?;
            rows.push(listing::session_row(&head, &first, head.key == entry.session, now));
        }
        Ok(listing::sessions_text(&rows, left_out))
    }

    async fn first_words(&self, head: &SessionHead) -> Result<String, MemoryError> {
        let first = self.args.memory.turns(&head.key, 0, 1).await?;
        Ok(first.into_iter().next().map(|turn| turn.user).unwrap_or_default())
    }

    async fn resumed_text(&self, entry: &InboxEntry, words: &[&str]) -> Result<String, MemoryError> {
        let [wanted, ..] = words else { return self.sessions_text(entry).await };
        let here = &entry.session;
        let head = self.args.memory.session(here).await?.filter(|_| here.thread.as_str() == *wanted);
        Ok(match head {
            Some(kept) => {
                let last = kept.turns.last().map(|turn| turn.user.as_str()).unwrap_or_default();
                listing::resumed_text(&kept.head, last)
            }
            None => format!("You have no session `{wanted}` with me; /sessions lists them."),
        })
    }

    async fn export(&self, entry: &InboxEntry) -> Result<String, MemoryError> {
        let turns = self.args.memory.turns(&entry.session, 0, TURNS_EXPORTED_MAX).await?;
        Ok(listing::export_text(&self.args.spec.display_name, &entry.session, &turns))
    }

    async fn status_text(&mut self, entry: &InboxEntry) -> String {
        let kept = self.args.memory.session(&entry.session).await.ok().flatten();
        let (options, turns) = match &kept {
            Some(kept) => (kept.head.options.clone(), kept.head.turns),
            None => (SessionOptions::default(), 0),
        };
        let input = RouteInput {
            text: "",
            brought: Senses::default(),
            channel: &entry.session.channel,
            turns,
            options: &options,
        };
        let routed = routing::route(&self.args.spec.route, input);
        let wanted = routed.models.first().cloned();
        let model = self.args.pool.choose(routed.models).await.map_err(|error| error.to_string());
        let resident = self.sessions.get(&entry.session).map(|resident| resident.handle.clone());
        let mut status = match resident {
            Some(handle) => handle.status().await.ok(),
            None => None,
        };
        // A model with a shorter context than the profile asks for has its own.
        let pool = self.args.pool.status().await.unwrap_or_default();
        let found = pool.models.iter().find(|found| Some(&found.id) == model.as_ref().ok());
        if let (Some(status), Some(found)) = (&mut status, found.filter(|found| found.context_tokens > 0)) {
            status.context_tokens_max = status.context_tokens_max.min(found.context_tokens);
        }
        notice::status_text(&StatusInput {
            spec: &self.args.spec,
            session: &entry.session,
            status: status.as_ref(),
            wanted: wanted.as_ref().unwrap_or(&self.args.spec.route.default),
            because: &routed.because,
            model,
            in_flight: self.args.counters.in_flight(),
            waiting: self.args.counters.waiting(),
        })
    }
}

/// What was found, or why nothing could be.
fn kept(text: Result<String, MemoryError>) -> String {
    text.unwrap_or_else(|error| format!("That could not be done: {error}."))
}

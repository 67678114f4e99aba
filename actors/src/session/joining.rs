//! Messages that come while a turn runs, and what the peer wants them to do: wait, join it, or end it. Pure but for its last part.
use super::actor::SessionState;
use super::asking::UNATTENDED;
use super::turn::{Effect, Phase, Turn};
use crate::command::Intent;
use crate::domain::{Aside, Busy, InboxEntry, InboxId, JournalEntry};
use crate::insight::Station;

/// Whether a message may be taken into the turn of another one. A command has work of its own; what came with a message is looked at in
/// its own turn; and nobody gets by the other one's tier what he may not do himself.
pub(super) fn may_join(running: &InboxEntry, entry: &InboxEntry) -> bool {
    Intent::of(&entry.text) == Intent::Message
        && entry.waybill.tier == running.waybill.tier
        && entry.waybill.enclosures.is_empty()
}

/// Those of the waiting messages that may join: none overtakes another one.
pub(super) fn joining(running: &InboxEntry, waiting: &[InboxEntry]) -> Vec<(InboxId, String)> {
    let joining = waiting.iter().take_while(|entry| may_join(running, entry));
    joining.map(|entry| (entry.id, entry.text.clone())).collect()
}

impl Turn {
    /// These messages wait for its end, in order, and may be told to the model before. Those of an earlier offer that are not among them
    /// wait no more.
    pub(super) fn offer(&mut self, waiting: Vec<(InboxId, String)>) {
        let is_new = |id: InboxId| self.asides.iter().all(|aside| aside.inbox != id);
        self.offered = waiting.into_iter().filter(|(id, _)| is_new(*id)).collect();
    }

    /// Asks the model on, and tells it first what was said meanwhile. No call is without its answer here.
    pub(super) fn ask_on(&mut self) -> Vec<Effect> {
        self.phase = Phase::Answering;
        let after = self.steps.len();
        let heard: Vec<Aside> =
            self.offered.drain(..).map(|(inbox, text)| Aside { inbox, after, text }).collect();
        let entry = |aside: &Aside| JournalEntry::Heard { inbox: aside.inbox, text: aside.text.clone() };
        let journal: Vec<JournalEntry> = heard.iter().map(entry).collect();
        self.asides.extend(heard);
        let written = (!journal.is_empty()).then_some(Effect::Journal(journal));
        written.into_iter().chain([Effect::AskAnswer]).collect()
    }
}

impl SessionState {
    /// These wait for the end of the turn that answers a message.
    pub(super) async fn on_waiting(&mut self, behind: InboxId, waiting: &[InboxEntry]) {
        let busy = self.busy();
        let Some(running) = self.running.as_mut().filter(|running| running.entry.id == behind) else {
            return;
        };
        match busy {
            Busy::Queue => {}
            Busy::Steer => {
                let joining = joining(&running.entry, waiting);
                for (inbox, _) in &joining {
                    self.args.trail.note_once(*inbox, Station::Session { attempt: 1 });
                }
                running.turn.offer(joining);
            }
            Busy::Interrupt if !waiting.is_empty() => {
                let effects = running.turn.stop();
                self.perform(effects).await;
            }
            Busy::Interrupt => {}
        }
    }

    /// What the peer has chosen. Programs and other Archons wait for the answer to each of their messages.
    pub(super) fn busy(&self) -> Busy {
        match &self.memory {
            Some(memory) if !UNATTENDED.contains(&self.args.key.channel.as_str()) => memory.head.options.busy,
            Some(_) | None => Busy::Queue,
        }
    }
}

#[cfg(test)]
#[path = "joining_tests.rs"]
mod tests;

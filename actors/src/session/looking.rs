//! What a turn's prompt shows of that which came with its messages: read when it is asked for, and kept nowhere here.
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::actor::SessionState;
use super::forgoing::Forgone;
use crate::domain::{Brought, MediaId, Senses};
use crate::ports::MediaFault;
use crate::routing::{self, Routed};
use crate::showing::{self, Place, Showing};

/// Time to read all that a prompt shows, some dozen megabytes of a disk: less than those wait who ask a session something.
const READ_MAX: Duration = Duration::from_secs(3);

impl SessionState {
    /// All that came with the messages of the running turn's prompt, in order.
    fn all_brought(&self) -> Vec<&Brought> {
        let (Some(memory), Some(running)) = (&self.memory, &self.running) else { return Vec::new() };
        let answered = memory.turns.len().saturating_sub(running.turn.replaced());
        let turns = memory.turns.iter().take(answered).flat_map(|turn| &turn.brought);
        turns.chain(&running.brought).collect()
    }

    /// Reads what the running turn's prompt shows, and tells which senses that asks for.
    pub(super) async fn look(&mut self) -> (Showing, Senses) {
        let all = self.all_brought();
        if all.is_empty() {
            return (Showing::default(), Senses::default());
        }
        let ids: BTreeSet<MediaId> = all.iter().map(|one| one.enclosure.id.clone()).collect();
        let places = showing::places(&all, &self.unseen, self.args.media.bounds());
        let shown = all.iter().zip(&places).filter(|(_, place)| **place == Place::Shown);
        let wanted: Vec<Brought> = shown.map(|(one, _)| (*one).clone()).collect();
        let mut showing = Showing { places, ..Showing::default() };
        let deadline = Instant::now() + READ_MAX;
        for enclosure in wanted.iter().map(|one| &one.enclosure) {
            if showing.read.contains_key(&enclosure.id) {
                continue;
            }
            let late = |_| Err(MediaFault::Unreadable { detail: "the disk is slow".to_owned() });
            let read = timeout_at(deadline, self.args.media.read(enclosure)).await.unwrap_or_else(late);
            if let Err(MediaFault::Unfit { detail }) = &read {
                self.unseen.insert(enclosure.id.clone(), detail.clone());
            }
            let read = read.map_err(|fault| fault.to_string());
            showing.read.insert(enclosure.id.clone(), read);
        }
        // What left the prompt is forgotten.
        self.unseen.retain(|id, _| ids.contains(id));
        let is_read = |one: &&Brought| matches!(showing.read.get(&one.enclosure.id), Some(Ok(_)));
        let senses = Senses::wanted(wanted.iter().filter(is_read));
        (showing, senses)
    }

    /// Shows the model something no more.
    pub(super) fn forgo(&mut self, forgone: Forgone) {
        let (ids, why) = match forgone {
            Forgone::One { id, why } => (vec![id], why),
            Forgone::All { why } => {
                let all = self.all_brought().into_iter();
                (all.map(|one| one.enclosure.id.clone()).collect(), why)
            }
        };
        for id in ids {
            self.unseen.entry(id).or_insert_with(|| why.clone());
        }
    }

    /// What the running turn keeps of that which came with its message: what could not be shown is not tried again.
    pub(super) fn kept_of(&self, brought: Vec<Brought>) -> Vec<Brought> {
        let judged = |one: Brought| {
            let fault = one.fault.or_else(|| self.unseen.get(&one.enclosure.id).cloned());
            Brought { fault, ..one }
        };
        brought.into_iter().map(judged).collect()
    }

    /// Puts a model before the others that takes more of what is shown, if the route has one on disk.
    pub(super) async fn able(&self, routed: Routed, wanted: Senses) -> Routed {
        if !wanted.is_any() || routed.by_peer {
            return routed;
        }
        match self.args.pool.senses(routed.models.clone()).await {
            Ok(senses) => routing::for_media(routed, wanted, &senses),
            // The order that follows tells it better.
            Err(_) => routed,
        }
    }
}

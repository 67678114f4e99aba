//! Tasks that were handed on and have no answer yet: who waits for whom, and which of them nobody waits for any more.
//!
//! A turn that ends ends what it handed on. That is seen by its answer in the outbox, not by its call that is given up: a session that
//! crashed comes back, makes the call again, and wants the answer.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::archon::Archons;
use crate::delegation::{Refusal, calling, stands_still};
use crate::domain::{AGENT, ArchonId, InboxEntry, InboxId};

/// All of a house.
#[derive(Clone, Default)]
pub(super) struct OpenTasks(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    /// By the message in whose turn they were handed on.
    handed_on: BTreeMap<InboxId, Vec<InboxEntry>>,
    /// Nobody waits for them, and their Archons could not be told so far.
    unwanted: Vec<InboxEntry>,
    /// Who waits for whom now, once for each task.
    waits: Vec<(ArchonId, ArchonId)>,
}

/// Somebody waits for somebody. Its end is the end of the waiting.
pub(super) struct Wait {
    tasks: OpenTasks,
    pair: (ArchonId, ArchonId),
}

impl OpenTasks {
    /// A message was journalled: perhaps it is a task.
    pub(super) fn accepted(&self, entry: &InboxEntry) {
        if entry.session.channel.as_str() != AGENT {
            return;
        }
        // By hand a call has no message in whose turn it is made; nothing ends it but its time.
        let Some(calling) = calling(&entry.key) else { return };
        let mut notes = self.lock();
        let handed_on = notes.handed_on.entry(calling).or_default();
        if !handed_on.iter().any(|known| known.id == entry.id) {
            handed_on.push(entry.clone());
        }
    }

    /// A message was answered: a task is done, or whoever handed tasks on waits for them no more.
    pub(super) fn answered(&self, archons: &Archons, inbox: InboxId) {
        let mut notes = self.lock();
        notes.handed_on.retain(|_, tasks| {
            tasks.retain(|task| task.id != inbox);
            !tasks.is_empty()
        });
        notes.unwanted.retain(|task| task.id != inbox);
        let unwanted = notes.handed_on.remove(&inbox).unwrap_or_default();
        drop(notes);
        self.take_back(archons, unwanted);
    }

    /// Tells their Archons that nobody waits for these tasks; those that cannot be told now are told when they are started.
    pub(super) fn take_back(&self, archons: &Archons, tasks: Vec<InboxEntry>) {
        for task in tasks {
            let archons = archons.read().unwrap_or_else(PoisonError::into_inner);
            let told = archons.get(&task.session.archon).is_some_and(|to| to.hermes.taken_back(task.clone()));
            drop(archons);
            if !told {
                self.lock().unwanted.push(task);
            }
        }
    }

    /// An Archon was started: it hears now what it could not hear before.
    pub(super) fn started(&self, archons: &Archons, archon: &str) {
        let mut notes = self.lock();
        let (now, later) = std::mem::take(&mut notes.unwanted)
            .into_iter()
            .partition(|task| task.session.archon.as_str() == archon);
        notes.unwanted = later;
        drop(notes);
        self.take_back(archons, now);
    }

    /// Begins to wait, unless that could be for ever.
    pub(super) fn wait(&self, from: &ArchonId, to: &ArchonId, to_is_full: bool) -> Result<Wait, Refusal> {
        let mut notes = self.lock();
        if stands_still(&notes.waits, from, to, to_is_full) {
            return Err(Refusal::Standstill { to: to.clone(), from: from.clone() });
        }
        let pair = (from.clone(), to.clone());
        notes.waits.push(pair.clone());
        Ok(Wait { tasks: self.clone(), pair })
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // A panic cannot leave half a change: each is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut notes = self.tasks.lock();
        if let Some(at) = notes.waits.iter().position(|pair| *pair == self.pair) {
            notes.waits.swap_remove(at);
        }
    }
}

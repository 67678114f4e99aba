//! Keeps what the slots hold in memory that outlives the process, and takes over what a worker before left there.
use std::collections::VecDeque;
use std::time::Duration;

use super::batch::{Engine, now};
use super::keepsake::{Keepsake, Thrift, read_state, state_bytes, write_state};
use super::media::is_place_holder;

/// Longest pause of those who write, with the last save begun in it: several slots are saved in one pause, so that they can go on
/// together as they did, but not at the price of a stutter.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What the engine needs for keeping.
pub(super) struct Keeping {
    keepsake: Keepsake,
    pub(super) thrift: Thrift,
    /// Slots that are to be saved before anything newer is.
    round: VecDeque<usize>,
}

impl Engine<'_> {
    /// Takes over what is kept there, and keeps contexts there from now on. Returns how many tokens were taken over.
    ///
    /// Call it before the first request.
    pub fn keep_in(&mut self, mut keepsake: Keepsake) -> usize {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let (context, model, sees) = (&mut self.context, self.model, self.media.is_some());
            let most = self.context_tokens as usize;
            let restored = keepsake.restore(index as u64, |tokens, state| {
                let sane = (1..=most).contains(&tokens.len())
                    && tokens.iter().all(|token| model.has(*token) || sees && is_place_holder(*token));
                let whole = sane
                    && read_state(context, index as i32, state)
                    && usize::try_from(context.kv_cache_seq_pos_max(index as i32))
                        == Ok(tokens.len().saturating_sub(1));
                if !whole {
                    // Whole sequences can always be removed, says llama.cpp.
                    let _always = context.clear_kv_cache_seq(u32::try_from(index).ok(), None, None);
                }
                whole
            });
            if let Some(restored) = restored {
                slot.held = restored.tokens.len();
                slot.lasting = usize::MAX;
                slot.kept = slot.held;
                slot.tokens = restored.tokens;
                slot.last_used = restored.generation;
                self.clock = self.clock.max(restored.generation);
            }
        }
        self.keeping = Some(Keeping { keepsake, thrift: Thrift::default(), round: VecDeque::new() });
        self.slots.iter().map(|slot| slot.held).sum()
    }

    /// Forgets all that is kept: what it led to must not come again.
    pub fn forget_kept(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            (0..self.slots.len()).for_each(|index| keeping.keepsake.forget(index as u64));
        }
    }

    /// Saves what is worth it by now. Call it between steps, when everything was told.
    pub fn keep(&mut self) {
        let changed: VecDeque<usize> = self.changed().collect();
        let tokens = changed.iter().filter_map(|index| self.slots.get(*index)).map(|slot| slot.held).sum();
        let Some(keeping) = &mut self.keeping else { return };
        if keeping.round.is_empty() && keeping.thrift.is_due(tokens) {
            keeping.thrift.secure();
            keeping.round = changed;
        }
        let began = now();
        while let Some(index) = self.keeping.as_mut().and_then(|keeping| keeping.round.pop_front()) {
            self.save(index);
            if now() - began >= PAUSE_MAX {
                return;
            }
        }
    }

    /// Saves one slot, if nothing else is to be done and it is worth it; `false` if not.
    pub fn keep_idle(&mut self) -> bool {
        let Some(index) = self.changed().next() else { return false };
        let held = self.slots.get(index).map_or(0, |slot| slot.held);
        if !self.keeping.as_ref().is_some_and(|keeping| keeping.thrift.is_due_when_idle(held)) {
            return false;
        }
        self.save(index);
        let rest = self.changed().count();
        if let (0, Some(keeping)) = (rest, &mut self.keeping) {
            keeping.thrift.secure();
        }
        true
    }

    #[cfg(test)]
    pub(super) fn keep_now(&mut self) {
        self.changed().collect::<Vec<_>>().into_iter().for_each(|index| self.save(index));
    }

    /// Slots that hold something else than what was saved of them last.
    fn changed(&self) -> impl Iterator<Item = usize> {
        let slots = self.slots.iter().enumerate();
        slots.filter(|(_, slot)| slot.held != slot.kept && slot.held > 0).map(|(index, _)| index)
    }

    fn save(&mut self, index: usize) {
        let mut idle: Vec<usize> = (0..self.slots.len()).filter(|other| *other != index).collect();
        idle.retain(|other| self.slots.get(*other).is_some_and(|slot| slot.job.is_none()));
        idle.sort_by_key(|other| self.slots.get(*other).map(|slot| slot.last_used));
        let (Some(keeping), Some(slot)) = (&mut self.keeping, self.slots.get_mut(index)) else { return };
        let began = now();
        let held = slot.tokens.get(..slot.held).unwrap_or_default();
        let bytes = state_bytes(&self.context, index as i32);
        let (context, idle) = (&self.context, idle.into_iter().map(|other| other as u64).collect::<Vec<_>>());
        keeping.keepsake.save(index as u64, held, bytes, &idle, |to| write_state(context, index as i32, to));
        keeping.thrift.saved(held.len(), now() - began);
        // Also when there was no room: nothing has changed about that before the slot changes.
        slot.kept = slot.held;
    }
}

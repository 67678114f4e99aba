//! How many answers a worker can compute side by side within its memory. Pure.
use crate::settings::Amount;

/// Most slots that are chosen automatically: a house has few people, and a batch of eight already uses a home machine's cores.
pub const SLOTS_AUTO_MAX: u32 = 8;

/// llama.cpp's buffers for one step, at most: the logits of 512 tokens over Gemma's vocabulary of 262,144, 4 bytes each, are
/// 512 MiB; the rest is activations. All of it counts against the limit, though a small part is ever written.
const SCRATCH_BYTES_MAX: u64 = 600 << 20;

/// What a worker that sees takes beside its projector's file, at most: a decoded picture of 24 million pixels thrice (the decoder's,
/// the pixels, llama.cpp's copy), a message with 24 MiB of media and what is made of it, and the buffers of an encoding.
const MEDIA_BYTES_MAX: u64 = 512 << 20;

/// Models up to this size are laid out anew wherever that costs no conversation: nobody misses so little memory, and they read their
/// prompts faster. The starter has 98 MB.
const SMALL_WEIGHTS_BYTES: u64 = 256 << 20;

/// The part of the memory for models that a larger one may take with its weights laid out anew: beside it there must be room for a
/// second model of its kind, and for the pages of both files.
const REPACKED_SHARE: u64 = 2;

/// What a drafter takes beside its file, at most: its outputs for all slots over Gemma's vocabulary, and what it computes in.
const DRAFTING_BYTES_MAX: u64 = 64 << 20;

/// The memory that a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The weights: mapped from their file, but of use only while they stay in memory.
    pub weights_bytes: u64,
    /// Weights that are laid out anew for the processor in private memory, at most; 0 where they are used as they are mapped. How many
    /// it is depends on their types, which only llama.cpp reads: of Q4_K_M about half, of Q4_0 nearly all.
    pub repacked_bytes: u64,
    /// The projector, which is read into memory; 0 where there is none.
    pub projector_bytes: u64,
    /// The drafter, mapped like the weights; 0 where there is none.
    pub drafter_bytes: u64,
    /// One sequence of the whole context; 0 where the shape of the model is unknown.
    pub sequence_bytes: u64,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Slots that the worker gets, at least 1.
    pub slots: u32,
    /// Slots that there is room for; fewer than `slots` when the model is too large, or more were asked for.
    pub room: u32,
}

impl Need {
    /// The same model with its weights laid out anew, or not: as asked for, or by itself where that costs nothing that matters.
    ///
    /// It makes reading prompts faster, for large models by a tenth, and writing hardly; it takes up to the whole file again, which each
    /// start copies. So it must fit comfortably, or the model be small.
    #[must_use]
    pub fn repacked(self, asked: Amount<bool>, slots: Amount<u32>, memory_bytes_max: Option<u64>) -> Self {
        let mapped = Self { repacked_bytes: 0, ..self };
        let repacked = Self { repacked_bytes: self.weights_bytes, ..self };
        let slots_of = |need: &Self| need.fit(slots, memory_bytes_max).slots;
        let is_small = self.weights_bytes <= SMALL_WEIGHTS_BYTES && slots_of(&repacked) == slots_of(&mapped);
        let is_comfortable = |memory: u64| repacked.bytes(slots_of(&mapped)) <= memory / REPACKED_SHARE;
        let repack = match asked {
            Amount::Fixed(repack) => repack,
            Amount::Auto => is_small || memory_bytes_max.is_some_and(is_comfortable),
        };
        if repack { repacked } else { mapped }
    }

    /// The slots of a worker that may use this much memory. What was asked for is kept; the log says if it is too much.
    pub fn fit(&self, asked: Amount<u32>, memory_bytes_max: Option<u64>) -> Fit {
        let room = self.room(memory_bytes_max);
        let slots = match asked {
            Amount::Fixed(slots) => slots,
            Amount::Auto => room.clamp(1, SLOTS_AUTO_MAX),
        };
        Fit { slots, room }
    }

    /// A small file has a small vocabulary: its scratch is of the file's own order (the starter: 98 MB and 115 MB).
    fn scratch_bytes(&self) -> u64 {
        SCRATCH_BYTES_MAX.min(self.weights_bytes)
    }

    /// What pictures and recordings take.
    fn media_bytes(&self) -> u64 {
        if self.projector_bytes == 0 { 0 } else { self.projector_bytes.saturating_add(MEDIA_BYTES_MAX) }
    }

    /// What guessing with a drafter takes.
    fn drafting_bytes(&self) -> u64 {
        if self.drafter_bytes == 0 { 0 } else { self.drafter_bytes.saturating_add(DRAFTING_BYTES_MAX) }
    }

    /// All that does not depend on the slots.
    fn base_bytes(&self) -> u64 {
        let parts = [self.repacked_bytes, self.scratch_bytes(), self.media_bytes(), self.drafting_bytes()];
        parts.into_iter().fold(self.weights_bytes, u64::saturating_add)
    }

    /// What a worker with so many slots takes up.
    pub fn bytes(&self, slots: u32) -> u64 {
        let sequences = self.sequence_bytes.saturating_mul(slots.into());
        self.base_bytes().saturating_add(sequences)
    }

    /// How that comes about, for people.
    pub fn arithmetic(&self, slots: u32) -> String {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let (weights, scratch) = (gb(self.weights_bytes), gb(self.scratch_bytes()));
        let repacked = match self.repacked_bytes {
            0 => String::new(),
            repacked => format!(" + up to {:.1} GB of them laid out anew", gb(repacked)),
        };
        let more = |bytes: u64, what: &str| match bytes {
            0 => String::new(),
            bytes => format!(" + {:.1} GB to {what}", gb(bytes)),
        };
        let media = more(self.media_bytes(), "see and hear");
        let drafting = more(self.drafting_bytes(), "guess with");
        format!(
            "{weights:.1} GB of weights{repacked} + {scratch:.1} GB to compute in{media}{drafting} + {slots} x {:.2} GB of conversation",
            gb(self.sequence_bytes)
        )
    }

    fn room(&self, memory_bytes_max: Option<u64>) -> u32 {
        let Some(memory) = memory_bytes_max else { return u32::MAX };
        let free = memory.saturating_sub(self.base_bytes());
        free.checked_div(self.sequence_bytes).map_or(u32::MAX, |room| u32::try_from(room).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use archond_models::catalogue::Catalogue;

    use super::*;

    const GIB: u64 = 1 << 30;

    /// A shipped model on a machine of this memory, as the daemon plans it by itself: in four fifths of it.
    fn planned(id: &str, context_tokens: u64, memory_gib: u64) -> (Need, Option<u64>) {
        let catalogue = Catalogue::load(None).unwrap();
        let model = catalogue.get(id).unwrap();
        let need = Need {
            weights_bytes: model.weights.bytes.count(),
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: model.kv.sequence_bytes(context_tokens),
        };
        let memory = Some(memory_gib * GIB / 5 * 4);
        (need.repacked(Amount::Auto, Amount::Auto, memory), memory)
    }

    #[track_caller]
    fn check(id: &str, context_tokens: u64, memory_gib: u64, wanted: u32) {
        let (need, memory) = planned(id, context_tokens, memory_gib);
        let fit = need.fit(Amount::Auto, memory);
        assert_eq!(fit.slots.min(fit.room), wanted, "{id} in {memory_gib} GiB: {fit:?}");
        assert_eq!(fit.slots, wanted.max(1));
    }

    #[test]
    fn the_shipped_models_on_machines_as_they_are() {
        check("smollm2-135m-instruct", 8192, 1, 3);
        check("smollm2-135m-instruct", 8192, 2, 8);
        check("gemma-4-e2b", 8192, 4, 0);
        check("gemma-4-e2b", 8192, 8, 8);
        check("gemma-4-e4b", 8192, 8, 5);
        check("gemma-4-e4b", 8192, 10, 8);
        check("gemma-4-e4b", 8192, 16, 8);
        check("gemma-4-26b-a4b", 8192, 16, 0);
        check("gemma-4-26b-a4b", 8192, 24, 6);
        check("gemma-4-26b-a4b", 4096, 24, 7);
        check("gemma-4-26b-a4b", 8192, 32, 8);
        check("gemma-4-26b-a4b", 8192, 64, 8);
        check("gemma-4-31b", 8192, 24, 0);
        check("gemma-4-31b", 8192, 32, 4);
        check("gemma-4-31b", 8192, 64, 8);
    }

    #[test]
    fn weights_are_laid_out_anew_where_there_is_room_to_spare() {
        for (id, memory_gib, wanted) in [
            ("smollm2-135m-instruct", 1, false),
            ("smollm2-135m-instruct", 2, false),
            ("smollm2-135m-instruct", 3, true),
            ("gemma-4-e2b", 8, false),
            ("gemma-4-e2b", 16, false),
            ("gemma-4-e2b", 24, true),
            ("gemma-4-e4b", 24, false),
            ("gemma-4-e4b", 32, true),
            ("gemma-4-26b-a4b", 24, false),
            ("gemma-4-26b-a4b", 64, false),
            ("gemma-4-26b-a4b", 128, true),
            ("gemma-4-31b", 64, false),
        ] {
            let (need, _) = planned(id, 8192, memory_gib);
            assert_eq!(need.repacked_bytes > 0, wanted, "{id} in {memory_gib} GiB");
            assert!([0, need.weights_bytes].contains(&need.repacked_bytes), "{need:?}");
        }
    }

    #[test]
    fn what_is_asked_of_the_weights_is_done_and_counted() {
        let need = Need {
            weights_bytes: GIB,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: GIB / 8,
        };
        let with = |asked, slots, memory| need.repacked(asked, slots, memory);
        let repacked = with(Amount::Fixed(true), Amount::Auto, Some(GIB));
        assert_eq!(repacked.bytes(2), need.bytes(2) + GIB);
        assert_eq!(
            repacked.fit(Amount::Auto, Some(4 * GIB)).room + 8,
            need.fit(Amount::Auto, Some(4 * GIB)).room
        );
        assert_eq!(with(Amount::Fixed(false), Amount::Auto, Some(100 * GIB)), need);
        assert_eq!(repacked.repacked(Amount::Fixed(false), Amount::Auto, None), need, "it can be taken back");
        let told = repacked.arithmetic(2);
        assert!(
            told.starts_with("1.1 GB of weights + up to 1.1 GB of them laid out anew + 0.6 GB"),
            "{told}"
        );
        assert!(!need.arithmetic(2).contains("anew"));
        // By itself: of unknown memory little is taken, and the conversations that were asked for come first.
        assert_eq!(with(Amount::Auto, Amount::Auto, None), need);
        let most = need.bytes(8) + GIB;
        assert_eq!(with(Amount::Auto, Amount::Auto, Some(2 * most - 1)), need);
        assert_eq!(with(Amount::Auto, Amount::Auto, Some(2 * most)), repacked);
        assert_eq!(with(Amount::Auto, Amount::Fixed(9), Some(2 * most)), need);
        let small = Need { weights_bytes: SMALL_WEIGHTS_BYTES, ..need };
        assert!(small.repacked(Amount::Auto, Amount::Auto, None).repacked_bytes > 0);
    }

    #[test]
    fn what_was_asked_for_is_kept_and_the_room_is_told() {
        let need = Need {
            weights_bytes: 100,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: 10,
        };
        assert_eq!(need.fit(Amount::Fixed(64), Some(250)), Fit { slots: 64, room: 5 });
        assert_eq!(need.fit(Amount::Fixed(2), Some(250)), Fit { slots: 2, room: 5 });
        assert_eq!(need.fit(Amount::Fixed(3), None), Fit { slots: 3, room: u32::MAX });
    }

    #[test]
    fn at_the_edge() {
        let need = Need {
            weights_bytes: 100,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: 10,
        };
        for (memory, slots, room) in [
            (0, 1, 0),
            (200, 1, 0),
            (209, 1, 0),
            (210, 1, 1),
            (219, 1, 1),
            (220, 2, 2),
            (u64::MAX, 8, u32::MAX),
        ] {
            assert_eq!(need.fit(Amount::Auto, Some(memory)), Fit { slots, room }, "{memory}");
        }
        assert_eq!(need.fit(Amount::Auto, None), Fit { slots: 8, room: u32::MAX });
    }

    #[test]
    fn a_projector_takes_its_file_and_room_for_pictures() {
        let blind = Need {
            weights_bytes: GIB,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: GIB / 4,
        };
        let sees = Need { projector_bytes: GIB / 2, ..blind };
        assert_eq!(sees.bytes(2), blind.bytes(2) + GIB);
        let room = |need: &Need| need.fit(Amount::Auto, Some(4 * GIB)).room;
        assert_eq!((room(&blind), room(&sees)), (9, 5));
    }

    #[test]
    fn a_drafter_takes_its_file_and_what_it_computes_in() {
        let alone = Need {
            weights_bytes: GIB,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: GIB / 4,
        };
        let drafts = Need { drafter_bytes: GIB / 2, ..alone };
        assert_eq!(drafts.bytes(2), alone.bytes(2) + GIB / 2 + DRAFTING_BYTES_MAX);
        assert!(drafts.arithmetic(2).contains("0.6 GB to guess with"), "{}", drafts.arithmetic(2));
        assert!(!alone.arithmetic(2).contains("guess"), "{}", alone.arithmetic(2));
    }

    #[test]
    fn a_model_of_unknown_shape_is_taken_to_fit() {
        let need = Need {
            weights_bytes: u64::MAX,
            repacked_bytes: 0,
            projector_bytes: 0,
            drafter_bytes: 0,
            sequence_bytes: 0,
        };
        assert_eq!(need.fit(Amount::Auto, Some(GIB)), Fit { slots: 8, room: u32::MAX });
    }
}

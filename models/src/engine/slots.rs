//! Which slot takes a new prompt, and how much of it need not be read again. Pure.

/// Fewest tokens worth copying from one slot to another: below, reading them again costs about as much.
pub(super) const COPY_TOKENS_MIN: usize = 32;

/// What the choice depends on.
pub(super) struct SlotState<'t, T> {
    /// The tokens that the slot's memory holds.
    pub(super) held: &'t [T],
    /// The place of the earliest token that all layers still have.
    pub(super) oldest: usize,
    /// No answer runs in it.
    pub(super) idle: bool,
    /// Greater: used later.
    pub(super) last_used: u64,
}

/// Where a prompt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The slot that takes it.
    pub(super) slot: usize,
    /// Tokens of the prompt that it holds and goes on from.
    pub(super) keep: usize,
    /// Tokens of the prompt that it can take over from another slot, if that is worth it.
    pub(super) elsewhere: usize,
}

/// How many tokens two rows have in common from the start.
pub(super) fn common_prefix<T: PartialEq>(one: &[T], other: &[T]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// How many of the first tokens can be gone on from, if so many are wanted and `oldest` is the earliest that all layers still have: all
/// or none. The next token must find all that it looks at, or it would come out wrong.
///
/// The rule of a sliding window is llama.cpp's: a layer looks at this many tokens, the present one included.
pub(super) fn usable(wanted: usize, oldest: usize, window: Option<u32>) -> usize {
    let needed = window.map_or(0, |window| (wanted + 1).saturating_sub(window as usize));
    if oldest <= needed { wanted } else { 0 }
}

/// Chooses an idle slot; `None` if there is none.
///
/// A slot that holds mostly this prompt's beginning is this conversation's own and goes on in place. Otherwise the slot
/// that was idle longest is given up; the common beginning, for instance the same instructions, it takes over when it reads
/// ([`reading`]). At least the prompt's last token is read again: it gives the first answer token.
pub(super) fn choose<T: PartialEq>(
    prompt: &[T],
    slots: &[SlotState<'_, T>],
    window: Option<u32>,
) -> Option<Choice> {
    let readable = prompt.len().saturating_sub(1);
    let common =
        |slot: &SlotState<'_, T>| usable(common_prefix(prompt, slot.held).min(readable), slot.oldest, window);
    let idle = || slots.iter().enumerate().filter(|(_, slot)| slot.idle);
    let (own, own_slot) = idle().max_by_key(|(_, slot)| (common(slot), slot.last_used))?;
    let own_keep = common(own_slot);
    if own_keep > 0 && own_keep * 2 >= own_slot.held.len() {
        return Some(Choice { slot: own, keep: own_keep, elsewhere: 0 });
    }
    let (oldest, oldest_slot) = idle().min_by_key(|(_, slot)| (!slot.held.is_empty(), slot.last_used))?;
    let keep = common(oldest_slot);
    let elsewhere = slots.iter().map(common).max().unwrap_or(0);
    if elsewhere >= keep + COPY_TOKENS_MIN {
        return Some(Choice { slot: oldest, keep: 0, elsewhere });
    }
    Some(Choice { slot: oldest, keep, elsewhere: 0 })
}

/// Another slot, as seen by one whose prompt is being read.
pub(super) struct Neighbour<'t, T> {
    /// What it holds and is to hold.
    pub(super) tokens: &'t [T],
    /// How many of them its memory holds.
    pub(super) held: usize,
    /// The place of the earliest token that all layers still have.
    pub(super) oldest: usize,
    /// Its prompt is being read, too, and has the right of way.
    pub(super) reads_first: bool,
}

/// What a slot does whose prompt is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It reads on.
    Own,
    /// A neighbour is about to read the same: it waits for that.
    Wait,
    /// It takes so many tokens over from the neighbour of this number.
    Take { neighbour: usize, keep: usize },
}

/// Requests that come together mostly begin with the same instructions, which then are read once.
///
/// Only who has the right of way is waited for, so that the first of all always reads.
pub(super) fn reading<T: PartialEq>(
    prompt: &[T],
    held: usize,
    neighbours: &[Neighbour<'_, T>],
    window: Option<u32>,
) -> Reading {
    let readable = prompt.len().saturating_sub(1);
    let common: Vec<usize> =
        neighbours.iter().map(|other| common_prefix(prompt, other.tokens).min(readable)).collect();
    // Who has read on so far that it slid out of the window cannot give it any more.
    let gives = |other: &Neighbour<'_, T>, common| {
        other.held < common || usable(common, other.oldest, window) == common
    };
    let coming = neighbours.iter().zip(&common);
    let coming = coming.filter(|(other, common)| other.reads_first && gives(other, **common));
    let coming = coming.map(|(_, common)| *common).max().unwrap_or(0);
    let there = neighbours.iter().zip(&common);
    let there =
        there.map(|(other, common)| usable(other.held.min(*common), other.oldest, window)).enumerate();
    let (neighbour, keep) = there.max_by_key(|(_, there)| *there).unwrap_or((0, 0));
    if coming.max(keep) < held + COPY_TOKENS_MIN {
        Reading::Own
    } else if coming > keep {
        Reading::Wait
    } else {
        Reading::Take { neighbour, keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_reading(held: usize, neighbours: &[(usize, usize, bool)], wanted: Reading) {
        let prompt = [1_u8; 100];
        // Neighbours have so many tokens in common with the prompt, and hold so many.
        let rows: Vec<Vec<u8>> =
            neighbours.iter().map(|(common, _, _)| [vec![1; *common], vec![2; 9]].concat()).collect();
        let neighbours: Vec<_> = std::iter::zip(&rows, neighbours)
            .map(|(tokens, &(_, held, reads_first))| Neighbour { tokens, held, oldest: 0, reads_first })
            .collect();
        assert_eq!(reading(&prompt, held, &neighbours, None), wanted);
    }

    #[test]
    fn what_a_neighbour_reads_is_waited_for_and_taken() {
        check_reading(0, &[], Reading::Own);
        check_reading(0, &[(80, 0, true)], Reading::Wait);
        check_reading(0, &[(80, 79, true)], Reading::Wait);
        check_reading(0, &[(80, 80, true)], Reading::Take { neighbour: 0, keep: 80 });
        check_reading(0, &[(80, 84, true)], Reading::Take { neighbour: 0, keep: 80 });
        check_reading(80, &[(80, 84, true)], Reading::Own);
        check_reading(0, &[(10, 10, false), (80, 85, false)], Reading::Take { neighbour: 1, keep: 80 });
    }

    #[test]
    fn nobody_waits_for_those_behind_nor_for_little() {
        check_reading(0, &[(80, 0, false)], Reading::Own);
        check_reading(60, &[(80, 0, true)], Reading::Own);
        check_reading(0, &[(COPY_TOKENS_MIN - 1, 40, true)], Reading::Own);
        check_reading(0, &[(80, 0, true), (40, 40, false)], Reading::Wait);
    }

    #[test]
    fn the_last_token_is_never_taken() {
        check_reading(0, &[(100, 105, true)], Reading::Take { neighbour: 0, keep: 99 });
    }

    type State<'t> = (&'t [u8], bool, u64);

    #[track_caller]
    fn check(prompt: &[u8], states: &[State<'_>], wanted: Option<(usize, usize, usize)>) {
        let slots: Vec<_> = states
            .iter()
            .map(|&(held, idle, last_used)| SlotState { held, oldest: 0, idle, last_used })
            .collect();
        let wanted = wanted.map(|(slot, keep, elsewhere)| Choice { slot, keep, elsewhere });
        assert_eq!(choose(prompt, &slots, None), wanted);
    }

    #[test]
    fn a_conversation_goes_on_in_its_own_slot() {
        check(b"abcdef", &[(b"xyz", true, 1), (b"abcd", true, 2)], Some((1, 4, 0)));
        check(b"abcdef", &[(b"abcdX", true, 9), (b"ab", true, 1)], Some((0, 4, 0)));
    }

    #[test]
    fn the_last_token_is_read_again() {
        check(b"abc", &[(b"abc", true, 1)], Some((0, 2, 0)));
        check(b"a", &[(b"abc", true, 1)], Some((0, 0, 0)));
    }

    #[test]
    fn the_longest_idle_slot_gives_way() {
        check(b"new", &[(b"abc", true, 5), (b"xyz", true, 3)], Some((1, 0, 0)));
        check(b"new", &[(b"abc", true, 1), (b"", true, 0)], Some((1, 0, 0)));
        check(b"new", &[(b"abc", false, 1), (b"xyz", false, 3)], None);
    }

    #[test]
    fn a_long_common_beginning_is_taken_over_even_from_a_busy_slot() {
        let shared = [7; COPY_TOKENS_MIN + 1];
        let prompt = [&shared[..], b"mine"].concat();
        let other = [&shared[..], &[9; 200]].concat();
        check(&prompt, &[(&other, false, 5), (b"", true, 0)], Some((1, 0, shared.len())));
        check(&prompt, &[(&other, true, 5), (b"old", true, 1)], Some((1, 0, shared.len())));
        check(&prompt, &[(&other, true, 5), (b"busy", false, 6)], Some((0, shared.len(), 0)));
        let short = [&shared[..8], b"mine"].concat();
        check(&short, &[(&other, false, 5), (b"", true, 0)], Some((1, 0, 0)));
    }

    #[test]
    fn what_slid_out_of_the_window_is_not_gone_on_from() {
        // A layer that looks at 4 tokens, the present one included, needs the 3 before.
        assert_eq!([0, 7, 8, 9].map(|oldest| usable(10, oldest, Some(4))), [10, 10, 0, 0]);
        assert_eq!(usable(10, 1, None), 0, "memory without a window is whole or of no use");
        assert_eq!(usable(3, 0, Some(100)), 3);

        let shared = [7; COPY_TOKENS_MIN + 1];
        let prompt = [&shared[..], b"mine"].concat();
        let other = [&shared[..], &[9; 200]].concat();
        let states = |oldest| {
            [
                SlotState { held: &other[..], oldest, idle: false, last_used: 5 },
                SlotState { held: &[], oldest: 0, idle: true, last_used: 0 },
            ]
        };
        let copied = Choice { slot: 1, keep: 0, elsewhere: shared.len() };
        assert_eq!(choose(&prompt, &states(shared.len() - 9), Some(10)), Some(copied));
        let read = Choice { slot: 1, keep: 0, elsewhere: 0 };
        assert_eq!(choose(&prompt, &states(shared.len() - 8), Some(10)), Some(read));

        let neighbour = |held, oldest| [Neighbour { tokens: &other[..], held, oldest, reads_first: true }];
        assert_eq!(reading(&prompt, 0, &neighbour(20, 11), Some(10)), Reading::Wait);
        let taken = Reading::Take { neighbour: 0, keep: shared.len() };
        assert_eq!(reading(&prompt, 0, &neighbour(40, shared.len() - 9), Some(10)), taken);
        assert_eq!(reading(&prompt, 0, &neighbour(40, shared.len()), Some(10)), Reading::Own);
    }
}

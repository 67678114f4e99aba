//! How the prompts that wait share what one step may read. Pure.
//!
//! Who came first is read first, but a short prompt does not wait for all of a long one: half of each step is for the first, and the
//! shortest of the others take what they need of the rest. A prompt that fits into a step is not cut in two: each piece would touch all
//! weights once more. Nobody starves: the first always gets its half, and whoever waits becomes the first in time.

/// What each prompt gets of `room` tokens; they have so many left, in order of arrival.
///
/// A first prompt that ends within a quarter of a step more is read to its end, so up to a quarter more than `room` may be given, but never more than
/// `most` together.
pub(super) fn portions(left: &[usize], room: usize, most: usize) -> Vec<usize> {
    let Some(&first) = left.first() else { return Vec::new() };
    let mut given = vec![0; left.len()];
    let mut rest = room;
    let mut give = |place: usize, tokens: usize, rest: &mut usize| {
        if let Some(given) = given.get_mut(place) {
            *given += tokens;
            *rest = rest.saturating_sub(tokens);
        }
    };
    let half = first.min(if left.len() > 1 { room.div_ceil(2) } else { room });
    give(0, half, &mut rest);
    let mut others: Vec<(usize, usize)> = left.iter().copied().enumerate().skip(1).collect();
    others.sort_by_key(|(_, left)| *left); // stable: of equals, who came first
    for &(place, left) in &others {
        if left <= rest {
            give(place, left, &mut rest);
        }
    }
    let more = (first - half).min(rest);
    give(0, more, &mut rest);
    let behind = first - half - more;
    if behind > 0 && rest == 0 && behind <= (room / 4).min(most.saturating_sub(room)) {
        give(0, behind, &mut rest);
    }
    // What must be cut anyway takes what is left over.
    let long = others.iter().filter(|(_, left)| *left > room).map(|(place, _)| *place).min();
    if let Some(place) = long {
        let all = rest;
        give(place, all, &mut rest);
    }
    given
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(left: &[usize], room: usize, wanted: &[usize]) {
        assert_eq!(portions(left, room, 512), wanted, "{left:?} in {room}");
    }

    #[test]
    fn who_reads_alone_takes_the_step() {
        check(&[], 64, &[]);
        check(&[1000], 64, &[64]);
        check(&[30], 64, &[30]);
    }

    #[test]
    fn what_ends_soon_is_read_to_its_end() {
        check(&[25], 20, &[25]);
        check(&[26], 20, &[20]);
        check(&[80, 30], 64, &[34, 30]);
    }

    #[test]
    fn short_prompts_are_not_cut_and_do_not_wait_for_long_ones() {
        check(&[30, 30, 30], 64, &[30, 30, 0]);
        check(&[1000, 20, 30, 10], 64, &[34, 20, 0, 10]);
        check(&[20, 1000], 64, &[20, 44]);
        check(&[20, 50], 64, &[20, 0]);
        check(&[1000, 900, 800], 64, &[64, 0, 0]);
    }

    #[test]
    fn nothing_is_given_where_there_is_no_room() {
        check(&[5, 9], 0, &[0, 0]);
        assert_eq!(portions(&[28], 24, 24), [24], "more than a batch can hold is not given");
    }

    proptest! {
        #[test]
        fn the_step_is_used_and_the_first_goes_on(left in prop::collection::vec(1usize..600, 1..9), room in 1usize..512, more in 0usize..99) {
            let given = portions(&left, room, room + more);
            prop_assert!(given.iter().zip(&left).all(|(given, left)| given <= left));
            let sum: usize = given.iter().sum();
            prop_assert!(sum <= room + more.min(room / 4), "{given:?}");
            prop_assert!(given[0] >= left[0].min(room / 2), "{given:?}");
            // Cut are only the first, and what would not fit into a step of its own.
            let cut = given.iter().zip(&left).skip(1).filter(|(given, left)| **given > 0 && given < left);
            prop_assert!(cut.clone().count() <= 1 && cut.clone().all(|(_, left)| *left > room), "{given:?}");
            let all: usize = left.iter().sum();
            prop_assert!(all > room || sum == all, "{given:?}");
        }
    }
}

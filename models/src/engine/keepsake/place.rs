//! Where the next record goes. Pure.
use std::ops::Range;

/// Records begin at multiples of this: a cache line.
pub(super) const ALIGNMENT: usize = 64;

/// The first gap of so many bytes between what is taken, within the room.
pub(super) fn gap(
    room: Range<usize>,
    taken: impl Iterator<Item = Range<usize>>,
    bytes: usize,
) -> Option<usize> {
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable_by_key(|range| range.start);
    let mut start = room.start;
    for range in taken {
        if range.start.saturating_sub(start) >= bytes {
            break;
        }
        start = start.max(range.end).checked_next_multiple_of(ALIGNMENT)?;
    }
    start.checked_add(bytes).is_some_and(|end| end <= room.end).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(taken: &[(usize, usize)], bytes: usize, wanted: Option<usize>) {
        assert_eq!(gap(128..1024, taken.iter().map(|(start, end)| *start..*end), bytes), wanted);
    }

    #[test]
    fn the_first_gap_that_is_large_enough() {
        check(&[], 896, Some(128));
        check(&[], 897, None);
        check(&[], usize::MAX, None);
        check(&[(128, 200)], 100, Some(256));
        check(&[(256, 300)], 128, Some(128));
        check(&[(256, 300)], 129, Some(320));
        check(&[(512, 600), (128, 256)], 256, Some(256));
        check(&[(512, 600), (128, 256)], 257, Some(640));
        check(&[(512, 600), (128, 256)], 384, Some(640));
        check(&[(512, 600), (128, 256)], 385, None);
    }

    #[test]
    fn records_that_overlap_or_lie_outside_leave_no_hole() {
        check(&[(128, 600), (200, 300)], 100, Some(640));
        check(&[(0, 64)], 100, Some(128));
        check(&[(128, usize::MAX)], 1, None);
    }
}

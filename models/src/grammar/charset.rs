//! Sets of characters, as sorted ranges.

/// The last character that there is.
const LAST: u32 = 0x10_ffff;
/// Numbers that are no characters: UTF-16 needs them for itself.
const SURROGATES: (u32, u32) = (0xd800, 0xdfff);

/// The last of the characters that are in no set. 0 ends a text for llama.cpp; with the others the witnesses of tokens are written.
pub(super) const LAST_RESERVED: u32 = 7;

/// Whether no text may hold this character.
pub(super) fn is_reserved(character: char) -> bool {
    u32::from(character) <= LAST_RESERVED
}

/// A set of characters without those that are reserved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CharSet(Vec<(u32, u32)>);

impl CharSet {
    /// The characters between each pair, both included.
    pub(super) fn of(ranges: impl IntoIterator<Item = (char, char)>) -> Self {
        Self::of_numbers(ranges.into_iter().map(|(first, last)| (u32::from(first), u32::from(last))))
    }

    pub(super) fn one(character: char) -> Self {
        Self::of([(character, character)])
    }

    /// The characters of a text.
    pub(super) fn among(text: &str) -> Self {
        Self::of(text.chars().map(|character| (character, character)))
    }

    /// Every character.
    pub(super) fn all() -> Self {
        Self(vec![(LAST_RESERVED + 1, SURROGATES.0 - 1), (SURROGATES.1 + 1, LAST)])
    }

    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn of_numbers(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged).and(&Self::all())
    }

    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, character: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= character);
        after.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, last)| character <= *last)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                both.push((first, last));
            }
            if a.1 < b.1 {
                left.next();
            } else {
                right.next();
            }
        }
        Self(both)
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self::of_numbers(self.0.iter().chain(&other.0).copied())
    }

    /// Every character that is not in this set.
    pub(super) fn complement(&self) -> Self {
        let (mut gaps, mut next) = (Vec::new(), 1);
        for (first, last) in &self.0 {
            if next < *first {
                gaps.push((next, first - 1));
            }
            next = last + 1;
        }
        gaps.push((next, LAST));
        Self::of_numbers(gaps)
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.and(&other.complement())
    }
}

/// The coarsest parts of all characters so that each set holds a part whole or not at all; the part outside of every set is left out.
pub(super) fn parts(sets: &[&CharSet]) -> Vec<(u32, u32)> {
    let mut borders: Vec<u32> =
        sets.iter().flat_map(|set| set.0.iter()).flat_map(|(first, last)| [*first, last + 1]).collect();
    borders.sort_unstable();
    borders.dedup();
    let pairs = borders.windows(2).filter_map(|pair| Some((*pair.first()?, pair.last()? - 1)));
    pairs.filter(|(first, _)| sets.iter().any(|set| set.contains(*first))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_and_joined() {
        let letters = CharSet::of([('a', 'f'), ('d', 'z')]);
        assert_eq!(letters.ranges(), [(97, 122)]);
        assert_eq!(letters.complement().complement(), letters);
        assert_eq!(letters.minus(&CharSet::of([('b', 'y')])), CharSet::among("az"));
        assert_eq!(CharSet::none().complement(), CharSet::all());
        assert!(CharSet::all().complement().is_empty());
        assert!(
            CharSet::of([('\u{0}', 'b')]).contains(98)
                && !CharSet::all().contains(7)
                && !CharSet::all().contains(0xd900)
        );
        assert_eq!(
            parts(&[&CharSet::of([('a', 'm')]), &CharSet::of([('g', 'z')])]),
            [(97, 102), (103, 109), (110, 122)]
        );
    }
}

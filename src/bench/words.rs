//! Text to measure with: plain words in an order that a seed fixes, so that two runs read the same and two prompts share nothing.

const WORDS: [&str; 64] = [
    "river", "stone", "house", "letter", "garden", "winter", "market", "bridge", "lamp", "field", "paper",
    "window", "road", "music", "story", "water", "morning", "village", "engine", "forest", "harbour",
    "clock", "table", "silver", "answer", "journey", "mountain", "candle", "winter", "basket", "pencil",
    "island", "teacher", "kitchen", "summer", "orange", "feather", "carpet", "ladder", "pocket", "signal",
    "thunder", "velvet", "wagon", "anchor", "blanket", "copper", "dragon", "evening", "fiddle", "guitar",
    "hammer", "insect", "jacket", "kettle", "lantern", "mirror", "needle", "oven", "pillow", "quilt",
    "ribbon", "saddle", "temple",
];
/// Words of a sentence.
const SENTENCE_WORDS: usize = 12;

/// So many words, in sentences. Another seed gives other words from the first on.
pub(super) fn text(seed: u64, words: usize) -> String {
    // The generator is SplitMix64.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = format!("{seed} ");
    for number in 0..words {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 27;
        let word = usize::try_from(mixed % WORDS.len() as u64).ok().and_then(|place| WORDS.get(place));
        text.push_str(word.copied().unwrap_or_default());
        text.push_str(if (number + 1).is_multiple_of(SENTENCE_WORDS) { ". " } else { " " });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_text_and_another_shares_nothing() {
        assert_eq!(text(3, 100), text(3, 100));
        assert_eq!(text(3, 100).split_whitespace().count(), 101);
        let (one, other) = (text(3, 100), text(4, 100));
        let common = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        assert_eq!(common, 0);
    }
}

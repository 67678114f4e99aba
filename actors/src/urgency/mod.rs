//! Whether a message asks for a fast answer. Pure: its words alone decide.
//!
//! People say so where they begin or where they end, and mostly in few words; in the middle of a long message the same words are about
//! something else. A list of phrases in four languages, held to messages that were labelled by the same hand (`labelled.tsv`, 28 hurried
//! and 34 calm ones): the test tells whether both still agree, not how people speak at large. A wrong choice costs time or depth, never truth.

/// What somebody says who cannot wait, or wants no more than a word.
const HASTE: &[&str] = &[
    "quick",
    "quickly",
    "asap",
    "as soon as possible",
    "urgent",
    "urgently",
    "right now",
    "immediately",
    "at once",
    "hurry",
    "fast",
    "no time",
    "in two minutes",
    "in one word",
    "in a word",
    "one word",
    "one line",
    "one sentence",
    "yes or no",
    "just the",
    "short answer",
    "tl dr",
    "tldr",
    "schnell",
    "dringend",
    "sofort",
    "kurz",
    "eilig",
    "vite",
    "rapidement",
    "urgente",
    "rápido",
];
/// The same words, meant otherwise.
const CALM: &[&str] = &[
    "no hurry",
    "no rush",
    "not urgent",
    "nicht eilig",
    "take your time",
    "was quick",
    "was fast",
    "how fast",
    "fast food",
    "quick brown",
    "urgent care",
];
/// So many words at the beginning, and at the end, are looked at.
const WORDS_LOOKED_AT: usize = 8;

/// Whether a message asks for a fast answer.
pub fn is_hurried(message: &str) -> bool {
    let text = message.to_lowercase();
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |words: &[&str], phrases: &[&str]| {
        let spoken = format!(" {} ", words.join(" "));
        phrases.iter().any(|phrase| spoken.contains(&format!(" {phrase} ")))
    };
    let ends = words.len().saturating_sub(WORDS_LOOKED_AT);
    let looked_at = [words.get(..WORDS_LOOKED_AT.min(words.len())), words.get(ends..)];
    !has(&words, CALM) && looked_at.into_iter().flatten().any(|words| has(words, HASTE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELLED: &str = include_str!("labelled.tsv");

    #[test]
    fn most_messages_are_taken_as_they_are_labelled() {
        let share = |wanted: &str| {
            let lines = LABELLED.lines().map(|line| line.split_once('\t').expect("a label and a text"));
            let of_label: Vec<_> = lines.filter(|(label, _)| *label == wanted).collect();
            let right = of_label.iter().filter(|(_, text)| is_hurried(text) == (wanted == "hurried"));
            let wrong: Vec<_> =
                of_label.iter().filter(|(_, text)| is_hurried(text) != (wanted == "hurried")).collect();
            (right.count() as f32 / of_label.len() as f32, format!("{wrong:?}"))
        };
        let (hurried, calm) = (share("hurried"), share("calm"));
        assert!(hurried.0 >= 0.9 && calm.0 >= 0.95, "{hurried:?} {calm:?}");
    }

    #[test]
    fn what_stands_in_the_middle_says_nothing() {
        let middle = "once upon a time there lived a man who said that everything must be done right now or never, \
                      and this is how his story went on for years";
        assert!(!is_hurried(middle) && is_hurried("right now") && !is_hurried(""));
    }

    proptest! {
        #[test]
        fn any_text_is_one_or_the_other(text in ".{0,500}") {
            is_hurried(&text);
        }
    }
}

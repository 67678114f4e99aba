//! What a text is found by: its words, folded and cut back to their stems. Pure.
//!
//! Words are those of Unicode (UAX #29); compatible letters are one letter (NFKC), and case does not count. A word of Latin letters stands
//! under its English and under its German stem (Snowball), because nobody says in which language a person writes, and a question is often
//! too short to guess it: `houses` meets `house`, `Häuser` meets `Haus`.
use std::collections::BTreeMap;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// What is looked at of one text, in bytes: the beginning of what is very long says what it is about.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest word, in characters: longer ones are no words.
const WORD_CHARS_MAX: usize = 40;

/// Words that say nothing of what a question is about, in English and German.
#[rustfmt::skip]
const EMPTY_WORDS: [&str; 122] = [
    "a", "about", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "did", "do", "does", "for", "from", "had", "has",
    "have", "he", "her", "his", "how", "i", "in", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "s", "she", "so",
    "t", "that", "the", "their", "them", "they", "this", "to", "us", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "would", "you", "your",
    "aber", "als", "am", "auch", "auf", "aus", "bei", "bin", "bist", "das", "dass", "dein", "deine", "dem", "den", "der", "des", "die",
    "dir", "du", "ein", "eine", "einem", "einen", "einer", "er", "es", "für", "habe", "haben", "hat", "hatte", "ich", "ihr", "im", "ist",
    "mein", "meine", "mich", "mir", "mit", "nicht", "oder", "sein", "sie", "sind", "so", "und", "uns", "von", "war", "was", "wer", "wie",
    "wir", "wo", "zu", "zum", "zur",
];

/// The words of a text, by which it is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// How many words it has.
    pub len: u32,
    /// Each stem, with how often it occurs, in the order of their bytes.
    pub counts: BTreeMap<String, u32>,
}

impl Terms {
    /// The words of several texts that are found together.
    pub fn of(texts: &[&str]) -> Self {
        Self::weighted(texts.iter().map(|text| (*text, 1)))
    }

    /// The same of texts that do not say equally much: each word counts as if it stood there so many times.
    pub fn weighted<'t>(texts: impl IntoIterator<Item = (&'t str, u32)>) -> Self {
        let (english, german) = stemmers();
        let mut terms = Self::default();
        for (text, times) in texts {
            for word in words(beginning(text)) {
                terms.len = terms.len.saturating_add(times);
                for stem in stems(&english, &german, &word) {
                    let count = terms.counts.entry(stem).or_default();
                    *count = count.saturating_add(times);
                }
            }
        }
        terms
    }
}

/// What is looked for: for each word of the question, once each, the stems under which it may stand.
pub(super) fn wanted(question: &str, words_max: usize) -> Vec<Vec<String>> {
    let (english, german) = stemmers();
    let all: Vec<String> = words(beginning(question)).collect();
    let full: Vec<&String> = all.iter().filter(|word| !EMPTY_WORDS.contains(&word.as_str())).collect();
    // Somebody may really look for "not to be".
    let chosen = if full.is_empty() { all.iter().collect() } else { full };
    let mut wanted: Vec<Vec<String>> = Vec::new();
    for word in chosen {
        let stems = stems(&english, &german, word);
        if wanted.len() < words_max && !wanted.contains(&stems) {
            wanted.push(stems);
        }
    }
    wanted
}

/// Where words of a text that stand under one of these stems begin, in bytes, in order.
pub(super) fn places<'a>(text: &'a str, wanted: &'a [Vec<String>]) -> impl Iterator<Item = usize> + 'a {
    let (english, german) = stemmers();
    text.unicode_word_indices().filter_map(move |(at, segment)| {
        let is_wanted = |stem: &String| wanted.iter().any(|word| word.contains(stem));
        words(segment).any(|word| stems(&english, &german, &word).iter().any(is_wanted)).then_some(at)
    })
}

fn stemmers() -> (Stemmer, Stemmer) {
    (Stemmer::create(Algorithm::English), Stemmer::create(Algorithm::German))
}

fn beginning(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Folded words. Dots, lines and apostrophes inside of what Unicode calls a word divide it: `notes.txt` is found by `notes`.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded: String = text.nfkc().flat_map(char::to_lowercase).collect::<String>().replace('ß', "ss");
    let words: Vec<String> = folded
        .unicode_words()
        .flat_map(|word| word.split(|c: char| c.is_ascii_punctuation() || c == '’'))
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(WORD_CHARS_MAX).collect())
        .collect();
    words.into_iter()
}

/// The stems of a folded word, each once.
fn stems(english: &Stemmer, german: &Stemmer, word: &str) -> Vec<String> {
    let is_latin = word.chars().all(|c| c.is_ascii_lowercase() || "äöü".contains(c));
    if !is_latin {
        return vec![word.to_owned()];
    }
    let (english, german) = (english.stem(word).into_owned(), german.stem(word).into_owned());
    if english == german { vec![english] } else { vec![english, german] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a text with the second word is found by the first.
    #[track_caller]
    fn check(question: &str, text: &str, meets: bool) {
        let (wanted, terms) = (wanted(question, 9), Terms::of(&[text]));
        let met = wanted.iter().flatten().any(|stem| terms.counts.contains_key(stem));
        assert_eq!(met, meets, "{wanted:?} in {terms:?}");
    }

    #[test]
    fn words_meet_their_other_forms() {
        for (question, text) in [
            ("houses", "the House"),
            ("running", "she runs"),
            ("Häuser", "ein Haus"),
            ("Geburtstage", "zum Geburtstag"),
            ("STRASSE", "die Straße"),
            ("u\u{308}bung", "Übung"),
            ("notes", "see notes.txt"),
            ("max", "value_max"),
            ("dog", "the dog's bone"),
            ("Москва", "москва"),
            ("東", "東京"),
            ("ｆｕｌｌ", "full"),
            ("v2", "release V2"),
        ] {
            check(question, text, true);
        }
        for (question, text) in [("cat", "concatenate"), ("Haus", "Maus"), ("rain", "train"), ("", "x")] {
            check(question, text, false);
        }
    }

    #[test]
    fn empty_words_count_only_where_there_is_nothing_else() {
        assert_eq!(wanted("What is the name of my dog?", 9).concat(), ["name", "nam", "dog"]);
        assert_eq!(wanted("Wie heißt mein Hund?", 9).concat(), ["heisst", "hund"]);
        assert_eq!(wanted("to be or not to be", 9).len(), 4);
        assert_eq!(wanted("one two three four", 2).len(), 2);
    }

    #[test]
    fn of_a_very_long_text_the_beginning_counts() {
        let long = format!("first {}last", "€".repeat(TEXT_BYTES_MAX));
        let terms = Terms::of(&[&long]);
        assert!(terms.counts.contains_key("first") && !terms.counts.contains_key("last"), "{}", terms.len);
        assert!(terms.counts.keys().all(|term| term.chars().count() <= WORD_CHARS_MAX));
    }

    #[test]
    fn a_place_is_where_the_word_stands() {
        let text = "Am Montag: zwei Häuser, ein Haus.";
        let found: Vec<&str> =
            places(text, &wanted("Haus", 9)).map(|at| text[at..].split([',', '.']).next().unwrap()).collect();
        assert_eq!(found, ["Häuser", "Haus"]);
    }

    proptest! {
        #[test]
        fn any_text_has_words_and_is_found_by_itself(text in any::<String>(), latin in "[a-zäöüß' ]{0,60}") {
            for text in [text, latin] {
                let terms = Terms::of(&[&text]);
                prop_assert!(terms.counts.values().sum::<u32>() >= terms.len);
                let missing = wanted(&text, usize::MAX).into_iter().flatten().find(|stem| !terms.counts.contains_key(stem));
                prop_assert_eq!(missing, None);
                prop_assert!(places(&text, &wanted(&text, 3)).all(|at| text.is_char_boundary(at)));
            }
        }
    }
}

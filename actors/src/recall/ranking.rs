//! Which texts answer a question best: BM25 over all that are shown (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
//! BM25 and Beyond", 2009). Pure: texts are shown one after the other, and only what fits is kept.
use super::words::{Terms, wanted};

/// Words of a question that are looked for.
const WORDS_MAX: usize = 16;
/// How soon it no longer counts that a word comes again and again. The customary value.
const K1: f64 = 1.2;
/// How much a long text is held to have more words only because it is long. The customary value.
const B: f64 = 0.75;
/// What a word counts that is only a part of another one, as `Maschine` is of `Kaffeemaschine`.
const PART_WEIGHT: f64 = 0.5;
/// Shortest stem that may be a part, and shortest rest, in bytes: `rain` is no part of `train`.
const PART_BYTES_MIN: usize = 4;
const REST_BYTES_MIN: usize = 3;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub(super) words: Vec<Vec<String>>,
}

impl Query {
    /// Of a question in anybody's words.
    pub fn of(question: &str) -> Self {
        Self { words: wanted(question, WORDS_MAX) }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// A text that has some of the words.
#[derive(Debug)]
struct Hit<K> {
    key: K,
    len: u32,
    /// For each word of the query: how often.
    found: Vec<Found>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Found {
    whole: u32,
    part: u32,
}

/// How many texts have a word.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    whole: u64,
    part: u64,
}

/// Texts in the order in which they answer a query.
#[derive(Debug)]
pub struct Ranking<'q, K> {
    query: &'q Query,
    hits: Vec<Hit<K>>,
    texts: u64,
    words: u64,
    spread: Vec<Spread>,
}

impl<'q, K: Ord> Ranking<'q, K> {
    /// Nothing was shown yet.
    pub fn new(query: &'q Query) -> Self {
        let spread = vec![Spread::default(); query.words.len()];
        Self { query, hits: Vec::new(), texts: 0, words: 0, spread }
    }

    /// Shows a text: its name, how many words it has, and its stems with their numbers.
    pub fn add<'t>(&mut self, key: K, len: u32, terms: impl IntoIterator<Item = (&'t str, u32)>) {
        self.texts += 1;
        self.words += u64::from(len);
        let mut found = vec![Found::default(); self.query.words.len()];
        for (term, count) in terms {
            for (word, found) in self.query.words.iter().zip(&mut found) {
                if word.iter().any(|stem| stem == term) {
                    // One word stands under two stems: the sum would count it twice.
                    found.whole = found.whole.max(count);
                } else if word.iter().any(|stem| is_part(stem, term)) {
                    found.part = found.part.max(count);
                }
            }
        }
        for (spread, found) in self.spread.iter_mut().zip(&found) {
            spread.whole += u64::from(found.whole > 0);
            spread.part += u64::from(found.whole == 0 && found.part > 0);
        }
        if found.iter().any(|found| found.whole + found.part > 0) {
            self.hits.push(Hit { key, len, found });
        }
    }

    /// Shows a text by its terms.
    pub fn add_terms(&mut self, key: K, terms: &Terms) {
        self.add(key, terms.len, terms.counts.iter().map(|(term, count)| (term.as_str(), *count)));
    }

    /// The best, the best first. Of two that are equally good the one with the greater name comes first.
    pub fn best(self, limit: usize) -> Vec<K> {
        let Self { texts, words, spread, hits, .. } = self;
        let texts = texts as f64;
        let mean_len = (words as f64 / texts.max(1.0)).max(1.0);
        let rarity: Vec<f64> = spread.iter().map(|spread| rarity(*spread, texts)).collect();
        let score = |hit: &Hit<K>| -> f64 {
            let room = K1 * (1.0 - B + B * f64::from(hit.len) / mean_len);
            let weight = |(found, rarity): (&Found, &f64)| {
                let often = if found.whole > 0 {
                    f64::from(found.whole)
                } else {
                    PART_WEIGHT * f64::from(found.part)
                };
                rarity * often * (K1 + 1.0) / (often + room)
            };
            hit.found.iter().zip(&rarity).map(weight).sum()
        };
        let mut scored: Vec<(f64, K)> = hits.into_iter().map(|hit| (score(&hit), hit.key)).collect();
        scored.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| b.cmp(a)));
        scored.into_iter().take(limit).map(|(_, key)| key).collect()
    }
}

/// What a word says of a text: the more, the fewer have it.
fn rarity(spread: Spread, texts: f64) -> f64 {
    let having = if spread.whole > 0 { spread.whole } else { spread.part } as f64;
    (1.0 + (texts - having + 0.5) / (having + 0.5)).ln()
}

fn is_part(stem: &str, term: &str) -> bool {
    let is_long = stem.len() >= PART_BYTES_MIN && term.len() >= stem.len() + REST_BYTES_MIN;
    is_long && (term.starts_with(stem) || term.ends_with(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[&str], question: &str, expected: &[usize]) {
        let query = Query::of(question);
        let mut ranking = Ranking::new(&query);
        for (number, text) in texts.iter().enumerate() {
            ranking.add_terms(number, &Terms::of(&[text]));
        }
        assert_eq!(ranking.best(9), expected, "{question}");
    }

    #[test]
    fn rare_words_count_more_and_long_texts_less() {
        let long = format!("the cat sat. {}", "and then nothing happened at all ".repeat(20));
        let texts = ["the cat sat", "the dog sat", "the dog ran", long.as_str()];
        check(&texts, "cat", &[0, 3]);
        check(&texts, "cat dog", &[2, 1, 0, 3]);
        check(&texts, "sat dog", &[1, 2, 0, 3]);
        check(&texts, "horse", &[]);
        check(&texts, "", &[]);
        check(&[], "cat", &[]);
    }

    #[test]
    fn a_part_of_a_word_counts_less_than_the_word() {
        let texts = ["die Kaffeemaschine ist kaputt", "eine Maschine ist kaputt", "der Kaffee ist kalt"];
        check(&texts, "Maschine", &[1, 0]);
        check(&texts, "Kaffee", &[2, 0]);
        check(&["the train is late"], "rain", &[]);
    }
}

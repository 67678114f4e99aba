//! Which texts mean the like of a question, and one order out of two: by words and by meaning. Pure.
//!
//! Both orders are joined by their ranks, as the figures behind them have nothing in common: "reciprocal rank fusion" (Cormack, Clarke and
//! Büttcher, 2009). What stands high in either comes high, what stands in both comes before what stands in one.
use std::collections::BTreeMap;

use crate::domain::{Note, Vector};

/// How little the first ranks differ from the next ones. The customary value.
const FUSION_K: f64 = 60.0;
/// So many texts are found by their meaning: there is always a nearest one, and what is far down the row means something else.
pub const NEAREST_MAX: usize = 20;
/// What is looked at of a message, of an answer and of a note, in characters: some hundred tokens, a second or less of work; the beginning says
/// what it is about, and the vector of a long text is like that of every other.
const USER_CHARS_MAX: usize = 800;
const ANSWER_CHARS_MAX: usize = 1200;

/// What a turn means, as text.
pub fn turn_text(user: &str, answer: &str) -> String {
    let beginning = |text: &str, chars: usize| text.trim().chars().take(chars).collect::<String>();
    format!("{}\n{}", beginning(user, USER_CHARS_MAX), beginning(answer, ANSWER_CHARS_MAX)).trim().to_owned()
}

/// What a note means, as text.
pub fn note_text(note: &Note) -> String {
    match &note.topic {
        Some(topic) => format!("{topic}: {}", note.text),
        None => note.text.clone(),
    }
}

/// Texts in the order in which they mean the like of a question.
#[derive(Debug)]
pub struct Nearness<'q, K> {
    sought: &'q Vector,
    near: Vec<(f32, K)>,
}

impl<'q, K: Ord> Nearness<'q, K> {
    /// Nothing was shown yet.
    pub fn new(sought: &'q Vector) -> Self {
        Self { sought, near: Vec::new() }
    }

    /// Shows a text: its name, and the parts of its vector. One that cannot be compared is not found.
    pub fn add(&mut self, key: K, step: f32, numbers: &[u8]) {
        if let Some(likeness) = self.sought.likeness(step, numbers) {
            self.near.push((likeness, key));
        }
    }

    /// The nearest, the nearest first: no more than so many, and none that is further than the mean of all. Where there are few texts, the rest would
    /// be all that there is.
    pub fn best(mut self, limit: usize) -> Vec<K> {
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let mean = self.near.iter().map(|(likeness, _)| f64::from(*likeness)).sum::<f64>()
            / self.near.len().max(1) as f64;
        self.near.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| b.cmp(a)));
        let near = self
            .near
            .into_iter()
            .take_while(|(likeness, _)| f64::from(*likeness) >= mean - f64::from(f32::EPSILON));
        near.take(limit).map(|(_, key)| key).collect()
    }
}

/// One order out of several. Of two that are equally good the one with the greater name comes first.
pub fn fused<K: Ord>(orders: impl IntoIterator<Item = Vec<K>>, limit: usize) -> Vec<K> {
    let mut scores: BTreeMap<K, f64> = BTreeMap::new();
    for order in orders {
        for (rank, key) in (1_u32..).zip(order) {
            *scores.entry(key).or_default() += 1.0 / (FUSION_K + f64::from(rank));
        }
    }
    let mut fused: Vec<(K, f64)> = scores.into_iter().collect();
    fused.sort_by(|(a, one), (b, other)| other.total_cmp(one).then_with(|| b.cmp(a)));
    fused.into_iter().take(limit).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nearest(sought: &[f32], texts: &[&[f32]], limit: usize) -> Vec<usize> {
        let sought = Vector::of(sought);
        let mut nearness = Nearness::new(&sought);
        for (number, text) in texts.iter().enumerate() {
            let vector = Vector::of(text);
            nearness.add(number, vector.step(), vector.numbers());
        }
        nearness.best(limit)
    }

    #[test]
    fn the_nearest_come_first_and_the_further_half_not_at_all() {
        let texts: [&[f32]; 5] = [&[1.0, 0.0], &[1.0, 1.0], &[0.0, 1.0], &[-1.0, 0.0], &[1.0, 0.1]];
        assert_eq!(nearest(&[1.0, 0.0], &texts, 9), [0, 4, 1]);
        assert_eq!(nearest(&[1.0, 0.0], &texts, 1), [0]);
        assert_eq!(nearest(&[1.0, 0.0], &[&[0.0, 1.0]], 9), [0], "where there is one, it is the nearest");
        assert_eq!(nearest(&[1.0, 0.0], &[&[0.0, 0.0], &[1.0, 0.0, 0.0]], 9), Vec::<usize>::new());
    }

    #[test]
    fn what_stands_high_in_both_orders_comes_first() {
        let fused = |one: &[u8], other: &[u8]| fused([one.to_vec(), other.to_vec()], 9);
        assert_eq!(fused(&[1, 2, 3], &[3, 2, 4]), [3, 2, 1, 4]);
        assert_eq!(fused(&[1, 2], &[]), [1, 2], "one order alone stays as it is");
        assert_eq!(fused(&[1], &[2]), [2, 1]);
        assert_eq!(super::fused([vec![1, 2, 3]], 2), [1, 2]);
    }

    #[test]
    fn of_long_texts_the_beginnings_count() {
        let text = turn_text(&"ä".repeat(5000), " an answer ");
        assert_eq!(text, format!("{}\nan answer", "ä".repeat(USER_CHARS_MAX)));
        assert_eq!(turn_text("", " "), "");
    }

    proptest! {
        #[test]
        fn every_text_comes_once_and_better_ranks_are_never_worse(
            one in prop::collection::btree_set(0..40_u8, 0..20), other in prop::collection::btree_set(0..40_u8, 0..20),
        ) {
            let (one, other): (Vec<u8>, Vec<u8>) = (one.into_iter().collect(), other.into_iter().rev().collect());
            let joined = fused([one.clone(), other.clone()], usize::MAX);
            let mut all = [one.clone(), other.clone()].concat();
            all.sort_unstable();
            all.dedup();
            let mut sorted = joined.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, all);
            let rank = |order: &[u8], key: u8| order.iter().position(|other| *other == key).unwrap_or(usize::MAX);
            for (at, key) in joined.iter().enumerate() {
                for later in &joined[at + 1..] {
                    let worse = rank(&one, *later) < rank(&one, *key) && rank(&other, *later) < rank(&other, *key);
                    prop_assert!(!worse, "{} before {}", key, later);
                }
            }
        }
    }
}

//! Deterministic automata over characters: which texts a string may be.
//!
//! What a schema says of a string (its length, its pattern) and what a syntax says of all strings (no marks inside) are automata, so
//! that both hold at once in their product. Written as rules, an automaton gives llama.cpp one way through each text.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::charset::{CharSet, parts};

/// Reads characters from the state 0 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Automaton {
    pub(super) states: Vec<State>,
}

/// Where an automaton is between two characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    /// Where it goes on: the sets are disjoint and not empty.
    pub(super) edges: Vec<(CharSet, usize)>,
    /// Whether the text may end here.
    pub(super) accepts: bool,
}

impl Automaton {
    /// Texts of so many of these characters.
    pub(super) fn of_length(characters: &CharSet, min: usize, max: Option<usize>) -> Self {
        let last = max.unwrap_or(min);
        let state = |index: usize| State {
            edges: match max {
                _ if index < last => vec![(characters.clone(), index + 1)],
                None => vec![(characters.clone(), index)],
                Some(_) => Vec::new(),
            },
            accepts: index >= min,
        };
        Self { states: (0..=last).map(state).collect() }
    }

    /// Texts in which none of these words is found (Aho and Corasick's automaton, without the states behind a word).
    pub(super) fn avoiding(words: &[String]) -> Self {
        let words: Vec<Vec<char>> =
            words.iter().filter(|word| !word.is_empty()).map(|word| word.chars().collect()).collect();
        let prefixes = prefixes(&words);
        let letters: BTreeSet<char> = words.iter().flatten().copied().collect();
        let known = CharSet::of(letters.iter().map(|letter| (*letter, *letter)));
        let state = |read: &Vec<char>| {
            let mut targets: BTreeMap<usize, Vec<char>> = BTreeMap::new();
            for letter in &letters {
                let now: Vec<char> = read.iter().copied().chain([*letter]).collect();
                if !words.iter().any(|word| now.ends_with(word)) {
                    let longest = (0..=now.len()).find_map(|begin| prefixes.get(&now[begin..]));
                    targets.entry(longest.copied().unwrap_or(0)).or_default().push(*letter);
                }
            }
            let mut edges: BTreeMap<usize, CharSet> = BTreeMap::from([(0, known.complement())]);
            for (target, letters) in targets {
                let letters = CharSet::of(letters.into_iter().map(|letter| (letter, letter)));
                let edge = edges.entry(target).or_insert_with(CharSet::none);
                *edge = edge.or(&letters);
            }
            State { edges: edges.into_iter().map(|(target, set)| (set, target)).collect(), accepts: true }
        };
        let mut ordered: Vec<_> = prefixes.iter().collect();
        ordered.sort_unstable_by_key(|(_, index)| **index);
        Self { states: ordered.into_iter().map(|(read, _)| state(read)).collect() }
    }

    /// Every text but these.
    pub(super) fn other_than(words: &[&str]) -> Self {
        let whole: Vec<Vec<char>> = words.iter().map(|word| word.chars().collect()).collect();
        let longer: Vec<Vec<char>> =
            whole.iter().map(|word| word.iter().copied().chain(['\u{0}']).collect()).collect();
        let prefixes = prefixes(&longer);
        let other = prefixes.len();
        let mut states = vec![State::default(); other + 1];
        states[other] = State { edges: vec![(CharSet::all(), other)], accepts: true };
        for (read, index) in &prefixes {
            let mut edges: Vec<(CharSet, usize)> = Vec::new();
            let mut known = CharSet::none();
            for (longer, target) in &prefixes {
                if let Some((last, before)) = longer.split_last()
                    && before == read.as_slice()
                {
                    known = known.or(&CharSet::one(*last));
                    edges.push((CharSet::one(*last), *target));
                }
            }
            edges.sort_unstable();
            edges.push((known.complement(), other));
            states[*index] = State { edges, accepts: !whole.contains(read) };
        }
        Self { states }
    }

    /// The texts that both accept; `None` where that takes more states than are allowed.
    pub(super) fn and(&self, other: &Self, states_max: usize) -> Option<Self> {
        let mut numbers = HashMap::from([((0, 0), 0)]);
        let mut pairs = vec![(0, 0)];
        let mut states = Vec::new();
        while let Some(&(left, right)) = pairs.get(states.len()) {
            let (left, right) = (self.states.get(left)?, other.states.get(right)?);
            let mut edges = Vec::new();
            for (a, a_target) in &left.edges {
                for (b, b_target) in &right.edges {
                    let both = a.and(b);
                    if both.is_empty() {
                        continue;
                    }
                    let target = (*a_target, *b_target);
                    let number = *numbers.entry(target).or_insert_with(|| {
                        pairs.push(target);
                        pairs.len() - 1
                    });
                    edges.push((both, number));
                }
            }
            states.push(State { edges, accepts: left.accepts && right.accepts });
            if pairs.len() > states_max {
                return None;
            }
        }
        Some(Self { states }.trimmed())
    }

    /// Without the states from which no end is reached: a model must not be led into them. No states: no text is accepted.
    pub(super) fn trimmed(self) -> Self {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.states.len()];
        for (index, state) in self.states.iter().enumerate() {
            for (_, target) in &state.edges {
                if let Some(before) = before.get_mut(*target) {
                    before.push(index);
                }
            }
        }
        let mut alive: Vec<bool> = self.states.iter().map(|state| state.accepts).collect();
        let mut open: Vec<usize> = (0..alive.len()).filter(|index| alive[*index]).collect();
        while let Some(index) = open.pop() {
            for from in &before[index] {
                if !std::mem::replace(&mut alive[*from], true) {
                    open.push(*from);
                }
            }
        }
        if alive.first() != Some(&true) {
            return Self { states: Vec::new() };
        }
        let mut numbers = vec![0; alive.len()];
        let mut count = 0;
        for (number, alive) in numbers.iter_mut().zip(&alive) {
            *number = count;
            count += usize::from(*alive);
        }
        let kept = self.states.into_iter().zip(&alive).filter(|(_, alive)| **alive);
        let states = kept.map(|(state, _)| {
            let edges = state.edges.into_iter().filter(|(_, target)| alive[*target]);
            State { edges: joined(edges.map(|(set, target)| (set, numbers[target]))), accepts: state.accepts }
        });
        Self { states: states.collect() }
    }
}

/// One edge for each target.
fn joined(edges: impl Iterator<Item = (CharSet, usize)>) -> Vec<(CharSet, usize)> {
    let mut by_target: BTreeMap<usize, CharSet> = BTreeMap::new();
    for (set, target) in edges {
        let whole = by_target.entry(target).or_insert_with(CharSet::none);
        *whole = whole.or(&set);
    }
    by_target.into_iter().map(|(target, set)| (set, target)).collect()
}

/// The beginnings of the words, without the words themselves, numbered; the empty one is 0.
fn prefixes(words: &[Vec<char>]) -> BTreeMap<Vec<char>, usize> {
    let mut found: BTreeSet<Vec<char>> = BTreeSet::from([Vec::new()]);
    for word in words {
        found.extend((0..word.len()).map(|end| word[..end].to_vec()));
    }
    found.into_iter().enumerate().map(|(index, prefix)| (prefix, index)).collect()
}

/// Makes an automaton deterministic: `step` gives what a state reads and where that leads.
///
/// `None` where it takes more states than are allowed.
pub(super) fn determined(
    begin: BTreeSet<usize>,
    step: impl Fn(usize) -> Vec<(CharSet, usize)>,
    close: impl Fn(BTreeSet<usize>) -> BTreeSet<usize>,
    accepts: impl Fn(&BTreeSet<usize>) -> bool,
    states_max: usize,
) -> Option<Automaton> {
    let mut numbers = HashMap::from([(begin.clone(), 0)]);
    let mut sets = vec![begin];
    let mut states = Vec::new();
    while let Some(set) = sets.get(states.len()) {
        let accepts = accepts(set);
        let read: Vec<(CharSet, usize)> = set.iter().flat_map(|state| step(*state)).collect();
        let mut edges: BTreeMap<usize, Vec<(u32, u32)>> = BTreeMap::new();
        for part in parts(&read.iter().map(|(set, _)| set).collect::<Vec<_>>()) {
            let next = read.iter().filter(|(set, _)| set.contains(part.0)).map(|(_, target)| *target);
            let next = close(next.collect());
            let number = *numbers.entry(next.clone()).or_insert_with(|| {
                sets.push(next);
                sets.len() - 1
            });
            edges.entry(number).or_default().push(part);
        }
        let edges = edges.into_iter().map(|(target, parts)| (CharSet::of_numbers(parts), target));
        states.push(State { edges: edges.filter(|(set, _)| !set.is_empty()).collect(), accepts });
        if sets.len() > states_max {
            return None;
        }
    }
    Some(Automaton { states }.trimmed())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::grammar) fn accepts(automaton: &Automaton, text: &str) -> bool {
        let mut at = 0;
        for character in text.chars().map(u32::from) {
            let Some(state) = automaton.states.get(at) else { return false };
            let Some((_, next)) = state.edges.iter().find(|(set, _)| set.contains(character)) else {
                return false;
            };
            at = *next;
        }
        automaton.states.get(at).is_some_and(|state| state.accepts)
    }

    #[test]
    fn words_are_kept_out() {
        let words = ["<|\"|>", "<|a>", "<b|>", "|>"].map(str::to_owned);
        let automaton = Automaton::avoiding(&words);
        for text in
            ["", "<", "<<|\"", "<|\"|", "x<|\"|<|\"|>", "<<|a>", "<|<b|>", "<|\"<|\"|x", "<b<b|", "a|>b", "|"]
        {
            let clean = !words.iter().any(|word| text.contains(word.as_str()));
            assert_eq!(accepts(&automaton, text), clean, "{text}");
        }
    }

    #[test]
    fn names_are_kept_apart() {
        let automaton = Automaton::other_than(&["path", "pat", "x"]);
        for (text, wanted) in
            [("path", false), ("pat", false), ("pa", true), ("paths", true), ("", true), ("x", false)]
        {
            assert_eq!(accepts(&automaton, text), wanted, "{text}");
        }
    }

    #[test]
    fn both_hold_in_a_product_and_nothing_leads_nowhere() {
        let short = Automaton::of_length(&CharSet::all(), 2, Some(4));
        let both = short.and(&Automaton::avoiding(&["ab".to_owned()]), 100).unwrap();
        for (text, wanted) in [("a", false), ("aa", true), ("ab", false), ("bbbb", true), ("bbbbb", false)] {
            assert_eq!(accepts(&both, text), wanted, "{text}");
        }
        let impossible = Automaton::of_length(&CharSet::one('a'), 3, Some(3))
            .and(&Automaton::avoiding(&["aa".to_owned()]), 9);
        assert_eq!(impossible.unwrap().states, []);
        assert_eq!(short.and(&short, 3), None, "too large");
    }
}

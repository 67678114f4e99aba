//! Reads grammars as llama.cpp does, to try them without it: whether a text fits, and texts that do.
use std::collections::{BTreeSet, HashMap};

use crate::grammar::reader;
use crate::grammar::rule::{Gbnf, Rule};

/// A grammar, read from its text.
pub(crate) struct Matcher {
    rules: Vec<Rule>,
    root: Rule,
    /// Least number of steps to an end, for each rule.
    steps: Vec<usize>,
    token_text: fn(u32) -> &'static str,
}

impl Matcher {
    pub(crate) fn new(text: &str, token_text: fn(u32) -> &'static str) -> Self {
        let mut gbnf = Gbnf::default();
        let root = reader::read(text, &mut gbnf).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let rules: Vec<Rule> = gbnf.rules.into_iter().map(|(_, body)| body).collect();
        let mut steps = vec![usize::MAX; rules.len()];
        loop {
            let before = steps.clone();
            for number in (0..rules.len()).rev() {
                steps[number] = cost(&rules[number], &steps).saturating_add(1);
            }
            if before == steps {
                break;
            }
        }
        Self { rules, root, steps, token_text }
    }

    /// Whether the whole text fits.
    pub(crate) fn accepts(&self, text: &str) -> bool {
        self.ends(&self.root, text, 0, &mut HashMap::new()).contains(&text.len())
    }

    fn ends(
        &self,
        rule: &Rule,
        text: &str,
        at: usize,
        known: &mut HashMap<(usize, usize), BTreeSet<usize>>,
    ) -> BTreeSet<usize> {
        let after =
            |words: &str| text[at..].starts_with(words).then(|| at + words.len()).into_iter().collect();
        match rule {
            Rule::Words(words) => after(words),
            Rule::Token(number) => after((self.token_text)(*number)),
            Rule::One(set) => {
                let next = text[at..].chars().next().filter(|next| set.contains(u32::from(*next)));
                next.map(|next| at + next.len_utf8()).into_iter().collect()
            }
            Rule::Choice(rules) => rules.iter().flat_map(|rule| self.ends(rule, text, at, known)).collect(),
            Rule::Sequence(rules) => rules.iter().fold(BTreeSet::from([at]), |from, rule| {
                from.into_iter().flat_map(|at| self.ends(rule, text, at, known)).collect()
            }),
            Rule::Repeat { rule, min, max } => {
                let (mut from, mut found) = (BTreeSet::from([at]), BTreeSet::new());
                for times in 0..=max.unwrap_or(u32::MAX) {
                    if times >= *min {
                        found.extend(from.iter().copied());
                    }
                    from = from.into_iter().flat_map(|at| self.ends(rule, text, at, known)).collect();
                    if from.is_empty() || (times >= *min && from.is_subset(&found)) {
                        break;
                    }
                }
                found
            }
            Rule::Named(number) => {
                if let Some(ends) = known.get(&(*number, at)) {
                    return ends.clone();
                }
                let ends = self.ends(&self.rules[*number], text, at, known);
                known.insert((*number, at), ends.clone());
                ends
            }
        }
    }

    /// A text that fits; `below` draws numbers, `steps` limits how long it wanders before it makes for the end.
    pub(crate) fn text(&self, below: &mut impl FnMut(usize) -> usize, mut steps: usize) -> String {
        let mut text = String::new();
        let mut open = vec![self.root.clone()];
        while let Some(rule) = open.pop() {
            let wanders = steps > 0;
            steps = steps.saturating_sub(1);
            match rule {
                Rule::Words(words) => text.push_str(&words),
                Rule::Token(number) => text.push_str((self.token_text)(number)),
                Rule::One(set) => {
                    let ranges = set.ranges();
                    let (first, last) = ranges[below(ranges.len())];
                    // Most characters are near the beginning of their range: what people write, and what syntaxes are made of.
                    let width = (last - first) as usize + 1;
                    let offset = if below(8) == 0 { below(width) } else { below(width.min(40)) };
                    text.extend(char::from_u32(first + u32::try_from(offset).unwrap()));
                }
                Rule::Sequence(rules) => open.extend(rules.into_iter().rev()),
                Rule::Choice(rules) => {
                    let least = rules.iter().map(|rule| cost(rule, &self.steps)).min().unwrap();
                    let near: Vec<Rule> = rules
                        .into_iter()
                        .filter(|rule| wanders || cost(rule, &self.steps) == least)
                        .collect();
                    open.push(near[below(near.len())].clone());
                }
                Rule::Repeat { rule, min, max } => {
                    let most = if wanders { max.unwrap_or(min + 4).min(min + 4) } else { min };
                    let times = min as usize + below((most - min) as usize + 1);
                    open.extend(std::iter::repeat_n(*rule, times));
                }
                Rule::Named(number) => open.push(self.rules[number].clone()),
            }
        }
        text
    }
}

fn cost(rule: &Rule, steps: &[usize]) -> usize {
    match rule {
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) => 1,
        Rule::Sequence(rules) => rules.iter().map(|rule| cost(rule, steps)).fold(0, usize::saturating_add),
        Rule::Choice(rules) => rules.iter().map(|rule| cost(rule, steps)).min().unwrap_or(usize::MAX),
        Rule::Repeat { rule, min, .. } if *min > 0 => cost(rule, steps).saturating_mul(*min as usize),
        Rule::Repeat { .. } => 0,
        Rule::Named(number) => steps[*number],
    }
}

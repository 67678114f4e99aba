//! Rules of a grammar, and the grammar in the making.
use std::collections::HashMap;

use super::GrammarError;
use super::automaton::Automaton;
use super::charset::CharSet;

/// Most elements that a grammar may have when its repetitions are written out, as llama.cpp does: about 30 MB there.
const ELEMENTS_MAX: usize = 200_000;

/// What a part of a text may be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    /// These words.
    Words(String),
    /// One of these characters.
    One(CharSet),
    /// The token of the vocabulary with this number, whatever its text.
    Token(u32),
    /// One after the other; none: the empty text.
    Sequence(Vec<Self>),
    /// One of them; none: nothing fits here.
    Choice(Vec<Self>),
    /// So often.
    Repeat { rule: Box<Self>, min: u32, max: Option<u32> },
    /// The rule with this number.
    Named(usize),
}

impl Rule {
    /// The empty text.
    pub(super) const EMPTY: Self = Self::Sequence(Vec::new());
    /// What no text fits.
    pub(super) const NEVER: Self = Self::Choice(Vec::new());

    pub(super) fn words(words: impl Into<String>) -> Self {
        Self::Words(words.into())
    }

    pub(super) fn is_never(&self) -> bool {
        *self == Self::NEVER
    }

    /// One after the other. Neighbouring words become one.
    pub(super) fn sequence(rules: impl IntoIterator<Item = Self>) -> Self {
        let mut flat: Vec<Self> = Vec::new();
        for rule in rules {
            match rule {
                Self::Sequence(inner) => inner.into_iter().for_each(|rule| push(&mut flat, rule)),
                never if never.is_never() => return Self::NEVER,
                rule => push(&mut flat, rule),
            }
        }
        if flat.len() == 1 { flat.pop().unwrap_or(Self::EMPTY) } else { Self::Sequence(flat) }
    }

    /// One of them, each once.
    pub(super) fn choice(rules: impl IntoIterator<Item = Self>) -> Self {
        let mut flat: Vec<Self> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for rule in rules {
            let inner = if let Self::Choice(inner) = rule { inner } else { vec![rule] };
            flat.extend(inner.into_iter().filter(|rule| seen.insert(rule.clone())));
        }
        if flat.len() == 1 { flat.pop().unwrap_or(Self::NEVER) } else { Self::Choice(flat) }
    }

    pub(super) fn repeat(self, min: u32, max: Option<u32>) -> Self {
        match (self, max) {
            (_, Some(0)) => Self::EMPTY,
            (rule, _) if rule.is_never() => {
                if min == 0 {
                    Self::EMPTY
                } else {
                    Self::NEVER
                }
            }
            (rule, Some(1)) if min == 1 => rule,
            (rule, _) => Self::Repeat { rule: Box::new(rule), min, max },
        }
    }

    pub(super) fn optional(self) -> Self {
        self.repeat(0, Some(1))
    }

    /// How many elements llama.cpp makes of it.
    pub(super) fn elements(&self) -> usize {
        match self {
            Self::Words(words) => words.chars().count(),
            Self::One(set) => set.ranges().len().saturating_mul(2),
            Self::Token(_) => 2, // with its witness
            Self::Named(_) => 1,
            Self::Sequence(rules) | Self::Choice(rules) => {
                rules.iter().map(Self::elements).fold(2, usize::saturating_add)
            }
            Self::Repeat { rule, min, max } => {
                let times = (*max).unwrap_or(*min).max(1) as usize;
                // Each optional copy is a rule of its own, and a group is copied as the name of a rule.
                let copied =
                    if matches!(**rule, Self::Sequence(_) | Self::Choice(_)) { 1 } else { rule.elements() };
                rule.elements().saturating_add(times.saturating_mul(copied.saturating_add(3)))
            }
        }
    }
}

fn push(flat: &mut Vec<Rule>, rule: Rule) {
    match (flat.last_mut(), rule) {
        (Some(Rule::Words(before)), Rule::Words(words)) => before.push_str(&words),
        (_, Rule::Words(words)) if words.is_empty() => {}
        (_, rule) => flat.push(rule),
    }
}

/// A grammar in the making: rules with names of their own, each body once.
#[derive(Debug, Default)]
pub(super) struct Gbnf {
    pub(super) rules: Vec<(String, Rule)>,
    counts: HashMap<String, usize>,
    shared: HashMap<Rule, usize>,
    elements: usize,
    /// Automata that are rules already, by how they are written.
    pub(super) automata: HashMap<(&'static str, Automaton), Rule>,
    /// States of these automata.
    pub(super) automaton_states: usize,
    /// What any value may be, by its syntax and depth.
    pub(super) any: HashMap<(&'static str, usize), Rule>,
}

impl Gbnf {
    /// A number for a rule whose body is still to come, for rules that name themselves.
    pub(super) fn reserve(&mut self, base: &str) -> usize {
        let base: String =
            base.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
        let base = if base.is_empty() { "rule".to_owned() } else { base };
        let count = self.counts.entry(base.clone()).or_insert(0);
        // A dot cannot be in a name: a number behind two dashes keeps `a-1` and the first `a` of the same base apart.
        let name = if *count == 0 && base != "root" && !base.contains("--") {
            base
        } else {
            format!("{base}--{count}")
        };
        *count += 1;
        self.rules.push((name, Rule::NEVER));
        self.rules.len() - 1
    }

    /// Gives a reserved rule its body.
    pub(super) fn fill(&mut self, number: usize, body: Rule) -> Result<(), GrammarError> {
        self.elements = self.elements.saturating_add(body.elements());
        if self.elements > ELEMENTS_MAX {
            return Err(GrammarError::SchemaTooLarge {
                what: "elements of its grammar",
                found: self.elements,
                max: ELEMENTS_MAX,
            });
        }
        if let Some(entry) = self.rules.get_mut(number) {
            entry.1 = body;
        }
        Ok(())
    }

    /// A name for this body: the one that it already has, or a new one. What is short stays as it is.
    pub(super) fn share(&mut self, base: &str, body: Rule) -> Result<Rule, GrammarError> {
        if matches!(body, Rule::Named(_) | Rule::Words(_) | Rule::Token(_)) || body.is_never() {
            return Ok(body);
        }
        if let Some(number) = self.shared.get(&body) {
            return Ok(Rule::Named(*number));
        }
        let number = self.reserve(base);
        self.shared.insert(body.clone(), number);
        self.fill(number, body)?;
        Ok(Rule::Named(number))
    }
}

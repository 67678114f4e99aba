//! The two ways in which values are written: JSON, and what Gemma 4 writes in its calls.
use serde_json::Value;

use super::GrammarError;
use super::automaton::Automaton;
use super::charset::{CharSet, is_reserved};
use super::rule::{Gbnf, Rule};

/// Most states of all texts of a grammar that are more than free: each is a rule.
pub(super) const TEXT_STATES_MAX: usize = 4096;

/// How values are written.
#[derive(Debug, Clone)]
pub(super) enum Syntax {
    /// Compact JSON, with one space where models like it. No text holds one of these words.
    Json { avoided: Vec<String>, free: Automaton },
    /// `{key:<|"|>text<|"|>,other:3}`: bare keys, and strings between quote marks, without escapes.
    Gemma4 { quote: Rule, avoided: Vec<String>, free: Automaton },
}

impl Syntax {
    pub(super) fn json(avoided: Vec<String>) -> Self {
        let free = Automaton::avoiding(&avoided);
        Self::Json { avoided, free }
    }

    pub(super) fn gemma4(quote: Rule, avoided: Vec<String>) -> Self {
        let free = Automaton::avoiding(&avoided);
        Self::Gemma4 { quote, avoided, free }
    }

    /// Tells apart what both syntaxes write into one grammar.
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Json { .. } => "json",
            Self::Gemma4 { .. } => "call",
        }
    }

    pub(super) fn comma(&self) -> Rule {
        match self {
            Self::Json { .. } => Rule::sequence([Rule::words(","), Rule::words(" ").optional()]),
            Self::Gemma4 { .. } => Rule::words(","),
        }
    }

    /// Between a key and its value.
    pub(super) fn colon(&self) -> Rule {
        match self {
            Self::Json { .. } => Rule::sequence([Rule::words(":"), Rule::words(" ").optional()]),
            Self::Gemma4 { .. } => Rule::words(":"),
        }
    }

    /// A known key; `None` where it cannot be written.
    pub(super) fn key(&self, name: &str) -> Option<Rule> {
        match self {
            Self::Json { .. } => self.string(name),
            Self::Gemma4 { .. } => {
                let plain = key_characters();
                let is_bare = !name.is_empty() && name.chars().all(|c| plain.contains(u32::from(c)));
                is_bare.then(|| Rule::words(name))
            }
        }
    }

    /// Which keys a model may think of.
    pub(super) fn free_keys(&self) -> Automaton {
        let characters = match self {
            Self::Json { .. } => CharSet::of([(' ', char::MAX)]),
            Self::Gemma4 { .. } => key_characters(),
        };
        Automaton::of_length(&characters, 1, None)
    }

    /// A key out of these.
    pub(super) fn key_text(&self, gbnf: &mut Gbnf, keys: &Automaton) -> Result<Rule, GrammarError> {
        match self {
            Self::Json { .. } => self.text(gbnf, "json-key", keys, false),
            Self::Gemma4 { .. } => {
                let within = |set: &CharSet| Rule::One(set.and(&key_characters()));
                write_states(gbnf, "call-key", keys, &Rule::EMPTY, &Rule::NEVER, within)
            }
        }
    }

    /// One string; `None` where it cannot be written.
    pub(super) fn string(&self, text: &str) -> Option<Rule> {
        let has_mark = self.avoided().iter().any(|word| text.contains(word.as_str()));
        match self {
            _ if text.contains('\0') => None, // not even by its number: llama.cpp knows texts by their end
            Self::Json { .. } => {
                let written = Value::from(text).to_string();
                Some(Rule::words(if has_mark { written.replace('<', "\\u003c") } else { written }))
            }
            Self::Gemma4 { quote, .. } => (!has_mark && !text.contains(is_reserved))
                .then(|| Rule::sequence([quote.clone(), Rule::words(text), quote.clone()])),
        }
    }

    /// One value; `None` where it cannot be written.
    pub(super) fn literal(&self, value: &Value) -> Option<Rule> {
        let list = |open: &str, parts: Vec<Rule>, close: &str| {
            let mut rules = vec![Rule::words(open)];
            for (index, part) in parts.into_iter().enumerate() {
                rules.extend((index > 0).then(|| self.comma()));
                rules.push(part);
            }
            rules.push(Rule::words(close));
            Rule::sequence(rules)
        };
        Some(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Rule::words(value.to_string()),
            Value::String(text) => self.string(text)?,
            Value::Array(values) => {
                let parts: Option<Vec<Rule>> = values.iter().map(|value| self.literal(value)).collect();
                list("[", parts?, "]")
            }
            Value::Object(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| *key);
                let parts: Option<Vec<Rule>> = sorted
                    .into_iter()
                    .map(|(key, value)| {
                        Some(Rule::sequence([self.key(key)?, self.colon(), self.literal(value)?]))
                    })
                    .collect();
                list("{", parts?, "}")
            }
        })
    }

    fn avoided(&self) -> &[String] {
        match self {
            Self::Json { avoided, .. } | Self::Gemma4 { avoided, .. } => avoided,
        }
    }

    /// A string that may be any text.
    pub(super) fn free_text(&self, gbnf: &mut Gbnf) -> Result<Rule, GrammarError> {
        match self {
            Self::Json { free, .. } => self.text(gbnf, "json-text", free, true),
            Self::Gemma4 { free, .. } => self.text(gbnf, "call-text", free, true),
        }
    }

    /// The strings that an automaton accepts and that hold no marks; `None` where they take too many states.
    ///
    /// Of Gemma 4's marks it is enough to keep out what all have: the product stays small. JSON writes `<`, with which all marks begin, by
    /// its number.
    pub(super) fn limited(&self, texts: &Automaton, states_max: usize) -> Option<Automaton> {
        match self {
            Self::Gemma4 { .. } => {
                texts.and(&Automaton::avoiding(&["<|", "|>"].map(str::to_owned)), states_max)
            }
            Self::Json { .. } => Some(texts.clone()).filter(|texts| texts.states.len() <= states_max),
        }
    }

    /// The texts of an automaton between quotes. `free`: any character may be written by its number, which leads to the first state, and
    /// the automaton keeps marks out.
    pub(super) fn text(
        &self,
        gbnf: &mut Gbnf,
        base: &'static str,
        texts: &Automaton,
        free: bool,
    ) -> Result<Rule, GrammarError> {
        match self {
            Self::Json { .. } => {
                let numbered = if free { gbnf.share("escape", any_escape())? } else { Rule::NEVER };
                let content = write_states(gbnf, base, texts, &Rule::words("\""), &numbered, |set| {
                    json_characters(set, free)
                })?;
                Ok(Rule::sequence([Rule::words("\""), content]))
            }
            Self::Gemma4 { quote, .. } => {
                let content =
                    write_states(gbnf, base, texts, quote, &Rule::NEVER, |set| Rule::One(set.clone()))?;
                Ok(Rule::sequence([quote.clone(), content]))
            }
        }
    }
}

/// Characters of keys that stand without quotes.
fn key_characters() -> CharSet {
    CharSet::of([('!', char::MAX)]).minus(&CharSet::among(":,{}[]<>|\"\u{7f}"))
}

/// Each state as a rule: read a character and go on with the next state's rule, or end. `reset` leads back to the first: an escape is no
/// part of a mark.
pub(super) fn write_states(
    gbnf: &mut Gbnf,
    base: &'static str,
    texts: &Automaton,
    end: &Rule,
    reset: &Rule,
    characters: impl Fn(&CharSet) -> Rule,
) -> Result<Rule, GrammarError> {
    if texts.states.is_empty() {
        return Ok(Rule::NEVER);
    }
    let known = (base, texts.clone());
    if let Some(rule) = gbnf.automata.get(&known) {
        return Ok(rule.clone());
    }
    gbnf.automaton_states += texts.states.len();
    let numbers: Vec<usize> = texts.states.iter().map(|_| gbnf.reserve(base)).collect();
    let first = numbers.first().map_or(Rule::NEVER, |number| Rule::Named(*number));
    let again = Rule::sequence([reset.clone(), first.clone()]);
    for (number, state) in numbers.iter().zip(&texts.states) {
        let mut ways: Vec<Rule> = state.accepts.then(|| end.clone()).into_iter().collect();
        for (set, target) in &state.edges {
            let next = numbers.get(*target).map_or(Rule::NEVER, |number| Rule::Named(*number));
            let read = match characters(set) {
                Rule::One(set) if set.ranges().len() < 3 => Rule::One(set),
                several => gbnf.share("character", several)?,
            };
            ways.push(Rule::sequence([read, next]));
        }
        ways.push(again.clone());
        gbnf.fill(*number, Rule::choice(ways))?;
    }
    gbnf.automata.insert(known, first.clone());
    Ok(first)
}

/// One of these characters as it stands in a JSON string; `<`, with which marks begin, only where it may be plain.
fn json_characters(set: &CharSet, plain_mark: bool) -> Rule {
    let plain =
        CharSet::of([(' ', char::MAX)]).minus(&CharSet::among(if plain_mark { "\"\\" } else { "\"\\<" }));
    let short =
        [('"', "\\\""), ('\\', "\\\\"), ('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t"), ('\u{8}', "\\b")];
    let mut rules = vec![Rule::One(set.and(&plain))];
    if !plain_mark && set.contains(u32::from('<')) {
        rules.push(Rule::words("\\u003c"));
    }
    rules.extend(
        short.iter().filter(|(c, _)| set.contains(u32::from(*c))).map(|(_, written)| Rule::words(*written)),
    );
    for sixteen in [0_u32, 1] {
        let digit = |low: &u32| char::from_digit(*low, 16);
        let is_other =
            |low: &u32| set.contains(sixteen * 16 + low) && !matches!(sixteen * 16 + low, 8 | 9 | 10 | 13);
        let digits: String = (0..16).filter(is_other).filter_map(|low| digit(&low)).collect();
        rules.push(Rule::sequence([
            Rule::words(format!("\\u00{sixteen}")),
            Rule::One(CharSet::among(&digits)),
        ]));
    }
    let is_empty = |rule: &Rule| matches!(rule, Rule::One(set) if set.is_empty());
    rules.retain(|rule| {
        !is_empty(rule) && !matches!(rule, Rule::Sequence(rules) if rules.iter().any(is_empty))
    });
    Rule::choice(rules)
}

fn hex() -> Rule {
    Rule::One(CharSet::of([('0', '9'), ('a', 'f'), ('A', 'F')]))
}

/// Escapes of JSON that are no half of a pair: half a pair is no text.
fn any_escape() -> Rule {
    let low = Rule::One(CharSet::of([('0', '9'), ('a', 'c'), ('e', 'f'), ('A', 'C'), ('E', 'F')]));
    let not_half = Rule::sequence([Rule::One(CharSet::among("dD")), Rule::One(CharSet::of([('0', '7')]))]);
    let number = Rule::choice([Rule::sequence([low, hex()]), not_half]);
    Rule::sequence([Rule::words("\\u"), number, hex(), hex()])
}

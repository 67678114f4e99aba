//! From rules to the text that llama.cpp reads: what no text fits is taken out, what would harm llama.cpp is refused.
use std::fmt::Write as _;

use super::GrammarError;
use super::charset::is_reserved;
use super::rule::{Gbnf, Rule};

/// Longest grammar, in bytes.
const TEXT_BYTES_MAX: usize = 512 << 10;
/// Most ways through the beginnings of rules: llama.cpp follows each of them, without remembering where it was.
const BEGINNINGS_MAX: u64 = 1_000_000;
/// Longest such way: llama.cpp follows it by calling itself, on a thread's stack of 2 MB.
const BEGINNINGS_DEPTH_MAX: usize = 2000;
/// llama.cpp's own limit of a repetition, times the rules inside of it.
const REPEATED_MAX: u64 = 2000;

impl Gbnf {
    /// The grammar's text, which is the same for the same rules, and the witness of each token that it names.
    pub(super) fn finish(
        mut self,
        root: Rule,
        witnesses: &[u32],
    ) -> Result<(String, Vec<(u32, u32)>), GrammarError> {
        let last = self.rules.len();
        self.rules.push(("root".to_owned(), root));
        self.prune();
        if self.rules.get(last).is_none_or(|(_, body)| body.is_never()) {
            return Err(GrammarError::Unsatisfiable);
        }
        self.check_beginnings()?;
        let mut used = vec![false; self.rules.len()];
        let mut open = vec![last];
        while let Some(number) = open.pop() {
            if let Some(used) = used.get_mut(number).filter(|used| !**used) {
                *used = true;
                named(&self.rules[number].1, &mut |number| open.push(number));
            }
        }
        let (mut text, mut named_tokens) = (String::new(), Vec::new());
        for number in std::iter::once(last).chain(0..last).filter(|number| used[*number]) {
            let (name, body) = &self.rules[number];
            check_repetitions(body)?;
            tokens(body, &mut named_tokens);
            if named_tokens.len() > witnesses.len() {
                let (what, found) = ("tokens that it names", named_tokens.len());
                return Err(GrammarError::SchemaTooLarge { what, found, max: witnesses.len() });
            }
            self.written(&mut text, name, body, &pairs(&named_tokens, witnesses));
            if text.len() > TEXT_BYTES_MAX {
                let (what, found) = ("bytes of its grammar", text.len());
                return Err(GrammarError::SchemaTooLarge { what, found, max: TEXT_BYTES_MAX });
            }
        }
        Ok((text, pairs(&named_tokens, witnesses)))
    }

    /// Takes out the ways on which no text ever ends, so that none is begun.
    fn prune(&mut self) {
        let mut ends = vec![false; self.rules.len()];
        loop {
            let mut grown = false;
            for number in (0..self.rules.len()).rev() {
                if !ends[number] && can_end(&self.rules[number].1, &ends) {
                    ends[number] = true;
                    grown = true;
                }
            }
            if !grown {
                break;
            }
        }
        for (_, body) in &mut self.rules {
            *body = pruned(std::mem::replace(body, Rule::NEVER), &ends);
        }
    }

    /// Refuses left recursion, which llama.cpp finds only in part, and what it would look for without end.
    fn check_beginnings(&self) -> Result<(), GrammarError> {
        let mut empty = vec![false; self.rules.len()];
        loop {
            let before = empty.clone();
            for number in (0..self.rules.len()).rev() {
                empty[number] = empty[number] || can_be_empty(&self.rules[number].1, &empty);
            }
            if before == empty {
                break;
            }
        }
        let mut first: Vec<Vec<usize>> = Vec::with_capacity(self.rules.len());
        for (name, body) in &self.rules {
            let mut found = Vec::new();
            if !beginnings(body, &empty, &mut found) {
                return Err(GrammarError::LeftRecursion { rule: name.clone() });
            }
            first.push(found);
        }
        let mut ways: Vec<Option<(u64, usize)>> = vec![None; self.rules.len()];
        let (mut total, mut on_the_way) = (0_u64, vec![false; self.rules.len()]);
        for number in 0..self.rules.len() {
            // Depth first without recursion: a rule is counted when all that it begins with are.
            let mut open = vec![(number, 0)];
            while let Some((at, next)) = open.pop() {
                if ways[at].is_some() {
                    continue;
                }
                on_the_way[at] = true;
                match first[at].get(next) {
                    Some(child) if on_the_way[*child] => {
                        return Err(GrammarError::LeftRecursion { rule: self.rules[*child].0.clone() });
                    }
                    Some(child) => open.extend([(at, next + 1), (*child, 0)]),
                    None => {
                        on_the_way[at] = false;
                        let below = first[at].iter().filter_map(|child| ways[*child]);
                        let (count, depth) = below.fold((1_u64, 0), |(count, depth), (ways, deep)| {
                            (count.saturating_add(ways), depth.max(deep + 1))
                        });
                        ways[at] = Some((count, depth));
                        total = total.saturating_add(count);
                        if total > BEGINNINGS_MAX || depth > BEGINNINGS_DEPTH_MAX {
                            return Err(GrammarError::TooEntangled { rule: self.rules[at].0.clone() });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn written(&self, text: &mut String, name: &str, body: &Rule, witnesses: &[(u32, u32)]) {
        let _ = write!(text, "{name} ::= ");
        self.write(text, body, Place::Rule, witnesses);
        text.push('\n');
    }

    fn write(&self, text: &mut String, rule: &Rule, place: Place, witnesses: &[(u32, u32)]) {
        let grouped = match rule {
            Rule::Choice(_) => place != Place::Rule,
            Rule::Sequence(rules) => place == Place::Repeated && !rules.is_empty(),
            Rule::Repeat { .. } => place == Place::Repeated,
            _ => false,
        };
        text.push_str(if grouped { "(" } else { "" });
        match rule {
            Rule::Words(words) => write_words(text, words),
            Rule::Sequence(rules) if rules.is_empty() => text.push_str("\"\""),
            Rule::One(set) => {
                text.push('[');
                for (first, last) in set.ranges() {
                    write_character(text, *first);
                    if first != last {
                        text.push('-');
                        write_character(text, *last);
                    }
                }
                text.push(']');
            }
            Rule::Token(number) => {
                let witness = witnesses.iter().find(|(token, _)| token == number);
                let _ = match witness {
                    Some((_, witness)) => write!(text, "(<[{number}]> | <[{witness}]>)"),
                    None => write!(text, "<[{number}]>"),
                };
            }
            Rule::Sequence(rules) => self.write_each(text, rules, " ", (Place::Sequence, witnesses)),
            Rule::Choice(rules) => self.write_each(text, rules, " | ", (Place::Choice, witnesses)),
            Rule::Repeat { rule, min, max } => {
                self.write(text, rule, Place::Repeated, witnesses);
                let _ = match (min, max) {
                    (0, Some(1)) => write!(text, "?"),
                    (0, None) => write!(text, "*"),
                    (1, None) => write!(text, "+"),
                    (min, None) => write!(text, "{{{min},}}"),
                    (min, Some(max)) if min == max => write!(text, "{{{min}}}"),
                    (min, Some(max)) => write!(text, "{{{min},{max}}}"),
                };
            }
            Rule::Named(number) => text.push_str(self.rules.get(*number).map_or("root", |(name, _)| name)),
        }
        text.push_str(if grouped { ")" } else { "" });
    }

    fn write_each(&self, text: &mut String, rules: &[Rule], between: &str, inside: (Place, &[(u32, u32)])) {
        for (index, rule) in rules.iter().enumerate() {
            text.push_str(if index > 0 { between } else { "" });
            self.write(text, rule, inside.0, inside.1);
        }
    }
}

/// What a rule is written inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Rule,
    Choice,
    Sequence,
    Repeated,
}

fn named(rule: &Rule, found: &mut impl FnMut(usize)) {
    match rule {
        Rule::Named(number) => found(*number),
        Rule::Sequence(rules) | Rule::Choice(rules) => rules.iter().for_each(|rule| named(rule, found)),
        Rule::Repeat { rule, .. } => named(rule, found),
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) => {}
    }
}

fn tokens(rule: &Rule, found: &mut Vec<u32>) {
    match rule {
        Rule::Token(number) if !found.contains(number) => found.push(*number),
        Rule::Sequence(rules) | Rule::Choice(rules) => rules.iter().for_each(|rule| tokens(rule, found)),
        Rule::Repeat { rule, .. } => tokens(rule, found),
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) | Rule::Named(_) => {}
    }
}

fn pairs(tokens: &[u32], witnesses: &[u32]) -> Vec<(u32, u32)> {
    tokens.iter().copied().zip(witnesses.iter().copied()).collect()
}

fn can_end(rule: &Rule, ends: &[bool]) -> bool {
    match rule {
        Rule::Words(words) => !words.contains(is_reserved),
        Rule::One(set) => !set.is_empty(),
        Rule::Token(_) => true,
        Rule::Sequence(rules) => rules.iter().all(|rule| can_end(rule, ends)),
        Rule::Choice(rules) => rules.iter().any(|rule| can_end(rule, ends)),
        Rule::Repeat { rule, min, .. } => *min == 0 || can_end(rule, ends),
        Rule::Named(number) => ends.get(*number).copied().unwrap_or(false),
    }
}

fn pruned(rule: Rule, ends: &[bool]) -> Rule {
    if !can_end(&rule, ends) {
        return Rule::NEVER;
    }
    match rule {
        Rule::Sequence(rules) => Rule::sequence(rules.into_iter().map(|rule| pruned(rule, ends))),
        Rule::Choice(rules) => Rule::choice(rules.into_iter().map(|rule| pruned(rule, ends))),
        Rule::Repeat { rule, min, max } => match pruned(*rule, ends) {
            rule if rule == Rule::EMPTY => rule,
            rule => rule.repeat(min, max),
        },
        rule => rule,
    }
}

fn can_be_empty(rule: &Rule, empty: &[bool]) -> bool {
    match rule {
        Rule::Words(words) => words.is_empty(),
        Rule::One(_) | Rule::Token(_) => false,
        Rule::Sequence(rules) => rules.iter().all(|rule| can_be_empty(rule, empty)),
        Rule::Choice(rules) => rules.iter().any(|rule| can_be_empty(rule, empty)),
        Rule::Repeat { rule, min, .. } => *min == 0 || can_be_empty(rule, empty),
        Rule::Named(number) => empty.get(*number).copied().unwrap_or(false),
    }
}

/// Gathers the rules with which a text of this rule may begin. `false`: it may repeat the empty text without end.
fn beginnings(rule: &Rule, empty: &[bool], found: &mut Vec<usize>) -> bool {
    match rule {
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) => true,
        Rule::Named(number) => {
            found.push(*number);
            true
        }
        Rule::Choice(rules) => rules.iter().all(|rule| beginnings(rule, empty, found)),
        Rule::Sequence(rules) => {
            let mut reached = true;
            rules.iter().all(|rule| {
                // What comes behind is not a beginning, but its repetitions are looked at all the same.
                let sound = if reached {
                    beginnings(rule, empty, found)
                } else {
                    beginnings(rule, empty, &mut Vec::new())
                };
                reached = reached && can_be_empty(rule, empty);
                sound
            })
        }
        Rule::Repeat { rule, max, .. } => {
            beginnings(rule, empty, found) && (*max == Some(1) || !can_be_empty(rule, empty))
        }
    }
}

/// Refuses repetitions that llama.cpp would refuse, with the whole grammar in its log.
fn check_repetitions(rule: &Rule) -> Result<(), GrammarError> {
    match rule {
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) | Rule::Named(_) => Ok(()),
        Rule::Sequence(rules) | Rule::Choice(rules) => rules.iter().try_for_each(check_repetitions),
        Rule::Repeat { rule, min, max } => {
            let times = u64::from((*max).unwrap_or(*min).max(*min).max(1));
            let found = times.saturating_mul(rules_inside(rule));
            if found > REPEATED_MAX {
                let found = usize::try_from(found).unwrap_or(usize::MAX);
                let max = usize::try_from(REPEATED_MAX).unwrap_or(usize::MAX);
                return Err(GrammarError::SchemaTooLarge { what: "rules in a repetition", found, max });
            }
            check_repetitions(rule)
        }
    }
}

/// How many rules llama.cpp makes of a repeated part.
fn rules_inside(rule: &Rule) -> u64 {
    match rule {
        Rule::Words(_) | Rule::One(_) | Rule::Token(_) | Rule::Named(_) => 1,
        Rule::Sequence(rules) | Rule::Choice(rules) => {
            rules.iter().map(rules_inside).fold(1, u64::saturating_add)
        }
        Rule::Repeat { rule, min, max } => {
            let own = max.map_or(1, |max| u64::from(max.saturating_sub(*min)));
            rules_inside(rule).saturating_add(own)
        }
    }
}

fn write_words(text: &mut String, words: &str) {
    text.push('"');
    for character in words.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            ' '..='~' => text.push(character),
            _ => write_code(text, u32::from(character)),
        }
    }
    text.push('"');
}

/// In a set: all but letters and digits by their number.
fn write_character(text: &mut String, character: u32) {
    match char::from_u32(character).filter(char::is_ascii_alphanumeric) {
        Some(plain) => text.push(plain),
        None => write_code(text, character),
    }
}

fn write_code(text: &mut String, character: u32) {
    let _ = match character {
        0..=0xff => write!(text, "\\x{character:02X}"),
        0x100..=0xffff => write!(text, "\\u{character:04X}"),
        _ => write!(text, "\\U{character:08X}"),
    };
}

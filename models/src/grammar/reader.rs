//! Reads a grammar that somebody else wrote, as llama.cpp would: it never sees the text itself, only what was understood of it.
use std::collections::HashMap;

use super::GrammarError;
use super::charset::{CharSet, is_reserved};
use super::rule::{Gbnf, Rule};

/// Longest grammar that is read, in bytes.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of brackets: llama.cpp reads them by calling itself.
const DEPTH_MAX: usize = 64;
/// Most repetitions: llama.cpp's own limit.
const TIMES_MAX: u32 = 2000;

/// Adds the grammar's rules; returns its root.
pub(super) fn read(text: &str, gbnf: &mut Gbnf) -> Result<Rule, GrammarError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(GrammarError::SchemaTooLarge { what: "bytes", found: text.len(), max: TEXT_BYTES_MAX });
    }
    let mut reader = Reader { text, at: 0, depth: 0, names: HashMap::new(), defined: HashMap::new(), gbnf };
    reader.skip(true);
    while reader.peek().is_some() {
        reader.rule()?;
    }
    let root = reader.names.get("root").copied();
    if let Some((name, _)) = reader.names.iter().filter(|(name, _)| !reader.defined.contains_key(*name)).min()
    {
        return Err(GrammarError::NoSuchRule { name: name.clone() });
    }
    root.map(Rule::Named).ok_or_else(|| GrammarError::NoSuchRule { name: "root".to_owned() })
}

struct Reader<'t, 'g> {
    text: &'t str,
    at: usize,
    depth: usize,
    names: HashMap<String, usize>,
    defined: HashMap<String, ()>,
    gbnf: &'g mut Gbnf,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn takes(&mut self, words: &str) -> bool {
        let found = self.text[self.at..].starts_with(words);
        self.at += if found { words.len() } else { 0 };
        found
    }

    fn fault(&self, wanted: &'static str) -> GrammarError {
        let line = self.text[..self.at].matches('\n').count() + 1;
        GrammarError::NotAGrammar { line, wanted }
    }

    /// Blanks and remarks; line ends only where a rule cannot end.
    fn skip(&mut self, lines: bool) {
        while let Some(character) = self.peek() {
            match character {
                ' ' | '\t' => self.at += 1,
                '\r' | '\n' if lines => self.at += 1,
                '#' => {
                    self.at += self.text[self.at..].find(['\r', '\n']).unwrap_or(self.text.len() - self.at)
                }
                _ => break,
            }
        }
    }

    fn name(&mut self) -> Result<String, GrammarError> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        if end == 0 {
            return Err(self.fault("the name of a rule"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    fn number_of(&mut self, name: String) -> usize {
        if let Some(number) = self.names.get(&name) {
            return *number;
        }
        let number = self.gbnf.reserve(&name);
        self.names.insert(name, number);
        number
    }

    fn rule(&mut self) -> Result<(), GrammarError> {
        let name = self.name()?;
        self.skip(false);
        if !self.takes("::=") {
            return Err(self.fault("`::=`"));
        }
        self.skip(true);
        let body = self.choice(false)?;
        if self.peek().is_some() && !matches!(self.peek(), Some('\r' | '\n')) {
            return Err(self.fault("the end of the rule"));
        }
        self.skip(true);
        let number = self.number_of(name.clone());
        self.defined.insert(name, ());
        self.gbnf.fill(number, body)
    }

    fn choice(&mut self, nested: bool) -> Result<Rule, GrammarError> {
        let mut rules = vec![self.sequence(nested)?];
        while self.takes("|") {
            self.skip(true);
            rules.push(self.sequence(nested)?);
        }
        Ok(Rule::choice(rules))
    }

    fn sequence(&mut self, nested: bool) -> Result<Rule, GrammarError> {
        let mut rules = Vec::new();
        while let Some(character) = self.peek() {
            let rule = match character {
                '"' => self.words()?,
                '[' => self.set()?,
                '.' => {
                    self.at += 1;
                    Rule::One(CharSet::all())
                }
                '<' | '!' => self.token()?,
                '(' => self.group()?,
                _ if character.is_ascii_alphanumeric() || character == '-' => {
                    let name = self.name()?;
                    Rule::Named(self.number_of(name))
                }
                _ => break,
            };
            self.skip(nested);
            let repeated = self.repetitions(rule, nested)?;
            rules.push(repeated);
        }
        Ok(Rule::sequence(rules))
    }

    fn group(&mut self) -> Result<Rule, GrammarError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(GrammarError::TooDeep { max: DEPTH_MAX });
        }
        self.skip(true);
        let rule = self.choice(true)?;
        self.depth -= 1;
        if self.takes(")") { Ok(rule) } else { Err(self.fault("`)`")) }
    }

    fn repetitions(&mut self, mut rule: Rule, nested: bool) -> Result<Rule, GrammarError> {
        let mut count = 0;
        loop {
            let (min, max) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.at += 1;
                    let times = self.times(nested)?;
                    rule = rule.repeat(times.0, times.1);
                    count += 1;
                    continue;
                }
                _ => return Ok(rule),
            };
            self.at += 1;
            count += 1;
            if count > DEPTH_MAX {
                return Err(GrammarError::TooDeep { max: DEPTH_MAX });
            }
            self.skip(nested);
            rule = rule.repeat(min, max);
        }
    }

    /// The inside of `{m}`, `{m,}` or `{m,n}`.
    fn times(&mut self, nested: bool) -> Result<(u32, Option<u32>), GrammarError> {
        self.skip(nested);
        let min = self.integer()?;
        self.skip(nested);
        let mut max = Some(min);
        if self.takes(",") {
            self.skip(nested);
            max = if self.peek().is_some_and(|c| c.is_ascii_digit()) { Some(self.integer()?) } else { None };
            self.skip(nested);
        }
        if !self.takes("}") {
            return Err(self.fault("`}`"));
        }
        self.skip(nested);
        if max.is_some_and(|max| max < min) {
            return Err(self.fault("a repetition whose most is not below its least"));
        }
        Ok((min, max))
    }

    fn integer(&mut self) -> Result<u32, GrammarError> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse().ok().filter(|times| *times <= TIMES_MAX);
        let number = number.ok_or_else(|| self.fault("a number of repetitions up to 2000"))?;
        self.at += end;
        Ok(number)
    }

    fn words(&mut self) -> Result<Rule, GrammarError> {
        self.at += 1;
        let mut words = String::new();
        while !self.takes("\"") {
            words.push(self.character()?);
        }
        Ok(Rule::words(words))
    }

    fn set(&mut self) -> Result<Rule, GrammarError> {
        self.at += 1;
        let negated = self.takes("^");
        let mut ranges = Vec::new();
        while !self.takes("]") {
            let first = self.character()?;
            let is_range = self.text[self.at..].starts_with('-') && !self.text[self.at..].starts_with("-]");
            self.at += usize::from(is_range);
            let last = if is_range { self.character()? } else { first };
            ranges.push((first, last));
        }
        let set = CharSet::of(ranges);
        let set = if negated { set.complement() } else { set };
        if set.is_empty() { Err(self.fault("a set with a character")) } else { Ok(Rule::One(set)) }
    }

    fn character(&mut self) -> Result<char, GrammarError> {
        let found = match self.next() {
            Some('\\') => match self.next() {
                Some('x') => self.hex(2),
                Some('u') => self.hex(4),
                Some('U') => self.hex(8),
                Some('t') => Some('\t'),
                Some('r') => Some('\r'),
                Some('n') => Some('\n'),
                Some(plain @ ('\\' | '"' | '[' | ']' | '-')) => Some(plain),
                _ => None,
            },
            other => other,
        };
        found.filter(|found| !is_reserved(*found)).ok_or_else(|| self.fault("a character"))
    }

    fn hex(&mut self, digits: usize) -> Option<char> {
        let number = self.text.get(self.at..self.at + digits)?;
        let found =
            number.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(number, 16).ok())??;
        self.at += digits;
        char::from_u32(found)
    }

    /// A token by its number. Not understood: by its text, which only a vocabulary can tell, and any other than a token, by which
    /// llama.cpp is led to end the process.
    fn token(&mut self) -> Result<Rule, GrammarError> {
        let rest = &self.text[self.at..];
        let inside = rest.strip_prefix("<[").and_then(|rest| rest.split_once("]>"));
        let number = inside.and_then(|(digits, _)| Some((digits, digits.parse().ok()?)));
        let (digits, number) = number.ok_or_else(|| self.fault("a token by its number, as in `<[7]>`"))?;
        self.at += digits.len() + "<[]>".len();
        Ok(Rule::Token(number))
    }
}

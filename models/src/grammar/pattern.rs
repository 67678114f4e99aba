//! Regular expressions as JSON schemas have them (ECMA-262), made into automata.
//!
//! Understood: characters and their escapes, sets, `.`, `\d \w \s` and their opposites, groups, alternatives, repetitions and the
//! anchors `^` and `$`. Not understood: what looks around or back, word borders, properties of Unicode.
use std::collections::BTreeSet;

use super::automaton::{Automaton, determined};
use super::charset::CharSet;

/// Most parts that a pattern may have when its repetitions are written out.
const PARTS_MAX: usize = 3000;
/// Most states of a pattern's automaton.
const STATES_MAX: usize = 600;
/// Deepest nesting of groups.
const DEPTH_MAX: usize = 32;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// The texts in which the pattern is found; `None` where it is not understood or too large.
pub(super) fn automaton(pattern: &str) -> Option<Automaton> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    let mut reader = Reader { rest: pattern, depth: 0 };
    let tree = reader.choice()?;
    if !reader.rest.is_empty() {
        return None;
    }
    let mut parts = Parts { parts: vec![Part::End, Part::Empty(Vec::new())] };
    // Any text may stand before and behind; an anchor holds only where nothing was read or nothing follows.
    let behind = parts.add(Part::Empty(vec![0]))?;
    let more = parts.add(Part::Read(CharSet::all(), behind))?;
    parts.parts[behind] = Part::Empty(vec![0, more]);
    let begin = parts.build(&tree, behind)?;
    let before = parts.add(Part::Empty(vec![begin]))?;
    let skip = parts.add(Part::Read(CharSet::all(), before))?;
    parts.parts[before] = Part::Empty(vec![begin, skip]);
    let start = parts.closed(BTreeSet::from([before]), true, false);
    determined(
        start,
        |part| match &parts.parts[part] {
            Part::Read(set, next) => vec![(set.clone(), *next)],
            _ => Vec::new(),
        },
        |set| parts.closed(set, false, false),
        |set| parts.closed(set.clone(), false, true).contains(&0),
        STATES_MAX,
    )
}

/// A pattern as it is written.
enum Tree {
    One(CharSet),
    Sequence(Vec<Tree>),
    Choice(Vec<Tree>),
    Repeat(Box<Tree>, usize, Option<usize>),
    AtStart,
    AtEnd,
}

/// A pattern as a machine that may be in several places at once.
enum Part {
    Read(CharSet, usize),
    Empty(Vec<usize>),
    AtStart(usize),
    AtEnd(usize),
    End,
}

struct Parts {
    parts: Vec<Part>,
}

impl Parts {
    fn add(&mut self, part: Part) -> Option<usize> {
        self.parts.push(part);
        (self.parts.len() <= PARTS_MAX).then(|| self.parts.len() - 1)
    }

    /// Builds backwards: what reads this tree and goes on with `next`.
    fn build(&mut self, tree: &Tree, next: usize) -> Option<usize> {
        match tree {
            Tree::One(set) => self.add(Part::Read(set.clone(), next)),
            Tree::AtStart => self.add(Part::AtStart(next)),
            Tree::AtEnd => self.add(Part::AtEnd(next)),
            Tree::Sequence(trees) => trees.iter().rev().try_fold(next, |next, tree| self.build(tree, next)),
            Tree::Choice(trees) => {
                let ways: Option<Vec<usize>> = trees.iter().map(|tree| self.build(tree, next)).collect();
                self.add(Part::Empty(ways?))
            }
            Tree::Repeat(tree, min, max) => {
                let mut next = next;
                match max {
                    Some(max) => {
                        let after = next;
                        for _ in *min..*max {
                            let once = self.build(tree, next)?;
                            next = self.add(Part::Empty(vec![once, after]))?;
                        }
                    }
                    None => {
                        let again = self.add(Part::Empty(Vec::new()))?;
                        let once = self.build(tree, again)?;
                        self.parts[again] = Part::Empty(vec![once, next]);
                        next = again;
                    }
                }
                (0..*min).try_fold(next, |next, _| self.build(tree, next))
            }
        }
    }

    /// Everything that is reached without reading. Where the text may end, what only an end allows is reached too.
    fn closed(&self, begin: BTreeSet<usize>, at_start: bool, at_end: bool) -> BTreeSet<usize> {
        let mut open: Vec<usize> = begin.iter().copied().collect();
        let mut reached = begin;
        while let Some(part) = open.pop() {
            let mut go = |next: usize| {
                if reached.insert(next) {
                    open.push(next);
                }
            };
            match &self.parts[part] {
                Part::Empty(ways) => ways.iter().for_each(|way| go(*way)),
                Part::AtStart(next) if at_start => go(*next),
                Part::AtEnd(next) if at_end => go(*next),
                _ => {}
            }
        }
        reached
    }
}

struct Reader<'p> {
    rest: &'p str,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn takes(&mut self, words: &str) -> bool {
        let rest = self.rest.strip_prefix(words);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn choice(&mut self) -> Option<Tree> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut trees = vec![self.sequence()?];
        while self.takes("|") {
            trees.push(self.sequence()?);
        }
        self.depth -= 1;
        Some(Tree::Choice(trees))
    }

    fn sequence(&mut self) -> Option<Tree> {
        let mut trees = Vec::new();
        while let Some(character) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            self.next();
            let tree = match character {
                '^' => Tree::AtStart,
                '$' => Tree::AtEnd,
                '.' => Tree::One(CharSet::among("\n\r\u{2028}\u{2029}").complement()),
                '(' => {
                    let inside = self.takes("?:") || !self.rest.starts_with('?');
                    let tree = if inside { self.choice()? } else { return None };
                    if !self.takes(")") {
                        return None;
                    }
                    tree
                }
                '[' => Tree::One(self.set()?),
                '\\' => Tree::One(self.escape()?),
                '*' | '+' | '?' | '{' | '}' | ']' => return None,
                plain => Tree::One(CharSet::one(plain)),
            };
            trees.push(self.repetition(tree)?);
        }
        Some(Tree::Sequence(trees))
    }

    fn repetition(&mut self, tree: Tree) -> Option<Tree> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let end = self.rest.find('}')?;
                let inside = &self.rest[1..end];
                let number = |text: &str| text.parse::<usize>().ok().filter(|times| *times <= PARTS_MAX);
                let times = match inside.split_once(',') {
                    None => (number(inside)?, Some(number(inside)?)),
                    Some((min, "")) => (number(min)?, None),
                    Some((min, max)) => (number(min)?, Some(number(max)?)),
                };
                self.rest = &self.rest[end..]; // its last character is taken below
                times
            }
            _ => return Some(tree),
        };
        self.next();
        self.takes("?"); // which of the ways is tried first makes no difference to what fits
        let sound = max.is_none_or(|max| max >= min) && !matches!(tree, Tree::AtStart | Tree::AtEnd);
        let again = matches!(self.peek(), Some('*' | '+' | '?' | '{'));
        (sound && !again).then(|| Tree::Repeat(Box::new(tree), min, max))
    }

    fn set(&mut self) -> Option<CharSet> {
        let negated = self.takes("^");
        let (mut set, mut speaks_of_blanks) = (CharSet::none(), false);
        while !self.takes("]") {
            speaks_of_blanks |= self.rest.starts_with("\\s") || self.rest.starts_with("\\S");
            let first = self.member()?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let whole = if is_range {
                self.next();
                let last = self.member()?;
                CharSet::of_numbers([(single(&first)?, single(&last)?)])
            } else {
                first
            };
            set = set.or(&whole);
        }
        let set = if negated { set.complement() } else { set };
        let set = if negated && speaks_of_blanks { set.minus(&unsure_blanks()) } else { set };
        (!set.is_empty()).then_some(set)
    }

    fn member(&mut self) -> Option<CharSet> {
        match self.next()? {
            '\\' if self.takes("b") => Some(CharSet::one('\u{8}')),
            '\\' if self.takes("-") => Some(CharSet::one('-')),
            '\\' => self.escape(),
            '[' => Some(CharSet::one('[')),
            plain => Some(CharSet::one(plain)),
        }
    }

    fn escape(&mut self) -> Option<CharSet> {
        let (digits, words) =
            (CharSet::of([('0', '9')]), CharSet::of([('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')]));
        let blanks = CharSet::among(" \t\n\r\u{b}\u{c}");
        Some(match self.next()? {
            'd' => digits,
            'D' => digits.complement(),
            'w' => words,
            'W' => words.complement(),
            's' => blanks,
            'S' => blanks.or(&unsure_blanks()).complement(),
            't' => CharSet::one('\t'),
            'n' => CharSet::one('\n'),
            'r' => CharSet::one('\r'),
            'f' => CharSet::one('\u{c}'),
            'v' => CharSet::one('\u{b}'),
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            plain if plain.is_ascii_punctuation() || plain == ' ' => CharSet::one(plain),
            _ => return None,
        })
    }

    fn code(&mut self, digits: usize) -> Option<CharSet> {
        let number = self.rest.get(..digits)?;
        let number = u32::from_str_radix(number, 16).ok().filter(|_| number.is_ascii())?;
        self.rest = self.rest.get(digits..)?;
        char::from_u32(number).filter(|c| *c != '\0').map(CharSet::one)
    }
}

/// What is a blank to one reader and none to another: in no set that speaks of blanks.
fn unsure_blanks() -> CharSet {
    CharSet::of([('\u{1c}', '\u{1f}'), ('\u{85}', '\u{85}'), ('\u{a0}', '\u{a0}'), ('\u{1680}', '\u{1680}')])
        .or(&CharSet::of([('\u{2000}', '\u{200f}'), ('\u{2028}', '\u{202f}'), ('\u{205f}', '\u{205f}')]))
        .or(&CharSet::of([('\u{3000}', '\u{3000}'), ('\u{feff}', '\u{feff}')]))
}

fn single(set: &CharSet) -> Option<u32> {
    match set.ranges() {
        [(first, last)] if first == last => Some(*first),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::automaton::tests::accepts;
    use super::automaton;

    #[track_caller]
    fn check(pattern: &str, found: &[&str], not_found: &[&str]) {
        let automaton = automaton(pattern).unwrap_or_else(|| panic!("{pattern} is not understood"));
        for text in found {
            assert!(accepts(&automaton, text), "{pattern} is found in {text:?}");
        }
        for text in not_found {
            assert!(!accepts(&automaton, text), "{pattern} is not found in {text:?}");
        }
    }

    #[test]
    fn patterns_are_found_where_they_are() {
        check("^a.c$", &["abc", "a\"c"], &["ac", "abcd", "xabc", "a\nc"]);
        check("b", &["b", "abc", "bb"], &["", "ac"]);
        check("^(ab|c)*d?$", &["", "d", "abcabd"], &["abb", "dd"]);
        check("^[a-z0-9_-]{2,4}$", &["a-", "a_9z"], &["a", "abcde", "A1"]);
        check(r"^[^\s/]+\.(rs|md)$", &["a.rs", "a.b.md"], &["a b.rs", ".rs", "a.rss"]);
        check(r"^\d{3}-\d{4}$", &["123-4567"], &["123-456", "12a-4567"]);
        check("^a|b$", &["axx", "xxb", "a", "b"], &["xa", "bx"]);
        check("(^|/)x$", &["x", "a/x"], &["ax", "x/"]);
        check("", &["", "x"], &[]);
        check(r"^\u0041\x42[\]\-x]+?$", &["AB]", "AB-x"], &["AB", "ABy"]);
        check("^(a{0,3}){2}$", &["", "aaaaaa"], &["aaaaaaa"]);
        check("a^b", &[], &["ab", "a^b", ""]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for pattern in [
            r"(?=a)b",
            r"\bword\b",
            r"(a)\1",
            r"\p{L}+",
            "a**",
            "(",
            ")",
            "[",
            "[z-a]",
            "a{2,1}",
            "a{9999999}",
            "(a{99}){99}",
            "*",
            r"\",
            "^*",
            "(?<name>a)",
        ] {
            assert!(automaton(pattern).is_none(), "{pattern}");
        }
        assert!(automaton("(a|b)*a(a|b){12}").is_none(), "as many states as there are texts of 12 letters");
    }
}

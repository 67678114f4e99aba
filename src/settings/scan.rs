//! Splits a RON text into fields with their positions, and goes on behind a fault where that makes sense.
//!
//! serde stops at the first fault and loses positions; a person wants all faults of a file at once. So only the outline is read
//! here: named groups `( field: value, .. )` and lists `[ .. ]`. Every other value stays text, which `ron` reads on its own.
use super::fault::Span;
use super::lexis::{Lexeme, blank, is_blank, quoted};

/// Deepest nesting of groups and lists; profiles need 4. Bounds the recursion on hostile input.
const DEPTH_MAX: usize = 32;

/// What a text is made of.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The outermost group; `None` when there is none to speak of.
    pub(super) top: Option<Node>,
    /// What was found on the way.
    pub(super) faults: Vec<(Span, String, Option<String>)>,
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) shape: Shape,
}

/// What kind of value it is.
#[derive(Debug)]
pub(super) enum Shape {
    /// `( field: value, .. )`. Not `complete` when a fault hid its end.
    Group { fields: Vec<Field>, complete: bool },
    /// `[ value, .. ]`
    List(Vec<Node>),
    /// Anything else.
    Leaf,
}

/// One field of a group. A field whose value could not be read has none.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) value: Option<Node>,
}

/// Reads the outline of a text. Never fails: what cannot be read is a fault in the outline.
pub(super) fn outline(text: &str) -> Outline {
    let (outline, ends_early) = scan(text, None);
    // A forgotten bracket is noticed at the end of the text only. The indentation tells which one it was.
    if ends_early.is_some() { scan(text, ends_early).0 } else { outline }
}

/// A group that by its indentation ends before the field at `end`.
#[derive(Debug, Clone, Copy)]
struct EndsEarly {
    start: usize,
    end: usize,
}

/// Reads the outline, closing one group early if told so. Answers also which one to close early, if a bracket is missing.
fn scan(text: &str, close: Option<EndsEarly>) -> (Outline, Option<EndsEarly>) {
    let mut scanner =
        Scanner { text, at: 0, dead: false, close, suspect: None, unclosed: false, faults: Vec::new() };
    if scanner.peek() == Some('\u{feff}') {
        scanner.bump();
    }
    scanner.skip_blank();
    if scanner.rest().starts_with("#!") {
        let hint = "leave it out: `implicit_some` is always on, other extensions are not used";
        scanner.fault(scanner.at, "extensions cannot be switched on here", Some(hint));
        scanner.skip_line();
        scanner.skip_blank();
    }
    let top = match scanner.peek() {
        Some('(') => Some(scanner.group(0)),
        Some(_) => {
            let hint = Some("write `( field: value, .. )`");
            scanner.fault(scanner.at, "a settings file is one group in round brackets", hint);
            scanner.dead = true;
            None
        }
        None => None,
    };
    scanner.skip_blank();
    if !scanner.dead && scanner.peek().is_some() {
        scanner.fault(scanner.at, "text behind the end of the outermost group", Some("remove it"));
    }
    let suspect = scanner.suspect.filter(|_| scanner.unclosed && close.is_none());
    (Outline { top, faults: scanner.faults }, suspect)
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// A fault after which the rest cannot be understood: reported once, then everything stands at the end of the text.
    dead: bool,
    /// The group to close early.
    close: Option<EndsEarly>,
    /// The first group that ends early by its indentation.
    suspect: Option<EndsEarly>,
    /// A bracket was still open at the end of the text.
    unclosed: bool,
    faults: Vec<(Span, String, Option<String>)>,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn fault(&mut self, start: usize, message: impl Into<String>, hint: Option<&str>) {
        if !self.dead {
            let span = Span { start, end: start };
            self.faults.push((span, message.into(), hint.map(str::to_owned)));
        }
    }

    fn give_up(&mut self, start: usize, message: impl Into<String>, hint: &str) {
        self.fault(start, message, Some(hint));
        self.dead = true;
        self.at = self.text.len();
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        while self.skip(blank(self.rest()), "this comment never ends") {}
    }

    /// Skips a string, raw string, byte string or character, if one begins here.
    fn skip_quoted(&mut self) -> bool {
        self.skip(quoted(self.rest()), "this text never ends")
    }

    fn skip(&mut self, lexeme: Lexeme, endless: &str) -> bool {
        match lexeme {
            Lexeme::Nothing => return false,
            Lexeme::Whole(length) => self.at += length,
            Lexeme::Endless(close) => self.give_up(self.at, endless, &format!("close it with `{close}`")),
        }
        true
    }

    /// Skips everything to the bracket that closes the one that begins here.
    fn skip_balanced(&mut self) {
        let mut open: Vec<(char, usize)> = Vec::new();
        loop {
            self.skip_blank();
            let start = self.at;
            match self.peek() {
                Some(bracket @ ('(' | '[' | '{')) => {
                    open.push((bracket, start));
                    self.bump();
                }
                Some(bracket @ (')' | ']' | '}')) => {
                    match open.pop() {
                        Some((opener, at)) if closer_of(opener) != bracket => {
                            return self.mismatch(opener, at, bracket);
                        }
                        Some(_) => {}
                        None => return,
                    }
                    self.bump();
                }
                Some(_) if self.skip_quoted() => {}
                Some(_) => self.bump(),
                None => {
                    if let Some((opener, at)) = open.pop() {
                        self.never_closed(opener, at);
                    }
                    return;
                }
            }
            if open.is_empty() {
                return;
            }
        }
    }

    fn never_closed(&mut self, opener: char, at: usize) {
        self.unclosed |= !self.dead;
        let hint = format!("add the missing `{}`", closer_of(opener));
        self.give_up(at, format!("`{opener}` is never closed"), &hint);
    }

    fn mismatch(&mut self, opener: char, opened_at: usize, found: char) {
        let line = self.text.get(..opened_at).unwrap_or_default().matches('\n').count() + 1;
        let message = format!("`{found}` closes nothing: `{opener}` of line {line} is still open");
        let hint = format!("close it with `{}` first", closer_of(opener));
        self.give_up(self.at, message, &hint);
    }

    /// Skips to behind the next comma of this level, or to the bracket that ends the level.
    fn skip_to_comma(&mut self) {
        loop {
            self.skip_blank();
            match self.peek() {
                None | Some(')' | ']' | '}') => return,
                Some(',') => return self.bump(),
                Some('(' | '[' | '{') => self.skip_balanced(),
                Some(_) if self.skip_quoted() => {}
                Some(_) => self.bump(),
            }
        }
    }

    /// Reads a value; `None` where there is none.
    fn value(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        let shape = match self.peek()? {
            ',' | ')' | ']' | '}' => return None,
            '(' | '[' if depth >= DEPTH_MAX => {
                self.give_up(start, "brackets are nested too deeply", "32 levels are the limit");
                return None;
            }
            '(' if self.group_begins() => return Some(self.group(depth)),
            '[' => self.list(depth),
            '(' | '{' => {
                self.skip_balanced();
                Shape::Leaf
            }
            _ => {
                if !self.skip_quoted() {
                    self.skip_word();
                }
                Shape::Leaf
            }
        };
        if self.dead && matches!(shape, Shape::Leaf) {
            return None;
        }
        Some(Node { span: Span { start, end: self.at }, shape })
    }

    /// Skips a number, a name, or a name with something in round brackets: `StartsWith("review")`.
    fn skip_word(&mut self) {
        let start = self.at;
        while let Some(c) = self.peek() {
            let rest = self.rest();
            let ends =
                is_blank(c) || ",()[]{}\"".contains(c) || rest.starts_with("//") || rest.starts_with("/*");
            if ends && self.at > start {
                break;
            }
            self.bump();
        }
        let end = self.at;
        self.skip_blank();
        if self.peek() == Some('(') && self.text.get(start..end).is_some_and(is_name) {
            self.skip_balanced();
        } else {
            self.at = end;
        }
    }

    fn group_begins(&mut self) -> bool {
        let start = self.at;
        let mut ahead = Scanner {
            text: self.text,
            at: start + 1,
            dead: true,
            close: None,
            suspect: None,
            unclosed: false,
            faults: Vec::new(),
        };
        ahead.skip_blank();
        if ahead.peek() == Some(')') {
            return true;
        }
        let named = !ahead.take_name().is_empty();
        ahead.skip_blank();
        named && ahead.peek() == Some(':')
    }

    fn take_name(&mut self) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn list(&mut self, depth: usize) -> Shape {
        let start = self.at;
        self.bump();
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                Some(']') => {
                    self.bump();
                    break;
                }
                Some(found @ (')' | '}')) => {
                    self.mismatch('[', start, found);
                    break;
                }
                Some(',') => {
                    self.fault(self.at, "a comma without a value before it", Some("remove it"));
                    self.bump();
                    continue;
                }
                Some(_) => {}
                None => {
                    self.never_closed('[', start);
                    break;
                }
            }
            items.extend(self.value(depth + 1));
            self.comma_or_end("a list item", |_| true);
        }
        Shape::List(items)
    }

    fn group(&mut self, depth: usize) -> Node {
        let start = self.at;
        self.bump();
        let mut fields = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                Some(')') => {
                    self.bump();
                    break;
                }
                Some(found @ (']' | '}')) => {
                    self.mismatch('(', start, found);
                    break;
                }
                Some(_) if self.close.is_some_and(|close| close.start == start && close.end == self.at) => {
                    self.fault(start, "`(` is never closed", Some("add the missing `)`"));
                    break;
                }
                Some(_) => {
                    if depth > 0 && self.suspect.is_none() && self.is_outside(start) {
                        self.suspect = Some(EndsEarly { start, end: self.at });
                    }
                    self.field(depth, &mut fields);
                }
                None => {
                    self.never_closed('(', start);
                    break;
                }
            }
        }
        let shape = Shape::Group { fields, complete: !self.dead };
        Node { span: Span { start, end: self.at }, shape }
    }

    /// Whether what begins here is the first of its line, and no deeper than the line of the bracket at `opener`.
    fn is_outside(&self, opener: usize) -> bool {
        let before = self.text.get(..self.at).unwrap_or_default();
        let lines_before = before.trim_end_matches([' ', '\t']);
        // Asked first: the beginning of a long line is not to be searched for from each of its fields.
        let first = lines_before.ends_with('\n') && opener < lines_before.len();
        first && {
            let start =
                before.get(..opener).and_then(|text| text.rfind('\n')).map_or(0, |newline| newline + 1);
            let line = before.get(start..).unwrap_or_default();
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            before.len() - lines_before.len() <= indent
        }
    }

    fn field(&mut self, depth: usize, fields: &mut Vec<Field>) {
        let start = self.at;
        let name = self.take_name();
        if !is_name(name) {
            self.fault(start, "expected a field name", Some("write `field: value,`"));
            return self.skip_to_comma();
        }
        let mut field = Field { name: name.to_owned(), span: Span { start, end: self.at }, value: None };
        self.skip_blank();
        if self.peek() == Some(':') {
            self.bump();
            self.skip_blank();
            field.value = self.value(depth + 1);
            if field.value.is_none() {
                self.fault(start, format!("`{name}` has no value"), Some("write `field: value,`"));
            }
            self.comma_or_end(&format!("the value of `{name}`"), is_name_char);
        } else {
            self.fault(self.at, format!("expected `:` behind `{name}`"), Some("write `field: value,`"));
            self.skip_to_comma();
        }
        fields.push(field);
    }

    /// Takes the comma behind a value. A forgotten one is a fault, but what follows is read as if it were there, if it `begins` so.
    fn comma_or_end(&mut self, what: &str, begins: fn(char) -> bool) {
        let end = self.at;
        self.skip_blank();
        match self.peek() {
            Some(',') => self.bump(),
            None | Some(')' | ']' | '}') => {}
            // The bracket that was forgotten here would have brought its comma.
            Some(_) if self.close.is_some_and(|close| close.end == self.at) => {}
            Some(c) => {
                self.fault(end, format!("expected `,` behind {what}"), None);
                if !begins(c) {
                    self.skip_to_comma();
                }
            }
        }
    }
}

fn closer_of(opener: char) -> char {
    match opener {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(is_name_char)
}

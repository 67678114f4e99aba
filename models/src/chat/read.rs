//! Reads a value that a model wrote: JSON, or Gemma's notation with bare keys and its own quote mark. One grammar for both, because
//! models mix them up.
//!
//! What is not as it should be is mended where only one thing can have been meant: closing brackets that are missing at the end,
//! commas too many, Python's words, bare words. A text that is not closed is never mended: its rest may be missing.
use super::value::Value;

/// Deepest nesting of dictionaries and lists; bounds the stack. Schemas of real tools have up to about 12 levels.
const DEPTH_MAX: usize = 64;
/// Gemma's quote mark, as a model may spell it with plain tokens.
pub(super) const QUOTE: &str = "<|\"|>";

/// Why something is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// A text has no end.
    #[error("a text is not closed")]
    OpenText,
    /// Nested too deeply.
    #[error("more than {DEPTH_MAX} levels of brackets")]
    TooDeep,
    /// Something is missing.
    #[error("{wanted} is missing {place}")]
    Missing {
        /// What.
        wanted: &'static str,
        /// Where.
        place: String,
    },
    /// A word without quotes that could be anything.
    #[error("`{0}` needs quotes")]
    Bare(String),
}

/// What is read: text, with the places of the quote marks that came as tokens of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Byte offsets into the text, rising; the marks themselves are not in the text.
    quotes: &'t [usize],
    at: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Quote,
    Char(char),
    End,
}

impl<'t> Reader<'t> {
    /// Reads from this offset on.
    pub(super) fn new(text: &'t str, quotes: &'t [usize], at: usize) -> Self {
        let passed = quotes.iter().take_while(|quote| **quote < at).count();
        Self { text, quotes: quotes.get(passed..).unwrap_or_default(), at }
    }

    /// Reads a value that takes all there is. Brackets too many at the end do no harm.
    pub(super) fn whole(mut self) -> Result<Value, ReadError> {
        let value = self.value(0)?;
        loop {
            match self.skip_blanks() {
                Next::End => return Ok(value),
                Next::Char('}' | ']') => self.advance(1),
                _ => return Err(self.missing("the end")),
            }
        }
    }

    fn next(&self) -> Next {
        if self.quotes.first() == Some(&self.at) {
            return Next::Quote;
        }
        self.rest().chars().next().map_or(Next::End, Next::Char)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What stands before the next quote mark.
    fn run(&self) -> &'t str {
        let end = self.quotes.first().copied().unwrap_or(self.text.len());
        self.text.get(self.at..end).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn pass_quote(&mut self) {
        self.quotes = self.quotes.get(1..).unwrap_or_default();
    }

    fn skip_blanks(&mut self) -> Next {
        let run = self.run();
        self.advance(run.len() - run.trim_start().len());
        self.next()
    }

    fn missing(&self, wanted: &'static str) -> ReadError {
        let place = match self.next() {
            Next::Quote => format!("before `{QUOTE}`"),
            Next::End => "at the end".to_owned(),
            Next::Char(_) => format!("before `{}`", self.run().chars().take(12).collect::<String>()),
        };
        ReadError::Missing { wanted, place }
    }

    fn value(&mut self, depth: usize) -> Result<Value, ReadError> {
        if depth > DEPTH_MAX {
            return Err(ReadError::TooDeep);
        }
        match self.skip_blanks() {
            Next::Char('{') => self.dict(depth),
            Next::Char('[') => self.list(depth),
            Next::End | Next::Char(',' | ':' | '}' | ']') => Err(self.missing("a value")),
            _ => match self.quoted()? {
                Some(text) => Ok(Value::Text(text)),
                None => self.bare(),
            },
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value, ReadError> {
        self.advance(1);
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        while self.enters_another('}')? {
            let key = match self.quoted()? {
                Some(key) => key,
                None => self.bare_key()?,
            };
            if self.skip_blanks() != Next::Char(':') {
                return Err(self.missing("`:`"));
            }
            self.advance(1);
            let value = self.value(depth + 1)?;
            match places.get(&key).and_then(|place: &usize| entries.get_mut(*place)) {
                Some(entry) => entry.1 = value, // the last word counts
                None => {
                    places.insert(key.clone(), entries.len());
                    entries.push((key, value));
                }
            }
            self.separated('}')?;
        }
        Ok(Value::Dict(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Value, ReadError> {
        self.advance(1);
        let mut list = Vec::new();
        while self.enters_another(']')? {
            list.push(self.value(depth + 1)?);
            self.separated(']')?;
        }
        Ok(Value::List(list))
    }

    /// Whether another entry follows; passes the closing bracket if not. At the end of all the bracket is taken as read.
    fn enters_another(&mut self, close: char) -> Result<bool, ReadError> {
        loop {
            match self.skip_blanks() {
                Next::Char(',') => self.advance(1),
                Next::Char(c) if c == close => {
                    self.advance(1);
                    return Ok(false);
                }
                Next::Char('}' | ']') => return Err(self.missing("the right bracket")),
                Next::End => return Ok(false),
                Next::Char(_) | Next::Quote => return Ok(true),
            }
        }
    }

    /// Behind an entry there is a comma, the bracket or the end.
    fn separated(&mut self, close: char) -> Result<(), ReadError> {
        match self.skip_blanks() {
            Next::End | Next::Char(',') => Ok(()),
            Next::Char(c) if c == close => Ok(()),
            _ => Err(self.missing("a comma or a bracket")),
        }
    }

    /// A text in quotes of any kind, if one begins here.
    fn quoted(&mut self) -> Result<Option<String>, ReadError> {
        match self.next() {
            Next::Quote => {
                self.pass_quote();
                self.marked(false).map(Some)
            }
            Next::Char('<') if self.run().starts_with(QUOTE) => {
                self.advance(QUOTE.len());
                self.marked(true).map(Some)
            }
            Next::Char(quote @ ('"' | '\'')) => self.escaped(quote).map(Some),
            _ => Ok(None),
        }
    }

    /// A text up to Gemma's quote mark. It has no escapes. Where the mark that opened it was spelled with plain tokens, the one that
    /// closes it may be, too; but a text between real marks may hold the spelling as words.
    fn marked(&mut self, is_spelled: bool) -> Result<String, ReadError> {
        let run = self.run();
        if let Some(end) = run.find(QUOTE).filter(|_| is_spelled) {
            self.advance(end + QUOTE.len());
            return run.get(..end).map(str::to_owned).ok_or(ReadError::OpenText);
        }
        if self.quotes.is_empty() {
            return Err(ReadError::OpenText);
        }
        self.advance(run.len());
        self.pass_quote();
        Ok(run.to_owned())
    }

    /// A text as JSON writes it, line breaks and unknown escapes taken as they stand.
    fn escaped(&mut self, quote: char) -> Result<String, ReadError> {
        let run = self.run();
        let mut text = String::new();
        let mut chars = run.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.advance(at + 1);
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().map(|(_, escape)| escape) {
                Some(plain @ ('"' | '\'' | '\\' | '/')) => text.push(plain),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('u') => {
                    let (c, more) = unicode_escape(run.get(at..).unwrap_or_default());
                    text.push(c);
                    for _ in 0..more {
                        chars.next();
                    }
                }
                Some(other) => text.extend(['\\', other]),
                None => return Err(ReadError::OpenText),
            }
        }
        Err(ReadError::OpenText)
    }

    fn bare_key(&mut self) -> Result<String, ReadError> {
        let run = self.run();
        let end = run.find([':', ',', '{', '}', '[', ']']).unwrap_or(run.len());
        let key = run.get(..end).unwrap_or_default().trim();
        if key.is_empty() {
            return Err(self.missing("a key"));
        }
        self.advance(end);
        plain(key).map(str::to_owned)
    }

    fn bare(&mut self) -> Result<Value, ReadError> {
        let run = self.run();
        let end = run.find([',', '}', ']', '{', '[', '"']).unwrap_or(run.len());
        let word = run.get(..end).unwrap_or_default().trim();
        self.advance(end);
        Ok(match word {
            "null" | "None" => Value::Null,
            "true" | "True" => Value::Bool(true),
            "false" | "False" => Value::Bool(false),
            number if is_number(number) => Value::Number(number.to_owned()),
            word => Value::Text(plain(word)?.to_owned()),
        })
    }
}

/// Bare words hold nothing that looks like a mark.
fn plain(word: &str) -> Result<&str, ReadError> {
    if word.contains("<|") || word.contains("|>") { Err(ReadError::Bare(word.to_owned())) } else { Ok(word) }
}

/// The character of an escape that begins a text, and how many characters it has behind its `u`. What is none gives the sign for a
/// broken character.
fn unicode_escape(text: &str) -> (char, usize) {
    let unit = |from: usize| {
        let digits = text.get(from..from + 4)?;
        let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(2) else { return (char::REPLACEMENT_CHARACTER, 0) };
    let second = if text.get(6..8) == Some("\\u") { unit(8) } else { None };
    match (char::decode_utf16([first]).next(), second) {
        (Some(Ok(c)), _) => (c, 4),
        (_, Some(second)) => match char::decode_utf16([first, second]).next() {
            Some(Ok(c)) => (c, 10),
            _ => (char::REPLACEMENT_CHARACTER, 4),
        },
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

/// Whether JSON spells a number so.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = word.split_once(['e', 'E']).map_or((word, "0"), |parts| parts);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(fraction) && digits(exponent)
}

//! From what a model wrote as a call to a call of a tool, or to what is wrong with it.
use super::conversation::{AnswerPart, ToolCall};
use super::read::{QUOTE, ReadError, Reader};
use super::value::{Spacing, Value};

/// Longest call, in bytes: a whole source file as an argument, many times over. What follows is not kept.
const CALL_BYTES_MAX: usize = 1 << 20;
/// Longest name of a tool, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most calls in one list.
const CALLS_MAX: usize = 256;

/// Why what a model wrote is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum CallError {
    #[error("the answer was cut off inside the call")]
    Cut,
    #[error("the call is longer than {CALL_BYTES_MAX} bytes")]
    TooLong,
    #[error("the name of the tool is missing")]
    NoName,
    #[error("`{0}` is no name of a tool")]
    BadName(String),
    #[error("more than {CALLS_MAX} calls in one list")]
    TooMany,
    #[error("the arguments are no object")]
    NoObject,
    #[error("the arguments cannot be read: {0}")]
    Read(#[from] ReadError),
}

/// What closes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed<'m> {
    /// Its own mark.
    Mark(&'m str),
    /// The end of the model's turn, or something that can only come behind a call.
    ByTurn,
    /// The answer was cut off: more might have come, so nothing is taken for granted.
    Cut,
}

/// Names calls: the same answer gives the same names, in whichever process it is written.
#[derive(Debug, Clone)]
pub(super) struct CallIds {
    seed: u64,
    given: u64,
}

impl CallIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, given: 0 }
    }

    fn next(&mut self) -> String {
        self.given += 1;
        // SplitMix64, twice, so that neither neighbouring seeds nor neighbouring calls meet.
        let id = mixed(mixed(self.seed).wrapping_add(self.given));
        format!("call_{:08x}", id >> 32)
    }
}

fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A call as it is being written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    opened_by: String,
    text: String,
    /// Where in the text quote marks stand that came as tokens of their own.
    quotes: Vec<usize>,
    is_too_long: bool,
}

impl Written {
    pub(super) fn new(opened_by: &str) -> Self {
        let opened_by = opened_by.to_owned();
        Self { opened_by, text: String::new(), quotes: Vec::new(), is_too_long: false }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.is_too_long |= self.text.len() + self.quotes.len() * QUOTE.len() + bytes > CALL_BYTES_MAX;
        !self.is_too_long
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.has_room(text.len()) {
            self.text.push_str(text);
        }
    }

    pub(super) fn push_quote(&mut self) {
        if self.has_room(QUOTE.len()) {
            self.quotes.push(self.text.len());
        }
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether a text within the call is still open, so that a closing mark may be part of it.
    pub(super) fn is_inside_text(&self) -> bool {
        !self.is_too_long && matches!(self.calls(), Err(CallError::Read(ReadError::OpenText)))
    }

    /// The calls of it, or what is wrong.
    pub(super) fn close(self, closed: Closed<'_>, ids: &mut CallIds) -> Vec<AnswerPart> {
        let read = match closed {
            _ if self.is_too_long => Err(CallError::TooLong),
            Closed::Cut => Err(CallError::Cut),
            Closed::Mark(_) | Closed::ByTurn => self.calls(),
        };
        match read {
            Ok(calls) => calls
                .into_iter()
                .map(|(name, arguments)| {
                    AnswerPart::Call(ToolCall {
                        id: ids.next(),
                        name,
                        arguments: arguments.json(Spacing::None),
                    })
                })
                .collect(),
            Err(error) => {
                let close = if let Closed::Mark(mark) = closed { mark } else { "" };
                vec![AnswerPart::BadCall { written: self.spelled(close), fault: error.to_string() }]
            }
        }
    }

    /// What was written, with the marks as text.
    fn spelled(&self, close: &str) -> String {
        let mut spelled = self.opened_by.clone();
        let mut from = 0;
        for quote in &self.quotes {
            spelled.push_str(self.text.get(from..*quote).unwrap_or_default());
            spelled.push_str(QUOTE);
            from = *quote;
        }
        spelled.push_str(self.text.get(from..).unwrap_or_default());
        spelled.push_str(close);
        spelled
    }

    fn calls(&self) -> Result<Vec<(String, Value)>, CallError> {
        let unfenced = self.unfenced();
        let this = unfenced.as_ref().unwrap_or(self);
        this.read()
    }

    /// The call without the code fence that a model may put around it.
    fn unfenced(&self) -> Option<Self> {
        let (_, fenced) = self.text.trim_start().strip_prefix("```")?.split_once('\n')?;
        let inner = fenced.trim_end().strip_suffix("```").unwrap_or(fenced);
        let cut = self.text.len() - fenced.len();
        let quotes: Option<_> = self.quotes.iter().map(|quote| quote.checked_sub(cut)).collect();
        Some(Self { text: inner.to_owned(), quotes: quotes?, ..Self::new(&self.opened_by) })
    }

    fn read(&self) -> Result<Vec<(String, Value)>, CallError> {
        let begin = self.text.len() - self.text.trim_start().len();
        let written = self.text.trim_start();
        if written.starts_with(['{', '[']) {
            let value = Reader::new(&self.text, &self.quotes, begin).whole()?;
            return named_calls(&value);
        }
        // Gemma's way: `call:name{…}`. The word is left out at times.
        let behind =
            written.strip_prefix("call").map(str::trim_start).and_then(|rest| rest.strip_prefix(':'));
        let begin = self.text.len() - behind.unwrap_or(written).len();
        let first_quote = self.quotes.first().copied().unwrap_or(self.text.len());
        let run = self.text.get(begin..first_quote).unwrap_or_default();
        let name_bytes = run.find('{').unwrap_or(run.len());
        let name = checked_name(run.get(..name_bytes).unwrap_or_default())?;
        let at = begin + name_bytes;
        if at == self.text.len() && self.quotes.is_empty() {
            return Ok(vec![(name, Value::Dict(Vec::new()))]); // a tool that takes nothing
        }
        match Reader::new(&self.text, &self.quotes, at).whole()? {
            arguments @ Value::Dict(_) => Ok(vec![(name, arguments)]),
            _ => Err(CallError::NoObject),
        }
    }
}

/// Calls as JSON: an object with name and arguments, or a list of such.
fn named_calls(value: &Value) -> Result<Vec<(String, Value)>, CallError> {
    match value {
        Value::List(list) if list.is_empty() => Err(CallError::NoName),
        Value::List(list) if list.len() > CALLS_MAX => Err(CallError::TooMany),
        Value::List(list) => list.iter().map(named_call).collect(),
        value => Ok(vec![named_call(value)?]),
    }
}

fn named_call(value: &Value) -> Result<(String, Value), CallError> {
    // As OpenAI writes it: the call is the object's `function`.
    let value = value.get("function").filter(|function| function.dict().is_some()).unwrap_or(value);
    let name = checked_name(value.get("name").and_then(Value::text).ok_or(CallError::NoName)?)?;
    let arguments = match value.get("arguments").or_else(|| value.get("parameters")) {
        None | Some(Value::Null) => Value::Dict(Vec::new()),
        Some(Value::Text(text)) if text.trim().is_empty() => Value::Dict(Vec::new()),
        Some(Value::Text(text)) => Reader::new(text, &[], 0).whole()?,
        Some(arguments) => arguments.clone(),
    };
    if arguments.dict().is_some() { Ok((name, arguments)) } else { Err(CallError::NoObject) }
}

fn checked_name(name: &str) -> Result<String, CallError> {
    let name = name.trim();
    let is_name = |c: char| c.is_alphanumeric() || "_-.:/".contains(c);
    if name.is_empty() {
        return Err(CallError::NoName);
    }
    if name.len() > NAME_BYTES_MAX || !name.chars().all(is_name) {
        return Err(CallError::BadName(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(name.to_owned())
}

//! Keeps what strangers wrote out of a template: it gets stand-ins, and what it wrote around them is its own.
//!
//! A stand-in is four characters of a private-use plane. It has no blanks, no case, and a length that is not 0, so it survives what
//! templates usually do: `trim` (the blanks around a text are passed as they are), tests for emptiness, comparisons with each
//! other, `tojson`. What looks into a text does not see it: `split`, `replace`, `in`, slices, `upper` and exact lengths. A stand-in
//! that is cut in pieces is an error, not a prompt.
use std::collections::HashMap;
use std::rc::Rc;

use crate::chat::ChatError;
use crate::chat::prompt::Prompt;
use crate::chat::value::push_escaped;

/// Begins a stand-in. The seven characters behind it say how often the text is to be written as JSON within JSON.
const HEAD: u32 = 0xf_0000;
/// How deep JSON may stand within JSON.
const JSON_DEPTH_MAX: u32 = 7;
/// Begins the stand-in of a picture or a recording.
const MEDIA: u32 = 0xf_0010;
/// The first of 256 digits.
const DIGIT: u32 = 0xf_0100;
/// Digits of a stand-in.
const DIGITS: u32 = 3;
/// All characters of stand-ins.
const RESERVED: std::ops::Range<u32> = HEAD..DIGIT + 256;
/// Longest name that a template may see, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Whether a text holds characters of stand-ins.
pub(super) fn has_reserved(text: &str) -> bool {
    text.chars().any(|c| RESERVED.contains(&u32::from(c)))
}

/// Without the characters of stand-ins, for an error that a template words with its texts.
pub(super) fn without_reserved(text: &str) -> String {
    text.chars().filter(|c| !RESERVED.contains(&u32::from(*c))).collect()
}

/// JSON text around stand-ins: their texts have to be written as JSON, too. `None` if that is too deep.
pub(super) fn as_json(json: &str) -> Option<String> {
    json.chars()
        .map(|c| match u32::from(c) {
            head @ HEAD..MEDIA if head - HEAD < JSON_DEPTH_MAX => char::from_u32(head + 1),
            HEAD..MEDIA => None,
            _ => Some(c),
        })
        .collect()
}

/// The texts of a conversation and their stand-ins.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, usize>,
}

fn stand_in(head: u32, number: usize) -> String {
    let digit = |place: u32| (number >> (8 * place)) as u32 & 0xff;
    let codes = std::iter::once(head).chain((0..DIGITS).map(|place| DIGIT + digit(place)));
    codes.filter_map(char::from_u32).collect()
}

/// What a text or a media piece has become.
pub(super) struct Put {
    /// For the template.
    pub(super) text: String,
    /// The stand-in's number, if it needed one.
    pub(super) number: Option<usize>,
}

impl Texts {
    /// The stand-in for a text. Equal texts have equal ones.
    pub(super) fn put(&mut self, text: &str) -> Put {
        let core = text.trim();
        if core.is_empty() {
            return Put { text: text.to_owned(), number: None };
        }
        let number = self.numbers.get(core).copied().unwrap_or_else(|| {
            let core: Rc<str> = core.into();
            self.numbers.insert(Rc::clone(&core), self.texts.len());
            self.texts.push(core);
            self.texts.len() - 1
        });
        let before = text.len() - text.trim_start().len();
        let before = text.get(..before).unwrap_or_default();
        let behind = text.get(text.trim_end().len()..).unwrap_or_default();
        Put { text: format!("{before}{}{behind}", stand_in(HEAD, number)), number: Some(number) }
    }

    /// A name or a word of a schema: a template may see it, and decide by it, unless it could be taken for more than a name.
    pub(super) fn put_name(&mut self, name: &str, marks: &Marks) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain) && !marks.are_in(name) {
            return name.to_owned();
        }
        self.put(name).text
    }

    /// The stand-in for a picture or a recording.
    pub(super) fn media(number: usize) -> String {
        stand_in(MEDIA, number)
    }

    /// What the template wrote, as pieces, and the numbers of the texts in it.
    pub(super) fn pieces(&self, written: &str, marks: &Marks) -> Result<(Prompt, Vec<bool>), ChatError> {
        let mut prompt = Prompt::default();
        let mut used = vec![false; self.texts.len()];
        let mut rest = written;
        while let Some(at) = rest.find(|c| RESERVED.contains(&u32::from(c))) {
            let (own, behind) = rest.split_at(at);
            marks.split(own, &mut prompt);
            let mut chars = behind.chars();
            let head = chars.next().map_or(0, u32::from);
            let number = number(&mut chars).ok_or(ChatError::TextTakenApart)?;
            match head {
                MEDIA => drop(prompt.media(number)),
                HEAD..MEDIA => {
                    let text = self.texts.get(number).ok_or(ChatError::TextTakenApart)?;
                    prompt.text(&escaped(text, head - HEAD));
                    if let Some(used) = used.get_mut(number) {
                        *used = true;
                    }
                }
                _ => return Err(ChatError::TextTakenApart),
            }
            rest = chars.as_str();
        }
        marks.split(rest, &mut prompt);
        Ok((prompt, used))
    }
}

fn number(chars: &mut std::str::Chars<'_>) -> Option<usize> {
    let mut number = 0;
    for place in 0..DIGITS {
        let digit = u32::from(chars.next()?).checked_sub(DIGIT).filter(|digit| *digit < 256)?;
        number |= (digit as usize) << (8 * place);
    }
    Some(number)
}

fn escaped(text: &str, depth: u32) -> String {
    (0..depth).fold(text.to_owned(), |text, _| {
        let mut out = String::new();
        push_escaped(&text, &mut out);
        out
    })
}

/// The texts of the special tokens, to be found in what a template wrote.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// By their first character; the longest first.
    by_first: HashMap<char, Vec<String>>,
}

impl Marks {
    pub(super) fn new(marks: &[String]) -> Self {
        let mut by_first: HashMap<char, Vec<String>> = HashMap::new();
        for mark in marks.iter().filter(|mark| !mark.trim().is_empty()) {
            if let Some(first) = mark.chars().next() {
                by_first.entry(first).or_default().push(mark.clone());
            }
        }
        by_first.values_mut().for_each(|list| list.sort_by_key(|mark| std::cmp::Reverse(mark.len())));
        Self { by_first }
    }

    fn at_start(&self, text: &str) -> Option<&String> {
        let list = text.chars().next().and_then(|first| self.by_first.get(&first))?;
        list.iter().find(|mark| text.starts_with(mark.as_str()))
    }

    fn are_in(&self, text: &str) -> bool {
        text.char_indices().any(|(at, _)| text.get(at..).is_some_and(|rest| self.at_start(rest).is_some()))
    }

    /// A text of the template itself, its marks apart.
    fn split(&self, text: &str, prompt: &mut Prompt) {
        let (mut begin, mut at) = (0, 0);
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            match text.get(at..).and_then(|rest| self.at_start(rest)) {
                Some(mark) => {
                    prompt.text(text.get(begin..at).unwrap_or_default()).mark(mark.clone());
                    at += mark.len();
                    begin = at;
                }
                None => at += c.len_utf8(),
            }
        }
        prompt.text(text.get(begin..).unwrap_or_default());
    }
}

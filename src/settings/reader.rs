//! Reads settings field by field and collects every fault on the way, so that a person sees all of them at once.
//!
//! One call per field names it, its default and its range; this is the one place where a default is written. Each call also notes
//! the value that holds and where it came from, which is what `archond config show` and `archond archon show` print.
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::environment::Environment;
use super::fault::{Fault, Place, Span, nearest};
use super::scan::{Field, Node, Shape, outline};
use super::values::Setting;

/// Faults of one file that are shown: more than anyone mends before trying again. Each carries the line that it is in, so a hostile
/// file of one long line would otherwise fill the memory.
const FAULTS_MAX: usize = 100;

/// The value of one setting that holds, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Its full name: `limits.answer_tokens_max`.
    pub name: String,
    /// The value.
    pub value: serde_json::Value,
    /// Who said so.
    pub from: Provenance,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// Nobody said otherwise.
    Default,
    /// This line of the file.
    File(usize),
    /// This environment variable.
    Env(String),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "line {line}"),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

/// One settings file while it is read.
#[derive(Debug)]
pub struct Sheet<'e> {
    path: PathBuf,
    text: String,
    /// Where its lines end: asked for with every value.
    line_ends: Vec<usize>,
    env: Option<&'e Environment>,
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    faults: Vec<Fault>,
    /// Faults beyond those, with the place of the first.
    more: Option<(usize, Span)>,
    effective: Vec<Effective>,
}

impl<'e> Sheet<'e> {
    /// A file's text. `path` is only shown.
    pub fn new(path: &Path, text: String) -> Self {
        let line_ends = text.match_indices('\n').map(|(end, _)| end).collect();
        Self { path: path.to_owned(), text, line_ends, env: None, found: RefCell::default() }
    }

    /// Lets an environment variable `ARCHOND_<FIELD>` override each field.
    #[must_use]
    pub fn overridden_by(mut self, env: &'e Environment) -> Self {
        self.env = Some(env);
        self
    }

    /// The outermost group. An empty text is an empty group; a text that is no group at all is a fault, and `None`.
    pub fn top(&self) -> Option<Group<'_>> {
        let outline = outline(&self.text);
        let readable = outline.faults.is_empty();
        for (span, message, hint) in outline.faults {
            self.fault(span, message, hint);
        }
        let top = match outline.top {
            Some(node) => node,
            None if readable => {
                let span = Span { start: 0, end: 0 };
                Node { span, shape: Shape::Group { fields: Vec::new(), complete: true } }
            }
            None => return None,
        };
        Some(Group::new(self, String::new(), top))
    }

    /// Notes a fault.
    pub fn fault(&self, span: Span, message: impl Into<String>, hint: Option<String>) {
        let mut found = self.found.borrow_mut();
        if found.faults.len() >= FAULTS_MAX {
            let (count, first) = found.more.unwrap_or((0, span));
            found.more = Some((count + 1, first));
            return;
        }
        let place = Some(Place::of(&self.text, span.start));
        found.faults.push(Fault { path: self.path.clone(), place, message: message.into(), hint });
    }

    /// Notes a fault that is not in this file.
    pub fn report(&self, fault: Fault) {
        self.found.borrow_mut().faults.push(fault);
    }

    fn note(&self, name: String, value: &impl Serialize, from: Provenance) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.found.borrow_mut().effective.push(Effective { name, value, from });
    }

    /// The effective values, or the faults, in the order of the text; of very many only the first.
    pub fn finish(self) -> Result<Vec<Effective>, Vec<Fault>> {
        let Found { mut faults, more, effective } = self.found.into_inner();
        if faults.is_empty() {
            return Ok(effective);
        }
        faults.sort_by_key(|fault| fault.place.as_ref().map(|place| (place.line, place.column)));
        if let Some((count, first)) = more {
            let place = Some(Place::of(&self.text, first.start));
            let message = format!("{count} more faults are not shown");
            let hint = Some("mend those above first".to_owned());
            faults.push(Fault { path: self.path, place, message, hint });
        }
        Err(faults)
    }

    fn source(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn line(&self, span: Span) -> usize {
        self.line_ends.partition_point(|end| *end < span.start) + 1
    }

    /// Reads one value with `ron`; the fault says what should be there, and stands where `ron` stumbled.
    fn leaf<T: Setting>(&self, name: &str, span: Span) -> Option<T> {
        let text = self.source(span);
        let error = match parse(text) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let shown = shorten(text);
        let (offset, message) = match error.code {
            ron::Error::Message(detail) => (0, format!("`{name}`: {detail}")),
            ron::Error::InvalidEscape(detail) => (
                offset_of(text, error.span.end).saturating_sub(1),
                format!("`{name}` has a bad escape: {detail}"),
            ),
            _ => (0, format!("`{name}` needs {}, not `{shown}`", T::WRITTEN)),
        };
        let start = span.start + offset.min(text.len());
        self.fault(Span { start, end: span.end }, message, None);
        None
    }
}

/// A list's item, or a single value, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is written; the group, if it is the default.
    pub span: Span,
}

/// A group `( field: value, .. )` while it is read. Ends with [`Group::finish`], which reports the fields that nobody asked for.
#[derive(Debug)]
#[must_use = "call finish(), or unknown fields are not reported"]
pub struct Group<'s> {
    sheet: &'s Sheet<'s>,
    prefix: String,
    span: Span,
    fields: Vec<Field>,
    complete: bool,
    asked: Vec<&'static str>,
}

impl<'s> Group<'s> {
    fn new(sheet: &'s Sheet<'_>, prefix: String, node: Node) -> Self {
        let (fields, complete) = match node.shape {
            Shape::Group { fields, complete } => (fields, complete),
            Shape::List(_) | Shape::Leaf => (Vec::new(), false),
        };
        let mut group =
            Self { sheet, prefix, span: node.span, fields: Vec::new(), complete, asked: Vec::new() };
        let mut known: HashMap<String, Span> = HashMap::new();
        for field in fields {
            match known.entry(field.name.clone()) {
                Entry::Occupied(first) => {
                    let line = sheet.line(*first.get());
                    let hint = Some("remove one of them".to_owned());
                    sheet.fault(field.span, format!("`{}` is already in line {line}", field.name), hint);
                }
                Entry::Vacant(place) => {
                    place.insert(field.span);
                    group.fields.push(field);
                }
            }
        }
        group
    }

    /// Where a field's value is written; the group itself, if it is not.
    pub fn span_of(&self, name: &str) -> Span {
        let field = self.fields.iter().find(|field| field.name == name);
        field.map_or(self.span, |field| field.value.as_ref().map_or(field.span, |node| node.span))
    }

    /// Notes a fault at a field.
    pub fn fault(&self, name: &str, message: impl Into<String>, hint: Option<String>) {
        self.sheet.fault(self.span_of(name), message, hint);
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the field is written, and its value unless that could not be read.
    fn take(&mut self, name: &'static str) -> (bool, Option<Node>) {
        self.asked.push(name);
        let field = self.fields.iter_mut().find(|field| field.name == name);
        field.map_or((false, None), |field| {
            // The place stays behind for cross-checks; the shape is used up.
            let taken = field
                .value
                .as_mut()
                .map(|node| Node { span: node.span, shape: std::mem::replace(&mut node.shape, Shape::Leaf) });
            (true, taken)
        })
    }

    /// A field that may be left out.
    pub fn value<T: Setting>(
        &mut self,
        name: &'static str,
        default: T,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> T {
        let full = self.full(name);
        let (_, node) = self.take(name);
        let written = node.and_then(|node| {
            let value = self.checked(name, node.span, &check)?;
            Some((value, Provenance::File(self.sheet.line(node.span))))
        });
        let overriding = self.overriding(&full, |text| {
            let value =
                parse_loose(text).ok_or_else(|| format!("needs {}, not `{}`", T::WRITTEN, shorten(text)))?;
            check(&value).map(|()| value)
        });
        let (value, from) = overriding.or(written).unwrap_or((default, Provenance::Default));
        self.sheet.note(full, &value, from);
        value
    }

    /// A field that must be there. `why` says what it is for.
    pub fn required<T: Setting>(
        &mut self,
        name: &'static str,
        why: &str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Option<Located<T>> {
        let full = self.full(name);
        let (written, node) = self.take(name);
        let Some(node) = node else {
            if !written && self.complete {
                self.sheet.fault(self.span, format!("`{full}` is missing"), Some(format!("add it: {why}")));
            }
            return None;
        };
        let value = self.checked(name, node.span, &check)?;
        self.sheet.note(full, &value, Provenance::File(self.sheet.line(node.span)));
        Some(Located { value, span: node.span })
    }

    /// A list that may be left out. Each item is read and checked on its own.
    pub fn list<T: Setting>(
        &mut self,
        name: &'static str,
        default: &[T],
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Vec<Located<T>> {
        let full = self.full(name);
        let (_, node) = self.take(name);
        let written = node.and_then(|node| {
            let from = Provenance::File(self.sheet.line(node.span));
            let Shape::List(items) = node.shape else {
                let shown = shorten(self.sheet.source(node.span));
                self.sheet.fault(node.span, format!("`{name}` needs a list `[ .. ]`, not `{shown}`"), None);
                return None;
            };
            let read = |item: Node| {
                let value = self.checked(name, item.span, &check)?;
                Some(Located { value, span: item.span })
            };
            Some((items.into_iter().filter_map(read).collect(), from))
        });
        let span = self.span;
        let overriding = self.overriding(&full, |text| {
            let items: Option<Vec<T>> = text.split(',').map(|item| parse_loose(item.trim())).collect();
            let items = items.ok_or_else(|| format!("needs {}, several with commas between", T::WRITTEN))?;
            items.iter().try_for_each(&check)?;
            Ok(items.into_iter().map(|value| Located { value, span }).collect())
        });
        let default = || default.iter().map(|value| Located { value: value.clone(), span }).collect();
        let (items, from): (Vec<Located<T>>, _) =
            overriding.or(written).unwrap_or_else(|| (default(), Provenance::Default));
        let values: Vec<&T> = items.iter().map(|item| &item.value).collect();
        self.sheet.note(full, &values, from);
        items
    }

    /// A nested group. One that is left out is read as an empty one, so that its defaults hold.
    pub fn group(&mut self, name: &'static str) -> Group<'s> {
        let prefix = format!("{}.", self.full(name));
        let (written, node) = self.take(name);
        let node = node.unwrap_or(Node {
            span: self.span,
            shape: Shape::Group { fields: Vec::new(), complete: self.complete && !written },
        });
        self.nested(name, prefix, node)
    }

    /// A list of groups; none when it is left out.
    pub fn groups(&mut self, name: &'static str) -> Vec<Group<'s>> {
        let full = self.full(name);
        let (_, node) = self.take(name);
        let Some(node) = node else { return Vec::new() };
        let Shape::List(items) = node.shape else {
            self.sheet.fault(node.span, format!("`{name}` needs a list of groups `[ (..), .. ]`"), None);
            return Vec::new();
        };
        let nest = |(index, item)| self.nested(name, format!("{full}[{index}]."), item);
        items.into_iter().enumerate().map(nest).collect()
    }

    fn nested(&self, name: &str, prefix: String, node: Node) -> Group<'s> {
        if !matches!(node.shape, Shape::Group { .. }) {
            let shown = shorten(self.sheet.source(node.span));
            let message = format!("`{name}` needs a group `( field: value, .. )`, not `{shown}`");
            self.sheet.fault(node.span, message, None);
        }
        Group::new(self.sheet, prefix, node)
    }

    /// Reports the fields that nobody asked for.
    pub fn finish(self) {
        for field in &self.fields {
            if self.asked.iter().any(|name| *name == field.name) {
                continue;
            }
            let hint = match nearest(&field.name, self.asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.sheet.fault(field.span, format!("unknown field `{}`", field.name), Some(hint));
        }
    }

    fn checked<T: Setting>(
        &self,
        name: &str,
        span: Span,
        check: &impl Fn(&T) -> Result<(), String>,
    ) -> Option<T> {
        let value = self.sheet.leaf(name, span)?;
        match check(&value) {
            Ok(()) => Some(value),
            Err(rule) => {
                self.sheet.fault(span, format!("`{name}` {rule}"), None);
                None
            }
        }
    }

    fn overriding<V>(&self, full: &str, read: impl Fn(&str) -> Result<V, String>) -> Option<(V, Provenance)> {
        let name = Environment::name_of(full);
        let text = self.sheet.env?.get(&name)?;
        let outcome = text.to_str().ok_or_else(|| "is not valid UTF-8".to_owned()).and_then(read);
        match outcome {
            Ok(value) => Some((value, Provenance::Env(name))),
            Err(rule) => {
                let fault = Fault::of_file(Path::new(&format!("${name}")), format!("`{full}` {rule}"));
                self.sheet.report(fault);
                None
            }
        }
    }
}

/// Every value is good.
pub fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

/// The value lies in the range. `unit` is shown behind the numbers, with its space.
pub fn within<T: PartialOrd + fmt::Display>(
    range: RangeInclusive<T>,
    unit: &'static str,
) -> impl Fn(&T) -> Result<(), String> {
    move |value| {
        if range.contains(value) {
            return Ok(());
        }
        Err(format!("must be {} to {}{unit}, is {value}", range.start(), range.end()))
    }
}

fn parse<T: Setting>(text: &str) -> ron::error::SpannedResult<T> {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME).from_str(text)
}

/// As [`parse`], but the quotes of a text may be left out: `ARCHOND_LOG_LEVEL=debug`.
fn parse_loose<T: Setting>(text: &str) -> Option<T> {
    parse(text).ok().or_else(|| parse(&ron::to_string(text).ok()?).ok())
}

/// A byte offset from `ron`'s line and column.
fn offset_of(text: &str, position: ron::error::Position) -> usize {
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(position.line.saturating_sub(1)).map(str::len).sum();
    let line = lines.next().unwrap_or_default();
    before + line.chars().take(position.col.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
}

/// The first line of a text, cut to what a message can carry.
fn shorten(text: &str) -> String {
    /// Enough to know the place again.
    const CHARS_MAX: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(CHARS_MAX).collect();
    if shown.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}

//! Strings: of limited length, with a pattern, of a format.
use serde_json::Value;

use super::GrammarError;
use super::automaton::Automaton;
use super::charset::CharSet;
use super::merge::Schema;
use super::pattern;
use super::rule::Rule;
use super::schema::Compiler;
use super::syntax::TEXT_STATES_MAX;

/// Longest text whose characters are counted: each of them is a rule.
const COUNTED_MAX: usize = 300;
/// Most states of one text: enough for [`COUNTED_MAX`] in Gemma 4's syntax.
const STATES_MAX: usize = 1200;

const DATE: &str = r"([12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|([12]\d(0[48]|[2468][048]|[13579][26])|(1[26]|2[048])00)-02-29)";
const TIME: &str = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)";
const BYTE: &str = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)";
/// A part of a mail address's domain: no two dashes in a row, which stand for a name in other letters.
const LABEL: &str = "[A-Za-z0-9](-?[A-Za-z0-9]){0,29}";
/// A part of a mail address before the `@`.
const ATOM: &str = "[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,20}";

/// A format's pattern; `None` where it is not known.
fn format_pattern(format: &str) -> Option<String> {
    Some(match format {
        "date" => format!("^{DATE}$"),
        "time" => format!("^{TIME}$"),
        "date-time" => format!("^{DATE}T{TIME}$"),
        "uuid" => "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$".to_owned(),
        "ipv4" => format!(r"^{BYTE}(\.{BYTE}){{3}}$"),
        "email" => format!(r"^{ATOM}(\.{ATOM}){{0,2}}@{LABEL}(\.{LABEL}){{0,3}}$"),
        _ => return None,
    })
}

impl Compiler<'_> {
    pub(super) fn string(&mut self, schema: &Schema, place: &str) -> Result<Rule, GrammarError> {
        let count = |name: &str| {
            let count = schema.get(name).and_then(Value::as_u64)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        };
        let (min, max) = (count("minLength").unwrap_or(0), count("maxLength"));
        if max.is_some_and(|max| max < min) {
            return Ok(Rule::NEVER);
        }
        let mut texts: Option<Automaton> = None;
        for keyword in ["pattern", "format"] {
            let Some(written) = schema.get(keyword).and_then(Value::as_str) else { continue };
            let read = match keyword {
                "pattern" => pattern::automaton(written),
                _ => format_pattern(written).and_then(|pattern| pattern::automaton(&pattern)),
            };
            let both = match (&texts, read) {
                (None, read) => read,
                (Some(texts), Some(read)) => texts.and(&read, STATES_MAX),
                (Some(_), None) => None,
            };
            match both {
                Some(both) => texts = Some(both),
                None => self.widen(place, keyword, "is not enforced"),
            }
        }
        if min > 0 || max.is_some() {
            let counted = max.filter(|max| *max <= COUNTED_MAX);
            if min > COUNTED_MAX || counted != max {
                self.widen(place, "minLength/maxLength", "is counted up to 300 only");
            }
            let length = Automaton::of_length(&CharSet::all(), min.min(COUNTED_MAX), counted);
            let both = match &texts {
                None => Some(length),
                Some(texts) => texts.and(&length, STATES_MAX),
            };
            match both {
                Some(both) => texts = Some(both),
                None => self.widen(place, "minLength/maxLength", "is not enforced beside the pattern"),
            }
        }
        match texts {
            None => self.syntax.free_text(self.gbnf),
            Some(texts) => self.limited_text(&texts, place),
        }
    }

    fn limited_text(&mut self, texts: &Automaton, place: &str) -> Result<Rule, GrammarError> {
        if texts.states.is_empty() {
            return Ok(Rule::NEVER);
        }
        let limited = self.syntax.limited(texts, STATES_MAX);
        let states = limited.as_ref().map_or(usize::MAX, |limited| limited.states.len());
        if states == 0 {
            self.widen(place, "pattern", "asks for marks of the syntax: any text fits");
        } else if let Some(limited) = limited {
            let base = if self.syntax.tag() == "json" { "json-limited" } else { "call-limited" };
            let is_known = self.gbnf.automata.contains_key(&(base, limited.clone()));
            if is_known || self.gbnf.automaton_states + states <= TEXT_STATES_MAX {
                return self.syntax.text(self.gbnf, base, &limited, false);
            }
            self.widen(place, "pattern/maxLength", "is not enforced: too many texts are limited");
        } else {
            self.widen(place, "pattern/maxLength", "is not enforced: it is too large");
        }
        self.syntax.free_text(self.gbnf)
    }
}

//! Which texts a model may write: grammars in llama.cpp's GBNF, made from JSON schemas.
//!
//! A model that calls a tool, or that is asked for JSON, is held to the schema while it writes, token by token. A schema says more than a
//! grammar can: what cannot be said is left open, never refused, and told as a [`Widening`].
//!
//! A grammar is narrower than its schema where a model would only go astray: an object with declared properties has no others unless
//! `additionalProperties` asks for them, and a list with `prefixItems` none unless `items` or `minItems` do; values of any type are nested
//! 8 deep; numbers without bounds have up to 16 digits; mail addresses have their usual form, dates the years 1000 to 2999; an answer makes
//! up to 16 calls. And where Gemma 4's calls, which know no escapes, cannot say a thing: texts hold no marks, those of limited length or with
//! a pattern neither `<|` nor `|>`, of which marks are made; no text holds the characters 0 to 7.
//!
//! Of the declared keys of an object each has its place: in JSON that of the schema's text, in Gemma 4's calls that of the alphabet. Values
//! lose nothing by it, since the order of keys means nothing, and the grammar stays small.
//!
//! Nothing here talks to llama.cpp. What it reads was written here in full, grammars of others too, so that it finds nothing to stumble over.
mod automaton;
mod calls;
mod charset;
mod finish;
mod merge;
mod number;
mod object;
mod order;
mod pattern;
mod reader;
mod rule;
mod schema;
mod syntax;
#[cfg(test)]
pub(crate) mod tests;
mod texts;

use thiserror::Error;

pub use calls::{Constraint, Mark, Style, Trigger, for_answer, for_calls, for_shape};

/// Why there is no grammar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrammarError {
    /// It is not JSON text.
    #[error("the schema is not JSON: {detail}")]
    NotJson {
        /// What the parser says.
        detail: String,
    },
    /// It is JSON, but no schema.
    #[error("at `{place}`: a schema is an object, `true` or `false`")]
    NotASchema {
        /// Where, as a JSON pointer.
        place: String,
    },
    /// A reference leads nowhere.
    #[error("at `{place}`: `$ref` names `{target}`, which is not in this schema")]
    NoSuchReference {
        /// Where, as a JSON pointer.
        place: String,
        /// What it names.
        target: String,
    },
    /// No value fits.
    #[error("nothing satisfies the schema")]
    Unsatisfiable,
    /// It is, or becomes, too large.
    #[error("the schema or grammar is too large: {found} {what}, at most {max}")]
    SchemaTooLarge {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// It is nested too deeply.
    #[error("the schema or grammar is nested too deeply: at most {max} levels")]
    TooDeep {
        /// How deep it may be.
        max: usize,
    },
    /// A call of a tool that is not declared is asked for.
    #[error("a call of `{name}` is asked for, but there is no such tool")]
    NoSuchTool {
        /// Its name; empty where any tool would do.
        name: String,
    },
    /// The name of a tool cannot be written in a call.
    #[error(
        "the name `{name}` of a tool has other characters than letters, digits, `_`, `-`, `.`, `/` and `:`"
    )]
    BadToolName {
        /// The name.
        name: String,
    },
    /// The text is no grammar.
    #[error("line {line} of the grammar: expected {wanted}")]
    NotAGrammar {
        /// Where, from 1.
        line: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A grammar names a rule that it does not have.
    #[error("the grammar has no rule `{name}`")]
    NoSuchRule {
        /// The rule.
        name: String,
    },
    /// A rule begins with itself, or repeats nothing.
    #[error("the rule `{rule}` of the grammar begins with itself, or repeats the empty text")]
    LeftRecursion {
        /// The rule.
        rule: String,
    },
    /// llama.cpp would look for left recursion for too long.
    #[error("the rule `{rule}` of the grammar begins in too many ways")]
    TooEntangled {
        /// The rule.
        rule: String,
    },
}

/// Something that a schema asks for and a grammar does not enforce.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Widening {
    /// Where, as a JSON pointer.
    pub place: String,
    /// The keyword of the schema.
    pub keyword: String,
    /// What became of it.
    pub effect: &'static str,
}

impl std::fmt::Display for Widening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at `{}`: `{}` {}", self.place, self.keyword, self.effect)
    }
}

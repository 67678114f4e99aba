//! Grammars of whole answers: calls of tools, and answers of a given shape.
use serde_json::Value;

use super::automaton::Automaton;
use super::charset::LAST_RESERVED;
use super::order::Orders;
use super::reader;
use super::rule::{Gbnf, Rule};
use super::schema::{Compiler, parsed};
use super::syntax::{Syntax, write_states};
use super::{GrammarError, Widening};
use crate::chat::{AnswerForm, CallRule, Shape, Tool};

/// Most calls in one answer: a model must not call for ever.
const CALLS_MAX: u32 = 16;
/// Most tools: a list that a model can read.
const TOOLS_MAX: usize = 512;
/// What Gemma 4's format is made of. No text of a call holds any of it.
const GEMMA4_MARKS: [&str; 18] = [
    "<|\"|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|tool>",
    "<tool|>",
    "<|channel>",
    "<channel|>",
    "<|turn>",
    "<turn|>",
    "<|think|>",
    "<|image>",
    "<|image|>",
    "<image|>",
    "<|audio>",
    "<|audio|>",
    "<audio|>",
];
/// What encloses a call in the format of ChatML's families.
const CHATML_MARKS: [&str; 2] = ["<tool_call>", "</tool_call>"];

/// A mark of a format: one token of the vocabulary, or words where it has no such token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The token's number.
    Token(i32),
    /// The words.
    Words(String),
}

impl Mark {
    fn of(words: &str, token_of: &impl Fn(&str) -> Option<i32>) -> Self {
        token_of(words).filter(|token| *token >= 0).map_or_else(|| Self::Words(words.to_owned()), Self::Token)
    }

    fn rule(&self) -> Rule {
        match self {
            Self::Token(token) => Rule::Token(token.unsigned_abs()),
            Self::Words(words) => Rule::words(words),
        }
    }
}

/// The tokens of the reserved characters. They are never chosen: each stands beside a mark's token wherever a grammar allows that.
///
/// llama.cpp takes a mark's token, whose text begins with `<`, for allowed also where only a text may go on with `<` and the mark could
/// follow, and ends the process when it is chosen there. Whether a mark is allowed is therefore asked by its witness, whose text fits
/// nothing else.
fn witnesses(token_of: &impl Fn(&str) -> Option<i32>) -> Vec<u32> {
    let characters = (1..=LAST_RESERVED).filter_map(char::from_u32);
    characters.filter_map(|character| u32::try_from(token_of(&character.to_string())?).ok()).collect()
}

/// How a family of models writes calls.
#[derive(Debug, Clone)]
pub struct Style {
    open: Mark,
    close: Mark,
    /// Around a thought, with the words that follow the first mark.
    thought: Option<(Mark, &'static str, Mark)>,
    /// Of the arguments.
    calls: Syntax,
    /// Of an answer that is to be JSON.
    answers: Syntax,
    avoided: Vec<String>,
    witnesses: Vec<u32>,
}

impl Style {
    /// Gemma 4: `<|tool_call>call:NAME{key:<|"|>text<|"|>}<tool_call|>`. `token_of` finds the single token of a mark.
    pub fn gemma4(token_of: impl Fn(&str) -> Option<i32>) -> Self {
        let mark = |words: &str| Mark::of(words, &token_of);
        let avoided: Vec<String> = GEMMA4_MARKS.iter().map(|mark| (*mark).to_owned()).collect();
        let [quote, open, close, channel, channel_end] =
            ["<|\"|>", "<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>"].map(mark);
        Self {
            open,
            close,
            thought: Some((channel, "thought\n", channel_end)),
            calls: Syntax::gemma4(quote.rule(), avoided.clone()),
            answers: Syntax::json(avoided.clone()),
            avoided,
            witnesses: witnesses(&token_of),
        }
    }

    /// ChatML's families: `<tool_call>` and a JSON object with `name` and `arguments`.
    pub fn chatml(token_of: impl Fn(&str) -> Option<i32>) -> Self {
        let [open, close] = CHATML_MARKS.map(|words| Mark::of(words, &token_of));
        let avoided: Vec<String> = CHATML_MARKS.iter().map(|mark| (*mark).to_owned()).collect();
        let syntax = Syntax::json(avoided.clone());
        let witnesses = witnesses(&token_of);
        Self { open, close, thought: None, calls: syntax.clone(), answers: syntax, avoided, witnesses }
    }

    fn call(&self, gbnf: &mut Gbnf, tool: &Tool, widened: &mut Vec<Widening>) -> Result<Rule, GrammarError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
        if tool.name.is_empty() || !tool.name.chars().all(is_plain) {
            return Err(GrammarError::BadToolName { name: tool.name.clone() });
        }
        let mut own = Vec::new();
        let arguments = arguments(gbnf, &self.calls, tool, &mut own)?;
        widened.extend(own.into_iter().map(|mut widening| {
            widening.place.insert_str(0, &tool.name);
            widening
        }));
        let call = match &self.calls {
            Syntax::Gemma4 { .. } => Rule::sequence([Rule::words(&tool.name), arguments]),
            Syntax::Json { .. } => {
                Rule::sequence([Rule::words(format!("\"{}\", \"arguments\": ", tool.name)), arguments])
            }
        };
        gbnf.share(&tool.name, call)
    }

    /// One call of any of these tools, or several.
    fn calls(
        &self,
        gbnf: &mut Gbnf,
        tools: &[&Tool],
        many: bool,
        widened: &mut Vec<Widening>,
    ) -> Result<Rule, GrammarError> {
        if tools.len() > TOOLS_MAX {
            return Err(GrammarError::SchemaTooLarge { what: "tools", found: tools.len(), max: TOOLS_MAX });
        }
        let rules: Result<Vec<Rule>, _> = tools.iter().map(|tool| self.call(gbnf, tool, widened)).collect();
        let any = Rule::choice(rules?);
        let line = Rule::words("\n").optional();
        let (open, close) = (self.open.rule(), self.close.rule());
        let call = match &self.calls {
            Syntax::Gemma4 { .. } => Rule::sequence([open, Rule::words("call:"), any, close]),
            Syntax::Json { .. } => Rule::sequence([
                open,
                line.clone(),
                Rule::words("{\"name\": "),
                any,
                Rule::words("}"),
                line.clone(),
                close,
            ]),
        };
        let call = gbnf.share("call", call)?;
        if !many {
            return Ok(call);
        }
        let next = if matches!(self.calls, Syntax::Json { .. }) {
            Rule::sequence([line, call.clone()])
        } else {
            call.clone()
        };
        let next = gbnf.share("next-call", next)?;
        Ok(Rule::sequence([call, next.repeat(0, Some(CALLS_MAX - 1))]))
    }

    /// A thought before the answer, where the family has such.
    fn thought(&self, gbnf: &mut Gbnf) -> Result<Rule, GrammarError> {
        let Some((open, words, close)) = &self.thought else { return Ok(Rule::EMPTY) };
        let texts = Automaton::avoiding(&self.avoided);
        let content =
            write_states(gbnf, "thought", &texts, &close.rule(), &Rule::NEVER, |set| Rule::One(set.clone()))?;
        Ok(gbnf.share("thinking", Rule::sequence([open.rule(), Rule::words(*words), content]))?.optional())
    }

    fn shape(
        &self,
        gbnf: &mut Gbnf,
        shape: &Shape,
        widened: &mut Vec<Widening>,
    ) -> Result<Option<Rule>, GrammarError> {
        let schema = match shape {
            Shape::Free => return Ok(None),
            Shape::Grammar(text) => return reader::read(text, gbnf).map(Some),
            Shape::JsonObject => (serde_json::json!({ "type": "object" }), Orders::default()),
            Shape::JsonSchema(text) => parsed(text)?,
        };
        Compiler::new(gbnf, &self.answers, widened, schema).whole().map(Some)
    }
}

/// The arguments of a call are an object, whatever the schema says.
fn arguments(
    gbnf: &mut Gbnf,
    syntax: &Syntax,
    tool: &Tool,
    widened: &mut Vec<Widening>,
) -> Result<Rule, GrammarError> {
    let takes_nothing = tool.parameters.trim().is_empty();
    let (schema, orders) = match takes_nothing {
        true => (serde_json::json!({ "properties": {}, "additionalProperties": false }), Orders::default()),
        false => parsed(&tool.parameters)?,
    };
    let schema = match schema {
        Value::Bool(true) | Value::Null => serde_json::json!({ "type": "object" }),
        Value::Object(mut schema) => {
            if !schema.contains_key("$ref") || schema.contains_key("type") {
                schema.insert("type".to_owned(), "object".into());
            }
            Value::Object(schema)
        }
        other => other,
    };
    Compiler::new(gbnf, syntax, widened, (schema, orders)).whole()
}

/// What a model is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// The grammar in llama.cpp's GBNF, with the root `root`; `None` where only tokens are banned.
    pub gbnf: Option<String>,
    /// Where the grammar begins to hold: at once, or with this mark, which is its beginning.
    pub lazy: Option<Trigger>,
    /// Tokens that are never chosen.
    pub banned: Vec<i32>,
    /// The tokens that the grammar names, each with its witness: the mark is allowed where, and only where, the witness is, which itself is
    /// never chosen.
    pub marks: Vec<(i32, i32)>,
    /// What the schemas ask for and the grammar does not enforce.
    pub widened: Vec<Widening>,
}

/// What makes a grammar hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// This token.
    Token(i32),
    /// These words, spelled in any tokens.
    Words(String),
}

/// What the calls of an answer are held to; `None`: nothing.
pub fn for_calls(
    tools: &[Tool],
    rule: &CallRule,
    parallel: bool,
    style: &Style,
) -> Result<Option<Constraint>, GrammarError> {
    let form = AnswerForm { calls: rule.clone(), parallel_calls: parallel, ..AnswerForm::default() };
    for_answer(tools, &form, style)
}

/// What the words of an answer without tools are held to; `None`: nothing.
pub fn for_shape(shape: &Shape, style: &Style) -> Result<Option<Constraint>, GrammarError> {
    for_answer(&[], &AnswerForm { shape: shape.clone(), ..AnswerForm::default() }, style)
}

/// What an answer is held to, its calls and its words; `None`: nothing.
pub fn for_answer(
    tools: &[Tool],
    form: &AnswerForm,
    style: &Style,
) -> Result<Option<Constraint>, GrammarError> {
    let (mut gbnf, mut widened) = (Gbnf::default(), Vec::new());
    let named: Vec<&Tool> = match &form.calls {
        CallRule::Never => Vec::new(),
        CallRule::Free | CallRule::Required => tools.iter().collect(),
        CallRule::Named(name) => tools.iter().filter(|tool| tool.name == *name).take(1).collect(),
    };
    let must_call = match &form.calls {
        CallRule::Free | CallRule::Never => false,
        CallRule::Required if named.is_empty() => {
            return Err(GrammarError::NoSuchTool { name: String::new() });
        }
        CallRule::Named(name) if named.is_empty() => {
            return Err(GrammarError::NoSuchTool { name: name.clone() });
        }
        CallRule::Required | CallRule::Named(_) => true,
    };
    let calls = if named.is_empty() {
        None
    } else {
        Some(style.calls(&mut gbnf, &named, form.parallel_calls, &mut widened)?)
    };
    // A call that must be made leaves no room for other words.
    let words = if must_call { None } else { style.shape(&mut gbnf, &form.shape, &mut widened)? };
    let banned = match &style.open {
        Mark::Token(token) if form.calls == CallRule::Never => vec![*token],
        _ => Vec::new(),
    };
    let (root, lazy) = match (calls, words) {
        (Some(calls), None) if !must_call => (Some(calls), Some(style.trigger())),
        (None, None) => (style.without_calls(&mut gbnf, &form.calls)?, None),
        (calls, words) => {
            let thought = style.thought(&mut gbnf)?;
            (Some(Rule::sequence([thought, Rule::choice(calls.into_iter().chain(words))])), None)
        }
    };
    let (gbnf, marks) = match root {
        None if banned.is_empty() => return Ok(None),
        None => (None, Vec::new()),
        Some(root) => {
            let (text, marks) = gbnf.finish(root, &style.witnesses)?;
            (Some(text), marks)
        }
    };
    let number = |token: u32| i32::try_from(token).unwrap_or(i32::MAX);
    let marks = marks.into_iter().map(|(mark, witness)| (number(mark), number(witness))).collect();
    Ok(Some(Constraint { gbnf, lazy, banned, marks, widened }))
}

impl Style {
    /// Without a thought before the answer: where the model was told not to think.
    #[must_use]
    pub fn without_thought(mut self) -> Self {
        self.thought = None;
        self
    }

    fn trigger(&self) -> Trigger {
        match &self.open {
            Mark::Token(token) => Trigger::Token(*token),
            Mark::Words(words) => Trigger::Words(words.clone()),
        }
    }

    /// Any text in which no call begins. Where a token begins one, banning it is enough.
    fn without_calls(&self, gbnf: &mut Gbnf, rule: &CallRule) -> Result<Option<Rule>, GrammarError> {
        let (CallRule::Never, Mark::Words(open)) = (rule, &self.open) else { return Ok(None) };
        let texts = Automaton::avoiding(std::slice::from_ref(open));
        let rule =
            write_states(gbnf, "words", &texts, &Rule::EMPTY, &Rule::NEVER, |set| Rule::One(set.clone()))?;
        Ok(Some(rule))
    }
}

//! A conversation as a model file's own template writes it.
//!
//! The template is the model maker's and knows no more of the texts than their place, see [`texts`]. It is bounded in steps, in
//! length and in what it writes. It is not bounded in memory: doubling a text forty times is forty steps. So render only where the
//! process may die of it, as a model worker may.
mod context;
mod engine;
mod texts;

use minijinja::Environment;

use super::conversation::{Conversation, Role, Turn};
use super::prompt::{Piece, instructions, words};
use super::{ChatError, Vocabulary};
use context::Context;
use texts::Marks;

/// A template that was read.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    marks: Marks,
    bos: Option<String>,
    eos: String,
    is_gemma: bool,
}

/// Whether a template renders conversations at all: said once, and with instructions and a past.
pub fn check(template: &str, vocabulary: &Vocabulary) -> Result<(), ChatError> {
    let template = Template::new(template, vocabulary)?;
    let turn = |role, text: &str| Turn::text(role, text);
    let once = Conversation { turns: vec![turn(Role::User, "Hello!")], ..Conversation::default() };
    let past =
        [turn(Role::User, "Hello!"), turn(Role::Assistant, "Hello."), turn(Role::User, "Who are you?")];
    let more =
        Conversation { system: "Be kind.".to_owned(), turns: past.to_vec(), ..Conversation::default() };
    template.render(&once)?;
    template.render(&more).map(drop)
}

impl Template {
    pub(super) fn new(source: &str, vocabulary: &Vocabulary) -> Result<Self, ChatError> {
        Ok(Self {
            environment: engine::environment(source)?,
            marks: Marks::new(&vocabulary.marks),
            bos: vocabulary.bos.clone(),
            eos: vocabulary.eos.clone(),
            is_gemma: source.contains("<|tool_call>call:") && source.contains("<|channel>"),
        })
    }

    /// Whether it teaches Gemma 4's notation under another name.
    pub(super) fn is_gemma(&self) -> bool {
        self.is_gemma
    }

    /// The prompt. A template that knows no instructions gets them as part of what the user says first.
    pub(super) fn render(&self, conversation: &Conversation) -> Result<Vec<Piece>, ChatError> {
        let (system, turns, _) = instructions(conversation);
        let plainly = self.attempt(conversation, false);
        let refused = match &plainly {
            Ok((_, has_all)) => !has_all,
            Err(_) => true,
        };
        let has_user = turns.iter().any(|turn| turn.role == Role::User);
        let said = if refused && has_user && !system.trim().is_empty() {
            match self.attempt(conversation, true) {
                Ok((pieces, true)) => Ok((pieces, true)),
                _ => plainly,
            }
        } else {
            plainly
        };
        match said? {
            (pieces, true) => Ok(pieces),
            (_, false) => Err(ChatError::TextLost),
        }
    }

    /// The prompt, and whether the instructions and what was said last are in it.
    fn attempt(&self, conversation: &Conversation, joins: bool) -> Result<(Vec<Piece>, bool), ChatError> {
        // The answer goes on with the assistant's last turn: templates would close it.
        let (system, turns, media) = instructions(conversation);
        let goes_on = |turn: &&Turn| turn.role == Role::Assistant && turn.calls.is_empty();
        let continued = turns.last().filter(goes_on);
        let turns = turns.get(..turns.len() - usize::from(continued.is_some())).unwrap_or_default();
        let mut context = Context::new(&self.marks, media);
        let ends = (self.bos.as_deref(), self.eos.as_str());
        let value = context.conversation(conversation, (&system, turns), joins, ends)?;
        let written = engine::written(&self.environment, &value)?;
        let (mut prompt, used) = context.texts.pieces(&written, &self.marks)?;
        let has_all = context.needed.iter().all(|number| used.get(*number) == Some(&true));
        if let Some(bos) = &self.bos
            && !matches!(prompt.pieces.first(), Some(Piece::Mark(mark)) if mark == bos)
        {
            prompt.pieces.insert(0, Piece::Mark(bos.clone().into()));
        }
        if let Some(turn) = continued {
            prompt.text(&words(&turn.content));
        }
        Ok((prompt.pieces, has_all))
    }
}

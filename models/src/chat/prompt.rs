//! A prompt in the making: marks apart from text, so that no text can become a mark.
use std::borrow::Cow;

use super::conversation::{Content, Conversation, Role, Turn};

/// One part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A special token, by its text.
    Mark(Cow<'static, str>),
    /// Plain text, some of it written by strangers.
    Text(String),
    /// A picture or a recording: the one with this number in [`Conversation::media`].
    Media(usize),
}

/// The pieces so far. Neighbouring texts become one, as a template's text is tokenised in one.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    pub(super) pieces: Vec<Piece>,
}

impl Prompt {
    pub(super) fn mark(&mut self, mark: impl Into<Cow<'static, str>>) -> &mut Self {
        self.pieces.push(Piece::Mark(mark.into()));
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
        self
    }

    pub(super) fn media(&mut self, number: usize) -> &mut Self {
        self.pieces.push(Piece::Media(number));
        self
    }
}

/// The standing instructions and the turns behind them. Where the conversation has none, a system's turn at its beginning is taken
/// for them. Blank ones are none. The last number is how many pictures and recordings come before the turns.
pub(super) fn instructions(conversation: &Conversation) -> (Cow<'_, str>, &[Turn], usize) {
    if !conversation.system.trim().is_empty() {
        return (Cow::Borrowed(&conversation.system), &conversation.turns, 0);
    }
    match conversation.turns.split_first() {
        Some((first, rest)) if first.role == Role::System => (
            Cow::Owned(words(&first.content)),
            rest,
            first.content.iter().filter(|part| is_media(part)).count(),
        ),
        _ => (Cow::Borrowed(""), &conversation.turns, 0),
    }
}

/// The words of an utterance.
pub(super) fn words(content: &[Content]) -> String {
    let words = content.iter().map(|part| match part {
        Content::Text(text) => text.as_str(),
        Content::Image(_) | Content::Audio(_) => "",
    });
    words.collect()
}

pub(super) fn is_media(content: &Content) -> bool {
    matches!(content, Content::Image(_) | Content::Audio(_))
}

/// The name of the tool that a tool's turn answers for: that of the last call before it with its id.
pub(super) fn answered_tool(turns: &[Turn], at: usize) -> Option<&str> {
    let answers = &turns.get(at)?.answers;
    let before = turns.get(..at)?.iter().rev().flat_map(|turn| turn.calls.iter().rev());
    let mut calls = before.filter(|call| !call.id.is_empty() && call.id == *answers);
    calls.next().map(|call| call.name.as_str())
}

/// Where the last user's turn is. Thoughts before it are history.
pub(super) fn last_user(turns: &[Turn]) -> Option<usize> {
    turns.iter().rposition(|turn| turn.role == Role::User)
}

/// Cuts a text so that no part holds a whole mark: tokenised apart, the parts cannot become one.
///
/// Needed because llama.cpp turns tokens of the type "user defined" into themselves even where it is told not to parse
/// special tokens, and Gemma 4's channel and quote marks are of that type.
pub fn cut_inside_marks<'t>(text: &'t str, marks: &[String]) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, first) in text.char_indices() {
        if marks.iter().any(|mark| !mark.is_empty() && text[at..].starts_with(mark.as_str())) {
            let cut = at + first.len_utf8();
            parts.push(&text[begin..cut]);
            begin = cut;
        }
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

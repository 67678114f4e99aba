//! Finds tags in an answer, whether they are tokens of their own or text that tokens cut anyhow.
use super::tags::{CallTag, Tags};
use crate::chat::call::{CallIds, Closed, Written};
use crate::chat::parts::{Blanks, Parts};

/// Most bytes that are read again because a closing tag may be part of a text inside the call: each time the call is read from its
/// beginning. Bounds the time to some hundredths of a second, and is enough for sixteen closing tags in the longest call.
const AGAIN_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Clone)]
enum State {
    Text(Blanks),
    Thought(Blanks),
    Call { written: Written, close: Option<&'static str>, again: usize },
}

/// What a tag does where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turning {
    Call(CallTag),
    CallEnd(&'static str),
    Thought,
    ThoughtEnd,
    /// A closing tag that nothing opened.
    Stray,
}

/// Takes an answer apart.
#[derive(Debug, Clone)]
pub(in crate::chat) struct TaggedReader {
    tags: Tags,
    state: State,
    /// Text that may be the beginning of a tag.
    held: String,
}

impl TaggedReader {
    /// `in_thought`: the prompt has opened a thought, so the answer begins inside it.
    pub(in crate::chat) fn new(tags: Tags, in_thought: bool) -> Self {
        let blanks = Blanks::new(in_thought);
        let state = if in_thought { State::Thought(blanks) } else { State::Text(blanks) };
        Self { tags, state, held: String::new() }
    }

    /// Takes text.
    pub(in crate::chat) fn words(&mut self, text: &str, ids: &mut CallIds, parts: &mut Parts) {
        self.held.push_str(text);
        loop {
            let looked_for = self.turnings(|tags, tag| tags.in_text(tag));
            let found =
                looked_for.iter().filter_map(|(tag, turning)| Some((self.held.find(tag)?, tag, turning)));
            let first = found.min_by_key(|(at, tag, _)| (*at, std::cmp::Reverse(tag.len())));
            let Some((at, tag, turning)) = first else {
                let kept = longest_beginning(&self.held, looked_for.iter().map(|(tag, _)| *tag));
                let behind = self.held.split_off(self.held.len() - kept);
                let said = std::mem::replace(&mut self.held, behind);
                return self.say(&said, parts);
            };
            let (behind, turning) = (self.held.split_off(at + tag.len()), *turning);
            let mut said = std::mem::replace(&mut self.held, behind);
            said.truncate(at);
            self.say(&said, parts);
            self.turn(turning, ids, parts);
        }
    }

    /// Takes a mark.
    pub(in crate::chat) fn mark(&mut self, mark: &str, ids: &mut CallIds, parts: &mut Parts) {
        let said = std::mem::take(&mut self.held); // a mark cannot stand within a tag
        self.say(&said, parts);
        let known = self.turnings(|_, tag| Some(tag)).into_iter().find(|(tag, _)| *tag == mark);
        match known {
            Some((_, turning)) => self.turn(turning, ids, parts),
            None => self.end_call(Closed::ByTurn, ids, parts),
        }
    }

    /// Nothing more comes.
    pub(in crate::chat) fn finish(&mut self, closed: Closed<'_>, ids: &mut CallIds, parts: &mut Parts) {
        let said = std::mem::take(&mut self.held);
        self.say(&said, parts);
        self.end_call(closed, ids, parts);
        if let State::Text(blanks) = &mut self.state {
            parts.text(&blanks.rest());
        }
        self.state = State::Text(Blanks::new(true));
    }

    /// The tags that mean something here.
    fn turnings(
        &self,
        choose: impl Fn(&Tags, &'static str) -> Option<&'static str>,
    ) -> Vec<(&'static str, Turning)> {
        let mut turnings = Vec::new();
        let mut add = |tag, turning| turnings.extend(choose(&self.tags, tag).map(|tag| (tag, turning)));
        if let State::Call { close, .. } = &self.state {
            if let Some(close) = close {
                add(close, Turning::CallEnd(close));
            }
            return turnings;
        }
        for call in &self.tags.calls {
            add(call.open, Turning::Call(*call));
            if let Some(close) = call.close {
                add(close, Turning::Stray);
            }
        }
        if let Some((open, close)) = self.tags.thought {
            let in_thought = matches!(self.state, State::Thought(_));
            add(open, if in_thought { Turning::Stray } else { Turning::Thought });
            add(close, if in_thought { Turning::ThoughtEnd } else { Turning::Stray });
        }
        turnings
    }

    fn say(&mut self, words: &str, parts: &mut Parts) {
        match &mut self.state {
            State::Text(_) if self.tags.calls.is_empty() && self.tags.thought.is_none() => parts.text(words),
            State::Text(blanks) => parts.text(&blanks.inner(words)),
            State::Thought(blanks) => parts.thought(&blanks.inner(words)),
            State::Call { written, .. } => written.push(words),
        }
    }

    fn turn(&mut self, turning: Turning, ids: &mut CallIds, parts: &mut Parts) {
        match turning {
            Turning::Call(tag) => {
                self.state = State::Call { written: Written::new(tag.open), close: tag.close, again: 0 };
            }
            Turning::CallEnd(tag) => {
                if let State::Call { written, again, .. } = &mut self.state
                    && *again + written.bytes() <= AGAIN_BYTES_MAX
                    && written.is_inside_text()
                {
                    *again += written.bytes();
                    return written.push(tag);
                }
                self.end_call(Closed::Mark(tag), ids, parts);
            }
            Turning::Thought => self.state = State::Thought(Blanks::new(true)),
            Turning::ThoughtEnd => self.state = State::Text(Blanks::new(true)),
            Turning::Stray => {}
        }
    }

    fn end_call(&mut self, closed: Closed<'_>, ids: &mut CallIds, parts: &mut Parts) {
        if !matches!(self.state, State::Call { .. }) {
            return;
        }
        let text = State::Text(Blanks::new(true));
        if let State::Call { written, .. } = std::mem::replace(&mut self.state, text) {
            parts.calls(written.close(closed, ids));
        }
    }
}

/// How many bytes at the end of a text may be the beginning of a tag.
fn longest_beginning(text: &str, tags: impl Iterator<Item = &'static str>) -> usize {
    let of_tag = |tag: &str| {
        (1..tag.len()).rev().find(|bytes| tag.get(..*bytes).is_some_and(|head| text.ends_with(head)))
    };
    tags.filter_map(of_tag).max().unwrap_or(0)
}

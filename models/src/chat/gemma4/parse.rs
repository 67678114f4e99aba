//! Gemma 4's answers: thoughts in channels, calls between marks. Only tokens are marks here, never text that looks like them: a
//! model that repeats what a peer wrote calls nothing by it.
use crate::chat::call::{CallIds, Closed, Written};
use crate::chat::parts::{Blanks, Parts};

/// What a channel of thoughts is called.
const THOUGHT: &str = "thought";
/// How a turn begins behind its mark.
const ROLES: [&str; 3] = ["model\n", "user\n", "system\n"];
/// Marks that end a call, closed or not: the next part begins.
const CALL_ENDS: [&str; 5] = ["<|tool_call>", "<|tool_response>", "<turn|>", "<|turn>", "<eos>"];

#[derive(Debug, Clone)]
enum State {
    Text,
    /// Behind `<|turn>`: its role, as far as it has come.
    Role(String),
    /// Behind `<|channel>`: its name, as far as it has come.
    Channel(String),
    Thought(Blanks),
    Call(Written),
    /// What only we write: results and declarations.
    Hidden,
}

/// Takes an answer apart.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Gemma4Reader {
    state: State,
}

impl Gemma4Reader {
    pub(in crate::chat) fn new() -> Self {
        Self { state: State::Text }
    }

    /// Takes text.
    pub(in crate::chat) fn words(&mut self, text: &str, parts: &mut Parts) {
        if text.is_empty() {
            return;
        }
        match &mut self.state {
            State::Text => parts.text(text),
            State::Hidden => {}
            State::Call(written) => written.push(text),
            State::Thought(blanks) => parts.thought(&blanks.inner(text)),
            State::Role(role) => {
                role.push_str(text);
                if ROLES.iter().any(|known| known.starts_with(role.as_str()) && *known != role) {
                    return;
                }
                let said = std::mem::take(role);
                self.state = State::Text;
                let behind = ROLES.iter().find_map(|known| said.strip_prefix(known));
                parts.text(behind.unwrap_or(&said));
            }
            State::Channel(name) => {
                name.push_str(text);
                let said = name.trim_start();
                if THOUGHT.starts_with(said) {
                    return;
                }
                let behind =
                    said.strip_prefix(THOUGHT).filter(|rest| !rest.starts_with(char::is_alphanumeric));
                if let Some(behind) = behind.map(str::to_owned) {
                    self.state = State::Thought(Blanks::new(true));
                    self.words(&behind, parts);
                } else {
                    let said = std::mem::take(name); // a stray mark before words for the reader
                    self.state = State::Text;
                    parts.text(&said);
                }
            }
        }
    }

    /// Takes a mark.
    pub(in crate::chat) fn mark(&mut self, mark: &str, ids: &mut CallIds, parts: &mut Parts) {
        self.end_heading(parts);
        if let State::Call(written) = &mut self.state {
            match mark {
                "<|\"|>" => return written.push_quote(),
                "<tool_call|>" => return self.end_call(Closed::Mark(mark), ids, parts),
                ends if CALL_ENDS.contains(&ends) => self.end_call(Closed::ByTurn, ids, parts),
                other => return written.push(other), // within a text these are its words
            }
        }
        let in_thought = matches!(self.state, State::Thought(_));
        match mark {
            "<|channel>" if !in_thought => self.state = State::Channel(String::new()),
            "<channel|>" if in_thought => self.state = State::Text,
            "<|tool_call>" => self.state = State::Call(Written::new(mark)),
            "<|tool_response>" | "<|tool>" => self.state = State::Hidden,
            "<tool_response|>" | "<tool|>" | "<turn|>" | "<eos>" => self.state = State::Text,
            "<|turn>" => self.state = State::Role(String::new()),
            _ => {}
        }
    }

    /// Nothing more comes.
    pub(in crate::chat) fn finish(&mut self, closed: Closed<'_>, ids: &mut CallIds, parts: &mut Parts) {
        self.end_heading(parts);
        self.end_call(closed, ids, parts);
        self.state = State::Text;
    }

    fn end_call(&mut self, closed: Closed<'_>, ids: &mut CallIds, parts: &mut Parts) {
        if let State::Call(written) = std::mem::replace(&mut self.state, State::Text) {
            parts.calls(written.close(closed, ids));
        }
    }

    /// A heading that a mark or the end breaks off is what it has come to.
    fn end_heading(&mut self, parts: &mut Parts) {
        let (said, known) = match &self.state {
            State::Role(role) => (role, ROLES.iter().any(|known| known.trim_end() == role)),
            State::Channel(name) => (name, name.trim() == THOUGHT),
            _ => return,
        };
        if known && matches!(self.state, State::Channel(_)) {
            self.state = State::Thought(Blanks::new(true));
            return;
        }
        if !known && !said.trim().is_empty() {
            parts.text(said);
        }
        self.state = State::Text;
    }
}

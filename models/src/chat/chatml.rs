//! A conversation as ChatML's models were taught to read it: tools as JSON in the system's turn, calls and results between tags.
use super::conversation::{Content, Conversation, Role, Tool, Turn};
use super::prompt::{Piece, Prompt, instructions, is_media, last_user, words};
use super::tagged::{CALL, RESPONSE};
use super::tool::{arguments, declaration};
use super::value::{Spacing, Value};
use super::{ChatError, ChatFormat};

const THOUGHT: (&str, &str) = ("<think>", "</think>");

/// The prompt.
pub(super) fn render(format: &ChatFormat, conversation: &Conversation) -> Result<Vec<Piece>, ChatError> {
    let (system, turns, media) = instructions(conversation);
    let mut renderer = Renderer { prompt: Prompt::default(), format, conversation, media };
    renderer.system(&system)?;
    let mut at = 0;
    while let Some(turn) = turns.get(at) {
        let is_last = at + 1 == turns.len();
        match turn.role {
            Role::Assistant => renderer.assistant(turns, at, turn, is_last),
            Role::Tool => {
                let results = turns.iter().skip(at).take_while(|turn| turn.role == Role::Tool).count();
                renderer.results(turns.get(at..at + results).unwrap_or_default());
                at += results - 1;
            }
            Role::User => renderer.plain("user\n", turn),
            Role::System => renderer.plain("system\n", turn),
        }
        at += 1;
    }
    if !turns.last().is_some_and(continues) {
        renderer.opening();
    }
    Ok(renderer.prompt.pieces)
}

/// Whether the answer goes on with this turn, when it is the last.
fn continues(turn: &Turn) -> bool {
    turn.role == Role::Assistant && turn.calls.is_empty()
}

struct Renderer<'c> {
    prompt: Prompt,
    format: &'c ChatFormat,
    conversation: &'c Conversation,
    /// Number of the next picture or recording.
    media: usize,
}

impl Renderer<'_> {
    /// A tag: a token of its own where the vocabulary has one.
    fn tag(&mut self, tag: &'static str) -> &mut Self {
        if self.format.has_mark(tag) {
            self.prompt.mark(tag);
        } else {
            self.prompt.text(tag);
        }
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.prompt.text(text);
        self
    }

    fn begin(&mut self, role: &str) {
        self.prompt.mark("<|im_start|>").text(role);
    }

    fn end(&mut self) {
        self.prompt.mark("<|im_end|>").text("\n");
    }

    /// The declarations are worded as Qwen's models, and those taught after them, know them.
    fn system(&mut self, system: &str) -> Result<(), ChatError> {
        let tools = &self.conversation.tools;
        if system.trim().is_empty() && tools.is_empty() {
            return Ok(());
        }
        self.begin("system\n");
        self.text(system);
        if !tools.is_empty() {
            self.text(if system.is_empty() { "" } else { "\n\n" });
            self.tools(tools)?;
        }
        self.end();
        Ok(())
    }

    fn tools(&mut self, tools: &[Tool]) -> Result<(), ChatError> {
        self.text("# Tools\n\nYou may call one or more functions to assist with the user query.\n\n");
        self.text("You are provided with function signatures within <tools></tools> XML tags:\n<tools>");
        for tool in tools {
            self.text("\n").text(&declaration(tool)?.json(Spacing::Python));
        }
        self.text("\n</tools>\n\nFor each function call, return a json object with function name and arguments within ");
        self.tag(CALL.open).call_end().text(" XML tags:\n");
        self.tag(CALL.open).text("\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n");
        self.call_end();
        Ok(())
    }

    fn call_end(&mut self) -> &mut Self {
        if let Some(close) = CALL.close {
            self.tag(close);
        }
        self
    }

    fn plain(&mut self, role: &str, turn: &Turn) {
        self.begin(role);
        for part in &turn.content {
            match part {
                Content::Text(text) => drop(self.prompt.text(text)),
                Content::Image(_) | Content::Audio(_) => {
                    self.prompt.media(self.media);
                    self.media += 1;
                }
            }
        }
        self.end();
    }

    fn results(&mut self, turns: &[Turn]) {
        self.begin("user");
        for turn in turns {
            self.text("\n").tag(RESPONSE.0).text("\n").text(&words(&turn.content)).text("\n").tag(RESPONSE.1);
            self.media += turn.content.iter().filter(|part| is_media(part)).count();
        }
        self.end();
    }

    fn assistant(&mut self, turns: &[Turn], at: usize, turn: &Turn, is_last: bool) {
        let text = words(&turn.content);
        let goes_on = is_last && continues(turn);
        let is_history = last_user(turns).is_some_and(|user| at < user);
        let has_thought = self.format.thinks && !is_history && !turn.thought.trim().is_empty();
        if goes_on && !(has_thought && self.conversation.thinking) {
            self.opening();
        } else {
            self.begin("assistant\n");
            if has_thought {
                self.tag(THOUGHT.0)
                    .text("\n")
                    .text(turn.thought.trim())
                    .text("\n")
                    .tag(THOUGHT.1)
                    .text("\n\n");
            }
        }
        self.text(&text);
        for (index, call) in turn.calls.iter().enumerate() {
            self.text(if index == 0 && text.is_empty() { "" } else { "\n" }).tag(CALL.open);
            let entries =
                [("name", Value::Text(call.name.clone())), ("arguments", arguments(&call.arguments))];
            let entries = entries.map(|(key, value)| (key.to_owned(), value)).to_vec();
            self.text("\n").text(&Value::Dict(entries).json(Spacing::Python)).text("\n").call_end();
        }
        self.media += turn.content.iter().filter(|part| is_media(part)).count();
        if !goes_on {
            self.end();
        }
    }

    fn opening(&mut self) {
        self.begin("assistant\n");
        if self.format.empty_thought && !self.conversation.thinking {
            self.tag(THOUGHT.0).text("\n\n").tag(THOUGHT.1).text("\n\n");
        }
    }
}

//! A conversation as Gemma 4 was taught to read it, equal to what its own template writes.
use crate::chat::ChatError;
use crate::chat::conversation::{Content, Conversation, Role, Tool, ToolCall, Turn};
use crate::chat::prompt::{Piece, Prompt, answered_tool, instructions, is_media, last_user, words};
use crate::chat::read::Reader;
use crate::chat::tool::parameters;
use crate::chat::value::{Value, sorted};

/// The prompt. `empty_thought`: where the model shall not think, its answer begins behind an empty thought.
pub(in crate::chat) fn render(
    conversation: &Conversation,
    empty_thought: bool,
) -> Result<Vec<Piece>, ChatError> {
    let (system, turns, media) = instructions(conversation);
    let mut renderer = Renderer {
        prompt: Prompt::default(),
        turns,
        thinking: conversation.thinking,
        empty_thought: empty_thought && !conversation.thinking,
        media,
        is_open: false,
    };
    renderer.prompt.mark("<bos>");
    renderer.system(system.trim(), &conversation.tools)?;
    for at in 0..turns.len() {
        renderer.turn(at);
    }
    if !renderer.is_open {
        renderer.opening();
    }
    Ok(renderer.prompt.pieces)
}

struct Renderer<'c> {
    prompt: Prompt,
    turns: &'c [Turn],
    thinking: bool,
    empty_thought: bool,
    /// Number of the next picture or recording.
    media: usize,
    /// A turn of the model that goes on: it called a tool, or its text is to be continued.
    is_open: bool,
}

impl Renderer<'_> {
    fn system(&mut self, system: &str, tools: &[Tool]) -> Result<(), ChatError> {
        if system.is_empty() && tools.is_empty() && !self.thinking {
            return Ok(());
        }
        self.prompt.mark("<|turn>").text("system\n");
        if self.thinking {
            self.prompt.mark("<|think|>").text("\n");
        }
        self.prompt.text(system);
        for tool in tools {
            let schema = parameters(tool)?;
            self.prompt.mark("<|tool>").text("declaration:").text(&tool.name).text("{description:");
            self.quoted(&tool.description);
            if !schema.is_empty() {
                self.prompt.text(",parameters:{");
                self.schema(&schema);
                self.prompt.text("}");
            }
            self.prompt.text("}").mark("<tool|>");
        }
        self.end_turn();
        Ok(())
    }

    /// The parts of a schema that the format knows, in its order.
    fn schema(&mut self, schema: &Value) {
        let part = |key| schema.get(key).filter(|value| !value.is_empty());
        if let Some(description) = part("description") {
            self.prompt.text("description:");
            self.literal(description);
            self.prompt.text(",");
        }
        if let Some(choices) = part("enum") {
            self.prompt.text("enum:");
            self.literal(choices);
            self.prompt.text(",");
        }
        if let Some(items) = schema.get("items").filter(|items| items.dict().is_some()) {
            self.prompt.text("items:{");
            self.schema(items);
            self.prompt.text("},");
        }
        if part("nullable").is_some() {
            self.prompt.text("nullable:true,");
        }
        if let Some(properties) = part("properties").and_then(Value::dict) {
            self.prompt.text("properties:{");
            for (index, (name, property)) in sorted(properties).into_iter().enumerate() {
                self.prompt.text(if index == 0 { "" } else { "," }).text(name).text(":{");
                self.schema(property);
                self.prompt.text("}");
            }
            self.prompt.text("},");
        }
        if let Some(required) = part("required") {
            self.prompt.text("required:");
            self.literal(required);
            self.prompt.text(",");
        }
        self.prompt.text("type:");
        let kind = schema.get("type").and_then(Value::text).unwrap_or_default();
        self.quoted(&kind.to_uppercase());
    }

    fn turn(&mut self, at: usize) {
        let Some(turn) = self.turns.get(at) else { return };
        let is_last = at + 1 == self.turns.len();
        match turn.role {
            Role::Tool => {
                let name = answered_tool(self.turns, at).unwrap_or("unknown");
                self.prompt.mark("<|tool_response>").text("response:").text(name).text("{value:");
                self.quoted(&words(&turn.content));
                self.prompt.text("}").mark("<tool_response|>");
                self.media += turn.content.iter().filter(|part| is_media(part)).count();
                self.is_open |= is_last;
            }
            Role::Assistant => self.assistant(at, turn, is_last),
            Role::User | Role::System => {
                if std::mem::take(&mut self.is_open) {
                    self.end_turn();
                }
                let role = if turn.role == Role::User { "user\n" } else { "system\n" };
                self.prompt.mark("<|turn>").text(role);
                for part in &turn.content {
                    match part {
                        Content::Text(text) => drop(self.prompt.text(text.trim())),
                        Content::Image(_) | Content::Audio(_) => {
                            self.prompt.media(self.media);
                            self.media += 1;
                        }
                    }
                }
                self.end_turn();
            }
        }
    }

    /// A turn that calls stays open for the results. The last turn stays open, too: the answer goes on with it, so it begins as an
    /// answer does and keeps the blanks at its end.
    fn assistant(&mut self, at: usize, turn: &Turn, is_last: bool) {
        let text = words(&turn.content);
        let continues = is_last && turn.calls.is_empty();
        match (self.is_open, continues) {
            (true, _) => {}
            (false, true) => self.opening(),
            (false, false) => drop(self.prompt.mark("<|turn>").text("model\n")),
        }
        let is_history = last_user(self.turns).is_some_and(|user| at < user);
        let keeps_thought = continues && self.thinking || !turn.calls.is_empty() && !is_history;
        if keeps_thought && !turn.thought.trim().is_empty() {
            self.prompt.mark("<|channel>").text("thought\n");
            self.prompt.text(turn.thought.trim()).text("\n").mark("<channel|>");
        }
        for call in &turn.calls {
            self.call(call);
        }
        let spoken = without_thoughts(&text);
        self.prompt.text(&spoken);
        self.media += turn.content.iter().filter(|part| is_media(part)).count();
        if continues {
            let blanks = text.get(text.trim_end().len()..).filter(|_| !spoken.is_empty());
            self.prompt.text(blanks.unwrap_or_default());
        }
        self.is_open = continues || !turn.calls.is_empty();
        if !self.is_open {
            self.end_turn();
        }
    }

    fn call(&mut self, call: &ToolCall) {
        self.prompt.mark("<|tool_call>").text("call:").text(&call.name);
        match Reader::new(&call.arguments, &[], 0).whole() {
            Ok(arguments @ Value::Dict(_)) => self.literal(&arguments),
            // What is no object is written as it stands, so that one bad call of the past does not end a conversation.
            _ => drop(self.prompt.text("{").text(&call.arguments).text("}")),
        }
        self.prompt.mark("<tool_call|>");
    }

    fn literal(&mut self, value: &Value) {
        match value {
            Value::Null => drop(self.prompt.text("null")),
            Value::Bool(yes) => drop(self.prompt.text(if *yes { "true" } else { "false" })),
            Value::Number(number) => drop(self.prompt.text(number)),
            Value::Text(text) => self.quoted(text),
            Value::List(list) => {
                self.prompt.text("[");
                for (index, value) in list.iter().enumerate() {
                    self.prompt.text(if index == 0 { "" } else { "," });
                    self.literal(value);
                }
                self.prompt.text("]");
            }
            Value::Dict(entries) => {
                self.prompt.text("{");
                for (index, (key, value)) in sorted(entries).into_iter().enumerate() {
                    self.prompt.text(if index == 0 { "" } else { "," });
                    if is_bare(key) {
                        self.prompt.text(key);
                    } else {
                        self.quoted(key);
                    }
                    self.prompt.text(":");
                    self.literal(value);
                }
                self.prompt.text("}");
            }
        }
    }

    fn quoted(&mut self, text: &str) {
        self.prompt.mark("<|\"|>").text(text).mark("<|\"|>");
    }

    fn opening(&mut self) {
        self.prompt.mark("<|turn>").text("model\n");
        if self.empty_thought {
            self.prompt.mark("<|channel>").text("thought\n").mark("<channel|>");
        }
    }

    fn end_turn(&mut self) {
        self.prompt.mark("<turn|>").text("\n");
    }
}

/// Whether a key can stand without quotes. The template writes all keys bare, so that one with a colon in it turns into another.
fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key.trim() == key
        && !key.starts_with(['"', '\''])
        && !key.contains([':', ',', '{', '}', '[', ']'])
        && !key.contains("<|")
        && !key.contains("|>")
}

/// What the model said, without the thoughts that an earlier version or another program left in it as text.
fn without_thoughts(text: &str) -> String {
    text.split("<channel|>").map(|part| part.split("<|channel>").next().unwrap_or_default().trim()).collect()
}

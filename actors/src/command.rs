//! Slash commands: the few messages that the house answers itself, on every channel alike.
//!
//! A command takes the short way past the queue and the model, so that `/stop` and `/status` answer while a turn runs; but for the
//! two that need the model ([`Command::takes_a_turn`]).
use crate::domain::ThreadId;

/// What the house does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Begin a fresh session; the old one is kept.
    New,
    /// Stop the running turn now.
    Stop,
    /// Say which model answers, how full the context is, what is waiting.
    Status,
    /// List the commands.
    Help,
    /// Say who is asking, as the house knows him.
    WhoAmI,
    /// Allow the call that the Archon asked about.
    Approve,
    /// Forbid it.
    Deny,
    /// List the Archon's tools.
    Tools,
    /// Go on in a copy of this session; the old one is kept as it is.
    Branch,
    /// Go on in an earlier session.
    Resume,
    /// List the peer's sessions.
    Sessions,
    /// Say what fills the model's context.
    Context,
    /// Lay a summary over the first turns now.
    Compact,
    /// Take the last turn back.
    Undo,
    /// Answer the last message again, in place of the last answer.
    Retry,
    /// Give the whole conversation as text.
    Export,
    /// Say what the session cost, or below each answer what that cost.
    Usage,
    /// Say which model answers and why, or choose one.
    Model,
    /// List what was allowed for good, or take it back.
    Approvals,
    /// Be the same person in another place: get a code, or say it.
    Link,
    /// Be nobody else any more.
    Unlink,
    /// Move the conversation to another place of the same person, or from there to here.
    HandOff,
    /// Say what a message does while another one is answered, or choose it.
    Busy,
    /// List the Archon's notes of whoever asks, or forget one.
    Memory,
}

/// What a message has to do with the thread that its sender is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// It belongs to it.
    Stay,
    /// It begins a thread with nothing in it.
    Fresh,
    /// It begins a thread with a copy of all that was said.
    Branch,
    /// It goes back to this thread, if there is one.
    Resume(ThreadId),
}

impl Course {
    /// Reads it off a message.
    pub fn of(text: &str) -> Self {
        match Command::parse(text) {
            Some(Command::New) => Self::Fresh,
            Some(Command::Branch) => Self::Branch,
            Some(Command::Resume) => {
                let thread = argument(text).split_whitespace().next().and_then(|word| word.parse().ok());
                thread.map_or(Self::Stay, Self::Resume)
            }
            _ => Self::Stay,
        }
    }
}

/// What follows a command's name.
pub fn argument(text: &str) -> &str {
    text.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim())
}

/// How a message is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// For the Archon.
    Message,
    /// For the house.
    Command(Command),
    /// Looks like a command and is none.
    UnknownCommand(String),
}

/// Each command, its names (the first is the one we show), and what it does.
pub const COMMANDS: &[(Command, &[&str], &str)] = &[
    (Command::New, &["/new", "/reset", "/clear"], "begin a fresh session; the old one is kept"),
    (Command::Stop, &["/stop", "/cancel"], "stop the running answer now"),
    (Command::Status, &["/status"], "which model answers, how full the context is, what waits"),
    (Command::Help, &["/help", "/commands", "/start"], "this list"),
    (
        Command::Approve,
        &["/approve", "/yes"],
        "allow what I asked about: once, or `/approve session` or `always` for its like too; what somebody else wants by its number, like `/approve 12.1.1`",
    ),
    (
        Command::Deny,
        &["/deny", "/no"],
        "forbid what I asked about, or what somebody else wants by its number",
    ),
    (Command::Approvals, &["/approvals"], "what you allowed for good; `/approvals forget 1` takes it back"),
    (Command::Tools, &["/tools"], "what I can do, and for what I ask you first"),
    (
        Command::Model,
        &["/model", "/models"],
        "which model answers, and why; `/model NAME`, with `--once` for one answer, `/model auto`",
    ),
    (Command::Context, &["/context", "/ctx"], "what fills my context"),
    (
        Command::Compact,
        &["/compact", "/compress", "/summarize"],
        "summarise the older part now; say on what to look",
    ),
    (
        Command::Usage,
        &["/usage"],
        "what this session took; `/usage tokens`, `full` or `off` for a line below answers",
    ),
    (
        Command::Busy,
        &["/busy"],
        "what a message does while I answer another: `/busy queue`, `steer` or `interrupt`",
    ),
    (Command::Undo, &["/undo"], "take the last exchange back"),
    (Command::Retry, &["/retry"], "answer the last message again"),
    (Command::Sessions, &["/sessions"], "our sessions"),
    (Command::Resume, &["/resume"], "go on in one of them, like `/resume s12`"),
    (Command::Branch, &["/branch", "/fork"], "go on in a copy of this session"),
    (Command::Export, &["/export", "/save"], "the whole conversation as text"),
    (Command::Memory, &["/memory"], "my notes of you; `/memory forget NUMBER` forgets one"),
    (
        Command::HandOff,
        &["/handoff"],
        "go on with this in a linked place, like `/handoff terminal`; `/handoff from terminal` brings what is there here",
    ),
    (
        Command::Link,
        &["/link"],
        "be the same person in another place, for `/handoff`: it gives a code to say there, like `/link CODE`",
    ),
    (Command::Unlink, &["/unlink"], "be the same person nowhere else any more"),
    (Command::WhoAmI, &["/whoami", "/id"], "who you are to the house"),
];

/// Longest command name: longer first words are ordinary text.
const NAME_LEN_MAX: usize = 20;

impl Command {
    /// Whether it waits for its turn in the session like a message, since it needs the model.
    pub fn takes_a_turn(self) -> bool {
        matches!(self, Self::Compact | Self::Retry)
    }

    /// The command, if the message is one.
    pub fn parse(text: &str) -> Option<Self> {
        match Intent::of(text) {
            Intent::Command(command) => Some(command),
            Intent::Message | Intent::UnknownCommand(_) => None,
        }
    }
}

impl Intent {
    /// Whether it waits for its turn in the session; all else is answered at once.
    pub fn takes_a_turn(&self) -> bool {
        match self {
            Self::Message => true,
            Self::Command(command) => command.takes_a_turn(),
            Self::UnknownCommand(_) => false,
        }
    }

    /// Reads a message's first word, whatever its case. Telegram's `/new@botname` is the same as `/new`.
    pub fn of(text: &str) -> Self {
        let word = text.split_whitespace().next().unwrap_or_default();
        let name = word.split('@').next().unwrap_or_default().to_ascii_lowercase();
        let is_name = name.len() >= 2
            && name.len() <= NAME_LEN_MAX
            && name.strip_prefix('/').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()));
        if !is_name {
            return Self::Message;
        }
        COMMANDS
            .iter()
            .find(|(_, names, _)| names.contains(&name.as_str()))
            .map_or(Self::UnknownCommand(name), |(command, ..)| Self::Command(*command))
    }
}

/// The answer to `/help`.
pub fn help_text() -> String {
    let mut text = String::from("I understand these commands:\n");
    for (_, names, meaning) in COMMANDS {
        text.push_str(&format!("  {:<24} {meaning}\n", names.join(", ")));
    }
    text.push_str("Everything else is for me to answer.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_for_what_they_are() {
        let table = [
            ("hello", Intent::Message),
            ("", Intent::Message),
            ("/", Intent::Message),
            ("/etc/passwd holds what?", Intent::Message),
            ("//comment", Intent::Message),
            ("a /new thing", Intent::Message),
            ("/new", Intent::Command(Command::New)),
            ("  /NEW please\n", Intent::Command(Command::New)),
            ("/reset", Intent::Command(Command::New)),
            ("/clear", Intent::Command(Command::New)),
            ("/stop@ezra_bot", Intent::Command(Command::Stop)),
            ("/cancel", Intent::Command(Command::Stop)),
            ("/id", Intent::Command(Command::WhoAmI)),
            ("/frobnicate", Intent::UnknownCommand("/frobnicate".into())),
        ];
        for (text, intent) in table {
            assert_eq!(Intent::of(text), intent, "{text:?}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let help = help_text();
        for (_, names, meaning) in COMMANDS {
            assert!(names.iter().all(|name| help.contains(name)) && help.contains(meaning));
        }
    }
}

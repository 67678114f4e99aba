//! Tools: what a model may ask for, what the house knows of each, and what becomes of a call.
use std::time::Duration;

use super::generation::{Tool, ToolCall};
use super::ids::{ArchonId, InboxId, SessionKey};

/// What a call may do to the world: what a policy speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Risk {
    /// It looks at what is the owner's, and changes nothing.
    Read,
    /// It changes files.
    Write,
    /// It runs programs.
    Execute,
    /// It talks to other machines.
    Network,
    /// It says something to people.
    Message,
}

impl Risk {
    /// All of them, from the least.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Execute, Self::Network, Self::Message];

    /// Its name in settings, and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Network => "network",
            Self::Message => "message",
        }
    }
}

/// The tool by which a model asks whom it talks with. What it answers is the question: that is said, and the turn ends; the answer is the
/// next message, however late, on whichever channel, over restarts.
pub const ASK_USER: &str = "ask_user";

/// The tool by which a model hands a task to another Archon of the house, and the channel on which that one gets it.
pub const AGENT: &str = "agent";

/// One tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSpec {
    /// What the model is told.
    pub tool: Tool,
    /// What a call may do.
    pub risk: Risk,
    /// Whether a second call is as good as one: such a call is made again when nobody knows what became of the first.
    pub is_repeatable: bool,
    /// Whether what it answers is the owner's own, and not for others.
    pub reads_private: bool,
    /// Whether what it answers may have been written by people whom nobody vouches for.
    pub brings_outside_text: bool,
}

impl ToolSpec {
    /// Whether a call can carry something to others.
    pub fn sends(&self) -> bool {
        matches!(self.risk, Risk::Network | Risk::Message)
    }
}

/// What is to be done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// It is made.
    Allow,
    /// The owner is asked.
    Ask,
    /// It is not made.
    Deny,
}

/// What is to be done with commands of a shell that look like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    /// The command's beginning, word by word; `*` as a word stands for any one.
    pub pattern: String,
    /// What is to be done.
    pub permission: Permission,
}

/// Which tools an Archon has, and what it may do with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPolicy {
    /// By name, in the order in which the model is told of them.
    pub tools: Vec<String>,
    /// Sources of which it has every tool, behind those, by the name of each source.
    pub sources: Vec<String>,
    /// For each risk, in the order of [`Risk::ALL`].
    pub permissions: [Permission; 5],
    /// For single commands, before the risk's own; the first that fits counts.
    pub commands: Vec<CommandRule>,
    /// How long the owner has for his answer; then it is no.
    pub approval_timeout: Duration,
    /// What a turn may use up.
    pub limits: ToolLimits,
    /// Which instructions it can load.
    pub skills: Skills,
    /// To whom it may hand tasks.
    pub delegates: Delegates,
}

/// To whom an Archon may hand tasks, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegates {
    /// By name; nobody else is asked.
    pub to: Vec<ArchonId>,
    /// How often a task may be handed on in a row, this time included: 1 lets nobody hand on what was handed to it.
    pub depth_max: u32,
}

impl Default for Delegates {
    /// Nobody. A task goes to one who may ask one more.
    fn default() -> Self {
        Self { to: Vec::new(), depth_max: 2 }
    }
}

/// Which skills an Archon has: instructions that it reads when it needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skills {
    /// Those of these names.
    Named(Vec<String>),
    /// All that there are.
    All,
}

impl Skills {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }

    /// Whether a skill is among them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|known| known == name),
            Self::All => true,
        }
    }
}

/// What a turn may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolLimits {
    /// Steps that end in calls.
    pub steps_max: u32,
    /// Calls of one tool with the same arguments.
    pub same_call_max: u32,
    /// Calls of one tool that fail in the same way.
    pub same_error_max: u32,
    /// Time of all calls together.
    pub time_max: Duration,
    /// Time of one call.
    pub call_time_max: Duration,
    /// Tokens that the model reads and writes, those that it had read before included.
    pub tokens_max: u64,
    /// What the model is shown of a call's answer, in characters; the rest is kept in the store.
    pub output_chars_max: u32,
    /// Size of a file that is sent with an answer, in bytes.
    pub sent_bytes_max: u64,
    /// What the declarations of all tools may take of each prompt, in tokens as far as they can be reckoned from bytes; beyond it, the
    /// model is told of the core and finds the others.
    pub schema_tokens_max: u32,
}

impl Default for ToolPolicy {
    /// No tools. What only looks may be done; for all else the owner is asked, and has five minutes.
    fn default() -> Self {
        use Permission::{Allow, Ask};
        Self {
            tools: Vec::new(),
            sources: Vec::new(),
            permissions: [Allow, Ask, Ask, Ask, Ask],
            commands: Vec::new(),
            approval_timeout: Duration::from_secs(300),
            limits: ToolLimits::default(),
            skills: Skills::Named(Vec::new()),
            delegates: Delegates::default(),
        }
    }
}

impl Default for ToolLimits {
    fn default() -> Self {
        Self {
            steps_max: 24,
            same_call_max: 3,
            same_error_max: 3,
            time_max: Duration::from_secs(900),
            call_time_max: Duration::from_secs(120),
            tokens_max: 400_000,
            output_chars_max: 4000,
            sent_bytes_max: 20 << 20,
            schema_tokens_max: 2000,
        }
    }
}

/// A call that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOrder {
    /// On whose behalf.
    pub archon: ArchonId,
    /// In which conversation.
    pub session: SessionKey,
    /// What is called.
    pub call: ToolCall,
    /// How long it may take.
    pub time_max: Duration,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It came to its end.
    Done {
        /// What it answered.
        text: String,
    },
    /// It was refused or went wrong.
    Failed {
        /// Why, and what to do.
        text: String,
    },
    /// It was begun, and nobody knows how it ended. It is not made again.
    Unknown,
}

impl Outcome {
    /// What the model is told.
    pub fn words(&self) -> String {
        match self {
            Self::Done { text } => text.clone(),
            Self::Failed { text } => format!("error: {text}"),
            Self::Unknown => "error: archond was interrupted during this call; nobody knows whether it took effect. Do not repeat it: look first, or ask".to_owned(),
        }
    }
}

/// A call with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// What was called.
    pub call: ToolCall,
    /// What became of it.
    pub outcome: Outcome,
}

/// A model's words that ended in calls, and what became of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolStep {
    /// What it said before it called; mostly nothing.
    pub text: String,
    /// In the order in which it asked for them.
    pub calls: Vec<CallRecord>,
}

/// What is written of a running turn before and after each effect, so that whoever goes on with it repeats none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEntry {
    /// The model asked for calls. None of them was begun.
    Asked {
        /// What it said before.
        text: String,
        /// In its order.
        calls: Vec<ToolCall>,
    },
    /// The owner said yes to a call.
    Approved {
        /// The [`ToolCall::id`].
        call: String,
    },
    /// A call is about to be made.
    Begun {
        /// The [`ToolCall::id`].
        call: String,
    },
    /// The model is about to be told what the peer said meanwhile. It stands between two steps, never within one.
    Heard {
        /// The message.
        inbox: InboxId,
        /// What he wrote.
        text: String,
    },
    /// A call has ended, or will not be made.
    Ended {
        /// The [`ToolCall::id`].
        call: String,
        /// What became of it.
        outcome: Outcome,
    },
}

/// A yes of the owner that counts for longer than one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// The tool that may be called.
    pub tool: String,
    /// What is run, where the tool runs programs: a yes to one command is none to another.
    pub command: Option<String>,
}

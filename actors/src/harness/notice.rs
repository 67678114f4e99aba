//! What the house says itself: the texts of the commands' answers. Pure.
use crate::command::{self, Command, Intent};
use crate::domain::{
    ArchonSpec, AskedCall, ModelId, Permission, Risk, SessionKey, SessionStatus, Tool, ToolSpec, quoted,
};
use crate::session::Decision;
use crate::tools::{KitTool, ToolKit};

/// What `/status` shows.
pub(super) struct StatusInput<'a> {
    pub(super) spec: &'a ArchonSpec,
    pub(super) session: &'a SessionKey,
    pub(super) status: Option<&'a SessionStatus>,
    /// The model that the route names for a plain message now.
    pub(super) wanted: &'a ModelId,
    /// Why.
    pub(super) because: &'a str,
    /// The model that answers a plain message now, or why none does.
    pub(super) model: Result<ModelId, String>,
    pub(super) in_flight: u32,
    pub(super) waiting: u32,
}

/// The answer to a message that is not for the model; `None` for commands that need to ask somebody first.
pub(super) fn for_intent(intent: &Intent, session: &SessionKey) -> Option<String> {
    match intent {
        Intent::Command(Command::New) => {
            Some(format!("A fresh session: {}. The old one is kept.", session.thread))
        }
        Intent::Command(Command::Help) => Some(command::help_text()),
        Intent::Command(Command::WhoAmI) => {
            Some(format!("You are {} on {}; this session is {session}.", session.peer, session.channel))
        }
        Intent::UnknownCommand(name) => Some(format!("I do not know {name}; /help lists what I know.")),
        Intent::Command(Command::Branch) => Some(format!(
            "A copy of our conversation: {}. The one before is kept; /sessions lists both.",
            session.thread
        )),
        Intent::Command(_) | Intent::Message => None,
    }
}

/// The answer to `/tools`.
pub(super) fn tools_text(kit: &ToolKit) -> String {
    if kit.tools().is_empty() {
        return "I have no tools; the profile's `tools` names those that I am to have.".to_owned();
    }
    let line = |tool: &KitTool| {
        let ToolSpec { tool: Tool { name, description, .. }, risk, .. } = &tool.spec;
        let permissions = Risk::ALL.iter().zip(kit.policy().permissions);
        let permission = permissions.filter(|(of, _)| *of == risk).map(|(_, permission)| permission).next();
        let asks = match permission {
            Some(Permission::Allow) => "",
            Some(Permission::Ask) => ", I ask you first",
            Some(Permission::Deny) | None => ", not allowed",
        };
        format!("  {name} ({}{asks}): {description}", risk.name())
    };
    let lines: Vec<String> = kit.tools().iter().map(line).collect();
    format!("My tools:\n{}", lines.join("\n"))
}

/// The answer to `/approve` and `/deny`.
pub(super) fn decided_text(decision: Decision, shown: &str) -> String {
    match decision {
        Decision::Denied | Decision::TimedOut | Decision::Unattended => format!("I will not: {shown}"),
        Decision::Once => format!("I will: {shown}"),
        Decision::Always => {
            format!(
                "I will, and its like from now on without asking; /approvals lists and ends that: {shown}"
            )
        }
        Decision::Session => {
            format!("I will, and its like without asking until I have been idle for long: {shown}")
        }
    }
}

/// The same, where nothing was decided: what waits in other chats has to be named.
pub(super) fn undecided_text(call: Option<&str>, elsewhere: &[AskedCall]) -> String {
    let nothing = match call {
        Some(call) => format!("Nothing waits for a yes to {call} any more."),
        None => "I have not asked you for anything.".to_owned(),
    };
    if elsewhere.is_empty() {
        return nothing;
    }
    let line = |asked: &AskedCall| {
        format!("/approve {} or /deny {}:\n{}", asked.call, asked.call, quoted(&asked.shown))
    };
    let lines: Vec<String> = elsewhere.iter().map(line).collect();
    format!("{nothing} In other chats this waits for your yes:\n{}", lines.join("\n"))
}

/// One line that says that a stand-in answers, and how to get the wanted model.
pub fn stand_in(wanted: &ModelId, answering: &ModelId) -> Option<String> {
    (wanted != answering).then(|| {
        format!("{answering} stands in for {wanted}; get the real one with `archond model pull {wanted}`")
    })
}

/// The answer to `/status`.
pub(super) fn status_text(input: &StatusInput<'_>) -> String {
    let mut lines = Vec::new();
    match &input.model {
        Ok(model) => {
            lines.push(format!("{}: model {model}", input.spec.display_name));
            lines.push(format!("a message now is for {}: {}", input.wanted, input.because));
            lines.extend(stand_in(input.wanted, model));
        }
        Err(why) => lines.push(format!("{}: no model answers: {why}", input.spec.display_name)),
    }
    match input.status {
        Some(status) => {
            let percent =
                u64::from(status.context_tokens) * 100 / u64::from(status.context_tokens_max.max(1));
            lines.push(format!(
                "session {}: {}, {} turns, context {} of {} tokens ({percent} %), {} % of the last prompt reused",
                input.session,
                status.state,
                status.turns,
                status.context_tokens,
                status.context_tokens_max,
                status.reuse_percent,
            ));
        }
        None => lines.push(format!("session {}: at rest", input.session)),
    }
    if let Some(SessionStatus { model: Some(model), because: Some(because), .. }) = input.status {
        lines.push(format!("the last answer came from {model}: {because}"));
    }
    lines.push(format!("turns running {}, messages waiting {}", input.in_flight, input.waiting));
    lines.join("\n")
}

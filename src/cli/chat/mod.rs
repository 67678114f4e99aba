//! `archond chat`: one message, or a conversation.
use std::io::Read as _;
use std::path::{Path, PathBuf};

use archond_actors::domain::{ArchonId, SessionKey, ThreadId};
use tokio::runtime::Runtime;

mod answer;
mod asked;
mod conversation;
mod slash;
mod typed;

use answer::Display;
use conversation::{Conversation, Outcome};
use slash::Line;

use super::client::Client;
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::line_editor::{LineEditor, Typed};
use super::places::Places;
use super::runtime;
use crate::admin::protocol::{ArchonView, LINE_BYTES_MAX};

/// Name of the input history in the state directory.
const HISTORY_FILE: &str = "chat_history";

/// Whom we talk with when there is no other hint.
const ARCHON_DEFAULT: &str = "ezra";
/// The channel of the terminal.
const CHANNEL: &str = "cli";
/// What the terminal itself does; the house lists the rest.
const HELP: &str = "  /attach PATH             a file of this machine goes with the next message
  /quit, /exit, /bye       end the chat; a running answer is kept for the next one
Ctrl-C stops a running answer, a second one leaves. Ctrl-D leaves.
A backslash at the end of a line continues the message on the next one.";

/// Talk with an Archon.
///
/// Without --message the message is read from standard input, or typed line by line when that is a terminal.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ChatArgs {
    /// With whom; the only one who runs, or ezra
    name: Option<String>,
    /// Send this one message, print the answer and leave
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// A file of this machine that goes with the message; may be repeated
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Begin a fresh session; the old one is kept
    #[arg(long, conflicts_with = "session")]
    new: bool,
    /// Go on with this session, as `archond session list` shows it
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

impl ChatArgs {
    /// A chat with this Archon.
    pub(super) fn with(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::default() }
    }
}

/// Runs the command.
pub(super) fn run(console: &mut Console, args: &ChatArgs) -> Result<ExitCode, CliError> {
    let terminals = console.terminals();
    let message = match args.message.clone() {
        Some(text) => Some(text),
        None if !terminals.input => Some(read_input()?),
        None => None,
    };
    if message.is_none() && (args.json || !terminals.output) {
        return Err(CliError::Usage {
            message: "there is no message; give it with -m, or on standard input".to_owned(),
        });
    }
    if message.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(CliError::Usage { message: "the message is empty".to_owned() });
    }
    let (name, thread) = target(args.name.as_deref(), args.session.as_deref())?;
    let places = Places::find()?;
    let runtime = runtime()?;
    let mut conversation = runtime.block_on(async {
        let name = match name {
            Some(name) => name,
            None => default_archon(&Client::connect(&places.socket).await?.status().await?.archons),
        };
        Conversation::open(places.socket.clone(), name, thread).await
    })?;
    for file in &args.files {
        conversation.attach(file)?;
    }
    if args.new {
        let outcome = runtime.block_on(conversation.say(console, "/new", Display::Hidden))?;
        if outcome != Outcome::Answered {
            return Ok(exit_code(outcome));
        }
    }
    match message {
        Some(text) => {
            let display = match (args.json, terminals.output) {
                (true, _) => Display::Json,
                (false, true) => Display::Stream,
                (false, false) => Display::Whole,
            };
            Ok(exit_code(runtime.block_on(conversation.say(console, &text, display))?))
        }
        None => converse(console, &runtime, &places, conversation),
    }
}

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Answered => ExitCode::Ok,
        Outcome::Failed => ExitCode::Failed,
        Outcome::Stopped => ExitCode::Interrupted,
    }
}

/// Line by line until the person leaves.
fn converse(
    console: &mut Console,
    runtime: &Runtime,
    places: &Places,
    mut conversation: Conversation,
) -> Result<ExitCode, CliError> {
    runtime.block_on(greet(console, &mut conversation))?;
    let history = places.state.join(HISTORY_FILE);
    let mut editor = LineEditor::open(&history, Box::new(|typed| (0, slash::completions(typed))))?;
    if let Some(above) = editor.above() {
        let watched = asked::watch(places.socket.clone(), conversation.archon().to_owned(), above);
        watched.or_else(|error| console.note(&format!("what others want is not shown here: {error}")))?;
    }
    loop {
        let line = match editor.read("> ")? {
            Typed::Line(line) => line,
            Typed::Dropped => {
                console.note("(Ctrl-D or /quit leaves)")?;
                continue;
            }
            Typed::End => return Ok(ExitCode::Ok),
        };
        if let Err(error) = editor.save() {
            console.note(&error.to_string())?;
        }
        let text = match slash::read(&line) {
            Line::Empty => continue,
            Line::Leave => return Ok(ExitCode::Ok),
            Line::Ambiguous(names) => {
                console.note(&format!("which one: {}?", names.join(", ")))?;
                continue;
            }
            Line::Attach(path) => {
                match conversation.attach(Path::new(&path)) {
                    Ok(whole) => console.note(&format!("{whole} goes with your next message"))?,
                    Err(error) => console.error(&error.to_string())?,
                }
                continue;
            }
            Line::Send(text) => text,
        };
        match runtime.block_on(conversation.say(console, &text, Display::Stream)) {
            Ok(Outcome::Answered) if slash::asks_for_help(&text) => console.line(HELP)?,
            // What was said of a stopped answer ends with a word about it.
            Ok(_) => {}
            // The next message may fare better: the person decides.
            Err(error @ (CliError::Client(_) | CliError::StillAway { .. })) => {
                console.error(&error.to_string())?;
            }
            Err(error) => return Err(error),
        }
        console.line("")?;
    }
}

async fn greet(console: &mut Console, conversation: &mut Conversation) -> Result<(), CliError> {
    let house = conversation.client().status().await?;
    let Some(archon) = house.archons.iter().find(|archon| archon.archon == conversation.archon()) else {
        let name = conversation.archon().to_owned();
        let hint = format!("if there is a profile of that name, `archond start {name}` starts it");
        return Err(CliError::NoArchon { name, hint });
    };
    let model = archon.model.as_deref().map(|model| format!(" · {model}")).unwrap_or_default();
    console.note(&format!("{}{model} · /help lists the commands, Ctrl-D leaves", archon.display_name))?;
    if let Some(notice) = &house.notice {
        console.note(notice)?;
    }
    conversation.catch_up(console).await
}

/// Who is meant when nobody is named.
fn default_archon(archons: &[ArchonView]) -> String {
    let mut running = archons.iter().filter(|archon| archon.state != "stopped");
    match (running.next(), running.next()) {
        (Some(only), None) => only.archon.clone(),
        _ => ARCHON_DEFAULT.to_owned(),
    }
}

/// The Archon and the thread that the arguments name.
fn target(name: Option<&str>, session: Option<&str>) -> Result<(Option<String>, Option<String>), CliError> {
    let usage = |message: String| CliError::Usage { message };
    if let Some(name) = name {
        ArchonId::new(name).map_err(|error| usage(error.to_string()))?;
    }
    let Some(session) = session else { return Ok((name.map(str::to_owned), None)) };
    if !session.contains('/') {
        let thread = ThreadId::new(session).map_err(|error| usage(error.to_string()))?;
        return Ok((name.map(str::to_owned), Some(thread.to_string())));
    }
    let key: SessionKey = session.parse().map_err(|error| usage(format!("{error}")))?;
    if key.channel.as_str() != CHANNEL {
        return Err(usage(format!(
            "`{session}` belongs to the channel {}; only sessions of the channel {CHANNEL} go on here",
            key.channel
        )));
    }
    if name.is_some_and(|name| name != key.archon.as_str()) {
        return Err(usage(format!("`{session}` is a session of {}; leave the name away", key.archon)));
    }
    Ok((Some(key.archon.to_string()), Some(key.thread.to_string())))
}

/// The message on standard input.
fn read_input() -> Result<String, CliError> {
    let bytes_max = LINE_BYTES_MAX as u64;
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| CliError::Input { source })?;
    if bytes.len() > LINE_BYTES_MAX {
        let message = format!("standard input has more than {bytes_max} bytes; send it in parts");
        return Err(CliError::BadInput { message });
    }
    String::from_utf8(bytes).map_err(|error| CliError::BadInput {
        message: format!("standard input is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archon(name: &str, state: &str) -> ArchonView {
        ArchonView {
            archon: name.into(),
            display_name: name.into(),
            state: state.into(),
            model: None,
            wanted_model: None,
            channels: Vec::new(),
            sessions: 0,
            in_flight: 0,
            waiting: 0,
            crashes: 0,
            last_error: None,
        }
    }

    #[test]
    fn the_only_one_who_runs_is_meant() {
        let (ezra, electra) = (archon("ezra", "ready"), archon("electra", "ready"));
        assert_eq!(default_archon(&[]), "ezra");
        assert_eq!(default_archon(&[archon("ezra", "stopped"), electra.clone()]), "electra");
        assert_eq!(default_archon(&[electra, ezra]), "ezra");
    }

    #[test]
    fn a_session_names_its_archon() {
        let named = |name: Option<&str>, session| target(name, Some(session)).ok();
        let both = |archon: &str, thread: &str| Some((Some(archon.to_owned()), Some(thread.to_owned())));
        assert_eq!(named(None, "ezra/cli/uid0/main"), both("ezra", "main"));
        assert_eq!(named(Some("electra"), "s2"), both("electra", "s2"));
        assert_eq!(named(Some("electra"), "ezra/cli/uid0/main"), None);
        assert_eq!(named(None, "ezra/telegram/7/main"), None);
        assert_eq!(named(None, "no such"), None);
        assert!(target(Some("../etc"), None).is_err());
    }
}

//! `archond repl`: looks into the running house, and acts on its actors.
//!
//! [`command`] is what can be typed, [`ask`] carries it out, [`render`] shows it.
pub(super) mod ask;
mod command;
pub(super) mod render;

use std::cell::RefCell;
use std::rc::Rc;

use command::Typed;

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::line_editor::{LineEditor, Typed as Line};
use super::places::Places;
use super::runtime;

/// Name of the input history in the state directory.
const HISTORY_FILE: &str = "repl_history";

/// Look into the running house: every actor, session, queue and crash; kill, stop, restart, suspend
#[derive(Debug, clap::Args)]
pub(super) struct ReplArgs {
    /// Do this one command and leave; `help` lists all
    #[arg(short, long, value_name = "CMD")]
    command: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(console: &mut Console, args: &ReplArgs) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    let runtime = runtime()?;
    let mut client = runtime.block_on(Client::connect(&places.socket))?;
    if let Some(line) = &args.command {
        return runtime.block_on(one(console, &mut client, line, args.json)).map(|_| ExitCode::Ok);
    }
    if !console.terminals().input {
        let lines = std::io::stdin().lines();
        for line in lines {
            let line = line?;
            if !line.trim().is_empty()
                && runtime.block_on(one(console, &mut client, &line, args.json))? == Next::Leave
            {
                break;
            }
        }
        return Ok(ExitCode::Ok);
    }
    console.note("`help` lists the commands, Tab completes, Ctrl-D leaves")?;
    let paths = Rc::new(RefCell::new(Vec::new()));
    let known = Rc::clone(&paths);
    let mut editor = LineEditor::open(
        &places.state.join(HISTORY_FILE),
        Box::new(move |typed| completions(typed, &known.borrow())),
    )?;
    loop {
        // What has come or gone since the last command can be completed at once.
        if let Ok(actors) = runtime.block_on(ask::tree(&mut client)) {
            *paths.borrow_mut() = actors.into_iter().map(|actor| actor.path).collect();
        }
        let line = match editor.read("archond> ")? {
            Line::Line(line) if line.trim().is_empty() => continue,
            Line::Line(line) => line,
            Line::Dropped => continue,
            Line::End => break,
        };
        match runtime.block_on(one(console, &mut client, &line, args.json)) {
            Ok(Next::Leave) => break,
            Ok(Next::Go) => {}
            Err(CliError::Client(ClientError::Lost | ClientError::NotRunning)) => {
                console.error("the daemon has ended; `archond start` starts it")?;
                return Ok(ExitCode::Unavailable);
            }
            Err(error) => console.error(&error.to_string())?,
        }
    }
    if let Err(error) = editor.save() {
        console.note(&error.to_string())?;
    }
    Ok(ExitCode::Ok)
}

/// What follows a command.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

async fn one(console: &mut Console, client: &mut Client, line: &str, json: bool) -> Result<Next, CliError> {
    match Typed::read(line) {
        Ok(typed) => ask::perform(console, client, typed.command, json || typed.json).await,
        Err(error) if !error.use_stderr() => {
            console.write(&error.render().to_string())?;
            Ok(Next::Go)
        }
        Err(error) => {
            // Behind the first paragraphs stands the usage of a program that nobody typed.
            let text = error.render().to_string();
            let text = text.split("\n\nUsage:").next().unwrap_or_default();
            let text = text.trim().trim_start_matches("error: ");
            Err(CliError::Usage { message: format!("{text}\n`help` lists the commands") })
        }
    }
}

/// What the last word may become: a command first, then a path where one belongs.
fn completions(typed: &str, paths: &[String]) -> (usize, Vec<String>) {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = typed.split_at(start);
    let words = before.split_whitespace().skip_while(|word| *word == "watch" || word.starts_with('-'));
    let found = match words.last() {
        None | Some("help") => {
            let found = command::names().into_iter().filter(|name| name.starts_with(word));
            found.map(|name| name + " ").collect()
        }
        Some(command) if command::takes_path(command) => {
            let short = |path: &String| path.strip_prefix("house/").map(str::to_owned);
            let all = paths.iter().cloned().chain(paths.iter().filter_map(short));
            all.filter(|path| path.starts_with(word)).collect()
        }
        Some(_) => Vec::new(),
    };
    (start, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_paths_are_completed() {
        let paths = ["house".to_owned(), "house/pool".to_owned(), "house/archons/ezra".to_owned()];
        assert_eq!(completions("ins", &paths), (0, vec!["inspect ".to_owned()]));
        assert_eq!(completions("inspect po", &paths), (8, vec!["pool".to_owned()]));
        assert_eq!(completions("watch tree house/p", &paths), (11, vec!["house/pool".to_owned()]));
        assert_eq!(completions("watch ki", &paths).1, ["kill "]);
        assert!(completions("crash 1", &paths).1.is_empty());
    }
}

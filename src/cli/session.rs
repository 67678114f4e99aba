//! `archond session`: what was said.
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::{ago, now_unix_ms, utc};
use super::places::Places;
use super::{consent, each_once, ps, runtime};
use crate::admin::protocol::{CallEnd, CallView, Op, RecordedTurnView, Reply, SessionView, TurnsView};

/// Turns that `show` shows when nothing else is asked for: a screen or two.
const SHOWN_TURNS: u64 = 10;

/// What to do with sessions. Each is named `archon/channel/peer/thread`, as `list` shows it.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SessionCommand {
    /// List the sessions
    #[command(visible_alias = "ls")]
    List {
        /// Of this Archon only
        archon: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the last turns of a session
    Show {
        /// Which
        session: String,
        /// How many turns, counted from the end
        #[arg(short = 'n', long, default_value_t = SHOWN_TURNS)]
        turns: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a whole session as Markdown or JSON
    Export {
        /// Which
        session: String,
        /// Write JSON instead of Markdown
        #[arg(long)]
        json: bool,
        /// Into this file instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Forget sessions for ever
    #[command(visible_alias = "delete")]
    Rm {
        /// Which
        #[arg(required = true, value_name = "SESSION")]
        sessions: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// A session with all that was asked of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Export {
    session: SessionView,
    summary: Option<String>,
    turns: Vec<RecordedTurnView>,
}

/// Runs the command.
pub(super) fn run(console: &mut Console, command: SessionCommand) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        match command {
            SessionCommand::List { archon, json } => list(console, &mut client, archon, json).await?,
            SessionCommand::Show { session, turns, json } => {
                let export = read(&mut client, &session, Some(turns)).await?;
                if json { console.json(&export)? } else { console.write(&markdown(&export))? }
            }
            SessionCommand::Export { session, json, output, force } => {
                let export = read(&mut client, &session, None).await?;
                let text = if json { pretty(&export)? } else { markdown(&export) };
                match output {
                    None => console.exact(&text)?,
                    Some(path) => {
                        write_file(&path, &text, force)?;
                        console.note(&format!(
                            "{} turns written to {}",
                            export.turns.len(),
                            path.display()
                        ))?;
                    }
                }
            }
            SessionCommand::Rm { sessions, yes } => {
                remove(console, &mut client, &each_once(&sessions), yes).await?;
            }
        }
        Ok(ExitCode::Ok)
    })
}

async fn list(
    console: &mut Console,
    client: &mut Client,
    archon: Option<String>,
    json: bool,
) -> Result<(), CliError> {
    let mut all: Vec<SessionView> = Vec::new();
    loop {
        let after = all.last().map(|last| last.session.clone());
        let reply = client.call(Op::Sessions { archon: archon.clone(), after: after.clone() }).await?;
        let Reply::Sessions(page) = reply else { return Err(ClientError::Protocol.into()) };
        // A page that leads nowhere ends the list, whatever the daemon thinks.
        if page.last().is_none_or(|last| Some(&last.session) == after.as_ref()) {
            break;
        }
        all.extend(page);
    }
    if json {
        return Ok(console.json(&all)?);
    }
    let now = now_unix_ms();
    all.sort_by_key(|session| std::cmp::Reverse(session.updated_unix_ms));
    let row = |session: &SessionView| {
        [
            session.session.clone(),
            session.turns.to_string(),
            session.summarised.to_string(),
            ago(now, session.updated_unix_ms),
        ]
    };
    console.line(&ps::table(["SESSION", "TURNS", "SUMMARISED", "LAST"], all.iter().map(row)))?;
    Ok(())
}

/// Reads a session: its last turns, or all.
async fn read(client: &mut Client, session: &str, last: Option<u64>) -> Result<Export, CliError> {
    let page = turns(client, session, 0).await?;
    let total = page.session.turns;
    let wanted_from = last.map_or(0, |last| total.saturating_sub(last));
    let mut export = Export { session: page.session, summary: page.summary, turns: Vec::new() };
    let mut next = page.turns;
    if next.last().is_none_or(|turn| turn.number < wanted_from) {
        next = turns(client, session, wanted_from).await?.turns;
    }
    while let Some(number) = next.last().map(|turn| turn.number) {
        export.turns.extend(next.into_iter().filter(|turn| turn.number >= wanted_from));
        next = turns(client, session, number + 1).await?.turns;
        next.retain(|turn| turn.number > number);
    }
    Ok(export)
}

async fn turns(client: &mut Client, session: &str, from: u64) -> Result<TurnsView, CliError> {
    match client.call(Op::Turns { session: session.to_owned(), from }).await? {
        Reply::Turns(view) => Ok(view),
        _ => Err(ClientError::Protocol.into()),
    }
}

fn pretty(export: &Export) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(export).map_err(io::Error::other)?;
    Ok(text + "\n")
}

/// The session as Markdown. What was said stands as it is.
fn markdown(export: &Export) -> String {
    let session = &export.session;
    let archon = session.session.split('/').next().unwrap_or_default();
    let mut text = format!(
        "# {}\n\n{} turns, {} to {}\n",
        session.session,
        session.turns,
        utc(session.created_unix_ms),
        utc(session.updated_unix_ms)
    );
    // Writing to a String cannot fail.
    if let Some(summary) = &export.summary {
        let _ =
            write!(text, "\n## Summary of the first {} turns\n\n{}\n", session.summarised, summary.trim());
    }
    for turn in &export.turns {
        let stopped = if turn.stopped { ", stopped" } else { "" };
        let _ = write!(
            text,
            "\n## {} · {} · {}{stopped}\n\n**you**: {}\n{}\n**{archon}**: {}\n",
            turn.number + 1,
            utc(turn.ended_unix_ms),
            turn.model,
            turn.user.trim(),
            calls(turn),
            turn.answer.trim()
        );
    }
    text
}

/// What the model called on the way to its answer: a line for each call.
fn calls(turn: &RecordedTurnView) -> String {
    if turn.calls.is_empty() {
        return String::new();
    }
    let mut lines = String::from("\n");
    for CallView { name, arguments, ended, text } in &turn.calls {
        // Writing to a String cannot fail.
        let _ = match ended {
            CallEnd::Done => writeln!(lines, "- {name} {arguments}: {text}"),
            CallEnd::Failed => writeln!(lines, "- {name} {arguments}: failed: {text}"),
            CallEnd::Unknown => writeln!(lines, "- {name} {arguments}: nobody knows how it ended"),
        };
    }
    if turn.calls_left_out > 0 {
        let _ = writeln!(lines, "- and {} calls more", turn.calls_left_out);
    }
    lines
}

/// Writes the file whole or not at all, for its owner alone.
fn write_file(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let failed = |source| CliError::Create { path: path.to_owned(), source };
    if !force && path.exists() {
        return Err(CliError::Exists { path: path.to_owned() });
    }
    let Some(name) = path.file_name() else { return Err(failed(io::ErrorKind::IsADirectory.into())) };
    let half = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&half, path));
    if written.is_err() {
        // What is half written is of no use; the first failure is the one to tell.
        let _ = std::fs::remove_file(&half);
    }
    written.map_err(failed)
}

async fn remove(
    console: &mut Console,
    client: &mut Client,
    sessions: &[String],
    yes: bool,
) -> Result<(), CliError> {
    let what = if let [one] = sessions { one.clone() } else { format!("{} sessions", sessions.len()) };
    if !consent::is_given(console, yes, &format!("forget {what}"))? {
        return Ok(());
    }
    for session in sessions {
        client.done(Op::RemoveSession { session: session.clone() }).await?;
        console.line(&format!("{session} is forgotten"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_session_reads_as_markdown() {
        let call = |name: &str, ended, text: &str| CallView {
            name: name.into(),
            arguments: r#"{"path": "."}"#.into(),
            ended,
            text: text.into(),
        };
        let turn = RecordedTurnView {
            number: 4,
            user: "What is a seed?\n".into(),
            answer: "A beginning.".into(),
            stopped: true,
            calls: vec![
                call("list", CallEnd::Done, "one.txt two.txt"),
                call("read", CallEnd::Failed, "there is no such file"),
                call("send", CallEnd::Unknown, ""),
            ],
            calls_left_out: 2,
            model: "gemma-4-e4b".into(),
            prompt_tokens: 20,
            cached_tokens: 0,
            answer_tokens: 4,
            ended_unix_ms: 951_782_400_000,
        };
        let session = SessionView {
            session: "ezra/cli/uid0/main".into(),
            turns: 5,
            summarised: 4,
            created_unix_ms: 0,
            updated_unix_ms: 951_782_400_000,
        };
        let export = Export { session, summary: Some("They greeted.".into()), turns: vec![turn] };
        insta::assert_snapshot!(markdown(&export), @r#"
        # ezra/cli/uid0/main

        5 turns, 1970-01-01 00:00:00 UTC to 2000-02-29 00:00:00 UTC

        ## Summary of the first 4 turns

        They greeted.

        ## 5 · 2000-02-29 00:00:00 UTC · gemma-4-e4b, stopped

        **you**: What is a seed?

        - list {"path": "."}: one.txt two.txt
        - read {"path": "."}: failed: there is no such file
        - send {"path": "."}: nobody knows how it ended
        - and 2 calls more

        **ezra**: A beginning.
        "#);
    }

    #[test]
    fn a_file_is_private_and_never_replaced_unasked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out.md");
        write_file(&path, "one", false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_file(&path, "two", false), Err(CliError::Exists { .. })));
        write_file(&path, "two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let nowhere = home.path().join("missing/out.md");
        assert!(matches!(write_file(&nowhere, "x", false), Err(CliError::Create { .. })));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}

//! `archond audit`: proves what the house promises, from its own text and from what it did.
use clap::Subcommand;
use serde_json::json;

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::utc;
use super::places::Places;
use super::runtime;
use super::settings_view::write_table;
use crate::admin::operator::{InsideOp, InsideReply};
use crate::admin::protocol::{Op, Reply};
use crate::admin::trail::{StationView, TrailView};
use crate::audit::{FitFile, fit_layer};

/// Answers that are shown when nothing else is asked for; all that are known are examined.
const SHOWN_ANSWERS: usize = 20;
/// Shown where a station was not passed.
const NOTHING: &str = "-";

/// What is to be proven.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// That the fit layer thinks not: its text knows no prompt, model or tool, and each of the last answers passed the harness
    ///
    /// Exit code 1 where one did not, 69 where the daemon does not run and only the text could be examined.
    Hermes {
        /// How many answers are shown
        #[arg(short = 'n', long, default_value_t = SHOWN_ANSWERS)]
        answers: usize,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs an audit.
pub(super) fn run(console: &mut Console, command: &AuditCommand) -> Result<ExitCode, CliError> {
    let AuditCommand::Hermes { answers, json } = *command;
    let files = fit_layer();
    let trails = trails();
    let code = verdict(&files, &trails);
    if json {
        let (ways, is_running) = match &trails {
            Ok(trails) => (trails.as_slice(), true),
            Err(_) => (&[][..], false),
        };
        console.json(&json!({
            "ok": code == ExitCode::Ok, "daemon": is_running, "files": files, "answers": ways,
        }))?;
    } else {
        show_files(console, &files)?;
        if let Ok(trails) = &trails {
            show_answers(console, trails, answers)?;
        }
    }
    match trails {
        Ok(_) => Ok(code),
        // What the text says stands above.
        Err(error) if code == ExitCode::Ok => Err(error),
        Err(error) => {
            console.error(&error.to_string())?;
            Ok(code)
        }
    }
}

fn trails() -> Result<Vec<TrailView>, CliError> {
    let places = Places::find()?;
    let reply = runtime()?.block_on(async {
        let mut client = Client::reach(&places.socket).await?;
        client.call(Op::Inside(InsideOp::Trail)).await
    })?;
    match reply {
        Reply::Inside(InsideReply::Trail(trails)) => Ok(trails),
        _ => Err(ClientError::Protocol.into()),
    }
}

fn verdict(files: &[FitFile], trails: &Result<Vec<TrailView>, CliError>) -> ExitCode {
    let is_pure = files.iter().all(|file| file.faults.is_empty());
    let all_passed = trails.as_ref().is_ok_and(|trails| trails.iter().all(|trail| trail.missing.is_empty()));
    if is_pure && (all_passed || trails.is_err()) { ExitCode::Ok } else { ExitCode::Failed }
}

fn show_files(console: &mut Console, files: &[FitFile]) -> Result<(), CliError> {
    let mut out = Vec::new();
    let row = |file: &FitFile| {
        let found = if file.faults.is_empty() { "none".to_owned() } else { file.faults.join("; ") };
        [file.path.to_owned(), file.lines.to_string(), file.uses.join(", "), found]
    };
    write_table(&mut out, ["FILE", "LINES", "USES", "FORBIDDEN"], files.iter().map(row))?;
    console.exact(&String::from_utf8_lossy(&out))?;
    console.line("")?;
    Ok(())
}

fn show_answers(console: &mut Console, trails: &[TrailView], most: usize) -> Result<(), CliError> {
    // One that did not pass is shown, however old it is.
    let first = trails.len().saturating_sub(most);
    let shown = trails.iter().enumerate().filter(|(at, trail)| *at >= first || !trail.missing.is_empty());
    let mut out = Vec::new();
    let headings =
        ["MESSAGE", "ANSWERED", "SESSION", "BY", "HERMES", "HARNESS", "SESSION", "POOL", "WORKER", "PASSED"];
    write_table(&mut out, headings, shown.map(|(_, trail)| row(trail)))?;
    console.exact(&String::from_utf8_lossy(&out))?;
    let count = |speaker: &str| trails.iter().filter(|trail| trail.speaker == speaker).count();
    let failed = trails.iter().filter(|trail| !trail.missing.is_empty()).count();
    console.note(&format!(
        "{} answers since the daemon started, the last 256 at most: {} by a model, {} by the harness itself, {} failures told by Hermes",
        trails.len(),
        count("model"),
        count("harness"),
        count("hermes"),
    ))?;
    if failed > 0 {
        console.error(&format!("{failed} did not pass every station; `archond logs` tells when"))?;
    }
    Ok(())
}

fn row(trail: &TrailView) -> [String; 10] {
    let last = |name: &str| trail.stations.iter().rev().find(|station| station.station == name);
    let cell = |name: &str, shown: fn(&StationView) -> String| last(name).map_or(NOTHING.to_owned(), shown);
    let attempt = |station: &StationView| station.attempt.map_or("yes".to_owned(), |n| format!("try {n}"));
    let by =
        if trail.kind == "failure" { format!("{} (failure)", trail.speaker) } else { trail.speaker.clone() };
    [
        trail.inbox.to_string(),
        utc(trail.answered_unix_ms),
        trail.session.clone(),
        by,
        cell("hermes", attempt),
        cell("harness", attempt),
        cell("session", attempt),
        cell("pool", |station| station.request.map_or(NOTHING.to_owned(), |id| format!("request {id}"))),
        cell("worker", |station| {
            let model = station.model.clone().unwrap_or_default();
            station.pid.map_or(model.clone(), |pid| format!("{model}, process {pid}"))
        }),
        if trail.missing.is_empty() { "yes".to_owned() } else { format!("NO: {}", trail.missing.join(", ")) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(missing: &[&str]) -> TrailView {
        TrailView {
            inbox: 7,
            session: "ezra/cli/p/main".into(),
            kind: "answer".into(),
            speaker: "model".into(),
            answered_unix_ms: 0,
            stations: vec![StationView {
                station: "hermes".into(),
                attempt: Some(2),
                request: None,
                model: None,
                pid: None,
            }],
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn file(faults: &[&str]) -> FitFile {
        let faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
        FitFile { path: "actors/src/hermes/actor.rs", lines: 3, uses: vec![], faults }
    }

    #[test]
    fn one_answer_past_the_harness_or_one_word_too_many_fails_the_audit() {
        let (good, bad) = (trail(&[]), trail(&["harness"]));
        assert_eq!(verdict(&[file(&[])], &Ok(vec![good.clone()])), ExitCode::Ok);
        assert_eq!(verdict(&[file(&[])], &Ok(vec![good.clone(), bad])), ExitCode::Failed);
        assert_eq!(verdict(&[file(&["line 3: names `model`"])], &Ok(vec![good])), ExitCode::Failed);
        let away = || Err(ClientError::NotRunning.into());
        assert_eq!(verdict(&[file(&[])], &away()), ExitCode::Ok);
        assert_eq!(verdict(&[file(&["line 3: names `model`"])], &away()), ExitCode::Failed);
    }

    #[test]
    fn an_answer_that_did_not_pass_is_shown_however_old_it_is() {
        let mut trails = vec![trail(&["harness", "pool"])];
        trails.extend((0..50).map(|_| trail(&[])));
        let (mut console, out, error) = super::super::console::tests::console(false);
        show_answers(&mut console, &trails, 3).unwrap();
        let shown = out.text();
        assert_eq!(shown.matches("ezra/cli/p/main").count(), 4, "{shown}");
        assert!(shown.contains("NO: harness, pool") && shown.contains("try 2"), "{shown}");
        assert!(error.text().contains("1 did not pass"), "{}", error.text());
    }
}

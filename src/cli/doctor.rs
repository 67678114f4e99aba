//! `archond doctor`: looks the house over and says what to do.
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::runtime;
use crate::admin::protocol::{Op, Reply, SessionView};
use crate::doctor::{self, Daemon, Finding, Ground, Row, State, Unanswered};

/// Longest wait for the daemon's word: many times what it takes, and short enough for a person who waits.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest look at the settings, longest repair: milliseconds on a disk that answers.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);
/// What takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Width of the column of states and of that of checks.
const STATE_WIDTH: usize = 8;
/// See [`STATE_WIDTH`].
const CHECK_WIDTH: usize = 11;

/// Look the house over, and say what to do where something is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: no problem, though there may be warnings. Exit code 1: a problem.")]
pub(super) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Put right what is safe: rights of archond's own files, a socket nobody listens on, halves of files older than a day
    #[arg(long)]
    fix: bool,
    /// Also read every model file and compare its sha256; takes minutes
    #[arg(long)]
    deep: bool,
}

/// Everything that was found, for programs.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether there is no problem.
    ok: bool,
    problems: usize,
    warnings: usize,
    checks: Vec<Row>,
    /// What `--fix` did.
    repairs: Vec<String>,
}

/// Looks, and with `--fix` puts right before it looks.
pub(super) fn run(console: &mut Console, args: &DoctorArgs) -> Result<ExitCode, CliError> {
    let ground = match bounded(console, "the settings", Ground::survey) {
        Ok(ground) => Arc::new(ground?),
        Err(hangs) => {
            let row = Row { check: "settings", finding: hangs.finding() };
            if !args.json {
                show(console, &row)?;
            }
            return end(console, args, vec![row], Vec::new());
        }
    };
    let daemon = Arc::new(runtime()?.block_on(ask(console, &ground)));
    let repairs = if args.fix { fix(console, &ground, &daemon) } else { Vec::new() };
    if args.fix && !args.json {
        for line in &repairs {
            console.line(line)?;
        }
        console.line(if repairs.is_empty() { "nothing to put right\n" } else { "" })?;
    }
    let mut rows = Vec::new();
    for check in doctor::checks(&ground, &daemon, args.deep) {
        // Where nobody can be shown the progress, the check goes on all the same.
        let row = check.perform(&mut |text| drop(console.progress(&format!("looking at {text}"))));
        if !args.json {
            show(console, &row)?;
        }
        rows.push(row);
    }
    end(console, args, rows, repairs)
}

fn end(
    console: &mut Console,
    args: &DoctorArgs,
    rows: Vec<Row>,
    repairs: Vec<String>,
) -> Result<ExitCode, CliError> {
    console.erase_progress()?;
    let report = Report::of(rows, repairs);
    if args.json {
        console.json(&report)?;
    } else {
        console.line(&format!("\n{}", report.verdict()))?;
    }
    Ok(if report.ok { ExitCode::Ok } else { ExitCode::Failed })
}

fn bounded<T: Send + 'static>(
    console: &mut Console,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    doctor::within(what, DISK_TIMEOUT, work, &mut || drop(console.progress(&format!("looking at {what}"))))
}

fn fix(console: &mut Console, ground: &Arc<Ground>, daemon: &Arc<Daemon>) -> Vec<String> {
    let (ground, daemon) = (ground.clone(), daemon.clone());
    bounded(console, "what can be put right", move || doctor::repair(&ground, &daemon))
        .unwrap_or_else(|hangs| vec![format!("could not put everything right: {hangs}")])
}

impl Report {
    fn of(checks: Vec<Row>, repairs: Vec<String>) -> Self {
        let count = |state| checks.iter().filter(|row| row.finding.state == state).count();
        let (problems, warnings) = (count(State::Problem), count(State::Warning));
        Self { ok: problems == 0, problems, warnings, checks, repairs }
    }

    fn verdict(&self) -> String {
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        match (self.problems, self.warnings) {
            (0, 0) => "all is well".to_owned(),
            (0, warnings) => format!("no problem, {}", counted(warnings, "warning")),
            (problems, 0) => counted(problems, "problem"),
            (problems, warnings) => {
                format!("{}, {}", counted(problems, "problem"), counted(warnings, "warning"))
            }
        }
    }
}

fn show(console: &mut Console, row: &Row) -> Result<(), CliError> {
    for line in lines(row) {
        let line = console.typed(&line).into_owned();
        // What is wrong is to be seen at once.
        if row.finding.state == State::Problem && line.starts_with("PROBLEM") {
            console.headline(&line)?;
        } else {
            console.line(&line)?;
        }
    }
    Ok(())
}

fn lines(row: &Row) -> Vec<String> {
    let Finding { state, finding, remedy, details } = &row.finding;
    let word = match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Problem => "PROBLEM",
    };
    let indent = " ".repeat(STATE_WIDTH + CHECK_WIDTH);
    let mut lines = vec![format!("{word:<STATE_WIDTH$}{:<CHECK_WIDTH$}{finding}", row.check)];
    lines.extend(remedy.iter().map(|remedy| format!("{indent}-> {remedy}")));
    lines.extend(details.iter().map(|detail| format!("{indent}   {detail}")));
    lines
}

/// What the daemon says of itself, in a bounded time.
async fn ask(console: &mut Console, ground: &Ground) -> Daemon {
    let conversation = async {
        let mut client = Client::connect(&ground.settings.house.socket).await?;
        let house = client.status().await?;
        let sessions = sessions(&mut client).await.map_err(|error| error.to_string());
        Ok(Daemon::Runs { house: Box::new(house), sessions })
    };
    let in_time = timeout(DAEMON_TIMEOUT, conversation);
    tokio::pin!(in_time);
    let answer = loop {
        match timeout(PATIENCE, &mut in_time).await {
            Ok(answer) => break answer,
            Err(_) => drop(console.progress("asking the daemon")),
        }
    };
    match answer.unwrap_or(Err(ClientError::Silent { deadline: DAEMON_TIMEOUT })) {
        Ok(daemon) => daemon,
        Err(error) if error.is_away() => Daemon::Away,
        Err(error @ ClientError::Permission { .. }) => Daemon::Foreign { why: error.to_string() },
        Err(error) => Daemon::Silent { why: error.to_string() },
    }
}

/// All sessions: the daemon has to read them from the store.
async fn sessions(client: &mut Client) -> Result<Vec<SessionView>, ClientError> {
    let mut all: Vec<SessionView> = Vec::new();
    loop {
        let after = all.last().map(|session| session.session.clone());
        match client.call(Op::Sessions { archon: None, after }).await? {
            Reply::Sessions(page) if page.is_empty() => return Ok(all),
            Reply::Sessions(page) => all.extend(page),
            _ => return Err(ClientError::Protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(check: &'static str, finding: Finding) -> Row {
        Row { check, finding }
    }

    #[test]
    fn findings_are_columns_with_what_to_do_below() {
        let wrong = Finding::problem("others can change /x", "`archond doctor --fix`").detail("and /y");
        insta::assert_snapshot!(lines(&row("rights", wrong)).join("\n"), @r"
        PROBLEM rights     others can change /x
                           -> `archond doctor --fix`
                              and /y
        ");
        assert_eq!(lines(&row("clock", Finding::ok("2026"))), ["ok      clock      2026"]);
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let warning = || row("disk", Finding::warning("a", "b"));
        let problem = || row("disk", Finding::problem("a", "b"));
        let table = [
            (vec![], true, "all is well"),
            (vec![warning()], true, "no problem, 1 warning"),
            (vec![problem(), warning(), warning()], false, "1 problem, 2 warnings"),
            (vec![problem(), problem()], false, "2 problems"),
        ];
        for (rows, ok, verdict) in table {
            let report = Report::of(rows, Vec::new());
            assert_eq!((report.ok, report.verdict().as_str()), (ok, verdict));
        }
    }
}

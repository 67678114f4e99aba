//! A server that runs until nobody wants it any more, and the process that keeps it: starts it one lock further in, and ends everything
//! that came of it.
//!
//! The keeper's input is the server's own, behind the order's line. It is not read here: its end alone counts, which comes when whoever
//! asked for the server is done with it, or gone.
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitStatus, set_child_subreaper};

use super::confine::{self, Role};
use super::shell::{OOM_SCORE, go_first, go_last, reaches_its_own_alone};
use super::{BECOME_SERVER, RunnerFailure, VERB, descendants, end_with_parent, own_id, settle};
use crate::tools::order::{ORDER_BYTES_MAX, Order};

/// Holds the order of a process that becomes a server.
const ORDER_VARIABLE: &str = "ARCHOND_SERVER_ORDER";
/// Between two looks at the server and at what it started, once it runs: it may run for weeks.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// For a server whose input has ended, to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// Added to a signal's number, as shells do.
const BY_SIGNAL: i32 = 128;

/// Keeps the server of the order that stands on the input.
pub(super) fn keep() -> ExitCode {
    match kept() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(failure) => {
            say(&format!("the server cannot be started: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// To whoever watches what the server says about itself.
fn say(text: &str) {
    let _unheard = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn kept() -> Result<i32, RunnerFailure> {
    let order = order()?;
    settle(&order)?;
    let system = |what| move |source| RunnerFailure::System { what, source };
    // Where it cannot be said, the kernel chooses by itself.
    let _said = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    set_child_subreaper(Some(own_id())).map_err(|error| system("to adopt orphans")(error.into()))?;
    go_first();
    let locks = confine::close(&order, Role::Keeps)?;
    let others = u64::from(rustix::system::sysinfo().procs);
    let server = start(&order).map_err(system("to start the server"))?;
    let status = watch(&order, server, others).map_err(system("to watch the server"))?;
    if !descendants::end(reaches_its_own_alone(&order, locks)) {
        say("a process of this server cannot be ended; look at the machine");
    }
    Ok(status.map_or(0, code))
}

fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| BY_SIGNAL + signal)).unwrap_or(1)
}

/// The order's line, byte by byte: what follows is the server's.
fn order() -> Result<Order, RunnerFailure> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    let input = rustix::stdio::stdin();
    while line.len() as u64 <= ORDER_BYTES_MAX {
        match rustix::io::read(input, &mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend(byte),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RunnerFailure::Input(error.into())),
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Starts this program once more, which becomes the server. Its input is the server's, so it is told its order in its environment, where
/// the server's secrets come to stand in any case.
fn start(order: &Order) -> io::Result<Pid> {
    let mut process = Command::new("/proc/self/exe");
    process.args([VERB, BECOME_SERVER]).env(ORDER_VARIABLE, serde_json::to_string(order)?);
    let child = process.spawn()?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Until the server has ended, or nobody wants it. `None`: it had to be ended.
fn watch(order: &Order, server: Pid, others: u64) -> io::Result<Option<WaitStatus>> {
    let mut until: Option<Instant> = None;
    loop {
        if let Some(status) = descendants::reap(server) {
            return Ok(Some(status));
        }
        // An input whose end has come would end every wait at once.
        let input = rustix::stdio::stdin();
        let mut watched = [PollFd::from_borrowed_fd(input, PollFlags::empty())];
        let watched: &mut [PollFd<'_>] = if until.is_none() { &mut watched } else { &mut [] };
        let has_ended = match poll(watched, Some(&TICK)) {
            Ok(happened) => happened > 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        let now = descendants::now();
        if has_ended {
            until = Some(now + GRACE);
        }
        if until.is_some_and(|until| now >= until) {
            return Ok(None);
        }
        let most = u64::from(order.limits.processes_max);
        if descendants::are_more_than(most, others) {
            say(&format!("the server ran more than {most} processes at once and was ended"));
            return Ok(None);
        }
    }
}

/// Closes itself in one lock further than its keeper, to whom it cannot even send a signal, and becomes the server.
pub(super) fn become_server() -> ExitCode {
    let failure = match prepared() {
        Ok(mut command) => {
            let program = command.get_program().to_string_lossy().into_owned();
            let source = command.exec();
            say(&format!("{program} cannot be run: {source}"));
            return ExitCode::FAILURE;
        }
        Err(failure) => failure,
    };
    say(&format!("the server cannot be started: {failure}"));
    ExitCode::FAILURE
}

fn prepared() -> Result<Command, RunnerFailure> {
    let system = |what| move |error: rustix::io::Errno| RunnerFailure::System { what, source: error.into() };
    let absent = || RunnerFailure::Input(io::ErrorKind::NotFound.into());
    let order: Order = serde_json::from_str(&std::env::var(ORDER_VARIABLE).map_err(|_| absent())?)?;
    end_with_parent()?;
    rustix::process::setsid().map_err(system("a session of its own"))?;
    go_last().map_err(system("a lower priority"))?;
    confine::close(&order, Role::Shell)?;
    let (Some(program), Some(server)) = (&order.program, &order.server) else { return Err(absent()) };
    let mut command = Command::new(program);
    command
        .args(&server.arguments)
        .envs(server.env.iter().map(|(name, value)| (name, value)))
        .env_remove(ORDER_VARIABLE)
        .current_dir(&order.workspace);
    Ok(command)
}

//! The tool process: `archond tool-runner`. It reads one order, closes itself in, acts, answers, and ends.
//!
//! Started by `process` only. Its standard input stays open as long as somebody wants the answer.
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::order::{Answer, ORDER_BYTES_MAX, Order, PROBE};
use super::web::is_web;
use confine::{ConfineError, Role};

mod calls;
mod captured;
pub(super) mod confine;
mod descendants;
mod files;
mod filter;
mod glob;
mod grep;
mod program;
mod roots;
mod send;
mod server;
mod shell;
mod web;

/// The subcommand, as the daemon starts it.
pub const VERB: &str = "tool-runner";
/// With this word behind it, the process becomes the shell.
const BECOME_SHELL: &str = "--shell";
/// With this word behind it, the process keeps a server.
pub(super) const KEEP_SERVER: &str = "--server";
/// With this word behind it, the process becomes the server.
const BECOME_SERVER: &str = "--become-server";
/// Exit code for a wrong command line (EX_USAGE).
const USAGE: u8 = 64;

/// Why a process could not even begin.
#[derive(Debug, thiserror::Error)]
enum RunnerFailure {
    #[error("the order cannot be read: {0}")]
    Order(#[from] serde_json::Error),
    #[error("the order cannot be read: {0}")]
    Input(io::Error),
    #[error("it was orphaned before it could begin")]
    Orphaned,
    #[error("the system refuses {what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

/// The subcommand `tool-runner`, from its command line to its end. `main` calls it before anything else is started: the sandbox must be
/// closed while the process has one thread.
pub fn run_tool() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    match arguments.as_slice() {
        [] => serve(),
        [word] if word == BECOME_SHELL => {
            let failure = shell::become_shell();
            // Whoever asked for the shell reads this as its output.
            let _unheard = io::stderr().write_all(format!("it cannot be started: {failure}\n").as_bytes());
            ExitCode::FAILURE
        }
        [word] if word == KEEP_SERVER => server::keep(),
        [word] if word == BECOME_SERVER => server::become_server(),
        _ => {
            let text = b"`tool-runner` is started by archond; by hand, `archond tool call` makes sense\n";
            let _unheard = io::stderr().write_all(text);
            ExitCode::from(USAGE)
        }
    }
}

fn serve() -> ExitCode {
    let answer = read_order()
        .and_then(|order| act(&order))
        .unwrap_or_else(|failure| Answer::Failed(format!("the tool process cannot work: {failure}")));
    let told = serde_json::to_vec(&answer).map_err(io::Error::from).and_then(|line| {
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    });
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn act(order: &Order) -> Result<Answer, RunnerFailure> {
    settle(order)?;
    Ok(match order.tool.as_str() {
        _ if order.keeps() => shell::keep(order)?,
        PROBE => {
            let locks = confine::close(order, Role::Shell)?;
            Answer::Done(serde_json::to_string(&locks)?)
        }
        tool if is_web(tool) => web::call(order)?,
        tool => {
            let role = if files::changes(tool) { Role::Changes } else { Role::Looks };
            confine::close(order, role)?;
            files::call(order).map_or_else(|fault| Answer::Failed(fault.to_string()), Answer::Done)
        }
    })
}

/// Reads the order's line. What follows on the input is not read: its end is what counts.
fn read_order() -> Result<Order, RunnerFailure> {
    let mut line = Vec::new();
    let mut input = io::stdin().lock().take(ORDER_BYTES_MAX);
    io::BufRead::read_until(&mut input, b'\n', &mut line).map_err(RunnerFailure::Input)?;
    Ok(serde_json::from_slice(&line)?)
}

/// What concerns the process itself.
fn settle(order: &Order) -> Result<(), RunnerFailure> {
    close_inherited()
        .map_err(|source| RunnerFailure::System { what: "the list of its open files", source })?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // A shell's keeper ends what came of it when its input ends. A signal would end the keeper alone.
    if let Some(parent) = order.parent
        && !order.keeps()
    {
        end_with_parent()?;
        if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(parent) {
            return Err(RunnerFailure::Orphaned);
        }
    }
    Ok(())
}

fn end_with_parent() -> Result<(), RunnerFailure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| RunnerFailure::System { what: "a signal at its parent's end", source: error.into() })
}

/// Closes what the daemon, or whoever started it, left open: a tool has its three streams and nothing else.
fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let inherited: Vec<RawFd> = numbers.filter(|&number| number > libc::STDERR_FILENO).collect();
    for number in inherited {
        // The descriptor of the listing itself is among them, and closed by now.
        let _gone = nix::unistd::close(number);
    }
    Ok(())
}

fn own_id() -> Pid {
    getpid()
}

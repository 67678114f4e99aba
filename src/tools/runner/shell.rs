//! The shell, and the process that keeps it: starts it one lock further in, reads what it says, and ends everything that came of it.
//! A program of the user's own takes the shell's place; its error output is kept apart.
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitStatus, getppid, set_child_subreaper, test_kill_process};

use super::captured::Captured;
use super::confine::{self, Role};
use super::{BECOME_SHELL, RunnerFailure, VERB, descendants, end_with_parent, own_id, program, read_order};
use crate::tools::arguments::{self, Bash};
use crate::tools::order::{Answer, BASH, Locks, Order};

/// Between two looks at the shell and at what it started: a fork bomb does some hundred in this time.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Longest command: the kernel takes 128 KiB for one argument.
const COMMAND_BYTES_MAX: usize = 64 << 10;
/// Kept of the time of a call, to end the shell and to tell what it said.
const RESERVE: Duration = Duration::from_millis(500);
/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Says to the kernel, when memory runs out: take these processes, not the daemon. Of 1000.
pub(super) const OOM_SCORE: &str = "900";
/// Lets the house go first when both want the processor.
const NICE: i32 = 5;

/// How the shell ended, or was ended.
enum End {
    Exited(WaitStatus),
    TimedOut,
    TooManyProcesses,
    Unwanted,
}

/// Runs the order's command and answers what it said.
pub(super) fn keep(order: &Order) -> Result<Answer, RunnerFailure> {
    let bash = match asked(order) {
        Ok(bash) => bash,
        Err(why) => return Ok(Answer::Failed(why)),
    };
    let system = |what| move |source| RunnerFailure::System { what, source };
    // Where it cannot be said, the kernel chooses by itself.
    let _said = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    set_child_subreaper(Some(own_id())).map_err(|error| system("to adopt orphans")(error.into()))?;
    go_first();
    let locks = confine::close(order, Role::Keeps)?;
    let most = order.time_max.saturating_sub(RESERVE).max(RESERVE);
    let time_max = bash
        .timeout
        .filter(|seconds| *seconds > 0)
        .map_or(most, |seconds| most.min(Duration::from_secs(seconds)));
    let deadline = descendants::now() + time_max;
    let others = u64::from(rustix::system::sysinfo().procs);
    let (output, errors, shell) = start(order, &bash.command).map_err(system("to start the shell"))?;
    let mut keeper =
        Keeper { output: Stream::of(Some(output)), errors: Stream::of(errors), shell, others, order };
    let end = keeper.watch(deadline).map_err(system("to watch the shell"))?;
    let ended = descendants::end(reaches_its_own_alone(order, locks));
    keeper.drain().map_err(system("to read what the shell said"))?;
    let (output, errors) = (keeper.output.captured.text(), keeper.errors.captured.text());
    let answer = match &end {
        End::Exited(status) if order.program.is_some() => {
            program::answer(failure(*status).as_deref(), output, &errors)
        }
        _ => words(output + &errors, &end, time_max, order),
    };
    Ok(if ended {
        answer
    } else {
        Answer::Failed("a process of this command cannot be ended; look at the machine".to_owned())
    })
}

/// Lets a keeper be heard however many processes want the processor. Only root may ask for it, for whom alone the kernel's own limit does
/// not hold: a fork bomb of his is bounded by its keeper, who must not wait in one queue with it.
pub(super) fn go_first() {
    let _only_root_may = rustix::process::setpriority_process(None, -20);
}

/// Lets the house, and the keeper, go before what a tool runs. Most systems share the processor between sessions, and only then between
/// the processes of each, so the session that just began has to say it, too.
pub(super) fn go_last() -> rustix::io::Result<()> {
    let _system_may_have_none = std::fs::write("/proc/self/autogroup", NICE.to_string());
    rustix::process::setpriority_process(None, NICE)
}

/// Whether a signal to everybody reaches nobody but what was started here. Before everybody who can be reached is killed, it must be sure
/// that the daemon cannot be. Behind bubblewrap it is not there.
pub(super) fn reaches_its_own_alone(order: &Order, locks: Locks) -> bool {
    let parent = getppid();
    let is_apart = parent.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::PERM));
    let is_alone = order.is_wrapped() && parent == Some(Pid::INIT);
    is_alone || (locks.bounds_signals && is_apart)
}

/// What is to be run; of a program its input, which has been checked.
fn asked(order: &Order) -> Result<Bash, String> {
    if order.program.is_some() {
        return Ok(Bash { command: order.arguments.clone(), timeout: None });
    }
    let bash: Bash = arguments::read(BASH, &order.arguments).map_err(|error| error.to_string())?;
    if bash.command.len() > COMMAND_BYTES_MAX || bash.command.contains('\0') {
        return Err("the command is too long or holds a zero byte; write it into a file first".to_owned());
    }
    Ok(bash)
}

fn words(text: String, end: &End, time_max: Duration, order: &Order) -> Answer {
    let so_far = if text.is_empty() { String::new() } else { format!("; its output so far:\n{text}") };
    let what = if order.program.is_some() { "program" } else { "command" };
    match end {
        End::Exited(status) => Answer::Done(with_status(text, *status)),
        End::TimedOut => Answer::Failed(format!(
            "the {what} took longer than {} s and was ended{so_far}",
            time_max.as_secs_f32()
        )),
        End::TooManyProcesses => {
            let most = order.limits.processes_max;
            Answer::Failed(format!("the {what} ran more than {most} processes at once and was ended{so_far}"))
        }
        End::Unwanted => Answer::Failed("the call was given up".to_owned()),
    }
}

fn with_status(mut text: String, status: WaitStatus) -> String {
    let note = match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => return text,
        (Some(code), _) => format!("[exit code {code}]"),
        (_, Some(signal)) => format!("[ended by signal {signal}]"),
        _ => "[ended]".to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&note);
    text
}

/// How a program ended, unless well.
fn failure(status: WaitStatus) -> Option<String> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("with exit code {code}")),
        (_, Some(signal)) => Some(format!("by signal {signal}")),
        _ => Some("without a reason".to_owned()),
    }
}

/// Starts this program once more, which becomes the shell. What a shell says is one output; a program has one for errors, too.
fn start(order: &Order, command: &str) -> io::Result<(PipeReader, Option<PipeReader>, Pid)> {
    let (output, writer) = io::pipe()?;
    let (errors, error_writer) = if order.program.is_some() {
        let (errors, error_writer) = io::pipe()?;
        (Some(errors), error_writer)
    } else {
        (None, writer.try_clone()?)
    };
    let inner = Order { arguments: command.to_owned(), ..order.clone() };
    let mut process = Command::new("/proc/self/exe");
    process.args([VERB, BECOME_SHELL]).stdin(Stdio::piped()).stdout(writer).stderr(error_writer);
    let mut child = process.spawn()?;
    drop(process); // its ends of the pipe would keep the output open
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    if let Some(mut input) = child.stdin.take() {
        let mut line = serde_json::to_vec(&inner)?;
        line.push(b'\n');
        input.write_all(&line)?;
    }
    Ok((output, errors, pid))
}

/// One output, and what was kept of it.
struct Stream {
    pipe: Option<PipeReader>,
    captured: Captured,
}

impl Stream {
    fn of(pipe: Option<PipeReader>) -> Self {
        Self { pipe, captured: Captured::default() }
    }

    fn or<'p>(&'p self, other: &'p io::Stdin) -> PollFd<'p> {
        let pipe = self.pipe.as_ref().map_or(other.as_fd(), AsFd::as_fd);
        PollFd::from_borrowed_fd(pipe, PollFlags::IN)
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = pipe.read(&mut chunk)?;
        self.captured.push(chunk.get(..length).unwrap_or_default());
        if length == 0 {
            self.pipe = None;
        }
        Ok(())
    }

    /// Everything that is left in the pipe. Whoever could have written more is gone.
    fn drain(&mut self) -> io::Result<()> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Some(pipe) = &self.pipe {
            let mut watched = [PollFd::new(pipe, PollFlags::IN)];
            if poll(&mut watched, Some(&none))? == 0 {
                break;
            }
            self.read()?;
        }
        Ok(())
    }
}

struct Keeper<'o> {
    output: Stream,
    errors: Stream,
    shell: Pid,
    /// Threads on the machine before.
    others: u64,
    order: &'o Order,
}

impl Keeper<'_> {
    fn watch(&mut self, deadline: Instant) -> io::Result<End> {
        let input = io::stdin();
        loop {
            let (has_output, has_errors, is_unwanted) = {
                // One that nobody polls: the input once more.
                let (output, errors) = (self.output.or(&input), self.errors.or(&input));
                let mut watched = [PollFd::new(&input, PollFlags::IN), output, errors];
                match poll(&mut watched, Some(&TICK)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                let [input, output, errors] = watched.map(|one| !one.revents().is_empty());
                (output && !input, errors && !input, input)
            };
            if is_unwanted {
                return Ok(End::Unwanted);
            }
            if has_output {
                self.output.read()?;
            }
            if has_errors {
                self.errors.read()?;
            }
            if let Some(status) = descendants::reap(self.shell) {
                return Ok(End::Exited(status));
            }
            if self.is_crowded() {
                return Ok(End::TooManyProcesses);
            }
            if descendants::now() >= deadline {
                return Ok(End::TimedOut);
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        self.output.drain()?;
        self.errors.drain()
    }

    /// Counts exactly only when the machine as a whole has that many more: the kernel's own limit does not hold for root.
    fn is_crowded(&self) -> bool {
        descendants::are_more_than(u64::from(self.order.limits.processes_max), self.others)
    }
}

/// Closes itself in one lock further than its keeper, to whom it cannot even send a signal, and becomes the shell.
pub(super) fn become_shell() -> RunnerFailure {
    let prepared = || -> Result<Command, RunnerFailure> {
        let order = read_order()?;
        let system =
            |what| move |error: rustix::io::Errno| RunnerFailure::System { what, source: error.into() };
        end_with_parent()?;
        rustix::process::setsid().map_err(system("a session of its own"))?;
        go_last().map_err(system("a lower priority"))?;
        let input = match order.program {
            Some(_) => program::input(&order),
            None => std::fs::File::open("/dev/null"),
        };
        let input = input.map_err(|source| RunnerFailure::System { what: "an input", source })?;
        rustix::stdio::dup2_stdin(input).map_err(system("an input"))?;
        confine::close(&order, Role::Shell)?;
        if let Some(program) = &order.program {
            let mut command = Command::new(program);
            command.current_dir(&order.workspace);
            return Ok(command);
        }
        let shell =
            ["/bin/bash", "/usr/bin/bash", "/bin/sh"].into_iter().find(|shell| Path::new(shell).exists());
        let mut command = Command::new(shell.unwrap_or("/bin/bash"));
        command.args(["-c", &order.arguments]).current_dir(&order.workspace);
        Ok(command)
    };
    match prepared() {
        Ok(mut command) => RunnerFailure::System { what: "to run it", source: command.exec() },
        Err(failure) => failure,
    }
}

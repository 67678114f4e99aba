//! `archond stop` and `archond shutdown`: ends what runs, and waits until it has ended.
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::places::Places;
use super::runtime;
use crate::admin::protocol::{HouseView, Op, Reply};

/// Longest wait for an Archon to stop: each of its actors has 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for the daemon to be gone: it has 20 s for its own order of ending.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);
/// Between two looks at a process that is not our child, which tells nobody when it ends.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Stops Archons, one after the other.
pub(super) fn stop(console: &mut Console, names: &[String]) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        for name in names {
            console.progress(&format!("stopping {name}: running answers go back to the inbox"))?;
            let op = Op::StopArchon { archon: name.clone() };
            match client.call_within(op, STOP_TIMEOUT).await? {
                Reply::Done => console.line(&format!("{name} is stopped; its messages are kept"))?,
                _ => return Err(ClientError::Protocol.into()),
            }
        }
        Ok(ExitCode::Ok)
    })
}

/// Ends the daemon. That nobody runs is what was wanted.
pub(super) fn shutdown(console: &mut Console) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let house = match ask_to_end(&places.socket).await {
            Ok(house) => house,
            Err(ClientError::NotRunning) => {
                console.line("archond is not running")?;
                return Ok(ExitCode::Ok);
            }
            Err(error) => return Err(error.into()),
        };
        wait_until_gone(console, house.pid).await?;
        console.line("archond has ended; nothing is lost")?;
        Ok(ExitCode::Ok)
    })
}

async fn ask_to_end(socket: &Path) -> Result<HouseView, ClientError> {
    let mut client = Client::connect(socket).await?;
    let house = client.status().await?;
    match client.done(Op::Shutdown).await {
        // It may be gone before its answer is read.
        Ok(()) | Err(ClientError::Lost) => Ok(house),
        Err(error) => Err(error),
    }
}

async fn wait_until_gone(console: &mut Console, pid: u32) -> Result<(), CliError> {
    let since = Instant::now();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while since.elapsed() < SHUTDOWN_TIMEOUT {
        if !is_alive(pid) {
            return Ok(());
        }
        console
            .progress(&format!("running answers go back to the inbox: {} s", since.elapsed().as_secs()))?;
        looks.tick().await;
    }
    Err(CliError::StillEnding { pid })
}

/// Whether the process exists and has not ended: one that has and waits for its parent's attention counts as gone.
fn is_alive(pid: u32) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    if test_kill_process(id) == Err(Errno::SRCH) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything: the state follows the last one.
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_child_counts_as_gone_before_it_is_waited_for() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        while is_alive(pid) {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
        assert!(!is_alive(pid) && !is_alive(0));
    }
}

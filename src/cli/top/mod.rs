//! `archond top`: the running house, live in the terminal.
//!
//! [`watched`] is what was seen, [`screen`] how it is drawn.
mod screen;
mod watched;

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::places::Places;
use super::repl::ask;
use super::runtime;
use crate::admin::operator::{InsideOp, InsideReply};
use crate::admin::protocol::{Op, Reply};
use screen::View;
use watched::{Look, Watched};

/// Between two looks at the keyboard: nobody notices less.
const KEY_INTERVAL: Duration = Duration::from_millis(50);

/// Watch the running house: actors, models, tokens per second, queue
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    /// Seconds between two looks
    #[arg(short = 'n', long, default_value_t = 1.0, value_parser = period)]
    every: f64,
}

fn period(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.2..=60.0).contains(&seconds) { Ok(seconds) } else { Err("not between 0.2 and 60 seconds".into()) }
}

/// Runs the command.
pub(super) fn run(console: &mut Console, args: &TopArgs) -> Result<ExitCode, CliError> {
    let terminals = console.terminals();
    if !terminals.input || !terminals.output {
        let message = "top needs a terminal; for a pipe there is `archond repl -c 'watch tree'`".to_owned();
        return Err(CliError::Usage { message });
    }
    let places = Places::find()?;
    let runtime = runtime()?;
    let mut client = runtime.block_on(Client::connect(&places.socket))?;
    let mut terminal = ratatui::try_init()?;
    let ended = runtime.block_on(show(&mut terminal, &mut client, args.every));
    ratatui::try_restore()?;
    match ended {
        Err(CliError::Client(ClientError::Lost)) => {
            console.note("the daemon has ended")?;
            Ok(ExitCode::Unavailable)
        }
        ended => ended.map(|()| ExitCode::Ok),
    }
}

/// Looks and draws until somebody wants no more.
async fn show(terminal: &mut DefaultTerminal, client: &mut Client, every: f64) -> Result<(), CliError> {
    let (mut watched, mut view) = (Watched::default(), View::default());
    let mut looks = interval(Duration::from_secs_f64(every));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keys = interval(KEY_INTERVAL);
    keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = looks.tick(), if !view.paused => watched.take(look(client).await?),
            _ = keys.tick() => {
                let mut touched = false;
                while poll(Duration::ZERO)? {
                    touched = true;
                    if leaves(&mut view, &read()?) {
                        return Ok(());
                    }
                }
                if !touched {
                    continue;
                }
            }
        }
        terminal.draw(|frame| screen::draw(frame, &watched, &mut view))?;
    }
}

/// Whether this key ends it; others change what is seen.
fn leaves(view: &mut View, event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    if key.kind != KeyEventKind::Press {
        return false;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('p' | ' ') => view.paused = !view.paused,
        KeyCode::Up | KeyCode::Char('k') => view.scroll = view.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.scroll = view.scroll.saturating_add(1),
        KeyCode::PageUp => view.scroll = view.scroll.saturating_sub(10),
        KeyCode::PageDown => view.scroll = view.scroll.saturating_add(10),
        KeyCode::Home => view.scroll = 0,
        _ => {}
    }
    false
}

async fn look(client: &mut Client) -> Result<Look, CliError> {
    let house = client.status().await?;
    let actors = ask::tree(client).await?;
    let Reply::Inside(InsideReply::Pool { models, requests }) =
        client.call(Op::Inside(InsideOp::Pool)).await?
    else {
        return Err(ClientError::Protocol.into());
    };
    Ok(Look { at: tokio::time::Instant::now(), house, actors, models, requests })
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_scroll_pause_and_leave() {
        let mut view = View::default();
        let mut press = |code, modifiers| leaves(&mut view, &Event::Key(KeyEvent::new(code, modifiers)));
        assert!(!press(KeyCode::Down, KeyModifiers::NONE) && !press(KeyCode::Char('p'), KeyModifiers::NONE));
        assert!(!press(KeyCode::Char('c'), KeyModifiers::NONE), "only with Ctrl");
        assert!(press(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(press(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!((view.scroll, view.paused), (1, true));
    }
}

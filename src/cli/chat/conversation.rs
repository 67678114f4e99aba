//! One conversation over the socket: sends a message, shows its answer, and rides over a daemon that is started anew.
//!
//! Every message has a key of its own. When the connection is lost, the same message is sent again with the same key, so the daemon
//! writes it once and answers it once, whatever was lost on the way.
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use archond_actors::command::Intent;
use archond_actors::domain::is_call_name;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::answer::{AnswerOnScreen, Display, FAILURE};
use super::slash;
use super::typed::TypedLine;
use crate::admin::protocol::{AnswerView, ErrorCode, Op, Reply, TurnView};
use crate::cli::client::{Client, ClientError, accepted};
use crate::cli::console::Console;
use crate::cli::error::CliError;

/// How long a lost daemon is waited for: a restart with a large store and a cold disk, several times over.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries to reach it: a person does not notice, and the machine neither.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered.
    Answered,
    /// There is no answer, and the reason was shown.
    Failed,
    /// The person stopped the answer; what there was of it was shown.
    Stopped,
}

/// A conversation with one Archon.
pub(super) struct Conversation {
    socket: PathBuf,
    archon: String,
    thread: Option<String>,
    /// Whole paths of files that go with the next message.
    files: Vec<String>,
    client: Client,
}

/// A message that is on its way.
struct Pending<'a> {
    op: Op,
    screen: AnswerOnScreen,
    interrupts: &'a mut Signal,
    accepted: bool,
    stopping: bool,
    /// The person is asked about a call, and what is typed now is the answer.
    asked: Option<TypedLine>,
    /// Commands that were sent beside the message: their answers are confirmed, and shown to nobody twice.
    beside: Vec<u64>,
    /// When the connection was lost, until it stands again and the message is accepted.
    away_since: Option<Instant>,
}

impl Conversation {
    /// Opens the socket.
    pub(super) async fn open(
        socket: PathBuf,
        archon: String,
        thread: Option<String>,
    ) -> Result<Self, CliError> {
        let client = Client::connect(&socket).await?;
        Ok(Self { socket, archon, thread, files: Vec::new(), client })
    }

    /// The Archon's name.
    pub(super) fn archon(&self) -> &str {
        &self.archon
    }

    /// Has a file go with the next message. Answers its whole path.
    pub(super) fn attach(&mut self, path: &Path) -> Result<&str, CliError> {
        let unread = |source: std::io::Error| CliError::Usage {
            message: format!("{} cannot be attached: {source}", path.display()),
        };
        let whole = path.canonicalize().map_err(unread)?;
        self.files.push(whole.display().to_string());
        Ok(self.files.last().map_or("", String::as_str))
    }

    /// The connection, for questions beside the conversation.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Shows the answers that came while nobody looked.
    pub(super) async fn catch_up(&mut self, console: &mut Console) -> Result<(), CliError> {
        let reply = self.client.call(Op::Undelivered { archon: self.archon.clone() }).await?;
        let Reply::Answers(answers) = reply else { return Err(ClientError::Protocol.into()) };
        if !answers.is_empty() {
            console.note("while you were away:")?;
        }
        for answer in answers {
            AnswerOnScreen::new(Display::Stream).finish(console, &answer)?;
            console.line("")?;
            self.confirm(answer.outbox).await?;
        }
        Ok(())
    }

    /// Says something and shows the answer.
    pub(super) async fn say(
        &mut self,
        console: &mut Console,
        text: &str,
        display: Display,
    ) -> Result<Outcome, CliError> {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(|source| CliError::Signal { source })?;
        let key = message_key().map_err(|source| CliError::Random { source })?;
        let (archon, text_sent, thread) = (self.archon.clone(), text.to_owned(), self.thread.clone());
        // A command brings nothing.
        let files =
            if Intent::of(text) == Intent::Message { std::mem::take(&mut self.files) } else { Vec::new() };
        let op = match files.is_empty() {
            true => Op::Chat { archon, text: text_sent, key, thread },
            false => Op::Bring { archon, text: text_sent, key, thread, files },
        };
        let mut pending = Pending {
            op,
            screen: AnswerOnScreen::new(display),
            interrupts: &mut interrupts,
            accepted: false,
            stopping: false,
            asked: None,
            beside: Vec::new(),
            away_since: None,
        };
        let answer = loop {
            match self.attempt(console, &mut pending).await {
                Ok(answer) => break answer,
                Err(CliError::Client(error)) if pending.may_try_again(&error) => {
                    self.reconnect(console, &mut pending).await?;
                }
                Err(error) => return Err(error),
            }
        };
        let stopped = pending.stopping;
        pending.screen.finish(console, &answer)?;
        // An answer whose confirmation is lost is offered again at the next start: better twice than never.
        match self.confirm(answer.outbox).await {
            Err(ClientError::Refused { .. }) | Ok(()) => {}
            Err(error) if error.is_away() => {}
            Err(error) => return Err(error.into()),
        }
        if slash::changes_session(text) {
            self.thread = None;
        }
        Ok(match answer.kind.as_str() {
            _ if stopped => Outcome::Stopped,
            FAILURE => Outcome::Failed,
            _ => Outcome::Answered,
        })
    }

    /// Sends the message over the present connection and follows it to its end.
    async fn attempt(
        &mut self,
        console: &mut Console,
        pending: &mut Pending<'_>,
    ) -> Result<AnswerView, CliError> {
        let id = self.client.send(pending.op.clone()).await?;
        if pending.stopping {
            self.cancel().await?;
        }
        loop {
            let response = tokio::select! {
                biased;
                _ = pending.interrupts.recv() => {
                    if pending.stopping {
                        return Err(CliError::Interrupted);
                    }
                    pending.stopping = true;
                    self.cancel().await?;
                    console.progress("stopping; Ctrl-C again leaves")?;
                    continue;
                }
                line = TypedLine::next(&mut pending.asked) => {
                    self.on_typed(console, pending, line).await?;
                    continue;
                }
                response = self.client.next() => response?,
            };
            // The daemon could not read a request: no reply of its own will come.
            if response.id == 0 {
                accepted(response.reply)?;
                return Err(ClientError::Protocol.into());
            }
            if response.id != id {
                if pending.beside.contains(&response.id)
                    && let Reply::Turn(TurnView::Ended(answer)) = accepted(response.reply)?
                {
                    self.client.send(Op::Delivered { outbox: answer.outbox }).await?;
                }
                continue;
            }
            match accepted(response.reply)? {
                Reply::Turn(TurnView::Ended(answer)) => return Ok(answer),
                Reply::Turn(view) => {
                    if matches!(view, TurnView::Accepted { .. }) {
                        pending.accepted = true;
                        pending.away_since = None;
                    }
                    pending.screen.on_progress(console, &view)?;
                    match view {
                        TurnView::ApprovalWanted { .. } if console.terminals().input => {
                            console.ask("> ")?;
                            pending.asked = TypedLine::listen();
                        }
                        TurnView::CallBegun { .. } | TurnView::Text { .. } => pending.asked = None,
                        _ => {}
                    }
                }
                _ => return Err(ClientError::Protocol.into()),
            }
        }
    }

    /// What was typed about a call goes to the house as a message of its own.
    async fn on_typed(
        &mut self,
        console: &mut Console,
        pending: &mut Pending<'_>,
        line: Option<String>,
    ) -> Result<(), CliError> {
        let Some(decision) = line.as_deref().and_then(slash::decision) else {
            match line {
                Some(_) => {
                    console.note("/approve, /approve session, /approve always or /deny (or y, s, a, n)")?;
                    console.ask("> ")?;
                }
                // Nothing more can be typed.
                None => pending.asked = None,
            }
            return Ok(());
        };
        // What was said about somebody else's call leaves the own question open.
        if decision.split_whitespace().any(is_call_name) {
            console.ask("> ")?;
        } else {
            pending.asked = None;
        }
        let key = message_key().map_err(|source| CliError::Random { source })?;
        let (archon, thread) = (self.archon.clone(), self.thread.clone());
        let op = Op::Chat { archon, text: decision, key, thread };
        pending.beside.push(self.client.send(op).await?);
        Ok(())
    }

    /// Waits for the daemon to come back.
    async fn reconnect(&mut self, console: &mut Console, pending: &mut Pending<'_>) -> Result<(), CliError> {
        let away_since = *pending.away_since.get_or_insert_with(Instant::now);
        let mut tries = interval(RECONNECT_INTERVAL);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the daemon went away only now.
        tries.tick().await;
        while away_since.elapsed() < RECONNECT_TIMEOUT {
            let seconds = (RECONNECT_TIMEOUT - away_since.elapsed()).as_secs();
            console.progress(&format!("the connection is lost; trying again for {seconds} s"))?;
            tokio::select! {
                biased;
                _ = pending.interrupts.recv() => return Err(CliError::Interrupted),
                _ = tries.tick() => {}
            }
            match Client::connect(&self.socket).await {
                Ok(client) => {
                    self.client = client;
                    return Ok(());
                }
                Err(error) if error.is_away() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CliError::StillAway { kept: pending.accepted, archon: self.archon.clone() })
    }

    async fn cancel(&mut self) -> Result<(), ClientError> {
        let op = Op::Cancel { archon: self.archon.clone(), thread: self.thread.clone() };
        self.client.send(op).await.map(drop)
    }

    async fn confirm(&mut self, outbox: u64) -> Result<(), ClientError> {
        self.client.done(Op::Delivered { outbox }).await
    }
}

impl Pending<'_> {
    /// Whether the daemon is away, or is back and not yet ready: both pass.
    fn may_try_again(&self, error: &ClientError) -> bool {
        let starting =
            matches!(error, ClientError::Refused { code: ErrorCode::Unavailable | ErrorCode::Busy, .. });
        error.is_away() || (starting && self.away_since.is_some())
    }
}

/// A key that no other message has: 128 random bits.
fn message_key() -> io::Result<String> {
    let mut bits = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bits)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        let keys: std::collections::BTreeSet<_> = (0..100).map(|_| message_key().unwrap()).collect();
        assert!(keys.len() == 100 && keys.iter().all(|key| key.len() == 32));
    }
}

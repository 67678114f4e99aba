//! The life of a connection: made, watched, made again after a while when it ended, and left alone when it keeps failing.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::accepted::{Accepted, Pins, Standing};
use super::connection::{Caller, GIVEN_UP_MAX, Opened, give_up, is_alive, list, open};
use super::offer::Offer;
use crate::settings::McpServer;
use crate::tools::BuiltIn;

/// The first wait before a server is started again; each further one is twice as long.
const DELAY_MIN: Duration = Duration::from_millis(500);
/// The longest such wait.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Failures in a row after which it is left alone, for [`REST`] or until a call wants it.
const FAILURES_MAX: u32 = 8;
/// See [`FAILURES_MAX`].
const REST: Duration = Duration::from_secs(15 * 60);
/// A connection that held so long did not fail in a row with the ones before.
const STEADY: Duration = Duration::from_secs(60);
/// Not even a call starts a server sooner again.
const CALM: Duration = Duration::from_secs(1);
/// For the news why a server ended.
const NEWS_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a list of tools that keeps changing.
const LIST_PERIOD: Duration = Duration::from_millis(200);

/// What a server offers now: of each tool that a model can be given the hash.
#[derive(Debug, Default)]
pub(super) struct Offered(BTreeMap<String, String>);

impl Offered {
    fn new(server: &str, offers: &[Offer], nothing: &Accepted) -> Self {
        let standings = nothing.compare(server, offers);
        let usable = standings.into_iter().filter(|(_, standing)| *standing == Standing::New);
        let hash = |name: &String| offers.iter().find(|offer| offer.name == *name).map(Offer::hash);
        Self(usable.filter_map(|(name, _)| hash(&name).map(|hash| (name, hash))).collect())
    }

    /// Whether this very tool is among them.
    pub(super) fn has(&self, name: &str, hash: &str) -> bool {
        self.0.get(name).is_some_and(|offered| offered == hash)
    }
}

/// A connection that calls can be made in.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) caller: Caller,
    pub(super) offered: Arc<Offered>,
}

#[derive(Clone)]
enum Phase {
    Starting,
    Ready(Ready),
    Down(String),
}

/// The life of one server for one Archon.
pub(super) struct Life {
    server: McpServer,
    tools: BuiltIn,
    pins: Pins,
    seen: Pins,
    phase: watch::Sender<Phase>,
    wanted: Notify,
    doubted: Notify,
}

impl Life {
    pub(super) fn new(server: McpServer, tools: BuiltIn, pins: Pins, seen: Pins) -> Self {
        let (phase, _) = watch::channel(Phase::Starting);
        Self { server, tools, pins, seen, phase, wanted: Notify::new(), doubted: Notify::new() }
    }

    /// What is offered, while that is known.
    pub(super) fn offered(&self) -> Option<Arc<Offered>> {
        match &*self.phase.borrow() {
            Phase::Ready(ready) => Some(ready.offered.clone()),
            Phase::Starting | Phase::Down(_) => None,
        }
    }

    /// Waits for a connection; one that rests is asked for.
    pub(super) async fn ready(&self, time_max: Duration) -> Result<Ready, String> {
        let mut phases = self.phase.subscribe();
        let wait = async {
            let mut is_asked = false;
            loop {
                let phase = phases.borrow_and_update().clone();
                match phase {
                    Phase::Ready(ready) => return Ok(ready),
                    Phase::Down(why) if is_asked => return Err(why),
                    Phase::Down(_) => {
                        is_asked = true;
                        self.wanted.notify_one();
                    }
                    Phase::Starting => {}
                }
                // This very life holds the other end.
                let _changed = phases.changed().await;
            }
        };
        timeout(time_max, wait).await.unwrap_or_else(|_| Err("it has not started yet".to_owned()))
    }

    /// Why the connection of a call has ended.
    pub(super) async fn news(&self) -> String {
        let mut phases = self.phase.subscribe();
        let down = phases.wait_for(|phase| matches!(phase, Phase::Down(_)));
        match timeout(NEWS_TIMEOUT, down).await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Down(why) => why.clone(),
                Phase::Starting | Phase::Ready(_) => String::new(),
            },
            Ok(Err(_)) | Err(_) => "nobody knows why".to_owned(),
        }
    }

    /// A call got no answer: it is to be seen whether the server still answers at all.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Lives for ever.
    pub(super) async fn live(&self) {
        let name = &self.server.name;
        let mut failures = 0_u32;
        loop {
            self.phase.send_replace(Phase::Starting);
            let began = Instant::now();
            let why = Box::pin(self.once()).await;
            failures = if began.elapsed() >= STEADY { 1 } else { failures.saturating_add(1) };
            let delay = delay(failures);
            tracing::warn!(server = name, why, ?delay, "the MCP server ended and is started again");
            self.phase.send_replace(Phase::Down(why));
            // A delay is a deadline for what does not come.
            let _calm = timeout(delay.min(CALM), std::future::pending::<()>()).await;
            let _wanted_before = timeout(delay.saturating_sub(CALM), self.wanted.notified()).await;
        }
    }

    /// One connection, from its beginning to its end; tells why it ended.
    async fn once(&self) -> String {
        let Opened { service, serving, words } = match open(&self.server, &self.tools).await {
            Ok(opened) => opened,
            Err(why) => return why,
        };
        let (given_up, mut gave_up) = mpsc::channel(GIVEN_UP_MAX);
        let caller = Caller { peer: service.peer().clone(), listener: service.service().clone(), given_up };
        let mut ended = Box::pin(service.waiting());
        let mut fault = self.take_list(&caller).await.err();
        while fault.is_none() {
            tokio::select! {
                _ = &mut ended => break,
                Some(id) = gave_up.recv() => give_up(&caller.peer, id).await,
                () = caller.listener.changed.notified() => {
                    let _calm = timeout(LIST_PERIOD, std::future::pending::<()>()).await;
                    fault = self.take_list(&caller).await.err();
                }
                () = self.doubted.notified() => {
                    if !is_alive(&caller.peer).await {
                        fault = Some("it does not answer any more".to_owned());
                    }
                }
            }
        }
        drop(ended);
        let how = match serving {
            Some(serving) => format!("it ended {}{}", serving.end().await, words.last()),
            None => "the connection ended".to_owned(),
        };
        fault.map_or(how.clone(), |fault| format!("{fault}; {how}"))
    }

    /// Asks for the tools, and makes them known.
    async fn take_list(&self, caller: &Caller) -> Result<(), String> {
        let offers = list(&caller.peer).await?;
        let (server, pins, seen) = (self.server.clone(), self.pins.clone(), self.seen.clone());
        let judged = tokio::task::spawn_blocking(move || judge(&server, &pins, &seen, offers)).await;
        let offered = Arc::new(judged.map_err(|error| error.to_string())?);
        self.phase.send_replace(Phase::Ready(Ready { caller: caller.clone(), offered }));
        Ok(())
    }
}

/// Keeps what is offered for whoever asks, and tells what the user has not accepted. Blocking.
fn judge(server: &McpServer, pins: &Pins, seen: &Pins, offers: Vec<Offer>) -> Offered {
    let name = &server.name;
    let offered = Offered::new(name, &offers, &Accepted::new(server, Vec::new()));
    if let Ok(Some(accepted)) = pins.read(name) {
        let standings = accepted.compare(name, &offers);
        let differ = standings.iter().filter(|(_, standing)| *standing != Standing::Accepted);
        let differ: Vec<String> =
            differ.map(|(tool, standing)| format!("{tool} ({})", standing.word())).collect();
        if !differ.is_empty() {
            let tools = differ.join(", ");
            tracing::warn!(server = name, tools, "these tools are left out; `archond mcp show` tells why");
        }
    }
    let now = Accepted::new(server, offers);
    if seen.read(name).ok().flatten().as_ref() != Some(&now)
        && let Err(error) = seen.write(name, &now)
    {
        tracing::warn!(server = name, %error, "what the MCP server offers cannot be kept");
    }
    offered
}

/// How long is waited after so many failures in a row.
fn delay(failures: u32) -> Duration {
    if failures >= FAILURES_MAX {
        return REST;
    }
    DELAY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_is_started_later_and_later() {
        let delays: Vec<u128> = (1..=9).map(|failures| delay(failures).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 900_000, 900_000]);
    }
}

//! Carries commands out: asks the daemon, shows what it answers.
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Next;
use super::command::{QuarantineCommand, ReplCommand, Typed};
use super::render;
use crate::admin::inside::ActorNode;
use crate::admin::operator::{Act, InsideOp, InsideReply};
use crate::admin::protocol::{ArchonView, Op, Reply};
use crate::cli::client::{Client, ClientError, accepted};
use crate::cli::console::{Console, Painted};
use crate::cli::error::CliError;
use crate::cli::moment::now_unix_ms;
use crate::cli::ps;

/// The root of every path.
const ROOT: &str = "house";
/// The state of those who wait for the operator.
const QUARANTINED: &str = "quarantined";

/// Does one command.
pub(super) async fn perform(
    console: &mut Console,
    client: &mut Client,
    command: ReplCommand,
    json: bool,
) -> Result<Next, CliError> {
    match command {
        ReplCommand::Quit => return Ok(Next::Leave),
        ReplCommand::Watch { every, count, command } => {
            watch(console, client, every, count, &command, json).await?
        }
        ReplCommand::Trace { path, seconds } => trace(console, client, &path, seconds, json).await?,
        ReplCommand::Kill { path } => act(console, client, &path, Act::Kill).await?,
        ReplCommand::Stop { path } => act(console, client, &path, Act::Stop).await?,
        ReplCommand::Restart { path } => act(console, client, &path, Act::Restart).await?,
        ReplCommand::Suspend { path } => act(console, client, &path, Act::Suspend).await?,
        ReplCommand::Resume { path } => act(console, client, &path, Act::Resume).await?,
        ReplCommand::Quarantine { command } => quarantine(console, client, command, json).await?,
        ReplCommand::SetLog { target, level } => {
            client
                .done(Op::Inside(InsideOp::SetLog { target: target.clone(), level: level.clone() }))
                .await?;
            console.note(&format!("{target} is logged at {level} until the daemon ends"))?;
        }
        ReplCommand::Ps => {
            let house = client.status().await?;
            if json { console.json(&house)? } else { ps::show(console, &house)? }
        }
        ReplCommand::Tree { path } => {
            let actors = subtree(client, path.as_deref()).await?;
            show(console, json, &actors, || render::tree(&actors))?;
        }
        ReplCommand::Crash { id } => crash(console, client, id, json).await?,
        ReplCommand::Inspect { path } => {
            let path = resolve(&path, &tree(client).await?)?;
            look(console, client, InsideOp::Inspect { path }, json).await?;
        }
        ReplCommand::Session { session } => look(console, client, InsideOp::Window { session }, json).await?,
        ReplCommand::Sessions => look(console, client, InsideOp::Sessions, json).await?,
        ReplCommand::Pool => look(console, client, InsideOp::Pool, json).await?,
        ReplCommand::Inbox => look(console, client, InsideOp::Inbox, json).await?,
        ReplCommand::Outbox => look(console, client, InsideOp::Outbox, json).await?,
        ReplCommand::Crashes => look(console, client, InsideOp::Crashes, json).await?,
        ReplCommand::Limits => look(console, client, InsideOp::Limits, json).await?,
    }
    Ok(Next::Go)
}

fn show<T: Serialize, P: Into<Painted>>(
    console: &mut Console,
    json: bool,
    value: &T,
    text: impl FnOnce() -> P,
) -> Result<(), CliError> {
    if json {
        console.json(value)?
    } else {
        console.painted(&text().into())?
    }
    Ok(())
}

async fn inside(client: &mut Client, op: InsideOp) -> Result<InsideReply, ClientError> {
    match client.call(Op::Inside(op)).await? {
        Reply::Inside(reply) => Ok(reply),
        _ => Err(ClientError::Protocol),
    }
}

/// Every actor.
pub(in crate::cli) async fn tree(client: &mut Client) -> Result<Vec<ActorNode>, ClientError> {
    match inside(client, InsideOp::Tree).await? {
        InsideReply::Tree(actors) => Ok(actors),
        _ => Err(ClientError::Protocol),
    }
}

async fn subtree(client: &mut Client, path: Option<&str>) -> Result<Vec<ActorNode>, CliError> {
    let actors = tree(client).await?;
    let Some(path) = path else { return Ok(actors) };
    let top = resolve(path, &actors)?;
    let below = format!("{top}/");
    Ok(actors.into_iter().filter(|actor| actor.path == top || actor.path.starts_with(&below)).collect())
}

/// The one actor that is meant: a whole path, one without the root, or the end of one.
fn resolve(typed: &str, actors: &[ActorNode]) -> Result<String, CliError> {
    let typed = typed.trim_matches('/');
    let (rooted, end) = (format!("{ROOT}/{typed}"), format!("/{typed}"));
    let exact = actors.iter().find(|actor| actor.path == typed || actor.path == rooted);
    if let Some(actor) = exact {
        return Ok(actor.path.clone());
    }
    let found: Vec<&str> =
        actors.iter().map(|actor| actor.path.as_str()).filter(|path| path.ends_with(&end)).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(CliError::Usage { message: format!("there is no actor {typed}; `tree` shows all") }),
        several => Err(CliError::Usage { message: format!("{typed} may be {}", several.join(" or ")) }),
    }
}

/// Asks for something and shows it.
async fn look(console: &mut Console, client: &mut Client, op: InsideOp, json: bool) -> Result<(), CliError> {
    let reply = inside(client, op).await?;
    let now = now_unix_ms();
    match &reply {
        InsideReply::Tree(actors) => show(console, json, actors, || render::tree(actors)),
        InsideReply::Inspection(view) => show(console, json, view, || render::inspection(view)),
        InsideReply::Traced(event) => show(console, json, event, || render::traced(event)),
        InsideReply::Pool { models, requests } => {
            show(console, json, &(models, requests), || render::pool(models, requests))
        }
        InsideReply::Sessions(sessions) => show(console, json, sessions, || render::sessions(sessions)),
        InsideReply::Window(window) => show(console, json, window, || render::window(window)),
        InsideReply::Inbox(messages) => show(console, json, messages, || render::inbox(messages, now)),
        InsideReply::Outbox(answers) => show(console, json, answers, || render::outbox(answers, now)),
        InsideReply::Crashes(crashes) => show(console, json, crashes, || render::crashes(crashes, now)),
        InsideReply::Limits(limits) => show(console, json, limits, || render::limits(limits)),
        // Nothing here asks for it; `archond audit` does.
        InsideReply::Trail(_) => Err(ClientError::Protocol.into()),
    }
}

async fn crash(console: &mut Console, client: &mut Client, id: u64, json: bool) -> Result<(), CliError> {
    let InsideReply::Crashes(crashes) = inside(client, InsideOp::Crashes).await? else {
        return Err(ClientError::Protocol.into());
    };
    let Some(crash) = crashes.iter().find(|crash| crash.id == id) else {
        return Err(CliError::Usage {
            message: format!("there is no crash {id}; `crashes` shows all that are kept"),
        });
    };
    show(console, json, crash, || render::crash(crash))
}

async fn act(console: &mut Console, client: &mut Client, path: &str, act: Act) -> Result<(), CliError> {
    let path = resolve(path, &tree(client).await?)?;
    client.done(Op::Inside(InsideOp::Act { path: path.clone(), act })).await?;
    let done = match act {
        Act::Kill => "was killed; its supervisor decides what follows",
        Act::Stop => "is stopped; `restart` starts it again",
        Act::Restart => "was started",
        Act::Suspend => "holds its messages back until `resume`",
        Act::Resume => "goes on",
    };
    Ok(console.note(&format!("{path} {done}"))?)
}

async fn quarantine(
    console: &mut Console,
    client: &mut Client,
    command: QuarantineCommand,
    json: bool,
) -> Result<(), CliError> {
    match command {
        QuarantineCommand::List => {
            let house = client.status().await?;
            let held: Vec<ArchonView> =
                house.archons.into_iter().filter(|archon| archon.state == QUARANTINED).collect();
            if held.is_empty() && !json {
                console.note("nobody is quarantined")?;
                return Ok(());
            }
            show(console, json, &held, || {
                let rows = held.iter().map(|archon| {
                    let why = archon.last_error.clone().unwrap_or_default();
                    [archon.archon.clone(), archon.crashes.to_string(), why]
                });
                ps::table(["ARCHON", "CRASHES", "WHY"], rows)
            })
        }
        QuarantineCommand::Release { archon } => {
            client.done(Op::StartArchon { archon: archon.clone() }).await?;
            Ok(console.note(&format!("{archon} is ready"))?)
        }
    }
}

/// Shows messages until the time is over or Ctrl-C.
async fn trace(
    console: &mut Console,
    client: &mut Client,
    path: &str,
    seconds: u32,
    json: bool,
) -> Result<(), CliError> {
    let path = resolve(path, &tree(client).await?)?;
    let id = client.send(Op::Inside(InsideOp::Trace { path: path.clone(), seconds })).await?;
    if !json {
        console.note(&format!("messages of {path} for {seconds} s; Ctrl-C ends it"))?;
    }
    loop {
        let response = tokio::select! {
            response = client.next() => response?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        if response.id != id {
            continue;
        }
        match accepted(response.reply)? {
            Reply::Inside(InsideReply::Traced(event)) => {
                show(console, json, &event, || render::traced(&event))?;
            }
            Reply::Done => return Ok(()),
            _ => return Err(ClientError::Protocol.into()),
        }
    }
}

async fn watch(
    console: &mut Console,
    client: &mut Client,
    every: f64,
    count: Option<u64>,
    words: &[String],
    json: bool,
) -> Result<(), CliError> {
    let wrong = |message: String| CliError::Usage { message };
    let line = shell_words::join(words);
    let Typed { command, json: json_too } =
        Typed::read(&line).map_err(|error| wrong(error.render().to_string()))?;
    if matches!(command, ReplCommand::Watch { .. } | ReplCommand::Quit | ReplCommand::Trace { .. }) {
        return Err(wrong(format!("`{line}` cannot be watched")));
    }
    let mut looks = interval(Duration::from_secs_f64(every));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let clears = console.terminals().output && !json;
    for _ in 0..count.unwrap_or(u64::MAX) {
        tokio::select! {
            _ = looks.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        if clears {
            console.clear()?;
            console.line(&format!("every {every} s: {line}\n"))?;
        }
        Box::pin(perform(console, client, command.clone(), json || json_too)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: &str) -> ActorNode {
        ActorNode {
            path: path.into(),
            depth: 0,
            actor: String::new(),
            state: "ready".into(),
            age_ms: None,
            restarts: 0,
            mailbox: 0,
            mailbox_max: 1,
            handled: 0,
            doing: None,
            about: None,
            doing_ms: None,
            waits_for: None,
            waits_ms: None,
            restart_in_ms: None,
            last_error: None,
        }
    }

    #[test]
    fn the_end_of_a_path_is_enough_where_it_is_unique() {
        let actors =
            ["house", "house/pool", "house/archons/ezra/hermes", "house/archons/ada/hermes"].map(node);
        let found = |typed| resolve(typed, &actors).map_err(|error| error.to_string());
        assert_eq!(found("house").unwrap(), "house");
        assert_eq!(found("pool").unwrap(), "house/pool");
        assert_eq!(found("ezra/hermes/").unwrap(), "house/archons/ezra/hermes");
        assert!(found("hermes").unwrap_err().contains("ezra/hermes or house/archons/ada"));
        assert!(found("nobody").unwrap_err().contains("`tree` shows all"));
    }
}

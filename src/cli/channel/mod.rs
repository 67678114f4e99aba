//! `archond channel` and `archond pairing`: joining Archons to platforms, the roads there, and who is known on them.
mod gitea;
mod joining;
mod nostr;
mod telegram;

use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::{ago, now_unix_ms};
use super::places::Places;
use super::{ps, runtime};
use crate::admin::channels::{ChannelOp, ChannelReply, ChannelView, GivenUpView, PairingView};
use crate::admin::protocol::{Op, Reply};
use crate::models_on_disk;
use crate::settings::PLATFORMS;

/// What to do with channels.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ChannelCommand {
    /// List the channels that lead to platforms, and how they are
    #[command(visible_aliases = ["list", "status"])]
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Join an Archon to a platform
    Add {
        #[command(subcommand)]
        platform: AddCommand,
    },
    /// Ask a platform whether the channel works as it is written; exit code 1 if it does not
    Test {
        /// Which platform
        #[arg(value_parser = PLATFORMS)]
        platform: String,
        /// Whose
        archon: String,
    },
    /// Leave a platform: the channel's file and its secrets are removed
    #[command(visible_alias = "rm")]
    Remove {
        /// Which platform
        #[arg(value_parser = PLATFORMS)]
        platform: String,
        /// Whose
        archon: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List the answers that could not be delivered, with what the platform said
    Undelivered {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try to deliver such an answer again
    Retry {
        /// Its number, as `undelivered` shows it
        #[arg(value_name = "NUMBER")]
        answer: u64,
    },
}

/// Which platform an Archon is joined to.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AddCommand {
    /// Issues and pull requests of a Gitea or Forgejo
    Gitea(gitea::AddGitea),
    /// Private messages over Nostr's relays
    Nostr(nostr::AddNostr),
    /// A bot on Telegram
    Telegram(telegram::AddTelegram),
}

/// What to do with those who were strangers.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PairingCommand {
    /// List who was paired, and who waits with a code
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let somebody in who got this code
    Approve {
        /// The code that he told you
        code: String,
        /// He may also say yes to what the Archon asks, like an owner of the profile
        #[arg(long)]
        owner: bool,
    },
    /// Make somebody a stranger again
    Revoke {
        /// Whom, as `list` shows him
        #[arg(value_name = "ARCHON/CHANNEL/PEER")]
        peer: String,
    },
}

/// Runs `archond channel`.
pub(super) fn run(console: &mut Console, command: &ChannelCommand) -> Result<ExitCode, CliError> {
    match command {
        ChannelCommand::Add { platform } => {
            return match platform {
                AddCommand::Gitea(args) => gitea::add(console, args),
                AddCommand::Nostr(args) => nostr::add(console, args),
                AddCommand::Telegram(args) => telegram::add(console, args),
            };
        }
        ChannelCommand::Test { platform, archon } => return joining(platform, archon)?.test(console),
        ChannelCommand::Remove { platform, archon, yes } => {
            return joining(platform, archon)?.remove(console, *yes);
        }
        ChannelCommand::Ls { .. } | ChannelCommand::Undelivered { .. } | ChannelCommand::Retry { .. } => {}
    }
    let places = Places::find()?;
    runtime()?.block_on(async {
        let client = Client::connect(&places.socket).await;
        match command {
            ChannelCommand::Ls { json } => {
                let (known, runs) = match client {
                    Ok(mut client) => (client.status().await?.channels, true),
                    Err(ClientError::NotRunning) => (Vec::new(), false),
                    Err(error) => return Err(error.into()),
                };
                let channels = with_stopped(known)?;
                if *json {
                    console.json(&channels)?
                } else {
                    console.line(&ps::channel_table(&channels))?
                }
                if !runs {
                    console.note("archond is not running")?;
                }
                if channels.is_empty() {
                    console.note("no Archon is joined to a platform; `archond channel add` joins one")?;
                }
            }
            ChannelCommand::Undelivered { json } => {
                let answers = given_up(&mut client?).await?;
                if *json { console.json(&answers)? } else { console.line(&given_up_table(&answers))? }
            }
            ChannelCommand::Retry { answer } => {
                client?.done(Op::Channel(ChannelOp::DeliverAgain { outbox: *answer })).await?;
                console.line(&format!("answer {answer} is delivered again"))?;
            }
            ChannelCommand::Add { .. } | ChannelCommand::Test { .. } | ChannelCommand::Remove { .. } => {}
        }
        Ok(ExitCode::Ok)
    })
}

fn joining(platform: &str, archon: &str) -> Result<joining::Joining, CliError> {
    let known = PLATFORMS.into_iter().find(|name| *name == platform);
    let known = known.ok_or_else(|| joining::usage(format!("there is no platform `{platform}`")))?;
    joining::Joining::of(archon, known)
}

/// Also those that are written and do not run: the Archon is stopped, or they were added since it was started.
fn with_stopped(mut channels: Vec<ChannelView>) -> Result<Vec<ChannelView>, CliError> {
    let sources = models_on_disk::sources()?;
    for (archon, files) in &sources.known.channels {
        for file in files {
            let is_it =
                |view: &ChannelView| view.archon == archon.as_str() && view.channel == file.channel.as_str();
            if !channels.iter().any(is_it) {
                channels.push(ChannelView::stopped(archon.as_str(), file.channel.as_str()));
            }
        }
    }
    Ok(channels)
}

/// Runs `archond pairing`.
pub(super) fn pairing(console: &mut Console, command: PairingCommand) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        match command {
            PairingCommand::List { json } => {
                let ChannelReply::Pairings(all) = ask(&mut client, ChannelOp::Pairings).await? else {
                    return Err(ClientError::Protocol.into());
                };
                if json { console.json(&all)? } else { console.line(&pairing_table(&all))? }
            }
            PairingCommand::Approve { code, owner } => {
                let op = ChannelOp::Approve { code, owner };
                let ChannelReply::Paired(one) = ask(&mut client, op).await? else {
                    return Err(ClientError::Protocol.into());
                };
                console.line(&format!("{} may write now, as {}", one.peer, one.state))?;
            }
            PairingCommand::Revoke { peer } => {
                client.done(Op::Channel(ChannelOp::Revoke { peer: peer.clone() })).await?;
                console.line(&format!("{peer} is a stranger again"))?;
            }
        }
        Ok(ExitCode::Ok)
    })
}

async fn ask(client: &mut Client, op: ChannelOp) -> Result<ChannelReply, CliError> {
    match client.call(Op::Channel(op)).await? {
        Reply::Channel(reply) => Ok(reply),
        _ => Err(ClientError::Protocol.into()),
    }
}

/// All of them, page by page.
async fn given_up(client: &mut Client) -> Result<Vec<GivenUpView>, CliError> {
    let mut all: Vec<GivenUpView> = Vec::new();
    loop {
        let after = all.last().map(|answer| answer.outbox);
        let ChannelReply::GivenUp(page) = ask(client, ChannelOp::GivenUp { after }).await? else {
            return Err(ClientError::Protocol.into());
        };
        // A page that leads nowhere ends the list, whatever the daemon thinks.
        if page.last().is_none_or(|last| Some(last.outbox) <= after) {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn given_up_table(answers: &[GivenUpView]) -> String {
    let now = now_unix_ms();
    let row = |answer: &GivenUpView| {
        let words = answer.text.split_whitespace().collect::<Vec<_>>().join(" ");
        [
            answer.outbox.to_string(),
            answer.session.clone(),
            answer.reason.clone(),
            ago(now, answer.since_unix_ms),
            words,
        ]
    };
    ps::table(["ANSWER", "SESSION", "REASON", "GIVEN UP", "TEXT"], answers.iter().map(row))
}

fn pairing_table(all: &[PairingView]) -> String {
    let now = now_unix_ms();
    let row = |one: &PairingView| [one.peer.clone(), one.state.clone(), ago(now, one.since_unix_ms)];
    ps::table(["PEER", "STATE", "SINCE"], all.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_and_who_is_known_are_tables() {
        let answer = GivenUpView {
            outbox: 12,
            session: "ezra/telegram/7/main".into(),
            reason: "bot was blocked by the user".into(),
            since_unix_ms: now_unix_ms(),
            text: "one\ntwo".into(),
        };
        let table = given_up_table(&[answer]);
        assert!(table.lines().count() == 2 && table.contains("bot was blocked by the user"), "{table}");
        assert!(table.contains("one two"), "{table}");
        let one = PairingView {
            peer: "ezra/telegram/7".into(),
            state: "waits".into(),
            since_unix_ms: now_unix_ms(),
        };
        let table = pairing_table(&[one]);
        assert!(table.starts_with("PEER") && table.contains("ezra/telegram/7  waits"), "{table}");
    }
}

//! `archond channel` and `archond pairing`: the roads to platforms, and who is known on them.
use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::{ago, now_unix_ms};
use super::places::Places;
use super::{ps, runtime};
use crate::admin::channels::{ChannelOp, ChannelReply, GivenUpView, PairingView};
use crate::admin::protocol::{Op, Reply};

/// What to do with channels.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ChannelCommand {
    /// List the channels that lead to platforms
    #[command(visible_alias = "list")]
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
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
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        match command {
            ChannelCommand::Ls { json } => {
                let channels = client.status().await?.channels;
                if *json { console.json(&channels)? } else { console.line(&ps::channel_table(&channels))? }
            }
            ChannelCommand::Undelivered { json } => {
                let answers = given_up(&mut client).await?;
                if *json { console.json(&answers)? } else { console.line(&given_up_table(&answers))? }
            }
            ChannelCommand::Retry { answer } => {
                client.done(Op::Channel(ChannelOp::DeliverAgain { outbox: *answer })).await?;
                console.line(&format!("answer {answer} is delivered again"))?;
            }
        }
        Ok(ExitCode::Ok)
    })
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

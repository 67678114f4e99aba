//! `archond approvals`: the calls that wait for the owner's yes, wherever their turns run.
use super::client::{Client, ClientError};
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::places::Places;
use super::{ps, runtime};
use crate::admin::approvals::{ApprovalOp, ApprovalReply, AskedView, OwnersWord};
use crate::admin::protocol::{Op, Reply};

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List the calls that wait for a yes
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say yes to one
    Approve {
        /// Its name, as `list` shows it
        call: String,
        /// Also to its like, for the rest of the session
        #[arg(long, conflicts_with = "always")]
        session: bool,
        /// Also to its like, for good; not for a call of somebody else's turn
        #[arg(long)]
        always: bool,
    },
    /// Say no to one
    Deny {
        /// Its name, as `list` shows it
        call: String,
    },
}

/// Runs the command.
pub(super) fn run(console: &mut Console, command: ApprovalsCommand) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        let (call, word) = match command {
            ApprovalsCommand::List { json } => {
                let ApprovalReply::Asked(asked) =
                    ask(&mut client, ApprovalOp::Asked { watched: None }).await?
                else {
                    return Err(ClientError::Protocol.into());
                };
                match (json, asked.is_empty()) {
                    (true, _) => console.json(&asked)?,
                    (false, true) => console.line("no call waits for a yes")?,
                    (false, false) => console.line(&table(&asked))?,
                }
                return Ok(ExitCode::Ok);
            }
            ApprovalsCommand::Approve { call, always: true, .. } => (call, OwnersWord::Always),
            ApprovalsCommand::Approve { call, session: true, .. } => (call, OwnersWord::Session),
            ApprovalsCommand::Approve { call, .. } => (call, OwnersWord::Once),
            ApprovalsCommand::Deny { call } => (call, OwnersWord::Deny),
        };
        let ApprovalReply::Decided { shown } = ask(&mut client, ApprovalOp::Decide { call, word }).await?
        else {
            return Err(ClientError::Protocol.into());
        };
        let said = if word == OwnersWord::Deny { "it is not done" } else { "it is allowed" };
        console.line(&format!("{said}: {shown}"))?;
        Ok(ExitCode::Ok)
    })
}

/// One question of them.
pub(super) async fn ask(client: &mut Client, op: ApprovalOp) -> Result<ApprovalReply, CliError> {
    match client.call(Op::Approval(op)).await? {
        Reply::Approval(reply) => Ok(reply),
        _ => Err(ClientError::Protocol.into()),
    }
}

/// What will be done is shown in full: nobody is to say yes to what he cannot see.
fn table(asked: &[AskedView]) -> String {
    let row = |asked: &AskedView| [asked.call.clone(), asked.session.clone(), asked.shown.clone()];
    ps::table(["CALL", "SESSION", "WHAT"], asked.iter().map(row))
}

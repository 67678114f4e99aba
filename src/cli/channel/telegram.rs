//! `archond channel add telegram`: the token is checked, the bot is shown, the file is written.
use super::joining::{self, Joining, quoted};
use crate::channels::telegram;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::exit::ExitCode;
use crate::cli::runtime;
use crate::settings::Platform;

/// What a new bot is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddTelegram {
    /// Whose
    archon: String,
    /// Where the token is that @BotFather gave: `file:/PATH` or `env:VARIABLE`; asked for if left out
    #[arg(long, value_name = "PLACE")]
    token: Option<String>,
    /// Who may say yes to what the Archon asks, by his number; whoever is left out writes to the bot and is paired
    #[arg(long = "owner", value_name = "NUMBER")]
    owners: Vec<String>,
    /// Who may also write to it, by his number
    #[arg(long = "user", value_name = "NUMBER")]
    users: Vec<String>,
    /// A Bot API server of your own instead of Telegram's
    #[arg(long, value_name = "URL")]
    api: Option<String>,
}

pub(super) fn add(console: &mut Console, args: &AddTelegram) -> Result<ExitCode, CliError> {
    let mut joining = Joining::of(&args.archon, "telegram")?;
    joining.refuse_existing()?;
    let question = "paste the token that @BotFather gave for /newbot";
    let token = joining.secret(console, "token", question, args.token.as_deref())?;
    let added = join(console, &mut joining, args, &token.to_string());
    if added.is_err() {
        // What was typed for one that does not work is of no use.
        joining.take_back()?;
    }
    added
}

fn join(
    console: &mut Console,
    joining: &mut Joining,
    args: &AddTelegram,
    token: &str,
) -> Result<ExitCode, CliError> {
    let text = text_of(args, token);
    let file = joining.parse(&text)?;
    let Platform::Telegram(settings) = &file.platform else { return Err(joining::other_platform()) };
    console.progress("asking Telegram")?;
    let bot = runtime()?.block_on(telegram::probe(settings));
    console.erase_progress()?;
    let bot = bot.map_err(joining::fails)?;
    joining.write(&text)?;
    let archon = &joining.archon;
    console
        .line(&format!("{archon} is @{} (number {}): https://t.me/{}", bot.username, bot.id, bot.username))?;
    if let Some(webhook) = &bot.webhook {
        console.note(&format!(
            "another program has the bot's updates sent to {webhook}; {archon} takes them over"
        ))?;
    }
    if args.owners.is_empty() {
        console.note(&format!(
            "nobody is its owner yet: write to @{}, it gives you a code, then `archond pairing approve CODE --owner`",
            bot.username
        ))?;
    }
    joining.tell_next(console)?;
    Ok(ExitCode::Ok)
}

fn text_of(args: &AddTelegram, token: &str) -> String {
    let plain = |all: &[String]| all.iter().map(|id| (id.clone(), String::new())).collect::<Vec<_>>();
    let api = args.api.as_ref().map(|api| format!("    api: {},\n", quoted(api))).unwrap_or_default();
    format!(
        "(\n    token: {},\n{api}\n{}    // Groups in which it listens, by their numbers: (id: \"-100…\", everyone: true).\n    groups: [],\n)\n",
        quoted(token),
        joining::access(&plain(&args.owners), &plain(&args.users))
    )
}

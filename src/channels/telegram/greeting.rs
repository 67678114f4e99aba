//! The first words with Telegram: who the bot is, which commands people are offered, how updates are to come.
use archond_actors::command::COMMANDS;
use teloxide::payloads::SetWebhookSetters;
use teloxide::requests::Requester;
use teloxide::types::BotCommand;

use super::ALLOWED_UPDATES;
use super::fault::Failure;
use super::line::Line;
use super::update::Identity;
use super::webhook;
use crate::settings::platforms::telegram::{TelegramSettings, WebhookSettings};

/// Longest description of a command.
const DESCRIPTION_CHARS_MAX: usize = 256;
/// Connections that Telegram may make at once. It keeps the order of each chat's updates itself.
const CONNECTIONS_MAX: u8 = 8;

/// A bot, for whoever sets it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotFacts {
    /// Its number.
    pub id: u64,
    /// Its name, without `@`.
    pub username: String,
    /// It may be added to groups.
    pub can_join_groups: bool,
    /// It hears everything in groups; else only what speaks to it (@BotFather: `/setprivacy`).
    pub can_read_all_groups: bool,
    /// Another program's webhook, which the bot would take away; it may be one of this house's own.
    pub webhook: Option<String>,
}

/// Asks Telegram who the bot is, without changing anything. An error: why it does not say so, in words without a secret.
pub async fn probe(settings: &TelegramSettings) -> Result<BotFacts, String> {
    let words = |failure: Failure| failure.told(true).to_string();
    let line = Line::new(settings).await.map_err(words)?;
    let me = line.quick.get_me().await.map_err(|error| words(Failure::of(&error)))?;
    let hook = line.quick.get_webhook_info().await.map_err(|error| words(Failure::of(&error)))?;
    Ok(BotFacts {
        id: me.user.id.0,
        username: me.user.username.clone().unwrap_or_default(),
        can_join_groups: me.can_join_groups,
        can_read_all_groups: me.can_read_all_group_messages,
        // The path may be a secret of somebody's.
        webhook: hook.url.and_then(|url| url.host_str().map(str::to_owned)),
    })
}

/// Learns who the bot is, and tells Telegram how updates are to come.
pub(super) async fn greet(line: &Line, webhook: Option<&WebhookSettings>) -> Result<Identity, Failure> {
    let of = |error: teloxide::RequestError| Failure::of(&error);
    let me = line.quick.get_me().await.map_err(of)?;
    match webhook {
        Some(webhook) => {
            let request = line.quick.set_webhook(webhook.url.clone()).allowed_updates(ALLOWED_UPDATES);
            let secret = webhook::secret(webhook).await?;
            request.secret_token(secret).max_connections(CONNECTIONS_MAX).await.map_err(of)?;
        }
        // What waits there is not dropped: the house says what is too old.
        None => drop(line.quick.delete_webhook().await.map_err(of)?),
    }
    if let Err(error) = line.quick.set_my_commands(commands()).await {
        // Who has no menu can write them.
        tracing::warn!(fault = %Failure::of(&error).told(true), "Telegram did not take the list of commands");
    }
    Ok(Identity { id: me.user.id.0, username: me.user.username.clone().unwrap_or_default() })
}

/// The house's commands, as Telegram's menu has them.
fn commands() -> Vec<BotCommand> {
    let shown = COMMANDS.iter().filter_map(|(_, names, meaning)| {
        let name = names.first()?.strip_prefix('/')?;
        Some(BotCommand::new(name, meaning.chars().take(DESCRIPTION_CHARS_MAX).collect::<String>()))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telegram_takes_every_command() {
        let commands = commands();
        assert_eq!(commands.len(), COMMANDS.len());
        for BotCommand { command, description } in commands {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!((1..=32).contains(&command.len()) && command.bytes().all(good), "{command}");
            assert!((3..=256).contains(&description.chars().count()), "{description}");
        }
    }
}

//! What follows from what Telegram says, or from its silence. No text of this file has a token in it: of a failed connection, whose
//! own words hold the address, only the kind is told. Pure.
use std::time::Duration;

use archond_actors::ports::ChannelFault;
use teloxide::{ApiError, DownloadError, RequestError};

/// Longest of Telegram's own words that is passed on.
const WORDS_CHARS_MAX: usize = 200;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It can pass.
    Transient(String),
    /// Telegram wants to be left alone for so long.
    Limited(Duration),
    /// Only the owner can help.
    Barred(String),
    /// Telegram will not do that.
    Refused(String),
    /// The text's styles are wrong.
    Markup,
    /// The message is what it was to become.
    Unchanged,
    /// The message that was to be changed is not there any more, or too old.
    Gone,
    /// The group has another number since it grew.
    Moved(i64),
}

impl Failure {
    /// As the house is told. `everywhere`: whether a limit holds for all chats.
    pub(super) fn told(self, everywhere: bool) -> ChannelFault {
        match self {
            Self::Transient(detail) => ChannelFault::Transient { detail },
            Self::Limited(after) => ChannelFault::Limited { after, everywhere },
            Self::Barred(detail) => ChannelFault::Barred { detail },
            Self::Refused(reason) => ChannelFault::Refused { reason },
            Self::Markup => refused("it cannot read the text"),
            Self::Unchanged => refused("the message is the same already"),
            Self::Gone => refused("the message is not there any more"),
            Self::Moved(to) => refused(&format!("the group has become another one, with the number {to}")),
        }
    }

    /// Of a request.
    pub(super) fn of(error: &RequestError) -> Self {
        match error {
            RequestError::Api(error) => of_api(error),
            RequestError::MigrateToChatId(to) => Self::Moved(to.0),
            RequestError::RetryAfter(after) => Self::Limited(after.duration()),
            RequestError::Network(error) => {
                Self::Transient(silence(error.is_timeout(), error.is_connect()).into())
            }
            RequestError::InvalidJson { .. } => {
                Self::Transient("Telegram has trouble, or something else answered in its place".into())
            }
            RequestError::Io(_) => Self::Transient("a file could not be sent".into()),
        }
    }

    /// Of a file's bytes.
    pub(super) fn of_download(error: &DownloadError) -> Self {
        match error {
            DownloadError::Network(error)
                if error.status().is_some_and(|status| status.is_client_error()) =>
            {
                Self::Refused("Telegram does not give the file any more".into())
            }
            DownloadError::Network(error) => {
                Self::Transient(silence(error.is_timeout(), error.is_connect()).into())
            }
            DownloadError::Io(_) => Self::Transient("a file could not be received".into()),
        }
    }
}

fn refused(reason: &str) -> ChannelFault {
    ChannelFault::Refused { reason: reason.to_owned() }
}

fn silence(is_timeout: bool, is_connect: bool) -> &'static str {
    match (is_timeout, is_connect) {
        (_, true) => "Telegram cannot be reached; is there a network?",
        (true, false) => "Telegram did not answer in time",
        (false, false) => "the connection to Telegram broke",
    }
}

fn of_api(error: &ApiError) -> Failure {
    match error {
        ApiError::MessageNotModified => Failure::Unchanged,
        ApiError::InvalidToken => Failure::Barred("Telegram does not know the bot's token; ask @BotFather for one, and put it where the settings of the channel say".into()),
        ApiError::TerminatedByOtherGetUpdates => Failure::Barred("another program receives with the bot's token; stop it, or revoke the token with @BotFather and use the new one".into()),
        ApiError::CantGetUpdates => webhook_elsewhere(),
        ApiError::CantParseEntities(_) => Failure::Markup,
        ApiError::MessageToEditNotFound | ApiError::MessageIdInvalid | ApiError::MessageCantBeEdited => Failure::Gone,
        other => of_words(&other.to_string()),
    }
}

fn webhook_elsewhere() -> Failure {
    Failure::Barred("another program has set a webhook for the bot's token; stop it, or revoke the token with @BotFather and use the new one".into())
}

/// What Telegram's words begin with says which kind it is, as the HTTP status would.
fn of_words(words: &str) -> Failure {
    // The library says so before words that it does not know.
    let words = words.strip_prefix("Unknown error: ").unwrap_or(words).trim_matches('"');
    let shown: String = words.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect();
    let lower = words.to_ascii_lowercase();
    if lower.contains("can't parse entities") {
        return Failure::Markup;
    }
    if lower.contains("message is not modified") {
        return Failure::Unchanged;
    }
    if lower.contains("message to edit not found") || lower.contains("message can't be edited") {
        return Failure::Gone;
    }
    match lower.split(':').next().unwrap_or_default().trim() {
        "conflict" => webhook_elsewhere(),
        "unauthorized" | "not found" if !lower.contains(':') => of_api(&ApiError::InvalidToken),
        "bad request" | "forbidden" | "unauthorized" | "not found" | "request entity too large" => {
            Failure::Refused(shown)
        }
        _ => Failure::Transient(format!("Telegram said: {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Telegram answers.
    fn of(description: &str, parameters: &str) -> Failure {
        let text = format!(r#"{{"description":"{description}"{parameters}}}"#);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(after) = value["parameters"]["retry_after"].as_u64() {
            let seconds = teloxide::types::Seconds::from_seconds(u32::try_from(after).unwrap());
            return Failure::of(&RequestError::RetryAfter(seconds));
        }
        let error: ApiError = serde_json::from_value(value["description"].clone()).unwrap();
        Failure::of(&RequestError::Api(error))
    }

    #[test]
    fn each_word_of_telegram_has_its_consequence() {
        let barred = [
            "Unauthorized",
            "Not Found",
            "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            "Conflict: can't use getUpdates method while webhook is active",
        ];
        for words in barred {
            assert!(matches!(of(words, ""), Failure::Barred(_)), "{words}: {:?}", of(words, ""));
        }
        let refused = [
            "Forbidden: bot was blocked by the user",
            "Bad Request: chat not found",
            "Forbidden: user is deactivated",
            "Forbidden: bot was kicked from the supergroup chat",
            "Unauthorized: bot was kicked from a chat",
            "Bad Request: message is too long",
            "Bad Request: TOPIC_CLOSED",
            "Bad Request: not enough rights to send text messages to the chat",
            "Forbidden: bot can't initiate conversation with a user",
            "Request Entity Too Large",
        ];
        for words in refused {
            assert!(matches!(of(words, ""), Failure::Refused(_)), "{words}: {:?}", of(words, ""));
        }
        for words in ["Bad Gateway", "Internal Server Error", "Gateway Timeout", "something new"] {
            assert!(matches!(of(words, ""), Failure::Transient(_)), "{words}: {:?}", of(words, ""));
        }
        for words in [
            "Bad Request: can't parse entities: Unsupported start tag \\\"x\\\" at byte offset 3",
            "Bad Request: can't parse entities",
        ] {
            assert_eq!(of(words, ""), Failure::Markup, "{words}");
        }
        let unchanged = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message";
        assert_eq!(of(unchanged, ""), Failure::Unchanged);
        assert_eq!(of("Bad Request: message is not modified", ""), Failure::Unchanged);
        assert_eq!(of("Bad Request: message to edit not found", ""), Failure::Gone);
        assert_eq!(of("Bad Request: message can't be edited", ""), Failure::Gone);
        let limited = of("Too Many Requests: retry after 17", r#","parameters":{"retry_after":17}"#);
        assert_eq!(limited, Failure::Limited(Duration::from_secs(17)));
    }
}

//! The connections to Telegram: made anew when they are not to be trusted any more.
use std::time::Duration;

use teloxide::Bot;
use teloxide::requests::JsonRequest;
use url::Url;

use super::fault::Failure;
use crate::settings::platforms::telegram::TelegramSettings;

/// How long Telegram holds a poll that brings nothing, in seconds.
pub(super) const POLL_WAIT_S: u32 = 25;
/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request that moves little; some more than the ten seconds that the library waits itself after trouble of Telegram's.
const QUICK_TIMEOUT: Duration = Duration::from_secs(25);
/// Time for a poll, and for a file over a slow line.
const SLOW_TIMEOUT: Duration = Duration::from_secs(45);
/// After so long without a word a connection is asked whether it is alive: routers forget those that are quiet.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A connection that nobody used for so long is not used again.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A bot, with connections for what is short and for what takes long.
#[derive(Debug)]
pub(super) struct Line {
    /// For requests that are answered at once.
    pub(super) quick: Bot,
    /// For polls and files.
    pub(super) slow: Bot,
}

impl Line {
    /// With the token that is there now. Reads the disk, apart from the runtime's threads.
    pub(super) async fn new(settings: &TelegramSettings) -> Result<Self, Failure> {
        let reference = settings.token.clone();
        let read = tokio::task::spawn_blocking(move || reference.reveal()).await;
        let token = match read {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => return Err(Failure::Barred(format!("the bot's token {error}"))),
            Err(_) => return Err(Failure::Transient("the bot's token could not be read".into())),
        };
        if !is_token(&token) {
            return Err(Failure::Barred(
                "what is there as the bot's token is none; @BotFather gives one like 123456:ABC".into(),
            ));
        }
        let bot = |timeout| bot(&token, &settings.api, timeout);
        Ok(Self { quick: bot(QUICK_TIMEOUT)?, slow: bot(SLOW_TIMEOUT)? })
    }

    /// A method that the library does not know.
    pub(super) fn request<P>(&self, payload: P) -> JsonRequest<P> {
        JsonRequest::new(self.quick.clone(), payload)
    }
}

fn bot(token: &str, api: &Url, timeout: Duration) -> Result<Bot, Failure> {
    let client = teloxide::net::default_reqwest_settings()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .tcp_keepalive(KEEPALIVE)
        .pool_idle_timeout(IDLE_MAX)
        .build()
        // Its words could name an address.
        .map_err(|_| {
            Failure::Transient(
                "there can be no connections; the system's files or settings of TLS are wrong".into(),
            )
        })?;
    Ok(Bot::with_client(token, client).set_api_url(api.clone()))
}

/// A number, a colon, and what nobody guesses. It becomes part of an address, so nothing else may be in it.
fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(number, secret)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && !secret.is_empty()
            && secret.bytes().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_token_becomes_a_part_of_an_address() {
        assert!(is_token("123:AAF7-g0gYncWnm5IyfZlpPRqRRv6kNAGlao"));
        for wrong in ["", "123", "x:y", ":y", "1:", "1:a/b", "1:a b", "1:a?b", "@bot"] {
            assert!(!is_token(wrong), "{wrong}");
        }
    }
}

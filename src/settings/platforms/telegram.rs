//! What the user sets for a bot: the part of a channel's file that is Telegram's own.
use std::net::SocketAddr;

use url::Url;

use crate::settings::KeyReference;
use crate::settings::reader::Group;
use crate::settings::secret::is_reference;

/// Where Telegram's own servers are.
pub const TELEGRAM_API: &str = "https://api.telegram.org";
/// Ports that Telegram calls.
const WEBHOOK_PORTS: [u16; 4] = [443, 80, 88, 8443];

/// The settings of a bot, after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramSettings {
    /// Where the bot's token is, as @BotFather gave it.
    pub token: KeyReference,
    /// Which servers are asked: Telegram's, or a Bot API server of the user's own.
    pub api: Url,
    /// How updates come in; `None`: they are asked for.
    pub webhook: Option<WebhookSettings>,
}

/// Updates are brought by Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where is listened; whoever gives the public address its certificate passes on to there.
    pub listen: SocketAddr,
    /// The public address, with `https`.
    pub url: Url,
    /// Where the word is by which Telegram is known: 16 to 256 letters A-Z, a-z, 0-9, `_` and `-`.
    pub secret: KeyReference,
}

/// Reads what is Telegram's own; the caller reads what all channels have, and finishes the group. `None`: there are faults.
pub fn read(group: &mut Group<'_>) -> Option<TelegramSettings> {
    let token =
        group.required::<String>("token", "where the token is that @BotFather gave: `file:/PATH`", |text| {
            text.parse::<KeyReference>().map(drop)
        });
    let api = group.value("api", TELEGRAM_API.to_owned(), |text| api(text).map(drop));
    let webhook = webhook(&mut group.group("webhook"));
    Some(TelegramSettings {
        token: token?.value.parse().ok()?,
        api: self::api(&api).ok()?,
        webhook: webhook.ok()?,
    })
}

/// An error: it is faulty, and that is noted.
fn webhook(group: &mut Group<'_>) -> Result<Option<WebhookSettings>, ()> {
    let listen = group.value("listen", None::<String>, |text| match text {
        Some(text) => text
            .parse::<SocketAddr>()
            .map(drop)
            .map_err(|_| format!("needs an address and a port like `127.0.0.1:8443`, not `{text}`")),
        None => Ok(()),
    });
    let url = group
        .value("url", None::<String>, |text| text.as_ref().map_or(Ok(()), |text| public(text).map(drop)));
    let secret = group.value("secret", None::<String>, is_reference);
    match (listen, url, secret) {
        (None, None, None) => Ok(None),
        (Some(listen), Some(url), Some(secret)) => Ok(Some(WebhookSettings {
            listen: listen.parse().map_err(drop)?,
            url: public(&url).map_err(drop)?,
            secret: secret.parse().map_err(drop)?,
        })),
        _ => {
            let hint = "or leave `webhook` out: then updates are asked for, which needs no address of yours";
            group.fault(
                "listen",
                "a webhook needs all of `listen`, `url` and `secret`",
                Some(hint.to_owned()),
            );
            Err(())
        }
    }
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn api(text: &String) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    let own = url.host_str().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host));
    let good = url.scheme() == "https" || (url.scheme() == "http" && own);
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match good && bare {
        true => Ok(without_slash(url)),
        false => Err("needs `https`, or `http` on this machine, and nothing but a host and a path: the token is sent there".into()),
    }
}

/// What is added begins with one.
fn without_slash(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

fn public(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    let port = url.port_or_known_default().unwrap_or_default();
    if url.scheme() != "https" {
        return Err("needs an address with `https`: Telegram goes nowhere else".into());
    }
    if !WEBHOOK_PORTS.contains(&port) {
        return Err(format!("names port {port}; Telegram goes to 443, 80, 88 and 8443"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::reader::Sheet;

    fn load(text: &str) -> Result<TelegramSettings, Vec<String>> {
        let sheet = Sheet::new(Path::new("telegram.ron"), text.to_owned());
        let mut top = sheet.top().unwrap();
        let read = read(&mut top);
        top.finish();
        let faults = |faults: Vec<crate::settings::Fault>| faults.iter().map(ToString::to_string).collect();
        sheet.finish().map_err(faults).map(|_| read.unwrap())
    }

    #[test]
    fn a_token_is_enough() {
        let read = load(r#"(token: "file:/run/token")"#).unwrap();
        assert_eq!(read.token, KeyReference::File("/run/token".into()));
        assert_eq!((read.api.as_str(), read.webhook), ("https://api.telegram.org/", None));
        let read = load(r#"(token: "env:T", api: "http://127.0.0.1:9101/x/", webhook: (listen: "127.0.0.1:8443", url: "https://bot.example.org/telegram", secret: "env:S"))"#).unwrap();
        assert_eq!(read.api.as_str(), "http://127.0.0.1:9101/x");
        assert_eq!(read.webhook.unwrap().url.as_str(), "https://bot.example.org/telegram");
    }

    #[test]
    fn what_would_give_the_token_away_is_a_fault() {
        for (wrong, said) in [
            ("()", "`token` is missing"),
            (r#"(token: "123:ABC")"#, "a secret is not written into the settings"),
            (r#"(token: "env:T", api: "http://example.org")"#, "needs `https`"),
            (r#"(token: "env:T", api: "https://a:b@example.org")"#, "needs `https`"),
            (r#"(token: "env:T", api: "x")"#, "is no address"),
            (r#"(token: "env:T", webhook: (listen: "127.0.0.1:1"))"#, "a webhook needs all of"),
            (
                r#"(token: "env:T", webhook: (listen: "x", url: "https://a.b", secret: "env:S"))"#,
                "needs an address and a port",
            ),
            (
                r#"(token: "env:T", webhook: (listen: "[::1]:1", url: "http://a.b", secret: "env:S"))"#,
                "`https`",
            ),
            (
                r#"(token: "env:T", webhook: (listen: "[::1]:1", url: "https://a.b:99", secret: "env:S"))"#,
                "port 99",
            ),
            (
                r#"(token: "env:T", webhook: (listen: "[::1]:1", url: "https://a.b", secret: "x"))"#,
                "a secret is not written",
            ),
            (r#"(token: "env:T", color: 1)"#, "unknown field `color`"),
        ] {
            let faults = load(wrong).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(said)), "{wrong}: {faults:?}");
        }
    }
}

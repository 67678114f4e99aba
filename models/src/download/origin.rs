//! What `--from` can name, and how addresses are built and shown.
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use super::PullError;

/// Where a model is to come from, in place of its own source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Another mirror's base address, or the address of the file itself.
    Url(Url),
    /// A folder that holds the file, or the file itself.
    Path(PathBuf),
}

impl FromStr for Origin {
    type Err = PullError;

    fn from_str(text: &str) -> Result<Self, PullError> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("file:") {
            let bad =
                || bad_address("--from", text, "a file address must be an absolute path on this machine");
            let url = Url::parse(text).map_err(|_| bad())?;
            return url.to_file_path().map(Self::Path).map_err(|()| bad());
        }
        if lower.starts_with("http:") || lower.starts_with("https:") {
            return parse_url("--from", text).map(Self::Url);
        }
        if lower.contains("://") {
            return Err(bad_address("--from", text, "use http, https, or a path"));
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

/// Reads an address that somebody wrote.
pub(super) fn parse_url(what: &str, text: &str) -> Result<Url, PullError> {
    let url = Url::parse(text).map_err(|error| bad_address(what, text, &error.to_string()))?;
    match (url.scheme(), url.has_host()) {
        ("http" | "https", true) => Ok(url),
        _ => Err(bad_address(what, text, "use http or https and a host")),
    }
}

/// An address below another one; the parts are escaped.
pub(super) fn below<'a>(base: &Url, parts: impl Iterator<Item = &'a str>) -> Result<Url, PullError> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut()
        .map_err(|()| bad_address("the base address", base.as_str(), "it can have no path"))?
        .pop_if_empty()
        .extend(parts);
    Ok(url)
}

/// An address as it may be shown and recorded: no password, and no query, which may carry a signature.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither fails for an address with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn bad_address(what: &str, text: &str, reason: &str) -> PullError {
    // Everything before an `@` may be a password.
    let text = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"));
    PullError::Address { what: what.to_owned(), text, reason: reason.to_owned() }
}

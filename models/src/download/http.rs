//! One request and its redirections. Secrets stay with the host that they were given for.
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};

use super::settings::{Limits, Token};
use super::{PullError, origin};
use crate::catalogue::is_sha256;

/// Longest wait for a connection: three tries of TCP's own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most redirections of one request; hubs use one or two.
const REDIRECTS_MAX: usize = 10;

/// A server's answer after all redirections.
pub(super) struct Answer {
    pub response: Response,
    /// The file's sha256 by the hub's own record, told with a redirection or the answer.
    pub linked_sha256: Option<String>,
    /// The file's size by the hub's own record.
    pub linked_bytes: Option<u64>,
    /// The address that answered, as it may be shown.
    pub shown: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The host cannot be reached.
    Unreachable(String),
    /// The connection broke, stood still, or the server is out of order for now.
    Broken(String),
    /// The server has another file now; what came of the old one is thrown away.
    Changed,
    /// Trying again would not help.
    Final(PullError),
}

impl From<PullError> for Fault {
    fn from(error: PullError) -> Self {
        Self::Final(error)
    }
}

/// The client of all requests. It follows no redirection by itself: see [`get`].
pub(super) fn client(limits: &Limits) -> Result<Client, PullError> {
    // Whoever was first to install one wins; it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("archond/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT.min(limits.stall_timeout))
        .http2_adaptive_window(true)
        .build()
        .map_err(PullError::Client)
}

/// Asks for an address and follows its redirections. The token goes to the first address's host only, and never in the clear over
/// a network.
pub(super) async fn get(
    client: &Client,
    url: &Url,
    headers: &HeaderMap,
    token: Option<&Token>,
    stall_timeout: Duration,
) -> Result<Answer, Fault> {
    let mut at = url.clone();
    let (mut linked_sha256, mut linked_bytes) = (None, None);
    for _ in 0..=REDIRECTS_MAX {
        let mut request = client.get(at.clone()).headers(headers.clone());
        if let Some(token) = token.filter(|_| at.origin() == url.origin() && is_private(&at)) {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let response = match tokio::time::timeout(stall_timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(of_request(error)),
            Err(_) => return Err(Fault::Broken(format!("no answer for {} s", stall_timeout.as_secs_f32()))),
        };
        linked_sha256 =
            linked_sha256.or_else(|| tag(response.headers(), "x-linked-etag").filter(|t| is_sha256(t)));
        linked_bytes = linked_bytes.or_else(|| text(response.headers(), "x-linked-size")?.parse().ok());
        if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Answer { response, linked_sha256, linked_bytes, shown: origin::shown(&at) });
        }
        at = next(&at, &response)?;
    }
    Err(PullError::Redirect { url: origin::shown(url), reason: "too often" }.into())
}

/// Where a redirection leads.
fn next(at: &Url, response: &Response) -> Result<Url, PullError> {
    let refuse = |reason| PullError::Redirect { url: origin::shown(at), reason };
    let target = text(response.headers(), LOCATION.as_str()).ok_or_else(|| refuse("to nowhere"))?;
    let next = at.join(&target).map_err(|_| refuse("to an address that is none"))?;
    match (at.scheme(), next.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(next),
        ("https", "http") => Err(refuse("from an encrypted to an open connection")),
        _ => Err(refuse("to something else than HTTP")),
    }
}

/// Whether nobody on the way can read the request.
fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https" || loopback
}

fn bearer(token: &Token) -> Result<HeaderValue, PullError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| PullError::Address {
            what: "HF_TOKEN".to_owned(),
            text: "…".to_owned(),
            reason: "a token has printable characters only".to_owned(),
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A strong entity tag without its quotes.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG.as_str()).filter(|tag| !tag.starts_with("W/"))
}

fn tag(headers: &HeaderMap, name: &str) -> Option<String> {
    text(headers, name).map(|tag| tag.trim_matches('"').to_owned())
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What an error of the client means. Its own text is taken without the address, which may hold secrets.
pub(super) fn of_request(error: reqwest::Error) -> Fault {
    let unreachable = error.is_connect();
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    // The innermost cause says most: "Connection refused", "certificate expired".
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    if unreachable { Fault::Unreachable(reason) } else { Fault::Broken(reason) }
}

/// What a status means, if it is not one of success.
pub(super) fn of_status(answer: &Answer, id: &str, token_sent: bool) -> Option<Fault> {
    let status = answer.response.status();
    let url = answer.shown.clone();
    Some(match status.as_u16() {
        200 | 206 | 416 => return None,
        404 | 410 => Fault::Final(PullError::NotFound { url, id: id.to_owned() }),
        401 | 403 | 407 => Fault::Final(PullError::Refused { url, status: status.as_u16(), token_sent }),
        408 | 425 | 429 | 500 | 502..=504 => Fault::Broken(format!("the server answers {status}")),
        other => Fault::Final(PullError::Status { url, status: other }),
    })
}

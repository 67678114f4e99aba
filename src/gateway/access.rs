//! Who may ask: a page of the web must not reach the gateway by a name that it made point here, or from its own scripts, and who
//! has no key where one is needed is sent away.
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::settings::{GatewaySettings, KeyReference, SecretError};

/// Fewest characters of a key: less can be guessed.
const KEY_LEN_MIN: usize = 16;

/// How long a browser may remember what a page may do: the settings change with a restart only.
const PREFLIGHT_SECONDS: u64 = 600;

/// Why the key cannot be had. It never says what was found.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be had.
    #[error("the gateway's key {0}")]
    Secret(#[from] SecretError),
    /// It can be guessed.
    #[error(
        "the gateway's key is shorter than {KEY_LEN_MIN} characters; make one with `openssl rand -hex 32`"
    )]
    TooShort,
}

/// The rules.
pub(super) struct Access {
    key: Option<Vec<u8>>,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Access {
    /// Reads the key.
    pub(super) fn new(settings: &GatewaySettings) -> Result<Self, KeyError> {
        let key = settings.key.as_ref().map(read_key).transpose()?;
        Ok(Self { key, hosts: settings.hosts.clone(), origins: settings.origins.clone() })
    }

    /// Checks `Host` and `Origin`. `address` is where the gateway listens. Answers the web page that asks, which is one that may.
    pub(super) fn check_place(
        &self,
        headers: &HeaderMap,
        address: SocketAddr,
    ) -> Result<Option<HeaderValue>, ApiError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).map(str::to_ascii_lowercase);
        let allowed = |host: &String| {
            let (name, _) = split_port(host);
            is_loopback(name) || self.hosts.contains(host) || self.hosts.iter().any(|known| known == name)
        };
        if hosts.next().is_some() || !host.as_ref().is_some_and(allowed) {
            let message = "this `Host` is not allowed; add it to `gateway.hosts`";
            return Err(ApiError::forbidden(message));
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(page) = origins.next() else { return Ok(None) };
        let origin = page.to_str().unwrap_or_default().to_ascii_lowercase();
        if origins.next().is_none() && (self.origins.contains(&origin) || is_own(&origin, address)) {
            return Ok(Some(page.clone()));
        }
        Err(ApiError::forbidden("this `Origin` is not allowed; add it to `gateway.origins`"))
    }

    /// Checks the key, in the same time wherever it differs.
    pub(super) fn check_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let bearer = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = bearer.and_then(|value| {
            let (scheme, rest) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
        });
        let given = bearer.or_else(|| headers.get("x-api-key").map(HeaderValue::as_bytes));
        match given {
            Some(given) if bool::from(given.ct_eq(key)) => Ok(()),
            _ => Err(ApiError::no_key()),
        }
    }
}

/// What a browser asks before it lets a page send JSON or a key; it sends no key itself. `None`: it is a request like any other.
pub(super) fn preflight(
    page: Option<&HeaderValue>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response> {
    page?;
    if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let allowed = response.headers_mut();
    allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    allowed.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
    // Clients have headers of their own, and the page may use the gateway: whatever it sends is read or passed over.
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Some(response)
}

/// Lets the page read the answer, refusals included: a browser hides what does not say so.
pub(super) fn let_read(page: Option<HeaderValue>, response: &mut Response) {
    if let Some(page) = page {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

fn read_key(reference: &KeyReference) -> Result<Vec<u8>, KeyError> {
    let key = reference.reveal()?;
    if key.len() < KEY_LEN_MIN {
        return Err(KeyError::TooShort);
    }
    Ok(key.into_bytes())
}

/// `[::1]:80` is `[::1]` and `80`.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

fn is_loopback(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A page that this very gateway served.
fn is_own(origin: &str, address: SocketAddr) -> bool {
    let Some(host) = origin.strip_prefix("http://") else { return false };
    let (name, port) = split_port(host);
    is_loopback(name) && port.unwrap_or(80) == address.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let access = Access {
            key: None,
            hosts: vec!["house.lan".into()],
            origins: vec!["https://chat.example".into()],
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        access.check_place(&headers, "127.0.0.1:8645".parse().unwrap()).is_ok()
    }

    #[test]
    fn only_known_names_lead_here() {
        for host in
            ["127.0.0.1:8645", "localhost", "LOCALHOST:1", "[::1]:8645", "127.9.9.9", "house.lan:8645"]
        {
            assert!(check(host, None), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8645", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", ""]
        {
            assert!(!check(host, None), "{host}");
        }
    }

    #[test]
    fn only_known_pages_may_ask() {
        for origin in ["http://127.0.0.1:8645", "http://localhost:8645", "https://chat.example"] {
            assert!(check("localhost", Some(origin)), "{origin}");
        }
        for origin in
            ["null", "https://evil.example", "http://localhost:3000", "http://localhost", "file://", ""]
        {
            assert!(!check("localhost", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_key_must_be_whole() {
        let access =
            Access { key: Some(b"0123456789abcdef".to_vec()), hosts: Vec::new(), origins: Vec::new() };
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            access.check_key(&headers).is_ok()
        };
        assert!(with("Bearer 0123456789abcdef") && with("bearer 0123456789abcdef"));
        assert!(!with("Bearer 0123456789abcde") && !with("Bearer ") && !with("Basic 0123456789abcdef"));
        assert!(access.check_key(&HeaderMap::new()).is_err());
    }
}

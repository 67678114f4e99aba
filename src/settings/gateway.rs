//! The settings of the HTTP gateway: the group `gateway` of `archond.ron`.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::reader::{Group, any, within};
use super::secret::{KeyReference, is_reference};
use super::values::{Bytes, HumanDuration};

/// Where the OpenAI API is, unless it is set.
const ADDRESS: &str = "127.0.0.1:8645";
/// Largest request, unless it is set: a few photographs.
const BODY_MAX: Bytes = Bytes(32 << 20);
/// Requests side by side, unless it is set: as many as may wait in the pool.
const REQUESTS_MAX: u32 = 256;
/// Longest wait for the next part of a request, unless it is set.
const READ_TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(30));

/// The gateway's settings after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its key is.
    pub key: Option<KeyReference>,
    /// Names by which it may be called, besides loopback ones.
    pub hosts: Vec<String>,
    /// Web pages that may use it, like `https://chat.example`.
    pub origins: Vec<String>,
    /// Largest body of a request.
    pub body_max: Bytes,
    /// Requests that are served side by side; more are refused.
    pub requests_max: u32,
    /// Longest wait for the head of a request, and for each part of its body.
    pub read_timeout: Duration,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            address: SocketAddr::from(([127, 0, 0, 1], 8645)),
            key: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            body_max: BODY_MAX,
            requests_max: REQUESTS_MAX,
            read_timeout: READ_TIMEOUT.0,
        }
    }
}

pub(super) fn read(mut group: Group<'_>) -> GatewaySettings {
    let enabled = group.value("enabled", true, any);
    let address = group.value("address", ADDRESS.to_owned(), |text| parse_address(text).map(drop));
    let key = group.value("key", None::<String>, is_reference);
    let hosts = group.list::<String>("hosts", &[], |name| {
        let plain =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        plain.then_some(()).ok_or_else(|| format!("needs the name of a host without `http://`, not `{name}`"))
    });
    let origins = group.list::<String>("origins", &[], |origin| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let plain = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'));
        plain
            .then_some(())
            .ok_or_else(|| format!("needs an origin like `https://chat.example`, not `{origin}`"))
    });
    let body_max = group.value("body_max", BODY_MAX, within(Bytes(1 << 10)..=Bytes(1 << 30), ""));
    let requests_max = group.value("requests_max", REQUESTS_MAX, within(1..=10_000, " requests"));
    let span = HumanDuration(Duration::from_secs(1))..=HumanDuration(Duration::from_secs(600));
    let read_timeout = group.value("read_timeout", READ_TIMEOUT, within(span, ""));
    // Both were checked when they were read; a faulty one is reported, and never used.
    let address = parse_address(&address).unwrap_or(GatewaySettings::default().address);
    if enabled && key.is_none() && !address.ip().is_loopback() {
        let hint = "write a long random line into a file and name it: `key: \"file:/PATH\"`".to_owned();
        let message = format!("`address` {address} can be reached by other machines, and there is no `key`");
        group.fault("address", message, Some(hint));
    }
    group.finish();
    GatewaySettings {
        enabled,
        address,
        key: key.and_then(|text| text.parse().ok()),
        hosts: hosts.into_iter().map(|host| host.value.to_ascii_lowercase()).collect(),
        origins: origins.into_iter().map(|origin| origin.value.to_ascii_lowercase()).collect(),
        body_max,
        requests_max,
        read_timeout: read_timeout.0,
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
    let parsed = host.parse::<IpAddr>().ok().zip(port.parse().ok());
    parsed
        .map(|(ip, port)| SocketAddr::new(ip, port))
        .ok_or_else(|| format!("must be an address with a port like `{ADDRESS}`, is `{text}`"))
}

//! The address of a server, and the rule where it may lead. The rule is kept at each connection: a name may lead elsewhere by then.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;

use super::address::Reach;

/// Longest wait for a name server at the start.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an address is not used. Written to follow the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFault {
    /// It is no address of an HTTP server.
    #[error("needs an address like `http://192.168.1.20:8080`{0}")]
    Malformed(&'static str),
    /// It leads to everybody's network.
    #[error(
        "leads to {address}, which is not in your own network; conversations would leave it. If that is what you want, \
         write \"{host}\" into `egress`"
    )]
    Foreign {
        /// The name as it is written.
        host: String,
        /// What it leads to.
        address: IpAddr,
    },
    /// It leads where no model can be.
    #[error("leads to {address}, which is never asked: {reason}")]
    Never {
        /// What it leads to.
        address: IpAddr,
        /// Why.
        reason: &'static str,
    },
}

/// The hosts outside the user's own network that may be asked.
pub type Egress = Arc<[String]>;

/// The address of a server that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: Url,
    host: String,
    egress: Egress,
}

impl Endpoint {
    /// Reads an address; what it leads to is checked as far as that is written in it. `/v1` at its end may be left out.
    pub fn parse(text: &str, egress: &Egress) -> Result<Self, EndpointFault> {
        let mut base = Url::parse(text).map_err(|_| EndpointFault::Malformed(""))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(EndpointFault::Malformed(", with `http` or `https`"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(EndpointFault::Malformed(
                "; a secret is not written into it, `key` says where it is",
            ));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(EndpointFault::Malformed(", without `?` and `#`"));
        }
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let path = base.path().trim_end_matches('/');
        let path = format!("{}/", path.strip_suffix("/v1").unwrap_or(path));
        base.set_path(&path);
        let endpoint = Self { base, host, egress: egress.clone() };
        match endpoint.host.parse() {
            Ok(address) => endpoint.allows(address).map(|()| endpoint),
            Err(_) => Ok(endpoint),
        }
    }

    /// Looks its name up and checks all that it leads to now. A name that leads nowhere is no fault: its machine may be off.
    pub async fn check(&self) -> Result<(), EndpointFault> {
        let Ok(Ok(found)) = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((self.host.as_str(), 0))).await
        else {
            return Ok(());
        };
        own(&self.host, &self.egress, found).map(drop)
    }

    /// Whether what is sent there can be read on the way by others than the user's own network.
    pub fn is_open_to_the_world(&self) -> bool {
        self.base.scheme() == "http" && self.egress.contains(&self.host)
    }

    pub(super) fn allows(&self, address: IpAddr) -> Result<(), EndpointFault> {
        allowed(&self.host, &self.egress, address)
    }

    /// An address below it.
    pub(super) fn at(&self, path: &str) -> Url {
        // Joining a plain relative path to an address that ends in `/` cannot fail.
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// What looks its names up.
    pub(super) fn resolver(&self) -> Arc<OwnNetwork> {
        Arc::new(OwnNetwork { egress: self.egress.clone() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

fn allowed(host: &str, egress: &Egress, address: IpAddr) -> Result<(), EndpointFault> {
    match Reach::of(address) {
        Reach::Own => Ok(()),
        Reach::World if egress.iter().any(|listed| listed.eq_ignore_ascii_case(host)) => Ok(()),
        Reach::World => Err(EndpointFault::Foreign { host: host.to_owned(), address }),
        Reach::Never(reason) => Err(EndpointFault::Never { address, reason }),
    }
}

/// Of the addresses of a host those that may be asked; if there is none, why. A machine at home has a public address of version 6
/// beside its private one: that one is just not used.
fn own(
    host: &str,
    egress: &Egress,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, EndpointFault> {
    let (mut own, mut fault) = (Vec::new(), None);
    for address in found {
        match allowed(host, egress, address.ip()) {
            Ok(()) => own.push(address),
            Err(refused) => fault = fault.or(Some(refused)),
        }
    }
    match fault {
        Some(fault) if own.is_empty() => Err(fault),
        _ => Ok(own),
    }
}

/// Looks names up and leaves out what may not be asked.
#[derive(Debug)]
pub(super) struct OwnNetwork {
    egress: Egress,
}

impl Resolve for OwnNetwork {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let own = own(name.as_str(), &egress, found)?;
            Ok(Box::new(own.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let egress: Egress = ["gpu.example.org".to_owned(), "203.0.113.9".to_owned()].into();
        let shown = match Endpoint::parse(text, &egress) {
            Ok(endpoint) => endpoint.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert!(shown.starts_with(expected), "{text}: {shown}");
    }

    #[test]
    fn addresses_and_what_is_said_of_them() {
        check("http://192.168.1.20:8080", "http://192.168.1.20:8080");
        check("http://192.168.1.20:8080/v1/", "http://192.168.1.20:8080");
        check("https://gpu.lan/models/v1", "https://gpu.lan/models");
        check("http://[fd00::7]:8000", "http://[fd00::7]:8000");
        check("https://203.0.113.9", "https://203.0.113.9");
        check(
            "ftp://192.168.1.20",
            "needs an address like `http://192.168.1.20:8080`, with `http` or `https`",
        );
        check("192.168.1.20:8080", "needs an address like");
        check("gpu.lan", "needs an address like `http://192.168.1.20:8080`");
        check(
            "http://ada:secret@192.168.1.20",
            "needs an address like `http://192.168.1.20:8080`; a secret is not",
        );
        check("http://192.168.1.20/?key=1", "needs an address like `http://192.168.1.20:8080`, without");
        check("http://8.8.8.8", "leads to 8.8.8.8, which is not in your own network");
        check("http://[2001:db8::1]/v1", "leads to 2001:db8::1, which is not in your own network");
        check("http://169.254.169.254/", "leads to 169.254.169.254, which is never asked");
        check("http://[::ffff:8.8.8.8]/", "leads to ::ffff:8.8.8.8, which is not in your own network");
        // However a number is written, what it leads to counts.
        check("http://134744072/", "leads to 8.8.8.8");
        check("http://0x7f.1/", "http://127.0.0.1");
        check("http://0251.0376.0251.0376/", "leads to 169.254.169.254, which is never asked");
    }

    #[test]
    fn of_several_addresses_those_at_home_are_used() {
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
        let none: Egress = [].into();
        let both = [at("2001:db8::1"), at("192.168.1.20")];
        assert_eq!(own("gpu.lan", &none, both.into_iter()), Ok(vec![at("192.168.1.20")]));
        let foreign = own("gpu.lan", &none, [at("203.0.113.9")].into_iter());
        assert!(matches!(foreign, Err(EndpointFault::Foreign { .. })), "{foreign:?}");
        let listed: Egress = ["GPU.example.org".to_owned()].into();
        let found = [at("203.0.113.9"), at("169.254.169.254")];
        assert_eq!(own("gpu.example.org", &listed, found.into_iter()), Ok(vec![at("203.0.113.9")]));
    }

    #[test]
    fn an_open_connection_to_the_world_is_known_as_such() {
        let egress: Egress = ["gpu.example.org".to_owned()].into();
        let open = |text| Endpoint::parse(text, &egress).unwrap().is_open_to_the_world();
        assert!(open("http://gpu.example.org"));
        assert!(!open("https://gpu.example.org"));
        assert!(!open("http://192.168.1.20"));
    }
}

//! Where tools may go: everybody's network, and what the user named of his own.
use std::net::IpAddr;

use archond_models::remote::Reach;

/// Ports of the web.
const PORTS: [u16; 2] = [80, 443];
/// Hosts that are never asked, one a line.
const NEVER: &str = include_str!("never.txt");
/// Ends of names that mean something in a private network, or nothing anywhere (RFC 2606, 6761, 6762, 7686, 8375, 9476; ICANN on `internal`).
const PRIVATE_ENDS: [&str; 16] = [
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "test",
];

/// Why a place is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Others' models answer there.
    #[error("`{0}` is never asked: somebody else's models answer there, and this house thinks with its own")]
    Models(String),
    /// The name means no machine of everybody's network.
    #[error(
        "`{0}` is a name of a private network, which is not asked; its owner can allow it by `web: (hosts: [\"{0}\"])` in archond.ron"
    )]
    PrivateName(String),
    /// The name is written in a form with a second meaning.
    #[error("`{0}` is not asked: write the name without a dot at its end")]
    Dotted(String),
    /// Not a port of the web.
    #[error(
        "port {port} is not asked, only 80 and 443; the owner can allow it by `web: (hosts: [\"{host}:{port}\"])` in archond.ron"
    )]
    Port {
        /// At which host.
        host: String,
        /// Which.
        port: u16,
    },
    /// The name leads nowhere.
    #[error("`{0}` leads to no address; look at how it is written")]
    NoAddress(String),
    /// An address of the host is none that may be asked.
    #[error("`{host}` leads to {address}, which is not asked: {reason}")]
    Address {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A host of the user's own network that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    host: String,
    /// `None`: the ports of the web.
    port: Option<u16>,
}

impl Named {
    /// Reads `wiki.lan`, `wiki.lan:8080`, `192.168.1.7`, `[fd00::7]:8080`; otherwise, what is wrong, written to follow the setting's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("needs the name or address of a host like `wiki.lan` or `wiki.lan:8080`, not `{text}`")
        };
        let text = text.to_ascii_lowercase();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
            }
            None if text.matches(':').count() > 1 => (text.as_str(), None),
            None => text.split_once(':').map_or((text.as_str(), None), |(host, port)| (host, Some(port))),
        };
        let port = port
            .map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong))
            .transpose()?;
        let host = match host.parse::<IpAddr>() {
            Ok(address) => {
                if let Reach::Never(reason) = Reach::of(address) {
                    return Err(format!("cannot name {address}: {reason}"));
                }
                address.to_string()
            }
            Err(_) => host.to_owned(),
        };
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        if !plain || host.is_empty() || host.ends_with('.') || host.starts_with('.') {
            return Err(wrong());
        }
        if answers_with_models(&host) {
            return Err(format!(
                "cannot name `{host}`: somebody else's models answer there, and it is never asked"
            ));
        }
        Ok(Self { host, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.map_or(PORTS.contains(&port), |named| named == port)
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.host.contains(':'), self.port) {
            (_, None) => to.write_str(&self.host),
            (false, Some(port)) => write!(to, "{}:{port}", self.host),
            (true, Some(port)) => write!(to, "[{}]:{port}", self.host),
        }
    }
}

/// Whose a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The user's own: he named it.
    Own,
    /// A stranger's.
    Outside,
}

/// Where tools may go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebRules {
    named: Vec<Named>,
}

impl WebRules {
    /// Everybody's network, and these.
    pub fn new(named: Vec<Named>) -> Self {
        Self { named }
    }

    /// What the user named.
    pub fn named(&self) -> &[Named] {
        &self.named
    }

    /// Whether a host may be asked at this port, as far as that shows before its name is looked up. `host` as [`super::Place::host`]
    /// gives it.
    pub fn ground(&self, host: &str, port: u16) -> Result<Ground, Refusal> {
        if answers_with_models(host) {
            return Err(Refusal::Models(host.to_owned()));
        }
        if self.named.iter().any(|named| named.covers(host, port)) {
            return Ok(Ground::Own);
        }
        match host.parse::<IpAddr>() {
            Ok(address) => Ground::Outside.allows(host, &[address])?,
            Err(_) if host.ends_with('.') => return Err(Refusal::Dotted(host.to_owned())),
            Err(_) => match host.rsplit_once('.') {
                Some((before, end)) if !before.is_empty() && !PRIVATE_ENDS.contains(&end) => {}
                _ => return Err(Refusal::PrivateName(host.to_owned())),
            },
        }
        if !PORTS.contains(&port) {
            return Err(Refusal::Port { host: host.to_owned(), port });
        }
        Ok(Ground::Outside)
    }
}

impl Ground {
    /// Whether all these addresses of a host may be asked. One that may not refuses the others: a name that leads home as well as
    /// out is a trap or a mistake.
    pub fn allows(self, host: &str, found: &[IpAddr]) -> Result<(), Refusal> {
        if found.is_empty() {
            return Err(Refusal::NoAddress(host.to_owned()));
        }
        found.iter().try_for_each(|&address| {
            let allowed = match (self, Reach::of(address)) {
                (Self::Outside, _) => Reach::is_public(address),
                (Self::Own, Reach::Never(reason)) => Err(reason),
                (Self::Own, Reach::Own | Reach::World) => Ok(()),
            };
            allowed.map_err(|reason| Refusal::Address { host: host.to_owned(), address, reason })
        })
    }
}

/// Whether a host, or one that it lies below, is of those that are never asked.
fn answers_with_models(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    // Amazon has a host of this kind in each region.
    if host.ends_with(".amazonaws.com") && host.starts_with("bedrock") {
        return true;
    }
    let never = NEVER.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    never.into_iter().any(|never| {
        host.strip_suffix(never).is_some_and(|before| before.is_empty() || before.ends_with(['.', '-']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Place;

    /// Two hosts that the user named.
    fn rules() -> WebRules {
        WebRules::new(
            ["wiki.lan", "127.0.0.1:8080", "git.internal:3000"]
                .map(|text| Named::parse(text).unwrap())
                .into(),
        )
    }

    fn ground(text: &str) -> Result<Ground, Refusal> {
        let place = Place::parse(text).unwrap();
        rules().ground(place.host(), place.port())
    }

    #[test]
    fn public_names_and_addresses_are_asked_at_the_ports_of_the_web() {
        for text in
            ["https://example.com/", "http://example.com", "https://8.8.8.8", "http://[2606:4700::1111]/"]
        {
            assert_eq!(ground(text), Ok(Ground::Outside), "{text}");
        }
        for text in ["https://example.com:8443/", "http://example.com:22/", "http://8.8.8.8:0/"] {
            assert!(matches!(ground(text), Err(Refusal::Port { .. })), "{text}");
        }
    }

    #[test]
    fn private_names_are_not_asked_unless_they_are_named() {
        for text in [
            "http://localhost/",
            "http://a.localhost/",
            "http://printer/",
            "http://printer.local/",
            "http://metadata.google.internal/",
            "http://other.lan/",
            "http://router.home.arpa/",
            "http://x.test/",
            "http://x.onion/",
        ] {
            assert!(matches!(ground(text), Err(Refusal::PrivateName(_))), "{text}");
        }
        for text in ["http://example.com./", "http://localhost./", "http://wiki.lan./"] {
            assert!(matches!(ground(text), Err(Refusal::Dotted(_))), "{text}");
        }
        for text in
            ["http://wiki.lan/", "https://WIKI.lan", "http://127.0.0.1:8080/", "http://git.internal:3000/"]
        {
            assert_eq!(ground(text), Ok(Ground::Own), "{text}");
        }
        for text in
            ["http://wiki.lan:8080/", "http://127.0.0.1/", "http://127.0.0.1:8081/", "http://git.internal/"]
        {
            assert!(ground(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_that_lead_home_are_not_asked() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.64.0.1",
            "100.100.100.200",
            "198.18.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:1::1]",
            "[2a00::5efe:7f00:1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[2001:db8::1]",
            "[ff02::1]",
        ] {
            let refused = ground(&format!("http://{host}/"));
            assert!(matches!(refused, Err(Refusal::Address { .. })), "{host}: {refused:?}");
        }
    }

    #[test]
    fn one_bad_address_of_a_name_refuses_all() {
        let of = |found: &[&str]| found.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(Ground::Outside.allows("a", &of(&["8.8.8.8", "2606:4700::1"])), Ok(()));
        assert!(Ground::Outside.allows("a", &of(&["8.8.8.8", "127.0.0.1"])).is_err());
        assert!(Ground::Outside.allows("a", &of(&["8.8.8.8", "fe80::1"])).is_err());
        assert!(matches!(Ground::Outside.allows("a", &[]), Err(Refusal::NoAddress(_))));
        assert_eq!(Ground::Own.allows("a", &of(&["192.168.1.2", "127.0.0.1"])), Ok(()));
        for never in ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::ffff:169.254.169.254"] {
            assert!(Ground::Own.allows("a", &of(&["192.168.1.2", never])).is_err(), "{never}");
        }
    }

    #[test]
    fn those_who_sell_answers_are_never_asked() {
        for host in [
            "api.openai.com",
            "api.anthropic.com",
            "generativelanguage.googleapis.com",
            "eu.api.openai.com",
            "ada.openai.azure.com",
            "us-east1-aiplatform.googleapis.com",
            "bedrock-runtime.eu-west-1.amazonaws.com",
        ] {
            assert!(matches!(rules().ground(host, 443), Err(Refusal::Models(_))), "{host}");
            assert!(Named::parse(host).is_err(), "{host}");
        }
        assert_eq!(rules().ground("docs.example.com", 443), Ok(Ground::Outside));
        assert_eq!(rules().ground("notapi.openai.com.example.org", 443), Ok(Ground::Outside));
    }

    #[test]
    fn hosts_are_named_by_name_or_address() {
        for (text, shown) in [
            ("Wiki.LAN", "wiki.lan"),
            ("wiki:8080", "wiki:8080"),
            ("192.168.1.7", "192.168.1.7"),
            ("fd00::7", "fd00::7"),
            ("[FD00::7]:80", "[fd00::7]:80"),
        ] {
            assert_eq!(Named::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "http://wiki.lan",
            "wiki.lan/",
            "wiki.lan:",
            "wiki.lan:0",
            "a b",
            "*",
            "[fd00::7",
            "wiki.",
            "0.0.0.0",
            "169.254.169.254",
        ] {
            assert!(Named::parse(text).is_err(), "{text}");
        }
    }
}

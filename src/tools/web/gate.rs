//! The gate: gives a tool's process its connections, one by one, each judged.
//!
//! Whoever asks may be anybody's: the process has read what a stranger wrote. So every question is read as an address first, and what
//! was judged is what is connected to.
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::timeout;

use super::line::{Asked, Gateside};
use super::{SEARCH, WebAccess};
use crate::web::{Ground, Place, Refusal};

/// Connections of one call: a page, and five times where it has moved to.
pub(in crate::tools) const CONNECTIONS_MAX: u32 = 6;
/// Longest wait for a name's addresses.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a connection to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum GateFault {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this was asked for in a form that no address has")]
    Malformed,
    #[error(
        "it leads on to `{0}`, and the search engine is asked at its own address alone; write the right one into `web.searxng`"
    )]
    Elsewhere(String),
    #[error(
        "it leads from outside to `{0}` in the owner's network, which is not followed; ask for that itself if it is wanted"
    )]
    Inwards(String),
    #[error("it leads on more than {} times", CONNECTIONS_MAX - 1)]
    TooMany,
    #[error("the addresses of `{host}` cannot be found: {why}")]
    LookUp { host: String, why: String },
    #[error("`{host}` cannot be reached: {why}")]
    Connect { host: String, why: String },
}

/// The connections of one call.
#[derive(Debug)]
pub(in crate::tools) struct Gate<'w> {
    access: &'w WebAccess,
    /// The one host of a search.
    engine: Option<&'w Place>,
    is_search: bool,
    has_been_outside: bool,
    left: u32,
}

impl<'w> Gate<'w> {
    pub(in crate::tools) fn new(access: &'w WebAccess, tool: &str) -> Self {
        let is_search = tool == SEARCH;
        Self {
            access,
            engine: access.searxng.as_ref().filter(|_| is_search),
            is_search,
            has_been_outside: false,
            left: CONNECTIONS_MAX,
        }
    }

    /// Serves a call until nobody asks any more.
    pub(in crate::tools) async fn keep(mut self, line: Gateside) {
        while let Some(asked) = line.hear().await {
            let opened = self.open(&asked).await;
            match &opened {
                Ok((_, address)) => {
                    tracing::debug!(host = asked.host, %address, "a tool is connected");
                }
                Err(error) => tracing::debug!(host = asked.host, %error, "a tool is not connected"),
            }
            let said = opened.map(|(connection, _)| connection).map_err(|fault| fault.to_string());
            if line.say(said).await.is_err() {
                return;
            }
        }
    }

    async fn open(&mut self, asked: &Asked) -> Result<(TcpStream, SocketAddr), GateFault> {
        self.left = self.left.checked_sub(1).ok_or(GateFault::TooMany)?;
        let host = read_back(asked).ok_or(GateFault::Malformed)?;
        let ground = self.ground(&host, asked.port)?;
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(&host).await?,
        };
        ground.allows(&host, &found)?;
        self.has_been_outside |= ground == Ground::Outside;
        self.connect(&host, asked.port, &found).await
    }

    fn ground(&self, host: &str, port: u16) -> Result<Ground, GateFault> {
        if self.is_search {
            let is_it = self.engine.is_some_and(|engine| (engine.host(), engine.port()) == (host, port));
            return if is_it { Ok(Ground::Own) } else { Err(GateFault::Elsewhere(host.to_owned())) };
        }
        let ground = self.access.rules.ground(host, port)?;
        // A stranger's page must not choose what is asked for in the owner's network.
        if ground == Ground::Own && self.has_been_outside {
            return Err(GateFault::Inwards(host.to_owned()));
        }
        Ok(ground)
    }

    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, GateFault> {
        let failed = |why: String| GateFault::LookUp { host: host.to_owned(), why };
        match timeout(LOOK_UP_TIMEOUT, self.access.network.look_up(host)).await {
            Ok(found) => found.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer for {} s", LOOK_UP_TIMEOUT.as_secs()))),
        }
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
        found: &[IpAddr],
    ) -> Result<(TcpStream, SocketAddr), GateFault> {
        let mut why = String::new();
        for address in found.iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(*address, port);
            match timeout(CONNECT_TIMEOUT, self.access.network.connect(address)).await {
                Ok(Ok(connection)) => return Ok((connection, address)),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = format!("no answer for {} s", CONNECT_TIMEOUT.as_secs()),
            }
        }
        Err(GateFault::Connect { host: host.to_owned(), why })
    }
}

/// The host, if it is in the one form in which [`Place`] gives hosts: the rules know no other.
fn read_back(asked: &Asked) -> Option<String> {
    let host = if asked.host.contains(':') { format!("[{}]", asked.host) } else { asked.host.clone() };
    let place = Place::parse(&format!("http://{host}:{}/", asked.port)).ok()?;
    ((place.host(), place.port()) == (asked.host.as_str(), asked.port)).then(|| asked.host.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_in_their_own_form_are_judged_at_all() {
        let read = |host: &str| read_back(&Asked { host: host.to_owned(), port: 443 });
        for host in ["example.com", "xn--exmple-cua.com", "8.8.8.8", "2606:4700::1111", "127.0.0.1"] {
            assert_eq!(read(host).as_deref(), Some(host));
        }
        for host in [
            "",
            "API.openai.com",
            "exämple.com",
            "0x7f.1",
            "2130706433",
            "a/b",
            "a@b.com",
            "a.com:80",
            "a.com#",
            "a.com?",
            "[::1]",
            "2606:4700:0::1111",
            "a b",
            "a\n.com",
            "%6cocalhost",
        ] {
            assert_eq!(read(host), None, "{host}");
        }
    }
}

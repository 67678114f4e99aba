//! An address of any HTTP service of the user's own, and the client that leads nowhere else: the rule of [`super::Endpoint`], for
//! those who speak another protocol there.
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};

use super::endpoint::{Egress, Endpoint, EndpointFault};

/// Longest wait for a connection: on one's own network it takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An address that may be asked, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUrl {
    url: Url,
    endpoint: Endpoint,
}

impl OwnUrl {
    /// Reads an address; what it leads to is checked as far as that is written in it.
    pub fn parse(text: &str, egress: &Egress) -> Result<Self, EndpointFault> {
        let endpoint = Endpoint::parse(text, egress)?;
        let url = Url::parse(text).map_err(|_| EndpointFault::Malformed(""))?;
        Ok(Self { url, endpoint })
    }

    /// Looks its name up and checks all that it leads to now. A name that leads nowhere is no fault: its machine may be off.
    pub async fn check(&self) -> Result<(), EndpointFault> {
        self.endpoint.check().await
    }

    /// Whether what is sent there can be read on the way by others than the user's own network.
    pub fn is_open_to_the_world(&self) -> bool {
        self.endpoint.is_open_to_the_world()
    }

    /// A client that connects within the rule only, follows no redirection, uses no proxy, and sends these headers, whose values are
    /// secret.
    pub fn client(&self, secrets: &[(String, String)]) -> Result<Client, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in secrets {
            let unfit =
                |_| format!("`{name}` is no header, or its value has characters that no header may have");
            let name_of_it = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(()))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| unfit(()))?;
            value.set_sensitive(true);
            headers.insert(name_of_it, value);
        }
        // Whoever was first to install one wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("archond/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(self.endpoint.resolver())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| error.without_url().to_string())
    }
}

impl fmt::Display for OwnUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.url.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_as_it_was_written() {
        let none: Egress = [].into();
        for text in ["http://127.0.0.1:3001/mcp", "http://127.0.0.1/v1", "http://127.0.0.1/a/"] {
            assert_eq!(OwnUrl::parse(text, &none).unwrap().to_string(), text);
        }
        let foreign = OwnUrl::parse("http://8.8.8.8/mcp", &none);
        assert!(matches!(foreign, Err(EndpointFault::Foreign { .. })), "{foreign:?}");
    }

    #[tokio::test]
    async fn a_name_that_leads_outside_is_refused_at_the_connection() {
        // What is written in an address is checked before; a client of another address is bound by its own resolver all the same.
        let none: Egress = [].into();
        let own = OwnUrl::parse("http://localhost:1/", &none).unwrap();
        assert_eq!(own.check().await, Ok(()));
        assert!(own.client(&[("x-key".to_owned(), "secret".to_owned())]).is_ok());
        let unfit = own.client(&[("x-key".to_owned(), "sec\nret".to_owned())]).unwrap_err();
        assert!(unfit.contains("x-key") && !unfit.contains("sec"), "{unfit}");
    }
}

//! An address in the web, as somebody wrote it. Only what cannot be read in two ways is taken.
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

/// Longest address, in bytes: browsers take hardly more.
pub const URL_BYTES_MAX: usize = 2048;

/// Why an address is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceFault {
    /// It is none.
    #[error("`{0}` is no address; write a whole one like `https://example.com/page`")]
    Malformed(String),
    /// It is too long.
    #[error("the address has {0} bytes, more than {URL_BYTES_MAX}")]
    TooLong(usize),
    /// It is not of the web.
    #[error("`{0}:` is not asked; only `http:` and `https:` are")]
    Scheme(String),
    /// It carries a secret, or hides where it leads behind what looks like a host.
    #[error("the address has a user name or password before its host, which is not sent; leave that out")]
    Credentials,
    /// It is written in another form than the one in which it would be read.
    #[error("the host of `{written}` would be read as `{read}`; write it so")]
    Disguised {
        /// As it is written.
        written: String,
        /// What it means.
        read: String,
    },
    /// A page that was fetched safely leads on in the open.
    #[error(
        "it leads from `https:` to `{0}`, which everybody on the way could read; ask for that itself if it is wanted"
    )]
    Downgrade(String),
}

/// An address in the web that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    url: Url,
    host: String,
    port: u16,
}

impl Place {
    /// Reads a whole address. What is behind `#` is left out.
    pub fn parse(text: &str) -> Result<Self, PlaceFault> {
        let malformed = || PlaceFault::Malformed(shorten(text));
        if text.len() > URL_BYTES_MAX {
            return Err(PlaceFault::TooLong(text.len()));
        }
        // Readers of addresses disagree about these: some leave them out, some take `\` for `/`.
        if text.chars().any(|char| char.is_control() || char.is_whitespace() || char == '\\') {
            return Err(malformed());
        }
        let mut url = Url::parse(text).map_err(|_| malformed())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PlaceFault::Scheme(url.scheme().to_owned()));
        }
        let (_, rest) = text.split_once("://").ok_or_else(malformed)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(PlaceFault::Credentials);
        }
        let (host, port) = (url.host().ok_or_else(malformed)?, url.port_or_known_default());
        let written = host_of(authority);
        let host = plain(&host);
        if !is_written_so(written, &host) {
            return Err(PlaceFault::Disguised { written: shorten(written), read: host });
        }
        url.set_fragment(None);
        Ok(Self { host, port: port.ok_or_else(malformed)?, url })
    }

    /// Where a page says that it has moved to.
    pub fn follow(&self, location: &str) -> Result<Self, PlaceFault> {
        let next = if Url::parse(location).is_ok() {
            Self::parse(location)?
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", self.url.scheme()))?
        } else {
            let joined = self.url.join(location).map_err(|_| PlaceFault::Malformed(shorten(location)))?;
            let next = Self::parse(joined.as_str())?;
            if (&next.host, next.port) != (&self.host, self.port) {
                return Err(PlaceFault::Malformed(shorten(location)));
            }
            next
        };
        if self.is_tls() && !next.is_tls() {
            return Err(PlaceFault::Downgrade(next.to_string()));
        }
        Ok(next)
    }

    /// Name or address of the host, in small letters, names of other scripts in their `xn--` form, addresses without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken with in secret.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and port as a request names them: the port only where it is not the usual one.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// What is asked for there: path and query.
    pub fn target(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", self.url.path())
    }

    /// The same with this path below it, and these questions.
    pub fn asked(&self, path: &str, query: &[(&str, &str)]) -> Self {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url.query_pairs_mut().clear().extend_pairs(query);
        Self { url, ..self.clone() }
    }
}

impl fmt::Display for Place {
    /// As it is asked for: nothing in it has another form on the way.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.url.as_str())
    }
}

fn plain(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// The host without its port, as it is written.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether a host is written as it is read. `0x7f.1`, `2130706433` and `%6cocalhost` are not; of names in other scripts only the `xn--`
/// form shows what they are.
fn is_written_so(written: &str, host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => written == address.to_string(),
        Ok(IpAddr::V6(address)) => written.parse::<Ipv6Addr>() == Ok(address),
        Err(_) => !written.is_ascii() || written.eq_ignore_ascii_case(host),
    }
}

fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    let plain = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).map(plain).collect();
    if shown.chars().count() < text.chars().count() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str, wanted: &str) {
        assert_eq!(Place::parse(text).map(|place| place.to_string()), Ok(wanted.to_owned()), "{text}");
    }

    #[test]
    fn addresses_are_shown_as_they_are_asked_for() {
        read("https://example.com", "https://example.com/");
        read("HTTP://Example.COM:80/A?b=c#d", "http://example.com/A?b=c");
        read("http://example.com:8080/ä?q=ü", "http://example.com:8080/%C3%A4?q=%C3%BC");
        read("https://exämple.com/", "https://xn--exmple-cua.com/");
        read("https://раypal.com/", "https://xn--ypal-43d9g.com/");
        read("http://[2606:4700:0::1111]:80/", "http://[2606:4700::1111]/");
        let place = Place::parse("http://[2606:4700::1111]:8080/a?b").unwrap();
        let seen = (place.host(), place.port(), place.authority(), place.target());
        assert_eq!(seen, ("2606:4700::1111", 8080, "[2606:4700::1111]:8080".into(), "/a?b".into()));
    }

    #[track_caller]
    fn refused(text: &str, fits: impl Fn(&PlaceFault) -> bool) {
        let fault = Place::parse(text).expect_err(text);
        assert!(fits(&fault), "{text}: {fault}");
    }

    #[test]
    fn what_is_no_address_of_the_web_is_refused() {
        for text in ["", "example.com", "/page", "http://", "http:/example.com", "http:example.com", "https:"]
        {
            refused(text, |fault| matches!(fault, PlaceFault::Malformed(_)));
        }
        for text in
            ["http://a b.com/", "http://example.com/\t", " http://example.com", "http:\\\\example.com"]
        {
            refused(text, |fault| matches!(fault, PlaceFault::Malformed(_)));
        }
        for text in ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "data:text/plain,a"]
        {
            refused(text, |fault| matches!(fault, PlaceFault::Scheme(_)));
        }
        refused(&format!("http://example.com/{}", "a".repeat(URL_BYTES_MAX)), |fault| {
            matches!(fault, PlaceFault::TooLong(_))
        });
    }

    #[test]
    fn credentials_are_refused() {
        for text in [
            "http://ada@example.com/",
            "http://ada:x@example.com/",
            "http://@example.com/",
            "http://:@example.com",
        ] {
            refused(text, |fault| *fault == PlaceFault::Credentials);
        }
        refused("http://example.com@127.0.0.1/", |fault| *fault == PlaceFault::Credentials);
        read("http://example.com/@127.0.0.1", "http://example.com/@127.0.0.1");
    }

    #[test]
    fn a_host_in_disguise_is_refused() {
        for text in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.1/",
            "http://127.000.000.001/",
            "http://017700000001/",
            "http://134744072/",
            "http://8.8.2056/",
            "http://8.8.8.8./",
            "http://１２７.０.０.１/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http://%6cocalhost/",
            "http://ex%61mple.com/",
        ] {
            refused(text, |fault| matches!(fault, PlaceFault::Disguised { .. }));
        }
        for text in ["http://256.1.1.1/", "http://1.2.3.4.5/", "http://[::1/", "http://[fe80::1%25eth0]/"] {
            refused(text, |fault| matches!(fault, PlaceFault::Malformed(_)));
        }
    }

    #[track_caller]
    fn follows(from: &str, location: &str, wanted: Result<&str, ()>) {
        let next = Place::parse(from).unwrap().follow(location);
        let seen = next.as_ref().map(ToString::to_string).map_err(|_| ());
        assert_eq!(seen, wanted.map(str::to_owned), "{location}: {next:?}");
    }

    #[test]
    fn a_page_that_moved_is_looked_at_anew() {
        let from = "https://example.com/a/b?c";
        follows(from, "d", Ok("https://example.com/a/d"));
        follows(from, "/d?e", Ok("https://example.com/d?e"));
        follows(from, "//example.org/", Ok("https://example.org/"));
        follows(from, "https://example.org/x", Ok("https://example.org/x"));
        follows("http://example.com/", "https://example.com/", Ok("https://example.com/"));
        follows(from, "http://example.com/", Err(()));
        follows(from, "https://134744072/", Err(()));
        follows(from, "//134744072/", Err(()));
        follows(from, "https://ada:x@example.org/", Err(()));
        follows(from, "\\\\127.0.0.1/", Err(()));
        follows(from, "/\\127.0.0.1/", Err(()));
        follows(from, "file:///etc/passwd", Err(()));
        follows(from, "javascript:alert(1)", Err(()));
    }
}

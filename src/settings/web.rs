//! Where tools may go in the web: the group `web` of `archond.ron`.
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Group, within};
use super::values::{Bytes, HumanDuration};
use crate::web::{Named, Place};

/// Largest page, unless it is set: long articles with their markup take a tenth.
const BODY_MAX: Bytes = Bytes(4 << 20);
/// Longest time of one call, unless it is set.
const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(30));

/// The settings of the tools that reach the web, after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Hosts of the user's own network that may be asked.
    pub hosts: Vec<Named>,
    /// The user's own search engine, a SearXNG; without one there is no `web_search`.
    pub searxng: Option<Place>,
    /// A file of certificates, as PEM, whose owners are believed beside those of the system.
    pub authorities: Option<PathBuf>,
    /// Largest page.
    pub body_max: Bytes,
    /// Longest time of one call.
    pub timeout: Duration,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self { hosts: Vec::new(), searxng: None, authorities: None, body_max: BODY_MAX, timeout: TIMEOUT.0 }
    }
}

pub(super) fn read(mut group: Group<'_>) -> WebSettings {
    let hosts = group.list::<String>("hosts", &[], |text| Named::parse(text).map(drop));
    let searxng = group.value("searxng", None::<String>, |text| {
        text.as_ref().map_or(Ok(()), |text| search_engine(text).map(drop))
    });
    let authorities = group.value("authorities", None::<String>, |path| match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("must be a whole path beginning with `/`, is `{path}`"))
        }
        _ => Ok(()),
    });
    let body_max = group.value("body_max", BODY_MAX, within(Bytes(64 << 10)..=Bytes(64 << 20), ""));
    let span = HumanDuration(Duration::from_secs(1))..=HumanDuration(Duration::from_secs(600));
    let timeout = group.value("timeout", TIMEOUT, within(span, ""));
    group.finish();
    WebSettings {
        // Both were checked when they were read; a faulty one is reported, and never used.
        hosts: hosts.iter().filter_map(|text| Named::parse(&text.value).ok()).collect(),
        searxng: searxng.and_then(|text| search_engine(&text).ok()),
        authorities: authorities.map(PathBuf::from),
        body_max,
        timeout: timeout.0,
    }
}

fn search_engine(text: &str) -> Result<Place, String> {
    let place = Place::parse(text).map_err(|fault| format!("cannot be used: {fault}"))?;
    if place.target().contains('?') {
        return Err("needs an address like `http://searx.lan:8080`, without `?`".to_owned());
    }
    // What may never be asked may not be a search engine either.
    Named::parse(place.host())?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::environment::Environment;
    use super::super::{HouseSettings, Paths, house};

    fn load(text: &str) -> Result<HouseSettings, Vec<String>> {
        let paths = Paths::below(Path::new("/srv/house"));
        let read =
            house::read(Path::new("archond.ron"), text.to_owned(), &Environment::default(), &paths, &[], &[]);
        read.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_of_the_own_network_is_asked_unless_it_is_named() {
        let web = load("").unwrap().web;
        assert_eq!((web.hosts.len(), web.searxng), (0, None));
        let text = r#"(web: (hosts: ["wiki.lan", "[fd00::7]:8080"], searxng: "http://searx.lan:8080/s/", timeout: "5s"))"#;
        let web = load(text).unwrap().web;
        let hosts: Vec<String> = web.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["wiki.lan", "[fd00::7]:8080"]);
        assert_eq!(web.searxng.unwrap().to_string(), "http://searx.lan:8080/s/");
    }

    #[test]
    fn what_may_never_be_asked_cannot_be_named() {
        for wrong in [
            r#"hosts: ["http://wiki.lan"]"#,
            r#"hosts: ["api.openai.com"]"#,
            r#"hosts: ["169.254.169.254"]"#,
            r#"searxng: "searx.lan""#,
            r#"searxng: "http://ada:x@searx.lan""#,
            r#"searxng: "http://169.254.169.254/""#,
            r#"searxng: "http://searx.lan/?q=1""#,
            r#"authorities: "ca.pem""#,
            r#"body_max: "1 KiB""#,
            r#"timeout: "0s""#,
        ] {
            let faults = load(&format!("(web: ({wrong}))")).unwrap_err();
            assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
        }
    }
}

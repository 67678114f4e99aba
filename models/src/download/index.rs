//! Finds a wheel in a Python package index: the JSON form of the simple API, or its older HTML form, which every mirror speaks.
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::http::{self, Fault};
use super::{Downloader, PullError, origin};

/// Both forms; JSON is preferred.
const FORMS: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
/// Largest page of one project, in bytes; the largest known are some 10 MB.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A wheel as an index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub url: Url,
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<PageFile>,
}

#[derive(Deserialize)]
struct PageFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Deserialize, Default)]
struct Hashes {
    sha256: Option<String>,
}

impl Downloader {
    /// Asks an index for a project's wheel.
    pub(super) async fn find_wheel(
        &self,
        index: &Url,
        project: &str,
        wheel: &str,
    ) -> Result<Listed, PullError> {
        let page_url = origin::below(index, [project, ""].into_iter())?;
        let fail = |reason: String| PullError::Index { url: origin::shown(&page_url), reason };
        let mut attempt = 1;
        let (body, is_json) = loop {
            match self.page(&page_url, project).await {
                Ok(page) => break page,
                Err(Fault::Final(PullError::NotFound { .. })) => {
                    return Err(fail(format!("does not have the project {project}")));
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Changed) => return Err(fail("answers something else than a page".to_owned())),
                Err(_) if attempt < self.settings.limits.attempts_max => attempt += 1,
                Err(Fault::Unreachable(reason)) => {
                    let host = page_url.host_str().unwrap_or_default().to_owned();
                    return Err(PullError::NoNetwork { host, reason, id: project.to_owned() });
                }
                Err(Fault::Broken(reason)) => return Err(fail(format!("does not answer: {reason}"))),
            }
            super::fetch::wait(&self.settings.limits, attempt).await;
        };
        let listed = if is_json { from_json(&body, wheel) } else { from_html(&body, wheel) };
        let (address, sha256) = listed.ok_or_else(|| fail(format!("does not list {wheel}")))?;
        let mut url =
            page_url.join(&address).map_err(|_| fail(format!("lists {wheel} at an address that is none")))?;
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") || (index.scheme() == "https" && url.scheme() == "http")
        {
            return Err(fail(format!("lists {wheel} at an address that is not encrypted as its own is")));
        }
        if url.origin() == index.origin() && url.username().is_empty() {
            // A private index gives its files to whom it gives its pages. Neither fails for an address with a host.
            let _ = url.set_username(index.username());
            let _ = url.set_password(index.password());
        }
        Ok(Listed { url, sha256 })
    }

    async fn page(&self, url: &Url, id: &str) -> Result<(String, bool), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(FORMS));
        let stall_timeout = self.settings.limits.stall_timeout;
        let mut answer = http::get(&self.client, url, &headers, None, stall_timeout).await?;
        if let Some(fault) = http::of_status(&answer, id, false) {
            return Err(fault);
        }
        let kind = http::text(answer.response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout(stall_timeout, answer.response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= PAGE_BYTES_MAX => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Ok(Some(_))) => return Err(Fault::Changed),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(http::of_request(error)),
                Err(_) => {
                    return Err(Fault::Broken(format!("no data for {} s", stall_timeout.as_secs_f32())));
                }
            }
        }
        Ok((String::from_utf8_lossy(&body).into_owned(), kind.contains("json")))
    }
}

fn from_json(body: &str, wheel: &str) -> Option<(String, Option<String>)> {
    let page: Page = serde_json::from_str(body).ok()?;
    page.files.into_iter().find(|file| file.filename == wheel).map(|file| (file.url, file.hashes.sha256))
}

/// The link whose text or last path segment is the wheel. The simple API's HTML is a plain list of links, so no parser is needed.
fn from_html(body: &str, wheel: &str) -> Option<(String, Option<String>)> {
    for link in body.split("<a").skip(1) {
        let Some((_, rest)) = link.split_once("href=") else { continue };
        let Some(quote) = rest.chars().next().filter(|c| *c == '"' || *c == '\'') else { continue };
        let Some((address, _)) = rest.get(1..).and_then(|rest| rest.split_once(quote)) else { continue };
        let address = address.replace("&amp;", "&");
        let (path, fragment) = address.split_once('#').unwrap_or((&address, ""));
        let name = path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if name == wheel {
            let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256=")).map(str::to_owned);
            return Some((path.to_owned(), sha256));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_page_are_read() {
        let json = r#"{"meta":{"api-version":"1.1"},"name":"p","files":[{"filename":"a.whl","url":"../a.whl","hashes":{}},
            {"filename":"b.whl","url":"https://f/b.whl","hashes":{"sha256":"00","md5":"1"},"yanked":false}]}"#;
        assert_eq!(from_json(json, "b.whl"), Some(("https://f/b.whl".to_owned(), Some("00".to_owned()))));
        assert_eq!(from_json(json, "a.whl"), Some(("../a.whl".to_owned(), None)));
        assert_eq!(from_json(json, "c.whl"), None);
        assert_eq!(from_json("<html>", "a.whl"), None);
        let html = r#"<html><body><a href="../../x/a.whl#sha256=11&amp;y=2">a.whl</a><br/>
            <a data-requires-python="&gt;=3" href='/f/b.whl?k=1&amp;l=2'>b.whl</a></body></html>"#;
        assert_eq!(from_html(html, "a.whl"), Some(("../../x/a.whl".to_owned(), Some("11".to_owned()))));
        assert_eq!(from_html(html, "b.whl"), Some(("/f/b.whl?k=1&l=2".to_owned(), None)));
        assert_eq!(from_html("<a href=", "a.whl"), None);
    }
}

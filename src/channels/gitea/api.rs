//! Gitea's API, as far as a channel asks for it (<https://docs.gitea.com/api/>; Forgejo's is the same). The token goes to the address of the
//! settings alone: redirections are not followed.
use std::time::Duration;

use archond_actors::ports::ChannelFault;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::events::{Comment, Issue, Place, Repository, User};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of an answer: fifty long issues.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Characters of what the server says that are shown.
const SAID_CHARS_MAX: usize = 300;
/// What a page of a list has at most, on every Gitea.
pub(super) const PAGE_LEN: usize = 50;
/// Pages of a list that are read at once: more than two thousand comments within minutes are no conversation.
const PAGES_MAX: usize = 40;
/// Where the API of every Gitea begins.
const API: &str = "/api/v1";

/// An open Gitea. Cheap to copy.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    url: String,
}

/// A version, as the server says it.
#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

/// A comment of the list, with what is needed to know one's own.
#[derive(Debug, Deserialize)]
struct Posted {
    user: User,
    #[serde(default)]
    body: Option<String>,
}

impl Api {
    /// For an address and a token. Opens nothing yet.
    pub(super) fn new(url: &str, token: &str) -> Result<Self, String> {
        // Whoever was first to install one wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut header = HeaderValue::from_str(&format!("token {token}"))
            .map_err(|_| "the token has characters that no token has".to_owned())?;
        header.set_sensitive(true);
        let client = Client::builder()
            .user_agent(concat!("archond/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)]))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|error| format!("no client can be made: {error}"))?;
        Ok(Self { client, url: url.to_owned() })
    }

    /// Whose token it is.
    pub(super) async fn account(&self) -> Result<User, ChannelFault> {
        self.get("/user").await
    }

    /// Which version answers.
    pub(super) async fn version(&self) -> Result<String, ChannelFault> {
        self.get("/version").await.map(|version: Version| version.version)
    }

    /// An account by its name.
    pub(super) async fn user(&self, login: &str) -> Result<User, ChannelFault> {
        self.get(&format!("/users/{login}")).await
    }

    /// A repository by its number.
    pub(super) async fn repository(&self, id: &str) -> Result<Repository, ChannelFault> {
        self.get(&format!("/repositories/{id}")).await
    }

    /// A repository by `owner/name`.
    pub(super) async fn repository_named(&self, name: &str) -> Result<Repository, ChannelFault> {
        self.get(&format!("/repos/{name}")).await
    }

    /// An issue, or a pull request as one.
    pub(super) async fn issue(&self, repository: &str, number: u64) -> Result<Issue, ChannelFault> {
        self.get(&format!("/repos/{repository}/issues/{number}")).await
    }

    /// Issues and pull requests that changed since then, oldest pages last.
    pub(super) async fn issues(&self, repository: &str, since: &str) -> Result<Vec<Issue>, ChannelFault> {
        self.all(&format!("/repos/{repository}/issues?state=open&since={since}")).await
    }

    /// Comments in a repository since then.
    pub(super) async fn comments(&self, repository: &str, since: &str) -> Result<Vec<Comment>, ChannelFault> {
        self.all(&format!("/repos/{repository}/issues/comments?since={since}")).await
    }

    /// Whether one of this account's comments begins with this marker.
    pub(super) async fn is_posted(
        &self,
        place: &Place,
        account: &User,
        marker: &str,
        since: &str,
    ) -> Result<bool, ChannelFault> {
        let Place { repository, number, .. } = place;
        let comments: Vec<Posted> =
            self.all(&format!("/repos/{repository}/issues/{number}/comments?since={since}")).await?;
        let is_it = |comment: &Posted| {
            comment.user.id == account.id && comment.body.as_deref().unwrap_or_default().starts_with(marker)
        };
        Ok(comments.iter().any(is_it))
    }

    /// Comments.
    pub(super) async fn comment(&self, place: &Place, text: &str) -> Result<(), ChannelFault> {
        let path = format!("/repos/{}/issues/{}/comments", place.repository, place.number);
        self.ask::<Value>(Method::POST, &path, Some(json!({ "body": text }))).await.map(drop)
    }

    /// Lets whoever wrote see that it is read.
    pub(super) async fn look_at(&self, place: &Place) -> Result<(), ChannelFault> {
        let Place { repository, number, comment, .. } = place;
        let path = match comment {
            Some(comment) => format!("/repos/{repository}/issues/comments/{comment}/reactions"),
            None => format!("/repos/{repository}/issues/{number}/reactions"),
        };
        self.ask::<Value>(Method::POST, &path, Some(json!({ "content": "eyes" }))).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ChannelFault> {
        self.ask(Method::GET, path, None).await
    }

    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ChannelFault> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let found: Vec<T> = self.get(&format!("{path}&limit={PAGE_LEN}&page={page}")).await?;
            let is_last = found.is_empty();
            all.extend(found);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, ChannelFault> {
        let request = self.client.request(method, format!("{}{API}{path}", self.url));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let unreachable = |error: reqwest::Error| {
            ChannelFault::transient(format!("{} cannot be reached: {}", self.url, root(&error)))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let after = response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
        let mut said = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            said.extend_from_slice(&chunk);
            if said.len() > BODY_BYTES_MAX {
                return Err(ChannelFault::transient("Gitea's answer is longer than any that is asked for"));
            }
        }
        if !status.is_success() {
            return Err(fault(status, after, &said));
        }
        let nonsense =
            |error| ChannelFault::transient(format!("Gitea's answer to {path} cannot be read: {error}"));
        // A reaction that is there already has no body on some versions.
        let said = if said.is_empty() { b"null".as_slice() } else { &said };
        serde_json::from_slice(said).map_err(nonsense)
    }
}

/// The innermost reason, which has no address in it.
fn root(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    if error.is_timeout() { "it took too long".to_owned() } else { reason.to_string() }
}

/// What a refusal means.
fn fault(status: StatusCode, after_s: Option<u64>, said: &[u8]) -> ChannelFault {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let said = serde_json::from_slice::<Said>(said).map(|said| said.message).unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
    let said = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let after = Duration::from_secs(after_s.unwrap_or(60).clamp(1, 3600));
            ChannelFault::Limited { after, everywhere: true }
        }
        StatusCode::UNAUTHORIZED => ChannelFault::Barred {
            detail: format!(
                "Gitea does not take the token ({said}); make a new one for the Archon's account and put it where the settings say"
            ),
        },
        StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE
        | StatusCode::LOCKED
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::PAYLOAD_TOO_LARGE => ChannelFault::Refused { reason: format!("Gitea said {said}") },
        _ => ChannelFault::transient(format!("Gitea said {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let said = br#"{"message":"user should have a permission to read repo\u0007","url":"x"}"#;
        let of = |status: u16| fault(StatusCode::from_u16(status).unwrap(), Some(7), said);
        assert_eq!(of(429), ChannelFault::Limited { after: Duration::from_secs(7), everywhere: true });
        assert!(matches!(of(401), ChannelFault::Barred { detail } if detail.contains("make a new one")));
        for status in [403, 404, 410, 413, 422, 423] {
            assert!(
                matches!(of(status), ChannelFault::Refused { reason } if reason.ends_with("read repo")),
                "{status}"
            );
        }
        for status in [301, 400, 500, 502, 503] {
            assert!(matches!(of(status), ChannelFault::Transient { .. }), "{status}");
        }
    }
}

//! A Gitea of our own that answers as Gitea's sources say, with one repository and as many issues as are asked for.
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The token of the Archon's account.
pub(crate) const TOKEN: &str = "0123456789abcdef";
/// Its number.
const EZRA: u64 = 9;
/// What a page of a list has at most.
const PAGE_LEN: usize = 50;

/// What there is.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) comments: Vec<Value>,
    pub(crate) reactions: usize,
}

type Shared = Arc<Mutex<Site>>;

async fn answer(State(site): State<Shared>, request: Request) -> (StatusCode, String) {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let knows =
        request.headers().get("authorization").is_some_and(|token| token == &format!("token {TOKEN}"));
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    if !knows {
        return (StatusCode::UNAUTHORIZED, json!({"message": "user does not exist"}).to_string());
    }
    let path = path.strip_prefix("/api/v1").unwrap_or_default();
    match said(&mut site.lock().unwrap(), &method, path, &query, &body) {
        Some(said) => (StatusCode::OK, said.to_string()),
        None => (StatusCode::NOT_FOUND, json!({"message": "not found"}).to_string()),
    }
}

fn said(site: &mut Site, method: &str, path: &str, query: &str, body: &[u8]) -> Option<Value> {
    let said = match (method, path) {
        ("GET", "/user" | "/users/ezra") => json!({"id": EZRA, "login": "ezra"}),
        ("GET", "/version") => json!({"version": "1.27.0"}),
        ("GET", "/users/maria") => json!({"id": 3, "login": "maria"}),
        ("GET", "/repositories/7" | "/repos/maria/site") => json!({"id": 7, "full_name": "maria/site"}),
        ("GET", "/repos/maria/site/issues") => json!([]),
        ("GET", "/repos/maria/site/issues/comments") => page(site.comments.iter(), query),
        ("POST", path) if path.ends_with("/reactions") => {
            site.reactions += 1;
            json!({"content": "eyes"})
        }
        (method, path) => {
            let (number, rest) = {
                let path = path.strip_prefix("/repos/maria/site/issues/")?;
                path.split_once('/').unwrap_or((path, ""))
            };
            let number: u64 = number.parse().ok()?;
            match (method, rest) {
                ("GET", "") => issue(number),
                ("GET", "comments") => page(site.comments.iter().filter(|one| is_of(one, number)), query),
                ("POST", "comments") => {
                    let body: Value = serde_json::from_slice(body).unwrap();
                    let comment =
                        comment(1_000_000 + site.comments.len() as u64, EZRA, number, body["body"].as_str()?);
                    site.comments.push(comment.clone());
                    comment
                }
                _ => return None,
            }
        }
    };
    Some(said)
}

fn page<'a>(comments: impl Iterator<Item = &'a Value>, query: &str) -> Value {
    let of = |name: &str| {
        query
            .split('&')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .to_owned()
    };
    let (since, page) = (of("since"), of("page").parse().unwrap_or(1).max(1));
    // Times of one form are in order as texts.
    let comments = comments.filter(|comment| comment["created_at"].as_str().unwrap() >= since.as_str());
    comments.skip((page - 1) * PAGE_LEN).take(PAGE_LEN).cloned().collect()
}

fn is_of(comment: &Value, number: u64) -> bool {
    comment["issue_url"].as_str().unwrap().ends_with(&format!("/{number}"))
}

fn comment(id: u64, by: u64, number: u64, words: &str) -> Value {
    let login = if by == EZRA { "ezra" } else { "maria" };
    json!({"id": id, "body": words, "user": {"id": by, "login": login}, "created_at": now(),
        "issue_url": format!("http://x/maria/site/issues/{number}")})
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn issue(number: u64) -> Value {
    json!({"id": 500 + number, "number": number, "title": "Notes", "body": "", "user": {"id": 3, "login": "maria"},
        "labels": [], "assignees": null, "created_at": now()})
}

/// A site that runs.
pub(crate) struct Gitea {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) site: Shared,
    pub(crate) url: String,
}

impl Gitea {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let site = Shared::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(site.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime, site, url }
    }

    /// Somebody comments: Gitea keeps it, and sends a webhook once. `None`: nobody listened.
    pub(crate) fn comments(&self, hook: &Hook, id: u64, by: u64, number: u64, words: &str) -> Option<u16> {
        let comment = comment(id, by, number, words);
        self.site.lock().unwrap().comments.push(comment.clone());
        let body = json!({"action": "created", "issue": issue(number), "comment": comment, "is_pull": false,
            "repository": {"id": 7, "full_name": "maria/site"}, "sender": {"id": by, "login": "maria"}})
        .to_string();
        self.send(hook, &body)
    }

    /// `None`: nobody listens.
    pub(crate) fn send(&self, hook: &Hook, body: &str) -> Option<u16> {
        let mut mac = Hmac::<Sha256>::new_from_slice(hook.secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        // Whoever was first to install one wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new()
            .post(format!("http://{}/", hook.listen))
            .header("x-gitea-event", "issue_comment")
            .header("x-gitea-event-type", "issue_comment")
            .header("x-gitea-signature", signature)
            .body(body.to_owned());
        self.runtime.block_on(request.send()).ok().map(|response| response.status().as_u16())
    }

    /// What the Archon has commented so far in an issue, without its marks.
    pub(crate) fn said(&self, number: u64) -> Vec<String> {
        let site = self.site.lock().unwrap();
        let own =
            site.comments.iter().filter(|comment| comment["user"]["id"] == EZRA && is_of(comment, number));
        own.map(|comment| comment["body"].as_str().unwrap().split_once("-->\n").unwrap().1.to_owned())
            .collect()
    }
}

/// Where webhooks go, and what they are signed with.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) listen: String,
    pub(crate) secret: String,
}

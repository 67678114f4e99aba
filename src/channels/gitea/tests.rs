//! The adapter before a server that does what Gitea's API and webhooks do, as far as it asks; none can be had for a test.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archond_actors::domain::{AnswerKind, Cursor, OutboxId, Parcel, PeerId, Question, ReplyTo, Shown};
use archond_actors::ports::{Channel, ChannelFault, Handed};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::events::{Delivery, Reader, User};
use super::{Gitea, GiteaSettings, Rule};
use crate::clock::SystemClock;
use crate::settings::KeyReference;

const SECRET: &str = "a secret";
const NOW: &str = "2026-11-30T01:00:00Z";
const NOW_MS: u64 = 1_796_000_400_000;

#[derive(Default)]
struct Store {
    comments: Vec<Value>,
    issues: Vec<Value>,
    reactions: usize,
    status: Option<StatusCode>,
    seen: Vec<String>,
}

type Shared = Arc<Mutex<Store>>;

async fn answer(State(store): State<Shared>, request: Request) -> (StatusCode, String) {
    let (method, uri) = (request.method().to_string(), request.uri().clone());
    let may = request.headers().get("authorization").is_some_and(|token| token == "token tkn");
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut store = store.lock().unwrap();
    store.seen.push(format!("{method} {uri}"));
    if let Some(status) = store.status {
        return (status, json!({"message": "no"}).to_string());
    }
    if !may {
        return (StatusCode::UNAUTHORIZED, json!({"message": "invalid token"}).to_string());
    }
    let is_first_page = uri.query().is_none_or(|query| query.ends_with("page=1"));
    let listed = |all: &[Value]| if is_first_page { json!(all) } else { json!([]) };
    let ours = json!({"id": 9, "login": "ezra"});
    let said = match (method.as_str(), uri.path()) {
        ("GET", "/api/v1/user") => ours,
        ("GET", "/api/v1/version") => json!({"version": "1.27.0"}),
        ("GET", "/api/v1/repositories/7" | "/api/v1/repos/maria/site") => repository(),
        ("GET", "/api/v1/repos/maria/site/issues") => listed(&store.issues),
        ("GET", "/api/v1/repos/maria/site/issues/12") => issue(),
        (
            "GET",
            "/api/v1/repos/maria/site/issues/comments" | "/api/v1/repos/maria/site/issues/12/comments",
        ) => listed(&store.comments),
        ("POST", "/api/v1/repos/maria/site/issues/12/comments") => {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let comment = json!({"id": 100 + store.comments.len(), "body": body["body"], "user": ours, "created_at": NOW});
            store.comments.push(comment.clone());
            comment
        }
        ("POST", path) if path.ends_with("/reactions") => {
            store.reactions += 1;
            json!({})
        }
        _ => return (StatusCode::NOT_FOUND, json!({"message": "not found"}).to_string()),
    };
    (StatusCode::OK, said.to_string())
}

async fn server() -> (Shared, String, JoinSet<()>) {
    let store = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(store.clone());
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (store, url, task)
}

fn repository() -> Value {
    json!({"id": 7, "full_name": "maria/site", "private": false})
}

fn issue() -> Value {
    json!({"id": 512, "number": 12, "title": "The link\nis broken", "body": "See the front page.", "user": {"id": 3, "login": "maria"},
        "assignees": null, "labels": [], "created_at": NOW})
}

fn comment(id: u64, by: u64, body: &str) -> Value {
    json!({"id": id, "body": body, "user": {"id": by, "login": "maria"}, "created_at": NOW,
        "issue_url": "http://x/maria/site/issues/12", "pull_request_url": ""})
}

fn commented(comment: &Value) -> Value {
    json!({"action": "created", "issue": issue(), "comment": comment, "repository": repository(), "is_pull": false,
        "sender": comment["user"]})
}

/// A file of this test alone with a secret in it.
fn kept(folder: &tempfile::TempDir, secret: &str) -> KeyReference {
    let path = folder.path().join(secret.replace(' ', "-"));
    std::fs::write(&path, secret).unwrap();
    KeyReference::File(path)
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Lab {
    store: Shared,
    gitea: Gitea,
    hook: String,
    _secrets: tempfile::TempDir,
    _server: JoinSet<()>,
}

impl Lab {
    async fn new() -> Self {
        let (store, url, server) = server().await;
        let secrets = tempfile::tempdir().unwrap();
        let listen = free_address();
        let settings = GiteaSettings {
            url,
            token: kept(&secrets, "tkn"),
            secret: kept(&secrets, SECRET),
            listen,
            answers: vec![Rule::Mention],
        };
        let gitea = Gitea::new(
            "ezra".parse().unwrap(),
            "gitea".parse().unwrap(),
            settings,
            vec![PeerId::new("7").unwrap()],
            Arc::new(SystemClock),
        );
        Self { store, gitea, hook: format!("http://{listen}/"), _secrets: secrets, _server: server }
    }

    /// The first look of all, which opens the listener and finds nothing.
    async fn opened(&self) {
        assert_eq!(self.gitea.receive(None).await.unwrap().messages, []);
    }
}

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `services/webhook/deliver.go` sends it.
async fn send(hook: &str, event: &str, body: &str, signature: &str) -> u16 {
    let request = reqwest::Client::new()
        .post(hook)
        .header("content-type", "application/json")
        .header("x-gitea-delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473")
        .header("x-gitea-event", event)
        .header("x-gitea-event-type", event)
        .header("x-gitea-signature", signature)
        .body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_webhook_is_acknowledged_when_what_it_brings_is_durable_and_not_before() {
    let lab = Lab::new().await;
    lab.opened().await;
    let body = commented(&comment(41, 3, "@ezra, what is wrong here?")).to_string();
    let hook = lab.hook.clone();
    let mut sent = JoinSet::new();
    sent.spawn(async move { send(&hook, "issue_comment", &body, &signature(&body)).await });
    let batch = lab.gitea.receive(None).await.unwrap();
    let message = &batch.messages[0];
    assert_eq!((message.key.as_str(), message.peer.as_str()), ("7#12/c41", "3"));
    assert_eq!(message.group.as_ref().unwrap().as_str(), "7");
    assert_eq!(message.thread.as_ref().unwrap().as_str(), "issue-12");
    assert_eq!(message.text, "[maria/site#12 \"The link is broken\", comment by maria]\nwhat is wrong here?");
    assert_eq!(message.waybill.written_unix_ms, Some(NOW_MS));
    assert!(sent.try_join_next().is_none(), "nothing is durable yet");
    // The port's promise: asked again, all of it is.
    let next = timeout(Duration::from_millis(300), lab.gitea.receive(None)).await;
    assert!(next.is_err(), "nothing more came");
    assert_eq!(sent.join_next().await.unwrap().unwrap(), 204);
}

#[tokio::test]
async fn who_is_given_up_is_refused_and_found_by_looking() {
    let lab = Lab::new().await;
    lab.opened().await;
    let body = commented(&comment(41, 3, "@ezra hello")).to_string();
    let hook = lab.hook.clone();
    let mut sent = JoinSet::new();
    sent.spawn(async move { send(&hook, "issue_comment", &body, &signature(&body)).await });
    let hooked = lab.gitea.receive(None).await.unwrap();
    lab.gitea.renew();
    assert_eq!(sent.join_next().await.unwrap().unwrap(), 503);
    lab.store.lock().unwrap().comments.push(comment(41, 3, "@ezra hello"));
    lab.store.lock().unwrap().comments.push(comment(42, 3, "not for the Archon"));
    lab.store.lock().unwrap().comments.push(comment(43, 9, "@ezra its own words"));
    let cursor = Cursor { place: NOW_MS.to_string().into(), moved_unix_ms: NOW_MS };
    let found = lab.gitea.receive(Some(cursor)).await.unwrap();
    assert_eq!(found.messages, hooked.messages, "the same message, by either road");
    assert!(found.place.is_some_and(|place| place.parse::<u64>().unwrap() > NOW_MS));
}

#[tokio::test]
async fn forged_and_misshapen_webhooks_are_refused() {
    let lab = Lab::new().await;
    lab.opened().await;
    let body = commented(&comment(41, 3, "@ezra hello")).to_string();
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let table = [
        (body.as_str(), String::new(), 401),
        (&body, "sha256=".to_owned(), 401),
        (&body, signature("other"), 401),
        (&body, "nonsense".to_owned(), 401),
        (&long, signature(&long), 413),
        // Proved, and for nobody: Gitea is not to send it again.
        ("{}", signature("{}"), 204),
        ("not JSON", signature("not JSON"), 204),
    ];
    for (body, signature, expected) in table {
        let status = send(&lab.hook, "issue_comment", body, &signature).await;
        assert_eq!(status, expected, "{} bytes, {signature}", body.len());
    }
    assert_eq!(reqwest::get(&lab.hook).await.unwrap().status().as_u16(), 405);
    let nothing = timeout(Duration::from_millis(300), lab.gitea.receive(None)).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn whoever_sends_slowly_holds_up_nobody() {
    use tokio::io::AsyncWriteExt as _;
    let lab = Lab::new().await;
    lab.opened().await;
    let address = lab.hook.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nx-gitea-sig").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(send(&lab.hook, "push", "{}", &signature("{}")).await, 204);
}

fn parcel(text: &str) -> Parcel {
    Parcel {
        outbox: Some(OutboxId(5)),
        key: "7#12/c41".into(),
        peer: PeerId::new("3@7").unwrap(),
        reply_to: ReplyTo::new(r#"{"repository":"maria/site","number":12,"comment":41,"login":"maria"}"#)
            .unwrap(),
        kind: AnswerKind::Answer,
        text: text.into(),
        attachments: Vec::new(),
        created_unix_ms: NOW_MS,
        receipt: None,
        tries: 0,
    }
}

#[tokio::test]
async fn an_answer_is_one_comment_however_often_it_is_handed_over() {
    let lab = Lab::new().await;
    for _ in 0..2 {
        assert_eq!(lab.gitea.deliver(parcel("It is fixed.")).await, Ok(Handed::Whole));
    }
    let said: Vec<String> = lab
        .store
        .lock()
        .unwrap()
        .comments
        .iter()
        .map(|one| one["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["<!-- archond:ezra:5 -->\nIt is fixed."]);
    // Somebody else's comment with the marker in it keeps no answer back.
    lab.store.lock().unwrap().comments = vec![comment(50, 3, &said[0])];
    assert_eq!(lab.gitea.deliver(parcel("It is fixed.")).await, Ok(Handed::Whole));
    assert_eq!(lab.store.lock().unwrap().comments.len(), 2);
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let lab = Lab::new().await;
    lab.opened().await;
    lab.store.lock().unwrap().status = Some(StatusCode::BAD_GATEWAY);
    assert!(matches!(lab.gitea.deliver(parcel("x")).await, Err(ChannelFault::Transient { .. })));
    lab.store.lock().unwrap().status = Some(StatusCode::FORBIDDEN);
    assert!(matches!(lab.gitea.deliver(parcel("x")).await, Err(ChannelFault::Refused { .. })));
    lab.store.lock().unwrap().status = None;
    let secrets = tempfile::tempdir().unwrap();
    let url = lab.gitea.settings.url.clone();
    let of = |token| GiteaSettings {
        token: kept(&secrets, token),
        url: url.clone(),
        ..lab.gitea.settings.clone()
    };
    let barred = super::probe(&of("old")).await;
    assert!(
        matches!(&barred, Err(ChannelFault::Barred { detail }) if detail.contains("make a new one")),
        "{barred:?}"
    );
    let probed = super::probe(&of("tkn")).await.unwrap();
    assert_eq!((probed.login.as_str(), probed.id, probed.version.as_str()), ("ezra", 9, "1.27.0"));
    assert_eq!(super::repository(&of("tkn"), "maria/site").await.unwrap(), "7");
    let closed = GiteaSettings { url: format!("http://{}", free_address()), ..of("tkn") };
    let error = super::probe(&closed).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && !error.contains("tkn"), "{error}");
}

#[tokio::test]
async fn a_question_is_a_comment_and_work_a_reaction() {
    let lab = Lab::new().await;
    let asked = Shown::Asked(Question {
        call: "12.1.1".into(),
        tool: "bash".into(),
        shown: "echo ```".into(),
        why: "It runs a program.".into(),
        timeout_s: 300,
        elsewhere: None,
    });
    lab.gitea.show(parcel(""), Shown::Working).await.unwrap();
    lab.gitea.show(parcel(""), asked).await.unwrap();
    let store = lab.store.lock().unwrap();
    assert_eq!(store.reactions, 1);
    let body = store.comments[0]["body"].as_str().unwrap();
    assert!(body.starts_with("<!-- archond:ezra -->\nMay I use `bash`?"), "{body}");
    assert!(body.contains("````\necho ```\n````") && body.contains("`@ezra /approve`"), "{body}");
}

#[test]
fn what_is_meant_for_the_archon_is_told_from_the_rest() {
    let read = |rules: &[Rule], event: &str, delivery: Value| {
        let reader = Reader { account: User { id: 9, login: "Ezra".into() }, rules: rules.to_vec() };
        let delivery: Delivery = serde_json::from_value(delivery).unwrap();
        reader.delivery(event, &delivery).map(|inbound| (inbound.key, inbound.text))
    };
    let said = |body: &str| read(&[Rule::Mention], "issue_comment", commented(&comment(41, 3, body)));
    for (body, expected) in [
        ("@ezra /approve", Some("/approve")),
        ("@EZRA: /deny too risky", Some("/deny too risky")),
        ("Ask @ezra.", None),
        ("hello @ezra-two and a@ezra", None),
        ("@ezra", None),
        ("<!-- archond:electra:1 -->\n@ezra hello", None),
    ] {
        let found = said(body);
        match expected {
            Some(text) => assert_eq!(found, Some(("7#12/c41".to_owned(), text.to_owned())), "{body}"),
            None if body == "Ask @ezra." => assert!(found.unwrap().1.ends_with("\nAsk @ezra."), "{body}"),
            None => assert_eq!(found, None, "{body}"),
        }
    }
    let opened = |change: Value, action: &str| {
        let mut issue = issue();
        issue.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"action": action, "issue": issue, "repository": repository(), "sender": {"id": 3, "login": "maria"}})
    };
    let own = json!([{"id": 9, "login": "ezra"}]);
    let label = Rule::Label("ezra".into());
    let place = Rule::Repository("Maria/Site".into());
    assert!(read(&[Rule::Assigned], "issue_assign", opened(json!({"assignees": own}), "assigned")).is_some());
    assert!(read(&[Rule::Assigned], "issues", opened(json!({}), "opened")).is_none());
    assert!(
        read(
            std::slice::from_ref(&label),
            "issue_label",
            opened(json!({"labels": [{"name": "Ezra"}]}), "label_updated")
        )
        .is_some()
    );
    assert!(read(&[label], "issues", opened(json!({"labels": [{"name": "bug"}]}), "opened")).is_none());
    assert!(read(std::slice::from_ref(&place), "issues", opened(json!({}), "opened")).is_some());
    assert!(read(&[place], "issues", opened(json!({}), "closed")).is_none());
    let pull = json!({"action": "review_requested", "pull_request": issue(), "repository": repository(),
        "requested_reviewer": {"id": 9, "login": "ezra"}, "sender": {"id": 3, "login": "maria"}});
    assert!(read(&[Rule::ReviewRequested], "pull_request_review_request", pull).is_some());
    let review = json!({"action": "reviewed", "pull_request": issue(), "repository": repository(),
        "review": {"type": "pull_request_review_comment", "content": "@ezra is that right?"}, "sender": {"id": 4, "login": "jo"}});
    let (key, text) = read(&[Rule::Mention], "pull_request_review_comment", review).unwrap();
    assert!(key.starts_with("7#12/r") && text.contains("review by jo"), "{key} {text}");
}

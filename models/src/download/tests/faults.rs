//! Every failure says what happened and what to do, and leaves nothing half-made.
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::server::{End, Reply, Server};
use super::*;

#[track_caller]
fn assert_says(error: &PullError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[tokio::test]
async fn a_wrong_sha256_names_both_and_leaves_nothing() {
    let (place, mut other) = (Place::new(true), body());
    *other.last_mut().unwrap() ^= 1;
    let server = Server::of(other);
    let error = pull(&downloader(&server.address(), 3), &place).await.unwrap_err();
    let PullError::WrongHash { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, sha256());
    assert_says(&error, &[expected, found, "it was removed"]);
    assert!(place.files().is_empty() && expected != found);
    assert_eq!(server.log().len(), 1, "trying again would bring the same bytes");
}

#[tokio::test]
async fn lengths_that_are_not_true_are_found_out() {
    let whole = body();
    let length = whole.len() as u64;
    let lying = |claimed: u64| {
        let whole = whole.clone();
        Server::start(move |_, _| Reply::new(200, &whole).length(claimed))
    };
    let (known, unknown) = (Place::new(true), Place::new(false));
    // Another size than the catalogue's is another file, before its first byte is written.
    for claimed in [length + 10, length - 10] {
        let error = pull(&downloader(&lying(claimed).address(), 3), &known).await.unwrap_err();
        assert!(matches!(error, PullError::WrongSize { found, .. } if found == claimed), "{error}");
        assert!(known.files().is_empty());
    }
    let error = pull(&downloader(&lying(length + 10).address(), 2), &unknown).await.unwrap_err();
    assert!(matches!(error, PullError::GaveUp { attempts: 2, .. }), "{error}");
    let error = pull(&downloader(&lying(length - 10).address(), 2), &unknown).await.unwrap_err();
    assert_says(&error, &["is cut off: it has 1986038 bytes and its tensors need 1986048"]);
    assert!(unknown.files().is_empty());
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up() {
    let (place, whole) = (Place::new(true), body());
    let server =
        Server::start(move |_, request| Reply::file(request, &whole, "\"one\"").end(End::Stall(500_000)));
    let mut impatient = downloader(&server.address(), 2);
    impatient.settings.limits.stall_timeout = Duration::from_millis(300);
    let error = pull(&impatient, &place).await.unwrap_err();
    assert_says(
        &error,
        &["after 2 tries", "no data for 0.3 s", "1000000 bytes are kept", "run the same command again"],
    );
    assert_eq!(place.part_bytes(), 1_000_000);
}

#[tokio::test]
async fn no_server_is_told_with_the_other_ways() {
    let place = Place::new(true);
    // Bound and closed again: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = pull(&downloader(&format!("http://{address}"), 2), &place).await.unwrap_err();
    assert!(matches!(error, PullError::NoNetwork { .. }), "{error}");
    assert_says(&error, &["Connection refused", "pull tiny --from", "archond model import"]);
}

async fn answering(status: u16) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(status)).mount(&server).await;
    server
}

#[tokio::test]
async fn each_status_has_its_own_words() {
    let cases: [(u16, &[&str], usize); 7] = [
        (404, &["does not exist (404)", "--from"], 1),
        (401, &["refuses (401)", "HF_TOKEN"], 1),
        (403, &["refuses (403)", "HF_TOKEN"], 1),
        (418, &["answers 418"], 1),
        (429, &["after 3 tries", "429"], 3),
        (500, &["after 3 tries", "500"], 3),
        (503, &["after 3 tries", "503"], 3),
    ];
    for (status, words, requests) in cases {
        let (place, server) = (Place::new(true), answering(status).await);
        let error = pull(&downloader(&server.uri(), 3), &place).await.unwrap_err();
        assert_says(&error, words);
        assert_eq!(server.received_requests().await.unwrap().len(), requests, "{status}");
        assert_eq!(place.library().path_of("tiny"), None);
    }
}

#[tokio::test]
async fn a_log_in_page_is_not_taken_for_a_model() {
    for known in [true, false] {
        let place = Place::new(known);
        let page = "<html>Welcome to the hotel".repeat(80_000);
        let server =
            Server::start(move |_, _| Reply::new(200, page.as_bytes()).header("content-type", "text/html"));
        let error = pull(&downloader(&server.address(), 3), &place).await.unwrap_err();
        assert_says(
            &error,
            if known { &["it is another file"] } else { &["begins with \"<htm\"", "log-in page"] },
        );
        assert!(place.files().is_empty());
    }
}

#[tokio::test]
async fn redirections_end() {
    let place = Place::new(true);
    let circle = Server::start(|_, _| Reply::new(302, b"").header("location", "/again"));
    let error = pull(&downloader(&circle.address(), 3), &place).await.unwrap_err();
    assert_says(&error, &["redirects too often"]);
    assert_eq!(circle.log().len(), 11);
    let away = Server::start(|_, _| Reply::new(302, b"").header("location", "ftp://127.0.0.1/x"));
    assert_says(
        &pull(&downloader(&away.address(), 3), &place).await.unwrap_err(),
        &["something else than HTTP"],
    );
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let storage = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_bytes(body())).mount(&storage).await;
    let hub = MockServer::start().await;
    let there = format!("{}/blob?signature=secret-query", storage.uri());
    Mock::given(path("/o/r/resolve/main/tiny.gguf"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", there.as_str()))
        .mount(&hub)
        .await;
    let place = Place::new(true);
    let mut with_token = downloader(&hub.uri(), 1);
    with_token.settings.hub_token = Token::new("hf_secret");
    let pulled = pull(&with_token, &place).await.unwrap();
    let asked = |requests: Vec<wiremock::Request>| requests[0].headers.get("authorization").cloned();
    assert_eq!(asked(hub.received_requests().await.unwrap()).unwrap(), "Bearer hf_secret");
    assert_eq!(asked(storage.received_requests().await.unwrap()), None);
    assert!(
        !format!("{with_token:?}").contains("hf_secret") && !pulled.stored.record.source.contains("secret")
    );

    // Another mirror is not the hub.
    let (other, mirror) = (Place::new(true), MockServer::start().await);
    Mock::given(any()).respond_with(ResponseTemplate::new(403)).mount(&mirror).await;
    let origin: Origin = mirror.uri().parse().unwrap();
    let error =
        with_token.pull(&other.library(), "tiny", Piece::Weights, Some(&origin), &|_| {}).await.unwrap_err();
    assert!(matches!(error, PullError::Refused { token_sent: false, .. }), "{error}");
    assert_eq!(asked(mirror.received_requests().await.unwrap()), None);
}

#[tokio::test]
async fn a_mirror_may_have_a_path_and_the_file_an_address_of_its_own() {
    let server = Server::of(body());
    let place = Place::new(true);
    pull_from(&place, &format!("{}/hub/", server.address())).await.unwrap();
    let place = Place::new(true);
    pull_from(&place, &format!("{}/files/Model.gguf?download=1", server.address())).await.unwrap();
    let paths: Vec<_> = server.log().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/hub/o/r/resolve/main/tiny.gguf", "/files/Model.gguf?download=1"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    let (place, server) = (Place::new(true), Server::of(body()));
    std::fs::write(place.dir.path().join("library"), "a file where the library should be").unwrap();
    let error = pull(&downloader(&server.address(), 1), &place).await.unwrap_err();
    assert_says(&error, &["cannot make", "library"]);
    // Even root cannot write there; where it does not exist, nobody can either.
    let library = place.library_in(Path::new("/sys/archond-models"));
    let error = downloader(&server.address(), 1)
        .pull(&library, "tiny", Piece::Weights, None, &|_| {})
        .await
        .unwrap_err();
    assert_says(&error, &["cannot make /sys/archond-models", "choose another directory"]);
    assert!(server.log().is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_not_asked_for() {
    let (place, server) = (Place::new(true), Server::of(body()));
    let library = place.library();
    let here = downloader(&server.address(), 1);
    let unknown = here.pull(&library, "none", Piece::Weights, None, &|_| {}).await.unwrap_err();
    assert!(matches!(unknown, PullError::Library(LibraryError::Unknown(_))), "{unknown}");
    let projector = here.pull(&library, "tiny", Piece::Mmproj, None, &|_| {}).await.unwrap_err();
    assert!(matches!(projector, PullError::NoProjector { .. }), "{projector}");
    place.describe(|model| model.source = Source::Import);
    let imported = pull(&here, &place).await.unwrap_err();
    assert_says(&imported, &["archond model import FILE --name tiny"]);
    assert!(server.log().is_empty());
}

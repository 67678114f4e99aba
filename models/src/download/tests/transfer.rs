//! A file comes whole, once, whatever the connection does.
use super::server::{End, Reply, Server};
use super::*;

#[tokio::test]
async fn a_file_comes_whole_and_is_not_fetched_twice() {
    let (place, server) = (Place::new(true), Server::of(body()));
    let first = pull(&downloader(&server.address(), 1), &place).await.unwrap();
    assert_complete(&place, &first);
    assert!(!first.already);
    assert!(pull(&downloader(&server.address(), 1), &place).await.unwrap().already);
    assert_eq!(server.log().len(), 1);
    assert_eq!(server.log()[0].path, "/o/r/resolve/main/tiny.gguf");
}

#[tokio::test]
async fn a_cut_connection_is_continued_and_no_byte_is_asked_for_twice() {
    let (place, whole) = (Place::new(true), body());
    let server = Server::start(move |number, request| {
        let end = [End::Cut(700_001), End::Cut(500_000), End::Whole];
        Reply::file(request, &whole, "\"one\"").end(end[number.min(2)])
    });
    let waits = Mutex::new(Vec::new());
    let show = |progress: Progress| {
        if let Stage::Waiting { reason, .. } = progress.stage {
            waits.lock().unwrap().push((progress.done, reason));
        }
    };
    let downloader = downloader(&server.address(), 5);
    let pulled = downloader.pull(&place.library(), "tiny", Piece::Weights, None, &show).await.unwrap();
    assert_complete(&place, &pulled);
    let starts: Vec<_> = server.log().iter().map(super::server::Request::start).collect();
    assert_eq!(starts, [None, Some(700_001), Some(1_200_001)]);
    assert!(server.log()[1..].iter().all(|request| request.headers["if-range"] == "\"one\""));
    assert_eq!(server.served(), body().len() as u64);
    let waited: Vec<_> = waits.lock().unwrap().iter().map(|(done, _)| *done).collect();
    assert_eq!(waited, [700_001, 1_200_001]);
}

#[tokio::test]
async fn another_run_goes_on_where_the_last_one_was_ended() {
    let (place, whole) = (Place::new(true), body());
    let server = Server::start(move |number, request| {
        Reply::file(request, &whole, "\"one\"").end(if number == 0 {
            End::Cut(1_000_000)
        } else {
            End::Whole
        })
    });
    let error = pull(&downloader(&server.address(), 1), &place).await.unwrap_err();
    assert!(matches!(error, PullError::GaveUp { kept: 1_000_000, .. }), "{error}");
    assert_eq!(place.part_bytes(), 1_000_000);
    let pulled = pull(&downloader(&server.address(), 1), &place).await.unwrap();
    assert_complete(&place, &pulled);
    assert_eq!(server.log()[1].start(), Some(1_000_000));
    assert_eq!(server.served(), body().len() as u64);
}

#[tokio::test]
async fn a_file_that_changed_on_the_server_is_begun_anew() {
    // One server says so by itself, the other continues the wrong file and is found out by its entity tag.
    for honest in [true, false] {
        let (place, whole) = (Place::new(false), body());
        let mut old = whole.clone();
        old[900_000] ^= 1;
        let server = Server::start(move |number, request| {
            if number == 0 {
                return Reply::file(request, &old, "\"old\"").end(End::Cut(1_000_000));
            }
            let mut request = request.clone();
            if !honest {
                request.headers.remove("if-range");
            }
            Reply::file(&request, &whole, "\"new\"")
        });
        let pulled = pull(&downloader(&server.address(), 5), &place).await.unwrap();
        assert_complete(&place, &pulled);
    }
}

#[tokio::test]
async fn a_server_without_ranges_sends_it_all_again() {
    let (place, whole) = (Place::new(true), body());
    let server = Server::start(move |number, _| {
        Reply::new(200, &whole).end(if number == 0 { End::Cut(1_000_000) } else { End::Whole })
    });
    let pulled = pull(&downloader(&server.address(), 2), &place).await.unwrap();
    assert_complete(&place, &pulled);
}

#[tokio::test]
async fn without_a_tag_and_a_known_sha256_nothing_is_pieced_together() {
    let (place, whole) = (Place::new(false), body());
    let server = Server::start(move |number, request| {
        let mut reply = Reply::file(request, &whole, "x");
        reply.headers.retain(|(name, _)| *name != "etag");
        reply.end(if number == 0 { End::Cut(1_000_000) } else { End::Whole })
    });
    let pulled = pull(&downloader(&server.address(), 2), &place).await.unwrap();
    assert_complete(&place, &pulled);
    assert_eq!(server.log()[1].start(), None);
}

#[tokio::test]
async fn the_hubs_own_record_is_the_sha256_where_the_catalogue_has_none() {
    let (place, whole) = (Place::new(false), body());
    let answer = move |truth: bool| {
        let whole = whole.clone();
        move |_, request: &super::server::Request| match request.path.as_str() {
            "/blob" => Reply::file(request, &whole, "\"cdn\""),
            _ => {
                let linked = if truth { sha256() } else { "0".repeat(64) };
                Reply::new(302, b"")
                    .header("location", "/blob")
                    .header("x-linked-etag", &format!("\"{linked}\""))
                    .header("x-linked-size", "1986048")
            }
        }
    };
    let liar = Server::start(answer(false));
    let error = pull(&downloader(&liar.address(), 1), &place).await.unwrap_err();
    assert!(
        matches!(&error, PullError::WrongHash { expected, .. } if *expected == "0".repeat(64)),
        "{error}"
    );
    assert!(place.files().is_empty());
    let server = Server::start(answer(true));
    assert_complete(&place, &pull(&downloader(&server.address(), 1), &place).await.unwrap());
}

#[tokio::test]
async fn a_whole_part_and_a_lost_record_cost_no_byte() {
    let (place, server) = (Place::new(true), Server::of(body()));
    pull(&downloader(&server.address(), 1), &place).await.unwrap();
    let dir = place.dir.path().join("library/tiny");
    // A crash between the last byte and the final name, then one that lost the record.
    std::fs::rename(dir.join("tiny.gguf"), dir.join("tiny.gguf.part")).unwrap();
    assert_complete(&place, &pull(&downloader(&server.address(), 1), &place).await.unwrap());
    std::fs::remove_file(dir.join("model.ron")).unwrap();
    assert_complete(&place, &pull(&downloader(&server.address(), 1), &place).await.unwrap());
    assert_eq!(server.log().len(), 1);
}

#[tokio::test]
async fn two_pulls_of_one_model_do_not_meet() {
    let (place, whole) = (Place::new(true), body());
    let server =
        Server::start(move |_, request| Reply::file(request, &whole, "\"one\"").end(End::Stall(4096)));
    let (here, mut second_try) = tokio::sync::watch::channel(false);
    let show = |progress: Progress| {
        here.send_replace(progress.stage == Stage::Fetching);
    };
    let first = downloader(&server.address(), 1);
    let library = place.library();
    let second = async {
        second_try.wait_for(|fetching| *fetching).await.unwrap();
        pull(&downloader(&server.address(), 1), &place).await.unwrap_err()
    };
    tokio::select! {
        _ = first.pull(&library, "tiny", Piece::Weights, None, &show) => panic!("the server stalls"),
        error = second => {
            assert!(matches!(&error, PullError::Library(LibraryError::Busy { pid: Some(_), .. })), "{error}");
        }
    }
    // The first was dropped, as by Ctrl-C: its lock is free, its part is kept.
    library.lock("tiny").unwrap();
    assert_eq!(server.log().len(), 1);
}

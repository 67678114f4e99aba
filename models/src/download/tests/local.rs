//! Models from folders and files of this machine.
use super::*;

#[tokio::test]
async fn a_folder_is_searched_as_people_and_tools_fill_it() {
    let layouts = ["tiny.gguf", "tiny/tiny.gguf", "o/r/tiny.gguf", "models--o--r/snapshots/abc/tiny.gguf"];
    for layout in layouts {
        let (place, folder) = (Place::new(true), tempfile::tempdir().unwrap());
        let file = folder.path().join(layout);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::copy(fixture(), &file).unwrap();
        let pulled = pull_from(&place, folder.path().to_str().unwrap()).await.unwrap();
        assert_complete(&place, &pulled);
        assert!(file.exists(), "the original stays");
    }
    let place = Place::new(true);
    let pulled =
        pull_from(&place, &format!("file://{}", fixture().canonicalize().unwrap().display())).await.unwrap();
    assert_complete(&place, &pulled);
}

#[tokio::test]
async fn what_is_not_the_file_is_refused() {
    let (place, folder) = (Place::new(true), tempfile::tempdir().unwrap());
    let from = folder.path().to_str().unwrap();
    let error = pull_from(&place, from).await.unwrap_err();
    assert!(matches!(&error, PullError::NotInFolder { file, .. } if file == "tiny.gguf"), "{error}");
    let mut other = body();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(folder.path().join("tiny.gguf"), &other).unwrap();
    let error = pull_from(&place, from).await.unwrap_err();
    assert!(matches!(&error, PullError::WrongHash { .. }), "{error}");
    std::fs::write(folder.path().join("tiny.gguf"), &other[1..]).unwrap();
    let error = pull_from(&place, from).await.unwrap_err();
    assert!(matches!(&error, PullError::WrongSize { .. }), "{error}");
    let error = pull_from(&place, "/nonexistent/archond").await.unwrap_err();
    assert!(error.to_string().contains("cannot open /nonexistent/archond"), "{error}");
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn a_cut_file_without_a_known_sha256_is_refused() {
    let (place, folder) = (Place::new(false), tempfile::tempdir().unwrap());
    let file = folder.path().join("tiny.gguf");
    std::fs::write(&file, &body()[..1_900_000]).unwrap();
    let error = pull_from(&place, file.to_str().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("is cut off"), "{error}");
    assert!(place.files().is_empty());
}

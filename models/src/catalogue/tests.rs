//! The shipped files are sound, a user's directory adds and replaces, names are found as people write them.
use super::*;

#[track_caller]
fn shipped() -> Catalogue {
    Catalogue::load(None).unwrap()
}

#[test]
fn every_file_of_the_folder_is_shipped_and_its_id_is_its_name() {
    let mut on_disk: Vec<String> = std::fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".ron"))
        .collect();
    on_disk.sort();
    let ids: Vec<_> = shipped().iter().map(|m| format!("{}.ron", m.id)).collect();
    assert_eq!(on_disk, ids);
    for (file, text) in SHIPPED {
        assert_eq!(format!("{}.ron", parse(text).unwrap().id), file);
    }
}

#[test]
fn every_field_of_a_shipped_file_has_a_comment_above_it() {
    for (file, text) in SHIPPED {
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        for pair in
            lines.windows(2).filter(|pair| pair[1].starts_with("    ") && !pair[1].starts_with("     "))
        {
            let field = pair[1].trim_start();
            let is_field = field.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(
                !is_field || pair[0].trim_start().starts_with("//"),
                "{file}: no comment above `{field}`"
            );
        }
    }
}

#[test]
fn there_are_four_gemmas_one_starter_and_one_that_finds() {
    let count = |role| shipped().iter().filter(|m| m.role == role).count();
    let counts = [Role::Gemma, Role::Starter, Role::Embedding, Role::Own].map(count);
    assert_eq!(counts, [4, 1, 1, 0]);
    let embedders = shipped();
    let embedder = embedders.get("embeddinggemma-300m").unwrap();
    assert_eq!((embedder.family, embedder.prefixes.is_some()), (Family::Mute, true));
}

#[test]
fn names_are_found_by_id_alias_and_unique_start() {
    let catalogue = shipped();
    let id = |name: &str| catalogue.find(name).map(|m| m.id.clone());
    assert_eq!(id("gemma-4-e4b").unwrap(), "gemma-4-e4b");
    assert_eq!(id("Gemma4:E4B").unwrap(), "gemma-4-e4b");
    assert_eq!(id("gemma4:26b-a4b-it-q4_K_M").unwrap(), "gemma-4-26b-a4b");
    assert_eq!(id("gemma-4-3").unwrap(), "gemma-4-31b");
    assert_eq!(id("smol").unwrap(), "smollm2-135m-instruct");
    assert!(matches!(id("gemma-4-e"), Err(UnknownModel::Ambiguous { meant, .. }) if meant.len() == 2));
    assert!(matches!(id("llama"), Err(UnknownModel::NoSuch { known, .. }) if known.len() == 6));
    assert!(matches!(id(""), Err(UnknownModel::NoSuch { .. })));
}

#[test]
fn memory_is_the_file_and_the_conversations() {
    let catalogue = shipped();
    let gb = |id: &str| catalogue.get(id).unwrap().memory_bytes(8192, 1) as f64 / 1e9;
    // 26B: 16.8 GB and 0.48 GB for 8192 tokens.
    assert!((gb("gemma-4-26b-a4b") - 17.28).abs() < 0.02, "{}", gb("gemma-4-26b-a4b"));
    let starter = catalogue.get("smollm2-135m-instruct").unwrap();
    assert_eq!(starter.memory_bytes(8192, 2), 98_362_432 + 2 * 8192 * 23_040);
}

#[test]
fn a_sequence_has_cells_for_its_tokens_or_for_the_window() {
    #[track_caller]
    fn check(id: &str, context_tokens: u64, wanted: u64) {
        assert_eq!(shipped().get(id).unwrap().kv.sequence_bytes(context_tokens), wanted);
    }
    // As llama.cpp says for the starter: "KV buffer size = 180.00 MiB".
    check("smollm2-135m-instruct", 8192, 180 << 20);
    check("gemma-4-e2b", 8192, (48 + 12) << 20);
    check("gemma-4-e4b", 8192, (128 + 40) << 20);
    check("gemma-4-26b-a4b", 8192, (160 + 300) << 20);
    check("gemma-4-31b", 8192, (640 + 1200) << 20);
    check("gemma-4-e4b", 1, 256 * (16_384 + 40_960));
    check("gemma-4-e4b", 257, 512 * (16_384 + 40_960));
    check("gemma-4-e4b", u64::MAX, u64::MAX);
}

#[test]
fn a_users_file_adds_a_model_or_replaces_a_shipped_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = Model::clone(shipped().get("gemma-4-e2b").unwrap());
    own.quantisation = "Q8_0".to_owned();
    std::fs::write(dir.path().join("gemma-4-e2b.ron"), write(&own).unwrap()).unwrap();
    own.id = "mine".to_owned();
    own.aliases = vec!["m".to_owned()];
    std::fs::write(dir.path().join("mine.ron"), write(&own).unwrap()).unwrap();
    let catalogue = Catalogue::load(Some(dir.path())).unwrap();
    assert_eq!(catalogue.iter().count(), 7);
    assert_eq!(catalogue.get("gemma-4-e2b").unwrap().quantisation, "Q8_0");
    assert_eq!(**catalogue.find("m").unwrap(), own);
}

#[test]
fn a_directory_that_does_not_exist_is_an_empty_one() {
    assert_eq!(Catalogue::load(Some(Path::new("/nonexistent/archond"))).unwrap().iter().count(), 6);
}

#[test]
fn all_faults_of_all_files_are_told_at_once_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let good = SHIPPED[0].1;
    let cases = [
        ("a.ron", "(\n    id: \"a\",\n    colour: 3,\n)".to_owned()),
        ("b.ron", good.replace("id: \"gemma-4-e2b\"", "id: \"../b\"")),
        ("c.ron", good.replace("id: \"gemma-4-e2b\"", "id: \"c\"").replace("9378bc", "XYZ")),
        ("d.ron", "x".repeat(70_000)),
    ];
    for (file, text) in &cases {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let message = Catalogue::load(Some(dir.path())).unwrap_err().to_string();
    assert!(message.contains("a.ron:3:5: Unexpected field named `colour`"), "{message}");
    assert!(message.contains("id `../b`: use 1 to 64 characters"), "{message}");
    assert!(message.contains("must be 64 hexadecimal digits"), "{message}");
    assert!(message.contains("d.ron: has 70000 bytes"), "{message}");
    assert!(message.contains("the alias `gemma4:e2b` also names"), "{message}");
}

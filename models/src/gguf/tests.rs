//! Real heads are read, cut files are seen, damaged ones are errors and never a panic.
use proptest::prelude::*;

use super::*;

/// The fixture that the whole project tests with: a real, tiny Gemma 4.
fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf")
}

/// A small file: one text, one list, one tensor of 64 F16 values.
pub(crate) fn small() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(3u64.to_le_bytes());
    text(&mut bytes, "general.architecture");
    bytes.extend(8u32.to_le_bytes());
    text(&mut bytes, "llama");
    text(&mut bytes, "layers");
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(5u32.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    bytes.extend(7i32.to_le_bytes());
    bytes.extend((-7i32).to_le_bytes());
    text(&mut bytes, "tokens");
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    text(&mut bytes, "a");
    text(&mut bytes, "bc");
    text(&mut bytes, "w");
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(16u64.to_le_bytes());
    bytes.extend(4u64.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 128, 0);
    bytes
}

#[test]
fn a_small_file_is_read_whole() {
    let bytes = small();
    let head = read(bytes.as_slice()).unwrap();
    assert_eq!(head.text("general.architecture"), Some("llama"));
    assert_eq!(head.metadata["layers"], Value::List(vec![Value::Unsigned(7), Value::Negative(-7)]));
    assert_eq!(head.metadata["tokens"], Value::Skipped(2));
    assert_eq!(head.tensors, [Tensor { name: "w".to_owned(), kind: 1, elements: 64, offset: 0 }]);
    assert_eq!((head.file_bytes, head.parameters()), (bytes.len() as u64, 64));
}

#[test]
fn the_fixture_is_as_long_as_its_tensors_say() {
    let head = check(&fixture()).unwrap();
    assert_eq!(head.text("general.architecture"), Some("gemma4"));
    assert_eq!(head.number("gemma4.context_length"), Some(4096));
    assert_eq!(head.number_of_layer("gemma4.attention.sliding_window_pattern", 2), Some(0));
    assert_eq!(head.file_bytes, std::fs::metadata(fixture()).unwrap().len());
}

#[test]
fn a_cut_file_is_seen_wherever_it_is_cut() {
    let whole = small();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = check(&path).unwrap_err();
        let seen = matches!(
            (length, &error),
            (0..4, GgufError::Magic { .. }) | (_, GgufError::HeadCut { .. } | GgufError::TensorsCut { .. })
        );
        assert!(seen, "{length}: {error}");
    }
    std::fs::write(&path, &whole).unwrap();
    check(&path).unwrap();
}

#[test]
fn other_files_and_hostile_numbers_are_refused_with_their_reason() {
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = small();
        change(&mut bytes);
        let message = read(bytes.as_slice()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    refused(|b| b[..4].copy_from_slice(b"<htm"), "is not a GGUF file: it begins with \"<htm\"");
    refused(|b| b[4] = 1, "is GGUF version 1");
    refused(|b| b[4..8].reverse(), "is GGUF version 50331648");
    refused(|b| b[8..16].fill(0xff), "the number of tensors is 18446744073709551615, more than 65536");
    refused(|b| b[16..24].fill(0xff), "the number of metadata entries");
    refused(|b| b[24..32].fill(0xff), "a key's length");
    refused(|b| b[52] = 77, "unknown type 77");
}

#[test]
fn many_short_lists_do_not_fill_the_memory() {
    let mut bytes =
        [b"GGUF".as_slice(), &3u32.to_le_bytes(), &0u64.to_le_bytes(), &60_000u64.to_le_bytes()].concat();
    for entry in 0..60_000_u32 {
        bytes.extend(5u64.to_le_bytes());
        bytes.extend(format!("{entry:05}").bytes());
        bytes.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(1024u64.to_le_bytes());
        bytes.extend([1; 1024]);
    }
    let message = read(bytes.as_slice()).unwrap_err().to_string();
    assert!(message.contains("the memory for its head, in bytes, is 167"), "{message}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(bytes.as_slice());
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_reader_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = small();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(bytes.as_slice());
    }

    #[test]
    fn no_extreme_number_makes_the_reader_panic(at in 4usize..200, number in prop::sample::select(vec![u64::MAX, u64::MAX / 2, 1 << 63, 1 << 32, 65_536])) {
        let mut bytes = small();
        let at = at.min(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = read(bytes.as_slice());
    }
}

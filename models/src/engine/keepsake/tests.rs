//! Records in real anonymous memory, damaged from outside as a dying process would leave them.
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::*;

const IDENTITY: u64 = 7;

fn memory(room: usize) -> File {
    let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.set_len((DIRECTORY_BYTES + room) as u64).unwrap();
    file
}

fn open(file: &File) -> Keepsake {
    Keepsake::open(file, IDENTITY).unwrap()
}

fn tokens(first: i32, count: usize) -> Vec<LlamaToken> {
    (first..).take(count).map(LlamaToken).collect()
}

/// Saves tokens with a state that can be told from theirs.
fn save(keepsake: &mut Keepsake, slot: u64, first: i32, bytes: usize) -> bool {
    keepsake.save(slot, &tokens(first, 3), bytes, &[], |state| {
        state.fill(first as u8);
        true
    })
}

/// The first token and the state that are found, from a worker that starts.
fn find(file: &File, slot: u64) -> Option<(i32, Vec<u8>)> {
    let mut found = Vec::new();
    let restored = open(file).restore(slot, |_, state| {
        found = state.to_vec();
        true
    });
    restored.map(|restored| {
        assert_eq!(restored.tokens, tokens(restored.tokens[0].0, 3));
        (restored.tokens[0].0, found)
    })
}

fn word_at(place: usize, word: usize) -> u64 {
    (place * ENTRY_BYTES + word * 8) as u64
}

#[test]
fn what_was_saved_is_found_by_the_next() {
    let file = memory(10_000);
    assert_eq!(find(&file, 0), None, "fresh memory holds nothing");
    let mut keepsake = open(&file);
    assert!(save(&mut keepsake, 0, 10, 500) && save(&mut keepsake, 255, 20, 0));
    drop(keepsake);
    for _ in 0..2 {
        assert_eq!(find(&file, 0), Some((10, vec![10; 500])), "and can be found again");
        assert_eq!(find(&file, 255), Some((20, vec![])));
        assert_eq!(find(&file, 1), None);
    }
}

#[test]
fn only_the_newest_counts_and_the_memory_is_used_again() {
    let file = memory(2_000);
    let mut keepsake = open(&file);
    for round in 0..100 {
        assert!(save(&mut keepsake, 3, round, 500) && save(&mut keepsake, 4, 100 + round, 200));
    }
    drop(keepsake);
    assert!(save(&mut open(&file), 3, 100, 500), "the count goes on in the next process");
    assert_eq!(find(&file, 3), Some((100, vec![100; 500])));
    assert_eq!(find(&file, 4).unwrap().0, 199);
}

#[test]
fn a_save_that_is_cut_short_leaves_the_older_record() {
    let file = memory(2_000);
    let mut keepsake = open(&file);
    save(&mut keepsake, 0, 1, 500);
    assert!(!keepsake.save(0, &tokens(2, 3), 500, &[], |state| {
        state.fill(9);
        assert_eq!(find(&file, 0), Some((1, vec![1; 500])), "what a killed worker would leave");
        false
    }));
    assert_eq!(find(&file, 0), Some((1, vec![1; 500])));
}

#[test]
fn where_there_is_room_for_one_a_save_that_is_cut_short_leaves_none() {
    let file = memory(700);
    let mut keepsake = open(&file);
    save(&mut keepsake, 0, 1, 500);
    keepsake.save(0, &tokens(2, 3), 500, &[], |state| {
        state[..250].fill(2);
        assert_eq!(find(&file, 0), None);
        false
    });
    assert!(save(&mut keepsake, 0, 3, 500));
    assert_eq!(find(&file, 0), Some((3, vec![3; 500])));
}

#[test]
fn damage_anywhere_is_found() {
    let file = memory(2_000);
    save(&mut open(&file), 0, 1, 500);
    let words = (1..8).map(|word| word_at(0, word));
    let record = [0, 5, 11, 64, 64 + 499].map(|at| (DIRECTORY_BYTES + at) as u64);
    for at in words.chain(record) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        assert_eq!(find(&file, 0), None, "byte {at}");
        // Whole again: only the mark was taken off.
        file.write_all_at(&byte, at).unwrap();
        file.write_all_at(&COMPLETE.to_le_bytes(), word_at(0, 0)).unwrap();
        assert_eq!(find(&file, 0), Some((1, vec![1; 500])), "byte {at}");
    }
}

#[test]
fn directories_of_nonsense_hold_nothing() {
    for word in 1..7 {
        for value in [u64::MAX, u64::MAX - 100, u64::MAX / 2, 1 << 32] {
            let file = memory(2_000);
            save(&mut open(&file), 0, 1, 500);
            file.write_all_at(&value.to_le_bytes(), word_at(0, word)).unwrap();
            assert_eq!(find(&file, 0), None, "word {word} is {value}");
            assert!(save(&mut open(&file), 0, 1, 500));
        }
    }
    let file = memory(2_000);
    file.write_all_at(&[1; DIRECTORY_BYTES], 0).unwrap();
    assert_eq!(find(&file, 0), None);
}

#[test]
fn another_model_or_shape_finds_nothing() {
    let file = memory(2_000);
    save(&mut open(&file), 0, 1, 500);
    assert!(Keepsake::open(&file, IDENTITY + 1).unwrap().restore(0, |_, _| true).is_none());
    assert_eq!(find(&file, 0), None, "and it is gone for good");
}

#[test]
fn what_ended_a_worker_is_not_tried_again() {
    let file = memory(3_000);
    save(&mut open(&file), 0, 1, 500);
    save(&mut open(&file), 1, 2, 500);
    let mut tried = 0;
    open(&file).restore(0, |_, _| {
        tried += 1;
        assert_eq!(find(&file, 0), None, "what a worker finds that starts after this one died here");
        true
    });
    assert_eq!(tried, 1);
    assert_eq!(find(&file, 1).unwrap().0, 2, "the others are not touched");
}

#[test]
fn what_cannot_be_read_is_dropped() {
    let file = memory(2_000);
    save(&mut open(&file), 0, 1, 500);
    assert!(open(&file).restore(0, |_, _| false).is_none());
    assert_eq!(find(&file, 0), None);
}

#[test]
fn idle_slots_make_room_in_their_order_and_busy_ones_do_not() {
    let file = memory(2_400);
    let mut keepsake = open(&file);
    (0..3).for_each(|slot| assert!(save(&mut keepsake, slot, 10, 600)));
    assert!(!save(&mut keepsake, 3, 1, 1_000), "nobody can be done without");
    assert!(keepsake.save(3, &tokens(1, 3), 1_000, &[1, 0], |_| true));
    assert_eq!([0, 1, 2, 3].map(|slot| find(&file, slot).is_some()), [false, false, true, true]);
    assert!(!save(&mut open(&file), 2, 1, 9_000));
    assert!(find(&file, 2).is_some(), "what can never fit costs nothing");
}

#[test]
fn forgotten_is_gone() {
    let file = memory(2_000);
    let mut keepsake = open(&file);
    save(&mut keepsake, 0, 1, 500);
    keepsake.forget(0);
    assert_eq!(find(&file, 0), None);
    assert!(Keepsake::open(&memory(0), 0).is_ok());
    let small = memory(0);
    small.set_len(100).unwrap();
    assert!(Keepsake::open(&small, 0).is_err());
}

//! Contexts that rest on a real disk, between engines and between conversations.
use std::fs::File;

use super::tests::{SYSTEM, engine, instruct, request, run, start};
use super::*;

const DISK_BYTES: u64 = 64 << 20;

/// More than the sliding window of 128 tokens, and than what is kept behind it.
fn long_instructions() -> String {
    let wisdom =
        "you are patient and kind and you know many things about rivers and stones and birds and rain. ";
    format!("{SYSTEM} {}", wisdom.repeat(8))
}

fn file() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(DISK_BYTES).unwrap();
    file
}

fn with_shelf(file: &File, slots: u32) -> Engine<'static> {
    let mut engine = engine(slots);
    engine.shelve_in(Keepsake::open_on_disk(file, 1).unwrap());
    engine
}

fn asked(id: u64, said: &[&str]) -> Request {
    let mut asked = request(id, said);
    instruct(&mut asked, long_instructions());
    asked
}

/// The answer, and what it cost.
fn answer(engine: &mut Engine<'_>, request: &Request) -> (String, Usage) {
    start(engine, request);
    let (_, text, usage) = run(engine).remove(0);
    (text, usage)
}

fn all_shelved(engine: &mut Engine<'_>) {
    while engine.shelve_resting() {}
}

const COLOUR: [&str; 3] = ["my colour is teal", "Noted, your colour is teal.", "what is my colour?"];

#[test]
fn a_second_start_reads_no_instructions() {
    let file = file();
    let fresh = answer(&mut engine(1), &asked(1, &COLOUR));
    let (_, first) = answer(&mut with_shelf(&file, 1), &asked(1, &["hello"]));
    assert_eq!((first.cached_tokens, first.restored_tokens), (0, 0));
    // Nothing rested: only the instructions, which go there as soon as they are read.
    let (text, second) = answer(&mut with_shelf(&file, 1), &asked(1, &COLOUR));
    assert_eq!(text, fresh.0);
    let instructions =
        super::tests::model().prompt(&asked(1, &COLOUR).prompt, &[], 1).unwrap().0.instructions;
    assert!(instructions > 400 && second.restored_tokens as usize == instructions, "{second:?}");
}

/// How many tokens of a prompt the next one begins with.
fn lasting_tokens(request: &Request) -> u32 {
    u32::try_from(super::tests::model().prompt(&request.prompt, &[], 1).unwrap().0.lasting).unwrap()
}

#[test]
fn a_conversation_that_rested_goes_on_after_a_restart() {
    let file = file();
    let mut first = with_shelf(&file, 2);
    let (said, _) = answer(&mut first, &asked(1, &COLOUR[..1]));
    all_shelved(&mut first);
    drop(first);
    let next = asked(2, &[COLOUR[0], &said, COLOUR[2]]);
    let (text, usage) = answer(&mut with_shelf(&file, 2), &next);
    assert_eq!(text, answer(&mut engine(1), &next).0);
    assert_eq!(usage.restored_tokens, lasting_tokens(&asked(1, &COLOUR[..1])), "only what is new is read");
}

#[test]
fn a_conversation_that_gave_way_comes_back() {
    let file = file();
    let mut engine = with_shelf(&file, 1);
    let told = format!("my colour is teal. {}", "my dog is Rex and my cat is Tom. ".repeat(4));
    let one = asked(1, &[&told]);
    let (said, _) = answer(&mut engine, &one);
    let other = asked(2, &["remember the number 42", "Noted.", "hello"]);
    let (_, usage) = answer(&mut engine, &other);
    assert!(usage.cached_tokens > 150, "the instructions are shared: {usage:?}");
    let next = asked(3, &[&told, &said, COLOUR[2]]);
    let (text, usage) = answer(&mut engine, &next);
    assert_eq!(text, answer(&mut self::engine(1), &next).0);
    assert_eq!(usage.restored_tokens, lasting_tokens(&one));
}

#[test]
fn the_shelf_is_never_fuller_than_it_may_be_and_gives_back_its_place() {
    use std::os::unix::fs::MetadataExt;
    let file = file();
    let mut engine = with_shelf(&file, 1);
    let mut most = 0;
    for id in 0..40 {
        let said = format!("my number is {id} and my name is {id}{id}");
        let (_, usage) = answer(&mut engine, &asked(id, &[&said]));
        assert!(id == 0 || usage.cached_tokens > 150, "{usage:?}");
        all_shelved(&mut engine);
        most = most.max(file.metadata().unwrap().blocks() * 512);
    }
    assert!(most <= DISK_BYTES && most > 1 << 20, "{most}");
    drop(engine);
    let empty = Keepsake::open_on_disk(&file, 2).unwrap();
    drop(empty);
    let left = file.metadata().unwrap().blocks() * 512;
    assert!(left <= 1 << 20, "another model finds nothing and keeps nothing: {left}");
}

#[test]
fn a_shelf_without_room_is_no_hindrance() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(100_000).unwrap();
    let mut engine = with_shelf(&file, 1);
    for id in 0..3 {
        let (text, usage) = answer(&mut engine, &asked(id, &["hello"]));
        assert_eq!((text.as_str(), usage.restored_tokens), ("Hello, I am Ezra.", 0));
        all_shelved(&mut engine);
    }
}

#[test]
fn what_was_damaged_on_the_disk_is_read_again() {
    use std::os::unix::fs::FileExt;
    let file = file();
    let mut first = with_shelf(&file, 1);
    answer(&mut first, &asked(1, &COLOUR[..1]));
    all_shelved(&mut first);
    drop(first);
    // In the middle of the first record's state.
    let at = 128 * 512 + 40_000;
    let mut bytes = [0; 64];
    file.read_exact_at(&mut bytes, at).unwrap();
    file.write_all_at(&bytes.map(|byte| !byte), at).unwrap();
    let (text, usage) = answer(&mut with_shelf(&file, 1), &asked(1, &["hello"]));
    assert_eq!((text, usage.restored_tokens), (answer(&mut engine(1), &asked(1, &["hello"])).0, 0));
}

#[test]
fn a_long_answer_does_not_lose_the_conversation() {
    // So long that the window slides on behind the prompt's end and cannot be rolled back.
    let mut long = asked(1, &COLOUR[..1]);
    (long.answer_tokens_max, long.context_tokens_max) = (2048, 2048);
    long.form.ignores_end = true;
    let file = file();
    let mut engine = Engine::new(super::tests::model(), 1, 2048, 1).unwrap();
    engine.shelve_in(Keepsake::open_on_disk(&file, 1).unwrap());
    let (_, usage) = answer(&mut engine, &long);
    assert!(usage.answer_tokens >= 1000, "{usage:?}");
    let next = asked(2, &[COLOUR[0], "Noted, your colour is teal.", COLOUR[2]]);
    let (text, usage) = answer(&mut engine, &next);
    assert_eq!(text, answer(&mut self::engine(1), &next).0);
    assert_eq!(usage.restored_tokens, lasting_tokens(&asked(1, &COLOUR[..1])));
}

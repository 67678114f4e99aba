//! An engine ends in the middle of its answers, and the next goes on with what it left.
use std::collections::BTreeMap;
use std::fs::File;

use rustix::fs::{MemfdFlags, memfd_create};

use super::tests::{SYSTEM, engine, instruct, model, request, run, start};
use super::*;

const MEMORY_BYTES: u64 = 64 << 20;

fn memory() -> File {
    let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(MEMORY_BYTES).unwrap();
    file
}

/// An engine that keeps its contexts there, and how many tokens it found.
fn heir(memory: &File, slots: u32) -> (Engine<'static>, usize) {
    let mut engine = engine(slots);
    let found = engine.keep_in(Keepsake::open(memory, 1).unwrap());
    (engine, found)
}

/// Answers are longest when there is much to sum up.
fn summary(id: u64) -> Request {
    let facts =
        [["colour is teal", "dog is Rex"], ["city is Paris", "cat is Tom"], ["dog is Max", "city is Rome"]];
    let told = facts[usize::try_from(id % 3).unwrap()];
    let lines = told.map(|fact| format!("user: my {fact}\nassistant: Noted, your {fact}."));
    request(id, &[&format!("Summarise this conversation:\n\n{}", lines.join("\n"))])
}

/// More than the sliding window of 128 tokens.
fn long(mut asked: Request) -> Request {
    let wisdom =
        "you are patient and kind and you know many things about rivers and stones and birds and rain. ";
    instruct(&mut asked, format!("{SYSTEM} {}", wisdom.repeat(8)));
    asked
}

type Tokens = BTreeMap<u64, Vec<i32>>;

/// Steps until each answer has so many tokens.
fn speak(engine: &mut Engine<'_>, tokens: &mut Tokens, ids: &[u64], least: usize) {
    while ids.iter().any(|id| tokens.get(id).map_or(0, Vec::len) < least) {
        engine
            .step(&mut |event| match event {
                EngineEvent::Token { id, token, .. } => tokens.entry(id).or_default().push(token),
                EngineEvent::Finished { .. } => panic!("answers are too short for this test"),
                _ => {}
            })
            .unwrap();
    }
}

/// All tokens of answers that nobody disturbs.
fn undisturbed(requests: &[Request]) -> Tokens {
    let (mut engine, mut tokens) = (engine(4), Tokens::new());
    requests.iter().for_each(|request| start(&mut engine, request));
    while !engine.is_idle() {
        let mut hear = |event| {
            if let EngineEvent::Token { id, token, .. } = event {
                tokens.entry(id).or_default().push(token);
            }
        };
        engine.step(&mut hear).unwrap();
    }
    tokens
}

/// Goes on with what was said; the places that were told while reading, and the whole answers.
fn go_on(
    engine: &mut Engine<'_>,
    requests: &[Request],
    said: &Tokens,
) -> (Vec<(u64, u32)>, Tokens, Vec<Usage>) {
    let (mut places, mut tokens, mut usages) = (Vec::new(), said.clone(), Vec::new());
    let mut hear = |event| match event {
        EngineEvent::Prefill { id, done, .. } => places.push((id, done)),
        EngineEvent::Token { id, token, .. } => tokens.entry(id).or_default().push(token),
        EngineEvent::Finished { usage, .. } => usages.push(usage),
        EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
    };
    for request in requests {
        let resume = said.get(&request.id).cloned().unwrap_or_default();
        hear(engine.start(&Request { resume, ..request.clone() }).unwrap());
    }
    while !engine.is_idle() {
        engine.step(&mut hear).unwrap();
    }
    (places, tokens, usages)
}

#[test]
fn answers_go_on_where_they_were_saved() {
    for asked in [vec![summary(0)], (0..3).map(summary).collect(), (0..3).map(summary).map(long).collect()] {
        let ids: Vec<u64> = asked.iter().map(|request| request.id).collect();
        let (memory, mut said) = (memory(), Tokens::new());
        let (mut first, found) = heir(&memory, 4);
        assert_eq!(found, 0);
        asked.iter().for_each(|request| start(&mut first, request));
        speak(&mut first, &mut said, &ids, 2);
        first.keep_now();
        let saved: BTreeMap<u64, usize> = said.iter().map(|(id, tokens)| (*id, tokens.len())).collect();
        speak(&mut first, &mut said, &ids, 6);
        drop(first);

        let (mut second, found) = heir(&memory, 4);
        assert!(found > 0);
        let (places, tokens, usages) = go_on(&mut second, &asked, &said);
        assert_eq!(tokens, undisturbed(&asked));
        assert!(usages.iter().all(|usage| usage.cached_tokens == usage.prompt_tokens), "{usages:?}");
        for request in &asked {
            let prompt = model().prompt(&request.prompt, &[], 1).unwrap().0.tokens.len();
            // What was spoken last was not in memory yet.
            let held = prompt + saved[&request.id] - 1;
            let own = places.iter().filter(|(id, _)| *id == request.id);
            let own: Vec<usize> = own.map(|(_, done)| *done as usize).collect();
            let whole = prompt + said[&request.id].len();
            assert_eq!(own, (held..=whole).collect::<Vec<_>>(), "token by token from where it was saved");
        }
    }
}

#[test]
fn what_was_never_saved_is_read() {
    let (memory, mut said, asked) = (memory(), Tokens::new(), [summary(0)]);
    let (mut first, _) = heir(&memory, 4);
    start(&mut first, &asked[0]);
    speak(&mut first, &mut said, &[0], 6);
    drop(first);
    let (mut second, found) = heir(&memory, 4);
    assert_eq!(found, 0);
    let (_, tokens, usages) = go_on(&mut second, &asked, &said);
    assert_eq!((tokens, usages[0].cached_tokens), (undisturbed(&asked), 0));
}

#[test]
fn much_that_is_missing_is_read_at_once() {
    let (memory, asked) = (memory(), [Request { answer_tokens_max: 100, ..summary(0) }]);
    let (mut first, _) = heir(&memory, 1);
    let mut said = Tokens::new();
    start(&mut first, &asked[0]);
    speak(&mut first, &mut said, &[0], 1);
    first.keep_now();
    drop(first);
    let (mut second, _) = heir(&memory, 1);
    let more: Vec<i32> = undisturbed(&asked)[&0].iter().copied().cycle().take(50).collect();
    let (places, ..) = go_on(&mut second, &asked, &Tokens::from([(0, more)]));
    assert!(places.len() < 50, "in steps of several tokens: {places:?}");
}

#[test]
fn a_restored_window_is_not_taken_for_the_whole() {
    let (memory, mut said, asked) = (memory(), Tokens::new(), [long(summary(0))]);
    let (mut first, _) = heir(&memory, 1);
    start(&mut first, &asked[0]);
    speak(&mut first, &mut said, &[0], 6);
    first.keep_now();
    drop(first);
    // Another question behind the same instructions: the memory must go back behind the window, which slid over them.
    let other = long(request(7, &["my colour is teal", "Noted, your colour is teal.", "what is my colour?"]));
    let (mut second, found) = heir(&memory, 1);
    assert!(found > 128);
    start(&mut second, &other);
    let (_, text, usage) = run(&mut second).remove(0);
    let mut fresh = engine(1);
    start(&mut fresh, &other);
    assert_eq!((text, usage.cached_tokens), (run(&mut fresh).remove(0).1, 0));
}

#[test]
fn idle_conversations_are_kept_too() {
    let (memory, asked) =
        (memory(), request(1, &["my colour is teal", "Noted, your colour is teal.", "hello"]));
    let (mut first, _) = heir(&memory, 2);
    start(&mut first, &asked);
    let (_, answer, usage) = run(&mut first).remove(0);
    assert_eq!(usage.cached_tokens, 0);
    first.keep_now();
    drop(first);
    let (mut second, _) = heir(&memory, 2);
    start(&mut second, &asked);
    let (_, again, usage) = run(&mut second).remove(0);
    assert_eq!((again, usage.cached_tokens + 1), (answer, usage.prompt_tokens), "all but the last is there");
}

#[test]
fn what_does_not_fit_the_engine_is_left_out() {
    let mut damaged = vec![("no tokens", Vec::new())];
    damaged.push(("a token that the model lacks", vec![llama_cpp_2::token::LlamaToken(i32::MAX)]));
    damaged.push(("no state", vec![llama_cpp_2::token::LlamaToken(5); 9]));
    damaged.push(("too long", vec![llama_cpp_2::token::LlamaToken(5); 2000]));
    for (what, tokens) in damaged {
        let memory = memory();
        let mut keepsake = Keepsake::open(&memory, 1).unwrap();
        assert!(keepsake.save(0, &tokens, 1000, &[], |state| {
            state.fill(3);
            true
        }));
        drop(keepsake);
        let (mut second, found) = heir(&memory, 1);
        assert_eq!(found, 0, "{what}");
        start(&mut second, &request(1, &["hello"]));
        assert_eq!(run(&mut second).remove(0).1, "Hello, I am Ezra.", "{what}");
    }
}

#[test]
fn a_fault_of_the_engine_is_not_handed_on() {
    let (memory, mut said, asked) = (memory(), Tokens::new(), summary(0));
    let (mut first, _) = heir(&memory, 1);
    start(&mut first, &asked);
    speak(&mut first, &mut said, &[0], 2);
    first.keep_now();
    first.forget_kept();
    assert_eq!(heir(&memory, 1).1, 0);
}

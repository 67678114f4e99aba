//! What is found out without words, with the real tiny model.
use super::tests::{SYSTEM, engine, model, prompt, request, run, start};
use super::*;
use crate::chat::Conversation;

fn ask(engine: &mut Engine<'_>, id: u64, inquiry: Inquiry) -> EngineEvent {
    engine
        .start(&Request { prompt: Prompt::Inquiry(inquiry), ..request(id, &[]) })
        .expect("nothing is measured for it")
}

fn text(text: &str) -> Vec<Stretch> {
    vec![Stretch::Text(text.to_owned())]
}

#[track_caller]
fn refusal(engine: &mut Engine<'_>, inquiry: Inquiry) -> Refusal {
    match ask(engine, 1, inquiry) {
        EngineEvent::Refused { refusal, .. } => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn tokens_of(engine: &mut Engine<'_>, passage: Vec<Stretch>, adds_special: bool) -> Vec<(i32, Vec<u8>)> {
    let found = ask(engine, 1, Inquiry::Tokens { passage, adds_special, reads_marks: true });
    let EngineEvent::Found { id: 1, finding: Finding::Tokens(tokens) } = found else { panic!("{found:?}") };
    let mut ends = Vec::new();
    assert!(!engine.is_idle(), "its end is to be told yet");
    engine.step(&mut |event| ends.push(event)).unwrap();
    let usage = Usage { prompt_tokens: tokens.len() as u32, ..Usage::default() };
    assert_eq!(ends, [EngineEvent::Finished { id: 1, reason: Finish::EndOfTurn, usage }]);
    assert!(engine.is_idle());
    tokens
}

/// The vectors of passages, and how many steps they took.
fn vectors(engine: &mut Engine<'_>, passages: Vec<Vec<Stretch>>) -> (Vec<Vec<f32>>, usize) {
    let wanted = passages.len();
    let begun = ask(engine, 1, Inquiry::Vectors { passages });
    assert!(matches!(begun, EngineEvent::Prefill { id: 1, done: 0, .. }), "{begun:?}");
    let (mut found, mut steps, mut ended) = (Vec::new(), 0, false);
    while !engine.is_idle() {
        steps += 1;
        let mut hear = |event| match event {
            EngineEvent::Found { id: 1, finding: Finding::Vector(vector) } => found.push(vector),
            EngineEvent::Prefill { id: 1, done, total } => assert!(done <= total),
            EngineEvent::Finished { id: 1, reason: Finish::EndOfTurn, usage } => {
                ended = usage.prompt_tokens > 0 && usage.answer_tokens == 0;
            }
            other => panic!("{other:?}"),
        };
        engine.step(&mut hear).unwrap();
    }
    assert!(ended && found.len() == wanted);
    (found, steps)
}

fn product(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn texts_become_tokens_and_tokens_texts() {
    let mut engine = engine(1);
    let said = "it's  été 東京 😀\n\nand\tmore";
    let plain = tokens_of(&mut engine, text(said), false);
    let bytes: Vec<u8> = plain.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), said);
    let special = tokens_of(&mut engine, text(said), true);
    assert_eq!((special[0].1.as_slice(), &special[1..]), (&b"<bos>"[..], &plain[..]));
    let ids: Vec<i32> = plain.iter().map(|(id, _)| *id).collect();
    let mixed = [vec![Stretch::Token(ids[0]), Stretch::Token(ids[1])], text("x")].concat();
    assert_eq!(tokens_of(&mut engine, mixed, true)[..2], plain[..2], "tokens are taken as they are");
    let found = ask(&mut engine, 2, Inquiry::Text { tokens: ids });
    assert_eq!(found, EngineEvent::Found { id: 2, finding: Finding::Text(said.to_owned()) });
    for token in [-1, i32::MAX] {
        let Refusal::Engine { detail } = refusal(&mut engine, Inquiry::Text { tokens: vec![token] }) else {
            panic!()
        };
        assert!(detail.contains(&token.to_string()), "{detail}");
    }
}

#[test]
fn a_conversation_is_shown_as_the_model_reads_it() {
    let mut engine = engine(1);
    let conversation = Conversation::of_texts(SYSTEM, ["hello"]);
    let found = ask(&mut engine, 1, Inquiry::Format { conversation });
    let EngineEvent::Found { finding: Finding::Text(shown), .. } = found else { panic!("{found:?}") };
    let read = model().prompt(&prompt(SYSTEM, &["hello"]), &[], 1).unwrap().0.tokens;
    assert_eq!(model().llama.vocab().tokenize(shown.as_bytes(), false, true), read);
    assert!(shown.starts_with("<bos><|turn>system\nYou are Ezra"), "{shown}");
}

#[test]
fn a_passage_has_the_same_vector_alone_and_among_others() {
    let mut engine = engine(1);
    let long = "you are patient and kind and you know many things about rivers and stones. ".repeat(12);
    let passages = ["my dog is Rex", &long, "hello", "my dog is Rex", "what is my colour?"];
    // Several times as many as are read side by side.
    let many = passages.iter().cycle().take(25).map(|said| text(said)).collect();
    let (together, _) = vectors(&mut engine, many);
    for (said, vector) in passages.iter().cycle().zip(&together) {
        assert!((product(vector, vector) - 1.0).abs() < 1e-5, "{said}: not of length 1");
        let (alone, _) = vectors(&mut engine, vec![text(said)]);
        assert!(product(&alone[0], vector) > 0.9999, "{said}: {}", product(&alone[0], vector));
    }
    assert_eq!(together[0], together[3], "and to the last bit where the cuts are the same");
    assert!(product(&together[0], &together[2]) < 0.999, "others mean something else");
    assert!(product(&together[0], &together[1]) < 0.999);
}

#[test]
fn a_vector_is_the_mean_of_its_tokens_however_they_are_cut() {
    let long = "you are patient and kind and you know many things about rivers and stones. ".repeat(12);
    let cut = |tokens_max| {
        let mut embedder = embedder::Embedder::new(model(), 1024, 1).unwrap();
        embedder.begin(1, vec![model().llama.vocab().tokenize(long.as_bytes(), true, true)]);
        let mut found = Vec::new();
        while !embedder.is_idle() {
            let mut hear = |event| {
                if let EngineEvent::Found { finding: Finding::Vector(vector), .. } = event {
                    found = vector;
                }
            };
            embedder.step(tokens_max, &mut hear).unwrap();
        }
        found
    };
    let whole = cut(32);
    for tokens_max in [1, 7, 19] {
        assert!(product(&whole, &cut(tokens_max)) > 0.9999, "cut into {tokens_max}");
    }
}

#[test]
fn answers_are_the_same_beside_vectors() {
    let mut alone = engine(2);
    start(
        &mut alone,
        &request(2, &["my colour is teal", "Noted, your colour is teal.", "what is my colour?"]),
    );
    let wanted = run(&mut alone).remove(0).1;
    let mut engine = engine(2);
    start(
        &mut engine,
        &request(2, &["my colour is teal", "Noted, your colour is teal.", "what is my colour?"]),
    );
    let passages = vec![text(&"rivers and stones ".repeat(60)); 3];
    ask(&mut engine, 1, Inquiry::Vectors { passages });
    let (mut said, mut order) = (String::new(), Vec::new());
    while !engine.is_idle() {
        let mut hear = |event| match event {
            EngineEvent::Token { chosen, .. } => said.push_str(&chosen.words()),
            EngineEvent::Finished { id, .. } => order.push(id),
            _ => {}
        };
        engine.step(&mut hear).unwrap();
    }
    assert_eq!(said, wanted);
    order.sort_unstable();
    assert_eq!(order, [1, 2]);
    engine.put_embedder_away();
    assert!(engine.embedder.is_none());
}

#[test]
fn vectors_that_nobody_wants_any_more_are_not_computed() {
    let mut engine = engine(1);
    let passages = vec![text(&"rivers and stones ".repeat(60)); 3];
    ask(&mut engine, 1, Inquiry::Vectors { passages: passages.clone() });
    ask(&mut engine, 2, Inquiry::Vectors { passages: vec![text("hello")] });
    engine.step(&mut |_| {}).unwrap();
    engine.put_embedder_away();
    assert!(engine.embedder.is_some(), "it is in use");
    for id in [1, 2] {
        let ended = engine.cancel(id).unwrap();
        assert!(matches!(ended, EngineEvent::Finished { reason: Finish::Cancelled, .. }), "{ended:?}");
        assert_eq!(engine.cancel(id), None);
    }
    assert!(engine.is_idle());
    let (after, _) = vectors(&mut engine, vec![text("hello")]);
    let (fresh, _) = vectors(&mut super::tests::engine(1), vec![text("hello")]);
    assert!(product(&after[0], &fresh[0]) > 0.9999, "nothing is left of what was cancelled");
}

#[test]
fn passages_without_a_vector_are_refused() {
    let mut engine = engine(1);
    let long = Inquiry::Vectors { passages: vec![text("x"), text(&"rivers and stones ".repeat(900))] };
    let refused = refusal(&mut engine, long);
    assert!(
        matches!(refused, Refusal::PromptTooLong { tokens: 1025.., tokens_max: PASSAGE_TOKENS_MAX }),
        "{refused:?}"
    );
    assert!(matches!(
        refusal(&mut engine, Inquiry::Vectors { passages: Vec::new() }),
        Refusal::Engine { .. }
    ));
    let none = Inquiry::Vectors { passages: vec![Vec::new()] };
    assert!(matches!(refusal(&mut engine, none), Refusal::Engine { .. }));
    assert!(engine.is_idle() && engine.embedder.is_none());
}
